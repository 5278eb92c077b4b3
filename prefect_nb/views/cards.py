"""From a view model to boxes on a plane: which node is a card, which is a line in a card, where each one lies.

Knows the view model and the layout. Must not know colours or markup. A function called by a cell is a line in the
cell's card; more than a few fold into one line per function. The size of a card never depends on states, so that a
state change never moves anything. The renderer's twin of this file is ``labextension/packages/view/src/cards.ts``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from prefect_nb.core.states import StateType
from prefect_nb.views.layout import Point, place
from prefect_nb.views.model import NodeView, ViewModel

__all__ = [
    "BOLD",
    "HEAD",
    "ROW",
    "Card",
    "Direction",
    "Drawing",
    "Link",
    "Row",
    "arrange",
    "fit_text",
    "listed",
    "route_path",
    "speaker",
    "text_width",
]

Direction = Literal["down", "right"]

HEAD = 46.0
"""Height of a card's head."""
ROW = 22.0
"""Height of one line for a child."""
_FOOT = 6.0
_LEAST, _MOST = 164.0, 264.0
BOLD = 14.2
"""Size at which a bold label of 13 pixels is measured."""
_FOLD_OVER = 6
_ROWS = 8
_GAP = 28.0
_NARROW = frozenset("fijlrtI.,:;'|!()[] ")
_WIDE = frozenset("mwMW@%")


@dataclass(frozen=True, slots=True)
class Row:
    """One child, or all children of one function: `counts` then says how many are in which state."""

    id: str
    label: str
    node: NodeView
    counts: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """A node with its lines and its place; `more` lines did not fit."""

    node: NodeView
    rows: tuple[Row, ...]
    more: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Link:
    """An edge between two cards and the corners of its way."""

    source: str
    target: str
    names: tuple[str, ...]
    kind: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything with a place."""

    cards: tuple[Card, ...]
    links: tuple[Link, ...]
    width: float
    height: float
    direction: Direction


def arrange(model: ViewModel, direction: Direction = "down") -> Drawing:
    """Place the cards of a model; cards without any edge form a block of their own after the rest."""
    cards = [_card(node, rows) for node, rows in _families(model)]
    at = {card.node.id: index for index, card in enumerate(cards)}
    known = {node.id for node in model.nodes}
    home = {node.id: node.parent if node.parent in known else node.id for node in model.nodes}
    joined: dict[tuple[int, int], tuple[list[str], str]] = {}
    for edge in model.edges:
        source, target = (at.get(home.get(end) or "") for end in (edge.source, edge.target))
        if source is None or target is None or source == target:
            continue
        names, kind = joined.get((source, target), ([], "after"))
        names.extend(name for name in edge.names if name not in names)
        joined[source, target] = (names, "data" if edge.kind == "data" else kind)
    linked = sorted({index for pair in joined for index in pair})
    small = {index: number for number, index in enumerate(linked)}
    down = direction == "down"
    placement = place(
        [cards[i].width if down else cards[i].height for i in linked],
        [cards[i].height if down else cards[i].width for i in linked],
        [(small[s], small[t]) for s, t in joined],
        gap_across=_GAP if down else 22.0,
        gap_along=44.0 if down else 64.0,
    )
    placed = list(cards)
    for index, (across, along) in zip(linked, placement.corners, strict=True):
        placed[index] = replace(cards[index], x=across if down else along, y=along if down else across)
    links = tuple(
        Link(
            cards[s].node.id,
            cards[t].node.id,
            tuple(names),
            kind,
            tuple(point if down else (point[1], point[0]) for point in points),
        )
        for ((s, t), (names, kind)), points in zip(joined.items(), placement.routes, strict=True)
    )
    width, height = (placement.across, placement.along) if down else (placement.along, placement.across)
    alone = [index for index in range(len(cards)) if index not in small]
    width, height = _shelve(placed, alone, width, height)
    return Drawing(tuple(placed), links, width, height, direction)


def _families(model: ViewModel) -> Iterable[tuple[NodeView, list[NodeView]]]:
    """Each card's node with its children, in document order where it is known, else as given."""
    known = {node.id for node in model.nodes}
    children: dict[str, list[NodeView]] = {}
    for node in model.nodes:
        if node.parent is not None and node.parent in known:
            children.setdefault(node.parent, []).append(node)
    roots = [node for node in model.nodes if node.parent is None or node.parent not in known]
    last = len(model.nodes) + max((node.position or 0 for node in roots), default=0)
    roots.sort(key=lambda node: last if node.position is None else node.position)
    return [(node, children.get(node.id, [])) for node in roots]


