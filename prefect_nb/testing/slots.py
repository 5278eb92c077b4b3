"""What every store that keeps limits must do with slots and tickets; part of the suite for stores.

Knows the protocols and the core only; imports no test framework.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from prefect_nb.core.events import SkipRequested
from prefect_nb.core.slots import Limits, SlotMoves, Ticket
from prefect_nb.core.spec import VisitId
from prefect_nb.errors import UsageError
from prefect_nb.protocols import Commit, Receipt, RunRow, Store

__all__ = ["SLOT_CHECKS"]

_PATIENCE_S = 20.0
_ONE, _TWO, _THREE, _FOUR = (VisitId(f"t{n}") for n in range(4))


class _Stage:
    """A store with limits, and a worker with a run in it."""

    def __init__(self, store: Store, *runs: str, **limits: int) -> None:
        assert isinstance(store, Limits)
        self.store, self.limits = store, store
        self.worker = store.open_worker("kernel", "w")
        for run in runs or ("r1",):
            row = RunRow(run, "f", "", True, "Open", "RUNNING", "", 1.0, None, self.worker)
            assert self.append(Commit(run, run_row=row)).accepted
        for tag, slots in limits.items():
            store.set_limit(tag, slots)

    def append(self, commit: Commit) -> Receipt:
        return self.store.append(commit).result(_PATIENCE_S)

    def draw(self, visit: VisitId, *tags: str, run: str = "r1") -> None:
        assert self.append(Commit(run, slots=SlotMoves(drawn=(Ticket(visit, tags),), worker=self.worker))).accepted

    def take(self, *visits: VisitId, run: str = "r1") -> bool:
        receipt = self.append(Commit(run, slots=SlotMoves(taken=visits, worker=self.worker)))
        assert receipt.accepted != receipt.full, receipt
        return receipt.accepted

    def leave(self, visit: VisitId, run: str = "r1") -> None:
        assert self.append(Commit(run, slots=SlotMoves(left=(visit,), worker=self.worker))).accepted

    def free(self, run: str = "r1") -> tuple[VisitId, ...]:
        return self.limits.turns(run).free


def lets_in_as_many_as_there_are_slots(store: Store) -> None:
    """Slots are shared by all runs; one that is left goes to the next in order, and to nobody else."""
    at = _Stage(store, "r1", "r2", db=2)
    for visit, run in ((_ONE, "r1"), (_TWO, "r2"), (_THREE, "r2"), (_FOUR, "r1")):
        at.draw(visit, "db", run=run)
    assert (at.free("r1"), at.free("r2")) == ((_ONE,), (_TWO,))
    assert not at.take(_THREE, run="r2")
    assert at.take(_ONE)
    assert at.take(_TWO, run="r2")
    assert not at.take(_THREE, run="r2")
    turns = at.limits.turns("r2")
    assert (turns.free, turns.used, turns.limits, turns.waiting) == ((), {"db": 2}, {"db": 2}, 1)
    at.leave(_ONE)
    assert at.limits.slots_used() == {"db": 1}
    assert not at.take(_FOUR), "it came after another one"
    assert at.take(_THREE, run="r2")
    at.leave(_TWO, "r2")
    assert at.take(_FOUR)


def takes_all_slots_or_none(store: Store) -> None:
    """Who needs two limits holds nothing while it waits, and is not overtaken by those who need one of them."""
    at = _Stage(store, a=1, b=1)
    at.draw(_ONE, "a")
    assert at.take(_ONE)
    at.draw(_TWO, "a", "b")
    at.draw(_THREE, "b")
    at.draw(_FOUR, "other")
    assert at.free() == (_FOUR,), "b was promised to the one before"
    assert at.limits.slots_used() == {"a": 1, "b": 0}
    at.leave(_ONE)
    assert at.free() == (_TWO, _FOUR)
    assert at.take(_TWO, _FOUR)
    assert at.limits.slots_used() == {"a": 1, "b": 1}
    at.leave(_TWO)
    assert at.take(_THREE)


def obeys_changed_limits(store: Store) -> None:
    """A limit below its use lets nobody in until it fits, one of 0 nobody at all; without it everybody may."""
    at = _Stage(store, db=2)
    for visit in (_ONE, _TWO, _THREE, _FOUR):
        at.draw(visit, "db")
    assert at.take(_ONE, _TWO)
    at.limits.set_limit("db", 1)
    at.leave(_ONE)
    assert at.free() == ()
    at.limits.set_limit("db", 0)
    at.leave(_TWO)
    assert (at.free(), at.limits.limits()) == ((), {"db": 0})
    at.limits.set_limit("db", None)
    assert (at.free(), at.limits.limits()) == ((_THREE, _FOUR), {})
    for tag, slots in (("db", -1), ("", 1)):
        try:
            at.limits.set_limit(tag, slots)
        except UsageError:
            continue
        raise AssertionError(f"a limit of {slots} for {tag!r} was accepted")


def does_nothing_where_it_is_full(store: Store) -> None:
    """A claim that comes too early leaves no event behind, and the same one is accepted later."""
    at = _Stage(store, db=1)
    at.draw(_ONE, "db")
    assert at.take(_ONE)
    at.draw(_TWO, "db")
    moves = SlotMoves(left=(), taken=(_TWO,), worker=at.worker)
    claim = Commit("r1", (SkipRequested(at=1.0, visit=_TWO),), after=0, run_owner=at.worker, slots=moves)
    receipt = at.append(claim)
    assert receipt.full, receipt
    assert store.events("r1") == []
    at.leave(_ONE)
    assert at.append(claim).accepted
    assert len(store.events("r1")) == 1


def queues_again_at_the_end(store: Store) -> None:
    """A second ticket of a visit takes the place of its first, also of one that held slots."""
    at = _Stage(store, db=1)
    at.draw(_ONE, "db")
    assert at.take(_ONE)
    at.draw(_TWO, "db")
    at.draw(_ONE, "db")
    assert at.free() == (_TWO,)
    at.leave(_TWO)
    assert at.free() == (_ONE,)


def ends_tickets_with_their_owner(store: Store) -> None:
    """Tickets of a worker that is dead are gone, and so are those of a run that was taken over."""
    at = _Stage(store, "r1", "r2", db=1)
    ghost = SlotMoves(drawn=(Ticket(_ONE, ("db",)),), worker="nobody")
    assert at.append(Commit("r1", slots=ghost)).accepted
    at.draw(_TWO, "db")
    assert at.free() == (_TWO,)
    at.draw(_THREE, "db", run="r2")
    assert at.take(_TWO)
    other = store.open_worker("kernel", "w2")
    assert not store.take_run("r1", other, "somebody")
    assert at.free("r2") == ()
    assert store.take_run("r1", other, at.worker)
    assert at.free("r2") == (_THREE,)


def tells_when_slots_may_be_free(store: Store) -> None:
    """Who listens is called when slots are left and when a limit changes, until he does not want it any more."""
    at = _Stage(store, db=1)
    called = threading.Event()
    at.draw(_ONE, "db")
    end = at.limits.heed(called.set)
    at.leave(_ONE)
    assert called.wait(_PATIENCE_S), "nobody said that a slot was left"
    called.clear()
    at.limits.set_limit("db", 3)
    assert called.wait(_PATIENCE_S), "nobody said that a limit changed"
    end()


SLOT_CHECKS: tuple[Callable[[Store], None], ...] = (
    lets_in_as_many_as_there_are_slots,
    takes_all_slots_or_none,
    obeys_changed_limits,
    does_nothing_where_it_is_full,
    queues_again_at_the_end,
    ends_tickets_with_their_owner,
    tells_when_slots_may_be_free,
)
"""Each is a function of an empty, open store."""
