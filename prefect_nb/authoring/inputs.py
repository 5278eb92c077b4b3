"""What a task's result rests on, and whether that still holds: its code, the versions it read, the files it opened.

A task is *fresh* as long as nothing that it rests on changed since it last ended well in this kernel, *stale*
otherwise. Knows the document and versions; never runs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from prefect_nb.authoring.document import CellInfo
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.outcome import Outcome
from prefect_nb.authoring.rests import RESTING, refuse_waiting
from prefect_nb.authoring.reuse import changed_reads, declared
from prefect_nb.authoring.versions import Version as Made
from prefect_nb.core.policy import Trigger
from prefect_nb.core.run import Visit
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import StateName, StateType
from prefect_nb.core.triggers import Go, ruling
from prefect_nb.errors import NotAvailable, Unhashable

__all__ = ["Basis", "Inputs", "Version", "overwritten", "versions"]


@dataclass(frozen=True, slots=True)
class Version:
    """One input as it was read: who made it, in which shape and turn of that cell, and its content."""

    cell: str
    shape: str
    turn: int
    digest: str
    plain: bool

    def same(self, then: Version) -> bool:
        """Whether it is what it was; a plain cell's value is, as long as that cell did not run again."""
        if self.cell == then.cell and self.plain and self.turn == then.turn:
            return True
        return self.digest == then.digest and not self.digest.startswith("turn")


@dataclass(frozen=True, slots=True)
class Basis:
    """What one execution of a task rested on, and what it made.

    Parameters
    ----------
    shape : str
        Of its code and the options of its key.
    inputs : mapping
        What it read, by name.
    made : tuple of str
        What it bound.
    manifest : tuple of mapping
        What its body read outside the namespace.
    good : bool
        Whether it ended well.
    reusable : bool
        Whether its result may stand for a second execution.
    visit : VisitId, optional
        Under which name it is on record; the task may have been renamed since.
    gone : tuple of str
        What it deleted.
    declared : str
        The digest of its declared files and variables.
    beside : tuple of (str, str, str)
        Cell, name and content of what it changed through another name, as it was before.
    """

    shape: str
    inputs: Mapping[str, Version]
    made: tuple[str, ...] = ()
    manifest: tuple[Mapping[str, Any], ...] = ()
    good: bool = True
    reusable: bool = False
    visit: VisitId | None = None
    gone: tuple[str, ...] = ()
    declared: str = ""
    beside: tuple[tuple[str, str, str], ...] = ()


