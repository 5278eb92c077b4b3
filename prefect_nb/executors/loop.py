"""Coroutines on one asyncio thread, which starts with the first; each can be stopped by its token.

Knows asyncio and threads; must not know tasks or states.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import Future
from contextvars import Context
from typing import Any

__all__ = ["LoopThread", "elsewhere"]


async def elsewhere(submit: Callable[[Callable[[], None]], None], job: Callable[[], None]) -> None:
    """Let a job run off the loop, and wait for it: whoever waits for the coroutine has then waited for the job."""
    done: Future[None] = Future()

    def whole() -> None:
        try:
            job()
        finally:
            done.set_result(None)

    submit(whole)
    await asyncio.wrap_future(done)


class LoopThread:
    """An event loop in a thread of its own; safe from any thread."""

    def __init__(self, name: str = "prefect_nb loop") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: dict[Hashable, asyncio.Task[Any] | None] = {}

    def run(self, token: Hashable, start: Callable[[], Coroutine[Any, Any, None]], context: Context) -> None:
        """Run a coroutine in this context; it must not raise."""
        loop = self._running()

        def begin() -> None:
            task = loop.create_task(start(), context=context)
            self._tasks[token] = task
            task.add_done_callback(lambda _: self._gone(token))

        with self._changed:
            self._tasks[token] = None  # on its way
        loop.call_soon_threadsafe(begin)

    def stop(self, token: Hashable) -> bool:
        """Cancel the coroutine under this token; False if there is none."""
        task, loop = self._tasks.get(token), self._loop
        if task is None or loop is None:
            return False
        loop.call_soon_threadsafe(task.cancel)
        return True

    def drain(self, patience_s: float) -> bool:
        """Wait up to so many seconds until no coroutine is left; whether there is none."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._tasks, patience_s)

    def close(self) -> None:
        """Stop the loop; what still runs is abandoned."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def _gone(self, token: Hashable) -> None:
        with self._changed:
            self._tasks.pop(token, None)
            self._changed.notify_all()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True).start()
            return self._loop


def in_loop() -> bool:
    """Whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
