"""One writer's session over a database: group writes, worker locks, heartbeats, wishes. What both hosts of it share.

Knows the database and the lock files; must not know dataclasses, threads or pipes: calls come one at a time.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from prefect_nb.errors import StoreError
from prefect_nb.stores.database import Answer, Database
from prefect_nb.stores.place import FileLock, identity, process_start

__all__ = ["BEAT_S", "Session"]

BEAT_S = 5.0


class Session:
    """A writer's session; its name is the key under which its answers are remembered.

    Parameters
    ----------
    database : Database
        Where it writes.
    name : str
        Unique; the same name again (after a crash of this process) goes on with the same session.
    pid : int
        The process whose life the worker rows stand for.
    results : str
        Directory of the result files, for checks.
    clock : callable, optional
        Monotonic seconds.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        pid: int,
        results: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._database = database
        self._name = name
        self._pid = pid
        self._results = results
        self._locks: dict[str, FileLock] = {}
        self._used: dict[str, float] = {}
        self._watched: dict[str, int] = {}
        self._version = -1
        self._seen = -1
        self._stirred = False
        self._next_beat = 0.0

    def write(self, batch: Sequence[tuple[int, str, tuple[Any, ...]]]) -> list[Answer]:
        """Apply numbered operations in one transaction; see :meth:`Database.write`."""
        answers = self._database.write(self._name, [(n, op, self._prepared(op, args)) for n, op, args in batch])
        for (_, op, args), (_, status, _) in zip(batch, answers, strict=True):
            if op in ("signal", "take_run"):
                self._version = -1
            elif op == "append" and status == "ok":
                self._note_reuse(args[5])
        return answers

    def _note_reuse(self, visits: Sequence[tuple[Any, ...]]) -> None:
        """A result that a visit reused was used, whether it was asked for here or known in the kernel."""
        for row in visits:
            if row[21] is not None and row[13]:
                self._used[row[13]] = time.time()

    def _prepared(self, op: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if op == "collect":
            return (self._name, *args)
        if op != "open_worker":
            return args
        worker, kind, name = args
        self.hold(worker)
        me = identity()
        return self._name, worker, kind, name, me.host, me.boot, me.pid_ns, self._pid, process_start(self._pid)

    def hold(self, worker: str) -> None:
        """Hold the lock that says that a worker lives."""
        if worker not in self._locks:
            lock = FileLock(os.path.join(self._database.directory, "workers", worker + ".lock"))
            lock.acquire()
            self._locks[worker] = lock
            self._next_beat = self._clock() + BEAT_S

    def read(self, op: str, args: tuple[Any, ...]) -> Any:
        """Answer a question."""
        if op == "check":
            return self._database.check(self._results)
        if op == "usage":
            return self._database.size(), self._database.read(op)
        if op == "result":
            self._used[args[0]] = time.time()
        return self._database.read(op, *args)

    def watch(self, run: str, after: int) -> None:
        """Deliver the wishes for a run with numbers above `after` from now on."""
        self._watched[run] = after
        self._version = -1

    @property
    def watching(self) -> bool:
        """Whether :meth:`poll` has anything to look for."""
        return bool(self._watched)

    def poll(self) -> list[tuple[Any, ...]]:
        """New wishes for the watched runs; cheap when nothing was committed elsewhere."""
        if not self._watched:
            return []
        version = self._database.changed()
        if version != self._seen:
            self._seen, self._stirred = version, True
        if version == self._version:
            return []
        found: list[tuple[Any, ...]] = []
        for run, after in self._watched.items():
            if not self._database.read("wishes", run, after):
                continue
            rows = self._do("take_signals", self._name, run, after)
            if rows:
                self._watched[run] = rows[-1][5]
                found.extend(rows)
        self._version = version
        return found

    def stirred(self) -> bool:
        """Whether another connection wrote since this was asked last, as far as :meth:`poll` saw."""
        stirred, self._stirred = self._stirred, False
        return stirred

    def due(self) -> float:
        """Seconds until :meth:`tend` has something to do."""
        return max(0.0, self._next_beat - self._clock()) if self._locks else BEAT_S

    def tend(self) -> None:
        """Renew the heartbeat when it is due, and note which results were used."""
        if self._locks and self._clock() >= self._next_beat:
            self._next_beat = self._clock() + BEAT_S
            self._do("beat", self._name)
            self._note_use()

    def _note_use(self) -> None:
        if self._used:
            used, self._used = self._used, {}
            self._do("note_use", list(used), max(used.values()))

    def _do(self, op: str, *args: Any) -> Any:
        # Without a session: these may be applied twice, and nobody sends them again.
        return self._database.write("", [(1, op, args)])[0][2]

    def close(self) -> None:
        """End in good order: last notes, checkpoint, release of the locks."""
        if not self._database.readonly:
            try:
                self._note_use()
                self._do("close_session", self._name)
            except StoreError as error:  # notes only: what was acknowledged is safe, and the locks tell the rest
                print(error, file=sys.stderr)
        self._database.close()
        for lock in self._locks.values():
            os.unlink(lock.path)
            lock.close()
        self._locks.clear()
