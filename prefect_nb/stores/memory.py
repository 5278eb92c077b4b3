"""A store in dictionaries: for tests, and for a look at the promises without the machinery.

Knows the protocol; must not know files or other stores. Everything dies with the object.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from queue import SimpleQueue

from prefect_nb.core.artifacts import STREAM
from prefect_nb.core.events import Event
from prefect_nb.core.spec import VisitId
from prefect_nb.errors import StoreError
from prefect_nb.protocols import Commit, Entry, LogChunk, Receipt, ResultRow, RunRow, Signal, Usage, VisitRow
from prefect_nb.stores.memorylimits import MemoryLimits, Refused
from prefect_nb.stores.rowstore import heard_once

__all__ = ["MemoryStore"]

_ENTRIES_PER_KEY = 8


class MemoryStore(MemoryLimits):
    """A store that keeps its promises as long as its process lives.

    Parameters
    ----------
    quota : int
        Bytes that stored results may take.
    """

    def __init__(self, *, quota: int = 10 * 2**30) -> None:
        super().__init__()
        self._quota = quota
        self._runs: dict[str, RunRow] = {}
        self._visits: dict[tuple[str, VisitId], VisitRow] = {}
        self._events: dict[str, list[Event]] = {}
        self._successes: dict[tuple[str, VisitId], tuple[int, str]] = {}
        self._results: dict[str, ResultRow] = {}
        self._entries: list[Entry] = []
        self._logs: dict[str, list[LogChunk]] = {}
        self._workers: set[str] = set()
        self._open_wishes: list[Signal] = []
        self._wishes = 0
        self._callbacks: dict[str, Callable[[Signal], None]] = {}
        self._queue: SimpleQueue[tuple[Callable[[Signal], None], Signal] | None] = SimpleQueue()
        self._dispatcher: threading.Thread | None = None
        self._closed = False

    @property
    def location(self) -> str:
        """Where the store is, for people."""
        return "memory"

    def append(self, commit: Commit) -> Future[Receipt]:
        """Apply a commit atomically; the only write of states."""
        future: Future[Receipt] = Future()
        with self._guard:
            try:
                self._refuse_closed()
                future.set_result(self._apply(commit))
            except Refused as refused:
                future.set_result(Receipt(False, refusal=str(refused), full=refused.full))
            except StoreError as error:
                future.set_exception(error)
        return future

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError("the store in memory is closed", hint="open another one")

    def _apply(self, commit: Commit) -> Receipt:
        self._check(commit)
        run = commit.run
        if commit.slots is not None:
            self._move_slots(commit)
        if commit.run_row is not None:
            self._runs[run] = commit.run_row
        events = self._events.setdefault(run, [])
        events.extend(commit.events)
        for row in commit.visit_rows:
            self._visits[run, row.visit] = row
            if row.type == "COMPLETED":
                self._successes.setdefault((run, row.visit), (row.token, row.result))
        for result in commit.results:
            self._results[result.digest] = result
        for entry in commit.entries:
            self._enter(entry)
        self._keep(run, commit.logs)
        self._open_wishes = [wish for wish in self._open_wishes if wish.id not in commit.wishes]
        return Receipt(True, len(events))

    def _keep(self, run: str, logs: Iterable[LogChunk]) -> None:
        rows = self._logs.setdefault(run, [])
        for chunk in logs:
            if chunk.stream.startswith(STREAM):
                rows[:] = [row for row in rows if (row.visit, row.stream) != (chunk.visit, chunk.stream)]
            rows.append(chunk)

    def _check(self, commit: Commit) -> None:
        run = self._runs.get(commit.run)
        if run is None and commit.run_row is None:
            raise Refused(f"there is no run {commit.run}")
        if run is not None and commit.run_owner and run.worker != commit.run_owner:
            raise Refused(f"run {commit.run} belongs to worker {run.worker} now, not to {commit.run_owner}")
        count = len(self._events.get(commit.run, ()))
        if commit.after not in (count, -1):
            raise Refused(f"run {commit.run} has {count} events; this was based on {commit.after}")
        for expect in commit.expect:
            row = self._visits.get((commit.run, expect.visit))
            if ((row.version, row.token) if row else (0, 0)) != (expect.version, expect.token):
                raise Refused(f"{expect.visit} is not at version {expect.version}, token {expect.token}")
        done = dict(self._successes)
        for row in commit.visit_rows:
            mine = (row.token, row.result)
            if row.type == "COMPLETED" and done.setdefault((commit.run, row.visit), mine) != mine:
                raise Refused(f"{row.visit} has a recorded success already")

    def _enter(self, entry: Entry) -> None:
        kept = [e for e in self._entries if (e.key, e.manifest) != (entry.key, entry.manifest)]
        same = [e for e in kept if e.key == entry.key]
        crowded = same[: max(0, len(same) + 1 - _ENTRIES_PER_KEY)]
        self._entries = [e for e in kept if not any(e is old for old in crowded)] + [entry]

    def open_worker(self, kind: str, name: str) -> str:
        """Register this process as a worker with a liveness lock of its own; its id."""
        with self._guard:
            worker = f"{name}-{os.urandom(6).hex()}"
            self._workers.add(worker)
            return worker

    def alive(self, worker: str) -> bool:
        """Whether that worker was opened here; the store does not outlive it."""
        return worker in self._workers

    def take_run(self, run: str, worker: str, previous: str) -> bool:
        """Make `worker` the owner of a run whose owner is `previous`; False if somebody else was faster."""
        with self._guard:
            row = self._runs.get(run)
            if row is None or row.worker != previous:
                return False
            self._runs[run] = replace(row, worker=worker)
            self._end_tickets(run, worker)
            return True

    def runs(self, *, flow: str = "", limit: int = 50) -> list[RunRow]:
        """Newest runs first."""
        with self._guard:
            rows = [row for row in self._runs.values() if not flow or row.flow == flow]
            rows.reverse()  # of equal age, the later one first
            return sorted(rows, key=lambda row: -row.created_at)[:limit]

    def run(self, run: str) -> RunRow | None:
        """One run's row; an unambiguous prefix of its id is enough."""
        with self._guard:
            if run in self._runs or not run:
                return self._runs.get(run)
            rows = [row for name, row in self._runs.items() if name.startswith(run)]
        if len(rows) > 1:
            raise StoreError(f"several runs begin with {run!r}", hint="give more of the id", run=run)
        return rows[0] if rows else None

    def visits(self, run: str) -> list[VisitRow]:
        """The visits of a run, in the order they were planned."""
        with self._guard:
            return [row for (name, _), row in self._visits.items() if name == run]

    def events(self, run: str, *, after: int = 0) -> list[tuple[int, Event]]:
        """The events of a run with their numbers, in order, from `after` (exclusive)."""
        with self._guard:
            return list(enumerate(self._events.get(run, ()), 1))[after:]

    def keys(self, code_key: str) -> list[str]:
        """The keys of all reusable results of one code."""
        with self._guard:
            return list(dict.fromkeys(e.key for e in self._entries if e.code_key == code_key))

    def entries(
        self, *, key: str = "", code_key: str = "", task: str = "", flow: str = "", limit: int = 200
    ) -> list[Entry]:
        """Reusable results by key or code key, or by flow and task for explanations; newest first."""
        with self._guard:
            given = (("key", key), ("code_key", code_key), ("task", task), ("flow", flow))
            wanted = [(name, v) for name, v in given if v]
            found = [e for e in reversed(self._entries) if all(getattr(e, name) == v for name, v in wanted)]
            return found[:limit]

    def invalidate(self, key: str) -> int:
        """Mark the entries of a key unfit; how many."""
        with self._guard:
            marked = [replace(e, invalid=True) if e.key == key else e for e in self._entries]
            count = sum(new.invalid and not old.invalid for new, old in zip(marked, self._entries, strict=True))
            self._entries = marked
            return count

    def result(self, digest: str) -> ResultRow | None:
        """The row of a stored result, and note its use for eviction."""
        with self._guard:
            row = self._results.pop(digest, None)
            if row is not None:
                self._results[digest] = row
            return row

    def logs(self, run: str, task: str = "", *, artifacts: bool = False) -> list[LogChunk]:
        """What was printed, in order; or the artifacts: of chunks with such a stream only a visit's last is kept."""
        with self._guard:
            found = [c for c in self._logs.get(run, ()) if c.stream.startswith(STREAM) == artifacts]
        if artifacts:
            found.sort(key=lambda c: (c.visit.task, c.visit.visit, c.visit.index, c.stream))
        return [chunk for chunk in found if not task or chunk.visit.task == task]

    def signal(self, signal: Signal) -> None:
        """Leave a wish for the owner of a run."""
        with self._guard:
            self._wishes += 1
            self._open_wishes.append(replace(signal, id=self._wishes))
            self._deliver()

    def watch(self, run: str, callback: Callable[[Signal], None]) -> None:
        """Deliver each unanswered wish for a run once to its owner, from a thread of the store."""
        with self._guard:
            self._callbacks[run] = heard_once(callback)
            if self._dispatcher is None:
                self._dispatcher = threading.Thread(target=self._dispatch, name="prefect_nb-memory", daemon=True)
                self._dispatcher.start()
            self._deliver()

    def _deliver(self) -> None:
        for wish in self._open_wishes:
            if wish.run in self._callbacks:
                self._queue.put((self._callbacks[wish.run], wish))

    def _dispatch(self) -> None:
        while (job := self._queue.get()) is not None:
            callback, wish = job
            callback(wish)

    def usage(self) -> Usage:
        """Use of memory by results, counts and the bound."""
        with self._guard:
            size = sum(row.size for row in self._results.values() if row.inline is None)
            return Usage(0, size, self._quota, len(self._runs), len(self._entries))

    def evict(self, need: int = 0) -> Sequence[str]:
        """Drop results until `need` bytes fit under the quota, cheapest to recompute per byte first; their digests."""
        with self._guard:
            used = sum(row.size for row in self._results.values())
            busy = {row.result for (run, _), row in self._visits.items() if self._runs[run].ended_at is None}
            order = sorted(self._results.values(), key=lambda r: (r.digest in busy, r.cost_s / max(r.size, 1)))
            dropped: list[str] = []
            for row in order:
                if used + need <= self._quota:
                    break
                used -= row.size
                dropped.append(row.digest)
                del self._results[row.digest]
            self._entries = [entry for entry in self._entries if entry.result not in dropped]
            return dropped

    def check(self) -> list[str]:
        """Problems found by a full check: there is nothing that could be damaged."""
        return []

    def close(self) -> None:
        """Forget the workers and stop."""
        with self._guard:
            self._closed = True
            self._workers.clear()
            self._queue.put(None)
