"""The visits of one run that wait for slots of limits: when to ask the store for their turn, and what to tell of them.

Used by the engine's thread only, but for :meth:`Queue.stir`. Knows tickets and stores that keep limits; not how events
become commits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from prefect_nb.core.effects import Claim
from prefect_nb.core.events import SlotsAnswered
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.slots import Limits, SlotMoves, Ticket, Turns, standing
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import StateName
from prefect_nb.protocols import Store

__all__ = ["Queue", "limited", "slot_moves"]

_HOLDING = (StateName.SUBMITTED, StateName.RUNNING, StateName.CANCELLING)
_LOOK_S = 2.0  # without any notice: a process that was killed with its store's owner tells nobody
_SOON_S = 0.05


def limited(store: Store, run: Run, tags: Sequence[str], parent: VisitId | None) -> tuple[str, ...]:
    """The tags of which a visit needs a slot: those with a limit that no body holds in which it is called."""
    if not tags or not isinstance(store, Limits):
        return ()
    held: set[str] = set()
    while parent is not None and (above := run.visits.get(parent)) is not None:
        held.update(above.limits if above.state.name in _HOLDING else ())
        parent = above.parent
    known = store.limits()
    return tuple(sorted({tag for tag in tags if tag in known and tag not in held}))


def slot_moves(run: Run, touched: Sequence[Visit], claims: Sequence[Claim]) -> SlotMoves | None:
    """What a commit that touches these visits does to their tickets."""
    left = tuple(v.id for v in touched if v.limits and v.state.name not in (*_HOLDING, StateName.QUEUED))
    waits = (claim for claim in claims if run.visits[claim.visit].state.name is StateName.QUEUED)
    drawn = tuple(Ticket(claim.visit, claim.limits) for claim in waits)
    return SlotMoves(left, drawn, (), run.worker) if left or drawn else None


class Queue:
    """Who of a run waits for slots.

    Parameters
    ----------
    store : Store
        Where the tickets are.
    wake : callable
        Has the engine's thread look again; safe from any thread.
    """

    def __init__(self, store: Store, wake: Callable[[], None]) -> None:
        self._store = store
        self._wake = wake
        self._waiting: dict[VisitId, tuple[str, ...]] = {}
        self._stirred = False
        self._look_at = 0.0
        self._unheed: Callable[[], None] | None = None

    def add(self, claim: Claim) -> None:
        """A visit waits from now on."""
        self._waiting[claim.visit] = claim.limits
        self._stirred = True
        if self._unheed is None and isinstance(self._store, Limits):
            self._unheed = self._store.heed(self._wake)

    def stir(self) -> None:
        """Slots may have become free."""
        self._stirred = True

    def again(self) -> None:
        """Somebody else was faster: look again soon."""
        self._look_at = time.monotonic() + _SOON_S

    def patience(self) -> float | None:
        """Seconds until it is to be looked at again; None while nobody waits."""
        return max(0.0, self._look_at - time.monotonic()) if self._waiting else None

    def due(self, run: Run) -> bool:
        """Whether it is to be looked at now."""
        if self._waiting:
            queued = (v for v in self._waiting if run.visits[v].state.name is StateName.QUEUED)
            self._waiting = {v: self._waiting[v] for v in queued}
        if run.closed:  # whoever takes it up asks again
            self._waiting.clear()
        if not self._waiting:
            self._stirred = False
            return False
        return self._stirred or time.monotonic() >= self._look_at

    def turns(self, run: Run) -> Turns:
        """How the queue stands; `free` are visits that wait here."""
        self._stirred = False
        self._look_at = time.monotonic() + _LOOK_S
        assert isinstance(self._store, Limits)
        return self._store.turns(run.id)

    def lost(self, turns: Turns) -> list[Claim]:
        """Those who wait, if tickets of theirs are gone: somebody took this process for dead. They queue up again."""
        return [Claim(*waits) for waits in self._waiting.items()] if turns.waiting < len(self._waiting) else []

    def taken(self, turns: Turns, at: float) -> list[SlotsAnswered]:
        """The events by which those whose turn it is get in."""
        return [SlotsAnswered(at=at, visit=v, taken=True) for v in turns.free if v in self._waiting]

    def told(self, run: Run, turns: Turns, at: float) -> list[SlotsAnswered]:
        """The events by which the others say what they wait for, where that changed."""
        texts = {tags: standing(tags, turns) for tags in set(self._waiting.values())}
        told = ((v, texts[tags]) for v, tags in self._waiting.items() if v not in turns.free)
        changed = ((v, text) for v, text in told if run.visits[v].state.message != text)
        return [SlotsAnswered(at=at, visit=v, taken=False, message=text) for v, text in changed]

    def close(self) -> None:
        """Wait for nothing any more."""
        self._waiting.clear()
        if self._unheed is not None:
            self._unheed()
            self._unheed = None
