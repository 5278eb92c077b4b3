"""The graph of a notebook's cells, and what can be asked of it.

Pure: it knows names, not source, values or runs. Which edges there are is found in :mod:`prefect_nb.core.reading`.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from prefect_nb.core.links import Edge, Node, Problem

__all__ = ["Graph"]


@dataclass(frozen=True, slots=True)
class Graph:
    """Cells in document order with their edges; made by :func:`~prefect_nb.core.reading.build`, never changed.

    Parameters
    ----------
    nodes : tuple of Node
        In document order.
    edges : tuple of Edge
        Kinds ``data`` and ``after``: what decides whether and on what a task runs.
    order_edges : tuple of Edge
        Kinds ``anti`` and ``output``: what may not be reordered though no value flows.
    problems : tuple of Problem
        In document order.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    order_edges: tuple[Edge, ...]
    problems: tuple[Problem, ...]
    _producers: Mapping[str, Mapping[str, str]] = field(repr=False, hash=False)
    _place: dict[str, int] = field(init=False, repr=False, compare=False)
    _up: dict[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)
    _down: dict[str, tuple[str, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        place = {node.id: number for number, node in enumerate(self.nodes)}
        up: dict[str, set[str]] = {node.id: set() for node in self.nodes}
        down: dict[str, set[str]] = {node.id: set() for node in self.nodes}
        for edge in self.edges:
            up[edge.target].add(edge.source)
            down[edge.source].add(edge.target)
        object.__setattr__(self, "_place", place)
        for field_, found in (("_up", up), ("_down", down)):
            ordered = {
                key: tuple(sorted(ids, key=place.__getitem__) if len(ids) > 1 else ids) for key, ids in found.items()
            }
            object.__setattr__(self, field_, ordered)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._place

    def node(self, node_id: str) -> Node:
        """The cell with this id."""
        return self.nodes[self._place[node_id]]

    def producer(self, node_id: str, name: str) -> str | None:
        """The cell whose version of `name` this cell reads (late names included), None if no cell above makes it."""
        return self._producers.get(node_id, {}).get(name)

    def inputs(self, node_id: str) -> Mapping[str, str]:
        """Every name that this cell reads, late names included, with the cell whose version it is."""
        return dict(self._producers.get(node_id, {}))

    def upstream(self, node_id: str) -> tuple[str, ...]:
        """The cells that this cell directly depends on, in document order."""
        return self._up[node_id]

    def downstream(self, node_id: str) -> tuple[str, ...]:
        """The cells that directly depend on this cell, in document order."""
        return self._down[node_id]

    def ancestors(self, node_id: str) -> tuple[str, ...]:
        """All cells that this cell depends on, in document order."""
        return self._closure(node_id, self._up)

    def descendants(self, node_id: str) -> tuple[str, ...]:
        """All cells that depend on this cell, in document order."""
        return self._closure(node_id, self._down)

    def _closure(self, node_id: str, step: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        found: set[str] = set()
        waiting = list(step[node_id])
        while waiting:
            each = waiting.pop()
            if each not in found:
                found.add(each)
                waiting.extend(step[each])
        found.discard(node_id)  # only a cycle leads back
        return tuple(sorted(found, key=self._place.__getitem__))

    def order(self) -> tuple[str, ...]:
        """Every cell after all that it depends on, else as in the document; what a cycle holds up comes last."""
        found = self._sorted()
        done = set(found)
        return (*found, *(node.id for node in self.nodes if node.id not in done))

    def stuck(self) -> frozenset[str]:
        """The cells that a cycle holds up: its members and all below them."""
        return frozenset(self._place) - set(self._sorted())

    def place(self, node_id: str) -> int:
        """The cell's position in the document, from 0."""
        return self._place[node_id]

    def _sorted(self) -> list[str]:
        missing = {key: len(ids) for key, ids in self._up.items()}
        ready = [number for number, node in enumerate(self.nodes) if not missing[node.id]]
        heapq.heapify(ready)
        found: list[str] = []
        while ready:
            each = self.nodes[heapq.heappop(ready)].id
            found.append(each)
            for other in self._down[each]:
                missing[other] -= 1
                if not missing[other]:
                    heapq.heappush(ready, self._place[other])
        return found


def _in_order(ids: set[str], place: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(sorted(ids, key=place.__getitem__) if len(ids) > 1 else ids)
