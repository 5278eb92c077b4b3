"""One run on one thread: events in, states to the store, orders out.

The thread owns the run's state; everybody else posts events to its queue and reads the last state as a frozen value.
An event is carried through ``step`` at once, its commit travels to the store, and what may be seen outside (an end, a
view) waits for that commit; entering a body may run ahead of it (its permission is quoted at the end, so a refusal
would be noticed there).
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from prefect_nb.core import effects as ef
from prefect_nb.core import events as ev
from prefect_nb.core.events import Event
from prefect_nb.core.machine import step
from prefect_nb.core.run import Run
from prefect_nb.core.spec import VisitId
from prefect_nb.engine import faults
from prefect_nb.engine.batch import Acked, Attachments, Batch, Place, Stirred
from prefect_nb.engine.batch import Post as _Post
from prefect_nb.engine.bus import Bus
from prefect_nb.engine.desk import Desk, Seats
from prefect_nb.engine.outbox import BATCH, Outbox
from prefect_nb.engine.slots import Queue, limited
from prefect_nb.engine.spool import Shown
from prefect_nb.engine.timers import Timers
from prefect_nb.engine.wishes import wished
from prefect_nb.errors import IllegalTransition, PrefectNBError, StoreError
from prefect_nb.protocols import LogChunk, Signal, Store

__all__ = ["Attachments", "Session"]

_GATHER_S = 0.01  # how long events that nobody waits for are collected into one commit
_LOOK_S = 1.0


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
    place : Place, optional
        Where the notebook is, and its graph as it was last known.
    after : int
        The number of the newest event in `run`.
    """

    def __init__(
        self,
        store: Store,
        run: Run,
        now: Callable[[], float],
        place: Place | None = None,
        after: int = 0,
    ) -> None:
        self.store = store
        self.now = now
        self.bus = Bus(run)
        self._run = run
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._seats = Seats()
        self._pid = os.getpid()
        self._ended = False
        self._timers = Timers()
        self._slots = Queue(store, lambda: self._queue.put(Stirred()))
        self._out = Outbox(store, place or Place(), after, self.bus.shown)
        self._batch_at = 0.0
        self._stored = 0
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

    @property
    def stored(self) -> int:
        """Bytes of results that this session has made durable."""
        return self._stored

    def sit(self, visit: VisitId, desk: Desk) -> None:
        """Send the orders of a visit to this desk, also those that came before; a broken engine is told at once."""
        self._seats.take(visit, desk)

    def abandon(self, visit: VisitId, message: str) -> None:
        """Its owner attends to this visit no more: it is cancelled."""
        self._seats.leave(visit)
        self.post(ev.CancelRequested(at=self.now(), visit=visit, message=message))

    def post(self, *events: Event, attachments: Attachments | None = None) -> None:
        """Let events happen, in this order and in one transaction; returns at once.

        What goes wrong is told at the desks of the visits in question.
        """
        self._refuse_fork()
        self._queue.put(_Post(events, attachments or Attachments(), None, False))

    def ask(self, *events: Event, attachments: Attachments | None = None, durable: bool = True) -> Run:
        """Let events happen and wait until they are durable (or only applied); the run's state after them.

        Raises
        ------
        IllegalTransition
            If one of them cannot happen; none of them did.
        StoreError
            If the store cannot take them, or the engine has ended.
        """
        self._refuse_fork()
        done: Future[Run] = Future()
        self._queue.put(_Post(events, attachments or Attachments(), done, durable))
        while (self._thread.is_alive() and not self._ended) or done.done():
            try:
                return done.result(_LOOK_S)
            except TimeoutError:
                continue
        raise self._failure or faults.over(self._run.id)

    def limited(self, tags: Sequence[str], parent: VisitId | None = None) -> tuple[str, ...]:
        """The tags of which a visit called in `parent` needs a slot; to be said with its key. Asks the store."""
        return limited(self.store, self._run, tags, parent)

    def log(self, chunk: LogChunk | Shown) -> None:
        """Keep a piece of output or an artifact; it becomes durable with the next commit or within half a second."""
        self._queue.put(chunk)

    def describe(self, graph: Mapping[str, Any]) -> None:
        """Set the notebook's graph, which views draw; stored with the next commit of the run."""
        self._queue.put(Place(self._out.notebook, graph))

    @property
    def graph(self) -> Mapping[str, Any]:
        """The graph that :meth:`describe` set last."""
        return self._out.graph

    @property
    def notebook(self) -> str:
        """The notebook's path, for people."""
        return self._out.notebook

    def listen(self) -> None:
        """Take wishes that other processes leave in the store for this run."""
        self.store.watch(self._run.id, self._signalled)

    def close(self) -> None:
        """Carry out what was posted, hand it to the store and stop the thread; closing the store waits for it."""
        if os.getpid() != self._pid:  # a forked child has no such thread, and the run is not its own
            return
        self._queue.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(10)

    def _refuse_fork(self) -> None:
        if os.getpid() != self._pid:
            raise faults.forked(self._run.id)

    # --- the thread ----------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        going = True
        while going:
            items = self._next_items()
            going = None not in items
            try:
                self._turn(items)
            except BaseException as error:  # the border: whatever it is, those who wait have to hear of it
                self._fail(faults.broken(self._run.id, error))
        self._ended = True
        self._fail(faults.over(self._run.id), quietly=True)
        while not self._queue.empty():
            self._handle(self._queue.get())

    def _next_items(self) -> list[Any]:
        try:
            items = [self._queue.get(timeout=self._patience())]
        except queue.Empty:
            items = []
        while len(items) < BATCH and not self._queue.empty():
            items.append(self._queue.get())
        return items

    def _turn(self, items: list[Any]) -> None:
        began = self._batch_at or time.monotonic()
        for item in items:
            self._handle(item)
        for timer in list(self._timers.due(self.now())):
            visit = self._run.visits[timer.visit]
            limits = self.limited(visit.spec.tags, visit.parent) if timer.kind == "retry" else ()
            fired = ev.TimerFired(at=self.now(), visit=visit.id, token=timer.token, kind=timer.kind, limits=limits)
            self._apply(_Post((fired,), Attachments(), None, False))
        ripe = len(self._out.batch.events) >= BATCH or time.monotonic() - began >= _GATHER_S or self._out.logs.due
        if self._out.batch.hurry or ripe or not items or None in items:
            self._flush(idle=not items or None in items)
        if self._failure is None and self._slots.due(self._run):
            self._let_in()
        self._batch_at = began if self._out.batch.filled else 0.0

    def _patience(self) -> float | None:
        first = self._timers.next()
        waits = [max(0.0, first - self.now())] if first is not None else []
        if self._out.logs:
            waits.append(self._out.logs.left_s)
        if (first := self._slots.patience()) is not None:
            waits.append(first)
        if self._batch_at:
            waits.append(max(0.0, self._batch_at + _GATHER_S - time.monotonic()))
        return min(waits) if waits else None

    def _handle(self, item: Any) -> None:
        match item:
            case _Post():
                self._apply(item)
            case Acked():
                self._acknowledge(item)
            case LogChunk() | Shown() if self._failure is None:
                self._out.logs.take(item)
            case Stirred():
                self._slots.stir()
            case Place():
                self._out.describe(item)

    def _apply(self, post: _Post) -> None:
        if self._failure is not None:
            self._refuse(post, self._failure)
            return
        try:
            run, orders = _stepped(self._run, post.events)
        except IllegalTransition as error:
            if post.done is None:
                self.bus.trouble(error)
            self._refuse(post, error)
            return
        self._out.batch.take(self._run, run, post, orders)
        self._run = run
        if post.done is not None and not post.durable:
            post.done.set_result(run)
        self._perform(orders)

    def _refuse(self, post: _Post, error: PrefectNBError) -> None:
        """Nothing of it happened: whoever waits for it hears that now."""
        if post.done is not None:
            post.done.set_exception(error)
        else:
            self._seats.refuse(post.events, error)

    def _perform(self, orders: Iterable[ef.Effect]) -> None:
        for order in orders:
            match order:
                case ef.Settle():  # told once it is durable
                    self._out.batch.hurry = self._out.batch.hurry or self._seats.urgent(order.visit)
                case ef.Resolve() | ef.Judge() | ef.Enter():
                    self._seats.deliver(order.visit, order)
                case ef.Claim():
                    self._slots.add(order)
                case ef.ClearTimer():
                    self._timers.clear(order.visit)
                case ef.SetTimer():
                    self._timers.set(order)
                case ef.Interrupt() if not self._seats.interrupt(order):  # nobody runs that body, so it has stopped
                    self.post(ev.BodyCancelled(at=self.now(), visit=order.visit, token=order.token))

    def _let_in(self) -> None:
        """Those whose turn it is take slots and permissions in one commit, before any of them hears of it."""
        self._flush(idle=False)  # their tickets come first
        turns = self._slots.turns(self._run)
        if self._out.draw(self._slots.lost(turns)):
            self._slots.again()
            return
        if taken := self._slots.taken(turns, self.now()):
            run, orders = _stepped(self._run, taken)
            batch = Batch(after=self._out.batch.after)
            batch.take(self._run, run, _Post(taken, Attachments(), None, False), orders)
            acked = self._out.claim(batch, run, tuple(event.visit for event in taken))
            if acked is None:  # another process was faster
                self._slots.again()
                return
            self._run = run
            self._queue.put(acked)
            self._perform(orders)
        for event in self._slots.told(self._run, turns, self.now()):
            self._apply(_Post((event,), Attachments(), None, False))

    def _flush(self, *, idle: bool) -> None:
        if self._failure is None and (acked := self._out.send(self._run, idle=idle)) is not None:
            acked.receipt.add_done_callback(lambda _: self._queue.put(acked))

    def _acknowledge(self, acked: Acked) -> None:
        try:
            receipt = acked.receipt.result()
            if not receipt.accepted:
                raise faults.refused(acked.run.id, receipt.refusal)
        except Exception as error:  # the border to the store: a waiter must hear of every fault
            told = error if isinstance(error, StoreError) else faults.broken(acked.run.id, error)
            self._fail(told)
            for waiter in acked.waiters:
                waiter.set_exception(told)
            return
        self._stored += acked.stored
        self.bus.publish(acked.run)
        for waiter in acked.waiters:
            waiter.set_result(acked.run)
        for visit in acked.settled:
            self._seats.settle(visit)

    def _fail(self, error: PrefectNBError, *, quietly: bool = False) -> None:
        """Stop working: everybody who waits, now or later, gets the error that came first."""
        first = self._failure is None
        self._failure = self._failure or error
        self._slots.close()
        for waiter in self._out.clear().waiters:
            waiter.set_exception(self._failure)
        self._seats.fail(self._failure)
        if first and not quietly:
            self.bus.trouble(error)

    def _signalled(self, signal: Signal) -> None:
        if signal.kind == "invalidate" and (visit := self._run.visit(signal.task)) is not None and visit.key:
            self.store.invalidate(visit.key)
        event = wished(self._run, signal)
        self.post(*(() if event is None else (event,)), attachments=Attachments(wishes=(signal.id,)))


def _stepped(run: Run, events: Iterable[Event]) -> tuple[Run, list[ef.Effect]]:
    """The run after these events, and the orders that they give."""
    orders: list[ef.Effect] = []
    for event in events:
        run, more = step(run, event)
        orders.extend(more)
    return run, orders
