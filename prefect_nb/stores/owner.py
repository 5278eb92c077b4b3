"""The process that owns a store's file for one kernel: group commit, heartbeat, wishes, and an end of its own.

Reads numbered operations from standard input and answers on standard output, see :mod:`prefect_nb.stores.frames`.
Everything that has arrived is committed in one transaction, then answered. The end of its input, or of the process it
serves, is its own end. It starts in a session of its own and ignores the interrupts meant for the kernel. It must
import nothing heavy: a kernel waits for its first word.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections import deque
from typing import Any

from prefect_nb.errors import StoreError
from prefect_nb.stores.database import Database, LostLog
from prefect_nb.stores.frames import Unpacker, pack
from prefect_nb.stores.session import Session
from prefect_nb.stores.statements import WRITES

__all__ = ["Owner", "main"]

_GROUP = 256
_GROUP_S = 0.004
_POLL_S = 0.05
_ALIVE_S = 1.0
_LOST_LOG = 75

_Request = tuple[int, str, tuple[Any, ...]]


def _wire(error: StoreError) -> tuple[str, str, str, dict[str, Any]]:
    plain = {k: v for k, v in error.fields.items() if isinstance(v, str | int | float | bool)}
    return type(error).__name__, error.message, error.hint, plain


class Owner:
    """The loop between two pipes and a session.

    Parameters
    ----------
    session : Session
        Where operations go.
    source, sink : int
        File descriptors of the pipes.
    parent : int
        The process whose end is ours too.
    """

    def __init__(self, session: Session, source: int, sink: int, parent: int) -> None:
        self._session = session
        self._source = source
        self._sink = sink
        self._parent = parent
        self._inbox: deque[_Request] = deque()
        self._unpacker = Unpacker()
        self._ended = False
        self._told = ""
        self._poll = select.poll()
        self._poll.register(source, select.POLLIN)
        # A child that user code forked keeps the pipe open after the kernel's death: watch the process itself too.
        try:
            self._poll.register(os.pidfd_open(parent), select.POLLIN)
        except (AttributeError, OSError):
            self._ended = os.getppid() != parent

    def run(self) -> None:
        """Serve until the input or the parent ends, then close the session."""
        while True:
            if not self._inbox:
                if self._ended:
                    break
                self._fill(min(self._session.due(), _POLL_S if self._session.watching else _ALIVE_S))
            self._work()
            self._attend()
        self._session.close()

    def _fill(self, timeout: float) -> bool:
        ready = self._poll.poll(timeout * 1000)
        if any(fd == self._source for fd, _ in ready):
            data = os.read(self._source, 1 << 20)
            self._inbox.extend(self._unpacker.feed(data))
            self._ended = self._ended or not data
            return bool(data)
        self._ended = self._ended or bool(ready) or os.getppid() != self._parent
        return False

    def _work(self) -> None:
        group: list[_Request] = []
        limit = time.monotonic() + _GROUP_S
        while len(group) < _GROUP and time.monotonic() < limit:
            if not self._inbox and (self._ended or not self._fill(0)):
                break
            if not self._inbox:
                continue
            if self._inbox[0][1] not in WRITES:
                break
            group.append(self._inbox.popleft())
        if group:
            self._send(self._commit(group))
        elif self._inbox:
            self._answer(*self._inbox.popleft())

    def _commit(self, group: list[_Request]) -> list[Any]:
        try:
            return list(self._session.write(group))
        except LostLog:
            raise
        except StoreError as error:
            return [(n, "error", _wire(error)) for n, _, _ in group]

    def _answer(self, n: int, op: str, args: tuple[Any, ...]) -> None:
        if op == "watch":
            self._session.watch(*args)
        elif op == "hold":
            self._session.hold(*args)
        else:
            try:
                self._send([(n, "ok", self._session.read(op, args))])
            except LostLog:
                raise
            except StoreError as error:
                self._send([(n, "error", _wire(error))])

    def _attend(self) -> None:
        try:
            self._session.tend()
            wishes = self._session.poll()
        except LostLog:
            raise
        except StoreError as error:
            if str(error) != self._told:
                self._told = str(error)
                print(error, file=sys.stderr, flush=True)
            return
        news: list[Any] = [(0, "signal", row) for row in wishes]
        if self._session.stirred():
            news.append((0, "changed", None))
        if news:
            self._send(news)

    def _send(self, answers: list[Any]) -> None:
        rest = memoryview(pack(answers))
        try:
            while rest:
                rest = rest[os.write(self._sink, rest) :]
        except BrokenPipeError:
            self._ended = True


def main(arguments: list[str]) -> None:
    """Run an owner: directory, session name, process to serve, directory of the result files."""
    directory, name, parent, results = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o077)
    sink = os.dup(1)
    os.dup2(2, 1)
    try:
        database = Database(directory)
    except StoreError as error:
        os.write(sink, pack([(0, "failed", _wire(error))]))
        return
    os.write(sink, pack([(0, "hello", database.network)]))
    try:
        Owner(Session(database, name, int(parent), results), 0, sink, int(parent)).run()
    except LostLog as error:
        # Without closing anything: the client starts another process, which opens the files soundly.
        print(error, file=sys.stderr, flush=True)
        os._exit(_LOST_LOG)


if __name__ == "__main__":
    main(sys.argv[1:])
