"""The layered graph under a drawing: ranks, dummies on long edges, and an order of each layer with few crossings.

Knows indices only. Deterministic; its twin in the renderer is ``labextension/packages/view/src/layers.ts``.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Web", "layered", "sorted_forward", "untangle"]

_DUMMY = 10.0
_SWAP_LIMIT = 6000


@dataclass(slots=True)
class Web:
    """The layered graph while it is worked on: `above` and `below` hold neighbours one layer away."""

    real: int
    rank: list[int]
    width: list[float]
    above: list[list[int]]
    below: list[list[int]]
    chains: list[list[int]]
    layers: list[list[int]]


def sorted_forward(count: int, edges: Sequence[tuple[int, int]]) -> tuple[list[int], list[tuple[int, int]]]:
    """A topological order (lowest index first) and the edges turned to agree with it."""
    out: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for source, target in edges:
        out[source].append(target)
        waiting[target] += 1
    done = [False] * count
    order: list[int] = []
    ready = [v for v in range(count) if waiting[v] == 0]
    cursor = 0
    while len(order) < count:
        if not ready:
            while done[cursor]:
                cursor += 1
            ready.append(cursor)
        vertex = ready.pop(0)
        if done[vertex]:
            continue
        done[vertex] = True
        order.append(vertex)
        for target in out[vertex]:
            waiting[target] -= 1
            if waiting[target] == 0 and not done[target]:
                ready.append(target)
    at = [0] * count
    for index, vertex in enumerate(order):
        at[vertex] = index
    return order, [(s, t) if at[s] < at[t] else (t, s) for s, t in edges]


def _ranks(count: int, order: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[int]:
    """Longest path from a source; a source moves down to just above its nearest target."""
    out: list[list[int]] = [[] for _ in range(count)]
    inward = [0] * count
    for source, target in edges:
        out[source].append(target)
        inward[target] += 1
    rank = [0] * count
    for vertex in order:
        for target in out[vertex]:
            rank[target] = max(rank[target], rank[vertex] + 1)
    for vertex in order:
        if inward[vertex] == 0 and out[vertex]:
            rank[vertex] = min(rank[target] for target in out[vertex]) - 1
    return rank


def layered(across: Sequence[float], order: Sequence[int], edges: Sequence[tuple[int, int]]) -> Web:
    """Ranks, dummies, and a first order of each layer: as a depth-first walk meets them."""
    count = len(across)
    rank = _ranks(count, order, edges)
    width = list(across)
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    chains: list[list[int]] = []
    for source, target in edges:
        chain = [source]
        for level in range(rank[source] + 1, rank[target]):
            chain.append(len(rank))
            rank.append(level)
            width.append(_DUMMY)
            above.append([])
            below.append([])
        chain.append(target)
        for upper, lower in pairwise(chain):
            below[upper].append(lower)
            above[lower].append(upper)
        chains.append(chain)
    layers: list[list[int]] = [[] for _ in range(max(rank) + 1)]
    seen = [False] * len(rank)
    for root in range(count):
        if above[root]:
            continue
        stack = [root]
        while stack:
            vertex = stack.pop()
            if seen[vertex]:
                continue
            seen[vertex] = True
            layers[rank[vertex]].append(vertex)
            stack.extend(reversed(below[vertex]))
    return Web(count, rank, width, above, below, chains, layers)


def _positions(web: Web) -> list[int]:
    at = [0] * len(web.rank)
    for layer in web.layers:
        for index, vertex in enumerate(layer):
            at[vertex] = index
    return at


def _crossings(web: Web, at: Sequence[int]) -> int:
    total = 0
    for layer in web.layers[:-1]:
        seen: list[int] = []
        for vertex in layer:
            ends = [at[lower] for lower in web.below[vertex]]
            for end in ends:
                total += len(seen) - bisect_right(seen, end)
            for end in ends:
                insort(seen, end)
    return total


def untangle(web: Web) -> None:
    """Reorder the layers; the best order seen stays."""
    size = len(web.rank)
    at = _positions(web)
    fewest = _crossings(web, at)
    best = [list(layer) for layer in web.layers]
    stale = 0
    for turn in range(12 if size < 300 else 6):
        if fewest == 0 or stale == 4:
            break
        _sweep(web, at, down=turn % 2 == 0)
        crossings = _crossings(web, at)
        stale += 1
        if crossings < fewest:
            fewest, stale = crossings, 0
            best = [list(layer) for layer in web.layers]
    web.layers[:] = best
    if fewest and size < _SWAP_LIMIT:
        at = _positions(web)
        for _ in range(4 if size < 300 else 2):
            if not _swaps(web, at):
                break


def _sweep(web: Web, at: list[int], *, down: bool) -> None:
    count = len(web.layers)
    for level in range(1, count) if down else range(count - 2, -1, -1):
        layer = web.layers[level]
        fixed = len(web.layers[level - 1 if down else level + 1])
        near = web.above if down else web.below
        pull = {
            vertex: (sum(at[other] for other in near[vertex]) / len(near[vertex]))
            if near[vertex]
            else at[vertex] * fixed / len(layer)
            for vertex in layer
        }
        layer.sort(key=pull.__getitem__)
        for index, vertex in enumerate(layer):
            at[vertex] = index


def _swaps(web: Web, at: list[int]) -> bool:
    """Exchange neighbours wherever that removes crossings; whether any was exchanged."""
    changed = False
    for layer in web.layers:
        for index in range(len(layer) - 1):
            left, right = layer[index], layer[index + 1]
            gain = _excess(web.above[left], web.above[right], at) + _excess(web.below[left], web.below[right], at)
            if gain > 0:
                layer[index], layer[index + 1] = right, left
                at[left], at[right] = index + 1, index
                changed = True
    return changed


def _excess(left: Sequence[int], right: Sequence[int], at: Sequence[int]) -> int:
    """Crossings of the edges of two neighbours, less those after an exchange."""
    excess = 0
    for one in left:
        for other in right:
            if at[one] > at[other]:
                excess += 1
            elif at[one] < at[other]:
                excess -= 1
    return excess
