"""Bodies in worker processes: each a failure domain of its own, whose end is noticed at once and can be enforced.

A job runs in a thread, as everywhere; the body in it travels to a worker and comes back as a value or an error. A stop
sends TERM to the worker's process group and KILL five seconds later, so a body that does not listen ends too. A worker
that dies takes its body with it, and nobody else's. Knows workers and pickles; nothing of tasks or states.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import pickle
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol, TypeVar, cast

from prefect_nb.executors.line import ANSWER, ASK, BEGUN, ERROR, RUN, STDERR, STDOUT, STOPPED, TELL, VALUE, Frame
from prefect_nb.executors.pool import Pool, WorkerProcess
from prefect_nb.executors.raised import unpacked
from prefect_nb.executors.stopping import BodyLost, BodyStopped, Unfit
from prefect_nb.executors.threads import ThreadExecutor
from prefect_nb.executors.worker import dumped

__all__ = ["Errand", "ProcessExecutor"]

T = TypeVar("T")
Buffers = Sequence[bytes | bytearray | memoryview]
_LOOK_MS = 200
_STARTS = 3


class Errand(Protocol):
    """A body that knows how it travels, and who hears of it on its way."""

    def packed(self) -> Buffers:
        """A pickle of what the worker is to call, and its buffers."""

    def begun(self) -> None:
        """Its worker is there, and enters it."""

    def heard(self, news: bytes) -> None:
        """The body told something."""

    def asked(self, question: bytes) -> bytes:
        """The body asks something and waits."""


class _Plain:
    """Any body; it has nothing to tell and nobody to ask."""

    def __init__(self, body: Callable[[], Any]) -> None:
        self._body = body

    def packed(self) -> Buffers:
        return dumped(self._body)

    def begun(self) -> None:
        """Nobody is told."""

    def heard(self, news: bytes) -> None:
        """As above."""

    def asked(self, question: bytes) -> bytes:
        raise TypeError("nobody answers a body that was sent as it is")


class _Entry:
    """One body under way: who runs it, and whether somebody asked it to stop."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.worker: WorkerProcess | None = None
        self.stopped = False

    def stop(self, number: int) -> None:
        with self.lock:
            self.stopped = True
            if self.worker is not None:
                self.worker.signal(number)

    def given_to(self, worker: WorkerProcess) -> None:
        with self.lock:
            self.worker = worker
            if self.stopped:
                raise BodyStopped


class ProcessExecutor:
    """Jobs in threads, their bodies in worker processes; safe from any thread.

    Parameters
    ----------
    slots : int
        How many jobs may run at a time; so many idle workers are kept.
    name : str
        What the threads are called.
    grace_s : float
        How long a body may take to end after TERM, before its process group is killed.
    """

    hard = True

    def __init__(self, slots: int, name: str = "prefect_nb process", grace_s: float = 5.0) -> None:
        self.slots = slots
        self.grace_s = grace_s
        self._jobs = ThreadExecutor(slots, name)
        self._pool = Pool(slots)
        self._lock = threading.Lock()
        self._running: dict[Hashable, _Entry] = {}

    def submit(self, job: Callable[[], None]) -> None:
        """Let a job run as soon as a slot is free; after the end it is dropped."""
        self._jobs.submit(job)

    def guarded(self, token: Hashable, body: Callable[[], T]) -> T:
        """In any thread: run a body in a worker; its value or its error.

        Raises
        ------
        BodyStopped
            If it was stopped.
        BodyLost
            If its process vanished.
        """
        return cast(T, self.sent(token, _Plain(body)))

    def sent(self, token: Hashable, errand: Errand) -> Any:
        """As :meth:`guarded`, for a body that knows how it travels and is heard on its way."""
        entry = _Entry()
        with self._lock:
            self._running[token] = entry
        try:
            return self._run(entry, errand)
        finally:
            with self._lock:
                self._running.pop(token, None)

    def stop(self, token: Hashable) -> bool:
        """TERM for the body under this token, KILL after the grace; False if none runs."""
        with self._lock:
            entry = self._running.get(token)
        if entry is None:
            return False
        entry.stop(signal.SIGTERM)
        kill = threading.Timer(self.grace_s, entry.stop, (signal.SIGKILL,))
        kill.daemon = True
        kill.start()
        return True

    def close(self, *, patience_s: float = 0.0) -> bool:
        """Take no more jobs and wait up to `patience_s` for those that run; then end all workers."""
        ended = self._jobs.close(patience_s=patience_s)
        if ended and not self._running:
            self._pool.close()
        return ended

    def _run(self, entry: _Entry, errand: Errand) -> Any:
        parts = errand.packed()
        for attempt in range(_STARTS):
            worker = self._pool.take(fresh=attempt > 0)
            exchange = _Exchange(worker, errand)
            try:
                entry.given_to(worker)
                end = exchange.over(Frame(RUN, parts))
            except BaseException:  # a stop before the body began, or Ctrl-C in this thread: nobody waits for it now
                self._end_gently(entry, worker, exchange)
                raise
            if end is not None:
                try:
                    return self._ended(entry, worker, end)
                except Unfit:
                    if not worker.used:
                        raise
            else:
                with entry.lock:
                    entry.worker = None
                code = self._pool.end(worker)
                if entry.stopped:
                    raise BodyStopped
                if exchange.begun:
                    raise BodyLost(_told(code), code)
        raise BodyLost(f"{_told(code)} before the body began", code)

    def _ended(self, entry: _Entry, worker: WorkerProcess, end: Frame) -> Any:
        """The body has ended: its worker is kept if nothing of it is left there."""
        with entry.lock:
            entry.worker = None
        error = unpacked(bytes(end.parts[1])) if end.kind == ERROR else None
        if entry.stopped or end.parts[0][0] or isinstance(error, Unfit):
            self._pool.end(worker)
        else:
            self._pool.give_back(worker)
        if end.kind == STOPPED:
            raise BodyStopped
        if error is not None:
            raise error
        return pickle.loads(end.parts[1], buffers=end.parts[2:])  # noqa: S301 - our own worker's line

    def _end_gently(self, entry: _Entry, worker: WorkerProcess, exchange: _Exchange) -> None:
        """Let the body hear of the stop, show what it still says, and end its worker."""
        with entry.lock:
            entry.worker = None
        try:
            if exchange.sent:
                worker.signal(signal.SIGTERM)
                exchange.wait(time.monotonic() + self.grace_s)
        finally:
            self._pool.end(worker)


