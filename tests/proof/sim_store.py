"""The store of the simulation: the real statements, transactions, sessions and codec over one SQLite in memory.

What is played here is what the real one leaves to processes and pipes: a client numbers its requests and sends what was
not answered to the next owner when one dies; an owner commits what has arrived in one group and then answers. Disks
fail where the judge of the world says so: at the n-th statement of a group, before or after it was carried out.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any

import prefect_nb.stores
from prefect_nb.errors import StoreError
from prefect_nb.protocols import Commit, Receipt, Signal
from prefect_nb.stores import codec
from prefect_nb.stores.database import Database
from prefect_nb.stores.rowstore import RowStore, heard_once
from prefect_nb.stores.session import Session as Writer
from prefect_nb.stores.statements import WRITES

__all__ = ["Client", "Disk", "Fault", "SimDatabase"]

SCHEMA = Path(prefect_nb.stores.__file__).with_name("schema.sql")
Fault = tuple[str, int]
"""What fails ("full", "write" or "answer") and at which statement of the group; "answer" fails after it was done."""


@cache
def _blank() -> bytes:
    c = sqlite3.connect(":memory:", isolation_level=None)
    for statement in SCHEMA.read_text(encoding="utf-8").split(";\n"):
        c.execute(statement)
    return c.serialize()


class Disk:
    """What all owners share: the database, and the fault that the next group meets."""

    def __init__(self) -> None:
        self.base = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.base.deserialize(_blank())
        self.base.execute("PRAGMA foreign_keys = ON")
        self.fault: Fault | None = None


class _Connection:
    """A connection whose statements may fail."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    @property
    def in_transaction(self) -> bool:
        return self._disk.base.in_transaction

    def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
        return self._carry_out(self._disk.base.execute, text, *values)

    def executemany(self, text: str, rows: Any) -> sqlite3.Cursor:
        return self._carry_out(self._disk.base.executemany, text, rows)

    def _carry_out(self, function: Any, text: str, *values: Any) -> sqlite3.Cursor:
        if self._disk.fault is None or text == "ROLLBACK" or text.startswith(("SELECT", "PRAGMA")):
            return function(text, *values)
        kind, left = self._disk.fault
        if text != "COMMIT" and (left or kind == "answer"):
            self._disk.fault = (kind, left - 1)
            return function(text, *values)
        self._disk.fault = None
        if kind == "answer":
            function(text, *values)
        error = sqlite3.OperationalError("database or disk is full" if kind == "full" else "disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL if kind == "full" else sqlite3.SQLITE_IOERR_FSYNC
        raise error

    def close(self) -> None:
        """The data is on the disk, not in the connection."""


class SimDatabase(Database):
    """The real database without its file: no paths, no locks between processes (one runs at a time)."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.directory = "sim"
        self.path = "sim/state.db"
        self.readonly = False
        self.network = ""
        self._wal_id = self._db_id = (0, 0)
        self._doubtful = False
        self._lock = contextlib.nullcontext()
        self._c = self._open()

    def _open(self) -> Any:
        return _Connection(self._disk)

    def changed(self) -> int:
        return self._disk.base.total_changes

    def close(self) -> None:
        """Nothing of it is left behind."""


class _Workers(Writer):
    """The real session, but the locks of its workers are the world's."""

    def hold(self, worker: str) -> None:
        self._locks[worker] = None

    def holds(self, worker: str) -> bool:
        return worker in self._locks

    def end(self) -> None:
        with contextlib.suppress(StoreError):
            self._do("close_session", self._name)


class Client(RowStore):
    """One process's store: its requests on their way, its owner, its answers on their way back.

    Parameters
    ----------
    disk : Disk
        The database.
    name : str
        The session's name, for the record of its answers.
    wait : callable
        Hands the turn back until something holds.
    lives : callable
        Whether a worker lives.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        disk: Disk,
        name: str,
        wait: Callable[[Callable[[], bool]], None],
        lives: Callable[[str], bool],
        clock: Callable[[], float],
    ) -> None:
        self._disk, self.name, self._wait, self._lives, self._clock = disk, name, wait, lives, clock
        self._quota = 1 << 40
        self._directory = "sim"
        self.workers: list[str] = []
        self._numbers = 0
        self._pending: dict[int, tuple[str, tuple[Any, ...], Future[Any]]] = {}
        self.pipe: deque[tuple[int, str, tuple[Any, ...]]] = deque()
        self.replies: deque[list[Any]] = deque()
        self._callbacks: dict[str, Callable[[Signal], None]] = {}
        self._owner: _Workers | None = None
        self.start_owner()

    # --- the kernel's side ---

    def _request(self, op: str, args: tuple[Any, ...]) -> Future[Any]:
        self._numbers += 1
        future: Future[Any] = Future()
        self._pending[self._numbers] = (op, args, future)
        self.pipe.append((self._numbers, op, args))
        return future

    def _ask(self, op: str, *args: Any) -> Any:
        future = self._request(op, args)
        self._wait(future.done)
        return future.result()

    def append(self, commit: Commit) -> Future[Receipt]:
        return self._request("append", codec.commit_to_wire(commit))

    def alive(self, worker: str) -> bool:
        self._wait(lambda: True)
        return self._lives(worker)

    def open_worker(self, kind: str, name: str) -> str:
        worker = f"{name}-{self.name}-{len(self.workers)}"
        self._ask("open_worker", worker, kind, name)
        self.workers.append(worker)
        return worker

    def watch(self, run: str, callback: Callable[[Signal], None]) -> None:
        self._callbacks[run] = heard_once(callback)
        self.pipe.append((0, "watch", (run, 0)))

    def deliver(self) -> None:
        """The oldest answers arrive."""
        for n, status, payload in self.replies.popleft():
            if status == "signal":
                wish = codec.signal_from_wire(payload)
                self._callbacks[wish.run](wish)
                continue
            found = self._pending.pop(n, None)
            if found is None:
                continue
            op, _, future = found
            try:
                value = codec.answer_from_wire(op, status, payload)
            except StoreError as error:
                future.set_exception(error)
            else:
                future.set_result(value)

    # --- the owner's side ---

    @property
    def owned(self) -> bool:
        """Whether there is an owner."""
        return self._owner is not None

    def start_owner(self) -> None:
        """A new owner: it is told what is watched, and sent what was not answered."""
        while self.replies:
            self.deliver()
        self._owner = _Workers(SimDatabase(self._disk), self.name, os.getpid(), clock=self._clock)
        for worker in self.workers:
            self._owner.hold(worker)
        self.pipe.clear()
        self.pipe.extend((0, "watch", (run, 0)) for run in self._callbacks)
        self.pipe.extend((n, op, args) for n, (op, args, _) in self._pending.items())

    def holds(self, worker: str) -> bool:
        """Whether the owner holds the lock of that worker."""
        return self._owner is not None and self._owner.holds(worker)

    def kill_owner(self) -> None:
        """The owner dies; what it had read and what lies in its pipe is gone, its answers on the way are not."""
        self._owner = None
        self.pipe.clear()

    def end(self) -> None:
        """The kernel is gone and everything it sent is recorded: the owner ends in good order."""
        assert self._owner is not None
        self._owner.end()
        self.kill_owner()

    def work(self, most: int, *, fault: Fault | None = None, answers: bool = True) -> None:
        """The owner serves what has arrived: a group of writes, or one question; `answers` False: it dies unheard."""
        owner = self._owner
        assert owner is not None
        group = []
        while self.pipe and len(group) < most and self.pipe[0][1] in WRITES:
            group.append(self.pipe.popleft())
        told: list[Any] = []
        self._disk.fault = fault
        if group:
            try:
                told = list(owner.write(group))
            except StoreError as error:
                told = [(n, "error", (type(error).__name__, error.message, error.hint, {})) for n, _, _ in group]
        elif self.pipe:
            n, op, args = self.pipe.popleft()
            if op == "watch":
                owner.watch(*args)
            else:
                told = [(n, "ok", owner.read(op, args))]
        if answers:
            with contextlib.suppress(StoreError):
                owner.tend()
                told += [(0, "signal", row) for row in owner.poll()]
        self._disk.fault = None
        if not answers:
            self.kill_owner()
        elif told:
            self.replies.append(told)

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way."""
        return not (self.pipe or self.replies or self._pending)
