"""What the stores with rows share: questions and answers as dataclasses, proof of a worker's death.

Knows the operations by name and the codec; must not know whether they are answered in this process or another.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from prefect_nb.analysis.redaction import redacted
from prefect_nb.core.events import Event
from prefect_nb.core.retention import Sweep, Swept
from prefect_nb.errors import StoreError
from prefect_nb.protocols import Entry, LogChunk, Recalled, ResultRow, RunRow, Signal, Usage, VisitRow
from prefect_nb.stores import codec
from prefect_nb.stores.limitrows import LimitRows
from prefect_nb.stores.place import identity, process_runs

__all__ = ["DEFAULT_QUOTA", "LEASE_S", "Liveness", "RowStore", "heard_once", "network_notice", "worker_id"]

DEFAULT_QUOTA = 10 * 2**30
LEASE_S = 60.0


def network_notice(directory: str, kind: str) -> str:
    """What to tell people whose store lies on a network file system."""
    return (
        f"the store {directory} is on a network file system ({kind}): slower, and one kernel at a time; "
        "PREFECT_NB_STORE can name a local directory"
    )


def worker_id(name: str) -> str:
    """A new worker's id: unique, and telling for people."""
    plain = "".join(ch if ch.isalnum() and ch.isascii() else "-" for ch in name)[:32]
    return f"{plain or 'worker'}-{os.urandom(6).hex()}"


def heard_once(callback: Callable[[Signal], None]) -> Callable[[Signal], None]:
    """A callback for one watch, which hears each wish once however often it comes."""
    heard: set[int] = set()

    def hear(signal: Signal) -> None:
        if signal.id not in heard:
            heard.add(signal.id)
            callback(signal)

    return hear


class Liveness:
    """Decides whether a worker's process still lives, by proof and never by another host's clock.

    Parameters
    ----------
    directory : str
        The store's directory, where each worker holds a lock on a file of its own.
    clock : callable, optional
        Monotonic seconds.
    """

    def __init__(self, directory: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock
        self._me = identity()
        self._beats: dict[str, tuple[int, float]] = {}

    def decide(self, worker: str, row: tuple[str, str, str, int, str, int, int] | None) -> bool:
        """Whether the worker of that row lives; an unknown or closed worker does not."""
        if row is None or row[6]:
            return False
        host, boot, pid_ns, pid, start, beat, _ = row
        if boot == self._me.boot:
            if self._locked(worker):
                return True
            # Its lock-holder may just be restarting while the kernel itself lives on.
            return pid_ns == self._me.pid_ns and process_runs(pid, start)
        if host == self._me.host:
            return False
        seen, since = self._beats.get(worker, (beat - 1, 0.0))
        if seen != beat:
            self._beats[worker] = (beat, self._clock())
            return True
        return self._clock() - since < LEASE_S

    def _locked(self, worker: str) -> bool:
        try:
            fd = os.open(os.path.join(self._directory, "workers", worker + ".lock"), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # not ours to read: no proof of death
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False


class RowStore(LimitRows):
    """The reading half of a store, over :meth:`_ask`."""

    _directory: str
    _quota: int
    _live: Liveness

    def _ask(self, op: str, *args: Any) -> Any:
        """Do one operation and wait for its answer."""
        raise NotImplementedError

    @property
    def location(self) -> str:
        """Where the store is, for people."""
        return self._directory

    def alive(self, worker: str) -> bool:
        """Whether that worker's process still lives; False only when its death is proven or its lease is over."""
        return self._live.decide(worker, self._ask("worker", worker))

    def take_run(self, run: str, worker: str, previous: str) -> bool:
        """Make `worker` the owner of a run whose owner is `previous`; False if somebody else was faster."""
        return bool(self._ask("take_run", run, worker, previous))

    def runs(self, *, flow: str = "", limit: int = 50) -> list[RunRow]:
        """Newest runs first."""
        return [codec.run_from_wire(row) for row in self._ask("runs", flow, limit)]

    def run(self, run: str) -> RunRow | None:
        """One run's row; an unambiguous prefix of its id is enough.

        Raises
        ------
        StoreError
            If several runs begin with that prefix.
        """
        rows = self._ask("run", run)
        if len(rows) > 1:
            raise StoreError(
                f"several runs begin with {run!r}: {rows[0][0]}, {rows[1][0]}, …", hint="give more of the id", run=run
            )
        return codec.run_from_wire(rows[0]) if rows else None

    def visits(self, run: str) -> list[VisitRow]:
        """The visits of a run, in the order they were planned."""
        return [codec.visit_from_wire(row) for row in self._ask("visits", run)]

    def events(self, run: str, *, after: int = 0) -> list[tuple[int, Event]]:
        """The events of a run with their numbers, in order, from `after` (exclusive)."""
        return [codec.event_from_wire(row) for row in self._ask("events", run, after)]

    def keys(self, code_key: str) -> list[str]:
        """The keys of all reusable results of one code."""
        return list(self._ask("keys", code_key))

    def entries(
        self, *, key: str = "", code_key: str = "", task: str = "", flow: str = "", limit: int = 200
    ) -> list[Entry]:
        """Reusable results by key or code key, or by flow and task for explanations; newest first."""
        return [codec.entry_from_wire(row) for row in self._ask("entries", key, code_key, task, flow, limit)]

    def recall(self, code_key: str, *, limit: int) -> Recalled:
        """One code's newest entries with their small results, at most `limit` and some 16 MiB of them."""
        return codec.recalled_from_wire(self._ask("recall", code_key, limit))

    def invalidate(self, key: str) -> int:
        """Mark the entries of a key unfit; how many."""
        return int(self._ask("invalidate", key))

    def result(self, digest: str) -> ResultRow | None:
        """The row of a stored result, and note its use for eviction."""
        return codec.result_from_wire(self._ask("result", digest))

    def logs(self, run: str, task: str = "", *, artifacts: bool = False) -> list[LogChunk]:
        """What was printed, in order; or the artifacts: of chunks with such a stream only a visit's last is kept."""
        return [codec.log_from_wire(row) for row in self._ask("logs", run, task, artifacts)]

    def signal(self, signal: Signal) -> None:
        """Leave a wish for the owner of a run; durable on return."""
        self._ask(
            "signal",
            signal.run,
            signal.kind,
            signal.task,
            signal.actor,
            signal.at,
            codec.as_json(redacted(signal.detail)),
        )

    def usage(self) -> Usage:
        """Disk use and its bound."""
        database, (results, runs, entries) = self._ask("usage")
        return Usage(database=database, results=results, quota=self._quota, runs=runs, entries=entries)

    def evict(self, need: int = 0) -> Sequence[str]:
        """Drop results until `need` bytes fit under the quota, cheapest to recompute per byte first; their digests."""
        return list(self._ask("evict", need, self._quota))

    def prune_run(self, run: str, worker: str) -> bool:
        """Forget an ended run of that worker with all its rows, in one transaction; False if it moved or is held."""
        return not self.alive(worker) and bool(self._ask("prune_run", run, worker))

    def sweep(self, sweep: Sweep) -> Swept:
        """Forget what nothing refers to, in one transaction; the files that held it are the caller's to delete."""
        dead = [worker for worker in self._ask("open_workers") if not self.alive(worker)]
        runs = [(row.run, row.worker) for row in sweep.runs]
        answer = self._ask("collect", sweep.at, sweep.grace_s, self._quota, sweep.before, dead, runs, sweep.rehearsal)
        return codec.swept_from_wire(answer)

    def check(self) -> list[str]:
        """Problems found by a full check, in words; empty when all is well."""
        return list(self._ask("check"))
