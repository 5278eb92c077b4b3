"""One run on one thread: events in, states to the store, orders out.

The thread owns the run's state; everybody else posts events to its queue and reads the last state as a frozen value.
An event is carried through ``step`` at once, its commit travels to the store, and what may be seen outside (an end, a
view) waits for that commit; entering a body may run ahead of it (its permission is quoted at the end, so a refusal
would be noticed there).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from prefect_nb.core import effects as ef
from prefect_nb.core import events as ev
from prefect_nb.core.events import Event
from prefect_nb.core.machine import step
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import StateType
from prefect_nb.engine.batch import Attachments, Batch
from prefect_nb.engine.batch import Post as _Post
from prefect_nb.engine.bus import Bus
from prefect_nb.engine.desk import Desk, Settled
from prefect_nb.engine.rows import run_row
from prefect_nb.engine.timers import Timers
from prefect_nb.errors import IllegalTransition, PrefectNBError, StoreError
from prefect_nb.protocols import LogChunk, Receipt, RunRow, Signal, Store

__all__ = ["Attachments", "Session"]

_BATCH = 256
_LOGS_S = 0.5


@dataclass(frozen=True, slots=True)
class _Acked:
    settled: tuple[Visit, ...]
    run: Run
    receipt: Future[Receipt]
    waiters: tuple[Future[Run], ...]


@dataclass(slots=True)
class _Place:
    notebook: str = ""
    graph: Mapping[str, Any] = field(default_factory=dict)


class Session:
    """The engine of one run.

    Parameters
    ----------
    store : Store
        Where commits go.
    run : Run
        The state to go on from; a blank one for a new run.
    now : callable
        The clock: seconds since the epoch, UTC.
    notebook : str
        The notebook's path, for people.
    graph : mapping, optional
        The notebook's graph as it was last known.
    """

    def __init__(
        self,
        store: Store,
        run: Run,
        now: Callable[[], float],
        notebook: str = "",
        graph: Mapping[str, Any] | None = None,
    ) -> None:
        self.store = store
        self.now = now
        self.bus = Bus()
        self._run = run
        self._place = _Place(notebook, graph or {})
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._desks: dict[VisitId, Desk] = {}
        self._timers = Timers()
        self._logs: list[LogChunk] = []
        self._batch = Batch()
        self._told: RunRow | None = None
        self._failure: PrefectNBError | None = None
        self._thread = threading.Thread(target=self._loop, name="prefect_nb engine", daemon=True)
        self._thread.start()

    # --- for every thread ---------------------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        """The newest state, a frozen value; it may be ahead of the store by a commit."""
        return self._run

    @property
    def failure(self) -> PrefectNBError | None:
        """Why the engine stopped, or None while it works."""
        return self._failure

    def sit(self, visit: VisitId, desk: Desk) -> None:
        """Send the orders of a visit to this desk; call it before the visit is planned."""
        self._desks[visit] = desk

    def post(self, *events: Event, attachments: Attachments | None = None) -> None:
        """Let events happen, in this order and in one transaction; returns at once."""
        self._queue.put(_Post(events, attachments or Attachments(), None, False))

    def ask(self, *events: Event, attachments: Attachments | None = None, durable: bool = True) -> Run:
        """Let events happen and wait until they are durable (or only applied); the run's state after them.

        Raises
        ------
        IllegalTransition
            If one of them cannot happen; none of them did.
        StoreError
            If the store cannot take them.
        """
        done: Future[Run] = Future()
        self._queue.put(_Post(events, attachments or Attachments(), done, durable))
        return done.result()

    def log(self, chunk: LogChunk) -> None:
        """Keep a piece of output; it becomes durable with the next commit or within half a second."""
        self._queue.put(chunk)

    def describe(self, graph: Mapping[str, Any]) -> None:
        """Set the notebook's graph, which views draw; stored with the next commit of the run."""
        self._queue.put(_Place(self._place.notebook, graph))

    @property
    def graph(self) -> Mapping[str, Any]:
        """The graph that :meth:`describe` set last."""
        return self._place.graph

    @property
    def notebook(self) -> str:
        """The notebook's path, for people."""
        return self._place.notebook

    def listen(self) -> None:
        """Take wishes that other processes leave in the store for this run."""
        self.store.watch(self._run.id, self._signalled)

    def close(self) -> None:
        """Carry out what was posted, wait for it to be durable and stop the thread; the store stays open."""
        self._queue.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(10)

    # --- the thread ----------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            try:
                items = [self._queue.get(timeout=self._patience())]
            except queue.Empty:
                items = []
            while len(items) < _BATCH and not self._queue.empty():
                items.append(self._queue.get())
            for item in items:
                if item is not None:
                    self._handle(item)
            for timer in list(self._timers.due(self.now())):
                fired = ev.TimerFired(at=self.now(), visit=timer.visit, token=timer.token, kind=timer.kind)
                self._apply(_Post((fired,), Attachments(), None, False))
            self._flush(idle=not items or None in items)
            if None in items:
                return

    def _patience(self) -> float | None:
        first = self._timers.next()
        waits = [max(0.0, first - self.now())] if first is not None else []
        if self._logs:
            waits.append(_LOGS_S)
        return min(waits) if waits else None

    def _handle(self, item: Any) -> None:
        match item:
            case _Post():
                self._apply(item)
            case _Acked():
                self._acknowledge(item)
            case LogChunk():
                self._logs.append(item)
            case _Place():
                self._place = item
                self._batch.described = True

    def _apply(self, post: _Post) -> None:
        if self._failure is not None:
            if post.done is not None:
                post.done.set_exception(self._failure)
            return
        run = self._run
        orders: list[ef.Effect] = []
        try:
            for event in post.events:
                run, more = step(run, event)
                orders.extend(more)
        except IllegalTransition as error:
            if post.done is None:
                self.bus.trouble(error)
            else:
                post.done.set_exception(error)
            return
        self._batch.take(self._run, run, post, orders)
        self._run = run
        if post.done is not None and not post.durable:
            post.done.set_result(run)
        self._perform(orders)

    def _perform(self, orders: Iterable[ef.Effect]) -> None:
        for order in orders:
            match order:
                case ef.SetTimer():
                    self._timers.set(order)
                case ef.ClearTimer():
                    self._timers.clear(order.visit)
                case ef.Resolve() | ef.Enter():
                    if (desk := self._desks.get(order.visit)) is not None:
                        desk.deliver(order)
                case ef.Interrupt():
                    desk = self._desks.get(order.visit)
                    if desk is not None and desk.interrupt is not None:
                        desk.interrupt(order)

    def _flush(self, *, idle: bool) -> None:
        """Send what was collected as one commit; logs alone wait for company or for an idle moment."""
        batch, run = self._batch, self._run
        if not run.id or not (batch.filled or (self._logs and (idle or len(self._logs) >= _BATCH))):
            return
        self._batch = Batch()
        row = run_row(run, self._place.notebook, self._place.graph)
        told = replace(row, version=0)
        news = batch.described or told != self._told
        self._told = told
        commit = batch.commit(run, row if news else None, tuple(self._logs))
        self._logs.clear()
        settled = tuple(run.visits[v] for v in batch.settled)
        receipt = self.store.append(commit)
        acked = _Acked(settled, run, receipt, tuple(batch.waiters))
        receipt.add_done_callback(lambda _: self._queue.put(acked))

    def _acknowledge(self, acked: _Acked) -> None:
        try:
            receipt = acked.receipt.result()
            if not receipt.accepted:
                raise StoreError(
                    f"the store refused a change of run {acked.run.id}: {receipt.refusal}",
                    hint="another kernel took this run over; start a new one with %flow new",
                )
        except StoreError as error:
            self._fail(error)
            for waiter in acked.waiters:
                waiter.set_exception(error)
            return
        for waiter in acked.waiters:
            waiter.set_result(acked.run)
        for visit in acked.settled:
            desk = self._desks.pop(visit.id, None)
            if desk is not None:
                desk.deliver(Settled(visit))
        self.bus.publish(acked.run)

    def _fail(self, error: PrefectNBError) -> None:
        self._failure = error
        for desk in list(self._desks.values()):
            desk.fail(error)
        self.bus.trouble(error)

    def _signalled(self, signal: Signal) -> None:
        run, at, actor = self._run, signal.at, signal.actor or "another process"
        if signal.kind == "cancel-run":
            self.post(ev.RunCancelRequested(at=at, actor=actor))
            return
        visit = run.visit(signal.task)
        if visit is None:
            return
        if signal.kind == "cancel":
            self.post(ev.CancelRequested(at=at, actor=actor, visit=visit.id))
        elif signal.kind == "invalidate":
            if visit.key:
                self.store.invalidate(visit.key)
            self.post(ev.TaskInvalidated(at=at, actor=actor, visit=visit.id))
        elif signal.kind == "skip" and visit.state.type in (StateType.PENDING, StateType.SCHEDULED, StateType.PAUSED):
            self.post(ev.SkipRequested(at=at, actor=actor, visit=visit.id))
