"""The graph of cells: versions in document order, late names, order edges, problems, closures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cells.catalogue import Case, cases
from hypothesis import given
from hypothesis import strategies as st

from prefect_nb.core.graph import Graph
from prefect_nb.core.links import Edge, Node, Problem
from prefect_nb.core.reading import Builder, build
from prefect_nb.errors import UsageError

LEARNED_AT_RUN_TIME = {
    "A11": "the names of a star import are known only when it has run",
    "A25": "what eval reads is observed, not seen",
}
OBSERVED_MUTATIONS = {
    "B06": {"b": {"p", "q"}},  # the alias is found when b runs
    "B09": {"b": set()},  # sort() changed nothing
}
STATIC_CODES = {"MULTI_DEF", "FORWARD_READ", "UNDEF_READ", "MUTATES_INPUT"}
DIAGNOSED_AT_RUN_TIME = {("B11", "MUTATES_INPUT"): "a mutable default changes inside a call"}


def graph_of(case: Case) -> Graph:
    """The graph as static analysis sees the case, with mutations as its run would show them."""
    nodes = []
    names = case.names()
    for cell in case.cells:
        found = names[cell["id"]]
        kind = "task" if cell.get("kind", "task") == "task" else "plain"
        after = tuple(cell.get("opts", {}).get("upstream", ()))
        mutates = OBSERVED_MUTATIONS.get(case.id, {}).get(cell["id"], found.mutates)
        nodes.append(replace(found.node(cell["id"], kind, after), mutates=frozenset(mutates)))
    return build(nodes)


def node(id: str, reads: str = "", writes: str = "", **more: object) -> Node:
    """A node from words."""
    sets = {
        key: frozenset(str(more.pop(key)).split())
        for key in ("deletes", "defers", "mutates", "keeps", "soft")
        if key in more
    }
    return Node(id, reads=frozenset(reads.split()), writes=frozenset(writes.split()), **sets, **more)  # type: ignore[arg-type]


def data(graph: Graph) -> set[tuple[str, str, str]]:
    """The data edges as triples."""
    return {(e.source, e.target, e.name) for e in graph.edges if e.kind == "data"}


def codes(graph: Graph) -> list[tuple[str, str, str]]:
    """The problems without their wording."""
    return [(p.code, p.node, p.name) for p in graph.problems]


WITH_EDGES = [c for c in cases() if "edges" in c.data and c.id not in LEARNED_AT_RUN_TIME]
WITH_ORDER = [c for c in cases() if "order_edges" in c.data]
WITH_CODES = [
    pytest.param(c, d, id=f"{c.id}-{d}")
    for c in cases()
    for d in c.data.get("diag", [])
    if d in STATIC_CODES and (c.id, d) not in DIAGNOSED_AT_RUN_TIME
]


@pytest.mark.parametrize("case", WITH_EDGES, ids=lambda c: c.id)
def test_edges_are_as_stated(case: Case) -> None:
    """The data edges are exactly those of the catalogue."""
    assert data(graph_of(case)) == {tuple(edge) for edge in case.data["edges"]}


@pytest.mark.parametrize("case", WITH_ORDER, ids=lambda c: c.id)
def test_order_edges_are_as_stated(case: Case) -> None:
    """The order edges are exactly those of the catalogue."""
    found = {(e.source, e.target, e.name, e.kind) for e in graph_of(case).order_edges}
    assert found == {tuple(edge) for edge in case.data["order_edges"]}


@pytest.mark.parametrize(("case", "code"), WITH_CODES)
def test_static_diagnostics_are_reported(case: Case, code: str) -> None:
    """Every diagnostic of the catalogue that needs no run is among the problems."""
    assert code in {problem.code for problem in graph_of(case).problems}


LATE = {
    "a late name may be made after the function and before its caller": (
        [node("f", "", "f", defers="k"), node("k", "", "k"), node("a", "f", "y")],
        {("f", "a", "f"), ("k", "a", "k")},
    ),
    "the version above the caller counts, not the one above the function": (
        [node("k", "", "k"), node("f", "", "f", defers="k"), node("k2", "", "k"), node("a", "f", "y")],
        {("f", "a", "f"), ("k2", "a", "k")},
    ),
    "what the function's own cell makes needs no edge of its own": (
        [node("f", "", "f k", late={"f": frozenset({"k"})}), node("a", "f", "y")],
        {("f", "a", "f")},
    ),
    "unless another cell has replaced it": (
        [node("f", "", "f k", late={"f": frozenset({"k"})}), node("k", "", "k"), node("a", "f", "y")],
        {("f", "a", "f"), ("k", "a", "k")},
    ),
    "only the late names of the function that is read": (
        [
            node("k", "", "k m"),
            node("f", "", "f g", defers="k m", late={"f": frozenset({"k"}), "g": frozenset({"m"})}),
            node("a", "g", "y"),
        ],
        {("f", "a", "g"), ("k", "a", "m")},
    ),
    "through a chain of functions": (
        [
            node("k", "", "k"),
            node("h", "", "h", defers="k"),
            node("g", "", "g", defers="h"),
            node("f", "", "f", defers="g"),
            node("a", "f", "y"),
        ],
        {("f", "a", "f"), ("g", "a", "g"), ("h", "a", "h"), ("k", "a", "k")},
    ),
    "a new definition brings its own late names": (
        [node("k", "", "k"), node("f", "", "f", defers="k"), node("f2", "", "f"), node("a", "f", "y")],
        {("f2", "a", "f")},
    ),
    "a call that changes the function object keeps its late names": (
        [node("k", "", "k"), node("f", "", "f", defers="k"), node("m", "f", mutates="f"), node("a", "f", "y")],
        {("f", "m", "f"), ("k", "m", "k"), ("m", "a", "f"), ("k", "a", "k")},
    ),
}


@pytest.mark.parametrize(("nodes", "edges"), LATE.values(), ids=LATE)
def test_late_names_flow_to_the_reader(nodes: list[Node], edges: set[tuple[str, str, str]]) -> None:
    """What a function looks up is an input of the cell that reads the function."""
    assert data(build(nodes)) == edges


VERSIONS = {
    "a deleted name has no version": (
        [node("a", "", "x"), node("d", "x", "", deletes="x"), node("b", "x", "y")],
        {("a", "d", "x")},
        [("UNDEF_READ", "b", "x")],
    ),
    "a name bound on some paths only lets the version above shine through": (
        [node("a", "", "x"), node("m", "c", "x", keeps="x"), node("b", "x", "y")],
        {("a", "m", "x"), ("m", "b", "x")},
        [("UNDEF_READ", "m", "c"), ("MULTI_DEF", "m", "x")],
    ),
    "and reads nothing if there is none": (
        [node("m", "", "x", keeps="x"), node("b", "x", "y")],
        {("m", "b", "x")},
        [],
    ),
    "soft reads make edges but no problems": (
        [node("a", "", "x"), node("b", "x HOME", "y", soft="x HOME")],
        {("a", "b", "x")},
        [],
    ),
}


@pytest.mark.parametrize(("nodes", "edges", "problems"), VERSIONS.values(), ids=VERSIONS)
def test_versions(nodes: list[Node], edges: set[tuple[str, str, str]], problems: list[tuple[str, str, str]]) -> None:
    """A reader sees the nearest version above it."""
    graph = build(nodes)
    assert data(graph) == edges
    assert codes(graph) == problems


def test_a_deletion_comes_after_every_reader_and_before_the_next_writer() -> None:
    """Deleting ends a version: its readers come first, the next writer later."""
    graph = build([node("a", "", "x"), node("b", "x", "y"), node("d", "x", "", deletes="x"), node("e", "", "x")])
    assert set(graph.order_edges) == {Edge("b", "d", "x", "anti"), Edge("d", "e", "x", "output")}


def test_available_names_are_no_problem_and_a_cell_may_replace_them() -> None:
    """Names from outside the graph are there until a cell binds them."""
    graph = build(
        [node("a", "len x", "y"), node("b", "", "len"), node("c", "len", "z")], available=frozenset({"len", "x"})
    )
    assert data(graph) == {("b", "c", "len")}
    assert graph.problems == ()


def test_missing_names_are_sure_only_where_they_are_sure_to_be_looked_up() -> None:
    """Only a task's own read of a name that nothing can have bound is sure; hints never refuse."""
    nodes = [
        node("f", "", "f", defers="later"),
        node("a", "f nothing", "y"),
        node("p", "nothing", kind="plain"),
        node("s", opaque=True),
        node("b", "nothing"),
        node("l", "", "later"),
    ]
    found = {(p.code, p.node, p.name): p.sure for p in build(nodes).problems}
    assert found == {
        ("UNDEF_READ", "a", "nothing"): True,
        ("FORWARD_READ", "a", "later"): False,
        ("UNDEF_READ", "p", "nothing"): False,
        ("UNDEF_READ", "b", "nothing"): False,
    }


