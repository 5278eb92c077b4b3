"""The notebook as the kernel knows it: its cells in order, which of them are tasks, and the graph between them.

Where the page or the headless runner tells the order, it is the document's; elsewhere it is the order of first
execution, and `order_known` says so. Knows source text and the graph; not the shell, not the store. Several threads may
use it: a page's edits arrive while a cell runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from prefect_nb.analysis import cells
from prefect_nb.analysis.code import cell_fingerprint
from prefect_nb.analysis.header import options
from prefect_nb.analysis.names import BUILTINS, Names, analyze
from prefect_nb.core.graph import Graph
from prefect_nb.core.links import Node
from prefect_nb.core.reading import Builder
from prefect_nb.core.spec import TaskSpec
from prefect_nb.errors import UsageError

__all__ = ["CellInfo", "Document", "Seen"]

_NOTHING = frozenset[str]()
_WAYS = (False, True)


@dataclass(frozen=True, slots=True)
class CellInfo:
    """One code cell.

    Parameters
    ----------
    id : str
        The front end's id of the cell, or one of ours where there is none.
    source : str
        The cell as the user sees it.
    code : str
        Its body as plain Python.
    names : Names, optional
        What it reads and writes; None if it does not parse.
    spec : TaskSpec, optional
        Its task, None for a plain cell.
    fresh : bool
        Whether the author asked for this execution to ignore earlier results.
    complaint : str
        What is wrong with its header, empty if nothing is.
    tags : tuple of str
        The page's tags, such as ``parameters``.
    shape : str
        What decides its result, as text: its code without layout and comments, and the options of its key.
    """

    id: str
    source: str
    code: str
    names: Names | None
    spec: TaskSpec | None
    fresh: bool = False
    complaint: str = ""
    tags: tuple[str, ...] = ()
    shape: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one execution of a cell really did to names; it holds as long as the cell has this shape.

    `beside` are names that it changed through another one: it rests on them, though no edge says so.
    """

    shape: str
    reads: frozenset[str] = _NOTHING
    writes: frozenset[str] = _NOTHING
    deletes: frozenset[str] = _NOTHING
    mutates: frozenset[str] = _NOTHING
    beside: frozenset[str] = _NOTHING


