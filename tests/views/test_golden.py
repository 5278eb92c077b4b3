"""Views agree with the golden files that the renderer's own tests read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefect_nb.core.states import StateName
from prefect_nb.views import palette, words
from prefect_nb.views.cards import Direction, arrange, route_path
from prefect_nb.views.fold import LARGE, fold
from prefect_nb.views.layout import place
from prefect_nb.views.model import EdgeView, NodeView, RunView, ViewModel, patch

GOLDEN = Path(__file__).parents[1] / "golden"


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))


def plain(value: Any) -> Any:
    """As it looks after a trip through JSON."""
    return json.loads(json.dumps(value))


def test_model_survives_json() -> None:
    """A model read from JSON writes the same JSON."""
    assert plain(ViewModel.from_plain(golden("flights")).to_plain()) == golden("flights")


def test_totals_are_counted() -> None:
    """The totals of a model count each task once and leave plain cells and children out."""
    model = ViewModel.from_plain(golden("flights"))
    counted = ViewModel.of(model.seq, model.run, model.nodes, model.edges)
    assert counted == model
    assert sum(counted.counts.values()) == sum(n.kind != "plain" and n.parent is None for n in model.nodes)


def test_patch_holds_only_what_changed() -> None:
    """A patch between two models is the golden one: whole changed nodes, removed ids, nothing else."""
    change = patch(ViewModel.from_plain(golden("flights")), ViewModel.from_plain(golden("flights-after")))
    assert plain(change) == golden("patch")
    assert change["run"] is None
    assert change["removed"] == ["tidy_up"]


@pytest.mark.parametrize("direction", ["down", "right"])
def test_drawing(direction: Direction) -> None:
    """Cards, lines and routes lie where the renderer in the page puts them."""
    drawing = arrange(ViewModel.from_plain(golden("flights")), direction)
    expected = golden("drawing")[direction]
    assert (drawing.width, drawing.height) == (expected["width"], expected["height"])
    for card, want in zip(drawing.cards, expected["cards"], strict=True):
        assert (card.node.id, card.x, card.y, card.width, card.height, card.more) == tuple(
            want[key] for key in ("id", "x", "y", "width", "height", "more")
        )
        rows = [{"id": r.id, "label": r.label, "state": r.node.state, "counts": r.counts} for r in card.rows]
        assert plain(rows) == want["rows"]
    for link, want in zip(drawing.links, expected["links"], strict=True):
        assert route_path(link.points, direction) == want["path"]
        assert (link.source, link.target, list(link.names)) == (want["source"], want["target"], want["names"])


def test_layout() -> None:
    """Places and routes of bare graphs, one of them with a cycle, are the golden ones."""
    for case in golden("layout"):
        placed = place(case["across"], case["along"], [tuple(edge) for edge in case["edges"]])
        assert plain(placed.corners) == case["corners"]
        assert plain(placed.routes) == case["routes"]
        assert [placed.across, placed.along] == case["size"]


def test_palette_is_complete_and_shared() -> None:
    """Every state has a look, the tables are the golden ones, and close pairs differ in glyph or border."""
    assert set(palette.LOOKS) == set(StateName)
    saved = golden("palette")
    assert {n.label: [k.tone, k.glyph, k.border, k.words] for n, k in palette.LOOKS.items()} == saved["looks"]
    assert dict(palette.GLYPHS) == saved["glyphs"]
    types: dict[tuple[str, str], set[str]] = {}
    for name, look in palette.LOOKS.items():
        types.setdefault((look.glyph, look.border), set()).add(name.type.value)
    assert all(len(group) == 1 for group in types.values()), "two types share glyph and border"


def test_words() -> None:
    """Numbers and nodes read as the golden file says."""
    saved = golden("words")
    assert [[value, words.duration(value)] for value, _ in saved["durations"]] == saved["durations"]
    assert [[value, words.age(value)] for value, _ in saved["ages"]] == saved["ages"]
    model = ViewModel.from_plain(golden("flights"))
    upstream: dict[str, list[str]] = {}
    for edge in model.edges:
        upstream.setdefault(edge.target, []).append(edge.source)
    assert [[n.id, words.node_line(n)] for n in model.nodes] == saved["lines"]
    assert [[n.id, words.spoken(n, upstream.get(n.id, []))] for n in model.nodes] == saved["spoken"]


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes(count: int, said: str) -> None:
    """Bytes are said in binary units."""
    assert words.size(count) == said


@pytest.mark.parametrize("case", range(3), ids=["by name", "by depth", "small enough"])
def test_large_graphs_fold(case: int) -> None:
    """Over 150 tasks fold into the groups that the renderer in the page makes; 150 stay as they are."""
    told = golden("folded")[case]
    nodes = [NodeView(id=i, label=n, kind="function", state=s, type=t, counts=c) for i, n, s, t, c in told["rows"]]
    edges = [EdgeView(source, target) for source, target in told["edges"]]
    drawn = fold(ViewModel.of(1, RunView(id="r", flow="many"), nodes, edges))
    assert plain([[n.id, n.label, n.state, n.type, n.counts] for n in drawn.nodes]) == told["nodes"]
    assert plain([[e.source, e.target] for e in drawn.edges]) == told["folded"]
    assert len(drawn.nodes) <= LARGE
    lost = sum(sum(n.counts.values()) if n.counts else 1 for n in drawn.nodes if n.id.startswith("group:"))
    alone = sum(not n.id.startswith("group:") for n in drawn.nodes)
    assert lost + alone == len(nodes) + 4 * (case == 0), "each task counts once, and a map's children each"