def test_wording_names_the_nearest_name_and_the_later_cell() -> None:
    """A problem says what to look at."""
    graph = build([node("a", "", "orders"), node("b", "ordrs later"), node("c", "", "later")])
    words = {p.name: p.wording for p in graph.problems}
    assert words["ordrs"] == "'b' reads 'ordrs', which no cell makes; did you mean 'orders'?"
    assert words["later"] == "'b' reads 'later', which only 'c' below it makes"


def test_after_edges_unknown_tasks_and_cycles() -> None:
    """`after` makes edges, names tasks only, and its cycles are reported once, in their order."""
    graph = build(
        [
            node("a", after=("c",)),
            node("b", after=("a", "a", "nope")),
            node("c", after=("b",)),
            node("d", after=("c", "p")),
            node("p", kind="plain"),
        ]
    )
    assert {e for e in graph.edges if e.kind == "after"} == {
        Edge("c", "a", "c", "after"),
        Edge("a", "b", "a", "after"),
        Edge("b", "c", "b", "after"),
        Edge("c", "d", "c", "after"),
    }
    assert codes(graph) == [("CYCLE", "a", "c"), ("UNKNOWN_AFTER", "b", "nope"), ("UNKNOWN_AFTER", "d", "p")]
    assert graph.problems[0].wording == "these cells wait for each other: 'a' -> 'b' -> 'c' -> 'a'"
    assert graph.stuck() == {"a", "b", "c", "d"}
    assert graph.order() == ("p", "a", "b", "c", "d")


