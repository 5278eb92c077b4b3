"""What an execution or a hit does to the namespace's versions and to the graph.

Before: every input at the version that its edge names. After: versions of all that
was made, and what the execution showed about the cell. Knows versions, outcomes and the document; runs no body.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from prefect_nb.authoring.attempt import Tried
from prefect_nb.authoring.diagnoses import Diagnosis
from prefect_nb.authoring.document import CellInfo, Seen
from prefect_nb.authoring.inputs import Inputs, overwritten
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.outcome import Outcome, put_back
from prefect_nb.authoring.outputs import from_plain
from prefect_nb.authoring.record import Record
from prefect_nb.authoring.reuse import RESTING
from prefect_nb.authoring.shelf import shown_again
from prefect_nb.authoring.transaction import Changes
from prefect_nb.authoring.versions import Version
from prefect_nb.core.spec import VisitId
from prefect_nb.errors import NotAvailable, ResultUnavailable

__all__ = ["Effects"]


class Effects:
    """The bookkeeping around the task cells of one kernel.

    Parameters
    ----------
    flow : LiveFlow
        The kernel's notebook.
    inputs : Inputs
        What tasks rest on.
    """

    def __init__(self, flow: LiveFlow, inputs: Inputs) -> None:
        self._flow = flow
        self._inputs = inputs
        self._shown: dict[str, tuple[str, tuple[Diagnosis, ...]]] = {}

    def diagnoses(self) -> Iterator[Diagnosis]:
        """What executions showed about the cells as they are now."""
        for cell in self._flow.document.cells:
            shape, found = self._shown.get(cell.id, ("", ()))
            if shape == cell.shape:
                yield from found

    # --- before ------------------------------------------------------------------------------------------------------

    def put_back(self, cell: CellInfo, producers: Mapping[str, str]) -> str | None:
        """Put inputs back to their versions; the task that has to run again because one of its is gone, else None.

        Raises
        ------
        NotAvailable
            If a plain cell would have to run again.
        """
        flow = self._flow
        for name, first in sorted(producers.items()):
            producer = self._through(first, name)
            if producer is None:
                flow.ns.drop(name)
                continue
            above = flow.document.cell(producer)
            if above is None or flow.ns.put_back(producer, name, overwritten(self._flow, cell)):
                continue
            if above.spec is None:
                if producer not in flow.executed or name in flow.ns:
                    raise _missing(producer, name)
                continue
            made = flow.ns.version(producer, name) is not None
            if made or (above.names is not None and name in above.names.must_write):
                return producer
            flow.ns.drop(name)  # it did not bind the name; what others left under it is not its version
        return None

    def return_rest(self, cell: CellInfo, before: Mapping[str, str]) -> None:
        """After a visit: what was put back only for its sake, or its ancestors', is again what it was before."""
        ns, basis = self._flow.ns, self._inputs.basis(cell.id)
        mine = {*(basis.made if basis is not None else ()), *(basis.gone if basis is not None else ())}
        for name, writer in before.items():
            now = ns.writer(name)
            if name in mine or now == writer or now == cell.id or now is None:
                continue
            if self._flow.document.cell(writer) is not None:
                ns.put_back(writer, name)

    def _through(self, producer: str | None, name: str) -> str | None:
        """Past plain cells that could have bound the name, and did not, to the cell that did."""
        flow = self._flow
        while producer is not None and producer in flow.left and name not in flow.left[producer]:
            producer = flow.document.graph.producer(producer, name)
        return producer

    # --- after -------------------------------------------------------------------------------------------------------

    def made(self, cell: CellInfo, record: Record, changes: Changes, tried: Tried, visit: VisitId) -> None:
        """A body returned."""
        outcome, names = record.outcome, cell.names
        self._drop(cell, outcome)
        for version in self._versions(cell, outcome):
            self._flow.ns.made(version)
        self._carry(cell, outcome)
        known = names.reads | names.writes if names is not None else frozenset()
        notes = tuple(record.diagnoses) + _mutations(cell, changes) + _random(cell, record.manifest)
        self._finish(cell, outcome, tried.looked_up - known, notes)
        pure = not any(r["kind"] in RESTING for r in record.manifest)
        rule = cell.spec.cache.rule if cell.spec is not None else ""
        ok = not record.note and (pure or rule == "always") and rule != "never"
        self._inputs.note(cell, outcome, record.manifest, visit, ok=ok)

    def establish(self, cell: CellInfo) -> bool:
        """What a task had made stands again where another task's version lies now; False if part of it is gone."""
        ns, basis = self._flow.ns, self._inputs.basis(cell.id)
        places = {c.id: number for number, c in enumerate(self._flow.document.cells)}
        later = overwritten(self._flow, cell, include=True)
        for name in basis.made if basis is not None else ():
            writer = ns.writer(name)
            above = self._flow.document.cell(writer) if writer is not None else None
            below = above is not None and above.spec is None and places[above.id] > places[cell.id]
            if below and above is not None:
                node = self._flow.document.graph.node(above.id)
                below = name in node.writes | node.mutates  # an edited cell may have given the name up
            if not below and not ns.put_back(cell.id, name, later):
                return False
        for name in basis.gone if basis is not None else ():
            ns.drop(name)
        return True

    def apply(
        self,
        cell: CellInfo,
        outcome: Outcome,
        code: tuple[ast.Module, str],
        manifest: tuple[Mapping[str, Any], ...],
        visit: VisitId | None,
    ) -> None:
        """Make an earlier success this cell's success: bind, unbind, define, and put hidden states back.

        `visit` is the one that it ends; None if the last on record stands.

        Raises
        ------
        ResultUnavailable
            If part of it cannot be read.
        """
        ns = self._flow.ns
        self._check_shared(cell, outcome)
        self._drop(cell, outcome)
        there = {n for n in outcome.kept if n in ns and ns.fingerprint(n) == outcome.names[n]}
        ns.materialize(there)
        stored = [v for v in self._versions(cell, outcome) if v.address and v.name not in there]
        carried = self._carried(cell, outcome)
        ns.promise(stored, carried)
        self._replace_plain(carried)
        put_back(self._flow.vault, outcome, (*code, self._flow.shell.compile.flags), ns)
        for name in (*outcome.modules, *outcome.defined, *outcome.closed):
            ns.made(Version(cell.id, name, outcome.names[name]))
        for version in self._versions(cell, outcome):
            if version.name in there:
                ns.made(version)
        if outcome.size <= _SMALL:
            ns.materialize(v.name for v in stored)
        self._finish(cell, outcome, self._flow.document.observed_reads(cell), ())
        pure = not any(r["kind"] in RESTING for r in manifest)
        self._inputs.note(cell, outcome, manifest, visit, ok=pure)
        if visit is not None:
            shown_again(from_plain(outcome.outputs), visit, self._flow)

    def _check_shared(self, cell: CellInfo, outcome: Outcome) -> None:
        """Whether what shares memory with the inputs that come with a result is what it was.

        Raises
        ------
        ResultUnavailable
            If something more does now: it would lose what it shares. Or if less does: it would share what it does not.
        """
        if not outcome.carried:
            return
        ns, later = self._flow.ns, self._flow.document.after(cell.id)
        near = ns.kin.linked(outcome.carried, data=True)
        now = {n for n in near if n not in outcome.names and ns.writer(n) not in later}
        if extra := sorted(now - set(outcome.carried)):
            told = f"{extra[0]} shares memory with {sorted(outcome.carried)[0]} now"
            raise ResultUnavailable(told, hint="the body runs again")
        if ns.kin.shared(outcome.carried) != frozenset(map(frozenset, outcome.shared)):
            told = f"{' and '.join(sorted(outcome.carried))} do not share memory as they did"
            raise ResultUnavailable(told, hint="the body runs again")

    def _replace_plain(self, carried: list[Version]) -> None:
        """Where an output shares memory with what a plain cell made, both come from one load."""
        flow = self._flow
        plain = [v for v in carried if (c := flow.document.cell(v.cell)) is not None and c.spec is None]
        user = flow.shell.user_ns
        before = {v.name: user[v.name] for v in plain if v.name in user}
        for version in plain:
            flow.ns.replace_plain(version)
        try:
            flow.ns.materialize(before)
        except ResultUnavailable:
            user.update(before)
            raise

    def ended_badly(self, cell: CellInfo) -> None:
        """A visit ended without a success."""
        self._flow.executed.add(cell.id)
        self._inputs.note_bad(cell)

    def _drop(self, cell: CellInfo, outcome: Outcome) -> None:
        """Names that an older execution of this cell made and this one did not, and those that it deleted, go."""
        ns, before = self._flow.ns, self._inputs.basis(cell.id)
        for name in before.made if before is not None else ():
            if name not in outcome.names:
                ns.unmake(cell.id, name)
        for name in outcome.deleted:
            ns.drop(name)

    def _versions(self, cell: CellInfo, outcome: Outcome) -> list[Version]:
        unstored = {*outcome.unstorable, *outcome.modules, *outcome.defined, *outcome.closed}
        producers = self._owners(cell, outcome)
        found = []
        for name, digest in outcome.names.items():
            group = tuple((producers.get(n, cell.id), n, outcome.digest(n)) for n in outcome.group(name))
            address = "" if name in unstored else outcome.values
            found.append(Version(cell.id, name, digest, address, group if address else ()))
        return found

    def _owners(self, cell: CellInfo, outcome: Outcome) -> dict[str, str]:
        """The cells that made what is carried along."""
        graph, ns = self._flow.document.graph, self._flow.ns
        found = {}
        for name in outcome.carried:
            owner = (graph.producer(cell.id, name) if cell.id in graph else None) or ns.writer(name)
            if owner is not None:
                found[name] = owner
        return found

    def _carried(self, cell: CellInfo, outcome: Outcome) -> list[Version]:
        owners, found = self._owners(cell, outcome), []
        for name, digest in outcome.carried.items():
            if name in owners:
                others = tuple((owners.get(n, cell.id), n, outcome.digest(n)) for n in outcome.group(name))
                found.append(Version(owners[name], name, digest, outcome.values, others))
        return found

    def _carry(self, cell: CellInfo, outcome: Outcome) -> None:
        if outcome.carried and outcome.values:
            self._flow.ns.promise((), self._carried(cell, outcome))

    def _finish(self, cell: CellInfo, outcome: Outcome, extra: frozenset[str], notes: tuple[Diagnosis, ...]) -> None:
        flow = self._flow
        flow.executed.add(cell.id)
        flow.turns[cell.id] = flow.turns.get(cell.id, 0) + 1
        seen = Seen(
            cell.shape,
            reads=extra,
            writes=frozenset(outcome.names) - frozenset(outcome.mutated),
            deletes=frozenset(outcome.deleted),
            mutates=frozenset(outcome.mutated),
            beside=frozenset(outcome.mutated) - (cell.names.reads if cell.names is not None else frozenset()),
        )
        flow.document.learn(cell.id, seen)
        self._shown[cell.id] = (cell.shape, notes)


_SMALL = 1 << 20


def _missing(cell: str, name: str) -> NotAvailable:
    """The error for a name whose plain cell would be needed but has not run, or was overwritten since."""
    return NotAvailable(
        f"{name} comes from a plain cell that has not run in this kernel, or was overwritten since",
        hint="run that cell by hand; plain cells are never run for you",
        name=name,
        cell=cell,
    )


def _mutations(cell: CellInfo, changes: Changes) -> tuple[Diagnosis, ...]:
    told = "{} was changed in place; it counts as a new version"
    return tuple(Diagnosis("MUTATES_INPUT", cell.id, n, told.format(n)) for n in sorted(changes.mutated))


def _random(cell: CellInfo, manifest: tuple[Mapping[str, Any], ...]) -> tuple[Diagnosis, ...]:
    drawn = [str(r["name"]) for r in manifest if r["kind"] == "rng"]
    told = "draws from {} without a seed of its own"
    return tuple(Diagnosis("UNSEEDED_RANDOM", cell.id, n, told.format(n)) for n in drawn)
