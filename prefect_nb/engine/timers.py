"""Deadlines in a heap; knows no clock: the loop asks what is due at a time it names."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from prefect_nb.core.effects import SetTimer
from prefect_nb.core.spec import VisitId

__all__ = ["Timers"]


class Timers:
    """Open deadlines of visits; used by the engine's thread only."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, SetTimer]] = []
        self._live: dict[VisitId, set[int]] = {}
        self._count = 0

    def set(self, timer: SetTimer) -> None:
        """Remember a deadline until it is due or cleared."""
        self._count += 1
        self._live.setdefault(timer.visit, set()).add(self._count)
        heapq.heappush(self._heap, (timer.due, self._count, timer))

    def clear(self, visit: VisitId) -> None:
        """Forget every deadline of a visit."""
        self._live.pop(visit, None)

    def next(self) -> float | None:
        """The earliest open deadline, seconds since the epoch, or None."""
        while self._heap:
            due, number, timer = self._heap[0]
            if number in self._live.get(timer.visit, ()):
                return due
            heapq.heappop(self._heap)
        return None

    def due(self, now: float) -> Iterator[SetTimer]:
        """The deadlines that have passed, earliest first; each is given once."""
        while (first := self.next()) is not None and first <= now:
            _, number, timer = heapq.heappop(self._heap)
            self._live[timer.visit].discard(number)
            yield timer
