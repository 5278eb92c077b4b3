"""The loop: orders reach their desks, ends wait for commits, and every wait ends when the engine or its store dies."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from engine_parts import (
    FIRST,
    PATIENCE_S,
    A,
    B,
    BreakableStore,
    SlowStore,
    failing,
    order,
    plan,
    resolved,
    run_body,
    twice,
)

from prefect_nb.core import events as ev
from prefect_nb.core.effects import Enter, Resolve
from prefect_nb.core.fold import fold
from prefect_nb.core.spec import TaskSpec
from prefect_nb.core.states import StateName
from prefect_nb.engine.desk import Desk, Settled
from prefect_nb.engine.session import Session
from prefect_nb.errors import IllegalTransition, StoreError, StoreFull
from prefect_nb.protocols import Commit, LogChunk, Receipt, Signal
from prefect_nb.testing import FakeClock

N = StateName


def test_a_visit_goes_from_plan_to_success(session: Session, store: BreakableStore) -> None:
    """Resolve, Enter and the end come in this order, and the store holds the state that the end tells."""
    desk = plan(session)
    assert isinstance(order(desk), Resolve)
    session.post(ev.KeyResolved(at=1.0, visit=A, key="k", reason=FIRST))
    enter = order(desk)
    assert isinstance(enter, Enter)
    session.post(ev.BodyEntered(at=2.0, visit=A, token=enter.token))
    session.post(ev.BodyReturned(at=3.0, visit=A, token=enter.token))
    end = order(desk)
    assert isinstance(end, Settled)
    assert end.visit.state.name is N.SUCCESS
    assert [row.state for row in store.visits("r1")] == ["Success"]
    assert fold(event for _, event in store.events("r1")) == session.run


def test_an_end_waits_for_its_commit(opened: Any) -> None:
    """Nobody hears that a visit ended before the store has said that this is durable."""
    store = SlowStore()
    session = opened(store)
    desk = plan(session)
    enter = resolved(session, desk)
    store.slow = True
    session.post(ev.BodyEntered(at=2.0, visit=A, token=enter.token))
    session.post(ev.BodyReturned(at=3.0, visit=A, token=enter.token))
    assert store.arrived.wait(PATIENCE_S)
    end = desk.next()
    assert not end.done()
    store.let_go()
    assert isinstance(end.result(PATIENCE_S), Settled)


def test_observers_see_only_what_is_durable(opened: Any) -> None:
    """A view is told of a state after its commit, never before."""
    store = SlowStore()
    session = opened(store)
    seen: list[str] = []
    told = threading.Event()

    def observe(run: Any) -> None:
        seen.extend(v.state.label for v in run.visits.values())
        told.set()

    session.bus.subscribe(observe)
    store.slow = True
    plan(session)
    assert store.arrived.wait(PATIENCE_S)
    assert not seen
    store.let_go()
    assert told.wait(PATIENCE_S)
    assert seen[0] == "Pending"


def test_a_retry_waits_for_its_due_time(session: Session, clock: FakeClock) -> None:
    """After a failure the next permission comes when the clock says so, with the next attempt's number."""
    desk = plan(session, retry=twice(60.0))
    enter = resolved(session, desk)
    session.post(ev.BodyEntered(at=clock(), visit=A, token=enter.token))
    run = session.ask(ev.BodyRaised(at=clock(), visit=A, token=enter.token, error=failing()))
    assert run.visits[A].state.name is N.RETRYING
    waiting = desk.next()
    clock.advance(59.0)
    session.ask()
    assert not waiting.done()
    clock.advance(1.5)
    session.ask()
    again = waiting.result(PATIENCE_S)
    assert isinstance(again, Enter)
    assert (again.attempt, again.token) == (2, enter.token + 1)


