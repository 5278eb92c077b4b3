"""Sessions that share limits: who waits, who gets in, and what is durable when."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from engine_parts import FIRST, PATIENCE_S, A, B, BreakableStore, failing, order, plan, twice

from prefect_nb.core import events as ev
from prefect_nb.core.effects import Enter
from prefect_nb.core.slots import SlotMoves, Ticket
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import StateName
from prefect_nb.engine import slots
from prefect_nb.engine.desk import Desk, Settled
from prefect_nb.engine.session import Session
from prefect_nb.protocols import Commit, LogChunk
from prefect_nb.testing import FakeClock

N = StateName
C = VisitId("c")


def claims(session: Session, desk: Desk, visit: VisitId = A) -> None:
    """Answer the order to resolve with what the store says of limits."""
    order(desk)
    limits = session.limited(session.run.visits[visit].spec.tags)
    session.post(ev.KeyResolved(at=session.now(), visit=visit, key="k", reason=FIRST, limits=limits))


def waits(session: Session, visit: VisitId, message: str) -> None:
    """Return when a visit is Queued and says that, in what was made durable."""
    said = threading.Event()

    def look(run: Any) -> None:
        found = run.visits.get(visit)
        if found is not None and (found.state.name, found.state.message) == (N.QUEUED, message):
            said.set()

    session.bus.subscribe(look)
    look(session.bus.run)
    assert said.wait(PATIENCE_S), session.run.visits[visit].state


def enters(session: Session, desk: Desk, visit: VisitId = A) -> Enter:
    """The order to enter, obeyed."""
    found = order(desk)
    assert isinstance(found, Enter), found
    session.post(ev.BodyEntered(at=session.now(), visit=visit, token=found.token))
    return found


def returns(session: Session, enter: Enter) -> None:
    session.post(ev.BodyReturned(at=session.now(), visit=enter.visit, token=enter.token, result="d" * 64))


@pytest.fixture
def limited(store: BreakableStore) -> BreakableStore:
    """A store with a limit of one."""
    store.set_limit("db", 1)
    return store


def test_two_runs_share_a_limit(limited: BreakableStore, opened: Callable[..., Session]) -> None:
    """The second waits as Queued, says for what, and enters when the first has ended; then no ticket is left."""
    first, second = opened(limited), opened(limited, run="r2", fresh=True)
    one, two = plan(first, tags=("db", "nightly")), plan(second, tags=("db",))
    claims(first, one)
    enter = enters(first, one)
    claims(second, two)
    waits(second, A, "waits for db: 1 of 1")
    assert limited.visits("r2")[0].state == "Queued"
    returns(first, enter)
    assert isinstance(order(one), Settled)
    returns(second, enters(second, two))
    assert isinstance(order(two), Settled)
    assert (limited.slots_used(), limited.turns("r1").waiting) == ({"db": 0}, 0)


def test_an_entry_is_durable_with_its_slot(limited: BreakableStore, session: Session) -> None:
    """When the order to enter arrives, the store has the permission and the slot already."""
    desk = plan(session, tags=("db",))
    claims(session, desk)
    found = order(desk)
    row = limited.visits("r1")[0]
    assert isinstance(found, Enter)
    assert (row.state, row.token, limited.slots_used()) == ("Submitted", found.token, {"db": 1})


def test_a_retry_wait_holds_nothing(limited: BreakableStore, session: Session, clock: FakeClock) -> None:
    """Between two attempts another task gets the slot, and the retry queues behind it."""
    one, two = plan(session, A, tags=("db",), retry=twice()), plan(session, B, tags=("db",))
    claims(session, one, A)
    enter = enters(session, one, A)
    claims(session, two, B)
    session.post(ev.BodyRaised(at=session.now(), visit=A, token=enter.token, error=failing()))
    other = enters(session, two, B)
    clock.advance(61.0)
    session.log(LogChunk(A, 1, "stdout", "", 0.0))  # the engine looks at the clock
    waits(session, A, "waits for db: 1 of 1")
    returns(session, other)
    assert enters(session, one, A).attempt == 2


def test_a_pause_holds_nothing(limited: BreakableStore, session: Session) -> None:
    """A body that waits for a person gives its slot to the next, and needs one again when it is let go on."""
    one, two = plan(session, A, tags=("db",)), plan(session, B, tags=("db",))
    claims(session, one, A)
    enter = enters(session, one, A)
    claims(session, two, B)
    session.post(ev.BodyPaused(at=session.now(), visit=A, token=enter.token, message="look"))
    other = enters(session, two, B)
    session.post(ev.VisitApproved(at=session.now(), visit=A, actor="ann"))
    claims(session, one, A)
    waits(session, A, "waits for db: 1 of 1")
    returns(session, other)
    assert enters(session, one, A).token == 2


@pytest.mark.parametrize(("wish", "end"), [(ev.CancelRequested, N.CANCELLED), (ev.SkipRequested, N.SKIPPED)])
def test_who_waits_can_be_stopped(limited: BreakableStore, session: Session, wish: Any, end: StateName) -> None:
    """A cancel or skip of a Queued task ends it at once, and who stood behind it moves up."""
    desks = {visit: plan(session, visit, tags=("db",)) for visit in (A, B, C)}
    for visit, desk in desks.items():
        claims(session, desk, visit)
    enter = enters(session, desks[A], A)
    waits(session, B, "waits for db: 1 of 1")
    session.post(wish(at=session.now(), visit=B, actor="ann"))
    found = order(desks[B])
    assert isinstance(found, Settled)
    assert found.visit.state.name is end
    returns(session, enter)
    returns(session, enters(session, desks[C], C))


def test_a_limit_of_nothing_says_so(limited: BreakableStore, session: Session) -> None:
    """With 0 slots nothing enters; raising the limit lets in without anything else happening."""
    limited.set_limit("db", 0)
    desk = plan(session, tags=("db",))
    claims(session, desk)
    waits(session, A, "waits for db: its limit is 0, so that nothing enters")
    limited.set_limit("db", 2)
    enters(session, desk)


def test_a_lowered_limit_lets_nobody_in_until_it_fits(limited: BreakableStore, session: Session) -> None:
    """Whoever is in stays; the next waits until fewer than the new number are left."""
    limited.set_limit("db", 2)
    desks = {visit: plan(session, visit, tags=("db",)) for visit in (A, B, C)}
    for visit, desk in desks.items():
        claims(session, desk, visit)
    one, two = (enters(session, desks[visit], visit) for visit in (A, B))
    limited.set_limit("db", 1)
    waits(session, C, "waits for db: 2 of 1")
    returns(session, one)
    waits(session, C, "waits for db: 1 of 1")
    returns(session, two)
    enters(session, desks[C], C)


def test_a_task_called_in_a_body_needs_no_slot_that_the_body_holds(limited: BreakableStore, session: Session) -> None:
    """It would wait for itself."""
    desk = plan(session, tags=("db",))
    claims(session, desk)
    enters(session, desk)
    limited.set_limit("api", 1)
    assert session.limited(("db", "api", "nightly"), A) == ("api",)
    assert session.limited(("db",)) == ("db",)


def test_a_lost_ticket_is_drawn_again(limited: BreakableStore, session: Session) -> None:
    """Who was taken for dead though it lives does not wait for ever."""
    other = limited.open_worker("kernel", "other")
    ahead = SlotMoves(drawn=(Ticket(B, ("db",)),), worker=other)
    assert limited.append(Commit("r1", slots=ahead)).result().accepted
    assert limited.append(Commit("r1", slots=SlotMoves(taken=(B,), worker=other))).result().accepted
    desk = plan(session, tags=("db",))
    claims(session, desk)
    waits(session, A, "waits for db: 1 of 1")
    assert limited.append(Commit("r1", slots=SlotMoves(left=(A, B)))).result().accepted
    enters(session, desk)


def test_the_dead_hold_nothing(limited: BreakableStore, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot of a worker that is gone is free, though nobody gave it back."""
    monkeypatch.setattr(slots, "_LOOK_S", 0.02)
    ghost = limited.open_worker("kernel", "ghost")
    moves = SlotMoves(drawn=(Ticket(B, ("db",)),), worker=ghost)
    assert limited.append(Commit("r1", slots=moves)).result().accepted
    assert limited.append(Commit("r1", slots=SlotMoves(taken=(B,), worker=ghost))).result().accepted
    desk = plan(session, tags=("db",))
    claims(session, desk)
    waits(session, A, "waits for db: 1 of 1")
    limited._workers.discard(ghost)
    enters(session, desk)
