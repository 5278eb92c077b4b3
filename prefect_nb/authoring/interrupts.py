"""Who owns SIGINT while a body runs, and how a cancel from another thread reaches exactly that body.

Knows signals, asyncio tasks and tokens; nothing about cells, states or the engine. In the main thread a handler of ours
stands for the time of a body: it raises KeyboardInterrupt while the body's own code runs and cancels the asyncio task
while the body awaits (the kernel's handler around an awaited cell only does the latter, which leaves synchronous code
deaf). The former handler is put back afterwards. A request names the token of the body it is meant for; when that body
is over, the request does nothing.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections import deque
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, Literal

__all__ = ["Guard", "Interrupts", "Why"]

Why = Literal["cancel", "timeout", "stop"]

_IDLE, _RUNNING, _WAITING = "idle", "running", "waiting"

# Set in the context of a body, hence also in the asyncio tasks which it starts.
_inside: ContextVar[Interrupts | None] = ContextVar("prefect_nb_interrupts", default=None)


class Guard:
    """One body under protection; `why` says which interrupt reached it last.

    Parameters
    ----------
    interrupts : Interrupts
        Where the handler lives.
    token : int
        The permission under which the body runs.
    """

    def __init__(self, interrupts: Interrupts, token: int) -> None:
        self.token = token
        self.why: Why | None = None
        self._interrupts = interrupts

    @contextmanager
    def running(self) -> Iterator[None]:
        """Around synchronous code of the body: here an interrupt raises KeyboardInterrupt."""
        interrupts = self._interrupts
        before = interrupts._state
        try:
            interrupts._state = _RUNNING
            interrupts._raise_deferred()
            yield
        finally:
            interrupts._state = before

    async def drive(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await a coroutine of the body, telling its synchronous stretches from its waits."""
        return await _Driven(self._interrupts, coroutine)


class _Driven:
    """An awaitable that steps a coroutine and notes when it runs and when it waits."""

    def __init__(self, interrupts: Interrupts, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._interrupts = interrupts
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                waited = self._step(value, error)
            except StopIteration as stop:
                return stop.value
            value, error = None, None
            try:
                self._interrupts._state = _WAITING
                value = yield waited
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as thrown:  # whatever asyncio throws in belongs to the body
                error = thrown
            finally:
                self._interrupts._state = _IDLE

    def _step(self, value: Any, error: BaseException | None) -> Any:
        interrupts, coroutine = self._interrupts, self._coroutine
        while True:
            try:
                interrupts._state = _RUNNING
                interrupts._raise_deferred()
                return coroutine.send(value) if error is None else coroutine.throw(error)
            except KeyboardInterrupt as interrupt:
                # The body let it pass and is over, or it struck between our own lines: then the body has to hear of it.
                if getattr(coroutine, "cr_frame", None) is None:
                    raise
                error = interrupt
            finally:
                interrupts._state = _IDLE


class Interrupts:
    """The owner of SIGINT around bodies; one for each shell.

    Bodies nest: a function task that runs in the main thread inside a cell has a guard of its own.
    """

    def __init__(self) -> None:
        self._guards: list[Guard] = []
        self._requests: deque[tuple[int, Why]] = deque()
        self._lock = threading.Lock()
        self._state = _IDLE
        self._deferred = False
        self._previous: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancels = 0

    def request(self, token: int, why: Literal["cancel", "timeout"]) -> bool:
        """Interrupt the body that runs under `token`; callable from any thread.

        May be repeated when a body catches the interrupt and goes on.

        Returns
        -------
        bool
            False if no such body runs any more, so that nothing was sent.
        """
        with self._lock:
            if all(guard.token != token for guard in self._guards):
                return False
            self._requests.append((token, why))
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            return True

    @contextmanager
    def around(self, token: int) -> Iterator[Guard]:
        """Protect one body for as long as the context lasts.

        Outside the main thread (a kernel's subshell) signals do not arrive: there the guard only names the token and
        a request is refused.
        """
        guard = Guard(self, token)
        if threading.current_thread() is not threading.main_thread():
            yield guard
            return
        reset = _inside.set(self)
        if not self._guards:
            self._enter()
        self._guards.append(guard)
        try:
            yield guard
        finally:
            with self._lock:  # from here on no request for this token is sent
                self._guards.remove(guard)
            if not self._guards:
                self._leave()
            _inside.reset(reset)

    def cancelled_from_outside(self) -> bool:
        """Whether somebody other than us cancelled the asyncio task of the running body."""
        return self._task is not None and self._task.cancelling() > self._cancels

    def _enter(self) -> None:
        self._deferred, self._cancels, self._state = False, 0, _IDLE
        try:
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.current_task()
        except RuntimeError:
            self._loop = self._task = None
        self._previous = signal.signal(signal.SIGINT, self._handle)

    def _leave(self) -> None:
        self._state = _IDLE
        for _ in range(1000):
            if not self._requests:
                break
            time.sleep(0)  # a signal was sent while the body ended: let our handler have it, not the next one
        self._requests.clear()
        if signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, self._previous or signal.default_int_handler)
        while self._task is not None and self._cancels:
            self._task.uncancel()
            self._cancels -= 1
        self._loop = self._task = self._previous = None

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if not self._apply():
            return
        task, loop = self._task, self._loop
        own = loop is None or asyncio.current_task(loop) is task
        if self._state == _RUNNING and own:
            raise KeyboardInterrupt
        if own or loop is None or task is None:
            # It struck between lines of ours, or the wait just begins or ends: who comes first hears of it, the body's
            # next line or the event loop.
            self._deferred = True
            if self._state == _WAITING and loop is not None:
                loop.call_soon_threadsafe(self._cancel_deferred)
            return
        # At once, not by a callback: a child task that never yields may stand before it in the queue.
        self._cancels += 1
        task.cancel()
        loop.call_soon_threadsafe(_wake)
        if _inside.get() is self:
            # A child task of the body computes. A KeyboardInterrupt there would end the event loop, hence the kernel.
            raise asyncio.CancelledError

    def _apply(self) -> bool:
        """Note on the guards whom this signal is meant for; False if for nobody."""
        if not self._requests:
            for guard in self._guards:
                guard.why = "stop"
            return bool(self._guards)
        hit = False
        while self._requests:
            token, why = self._requests.popleft()
            for guard in self._guards:
                if guard.token == token:
                    guard.why, hit = why, True
        return hit

    def _cancel_deferred(self) -> None:
        if self._deferred and self._state == _WAITING and self._task is not None:
            self._deferred = False
            self._cancels += 1
            self._task.cancel()

    def _raise_deferred(self) -> None:
        if self._deferred:
            self._deferred = False
            raise KeyboardInterrupt


def _wake() -> None:
    """Nothing: being called ends the event loop's wait for input."""
