"""Bodies in threads of this process: a fixed number of slots, one queue, and a stop that reaches Python code.

A thread cannot be killed. A stop raises :class:`~prefect_nb.executors.stopping.BodyStopped` in it at its next line of
Python, so a body that waits in C code hears of it only when that returns; whoever asked has to go on without it.

Knows threads; must not know tasks, states or what a job does.
"""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from prefect_nb.executors.stopping import BodyStopped

__all__ = ["ThreadExecutor"]

T = TypeVar("T")


class _Guarded:
    """One body that runs now, in which thread, and whether it was told to stop."""

    __slots__ = ("stopped", "thread")

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.stopped = False


class ThreadExecutor:
    """Jobs in threads, begun in the order in which they were submitted; safe from any thread.

    Parameters
    ----------
    slots : int
        How many jobs may run at a time; a thread is started when a job finds none idle.
    name : str
        What the threads are called.
    """

    hard = False

    def __init__(self, slots: int, name: str = "prefect_nb worker") -> None:
        self.slots = slots
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._guarded: dict[Hashable, _Guarded] = {}
        self._closed = False

    def submit(self, job: Callable[[], None]) -> None:
        """Let a job run as soon as a slot is free; after the end it is dropped."""
        with self._lock:
            if self._closed:
                return
            self._idle -= 1  # the job's thread, or a debt that a new thread settles
            if self._idle < 0 and len(self._threads) < self.slots:
                self._idle += 1
                thread = threading.Thread(target=self._work, name=f"{self._name} {len(self._threads) + 1}", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._jobs.put(job)

    def guarded(self, token: Hashable, body: Callable[[], T]) -> T:
        """Inside a job: run a body that :meth:`stop` can reach under this token; its value or its error."""
        entry = _Guarded()
        with self._lock:
            self._guarded[token] = entry
        try:
            try:
                return body()
            finally:
                self._leave(token, entry)
        except BodyStopped:
            self._leave(token, entry)  # it may strike between the lines of the first attempt to leave
            raise

    def stop(self, token: Hashable) -> bool:
        """Raise BodyStopped in the body under this token; False if none runs. The body may be slow to hear of it."""
        with self._lock:
            entry = self._guarded.get(token)
            if entry is None:
                return False
            entry.stopped = True
            _raise_in(entry.thread, BodyStopped)
            return True

    def close(self, *, patience_s: float = 0.0) -> bool:
        """Take no more jobs and wait up to `patience_s` for those that run; whether all have ended.

        Jobs that have not begun are dropped.
        """
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        while not self._jobs.empty():
            try:
                self._jobs.get_nowait()
            except queue.Empty:
                break
        for _ in threads:
            self._jobs.put(None)
        alive = [t for t in threads if t is not threading.current_thread()]
        for thread in alive:
            thread.join(patience_s / max(1, len(alive)))
        return not any(thread.is_alive() for thread in alive)

    def _leave(self, token: Hashable, entry: _Guarded) -> None:
        """From here on no stop is sent for this token, and one that was sent but has not struck is taken back."""
        with self._lock:
            self._guarded.pop(token, None)
            if entry.stopped:
                _raise_in(entry.thread, None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BodyStopped:  # it struck after its body had ended
                pass
            finally:
                with self._lock:
                    self._idle += 1


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    told: Any = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), told)