class Inputs:
    """Of every task in this kernel: what it last rested on.

    Parameters
    ----------
    flow : LiveFlow
        The kernel's notebook.
    """

    def __init__(self, flow: LiveFlow) -> None:
        self._flow = flow
        self._bases: dict[str, Basis] = {}

    def basis(self, cell_id: str) -> Basis | None:
        """What a task last rested on in this kernel."""
        return self._bases.get(cell_id)

    def made(self, cell_id: str) -> tuple[str, ...]:
        """What a task bound when it last ran in this kernel."""
        return self._bases[cell_id].made if cell_id in self._bases else ()

    def note(
        self,
        cell: CellInfo,
        outcome: Outcome,
        manifest: tuple[Mapping[str, Any], ...],
        visit: VisitId | None = None,
        *,
        ok: bool,
    ) -> None:
        """A task ended well; it may stand for a second execution if `ok`.

        `visit` is the one that it ended, which the engine need not know yet; None if it is the last on record.
        """
        if visit is None and cell.spec is not None and (last := self._flow.session.run.visit(cell.spec.name)):
            visit = last.id
        made_anew = cell.names is not None and cell.names.must_write.issuperset(outcome.names)
        self._bases[cell.id] = Basis(
            cell.shape,
            versions(self._flow, cell),
            tuple(outcome.names),
            manifest,
            # which names share memory is part of a key, and not of what is compared here
            reusable=ok and made_anew and not (outcome.groups or outcome.mutated),
            visit=visit,
            gone=outcome.deleted,
            declared=declared(self._flow, cell.spec) if cell.spec is not None else "",
            beside=self._beside(cell),
        )

    def _beside(self, cell: CellInfo) -> tuple[tuple[str, str, str], ...]:
        """Versions above the cell of what it changes through other names."""
        flow, found = self._flow, []
        names = flow.document.beside(cell)
        if not names:
            return ()
        place = [c.id for c in flow.document.cells]
        for name in names:
            for above in reversed(place[: place.index(cell.id)] if cell.id in place else []):
                version = flow.ns.version(above, name)
                if version is not None:
                    found.append((above, name, version.fingerprint))
                    break
                if name in flow.left.get(above, ()):
                    found.append((above, name, f"turn {flow.turns.get(above, 0)}"))
                    break
        return tuple(sorted(found))

    def note_bad(self, cell: CellInfo) -> None:
        """A task ended badly: it is not tried again for a reader's sake until something changes."""
        self._bases[cell.id] = Basis(cell.shape, versions(self._flow, cell), self.made(cell.id), good=False)

    def upstream(self, cell: CellInfo, spec: TaskSpec) -> tuple[VisitId, ...]:
        """The last visits of the tasks directly above, as far as they have ended."""
        return tuple(v.id for v in self._above(cell, spec) if v.state.final)

    def _above(self, cell: CellInfo, spec: TaskSpec) -> list[Visit]:
        document, run = self._flow.document, self._flow.session.run
        above = (document.cell(p) for p in document.graph.upstream(cell.id))
        names = [c.spec.name for c in above if c is not None and c.spec is not None]
        visits = (run.visit(name) for name in dict.fromkeys([*names, *spec.after]))
        return [v for v in visits if v is not None]

    def may_run(self, cell: CellInfo, spec: TaskSpec) -> bool:
        """Whether the machine will let the task run, as everything above it stands; else it will say why not.

        Raises
        ------
        NotAvailable
            If something above waits for a person or a time, so that nothing can be said yet.
        """
        above = [v for v in self._above(cell, spec) if v.state.final or v.state.name in RESTING]
        ruled = ruling(spec.trigger, ((v.id, v.state) for v in above), skip_too=spec.skip_with_upstream)
        if ruled.go is Go.WAIT:
            refuse_waiting(spec.name, above)
        return ruled.go in (Go.RUN, Go.ASK)

    def lacking(self, producers: Mapping[str, str]) -> dict[str, Visit]:
        """Of what a task reads, the names that nobody made, since their task ended without a success."""
        found = {}
        for name, producer in producers.items():
            above = self._flow.document.cell(producer)
            visit = self._visit(above) if above is not None and above.spec is not None else None
            if visit is None or not visit.state.final:
                continue
            if visit.state.type is not StateType.COMPLETED or visit.state.name is StateName.SKIPPED:
                found[name] = visit
        return found

    def unhindered(self, spec: TaskSpec, upstream: tuple[VisitId, ...]) -> bool:
        """Whether a visit that is planned now will certainly be asked for its key, at once."""
        run = self._flow.session.run
        if spec.trigger != Trigger() or spec.approve or spec.once:
            return False
        ends = (run.visits[u].state for u in upstream)
        good = all(e.type is StateType.COMPLETED and e.name is not StateName.SKIPPED for e in ends)
        return good and not run.cancelled and not run.closed

    def refuse_outdated(self, cell: CellInfo) -> None:
        """A plain cell on the way read something that was computed again since; it is not ours to run.

        Raises
        ------
        NotAvailable
            Naming what it read and what it makes.
        """
        document = self._flow.document
        for ancestor in document.graph.ancestors(cell.id):
            above = document.cell(ancestor)
            if above is None or above.spec is not None or not (name := self._outdated(above)):
                continue
            makes = ", ".join(sorted(self._flow.left.get(above.id, ()))[:3]) or "something"
            task = cell.spec.name if cell.spec is not None else cell.id
            told = f"{task} needs {makes} from a plain cell that read {name} before it changed"
            raise NotAvailable(told, hint="run that cell again; plain cells are never run for you", cell=above.id)

    def _outdated(self, cell: CellInfo) -> str:
        """A name that a plain cell read from a task, and that is not what it was then; empty if there is none."""
        then = self._flow.rests.get(cell.id)
        now = versions(self._flow, cell) if then else {}
        for name, old in (then or {}).items():
            new = now.get(name)
            if new is not None and not old.plain and not new.plain and not new.same(old) and new != old:
                return name
        return ""

    def unchanged(self, cell: CellInfo) -> bool:
        """Whether a task was executed in this kernel, well or badly, and all that it rested on is as it was then."""
        basis = self._bases.get(cell.id)
        if basis is None or basis.shape != cell.shape or cell.id in self._flow.forced or cell.spec is None:
            return False
        now = versions(self._flow, cell)
        if now.keys() != basis.inputs.keys():
            return False
        for name, then in basis.inputs.items():
            new = now[name]
            unhashable = new.cell == then.cell and new.turn == then.turn and new.digest == then.digest
            if not (new.same(then) or unhashable) or self._edited(new):
                return False
        if basis.good and (self._beside(cell) != basis.beside or declared(self._flow, cell.spec) != basis.declared):
            return False
        if now != basis.inputs:  # equal content, newer turns: the next look need not have the content at hand
            self._bases[cell.id] = replace(basis, inputs=now)
        return not changed_reads(r for r in basis.manifest if r["kind"] not in ("rng", "settings"))[0]

    def _edited(self, version: Version) -> bool:
        """Whether a plain cell was edited and has not run since."""
        return version.plain and self._flow.shapes.get(version.cell, version.shape) != version.shape

    def fresh(self, cell: CellInfo) -> bool:
        """Whether a task ended well in this kernel and nothing that it rests on changed since."""
        basis = self._bases.get(cell.id)
        if basis is None or not basis.good or cell.spec is None or not self.unchanged(cell):
            return False
        visit = self._visit(cell)
        return visit is not None and visit.state.type is StateType.COMPLETED and not visit.invalid

    def _visit(self, cell: CellInfo) -> Visit | None:
        run, basis = self._flow.session.run, self._bases.get(cell.id)
        last = run.visit(cell.spec.name) if cell.spec is not None else None
        if last is None and basis is not None and basis.visit is not None:
            return run.visits.get(basis.visit)
        return last

    def settled(self, cell: CellInfo) -> bool:
        """Whether a reader has nothing to gain from executing this task first: it is fresh, or would fail again."""
        basis, visit = self._bases.get(cell.id), self._visit(cell)
        if visit is not None and visit.state.name is StateName.RESUMING:
            return False
        if basis is not None and not basis.good:
            return self.unchanged(cell)
        return self.fresh(cell)

    def stale(self) -> frozenset[str]:
        """The tasks that are not fresh, and all that reads from them."""
        document = self._flow.document
        found: set[str] = set()
        for cell in document.cells:
            if cell.spec is None:
                continue
            above = document.graph.upstream(cell.id)
            if not self.fresh(cell) or any(p in found for p in above):
                found.add(cell.id)
        return frozenset(found)

    def reusable(self, cell: CellInfo) -> bool:
        """Whether a second execution would find everything as it is, so that it need not even be asked for."""
        basis, document = self._bases.get(cell.id), self._flow.document
        if basis is None or not basis.reusable or cell.fresh or not self.fresh(cell) or self._skipped(cell):
            return False
        above = (document.cell(a) for a in document.careful.ancestors(cell.id))
        return all(c is None or c.spec is None or self.fresh(c) for c in above)

    def _skipped(self, cell: CellInfo) -> bool:
        visit = self._visit(cell)
        return visit is not None and visit.state.name is StateName.SKIPPED

    def forget(self, cell_ids: frozenset[str]) -> None:
        """Cells left the document."""
        for gone in cell_ids:
            self._bases.pop(gone, None)


