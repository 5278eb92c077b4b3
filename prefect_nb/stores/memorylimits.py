"""Limits and their queue in dictionaries: the part of the store in memory that knows of slots."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from prefect_nb.core.slots import Ticket, Turns, checked
from prefect_nb.core.spec import VisitId
from prefect_nb.core.turns import serve
from prefect_nb.protocols import Commit

__all__ = ["MemoryLimits", "Refused"]


class Refused(Exception):
    """An append that does not fit what is recorded; its text says why."""

    full = False


class _Full(Refused):
    full = True


class MemoryLimits:
    """The limits of a store in memory."""

    def __init__(self) -> None:
        self._guard = threading.RLock()
        self._limits: dict[str, int] = {}
        self._tickets: dict[tuple[str, VisitId], tuple[Ticket, str, bool]] = {}  # in order; its worker, and if it holds
        self._heeding: list[Callable[[], None]] = []

    def alive(self, worker: str) -> bool:
        """Whether that worker's process still lives."""
        raise NotImplementedError

    def _end_tickets(self, run: str, worker: str) -> None:
        """Forget those of the run's former workers."""
        self._tickets = {who: t for who, t in self._tickets.items() if who[0] != run or t[1] == worker}

    def _move_slots(self, commit: Commit) -> None:
        moves, tickets = commit.slots, dict(self._tickets)
        assert moves is not None
        for visit in moves.left:
            tickets.pop((commit.run, visit), None)
        for ticket in moves.drawn:
            tickets.pop((commit.run, ticket.visit), None)
            tickets[commit.run, ticket.visit] = ticket, moves.worker, False
        found = self._served(tickets)[0] if moves.taken else []
        for visit in moves.taken:
            if (commit.run, visit) not in found:
                raise _Full(f"it is not the turn of {visit}")
            tickets[commit.run, visit] = (*tickets[commit.run, visit][:2], True)
        self._tickets = tickets
        if moves.left:
            self._stir()

    def _served(
        self, tickets: Mapping[tuple[str, VisitId], tuple[Ticket, str, bool]]
    ) -> tuple[list[tuple[str, VisitId]], dict[str, int]]:
        held = (ticket.tags for ticket, _, holds in tickets.values() if holds)
        return serve(self._limits, held, ((who, t.tags) for who, (t, _, holds) in tickets.items() if not holds))

    def _stir(self) -> None:
        for callback in list(self._heeding):
            callback()

    def limits(self) -> Mapping[str, int]:
        """The number of slots by tag."""
        with self._guard:
            return dict(sorted(self._limits.items()))

    def slots_used(self) -> Mapping[str, int]:
        """The slots that are held now, by tag."""
        with self._guard:
            return self._served({who: t for who, t in self._tickets.items() if t[2]})[1]

    def set_limit(self, tag: str, slots: int | None) -> None:
        """Let at most so many bodies of tasks with that tag run at a time; None: any number."""
        with self._guard:
            slots = checked(tag, slots)
            self._limits.pop(tag, None)
            if slots is not None:
                self._limits[tag] = slots
            self._stir()

    def turns(self, run: str) -> Turns:
        """How the queue stands for a run; tickets of processes that died are gone."""
        with self._guard:
            self._tickets = {who: t for who, t in self._tickets.items() if self.alive(t[1])}
            found, used = self._served(self._tickets)
            waiting = sum(name == run and not t[2] for (name, _), t in self._tickets.items())
            return Turns(tuple(visit for name, visit in found if name == run), dict(self._limits), used, waiting)

    def heed(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever slots may have become free; what it returns ends that."""
        with self._guard:
            self._heeding.append(callback)
        return lambda: self._heeding.remove(callback)
