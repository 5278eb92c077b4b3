"""Commits, rows and events as plain tuples of a store's columns, and back.

Knows the dataclasses of :mod:`prefect_nb.protocols` and the column order of `statements`; must not know connections or
pipes. Text that no database takes (lone surrogates) is escaped here, at the border.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from prefect_nb import errors
from prefect_nb.analysis.redaction import active, redacted, without
from prefect_nb.core.events import Event
from prefect_nb.core.retention import Swept
from prefect_nb.core.slots import SlotMoves, Turns
from prefect_nb.core.spec import VisitId
from prefect_nb.core.wire import from_plain, to_plain
from prefect_nb.protocols import Commit, Entry, LogChunk, Recalled, Receipt, ResultRow, RunRow, Signal, VisitRow

__all__ = [
    "answer_from_wire",
    "as_json",
    "commit_to_wire",
    "entry_from_wire",
    "error_from_wire",
    "event_from_wire",
    "log_from_wire",
    "recalled_from_wire",
    "result_from_wire",
    "run_from_wire",
    "signal_from_wire",
    "swept_from_wire",
    "turns_from_wire",
    "visit_from_wire",
]


def _more(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, VisitId):
        return [value.task, value.visit, value.index]
    raise TypeError(f"{type(value).__name__} is not plain data")


def _encoder() -> Callable[[Any], str]:
    """Compact JSON; the standard library's C encoder made once, where there is one, not once for every text."""
    plain = json.JSONEncoder(separators=(",", ":"), default=_more)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    pieces = make(None, _more, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True)
    return lambda value: "".join(pieces(value, 0))


as_json = _encoder()
_canonical = json.JSONEncoder(separators=(",", ":"), sort_keys=True, default=_more).encode
_read = json.loads


class _Same:
    """The JSON of values of which many in a row are equal: the calls of one cell share its parent and its reason."""

    def __init__(self) -> None:
        self._last: tuple[Any, str] = ({}, "{}")

    def __call__(self, value: Any) -> str:
        last, text = self._last
        if value != last or type(value) is not type(last):
            text = as_json(value)
            self._last = (dict(value) if isinstance(value, Mapping) else value), text
        return text


_parent_text, _reason_text = _Same(), _Same()


