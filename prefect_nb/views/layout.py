"""Layered drawing of a directed graph, in numbers only: ranks, orders, places and routes.

Knows sizes and edges by index. Must not know what a task is. Deterministic: equal input gives equal output, here and in
the renderer's twin of this file (``labextension/packages/view/src/layout.ts``); a golden file pins both, so every
operation on floats is written in the same order there.

Ranks are longest paths; long edges become chains of dummies; crossings are removed by barycentre sweeps and by swaps of
neighbours, keeping the best order seen; places come from pool-adjacent-violators, which gives the least squares
solution under minimum distances in linear time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from prefect_nb.views.layers import Web, layered, sorted_forward, untangle

__all__ = ["Placement", "Point", "place"]

Point = tuple[float, float]
"""Across the layers, then along the direction of flow."""

_PORT_STEP = 14.0


@dataclass(frozen=True, slots=True)
class Placement:
    """The near corner of each vertex, the corners of each edge's route, the total size."""

    corners: tuple[Point, ...]
    routes: tuple[tuple[Point, ...], ...]
    across: float
    along: float


def place(
    across: Sequence[float],
    along: Sequence[float],
    edges: Sequence[tuple[int, int]],
    *,
    gap_across: float = 28.0,
    gap_along: float = 44.0,
) -> Placement:
    """Lay out a graph.

    Parameters
    ----------
    across, along : sequence of float
        The size of each vertex across the layers and along the flow.
    edges : sequence of (int, int)
        From, to; no loops, no doubles. A cycle is drawn as if one of its edges pointed the other way.
    gap_across, gap_along : float
        Free space between neighbours in a layer, and between layers.
    """
    if not across:
        return Placement((), (), 0.0, 0.0)
    order, forward = sorted_forward(len(across), edges)
    web = layered(across, order, forward)
    untangle(web)
    centre = _settle(web, gap_across)
    _straighten(web, centre, gap_across)
    return _measured(web, centre, along, gap_along, [pair == edge for pair, edge in zip(forward, edges, strict=True)])


def _settle(web: Web, gap: float) -> list[float]:
    """The centre of every vertex across its layer."""
    centre = [0.0] * len(web.rank)
    offsets: list[list[float]] = []
    for layer in web.layers:
        run: list[float] = []
        for index, vertex in enumerate(layer):
            run.append(run[-1] + _apart(web, layer[index - 1], vertex, gap) if index else 0.0)
        offsets.append(run)
        for vertex, offset in zip(layer, run, strict=True):
            centre[vertex] = offset - run[-1] / 2
    count = len(web.layers)
    for turn in range(10 if len(web.rank) < 2000 else 6):
        levels = range(count) if turn % 2 == 0 else range(count - 1, -1, -1)
        for level in levels:
            both = turn >= 4
            _relax(web, level, centre, offsets[level], (both or turn % 2 == 0, both or turn % 2 == 1))
    return centre


def _apart(web: Web, left: int, right: int, gap: float) -> float:
    slim = left >= web.real and right >= web.real
    return (web.width[left] + web.width[right]) / 2 + (gap / 2 if slim else gap)


def _relax(web: Web, level: int, centre: list[float], offsets: Sequence[float], sides: tuple[bool, bool]) -> None:
    """Move one layer as near to its neighbours as the distances allow (pool adjacent violators)."""
    layer = web.layers[level]
    sums: list[float] = []
    weights: list[float] = []
    sizes: list[int] = []
    for vertex, offset in zip(layer, offsets, strict=True):
        pull, weight = 0.0, 0.0
        for side, near in ((sides[0], web.above[vertex]), (sides[1], web.below[vertex])):
            if side:
                for other in near:
                    force = 1.0 + (vertex >= web.real) + (other >= web.real) * (1.0 + 4.0 * (vertex >= web.real))
                    pull += force * centre[other]
                    weight += force
        if weight == 0.0:
            pull, weight = 0.1 * centre[vertex], 0.1
        total, mass, size = pull - weight * offset, weight, 1
        while sums and sums[-1] * mass >= total * weights[-1]:
            total += sums.pop()
            mass += weights.pop()
            size += sizes.pop()
        sums.append(total)
        weights.append(mass)
        sizes.append(size)
    index = 0
    for total, mass, size in zip(sums, weights, sizes, strict=True):
        base = total / mass
        for _ in range(size):
            centre[layer[index]] = base + offsets[index]
            index += 1


