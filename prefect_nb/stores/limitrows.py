"""Limits and their queue as every store with rows answers for them.

Knows the operations by name; must not know whether they are answered in this process or another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_nb.core.slots import Turns, checked
from prefect_nb.stores import codec

__all__ = ["LimitRows"]


class LimitRows:
    """The limits of a store, over :meth:`_ask`."""

    def _ask(self, op: str, *args: Any) -> Any:
        """Do one operation and wait for its answer."""
        raise NotImplementedError

    def alive(self, worker: str) -> bool:
        """Whether that worker's process still lives."""
        raise NotImplementedError

    def limits(self) -> Mapping[str, int]:
        """The number of slots by tag."""
        return dict(self._ask("limits"))

    def slots_used(self) -> Mapping[str, int]:
        """The slots that are held now, by tag; those of processes that died are free."""
        self._drop_dead()
        return dict(self._ask("slots_used"))

    def set_limit(self, tag: str, slots: int | None) -> None:
        """Let at most so many bodies of tasks with that tag run at a time; None: any number."""
        self._ask("set_limit", tag, checked(tag, slots))

    def turns(self, run: str) -> Turns:
        """How the queue stands for a run; tickets of processes that died are gone."""
        self._drop_dead()
        return codec.turns_from_wire(self._ask("turns", run))

    def _drop_dead(self) -> None:
        dead = [worker for worker in self._ask("ticket_workers") if not self.alive(worker)]
        if dead:
            self._ask("drop_tickets", dead)