@dataclass(slots=True)
class Document:
    """The cells of one notebook, replaced as the page tells them or learned as they run.

    Parameters
    ----------
    transform : callable
        Turns a cell's body into plain Python (magics become calls); must not execute anything.
    available : callable
        Names that the namespace holds without any cell having bound them.
    """

    transform: Callable[[str], str]
    available: Callable[[], frozenset[str]] = lambda: _NOTHING
    order_known: bool = False
    _cells: dict[str, CellInfo] = field(default_factory=dict)
    _graph: Graph | None = None
    _careful: Graph | None = None
    _builder: Builder = field(default_factory=Builder, repr=False)
    _careful_builder: Builder = field(default_factory=Builder, repr=False)
    _parsed: dict[str, CellInfo] = field(default_factory=dict)
    _seen: dict[str, Seen] = field(default_factory=dict)
    _late: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    _nodes: dict[tuple[str, bool], tuple[CellInfo, Seen | None, frozenset[str], Node]] = field(default_factory=dict)
    _told: tuple[Graph, bool, dict[str, Any]] | None = None
    _rebound: frozenset[str] = _NOTHING
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def cells(self) -> tuple[CellInfo, ...]:
        """Every known code cell in order."""
        return tuple(self._cells.values())

    def cell(self, cell_id: str) -> CellInfo | None:
        """The cell with this id."""
        return self._cells.get(cell_id)

    def task(self, name: str) -> CellInfo | None:
        """The cell whose task has this name."""
        return next((c for c in self.cells if c.spec is not None and c.spec.name == name), None)

    def replace(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take over the page's list of code cells: rows with ``id`` and ``source``, in document order."""
        known: dict[str, CellInfo] = {}
        with self._lock:
            for number, row in enumerate(rows, 1):
                cell_id = str(row.get("id") or f"cell-{number}")
                source = str(row.get("source", "")).removesuffix("\n")
                tags = tuple(str(t) for t in row.get("tags") or ())
                old = self._cells.get(cell_id)
                same = old is not None and old.source == source and old.tags == tags
                known[cell_id] = old if old is not None and same else replace(self._parse(cell_id, source), tags=tags)
            if self.order_known and list(known) == list(self._cells) and all(self._cells[i] is known[i] for i in known):
                return
            self._cells = known
            self.order_known = True
            self._renamed()

    def seen(self, cell_id: str, source: str) -> CellInfo:
        """Take over one cell that is about to run; a new one goes to the end."""
        with self._lock:
            old = self._cells.get(cell_id)
            if old is None or old.source != source:
                tags = old.tags if old is not None else ()
                self._cells[cell_id] = replace(self._parse(cell_id, source), tags=tags)
                self._renamed()
            return self._cells[cell_id]

    def learn(self, cell_id: str, seen: Seen) -> None:
        """What an execution showed: it corrects what the source alone says, until the cell is edited."""
        before = self._seen.get(cell_id)
        if before is not None and before.shape == seen.shape:
            seen = replace(seen, writes=seen.writes | before.writes)  # binding an equal object again is not seen
        if before == seen:
            return
        with self._lock:
            self._seen[cell_id] = seen
            cell = self._cells.get(cell_id)
            if cell is None or any(
                _node(cell, (), before, careful=c) != _node(cell, (), seen, careful=c) for c in _WAYS
            ):
                self._graph = self._careful = None

    def expect(self, cell: CellInfo, reads: frozenset[str]) -> bool:
        """Take over which names functions inside the cell's inputs look up; whether that is news."""
        if self._late.get(cell.id, ("", _NOTHING)) == (cell.shape, reads) or (cell.id not in self._late and not reads):
            return False
        with self._lock:
            self._late[cell.id] = cell.shape, reads
            self._graph = self._careful = None
        return True

    def undisturbed(self, cell: CellInfo) -> bool:
        """Whether no cell below binds, changes or unbinds a name that this one uses: then its place is immaterial."""
        if cell.names is None or _unclear(cell.names):
            return False
        used = cell.names.reads | cell.names.defers | cell.names.writes | cell.names.deletes | cell.names.mutates
        for below in self.after(cell.id) - {cell.id}:
            names, seen = self._cells[below].names or Names(), self._seen.get(below, Seen(""))
            changed = names.writes | names.mutates | names.deletes | seen.writes | seen.mutates | seen.deletes
            if _unclear(names) or used & (changed | seen.beside):
                return False
        return True

    def after(self, cell_id: str) -> frozenset[str]:
        """A cell and all below it."""
        order = list(self._cells)
        return frozenset(order[order.index(cell_id) :]) if cell_id in self._cells else _NOTHING

    def learned_reads(self, cell: CellInfo) -> frozenset[str]:
        """Names that an execution of this very cell was seen to depend on, beyond its source."""
        return self.observed_reads(cell) | self._looked_up(cell)

    def observed_reads(self, cell: CellInfo) -> frozenset[str]:
        """Names that code made up at run time was seen to read in an execution of this very cell."""
        seen = self._seen.get(cell.id)
        return seen.reads if seen is not None and seen.shape == cell.shape else _NOTHING

    def _looked_up(self, cell: CellInfo) -> frozenset[str]:
        shape, reads = self._late.get(cell.id, ("", _NOTHING))
        return reads if shape == cell.shape else _NOTHING

    def beside(self, cell: CellInfo) -> frozenset[str]:
        """Names that the cell was seen to change through other names."""
        seen = self._seen.get(cell.id)
        return seen.beside if seen is not None and seen.shape == cell.shape else _NOTHING

    @property
    def graph(self) -> Graph:
        """Who reads which version of whose names, as source and executions say."""
        with self._lock:
            if self._graph is None:
                ids = self._ids()
                nodes = [self._node(c, ids, False) for c in self._cells.values()]
                self._graph = self._builder.build(nodes, self.available())
            return self._graph

    @property
    def careful(self) -> Graph:
        """As `graph`, but a change that did not happen last time still may: what has to be up to date for a reader."""
        with self._lock:
            if self._careful is None:
                usual, ids = self.graph, self._ids()
                nodes = [self._node(c, ids, True) for c in self._cells.values()]
                same = all(one is two for one, two in zip(nodes, usual.nodes, strict=True))
                self._careful = usual if same else self._careful_builder.build(nodes, self.available())
            return self._careful

    def _ids(self) -> dict[str, str]:
        return {c.spec.name: c.id for c in self._cells.values() if c.spec is not None}

    def _node(self, cell: CellInfo, ids: Mapping[str, str], careful: bool) -> Node:
        """The cell's node; made again only when something about this very cell changed."""
        seen = self._seen.get(cell.id)
        after = tuple(ids.get(name, name) for name in cell.spec.after) if cell.spec is not None else ()
        late = self._looked_up(cell)
        known = self._nodes.get((cell.id, careful))
        if known is None or known[0] is not cell or known[1:3] != (seen, late) or known[3].after != after:
            node = _node(cell, after, seen, careful=careful)
            node = replace(node, looks_up=late) if late else node
            if careful and node == (usual := self._node(cell, ids, False)):
                node = usual  # the very same, so that equal graphs are told by their nodes
            known = self._nodes[cell.id, careful] = cell, seen, late, node
        return known[3]

    def to_plain(self) -> dict[str, Any]:
        """The tasks and the data edges between them, as the views draw them."""
        with self._lock:
            graph = self.graph
            if self._told is None or self._told[0] is not graph or self._told[1] != self.order_known:
                self._told = graph, self.order_known, self._plain()
            return self._told[2]

    def _plain(self) -> dict[str, Any]:
        tasks = {c.id: c.spec.name for c in self._cells.values() if c.spec is not None}
        edges: dict[tuple[str, str, str], list[str]] = {}
        for edge in self.graph.edges:
            if edge.source in tasks and edge.target in tasks and edge.kind in ("data", "after"):
                where = (tasks[edge.source], tasks[edge.target], edge.kind)
                edges.setdefault(where, []).append(edge.name)
        positions = {c.id: number for number, c in enumerate(self._cells.values(), 1)}
        return {
            "order_known": self.order_known,
            "nodes": [{"task": name, "cell": cell, "position": positions[cell]} for cell, name in tasks.items()],
            "edges": [{"source": s, "target": t, "names": sorted(set(n)), "kind": k} for (s, t, k), n in edges.items()],
        }

    def _parse(self, cell_id: str, source: str) -> CellInfo:
        cached = self._parsed.get(source)
        if cached is not None:
            return replace(cached, id=cell_id)
        header, body = cells.split(source)
        complaint = ""
        try:
            code = self.transform(body)
            names: Names | None = analyze(code, builtins=BUILTINS - self._rebound)
        except SyntaxError:
            code, names = body, None
        spec, fresh = None, False
        if header is not None:
            try:
                spec = cells.task_spec(header, names or analyze(""), 0)
                fresh = options(header.line).fresh
            except UsageError as error:
                complaint = str(error)
        info = CellInfo(cell_id, source, code, names, spec, fresh, complaint, (), _shape(code, spec))
        self._parsed[source] = info
        return info

    def _renamed(self) -> None:
        """Give every task a name of its own: a second "df" becomes "df-2", a nameless one its ordinal."""
        self._graph = self._careful = None
        self._respect_rebound()
        taken: set[str] = set()
        ordinal = 0
        for cell_id, info in self._cells.items():
            if info.spec is None:
                continue
            ordinal += 1
            wish = self._parsed[info.source].spec
            assert wish is not None
            stem = wish.name if wish.name != "task-0" else f"task-{ordinal}"
            name, number = stem, 1
            while name in taken:
                number += 1
                name = f"{stem}-{number}"
            taken.add(name)
            if name != info.spec.name:
                self._cells[cell_id] = replace(info, spec=replace(wish, name=name))

    def _respect_rebound(self) -> None:
        """A builtin that some cell binds is an ordinary name in all of them."""
        bound = frozenset[str]().union(*(c.names.writes for c in self._cells.values() if c.names)) & BUILTINS
        if bound != self._rebound:
            self._rebound = bound
            self._parsed.clear()
            for cell_id, cell in self._cells.items():
                self._cells[cell_id] = replace(self._parse(cell_id, cell.source), tags=cell.tags)


def _shape(code: str, spec: TaskSpec | None) -> str:
    options = "" if spec is None else f" {spec.version!r} {spec.files!r} {spec.env!r}"
    return cell_fingerprint(code) + options


def _unclear(names: Names) -> bool:
    return bool(names.dynamic or names.star_imports or names.impure_magics)


def _node(cell: CellInfo, after: tuple[str, ...], seen: Seen | None, *, careful: bool) -> Node:
    names = cell.names or Names()
    node = names.node(cell.id, "plain" if cell.spec is None else "task", after)
    if seen is None or seen.shape != cell.shape:
        return node
    return replace(
        node,
        reads=node.reads | seen.reads,
        writes=node.writes | seen.writes,
        deletes=node.deletes | seen.deletes,
        mutates=(node.mutates | seen.mutates if careful else seen.mutates) - node.writes - seen.deletes,
        opaque=False,
    )
