"""Whether running a task again would compute something new, as a badge: told while a person edits, without running.

What can be told from sources and from what is on record is told at once, in any thread. What only live values and
files can tell is looked up in the kernel's main thread between two cells, and remembered.
"""

from __future__ import annotations

from collections.abc import Mapping

from prefect_nb.authoring.document import CellInfo
from prefect_nb.authoring.inputs import Basis, Inputs
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.core.graph import Graph
from prefect_nb.views.model import Freshness

__all__ = ["Badges"]


class Badges:
    """The freshness of every task in one kernel.

    Parameters
    ----------
    flow : LiveFlow
        The kernel's notebook.
    inputs : Inputs
        What each task last rested on.
    """

    def __init__(self, flow: LiveFlow, inputs: Inputs) -> None:
        self._flow = flow
        self._inputs = inputs
        self._shapes: dict[str, str] = {}
        self._moved: frozenset[str] = frozenset()

    def look(self) -> bool:
        """Look at live values and files; whether anything is different from the last look. Main thread only."""
        flow = self._flow
        if not flow.opened:
            return False
        known = [c for c in flow.document.cells if c.spec is not None and self._inputs.basis(c.id) is not None]
        moved = frozenset(c.id for c in known if not self._inputs.unchanged(c))
        news, self._moved = moved != self._moved, moved
        return news

    def told(self) -> Mapping[str, Freshness]:
        """Of each task that ran in this kernel, by name. From any thread; touches no value."""
        flow = self._flow
        cells, graph = flow.document.cells, flow.document.graph
        self._shapes = {c.source: self._shapes.get(c.source) or c.shape for c in cells}
        found: dict[str, Freshness] = {}
        stale: set[str] = set()
        for cell in cells:
            if cell.id not in graph:
                continue
            late = any(above in stale for above in graph.upstream(cell.id))
            basis = self._inputs.basis(cell.id)
            if cell.spec is None:
                if late or self._edited(cell):
                    stale.add(cell.id)
            elif basis is not None:
                badge = self._badge(cell, basis, graph, late=late)
                found[cell.spec.name] = badge
                if badge != "fresh":
                    stale.add(cell.id)
            elif late:
                stale.add(cell.id)
        return found

    def _badge(self, cell: CellInfo, basis: Basis, graph: Graph, *, late: bool) -> Freshness:
        if basis.shape != self._shapes[cell.source] or self._invalid(cell):
            return "stale-code"
        if late or cell.id in self._moved or self._rewired(cell, basis, graph):
            return "stale-input"
        return "fresh"

    def _edited(self, cell: CellInfo) -> bool:
        """Whether a plain cell was edited since it ran."""
        then = self._flow.shapes.get(cell.id)
        return then is not None and then != self._shapes[cell.source]

    def _invalid(self, cell: CellInfo) -> bool:
        visit = self._flow.session.run.visit(cell.spec.name) if cell.spec is not None and self._flow.opened else None
        return visit is not None and visit.invalid

    def _rewired(self, cell: CellInfo, basis: Basis, graph: Graph) -> bool:
        """Whether a name that it reads comes from another cell now, or its producer made something else since."""
        for name, producer in graph.inputs(cell.id).items():
            then = basis.inputs.get(name)
            if then is None:
                if self._flow.document.cell(producer) is not None:
                    return True
                continue
            made = self._flow.ns.version(producer, name)
            if then.cell != producer or (made is not None and made.fingerprint != then.digest):
                return True
        return False
