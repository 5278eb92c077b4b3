"""Plain cells stay plain Jupyter; this room only watches them.

Before one runs, the stored values that it reads are loaded, and a name that a failed or skipped task would have bound
becomes a clear error; afterwards, what it bound counts as a new version.
"""

from __future__ import annotations

import ast
from typing import Any

from prefect_nb.analysis.cells import split
from prefect_nb.analysis.names import Names
from prefect_nb.analysis.parsing import parse
from prefect_nb.authoring.calls import Caller, enter
from prefect_nb.authoring.document import CellInfo, Seen
from prefect_nb.authoring.footprint import is_shells
from prefect_nb.authoring.inputs import Version, overwritten, versions
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.tracebacks import spare
from prefect_nb.core.states import StateType
from prefect_nb.errors import NotAvailable, ResultUnavailable

__all__ = ["PlainCells"]

REFUSAL = "__prefect_nb_refusal__"
_ABSENT = object()


class PlainCells:
    """Hooks around the plain cells of one shell.

    Parameters
    ----------
    flow : LiveFlow
        The kernel's notebook.
    """

    def __init__(self, flow: LiveFlow) -> None:
        self._flow = flow
        self._now: CellInfo | None = None
        self._refusal: NotAvailable | None = None
        self._before: dict[str, Any] = {}
        self._reached: frozenset[str] = frozenset()
        self._reads: dict[str, Version] = {}

    def install(self) -> None:
        """Watch the shell's cells."""
        shell = self._flow.shell
        shell.events.register("pre_run_cell", self.before)
        shell.events.register("post_run_cell", self._after)
        shell.ast_transformers.append(self)

    def uninstall(self) -> None:
        """Stop watching."""
        shell = self._flow.shell
        shell.events.unregister("pre_run_cell", self.before)
        shell.events.unregister("post_run_cell", self._after)
        shell.ast_transformers[:] = [t for t in shell.ast_transformers if t is not self]

    def visit(self, tree: ast.Module) -> ast.Module:
        """As an IPython AST transformer: a cell that must be refused raises first, at its own first line."""
        if self._refusal is None or not tree.body:
            return tree
        refusal = parse(f"raise {REFUSAL}").body[0]
        ast.copy_location(refusal, tree.body[0])
        return ast.fix_missing_locations(ast.Module([refusal, *tree.body], tree.type_ignores))

    def before(self, info: Any) -> None:
        """A cell is about to run."""
        self._now = self._refusal = None
        self._flow.cell_id = getattr(info, "cell_id", None) or ""
        raw = getattr(info, "raw_cell", "") or ""
        if split(raw)[0] is not None or getattr(info, "silent", False) or not raw.strip():
            return
        if raw.lstrip().startswith(("%load_ext", "%reload_ext", "%unload_ext")):
            return
        flow = self._flow
        cell = self._now = flow.arrived(raw.removesuffix("\n"))
        flow.describe()
        if cell.names is None or cell.names.dynamic or cell.names.impure_magics or "get_ipython" in cell.code:
            flow.ns.materialize_all()
        else:
            late = {name for c in flow.document.cells if c.names is not None for name in c.names.defers}
            self._put_back(cell)
            try:
                flow.ns.materialize(cell.names.reads | cell.names.deletes | late)
            except ResultUnavailable as error:
                self._refuse(NotAvailable(error.message, hint=error.hint))
        if flow.opened and (missing := self._missing(cell)) is not None:
            self._refuse(missing)
        self._before_values()
        spare(flow.shell)
        enter(Caller(flow, None, cell.id))

    def _put_back(self, cell: CellInfo) -> None:
        """Where the order of the cells is known: what a cell that is not above this one replaced by its own version."""
        flow = self._flow
        if not flow.document.order_known:
            return
        for name, producer in flow.document.graph.inputs(cell.id).items():
            above, writer = flow.document.cell(producer), flow.ns.writer(name)
            last = flow.document.cell(writer) if writer is not None and writer != producer else None
            if above is None or last is None or (above.spec is None and last.spec is None):
                continue
            if above.spec is None or flow.ns.version(producer, name) is not None:
                flow.ns.put_back(producer, name, overwritten(flow, cell))

    def _before_values(self) -> None:
        flow, cell = self._flow, self._now
        assert cell is not None
        self._reached = flow.ns.reached(cell.names)
        self._reads = versions(flow, cell)
        self._before = {n: v for n, v in flow.shell.user_ns.items() if not is_shells(n)}

    def _refuse(self, error: NotAvailable) -> None:
        self._refusal = error
        self._flow.shell.user_ns[REFUSAL] = error

    def _missing(self, cell: CellInfo) -> NotAvailable | None:
        """A name that this cell reads and whose task ended without binding it."""
        flow = self._flow
        graph = flow.document.graph
        for name in sorted(cell.names.reads if cell.names else ()):
            producer = graph.producer(cell.id, name)
            above = flow.document.cell(producer) if producer is not None else None
            if above is None or above.spec is None or name in flow.ns:
                continue
            visit = flow.session.run.visit(above.spec.name)
            if visit is not None and (visit.state.type is not StateType.COMPLETED or not visit.result):
                state = visit.state
                words = f": {state.message}" if state.message else ""
                told = f"{name} is not available: task {above.spec.name} is {state.label}{words}"
                return NotAvailable(told, hint=f"run {above.spec.name} first", task=above.spec.name, state=state.label)
        return None

    def _after(self, result: Any) -> None:
        flow, cell = self._flow, self._now
        flow.shell.user_ns.pop(REFUSAL, None)
        if cell is None:
            return
        enter(None)
        if self._refusal is None:
            self._note(cell)
        else:
            flow.ns.ran(cell.names, self._reached)
        flow.executed.add(cell.id)
        self._now = self._refusal = None

    def _note(self, cell: CellInfo) -> None:
        """What the cell bound, deleted and changed counts as its version, whatever its source let expect."""
        flow, ns = self._flow, self._flow.ns
        lost = ns.ran(cell.names, self._reached)
        user = flow.shell.user_ns
        names = cell.names or Names()
        now = {n: v for n, v in user.items() if not is_shells(n)}
        bound = {n for n, v in now.items() if self._before.get(n, _ABSENT) is not v} | (names.must_write & now.keys())
        gone = {n for n in self._before if n not in now}
        altered = ns.altered({n: k for n, k in lost.items() if n not in bound})
        changed = altered | {n for n in names.mutates & now.keys() if n not in bound and n not in lost}
        ns.wrote_plain(cell.id, bound | changed)
        for name in gone:
            ns.drop(name)
        seen = Seen(
            cell.shape,
            writes=frozenset(bound) - names.writes,
            deletes=frozenset(gone) & names.deletes,
            mutates=frozenset(changed),
        )
        flow.document.learn(cell.id, seen)
        flow.turns[cell.id] = flow.turns.get(cell.id, 0) + 1
        flow.shapes[cell.id] = cell.shape
        flow.left[cell.id] = frozenset(n for n in now if ns.writer(n) == cell.id)
        flow.rests[cell.id] = self._reads
