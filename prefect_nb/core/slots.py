"""Slots of limits as data: tickets, what a commit does to them, and how they stand.

A limit bounds how many bodies of tasks with one tag run at a time, over all processes that share a store. Whose turn
it is says :mod:`~prefect_nb.core.turns`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from prefect_nb.core.spec import VisitId
from prefect_nb.errors import UsageError

__all__ = ["Limits", "SlotMoves", "Ticket", "Turns", "checked", "standing"]


@dataclass(frozen=True, slots=True)
class Ticket:
    """A visit that waits for a slot of each of these tags."""

    visit: VisitId
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SlotMoves:
    """What a commit does to the tickets of its run, in this order.

    Parameters
    ----------
    left : tuple of VisitId
        Their tickets end; slots that they held are free.
    drawn : tuple of Ticket
        They are put at the end of the queue.
    taken : tuple of VisitId
        It is their turn: they hold their slots from now on. If it is not, the commit is refused as `full`.
    worker : str
        The process whose death ends these tickets.
    """

    left: tuple[VisitId, ...] = ()
    drawn: tuple[Ticket, ...] = ()
    taken: tuple[VisitId, ...] = ()
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Turns:
    """How the queue stands for one run.

    Parameters
    ----------
    free : tuple of VisitId
        The visits of the run whose turn it is, in order.
    limits : mapping
        The number of slots by tag.
    used : mapping
        The slots that are held, or due to somebody whose turn it is.
    waiting : int
        How many visits of the run wait, `free` included.
    """

    free: tuple[VisitId, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0


@runtime_checkable
class Limits(Protocol):
    """A store that keeps limits."""

    def limits(self) -> Mapping[str, int]:
        """The number of slots by tag."""

    def slots_used(self) -> Mapping[str, int]:
        """The slots that are held now, by tag; those of processes that died are free."""

    def set_limit(self, tag: str, slots: int | None) -> None:
        """Let at most so many bodies of tasks with that tag run at a time; None: any number."""

    def turns(self, run: str) -> Turns:
        """How the queue stands for a run; tickets of processes that died are gone."""

    def heed(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back, from a thread of the store, whenever slots may have become free; what it returns ends that."""


def checked(tag: str, slots: int | None) -> int | None:
    """The number of slots of a limit.

    Raises
    ------
    UsageError
        If there cannot be so many.
    """
    if not tag:
        raise UsageError("a limit holds for a tag, and this one is empty", hint='set_limit("db", 3)')
    if slots is not None and (not isinstance(slots, int) or slots < 0):
        raise UsageError(f"{tag} cannot have {slots!r} slots", hint="0 stops all, None takes the limit away")
    return slots


def standing(tags: Iterable[str], turns: Turns) -> str:
    """What a visit that needs these slots waits for, in words."""
    known = [tag for tag in tags if tag in turns.limits]
    closed = [tag for tag in known if turns.limits[tag] == 0]
    if closed:
        return f"waits for {', '.join(closed)}: its limit is 0, so that nothing enters"
    full = [tag for tag in known if turns.used.get(tag, 0) >= turns.limits[tag]]
    told = [f"{tag}: {turns.used.get(tag, 0)} of {turns.limits[tag]}" for tag in full or known]
    if not full:
        return "waits for its turn at " + ", ".join(told)
    return "waits for " + ", ".join(told)