def test_a_limit_interrupts_the_body(session: Session, clock: FakeClock) -> None:
    """When the time limit runs out, the desk's interrupt is called with the permission that it concerns."""
    called: Future[Any] = Future()
    desk = plan(session, timeout=5.0)
    desk.interrupt = called.set_result
    enter = resolved(session, desk)
    session.ask(ev.BodyEntered(at=clock(), visit=A, token=enter.token))
    clock.advance(5.0)
    session.ask()
    told = called.result(PATIENCE_S)
    assert (told.why, told.token) == ("timeout", enter.token)


def test_orders_are_held_until_somebody_sits_down(session: Session) -> None:
    """An order for a visit without a desk is not lost."""
    session.ask(ev.TaskPlanned(at=1.0, visit=A, spec=TaskSpec("a")))
    desk = Desk()
    session.sit(A, desk)
    assert isinstance(order(desk), Resolve)


def test_stopping_what_nobody_runs_ends_it(session: Session) -> None:
    """A visit whose body was granted while nobody sits there is cancelled at once; it does not hang in Cancelling."""
    session.ask(ev.TaskPlanned(at=1.0, visit=A, spec=TaskSpec("a")))
    session.ask(ev.KeyResolved(at=1.0, visit=A, key="k", reason=FIRST))
    session.ask(ev.CancelRequested(at=2.0, visit=A))
    assert session.ask().visits[A].state.name is N.CANCELLED


def test_an_illegal_event_hurts_only_who_asked(session: Session) -> None:
    """What cannot happen is told to who asked, nothing of it happened, and the engine goes on."""
    with pytest.raises(IllegalTransition, match="never planned"):
        session.ask(ev.BodyEntered(at=1.0, visit=A, token=1))
    assert session.failure is None
    assert isinstance(run_body(session, plan(session)), Settled)


def test_an_illegal_event_of_an_owner_ends_its_wait(session: Session) -> None:
    """Whoever posted something impossible about its own visit hears of it where it waits."""
    session.ask(ev.RunClosed(at=1.0))
    desk = plan(session)
    with pytest.raises(IllegalTransition, match="closed"):
        order(desk)


def _later(error: BaseException) -> Any:
    def fail(commit: Commit) -> Future[Receipt]:
        future: Future[Receipt] = Future()
        future.set_exception(error)
        return future

    return fail


def _at_once(error: BaseException) -> Any:
    def fail(commit: Commit) -> Future[Receipt]:
        raise error

    return fail


def _refuse(commit: Commit) -> Future[Receipt]:
    future: Future[Receipt] = Future()
    future.set_result(Receipt(False, refusal="run r1 belongs to somebody else"))
    return future