def test_a_task_may_run_after_one_further_down() -> None:
    """The order is the document's unless an edge says otherwise."""
    graph = build([node("a", after=("c",)), node("b"), node("c")])
    assert graph.order() == ("b", "c", "a")
    assert graph.problems == ()


def test_producers_and_closures() -> None:
    """Neighbours and closures come in document order and leave the cell itself out."""
    graph = build([node("a", "", "x"), node("u", "", "z"), node("b", "x", "y"), node("c", "y x", "w")])
    assert graph.producer("c", "y") == "b"
    assert graph.producer("c", "x") == "a"
    assert graph.producer("c", "nope") is None
    assert graph.inputs("c") == {"x": "a", "y": "b"}
    assert graph.upstream("c") == ("a", "b")
    assert graph.downstream("a") == ("b", "c")
    assert graph.ancestors("c") == ("a", "b")
    assert graph.descendants("a") == ("b", "c")
    assert graph.descendants("u") == ()
    assert "c" in graph
    assert "q" not in graph


def test_two_cells_of_one_name_are_refused() -> None:
    """An id names one cell."""
    with pytest.raises(UsageError, match="'a'"):
        build([node("a"), node("b"), node("a")])


def test_a_graph_is_a_value() -> None:
    """Equal cells give equal graphs, and a graph cannot be changed."""
    nodes = [node("a", "", "x"), node("b", "x", "y")]
    assert build(nodes) == build(list(nodes))
    with pytest.raises(AttributeError):
        build(nodes).edges = ()  # type: ignore[misc]
    assert isinstance(build([node("q", "x")]).problems[0], Problem)


def test_a_large_document_has_edges_for_its_reads_only() -> None:
    """5,000 cells with three reads each, and a scratch name that every cell rewrites, stay linear in size."""
    count = 5_000
    nodes = [node(f"c{i}", f"v{i - 1} v{max(0, i - 7)} v{i // 2}" if i else "", f"v{i} scratch") for i in range(count)]
    graph = build(nodes)
    assert len(graph.edges) <= 3 * count
    assert len(graph.order_edges) == count - 1
    assert graph.order() == tuple(n.id for n in nodes)
    assert len(graph.descendants("c0")) == count - 1


_SOME_NAMES = st.frozensets(st.sampled_from("abcdef"), max_size=3)


@st.composite
def _lives(draw: st.DrawFn) -> list[tuple[list[Node], frozenset[str]]]:
    """A notebook at several moments: most often it grew at its end, sometimes a cell above was edited or is gone."""
    found: list[tuple[list[Node], frozenset[str]]] = []
    cells: list[Node] = []
    for moment in range(draw(st.integers(2, 5))):
        for number in range(draw(st.integers(0, 3))):
            sets = {name: draw(_SOME_NAMES) for name in ("reads", "writes", "deletes", "mutates", "keeps", "soft")}
            defers, opaque = draw(_SOME_NAMES), draw(st.booleans())
            after = tuple(n.id for n in cells[:1]) if draw(st.booleans()) else ("nowhere",) * draw(st.integers(0, 1))
            cells = [*cells, Node(f"{moment}.{number}", **sets, defers=defers, opaque=opaque, after=after)]
        if cells and draw(st.integers(0, 3)) == 0:
            place = draw(st.integers(0, len(cells) - 1))
            edited = [replace(cells[place], reads=draw(_SOME_NAMES))] if draw(st.booleans()) else []
            cells = [*cells[:place], *edited, *cells[place + 1 :]]
        found.append((cells, draw(_SOME_NAMES)))
    return found


@given(_lives())
def test_a_graph_that_grew_is_the_graph_that_is_built_at_once(life: list[tuple[list[Node], frozenset[str]]]) -> None:
    """What a builder keeps of an earlier graph never shows; the earlier graph is not changed by the later ones."""
    builder = Builder()
    grown = [(builder.build(cells, given_), build(cells, available=given_)) for cells, given_ in life]
    assert all(one == two for one, two in grown)


def test_a_cell_at_the_end_is_walked_alone() -> None:
    """A builder looks at new cells only, as long as nothing that they bind was missed above."""
    builder = Builder()
    first, second = node("one", "gone", "a"), node("two", "a", "b")
    builder.build([first], frozenset())
    walked: list[str] = []
    draft = builder._draft
    draft.read = lambda place, node: walked.append(node.id)  # type: ignore[method-assign]
    builder.build([first, second], frozenset())
    assert walked == ["two"]
    builder.build([first, second, node("three", "", "gone")], frozenset())
    assert builder._draft is not draft