def _text(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def commit_to_wire(commit: Commit) -> tuple[Any, ...]:
    """The arguments of the ``append`` operation.

    Raises
    ------
    StoreError
        If a part of it is not plain data.
    """
    try:
        run_row = None if commit.run_row is None else _run_to_wire(commit.run_row)
        return (
            commit.run,
            [(e.visit.task, e.visit.visit, e.visit.index, e.version, e.token) for e in commit.expect],
            commit.run_owner,
            [as_json(_event(event)) for event in commit.events],
            run_row,
            [_visit_to_wire(row) for row in commit.visit_rows],
            [
                (r.digest, r.size, r.codec, None if r.inline is None else bytes(r.inline), r.cost_s, r.uses)
                for r in commit.results
            ],
            [_entry_to_wire(entry) for entry in commit.entries],
            [_log_to_wire(commit.run, chunk) for chunk in commit.logs],
            commit.after,
            commit.wishes,
            None if commit.slots is None else _slots_to_wire(commit.slots),
        )
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise errors.StoreError(
            f"an append to run {commit.run} holds something that cannot be written down: {error}",
            hint="parameters and details of events must be plain data",
            run=commit.run,
        ) from error


def _slots_to_wire(moves: SlotMoves) -> tuple[Any, ...]:
    return (
        [(v.task, v.visit, v.index) for v in moves.left],
        [(t.visit.task, t.visit.visit, t.visit.index, [_text(tag) for tag in t.tags]) for t in moves.drawn],
        [(v.task, v.visit, v.index) for v in moves.taken],
        moves.worker,
    )


def turns_from_wire(answer: tuple[Any, ...]) -> Turns:
    """How the queue stands."""
    free, limits, used, waiting = answer
    return Turns(tuple(VisitId(*visit) for visit in free), limits, used, waiting)


_NAMES = frozenset({"code", "digest", "kind", "type", "types"})
_TEXTS = frozenset({"ask", "error", "form", "message", "note", "parameters", "reason", "value"})


def _clean(value: Any) -> Any:
    """What people said or code told, without the values of secrets; this is where text enters the record."""
    return redacted(value, keep=_NAMES)


def _event(event: Event) -> Mapping[str, Any]:
    plain = to_plain(event)
    if not active():
        return plain
    return {name: _clean(value) if name in _TEXTS else value for name, value in plain.items()}


def _run_to_wire(r: RunRow) -> tuple[Any, ...]:
    return (
        r.run,
        _text(r.flow),
        _text(r.notebook),
        int(r.live),
        r.state,
        r.type,
        _text(without(r.message)),
        r.created_at,
        r.ended_at,
        r.worker,
        as_json(_clean(r.parameters)),
        as_json(r.graph),
        r.version,
    )


def run_from_wire(row: Any) -> RunRow:
    """A run's row."""
    values: tuple[Any, ...] = (*row[:3], bool(row[3]), *row[4:10], _read(row[10]), _read(row[11]), row[12])
    return RunRow(*values)


def _visit_to_wire(v: VisitRow) -> tuple[Any, ...]:
    return (
        v.run,
        v.visit.task,
        v.visit.visit,
        v.visit.index,
        v.kind,
        v.state,
        v.type,
        _text(without(v.message)),
        v.version,
        v.token,
        v.attempt,
        v.attempts,
        v.key,
        v.result,
        None if v.parent is None else _parent_text(v.parent),
        v.cell,
        v.planned_at,
        v.started_at,
        v.ended_at,
        v.duration_s,
        v.due_at,
        v.cached_from,
        v.cached_age_s,
        v.saved_s,
        _reason_text(_clean(v.reason)),
        None if v.error is None else as_json(_clean(v.error)),
    )


def visit_from_wire(row: Any) -> VisitRow:
    """A visit's row."""
    values: tuple[Any, ...] = (
        row[0],
        VisitId(row[1], row[2], row[3]),
        *row[4:14],
        None if row[14] is None else VisitId(*_read(row[14])),
        *row[15:24],
        _read(row[24]),
        None if row[25] is None else _read(row[25]),
    )
    return VisitRow(*values)


def event_from_wire(row: tuple[int, str]) -> tuple[int, Event]:
    """An event and its number."""
    try:
        return row[0], from_plain(_read(row[1]))
    except KeyError as error:
        raise errors.StoreTooNew(
            f"event {row[0]} is of a kind that this version of prefect_nb does not know: {error}",
            hint="upgrade: pip install -U prefect_nb; nothing in the store was changed",
        ) from error


def _entry_to_wire(e: Entry) -> tuple[Any, ...]:
    return (
        e.key,
        e.code_key,
        _text(e.task),
        _text(e.flow),
        e.run,
        e.result,
        e.created_at,
        e.cost_s,
        _canonical(_clean(e.manifest)) if e.manifest else "[]",
        as_json(_clean(e.parts)),
        int(e.invalid),
    )


def entry_from_wire(row: Any) -> Entry:
    """A reusable result."""
    parts = tuple((kind, name, digest) for kind, name, digest in _read(row[9]))
    values: tuple[Any, ...] = (*row[:8], tuple(_read(row[8])), parts, bool(row[10]))
    return Entry(*values)


def recalled_from_wire(answer: tuple[list[Any], bool]) -> Recalled:
    """One code's entries by key, to be made when they are asked for: most never are."""
    rows, complete = answer
    by_key: dict[str, list[Any]] = {}
    for row in rows:
        by_key.setdefault(row[0], []).append(row)

    def entries(key: str) -> list[tuple[Entry, ResultRow | None]]:
        return [
            (entry_from_wire(row[:11]), None if row[13] is None else ResultRow(row[5], *row[11:]))
            for row in by_key.get(key, ())
        ]

    return Recalled(frozenset(by_key), entries, complete)


def result_from_wire(row: tuple[Any, ...] | None) -> ResultRow | None:
    """A result's row, if there is one."""
    return None if row is None else ResultRow(*row)


def _log_to_wire(run: str, chunk: LogChunk) -> tuple[Any, ...]:
    visit = chunk.visit
    return run, visit.task, visit.visit, visit.index, chunk.attempt, chunk.stream, _text(without(chunk.text)), chunk.at


def log_from_wire(row: tuple[Any, ...]) -> LogChunk:
    """A piece of output."""
    return LogChunk(VisitId(row[0], row[1], row[2]), *row[3:])


def signal_from_wire(row: tuple[Any, ...]) -> Signal:
    """A wish."""
    run, kind, task, actor, at, number, detail = row
    return Signal(run, kind, task, actor, at, number, _read(detail))


def swept_from_wire(answer: tuple[Any, ...]) -> Swept:
    """What a sweep gave."""
    dropped, evicted, waiting, entries, alone = answer
    return Swept(
        files=tuple(digest for digest, _, file in (*dropped, *evicted) if file),
        dropped=len(dropped),
        dropped_bytes=sum(size for _, size, _ in dropped),
        evicted=len(evicted),
        evicted_bytes=sum(size for _, size, _ in evicted),
        entries=entries,
        waiting=len(waiting),
        waiting_bytes=sum(waiting),
        alone=bool(alone),
    )


_ERRORS = {
    cls.__name__: cls
    for cls in (
        errors.StoreError,
        errors.StoreReadOnly,
        errors.StoreFull,
        errors.StoreCorrupt,
        errors.StoreTooNew,
    )
}


def error_from_wire(parts: tuple[str, str, str, dict[str, Any]]) -> errors.StoreError:
    """The error that another process or an answer described."""
    name, message, hint, fields = parts
    return _ERRORS.get(name, errors.StoreError)(message, hint=hint, **fields)


def answer_from_wire(op: str, status: str, payload: Any) -> Any:
    """What an operation gave: a receipt for an append, else its plain value.

    Raises
    ------
    StoreError
        What the answer reports.
    """
    if status == "error":
        raise error_from_wire(payload)
    if op == "append":
        return Receipt(True, payload) if status == "ok" else Receipt(False, refusal=payload, full=status == "full")
    return payload
