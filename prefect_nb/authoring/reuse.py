"""Earlier results: whether one fits a key now.

The decision itself is made by :func:`prefect_nb.core.plan.decide`; this room only collects what it asks about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefect_nb.analysis import reads
from prefect_nb.authoring import hidden
from prefect_nb.authoring.document import CellInfo
from prefect_nb.authoring.keys import Keyed, Place, cell_key, combine
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.core.events import ResultReused
from prefect_nb.core.plan import Candidate, Question, decide
from prefect_nb.core.reasons import Reason
from prefect_nb.core.spec import TaskKind, TaskSpec, VisitId
from prefect_nb.protocols import Entry
from prefect_nb.wiring import now

__all__ = [
    "NOTES",
    "RESTING",
    "Finding",
    "Found",
    "Wish",
    "changed_reads",
    "declarations",
    "declared",
    "key_now",
    "look_up",
]

NOTES = ("impure", "declared")
"""Rows of a manifest that are no reads."""

RESTING = ("impure", "rng")
"""Rows that let a second execution give something else, though nothing that is watched changed."""


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
    manifests: Mapping[str, tuple[Mapping[str, Any], ...]]

    @property
    def manifest(self) -> tuple[Mapping[str, Any], ...]:
        """What the body had read outside the namespace."""
        return self.manifests.get(self.result, ())

    def event(self, visit: VisitId, key: str, saved_s: float) -> ResultReused:
        """That this result stands in for the body of a visit."""
        return ResultReused(
            at=now(),
            visit=visit,
            key=key,
            result=self.result,
            reason=self.reason,
            source_run=self.run,
            age_s=self.age_s,
            saved_s=saved_s,
        )

    def without(self, why: str) -> Finding | Found:
        """The next best answer, when this result could not be read."""
        left = tuple(replace(c, available=why) if c.result == self.result else c for c in self.question.candidates)
        recovering = self.question.recovering
        if recovering is not None and recovering.result == self.result:
            recovering = replace(recovering, available=why)
        return _answer(replace(self.question, candidates=left, recovering=recovering), self.manifests)


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


def key_now(flow: LiveFlow, cell: CellInfo) -> Keyed:
    """A task cell's key over the values that its names have at this moment."""
    document, names, spec = flow.document, cell.names, cell.spec
    assert names is not None
    assert spec is not None
    learned, beside, below = document.learned_reads(cell), bool(document.beside(cell)), document.after(cell.id)
    return cell_key(cell.code, names, spec, flow.ns, Place(flow.place.root, learned, beside, below))


def look_up(
    flow: LiveFlow, spec: TaskSpec, keyed: Keyed, wish: Wish, entries: Sequence[Entry] | None = None
) -> Finding | Found:
    """Ask for earlier results of this key (or take `entries` for them), check what they had read, and decide."""
    at = now()
    entries = flow.foresight.entries(keyed.code_key, keyed.key) if entries is None else entries
    candidates, impure = [], ""
    named = declarations(flow, spec) if spec.files or spec.env else []
    for entry in entries:
        because = next((str(m["name"]) for m in entry.manifest if m["kind"] == "impure"), "")
        change, kind = changed_reads(entry.manifest)
        if not change:
            change, kind = _redeclared(entry, named)
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
        nearest = flow.foresight.nearest(spec.name, flow.name)
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
    return _answer(question, {e.result: e.manifest for e in entries})


def _answer(question: Question, manifests: Mapping[str, tuple[Mapping[str, Any], ...]]) -> Finding | Found:
    decision = decide(question)
    reuse = decision.reuse
    if decision.run or reuse is None:
        return Finding(decision.reason)
    return Found(
        decision.reason, reuse.result, reuse.run, max(0.0, question.now - reuse.created_at), question, manifests
    )


def changed_reads(rows: Iterable[Mapping[str, Any]]) -> tuple[str, str]:
    """The first thing that a body read and that differs now, with its kind; empty when everything holds."""
    settings: Mapping[str, object] | None = None
    for row in rows:
        if row["kind"] in NOTES:
            continue
        if row["kind"] == "settings":
            settings = hidden.settings() if settings is None else settings
            if not hidden.holds(row, settings):
                return f"the settings of {row['name']}", "environment"
            continue
        read = reads.Read(**row)
        if not reads.holds(read):
            return read.name, {"env": "environment", "rng": "rng"}.get(read.kind, "file")
    return "", ""


def declared(flow: LiveFlow, spec: TaskSpec) -> str:
    """The declared files and variables as they are now, as one digest."""
    if not (spec.files or spec.env):
        return ""
    return combine(("declared", r["name"], r["digest"]) for r in declarations(flow, spec))


def declarations(flow: LiveFlow, spec: TaskSpec) -> list[dict[str, Any]]:
    """The declared files and variables as they are now, as rows of a manifest."""
    found = [*reads.expand(spec.files, flow.notebook.parent), *(reads.digest_env(n) for n in spec.env)]
    return [{"kind": "declared", "name": f"{r.kind} {r.name}", "digest": r.digest} for r in found]


def _redeclared(entry: Entry, now_rows: list[dict[str, Any]]) -> tuple[str, str]:
    """What --files and --env name and differs from when the entry was made, with its kind; empty if nothing does."""
    then = {str(m["name"]): m["digest"] for m in entry.manifest if m["kind"] == "declared"}
    today = {str(r["name"]): r["digest"] for r in now_rows}
    name = next((n for n in {**then, **today} if then.get(n) != today.get(n)), "")
    kind, _, thing = name.partition(" ")
    return thing, "environment" if kind == "env" else "file"
