"""The process in which bodies run, one at a time: reads a body, runs it in its main thread, tells how it ended.

What a body prints is told at once. TERM raises :class:`~prefect_nb.executors.stopping.BodyStopped` in the body; whoever
sent it kills the whole process group a while later. Knows sockets, streams and signals; nothing of tasks. It imports
nothing that the body does not need.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from prefect_nb.executors.line import ANSWER, ASK, BEGUN, ERROR, RUN, STDERR, STDOUT, STOPPED, TELL, VALUE, Frame, Inbox
from prefect_nb.executors.raised import packed
from prefect_nb.executors.stopping import BodyStopped

__all__ = ["Worker", "ask", "main", "serving", "tell"]

_BUFFER = 4096


class Worker:
    """One worker's end of the line.

    Parameters
    ----------
    line : socket
        To the process that it works for.
    """

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._inbox = Inbox(line)
        self._sending = threading.Lock()
        self._asking = threading.Lock()
        self._pid = os.getpid()
        self._inside = False  # the body's own code runs, where a stop may be raised
        self._stopped = self._pending = False  # pending: it could not be raised where it arrived
        self._main = threading.get_ident()

    def serve(self) -> None:
        """Run bodies until the other end is gone."""
        signal.signal(signal.SIGTERM, self._told_to_stop)
        while True:
            try:
                frame = self._read()
            except EOFError:
                return
            assert frame.kind == RUN
            self._run(frame)

    def send(self, kind: bytes, *parts: bytes | bytearray | memoryview) -> None:
        """Tell; from any thread. A stop that arrives meanwhile waits until the frame is whole."""
        if os.getpid() != self._pid:  # a forked child of the body: it has no part in this conversation
            return
        main = threading.get_ident() == self._main
        before = self._inside
        if main:
            self._inside = False
        with self._sending:
            for buffer in Frame(kind, parts).buffers():
                self._line.sendall(buffer)
        if main:
            self._inside = before
            if before and self._pending:
                self._pending = False
                raise BodyStopped

    def ask(self, question: bytes) -> bytes:
        """Ask, and wait for the answer; from any thread."""
        with self._asking:
            self.send(ASK, question)
            frame = self._read()
            assert frame.kind == ANSWER
            return bytes(frame.parts[0])

    @property
    def stopped(self) -> bool:
        """Whether the body was asked to stop."""
        return self._stopped

    def _read(self) -> Frame:
        while (frame := self._inbox.read()) is None:
            pass
        return frame

    def _told_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._stopped = True
        if self._inside:
            raise BodyStopped
        self._pending = True

    def _run(self, frame: Frame) -> None:
        try:
            body: Callable[[], Any] = pickle.loads(frame.parts[0], buffers=frame.parts[1:])  # noqa: S301 - our own line
            del frame
            self.send(BEGUN)
            try:
                self._inside = True
                if self._stopped:
                    raise BodyStopped
                value = body()
            finally:
                self._inside = False
            end = VALUE, dumped(value)
        except BodyStopped:
            end = STOPPED, []
        except BaseException as error:  # whatever a body raises is data
            end = ERROR, [memoryview(packed(error))]
        if os.getpid() != self._pid:  # the body forked, and this is the child
            os._exit(0)
        for stream in (sys.__stdout__, sys.__stderr__):  # somebody may have kept the true ones
            if stream is not None:
                stream.flush()
        self.send(end[0], bytes([_left_behind()]), *end[1])


def dumped(value: object) -> list[memoryview]:
    """A value as a pickle and its large buffers, which stay where they are.

    Raises
    ------
    TypeError
        If part of it cannot be pickled; says so of the result.
    """
    import cloudpickle  # only where something has to travel

    beside: list[memoryview] = []

    def aside(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < _BUFFER:
            return True
        beside.append(view)
        return False

    try:
        data = cloudpickle.dumps(value, protocol=5, buffer_callback=aside)
    except Exception as error:  # a user's class may raise anything here
        told = f"a {type(value).__qualname__} cannot travel between processes: {type(error).__name__}: {error}"
        raise TypeError(told) from error
    return [memoryview(data), *beside]


def _left_behind() -> bool:
    """Whether the body left threads or child processes running."""
    if any(t is not threading.main_thread() and t.is_alive() for t in threading.enumerate()):
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    except AttributeError:  # no such call on this system
        return False
    return True


class _Stream(io.TextIOBase):
    """What a body sees as its output: each piece of text is told at once."""

    encoding, errors, newlines = "utf-8", "backslashreplace", None

    def __init__(self, worker: Worker, kind: bytes, name: str, descriptor: int) -> None:
        self._worker = worker
        self._kind = kind
        self.name = name
        self._descriptor = descriptor
        self.buffer = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115 - as long as the process

    def write(self, text: str) -> int:
        """Tell the text."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text:
            if os.getpid() != self._worker._pid:  # a forked child: its text goes through the pipe that it inherited
                self.buffer.write(text.encode("utf-8", "backslashreplace"))
            else:
                self._worker.send(self._kind, text.encode("utf-8", "backslashreplace"))
        return len(text)

    def writable(self) -> bool:
        """Always."""
        return True

    def fileno(self) -> int:
        """The descriptor behind it, for programs that the body starts."""
        return self._descriptor


_serving: list[Worker] = []


def serving() -> Worker | None:
    """The worker that this process is, if it is one."""
    return _serving[0] if _serving and _serving[0]._pid == os.getpid() else None


def tell(news: bytes) -> None:
    """In a worker: tell the other end something; it is for whoever sent the body to understand."""
    if (worker := serving()) is not None:
        worker.send(TELL, news)


def ask(question: bytes) -> bytes:
    """In a worker: ask the other end, and wait for the answer."""
    worker = serving()
    assert worker is not None
    return worker.ask(question)


def main(arguments: list[str]) -> None:
    """Work at the socket with this descriptor."""
    line = socket.socket(fileno=int(arguments[0]))
    line.set_inheritable(False)
    worker = Worker(line)
    _serving.append(worker)
    sys.stdout = _Stream(worker, STDOUT, "<stdout>", 1)
    sys.stderr = _Stream(worker, STDERR, "<stderr>", 2)
    worker.serve()
    os._exit(0)  # threads that a body left behind are not waited for


if __name__ == "__main__":
    main(sys.argv[1:])
