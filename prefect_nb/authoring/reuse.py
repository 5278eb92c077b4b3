"""Earlier results: whether one fits a key now, and how a new one is written down so that a later key can find it.

The decision itself is made by :func:`prefect_nb.core.plan.decide`; this room only collects what it asks about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from prefect_nb.analysis import reads
from prefect_nb.analysis.purity import Verdict, judge
from prefect_nb.analysis.values import size_of
from prefect_nb.authoring import hidden
from prefect_nb.authoring.attempt import Tried
from prefect_nb.authoring.document import CellInfo
from prefect_nb.authoring.keys import Keyed, combine, is_code
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.outcome import RESULT, Outcome, is_definition, save_outcome
from prefect_nb.authoring.outputs import to_plain
from prefect_nb.authoring.transaction import Changes
from prefect_nb.core.plan import Candidate, Question, decide
from prefect_nb.core.reasons import Reason
from prefect_nb.core.spec import TaskKind, TaskSpec
from prefect_nb.engine.session import Attachments
from prefect_nb.errors import PrefectNBError, StoreFull, Unhashable
from prefect_nb.protocols import Entry
from prefect_nb.wiring import now

__all__ = ["Finding", "Found", "Record", "Wish", "look_up", "recorded"]

_LARGE = 64 << 20
_BYTES_PER_S = 200 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """No result fits; the body has to run, for this reason."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Found:
    """A result fits."""

    reason: Reason
    result: str
    run: str
    age_s: float
    question: Question

    def without(self, why: str) -> Finding | Found:
        """The next best answer, when this result could not be read."""
        left = tuple(replace(c, available=why) if c.result == self.result else c for c in self.question.candidates)
        recovering = self.question.recovering
        if recovering is not None and recovering.result == self.result:
            recovering = replace(recovering, available=why)
        return _answer(replace(self.question, candidates=left, recovering=recovering))


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked about one body, beside its key.

    Parameters
    ----------
    fresh : bool
        Ignore earlier results.
    settings_only : bool
        It only defines or sets things, so it always runs.
    recover : str
        The result of the same visit before a restart, empty if there is none.
    recomputed : bool
        Whether something upstream was computed again in this run.
    """

    fresh: bool = False
    settings_only: bool = False
    recover: str = ""
    recomputed: bool = False


def look_up(flow: LiveFlow, spec: TaskSpec, keyed: Keyed, wish: Wish) -> Finding | Found:
    """Ask for earlier results of this key, check what they had read, and decide."""
    at = now()
    entries = flow.entries(keyed.code_key, keyed.key)
    candidates, impure = [], ""
    declared = _declared(flow, spec)
    for entry in entries:
        rows = [m for m in entry.manifest if m["kind"] not in ("impure", "declared")]
        because = next((str(m["name"]) for m in entry.manifest if m["kind"] == "impure"), "")
        change, kind = _changed(rows)
        if not change and _redeclared(entry, declared):
            change, kind = "named in --files or --env", "file"
        impure = impure or because
        candidates.append(
            Candidate(
                key=entry.key,
                run=entry.run,
                result=entry.result,
                created_at=entry.created_at,
                cost_s=entry.cost_s,
                invalid=entry.invalid,
                manifest_change=change,
                manifest_kind=kind,
            )
        )
    nearest = entries[:1]
    if not nearest and spec.kind is TaskKind.CELL:  # a function is called too often to ask for its past each time
        nearest = flow.store.entries(task=spec.name, flow=flow.name, limit=1)
    question = Question(
        spec=spec,
        key=keyed.key,
        uncacheable=keyed.uncacheable,
        pure=not impure,
        impure_because=impure,
        fresh=wish.fresh,
        recovering=next((c for c in candidates if c.result == wish.recover), None),
        candidates=tuple(candidates),
        same_run=flow.session.run.id,
        now=at,
        parts=keyed.parts,
        earlier_parts=nearest[0].parts if nearest else None,
        settings_only=wish.settings_only,
        recomputed_upstream=wish.recomputed,
    )
    return _answer(question)


def _answer(question: Question) -> Finding | Found:
    decision = decide(question)
    reuse = decision.reuse
    if decision.run or reuse is None:
        return Finding(decision.reason)
    return Found(decision.reason, reuse.result, reuse.run, max(0.0, question.now - reuse.created_at), question)


def _changed(rows: list[Mapping[str, Any]]) -> tuple[str, str]:
    """The first thing that a body read and that differs now, with its kind; empty when everything holds."""
    for row in rows:
        read = reads.Read(**row)
        if not reads.holds(read):
            return read.name, {"env": "environment", "rng": "rng"}.get(read.kind, "file")
    return "", ""


def _declared(flow: LiveFlow, spec: TaskSpec) -> str:
    """The declared files and variables as they are now, as one digest."""
    if not (spec.files or spec.env):
        return ""
    found = [*reads.expand(spec.files, flow.notebook.parent), *(reads.digest_env(n) for n in spec.env)]
    return combine((r.kind, r.name, r.digest) for r in found)


def _redeclared(entry: Entry, declared: str) -> bool:
    """Whether what --files and --env name differs from when the entry was made."""
    return next((str(m["digest"]) for m in entry.manifest if m["kind"] == "declared"), "") != declared


# --- writing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """A success written down: its outcome, address, what goes into the commit, and why it is not reusable, if so."""

    outcome: Outcome
    address: str
    attachments: Attachments
    note: str


def recorded(flow: LiveFlow, cell: CellInfo, keyed: Keyed, changes: Changes, tried: Tried, cost: float) -> Record:
    """Write what a body left behind; a value that cannot be written costs its reuse, never the success.

    Raises
    ------
    StoreFull
        If the disk is full.
    """
    verdict = judge(cell.code, {**flow.shell.user_ns, **tried.transaction.before})
    outcome, values, problems = _survey(flow, changes, tried, cost)
    problems += [f"{name}: {why}" for name, why in changes.unhashable.items()]
    hidden_after = {
        **hidden.changed(tried.generators, hidden.generators()),
        **hidden.changed(tried.settings, hidden.settings()),
    }
    if tried.result:
        values[RESULT] = tried.result[0]
    try:
        outcome, address, rows = save_outcome(flow.vault, outcome, values, hidden_after, flow.shell.user_ns)
    except StoreFull:
        raise
    except PrefectNBError as error:
        return Record(outcome, "", Attachments(), f"not stored: {error.message}")
    problems += [f"{n} cannot be stored: {why}" for n, why in outcome.unstorable.items() if n != RESULT]
    unstable = tried.observer.unstable()
    problems += [f"{r.name} changed while it was read" for r in unstable]
    if keyed.uncacheable:
        problems.append(keyed.uncacheable)
    if problems or not keyed.key:
        return Record(outcome, address, Attachments(results=rows), "not reusable: " + "; ".join(problems[:3]))
    entry = Entry(
        key=keyed.key,
        code_key=keyed.code_key,
        task=cell.spec.name if cell.spec else "",
        flow=flow.name,
        run=flow.session.run.id,
        result=address,
        created_at=now(),
        cost_s=cost,
        manifest=_manifest(flow, cell, tried, verdict),
        parts=keyed.parts,
    )
    flow.learned(keyed.code_key, keyed.key)
    return Record(outcome, address, Attachments(results=rows, entries=(entry,)), "")


def _survey(flow: LiveFlow, changes: Changes, tried: Tried, cost: float) -> tuple[Outcome, dict[str, Any], list[str]]:
    """Sort what was bound into data, modules and definitions, each with a fingerprint."""
    names: dict[str, str] = {}
    modules: dict[str, str] = {}
    defined: list[str] = []
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in changes.bound.items():
        try:
            names[name] = flow.ns.fingerprint(name)
        except Unhashable as error:
            problems.append(error.message)
            names[name] = ""
        if is_code(value) and type(value).__name__ == "module":
            modules[name] = value.__name__
        elif is_definition(value):
            defined.append(name)
        else:
            values[name] = value
    large = sum(size_of(v) for v in values.values())
    if large > _LARGE and cost < large / _BYTES_PER_S / 4:
        problems.append(f"{large >> 20} MB are cheaper to compute again than to store")
        values = {}
        names = {n: d for n, d in names.items() if n not in values}
    outcome = Outcome(
        names=names,
        modules=modules,
        defined=tuple(defined),
        deleted=tuple(changes.deleted),
        outputs=tuple(to_plain(tried.outputs)),
        cost_s=cost,
    )
    return outcome, values, problems


def _manifest(flow: LiveFlow, cell: CellInfo, tried: Tried, verdict: Verdict) -> tuple[dict[str, Any], ...]:
    rows: list[dict[str, Any]] = [
        {"kind": r.kind, "name": r.name, "digest": r.digest, "size": r.size, "mtime_ns": r.mtime_ns}
        for r in tried.observer.reads()
    ]
    causes = [c.wording for c in (*verdict.causes, *tried.observer.taints())]
    if causes:
        rows.append({"kind": "impure", "name": "; ".join(dict.fromkeys(causes))[:500], "digest": ""})
    if cell.spec is not None and (declared := _declared(flow, cell.spec)):
        rows.append({"kind": "declared", "name": "--files, --env", "digest": declared})
    return tuple(rows)
