"""Where a visit's owner waits for the machine's next order: Resolve, Enter or the visit's end.

A desk belongs to whoever runs the body (a cell's runner, a function's caller). Orders arrive from the engine's thread;
the owner takes them one at a time, blocking or awaiting.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from prefect_nb.core import events as ev
from prefect_nb.core.effects import Enter, Interrupt, Judge, Resolve
from prefect_nb.core.run import Visit
from prefect_nb.core.spec import VisitId

__all__ = ["Desk", "Order", "Seats", "Settled"]


@dataclass(frozen=True, slots=True)
class Settled:
    """The visit is final and that is durable."""

    visit: Visit


Order = Resolve | Judge | Enter | Settled
_OF_OWNERS = (ev.TaskPlanned, ev.KeyResolved, ev.ResultReused, ev.TriggerJudged, ev.BodyEntered, *ev.BODY_ENDS)


class Desk:
    """The orders of one visit, in order, and how to interrupt its body.

    Parameters
    ----------
    interrupt : callable, optional
        Called from the engine's thread with an Interrupt; must not block. Without it an interrupt is only a wish that
        the machine records.
    waits_for_end : bool
        Whether the owner goes on only when the visit's end is durable; a function's caller does not.
    """

    def __init__(self, interrupt: Callable[[Interrupt], None] | None = None, *, waits_for_end: bool = True) -> None:
        self.interrupt = interrupt
        self.waits_for_end = waits_for_end
        self._lock = threading.Lock()
        self._orders: deque[Order] = deque()
        self._waiting: Future[Order] | None = None
        self._failure: BaseException | None = None

    def deliver(self, order: Order) -> None:
        """Hand an order over; called by the engine's thread."""
        with self._lock:
            if self._waiting is None:
                self._orders.append(order)
                return
            waiting, self._waiting = self._waiting, None
        waiting.set_result(order)

    def fail(self, error: BaseException) -> None:
        """Let this and every later wait raise: the engine or its store cannot go on."""
        with self._lock:
            self._failure = error
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.set_exception(error)

    def next(self) -> Future[Order]:
        """The next order, as a future; one wait at a time."""
        future: Future[Order] = Future()
        future.set_running_or_notify_cancel()
        with self._lock:
            if self._orders:
                order = self._orders.popleft()
            elif self._failure is not None:
                future.set_exception(self._failure)
                return future
            else:
                self._waiting = future
                return future
        future.set_result(order)
        return future


class Seats:
    """Who sits at which visit's desk, and the orders of visits where nobody sits yet. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._desks: dict[VisitId, Desk] = {}
        self._held: dict[VisitId, list[Order]] = {}
        self._failure: BaseException | None = None

    def take(self, visit: VisitId, desk: Desk) -> None:
        """Sit down; orders that were held come first."""
        with self._lock:
            self._desks[visit] = desk
            held, failure = self._held.pop(visit, []), self._failure
        for order in held:
            desk.deliver(order)
        if failure is not None:
            desk.fail(failure)

    def leave(self, visit: VisitId) -> None:
        """Get up before the end."""
        with self._lock:
            self._desks.pop(visit, None)
            self._held.pop(visit, None)

    def at(self, visit: VisitId) -> Desk | None:
        """The visit's desk, None if nobody sits there."""
        return self._desks.get(visit)

    def deliver(self, visit: VisitId, order: Order) -> None:
        """Hand an order to the visit's desk, or hold it until somebody sits down."""
        desk = self._desks.get(visit)
        if desk is None:
            with self._lock:
                desk = self._desks.get(visit)
                if desk is None:
                    self._held.setdefault(visit, []).append(order)
                    return
        desk.deliver(order)

    def interrupt(self, order: Interrupt) -> bool:
        """Interrupt the body of a visit, if its owner can; False if it has none."""
        desk = self._desks.get(order.visit)
        if desk is not None and desk.interrupt is not None:
            desk.interrupt(order)
        return desk is not None

    def settle(self, visit: Visit) -> None:
        """The visit is final: its owner hears of it and gets up."""
        with self._lock:
            desk = self._desks.pop(visit.id, None)
            self._held.pop(visit.id, None)
        if desk is not None:
            desk.deliver(Settled(visit))

    def refuse(self, events: Iterable[ev.Event], error: BaseException) -> None:
        """These did not happen: an owner that told one of them hears that now, for no order will come."""
        for event in events:
            if isinstance(event, ev.TaskEvent) and isinstance(event, _OF_OWNERS):
                desk = self._desks.get(event.visit)
                if desk is not None:
                    desk.fail(error)

    def urgent(self, visit: VisitId) -> bool:
        """Whether somebody goes on only when the end of this visit is durable."""
        desk = self._desks.get(visit)
        return desk is not None and desk.waits_for_end

    def fail(self, error: BaseException) -> None:
        """Let everybody who waits, now or later, raise."""
        with self._lock:
            self._failure = error
            desks = list(self._desks.values())
            self._desks.clear()
            self._held.clear()
        for desk in desks:
            desk.fail(error)
