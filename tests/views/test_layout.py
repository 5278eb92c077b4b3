"""What a drawing promises whatever the graph."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_nb.views.cards import arrange
from prefect_nb.views.layout import place
from prefect_nb.views.model import EdgeView, NodeView, RunView, ViewModel


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    count = draw(st.integers(1, 24))
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] != pair[1])
    return count, draw(st.lists(pairs, max_size=40, unique=True))


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_boxes_never_overlap(graph: tuple[int, list[tuple[int, int]]]) -> None:
    """Whatever the edges, cycles included, no two boxes overlap and every route joins its two boxes."""
    count, edges = graph
    edges = [edge for index, edge in enumerate(edges) if (edge[1], edge[0]) not in edges[:index]]
    wide, deep = [80.0 + 7 * (i % 5) for i in range(count)], [40.0 + 9 * (i % 3) for i in range(count)]
    placed = place(wide, deep, edges)
    for i, (x, y) in enumerate(placed.corners):
        assert -1e-6 <= x <= placed.across - wide[i] + 1e-6
        for j in range(i):
            u, v = placed.corners[j]
            apart = x + wide[i] <= u + 1e-6 or u + wide[j] <= x + 1e-6 or y + deep[i] <= v or v + deep[j] <= y
            assert apart, (i, j)
    for (source, target), route in zip(edges, placed.routes, strict=True):
        for end, (x, y) in ((source, route[0]), (target, route[-1])):
            left, top = placed.corners[end]
            assert left <= x <= left + wide[end]
            assert top <= y <= top + deep[end]


def test_edges_point_with_the_flow() -> None:
    """Without a cycle every edge goes to a later layer."""
    edges = [(0, 1), (1, 2), (0, 2), (2, 3), (0, 3)]
    placed = place([90.0] * 4, [40.0] * 4, edges)
    assert all(placed.corners[s][1] < placed.corners[t][1] for s, t in edges)


def test_place_of_a_card_does_not_depend_on_its_state() -> None:
    """A change of state moves nothing."""
    nodes = [NodeView(id=name, label=name, position=i) for i, name in enumerate("abcd")]
    edges = (EdgeView("a", "b"), EdgeView("a", "c"), EdgeView("c", "d"))
    before = arrange(ViewModel.of(1, RunView(id="r", flow="f"), nodes, edges))
    done = [
        NodeView(id=n.id, label=n.label, position=n.position, state="Failed", type="FAILED", attempt=3, attempts=3)
        for n in nodes
    ]
    after = arrange(ViewModel.of(2, RunView(id="r", flow="f"), done, edges))
    assert [(c.x, c.y, c.width, c.height) for c in before.cards] == [(c.x, c.y, c.width, c.height) for c in after.cards]


def test_many_children_fold_into_one_line() -> None:
    """Up to six children are lines of their own; more become one line for each function, with counts."""
    cell = NodeView(id="cell", label="cell")

    def children(count: int) -> list[NodeView]:
        return [
            NodeView(id=f"f{i}", label="f", kind="function", parent="cell", state="Success", type="COMPLETED")
            for i in range(count)
        ]

    run = RunView(id="r", flow="f")
    few = arrange(ViewModel.of(1, run, [cell, *children(6)], ()))
    many = arrange(ViewModel.of(1, run, [cell, *children(7)], ()))
    assert [row.id for row in few.cards[0].rows] == [f"f{i}" for i in range(6)]
    assert [(row.label, row.counts) for row in many.cards[0].rows] == [("f", {"Success": 7})]
    assert len(many.cards) == 1
