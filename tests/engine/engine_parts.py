"""A session over a store in memory with a clock turned by hand, and stores that break on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from prefect_nb.core import events as ev
from prefect_nb.core.policy import Retry
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.engine.desk import Desk, Order
from prefect_nb.engine.recovery import Opening, open_session
from prefect_nb.engine.session import Session
from prefect_nb.protocols import Commit, Receipt
from prefect_nb.stores.memory import MemoryStore

__all__ = [
    "FIRST",
    "PATIENCE_S",
    "A",
    "B",
    "BreakableStore",
    "SlowStore",
    "failing",
    "opening",
    "order",
    "plan",
    "resolved",
    "run_body",
    "start",
    "twice",
]

PATIENCE_S = 10.0
A, B = VisitId("a"), VisitId("b")
FIRST = Reason(ReasonCode.FIRST)


class BreakableStore(MemoryStore):
    """A store that fails from a moment on: with an error from the future, with one at once, or by refusing."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Callable[[Commit], Future[Receipt]] | None = None

    def append(self, commit: Commit) -> Future[Receipt]:
        return super().append(commit) if self.fault is None else self.fault(commit)


class SlowStore(MemoryStore):
    """A store whose answers come when they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.kept: list[tuple[Future[Receipt], Receipt]] = []
        self.arrived = threading.Event()

    def append(self, commit: Commit) -> Future[Receipt]:
        done = super().append(commit)
        if not self.slow:
            return done
        later: Future[Receipt] = Future()
        self.kept.append((later, done.result()))
        self.arrived.set()
        return later

    def let_go(self) -> None:
        """Answer everything that was kept."""
        self.slow = False
        for future, receipt in self.kept:
            future.set_result(receipt)


def opening(worker: str, *, run: str = "r1", live: bool = True, **more: Any) -> Opening:
    """What to open, for flow ``f``."""
    return Opening("f", "f.ipynb", live, worker, run, {}, **more)


def start(store: MemoryStore, clock: Callable[[], float], **more: Any) -> Session:
    """A session of a new run (or one taken over), by a new worker of the store."""
    return open_session(store, opening(store.open_worker("kernel", "f"), **more), clock)[0]


def plan(session: Session, visit: VisitId = A, *, upstream: tuple[VisitId, ...] = (), **options: Any) -> Desk:
    """Plan a visit and sit at its desk."""
    desk = Desk()
    session.sit(visit, desk)
    spec = TaskSpec(visit.task, **options)
    session.post(ev.TaskPlanned(at=session.now(), visit=visit, spec=spec, upstream=upstream))
    return desk


def order(desk: Desk) -> Order:
    """The next order, which has to come."""
    return desk.next().result(PATIENCE_S)


def resolved(session: Session, desk: Desk, visit: VisitId = A) -> Any:
    """Answer the order to resolve; the order to enter."""
    order(desk)
    session.post(ev.KeyResolved(at=session.now(), visit=visit, key="k", reason=FIRST))
    return order(desk)


def run_body(session: Session, desk: Desk, visit: VisitId = A) -> Order:
    """Let a visit succeed; its end."""
    enter = resolved(session, desk, visit)
    session.post(ev.BodyEntered(at=session.now(), visit=visit, token=enter.token))
    session.post(ev.BodyReturned(at=session.now(), visit=visit, token=enter.token, result="d" * 64))
    return order(desk)


def failing(kind: str = "ValueError") -> ev.ErrorInfo:
    """A user's error."""
    return ev.ErrorInfo(kind, "no", (kind,))


def twice(delay: float = 60.0) -> Retry:
    """One retry after a delay."""
    return Retry(1, delay=delay)
