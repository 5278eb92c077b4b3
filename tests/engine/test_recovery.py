"""Runs outlive their processes: taken over, swept, resumed; what only waited never keeps a run busy for ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_parts import FIRST, A, B, BreakableStore, failing, opening, order, plan, resolved, run_body, twice

from prefect_nb.core import events as ev
from prefect_nb.core.effects import Resolve
from prefect_nb.core.fold import fold
from prefect_nb.core.run import Run
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import StateName
from prefect_nb.engine.desk import Desk, Settled
from prefect_nb.engine.recovery import carry_out, open_session, sweep
from prefect_nb.engine.session import Session
from prefect_nb.errors import StoreError, StoreFull, UsageError
from prefect_nb.protocols import Signal
from prefect_nb.stores.sqlite import SqliteStore
from prefect_nb.testing import FakeClock

N = StateName
Opened = Callable[..., Session]


class MortalStore(BreakableStore):
    """A store that is told which workers have died."""

    def __init__(self) -> None:
        super().__init__()
        self.dead: set[str] = set()

    def alive(self, worker: str) -> bool:
        return worker not in self.dead and super().alive(worker)


@pytest.fixture
def store() -> MortalStore:
    """A store whose workers can be declared dead."""
    return MortalStore()


def _die(store: MortalStore, session: Session) -> None:
    """The process of a session vanishes: nothing is posted any more."""
    session.close()
    store.dead.add(session.run.worker)


def _stored(store: BreakableStore, run: str = "r1") -> Run:
    return fold(event for _, event in store.events(run))


def test_a_restarted_kernel_goes_on_with_its_run(store: MortalStore, opened: Opened) -> None:
    """The same run is taken over: what had succeeded still has, what was running has crashed, and it is Open again."""
    first = opened(store)
    run_body(first, plan(first))
    enter = resolved(first, plan(first, B), B)
    first.ask(ev.BodyEntered(at=2.0, visit=B, token=enter.token))
    _die(store, first)
    second = opened(store, run="r2")
    assert second.run.id == "r1"
    assert second.run.visits[A].state.name is N.SUCCESS
    assert second.run.visits[B].state.name is N.CRASHED
    assert second.run.state.name is N.OPEN
    assert fold(event for _, event in store.events("r1")) == second.run
    again = VisitId("b", 2)
    assert isinstance(run_body(second, plan(second, again), again), Settled)


def test_what_only_waited_is_given_up(store: MortalStore, opened: Opened, clock: FakeClock) -> None:
    """A retry wait and an unstarted visit of a dead kernel end, so that the run is Open and not Running for ever."""
    first = opened(store)
    enter = resolved(first, plan(first, retry=twice()))
    first.ask(ev.BodyEntered(at=clock(), visit=A, token=enter.token))
    first.ask(ev.BodyRaised(at=clock(), visit=A, token=enter.token, error=failing()))
    order(plan(first, B))
    first.ask()
    assert first.run.visits[A].state.name is N.RETRYING
    assert first.run.visits[B].state.name is N.PENDING
    _die(store, first)
    clock.advance(3600)
    second = opened(store, run="r2")
    assert second.run.state.name is N.OPEN
    assert [second.run.visits[v].state.name for v in (A, B)] == [N.CANCELLED, N.CANCELLED]
    assert "its kernel ended while it was Retrying" in second.run.visits[A].state.message
    again = VisitId("a", 2)
    assert isinstance(run_body(second, plan(second, again), again), Settled)


def _paused(session: Session, **options: Any) -> None:
    """A visit that waits for a person."""
    order(plan(session, approve=True, **options))
    session.ask(ev.KeyResolved(at=session.now(), visit=A, key="k", reason=FIRST))
    assert session.run.visits[A].state.name is N.PAUSED


def _answer(kind: str) -> Signal:
    return Signal("r1", kind, "a", "ann", 7.0, detail={"note": "looks good", "value": {"n": 3}})


@pytest.mark.parametrize("live", [True, False], ids=["live", "headless"])
def test_what_waits_for_a_person_outlives_its_process(store: MortalStore, opened: Opened, live: bool) -> None:
    """A paused visit is still paused after a restart; approved then, its body is entered with its first attempt."""
    first = opened(store, live=live)
    _paused(first)
    if not live:
        first.ask(ev.RunClosed(at=3.0, interrupted=True))
    _die(store, first)
    second = opened(store, run="r2", live=live, resume=None if live else "r1")
    assert (second.run.id, second.run.visits[A].state.name) == ("r1", N.PAUSED)
    assert second.run.state.name is N.PAUSED
    store.signal(_answer("approve"))
    resolve = order(_seat(second))
    assert isinstance(resolve, Resolve)
    second.post(ev.KeyResolved(at=8.0, visit=A, key="k", reason=FIRST))
    entered = order(_seat(second))
    assert (entered.token, entered.attempt) == (1, 1)
    assert second.run.visits[A].approval == {"by": "ann", "at": 7.0, "note": "looks good", "value": {"n": 3}}


def _seat(session: Session) -> Desk:
    desk = Desk()
    session.sit(A, desk)
    return desk


@pytest.mark.parametrize("live", [True, False], ids=["live", "headless"])
@pytest.mark.parametrize(("kind", "state"), [("approve", N.RESUMING), ("reject", N.CANCELLED)])
def test_an_answer_needs_no_kernel(store: MortalStore, opened: Opened, live: bool, kind: str, state: N) -> None:
    """In a run that nobody works on, the process that answers writes the answer down; then somebody goes on with it."""
    first = opened(store, live=live)
    _paused(first)
    worker = store.open_worker("cli", "")
    assert not carry_out(store, store.run("r1"), _answer(kind), worker, first.now)
    if not live:
        first.ask(ev.RunClosed(at=3.0, interrupted=True))
    _die(store, first)
    assert carry_out(store, store.run("r1"), _answer(kind), worker, first.now)
    answered = _stored(store)
    assert answered.visits[A].state.name is state
    assert "ann: looks good" in answered.visits[A].state.message
    store.dead.add(worker)
    second = opened(store, run="r2", live=live, resume=None if live else "r1")
    assert (second.run.id, second.run.visits[A].state.name) == ("r1", state)


@pytest.mark.parametrize("passed", [0.0, 3600.0], ids=["before its time", "after its time"])
def test_a_pause_ends_when_its_time_has_come(
    store: MortalStore, opened: Opened, clock: FakeClock, passed: float
) -> None:
    """A pause with a time ends then in whichever kernel is there, also if the time passed while there was none."""
    first = opened(store)
    enter = resolved(first, plan(first))
    pause = ev.BodyPaused(at=clock(), visit=A, token=enter.token, until=clock() + 60)
    first.ask(ev.BodyEntered(at=clock(), visit=A, token=enter.token), pause)
    _die(store, first)
    clock.advance(passed)
    second = opened(store, run="r2")
    desk = _seat(second)
    if not passed:
        second.ask()
        assert second.run.visits[A].state.name is N.PAUSED
        clock.advance(60.0)
        second.ask()
    assert isinstance(order(desk), Resolve)
    assert second.run.visits[A].approval["by"] == "the clock"


def test_two_kernels_do_not_share_a_run(store: MortalStore, opened: Opened) -> None:
    """A second kernel on the same notebook gets a run of its own, and says so."""
    first = opened(store)
    second, remark = open_session(store, opening(store.open_worker("kernel", "f"), run="r2"), FakeClock())
    try:
        assert second.run.id == "r2"
        assert "another kernel works on f in run r1" in remark
        run_body(first, plan(first))
        run_body(second, plan(second))
    finally:
        second.close()
    assert [row.run for row in store.runs()] == ["r2", "r1"]


def test_who_lost_its_run_is_told(store: MortalStore, opened: Opened) -> None:
    """A kernel that was paused while another took its run over gets an error, and changes nothing."""
    first = opened(store)
    store.dead.add(first.run.worker)
    second = opened(store, run="r2")
    assert second.run.id == "r1"
    desk = plan(first)
    order(desk)
    with pytest.raises(StoreError, match=r"refused a change of run r1"):
        order(desk)
    assert A not in _stored(store).visits
    assert isinstance(run_body(second, plan(second)), Settled)


def test_an_engine_can_be_opened_again_after_a_fault(store: MortalStore, opened: Opened) -> None:
    """When the disk was full and is no more, the same process goes on with the same run; nothing recorded is lost."""
    first = opened(store)
    run_body(first, plan(first))
    store.fault = _full
    with pytest.raises(StoreFull):
        first.ask(ev.TaskInvalidated(at=2.0, visit=A))
    store.fault = None
    second = opened(store, run="r2", former=first.run.worker)
    assert second.run.id == "r1"
    assert second.run.visits[A].state.name is N.SUCCESS
    assert isinstance(run_body(second, plan(second, B), B), Settled)


def _full(commit: Any) -> Any:
    raise StoreFull("the disk is full")


def test_new_means_new(store: MortalStore, opened: Opened) -> None:
    """With `fresh` an open run is left alone."""
    _die(store, opened(store))
    assert opened(store, run="r2", fresh=True).run.id == "r2"


def test_sweeping_tells_the_truth_about_the_dead(store: MortalStore, opened: Opened) -> None:
    """Bodies of dead processes become Crashed, their headless runs too, waits end; a second sweep finds nothing."""
    headless = opened(store, live=False)
    enter = resolved(headless, plan(headless))
    headless.ask(ev.BodyEntered(at=2.0, visit=A, token=enter.token))
    _die(store, headless)
    live = opened(store, run="r2")
    order(plan(live))
    live.ask()
    _die(store, live)
    idle = opened(store, run="r3", fresh=True)
    _die(store, idle)
    assert sorted(sweep(store, store.open_worker("cli", "x"), FakeClock())) == ["r1", "r2"]
    assert _stored(store).visits[A].state.name is N.CRASHED
    assert {row.run: row.state for row in store.runs()} == {"r1": "Crashed", "r2": "Open", "r3": "Open"}
    assert sweep(store, store.open_worker("cli", "y"), FakeClock()) == []


def test_sweeping_leaves_the_living_alone(store: MortalStore, opened: Opened) -> None:
    """A run whose process lives is not touched, whatever it does."""
    session = opened(store, live=False)
    resolved(session, plan(session))
    session.ask()
    assert sweep(store, store.open_worker("cli", "x"), FakeClock()) == []
    assert session.run.visits[A].state.name is N.SUBMITTED


RESUMES = {
    "no such run": ("nobody", "there is no run nobody"),
    "none at all": ("last", "f has no run to resume"),
}


@pytest.mark.parametrize("name", RESUMES)
def test_resuming_what_is_not_there(store: MortalStore, opened: Opened, name: str) -> None:
    """Resuming an unknown run is a named error."""
    run, words = RESUMES[name]
    with pytest.raises(UsageError, match=words):
        opened(store, live=False, resume=run)


def test_resuming_what_ended_or_lives(store: MortalStore, opened: Opened) -> None:
    """A run that ended well, or still runs elsewhere, is not resumed; a crashed one is."""
    first = opened(store, live=False)
    with pytest.raises(UsageError, match="still runs in another process"):
        opened(store, run="r2", live=False, resume="last")
    run_body(first, plan(first))
    _die(store, first)
    second = opened(store, run="r2", live=False, resume="last")
    assert second.run.id == "r1"
    second.ask(ev.RunClosed(at=9.0))
    _die(store, second)
    with pytest.raises(UsageError, match="ended as Success"):
        opened(store, run="r3", live=False, resume="r1")


def test_a_run_survives_in_a_file(tmp_path: Path, clock: FakeClock) -> None:
    """With the real database: close everything, open it again, and the run is as it was."""
    results = tmp_path / "results"
    store = SqliteStore(tmp_path / "s", results=results, quota=10**9)
    session, _ = open_session(store, opening(store.open_worker("kernel", "f")), clock)
    run_body(session, plan(session))
    session.close()
    before = session.run
    store.close()
    again = SqliteStore(tmp_path / "s", results=results, quota=10**9)
    try:
        taken, remark = open_session(again, opening(again.open_worker("kernel", "f"), run="r2"), clock)
        assert (taken.run.id, remark) == ("r1", "")
        assert taken.run.visits == before.visits
        taken.close()
    finally:
        again.close()
