"""What a store is to forget: which ended runs, and what goes with them.

Knows plain data; must not know rows, files or how anything is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["Ended", "Prunes", "Retention", "Sweep", "Swept"]


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended: its id, its flow, the worker that held it last, and when."""

    run: str
    flow: str
    worker: str
    ended_at: float


@dataclass(frozen=True, slots=True)
class Retention:
    """Which ended runs stay.

    Parameters
    ----------
    older_than_s : float, optional
        A run that ended less than so many seconds ago stays.
    keep_last : int, optional
        The newest so many ended runs of each flow stay.
    """

    older_than_s: float | None = None
    keep_last: int | None = None

    def doomed(self, runs: Iterable[Ended], now: float) -> list[Ended]:
        """The runs that go, oldest first; none when nothing was asked for."""
        if self.older_than_s is None and self.keep_last is None:
            return []
        newer: dict[str, int] = {}
        found = []
        for run in sorted(runs, key=lambda r: (r.ended_at, r.run), reverse=True):
            rank = newer[run.flow] = newer.get(run.flow, 0) + 1
            if rank > (self.keep_last or 0) and now - run.ended_at >= (self.older_than_s or 0.0):
                found.append(run)
        return found[::-1]

    def before(self, now: float) -> float | None:
        """Since when a reusable result must have been used to stay; None when its age does not count."""
        return None if self.older_than_s is None else now - self.older_than_s


@dataclass(frozen=True, slots=True)
class Sweep:
    """What goes beside ended runs: every result that nothing refers to, and what exceeds the quota.

    Parameters
    ----------
    at : float
        The time.
    before : float, optional
        Reusable results that were not used since then go first.
    grace_s : float
        While another process is at work, a result must have been without reference for so long.
    rehearsal : bool
        All of it is undone, and only told.
    runs : tuple of Ended
        Runs that a rehearsal forgets before.
    """

    at: float
    before: float | None = None
    grace_s: float = 3600.0
    rehearsal: bool = False
    runs: tuple[Ended, ...] = ()


@dataclass(frozen=True, slots=True)
class Swept:
    """What went: addresses in the result storage, bytes and counts; and what has to wait because others are at work."""

    files: tuple[str, ...] = ()
    dropped: int = 0
    dropped_bytes: int = 0
    evicted: int = 0
    evicted_bytes: int = 0
    entries: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    alone: bool = True


@runtime_checkable
class Prunes(Protocol):
    """A store that can forget."""

    def prune_run(self, run: str, worker: str) -> bool:
        """Forget an ended run of that worker with all its rows, in one transaction; False if it moved or is held."""

    def sweep(self, sweep: Sweep) -> Swept:
        """Forget what nothing refers to, in one transaction; the files that held it are the caller's to delete."""
