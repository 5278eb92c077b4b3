"""One task's story for people who ask: its states, logs, key and error, from the events and rows of its run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from prefect_nb.core.events import Event, TaskEvent
from prefect_nb.core.machine import step
from prefect_nb.core.run import Run, Visit
from prefect_nb.protocols import Entry, LogChunk
from prefect_nb.views.details import Details, ErrorView, KeyPart, LogLine, StateLine
from prefect_nb.views.text import table
from prefect_nb.views.words import age, duration

__all__ = ["explanation", "history", "inspect"]

_TAIL = 400


def history(events: Iterable[Event], task: str) -> tuple[tuple[StateLine, ...], Visit | None]:
    """Every state that the visits of a task were in, oldest first, and its last visit."""
    run, lines, last = Run(), [], None
    for event in events:
        before = run
        run, _ = step(run, event)
        touched = {event.visit} if isinstance(event, TaskEvent) else set()
        touched |= {v for v in before.visits if not before.visits[v].state.final} if not touched else set()
        touched |= set(before.waiting.get(event.visit) or ()) if isinstance(event, TaskEvent) else set()
        for visit_id in touched:
            visit, old = run.visits.get(visit_id), before.visits.get(visit_id)
            if visit is None or task not in (visit_id.task, str(visit_id)):
                continue
            last = visit
            if old is None or old.state.name is not visit.state.name:
                lines.append(StateLine(visit.state.label, visit.state.at, visit.state.message, visit.attempt))
    return tuple(lines), last


def inspect(
    events: Sequence[Event], logs: Sequence[LogChunk], entry: Entry | None, earlier: Entry | None, task: str
) -> Details:
    """What the details pane shows.

    Parameters
    ----------
    entry : Entry, optional
        The reusable result under the visit's key.
    earlier : Entry, optional
        The one before it, for telling what changed.
    """
    lines, visit = history(events, task)
    mine = [c for c in logs if task in (c.visit.task, str(c.visit)) and (visit is None or c.visit == visit.id)]
    tail = mine[-_TAIL:]
    error = visit.error if visit is not None else None
    return Details(
        task=task,
        states=lines,
        logs=tuple(LogLine(c.stream, c.text, c.at, c.attempt) for c in tail),
        logs_cut=len(mine) - len(tail),
        key=_key(entry, earlier),
        reason=visit.reason.sentence if visit is not None and visit.reason else "",
        error=ErrorView(error.type, error.message, error.traceback) if error else None,
        inputs=tuple(name for kind, name, _ in entry.parts if kind == "input") if entry else (),
    )


def _key(entry: Entry | None, earlier: Entry | None) -> tuple[KeyPart, ...]:
    if entry is None:
        return ()
    before = {(k, n): d for k, n, d in earlier.parts} if earlier else {}
    parts = [
        KeyPart(f"{kind} {name}".strip(), _short(digest), bool(before) and before.get((kind, name)) != digest)
        for kind, name, digest in entry.parts
    ]
    parts += [KeyPart(f"{m['kind']} {m['name']}".strip(), _short(str(m.get("digest", "")))) for m in entry.manifest]
    return tuple(parts)


def _short(digest: str) -> str:
    return digest if len(digest) <= 16 else digest[:15] + "…"


def explanation(details: Details, visit: Visit | None, now: float) -> str:
    """The answer to "why": the decision, its age, the visit's states, and every part of the key and manifest."""
    if visit is None:
        return f"{details.task} has not run yet"
    head = [f"{details.task} is {visit.state.label}" + (f": {visit.state.message}" if visit.state.message else "")]
    if visit.reason is not None:
        head.append(f"  because {visit.reason.sentence}")
        head += [f"    {what}: {words}" for what, words in visit.reason.parts]
    if visit.note and visit.note not in visit.state.message:
        head.append(f"  {visit.note}")
    if visit.cached_from:
        head.append(f"  from run {visit.cached_from}, {age(visit.cached_age_s)} old, {duration(visit.saved_s)} saved")
    head.append(f"  decided {age(max(0.0, now - visit.planned_at))} ago")
    if details.error is not None:
        head.append(f"  {details.error.type}: {details.error.message.splitlines()[0] if details.error.message else ''}")
    rows = [
        [datetime.fromtimestamp(s.at, UTC).astimezone().strftime("%H:%M:%S"), s.name, str(s.attempt or ""), s.message]
        for s in details.states
    ]
    text = "\n".join(head) + "\n\n" + table(rows, ["at", "state", "attempt", ""])
    if details.key:
        parts = [[p.part, p.value, "changed" if p.changed else ""] for p in details.key]
        text += "\n\n" + table(parts, ["key part", "digest", ""])
    return text
