"""Where a visit's owner waits for the machine's next order: Resolve, Enter or the visit's end.

A desk belongs to whoever runs the body (a cell's runner, a function's caller). Orders arrive from the engine's thread;
the owner takes them one at a time, blocking or awaiting.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from prefect_nb.core.effects import Enter, Interrupt, Resolve
from prefect_nb.core.run import Visit

__all__ = ["Desk", "Order", "Settled"]


@dataclass(frozen=True, slots=True)
class Settled:
    """The visit is final and that is durable."""

    visit: Visit


Order = Resolve | Enter | Settled


class Desk:
    """The orders of one visit, in order, and how to interrupt its body.

    Parameters
    ----------
    interrupt : callable, optional
        Called from the engine's thread with an Interrupt; must not block. Without it an interrupt is only a wish that
        the machine records.
    """

    def __init__(self, interrupt: Callable[[Interrupt], None] | None = None) -> None:
        self.interrupt = interrupt
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
