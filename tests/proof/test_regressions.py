"""The faults that the proof has found, each as the shortest story that shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue

import pytest

from prefect_nb.core import events as ev
from prefect_nb.core.fold import fold
from prefect_nb.core.run import Run
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import StateName
from prefect_nb.engine.desk import Desk
from prefect_nb.engine.recovery import Opening, open_session, sweep
from prefect_nb.engine.session import Session
from prefect_nb.errors import StoreError, StoreFull
from prefect_nb.protocols import Commit, Receipt, RunRow, Signal
from prefect_nb.stores.memory import MemoryStore
from prefect_nb.stores.sqlite import SqliteStore
from prefect_nb.testing import FakeClock, opening, planning

A, B = VisitId("a"), VisitId("b")
N = StateName
PATIENCE_S = 10.0
Opened = Callable[..., tuple[Session, str]]


class Troubled(MemoryStore):
    """A store that loses appends while `lossy`, tells which workers have died, and lets `before` run first."""

    def __init__(self) -> None:
        super().__init__()
        self.lossy = False
        self.dead: set[str] = set()
        self.before_take: Callable[[], None] = lambda: None

    def append(self, commit: Commit) -> Future[Receipt]:
        if not self.lossy:
            return super().append(commit)
        failed: Future[Receipt] = Future()
        failed.set_exception(StoreFull("the disk is full"))
        return failed

    def alive(self, worker: str) -> bool:
        return worker not in self.dead and super().alive(worker)

    def take_run(self, run: str, worker: str, previous: str) -> bool:
        self.before_take()
        return super().take_run(run, worker, previous)


@pytest.fixture
def store() -> Troubled:
    """A store in memory."""
    return Troubled()


@pytest.fixture
def opened(store: Troubled) -> Iterator[Opened]:
    """Open sessions of one notebook; all are closed with the test."""
    sessions: list[Session] = []

    def make(run: str, former: str = "") -> tuple[Session, str]:
        what = Opening("f", "f.ipynb", True, store.open_worker("kernel", "f"), run, {}, former=former)
        session, remark = open_session(store, what, FakeClock())
        sessions.append(session)
        return session, remark

    yield make
    for session in sessions:
        session.close()


def recorded(store: MemoryStore, run: str = "r1") -> Run:
    """What the events of a run tell."""
    return fold(event for _, event in store.events(run))


def planned(visit: VisitId, upstream: tuple[VisitId, ...] = ()) -> ev.TaskPlanned:
    """A visit comes into being."""
    return ev.TaskPlanned(at=2.0, visit=visit, spec=TaskSpec(visit.task), upstream=upstream)


def test_nothing_is_recorded_behind_a_lost_commit(store: Troubled, opened: Opened) -> None:
    """A commit that was under way when the one before it was lost is refused: the record has no hole."""
    session, _ = opened("r1")
    sent: SimpleQueue[Commit] = SimpleQueue()
    keep = store.append

    def late(commit: Commit) -> Future[Receipt]:
        sent.put(commit)
        return Future()  # its answer is still on its way

    store.append = late  # type: ignore[method-assign]
    commits = []
    for visit, upstream in ((A, ()), (B, (A,))):
        session.sit(visit, Desk())  # somebody waits for its end, so it is sent at once
        session.post(planned(visit, upstream), ev.CancelRequested(at=3.0, visit=visit))
        commits.append(sent.get(timeout=PATIENCE_S))
    store.append = keep  # type: ignore[method-assign]
    receipts = [store.append(commit).result() for commit in commits[1:]]
    assert not any(receipt.accepted for receipt in receipts)
    assert list(recorded(store).visits) == []


def test_a_kernel_finds_its_own_run_beside_a_neighbour(store: Troubled, opened: Opened) -> None:
    """With a second kernel at work in a newer run, an engine that is opened again goes on with its own."""
    first, _ = opened("r1")
    second, remark = opened("r2")
    assert "in run r1" in remark
    again, _ = opened("r3", former=first.run.worker)
    assert (again.run.id, second.run.id) == ("r1", "r2")
    store.dead.add(again.run.worker)
    third, remark = opened("r4")
    assert (third.run.id, remark) == ("r1", "")
    assert "another kernel works on f in run r2" in opened("r5")[1]
    store.dead.add(second.run.worker)
    assert opened("r6", former=third.run.worker)[0].run.id == "r1", "a newer run of a dead kernel came first"


def test_a_wish_outlives_the_engine_that_heard_it(store: Troubled, opened: Opened) -> None:
    """What an engine heard and could not record is heard by the next one, and then by nobody."""
    first, _ = opened("r1")
    store.lossy = True
    store.signal(Signal("r1", "cancel-run", "", "ann", 5.0))
    with pytest.raises(StoreError):
        first.ask(planned(A))
    store.lossy = False
    ended: Future[Run] = Future()
    again, _ = opened("r2", former=first.run.worker)
    again.bus.subscribe(lambda run: ended.set_result(run) if run.state.final and not ended.done() else None)
    if not again.run.state.final:
        assert ended.result(PATIENCE_S).state.name is N.CANCELLED
    again.ask(ev.RunClosed(at=9.0))
    wishes = [event for _, event in store.events("r1") if isinstance(event, ev.RunCancelRequested)]
    assert [(wish.actor, wish.at) for wish in wishes] == [("ann", 5.0)]
    assert store._open_wishes == []


def test_a_wish_outlives_the_process_that_heard_it(tmp_path: Path) -> None:
    """What a kernel heard before it died is heard by the one that takes its run over; what it answered is not."""
    with contextlib.closing(SqliteStore(tmp_path)) as dead, contextlib.closing(SqliteStore(tmp_path)) as next_one:
        worker, other = dead.open_worker("kernel", "f"), next_one.open_worker("kernel", "f")
        dead.append(opening(worker=worker)).result()
        heard: SimpleQueue[Signal] = SimpleQueue()
        for task in "ab":
            dead.signal(Signal("r1", "approve", task, "ann", 1.0))
        dead.watch("r1", heard.put)
        first, _ = heard.get(timeout=PATIENCE_S), heard.get(timeout=PATIENCE_S)
        dead.append(Commit("r1", wishes=(first.id,))).result()
        assert next_one.take_run("r1", other, worker)
        again: SimpleQueue[Signal] = SimpleQueue()
        next_one.watch("r1", again.put)
        assert again.get(timeout=PATIENCE_S).task == "b"
        assert again.empty()


def test_sweeping_knows_what_came_before_it_took_the_run(store: Troubled, opened: Opened) -> None:
    """What the former owner recorded between the look and the taking is part of what is swept."""
    first, _ = opened("r1")
    first.ask(planned(A))
    store.dead.add(first.run.worker)
    last_words = [planned(B)]
    store.before_take = lambda: first.ask(last_words.pop()) and None if last_words else None
    assert sweep(store, store.open_worker("cli", "x"), FakeClock()) == ["r1"]
    run = recorded(store)
    assert {str(v): visit.state.name for v, visit in run.visits.items()} == {"a#1": N.CANCELLED, "b#1": N.CANCELLED}
    row = store.run("r1")
    assert isinstance(row, RunRow)
    assert row.state == run.state.label


def test_who_sweeps_keeps_nothing(store: Troubled, opened: Opened) -> None:
    """A run that was swept belongs to nobody, though the process that swept it lives on: a new kernel finds it."""
    first, _ = opened("r1")
    first.ask(planned(A))
    store.dead.add(first.run.worker)
    sweeper = store.open_worker("cli", "x")
    assert sweep(store, sweeper, FakeClock()) == ["r1"]
    assert store.alive(sweeper)
    assert opened("r2")[0].run.id == "r1"


def test_an_append_that_skips_one_is_refused(store: Troubled) -> None:
    """The store itself sees the gap."""
    store.append(opening()).result()
    skipping = Commit("r1", planning(A).events, visit_rows=planning(A).visit_rows, after=2)
    assert "1 events; this was based on 2" in store.append(skipping).result().refusal