FAULTS = {
    "full": _later(StoreFull("the disk is full")),
    "broken at once": _at_once(StoreError("the owner is gone")),
    "refused": _refuse,
    "a fault of the adapter": _at_once(ZeroDivisionError("oh")),
    "a foreign error later": _later(OSError("oh")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_wait_ends_when_the_store_fails(session: Session, store: BreakableStore, fault: str) -> None:
    """Desks, questions and later visits get an error of ours when a commit fails in any way; nobody waits for ever."""
    desk = plan(session)
    enter = resolved(session, desk)
    store.fault = FAULTS[fault]
    session.post(ev.BodyEntered(at=2.0, visit=A, token=enter.token))
    with pytest.raises(StoreError):
        order(desk)
    with pytest.raises(StoreError):
        session.ask()
    with pytest.raises(StoreError):
        order(plan(session, B))
    assert session.failure is not None
    session.log(LogChunk(A, 1, "stdout", "x", 1.0))
    session.close()


def test_a_fault_of_the_engine_itself_ends_every_wait(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the loop meets a bug of its own, those who wait get an error that says so."""
    desk = plan(session)
    order(desk)
    monkeypatch.setattr("prefect_nb.engine.session.step", lambda run, event: 1 / 0)
    session.post(ev.KeyResolved(at=1.0, visit=A, key="k", reason=FIRST))
    with pytest.raises(StoreError, match="fault of its own: ZeroDivisionError"):
        order(desk)


def test_a_closed_session_answers(session: Session) -> None:
    """After the end, questions and desks raise instead of waiting for a thread that is gone."""
    session.close()
    with pytest.raises(StoreError, match="ended"):
        session.ask()
    with pytest.raises(StoreError, match="ended"):
        order(plan(session))


def test_a_forked_child_is_refused(session: Session) -> None:
    """A child process made by fork gets an error at once: the engine's thread does not exist there."""
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        try:
            session.ask()
        except StoreError:
            os.write(sender, b"refused")
        finally:
            os._exit(0)
    os.close(sender)
    assert os.read(receiver, 10) == b"refused"
    os.close(receiver)
    os.waitpid(child, 0)
    assert isinstance(run_body(session, plan(session)), Settled)


def test_logs_come_with_the_next_commit(session: Session, store: BreakableStore) -> None:
    """A piece of output is durable when its visit's end is, in order."""
    desk = plan(session)
    for text in ("one\n", "two\n"):
        session.log(LogChunk(A, 1, "stdout", text, 1.0))
    run_body(session, desk)
    assert "".join(chunk.text for chunk in store.logs("r1")) == "one\ntwo\n"


def test_logs_alone_become_durable(session: Session, store: BreakableStore) -> None:
    """Output of a body that prints and waits reaches the store without any other event."""
    session.ask()
    arrived = threading.Event()
    append = store.append

    def watched(commit: Commit) -> Future[Receipt]:
        done = append(commit)
        if commit.logs:
            arrived.set()
        return done

    store.append = watched  # type: ignore[method-assign]
    session.log(LogChunk(A, 1, "stdout", "alone", 1.0))
    assert arrived.wait(PATIENCE_S)
    assert [chunk.text for chunk in store.logs("r1")] == ["alone"]


@pytest.mark.parametrize(("kind", "state"), [("cancel", N.CANCELLED), ("skip", N.SKIPPED), ("cancel-run", N.NOT_RUN)])
def test_wishes_of_other_processes_become_events(
    session: Session, store: BreakableStore, kind: str, state: StateName
) -> None:
    """A wish left in the store reaches the visit that it names."""
    desk = plan(session)
    order(desk)
    store.signal(Signal("r1", kind, "" if kind == "cancel-run" else "a", "cli", 5.0))
    end = order(desk)
    assert isinstance(end, Settled)
    assert end.visit.state.name is state


def test_a_late_or_senseless_wish_changes_nothing(session: Session, store: BreakableStore) -> None:
    """Skipping what is done, or cancelling what never was, is no fault."""
    run_body(session, plan(session))
    for kind, task in (("skip", "a"), ("cancel", "nobody"), ("nonsense", "a")):
        store.signal(Signal("r1", kind, task, "cli", 5.0))
    run_body(session, plan(session, B), B)
    assert session.failure is None
    assert session.run.visits[A].state.name is N.SUCCESS


def test_an_observer_that_raises_stops_nothing(session: Session) -> None:
    """A view's fault is reported, and the run goes on."""
    session.bus.subscribe(lambda run: 1 / 0)
    assert isinstance(run_body(session, plan(session)), Settled)


def test_events_of_a_moment_share_a_commit(session: Session, store: BreakableStore) -> None:
    """A thousand events that wait together take far fewer commits."""
    counted: list[Commit] = []
    append = store.append

    def count(commit: Commit) -> Future[Receipt]:
        counted.append(commit)
        return append(commit)

    store.append = count  # type: ignore[method-assign]
    gate = threading.Event()
    session.bus.subscribe(lambda run: gate.wait(PATIENCE_S) and None)
    session.post(ev.TaskPlanned(at=1.0, visit=A, spec=TaskSpec("a")))
    for number in range(1000):
        session.post(ev.TaskInvalidated(at=float(number), visit=A))
    gate.set()
    session.ask()
    assert sum(len(commit.events) for commit in counted) == 1001
    assert len(counted) < 60