class _Exchange:
    """One body's way to a worker and back, from the thread that waits for it."""

    def __init__(self, worker: WorkerProcess, errand: Errand) -> None:
        self.sent = self.begun = False
        self._worker = worker
        self._errand = errand
        self._outbox: list[memoryview] = []
        self._decoders = {fd: codecs.getincrementaldecoder("utf-8")("backslashreplace") for fd in worker.pipes}
        self._poll = select.poll()
        for descriptor in (worker.line.fileno(), worker.sentinel, *worker.pipes):
            if descriptor >= 0:
                self._poll.register(descriptor, select.POLLIN)

    def over(self, frame: Frame) -> Frame | None:
        """Send a body and attend to it until its end; None if its process ended first."""
        self.sent = True
        self._post(frame)
        return self.wait(None)

    def wait(self, deadline: float | None) -> Frame | None:
        """Attend to the body until its end or the deadline."""
        worker = self._worker
        while deadline is None or time.monotonic() < deadline:
            ready = {fd for fd, _ in self._poll.poll(_LOOK_MS)}
            gone = worker.sentinel in ready if worker.sentinel >= 0 else worker.ended()
            try:
                self._send()
                while (found := worker.inbox.read()) is not None:
                    if found.kind in (VALUE, ERROR, STOPPED):
                        self._drain()
                        return found
                    self._attend(found)
            except (EOFError, OSError):
                gone = True
            self._drain()
            if gone:
                break
        return None

    def _drain(self) -> None:
        """Pass on what C code and child processes of the body wrote."""
        for descriptor, decoder in list(self._decoders.items()):
            with contextlib.suppress(BlockingIOError):
                while data := os.read(descriptor, 1 << 16):
                    _show(self._worker.pipes[descriptor], decoder.decode(data))
                self._poll.unregister(descriptor)  # closed at the other end
                del self._decoders[descriptor]

    def _attend(self, frame: Frame) -> None:
        match frame.kind:
            case _ if frame.kind == BEGUN:
                self.begun = True
                self._errand.begun()
            case _ if frame.kind in (STDOUT, STDERR):
                _show("stdout" if frame.kind == STDOUT else "stderr", bytes(frame.parts[0]).decode())
            case _ if frame.kind == TELL:
                self._errand.heard(bytes(frame.parts[0]))
            case _ if frame.kind == ASK:
                self._post(Frame(ANSWER, [self._errand.asked(bytes(frame.parts[0]))]))

    def _post(self, frame: Frame) -> None:
        self._outbox += frame.buffers()
        self._send()

    def _send(self) -> None:
        """Send what the line takes; the rest once it is free."""
        line = self._worker.line
        while self._outbox:
            try:
                sent = line.send(self._outbox[0])
            except BlockingIOError:
                break
            except ConnectionError:
                self._outbox.clear()  # its process is gone, which is heard of elsewhere
                break
            rest = self._outbox[0][sent:]
            self._outbox[:1] = [rest] if rest else []
        self._poll.modify(line.fileno(), select.POLLIN | (select.POLLOUT if self._outbox else 0))


def _show(name: str, text: str) -> None:
    """Write as the body would here: it shows, and is recorded, where that of a thread is."""
    stream = sys.stdout if name == "stdout" else sys.stderr
    if stream is not None and text:
        stream.write(text)


def _told(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"its process ended by itself with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = "; the system may have run out of memory" if -code == signal.SIGKILL else ""
    return f"its process was ended by signal {-code} ({name}){hint}"