def versions(flow: LiveFlow, cell: CellInfo) -> dict[str, Version]:
    """The inputs of a cell as they are now."""
    found: dict[str, Version] = {}
    graph = flow.document.graph
    for name, producer in graph.inputs(cell.id).items() if cell.id in graph else ():
        above = flow.document.cell(producer)
        if above is None:
            continue
        made = flow.ns.version(producer, name)
        turn = flow.turns.get(producer, 0)
        digest = made.fingerprint if made is not None else _live(flow, producer, name)
        found[name] = Version(producer, above.shape, turn, digest or f"turn {turn}", above.spec is None)
    return found


def _live(flow: LiveFlow, producer: str, name: str) -> str:
    """The content of what a plain cell made, as long as it is there."""
    ns = flow.ns
    if ns.writer(name) != producer or name not in ns:
        return ""
    try:
        return ns.fingerprint(name)
    except Unhashable:
        return ""


def overwritten(flow: LiveFlow, cell: CellInfo, *, include: bool = False) -> Callable[[Made], bool]:
    """Whether at a cell's place (or just below it) a version of some name is not the one to be seen."""
    order = [c.id for c in flow.document.cells]
    here = order.index(cell.id) + include if cell.id in order else len(order)
    graph = flow.document.graph

    def is_overwritten(version: Made) -> bool:
        after = order.index(version.cell) + 1 if version.cell in order else 0
        if after > here:
            return True  # not made yet at this place
        name, left = version.name, flow.left
        between = order[after:here]
        gone = any(name in graph.node(i).deletes for i in between if i in graph)
        return gone or any(flow.ns.version(i, name) is not None or name in left.get(i, ()) for i in between)

    return is_overwritten