def _straighten(web: Web, centre: list[float], gap: float) -> None:
    """Let long edges run straight as far as their neighbours leave room; only dummies move."""
    side: dict[int, tuple[int | None, int | None]] = {}
    for layer in web.layers:
        for index, vertex in enumerate(layer):
            if vertex >= web.real:
                left = layer[index - 1] if index else None
                side[vertex] = (left, layer[index + 1] if index + 1 < len(layer) else None)
    for chain in web.chains:
        group: list[int] = []
        low, high = -math.inf, math.inf
        for dummy in chain[1:-1]:
            left, right = side[dummy]
            least = -math.inf if left is None else centre[left] + _apart(web, left, dummy, gap)
            most = math.inf if right is None else centre[right] - _apart(web, dummy, right, gap)
            if max(low, least) > min(high, most):
                _align(group, low, high, centre, (chain[-1], chain[0]))
                group, low, high = [], -math.inf, math.inf
            group.append(dummy)
            low, high = max(low, least), min(high, most)
        _align(group, low, high, centre, (chain[-1], chain[0]))


def _align(group: list[int], low: float, high: float, centre: list[float], ends: tuple[int, int]) -> None:
    """Put a run of dummies on one line: under an end of the edge if it fits, else where they are on average."""
    if not group or low > high:
        return
    spot = sum(centre[dummy] for dummy in group) / len(group)
    for end in ends:
        if low <= centre[end] <= high:
            spot = centre[end]
            break
    spot = max(low, min(high, spot))
    for dummy in group:
        centre[dummy] = spot


def _measured(web: Web, centre: list[float], along: Sequence[float], gap: float, same_way: Sequence[bool]) -> Placement:
    left = min(centre[v] - web.width[v] / 2 for v in range(len(web.rank)))
    centre = [value - left for value in centre]
    start: list[float] = []
    end: list[float] = []
    cursor = 0.0
    for layer in web.layers:
        depth = max((along[v] for v in layer if v < web.real), default=0.0)
        start.append(cursor)
        cursor += depth
        end.append(cursor)
        cursor += gap
    leaving = _ports(web, centre, [(chain[0], chain[1]) for chain in web.chains])
    entering = _ports(web, centre, [(chain[-1], chain[-2]) for chain in web.chains])
    routes: list[tuple[Point, ...]] = []
    for index, chain in enumerate(web.chains):
        first, last = chain[0], chain[-1]
        x = centre[first] + leaving[index]
        points = [(x, start[web.rank[first]] + along[first]), (x, end[web.rank[first]])]
        for dummy in chain[1:-1]:
            points += [(centre[dummy], start[web.rank[dummy]]), (centre[dummy], end[web.rank[dummy]])]
        points.append((centre[last] + entering[index], start[web.rank[last]]))
        routes.append(tuple(points if same_way[index] else points[::-1]))
    corners = tuple((centre[v] - web.width[v] / 2, start[web.rank[v]]) for v in range(web.real))
    across = max(centre[v] + web.width[v] / 2 for v in range(len(web.rank)))
    return Placement(corners, tuple(routes), across, end[-1])


def _ports(web: Web, centre: Sequence[float], ends: Sequence[tuple[int, int]]) -> list[float]:
    """How far from the middle of its vertex each edge is attached, so that edges do not share one point."""
    at: dict[int, list[int]] = {}
    for edge, (vertex, _) in enumerate(ends):
        at.setdefault(vertex, []).append(edge)
    shift = [0.0] * len(ends)
    for vertex, group in at.items():
        step = min(_PORT_STEP, (web.width[vertex] - 32.0) / len(group))
        group.sort(key=lambda edge: centre[ends[edge][1]])
        for index, edge in enumerate(group):
            shift[edge] = (index - (len(group) - 1) / 2) * step
    return shift