def listed(model: ViewModel) -> Iterable[tuple[Row, int]]:
    """Every line of a list or table with its depth, children after their parent and folded as on the card."""
    for node, children in _families(model):
        yield Row(node.id, node.label, node, node.counts), 0
        yield from ((row, 1) for row in _rows(node, children))


def _card(node: NodeView, children: list[NodeView]) -> Card:
    rows = _rows(node, children)
    more = max(0, len(rows) - _ROWS)
    rows = rows[:_ROWS]
    width = text_width(node.label, BOLD) + 84.0
    for row in rows:
        width = max(width, text_width(row.label, 11.5) + 116.0)
    height = HEAD + (ROW * (len(rows) + (more > 0)) + _FOOT if rows else 0.0)
    return Card(node, tuple(rows), more, 0.0, 0.0, min(_MOST, max(_LEAST, width)), height)


def _rows(parent: NodeView, children: list[NodeView]) -> list[Row]:
    if len(children) <= _FOLD_OVER:
        return [Row(child.id, child.label, child, child.counts) for child in children]
    groups: dict[str, list[NodeView]] = {}
    for child in children:
        groups.setdefault(child.label, []).append(child)
    rows: list[Row] = []
    for label, group in groups.items():
        if len(group) == 1:
            rows.append(Row(group[0].id, label, group[0], group[0].counts))
            continue
        counts: Counter[str] = Counter()
        for child in group:
            counts.update(child.counts if child.counts else {child.state: 1})
        rows.append(Row(f"{parent.id}::{label}", label, speaker(group), dict(counts)))
    return rows


_WEIGHT = {
    kind.value: weight
    for weight, kind in enumerate(
        (
            StateType.FAILED,
            StateType.CRASHED,
            StateType.RUNNING,
            StateType.CANCELLING,
            StateType.PAUSED,
            StateType.SCHEDULED,
            StateType.PENDING,
            StateType.CANCELLED,
            StateType.COMPLETED,
        )
    )
}


def speaker(group: list[NodeView]) -> NodeView:
    """The child that stands for all: the first of the type that matters most; done only when all are done."""
    return min(group, key=lambda node: _WEIGHT.get(node.type, len(_WEIGHT)))


def _shelve(cards: list[Card], alone: list[int], width: float, height: float) -> tuple[float, float]:
    """Put the given cards on shelves below everything else; the new size of the whole."""
    room = max(width, 3 * _MOST)
    x, y, tallest = 0.0, height + 44.0 if height else 0.0, 0.0
    for index in alone:
        card = cards[index]
        if x and x + card.width > room:
            x, y, tallest = 0.0, y + tallest + _GAP, 0.0
        cards[index] = replace(card, x=x, y=y)
        tallest = max(tallest, card.height)
        width, height = max(width, x + card.width), y + tallest
        x += card.width + _GAP
    return width, height


def route_path(points: tuple[Point, ...], direction: Direction) -> str:
    """SVG path data of a link: straight along the flow, curved between layers."""
    path = f"M{_short(points[0][0])} {_short(points[0][1])}"
    axis = 0 if direction == "down" else 1
    for (x1, y1), (x2, y2) in pairwise(points):
        if abs((x1, y1)[axis] - (x2, y2)[axis]) < 0.05:
            path += f"L{_short(x2)} {_short(y2)}"
        elif direction == "down":
            middle = _short((y1 + y2) / 2)
            path += f"C{_short(x1)} {middle} {_short(x2)} {middle} {_short(x2)} {_short(y2)}"
        else:
            middle = _short((x1 + x2) / 2)
            path += f"C{middle} {_short(y1)} {middle} {_short(y2)} {_short(x2)} {_short(y2)}"
    return path


def _short(value: float) -> str:
    number = int(value * 10 + (0.5 if value >= 0 else -0.5)) / 10
    return str(int(number)) if number == int(number) else f"{number:.1f}"


def text_width(text: str, size: float) -> float:
    """A safe estimate without fonts, in pixels; the same on every machine."""
    return sum(_advance(character) for character in text) * size


def _advance(character: str) -> float:
    if ord(character) > 0x2E7F:
        return 1.05
    if character in _NARROW:
        return 0.36
    if character in _WIDE:
        return 0.92
    return 0.7 if character.isascii() and character.isupper() else 0.585


def fit_text(text: str, width: float, size: float) -> str:
    """The text, or its beginning and an ellipsis, so that it fits."""
    if text_width(text, size) <= width:
        return text
    room = width - size
    for index, character in enumerate(text):
        room -= _advance(character) * size
        if room < 0:
            return text[:index].rstrip() + "…"
    return text
