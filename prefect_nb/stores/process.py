"""The store as a kernel uses it: the same rows, owned by a small process outside.

Knows the client and the row codec; must not know SQLite. User code in the kernel can neither drop the file's locks nor
stall the heartbeat, and the end of the pipe tells the owner at once that the kernel died.
"""

from __future__ import annotations

import atexit
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from prefect_nb.core.retention import Sweep, Swept
from prefect_nb.errors import StoreError
from prefect_nb.protocols import Commit, Entry, Receipt, Signal
from prefect_nb.stores import codec
from prefect_nb.stores.client import OwnerClient
from prefect_nb.stores.rowstore import DEFAULT_QUOTA, Liveness, RowStore, heard_once, network_notice, worker_id

__all__ = ["ProcessStore"]


class ProcessStore(RowStore):
    """The embedded store, owned by a process that this one starts and that ends with it.

    Parameters
    ----------
    path : Path
        The store's directory.
    results : Path, optional
        Where the result files lie, for :meth:`check`.
    quota : int
        Bytes that stored results may take.
    """

    def __init__(self, path: Path, *, results: Path | None = None, quota: int = DEFAULT_QUOTA) -> None:
        self._directory = os.path.abspath(path)
        self._quota = quota
        self._live = Liveness(self._directory)
        self._workers: list[str] = []
        self._undone = 0
        self._callbacks: dict[str, Callable[[Signal], None]] = {}
        self._wishes: SimpleQueue[Signal | Callable[[], None] | None] = SimpleQueue()
        self._heeding: list[Callable[[], None]] = []
        self._dispatcher: threading.Thread | None = None
        self._client = OwnerClient(
            self._directory, os.path.abspath(results) if results else "", self._arrived, self._restarted, self._changed
        )
        atexit.register(self.close)
        if self._client.network:
            warnings.warn(network_notice(self._directory, self._client.network), RuntimeWarning, stacklevel=2)

    @property
    def owner_pid(self) -> int:
        """The process id of the owner, for the doctor."""
        return self._client.pid

    @property
    def changes(self) -> int:
        """Grows when another process wrote, and when something was declared unfit or dropped."""
        return self._client.changes + self._undone

    @property
    def commits(self) -> int:
        """How many transactions made appends durable so far: the fsyncs that tasks have cost."""
        return self._client.commits

    def invalidate(self, key: str) -> int:
        """Mark the entries of a key unfit; how many."""
        found = super().invalidate(key)
        self._undone += 1
        return found

    def evict(self, need: int = 0) -> Sequence[str]:
        """Drop results until `need` bytes fit under the quota, cheapest to recompute per byte first; their digests."""
        dropped = super().evict(need)
        self._undone += bool(dropped)
        return dropped

    def sweep(self, sweep: Sweep) -> Swept:
        """Forget what nothing refers to, in one transaction; the files that held it are the caller's to delete."""
        swept = super().sweep(sweep)
        self._undone += 1
        return swept

    def _ask(self, op: str, *args: Any) -> Any:
        return self._client.ask(op, args)

    def append(self, commit: Commit) -> Future[Receipt]:
        """Apply a commit atomically; the only write of states."""
        try:
            receipt = self._client.request("append", codec.commit_to_wire(commit))
        except StoreError as error:
            receipt = Future()
            receipt.set_exception(error)
        else:
            if commit.slots is not None and commit.slots.left:
                receipt.add_done_callback(lambda _: self._changed())
        return receipt

    def set_limit(self, tag: str, slots: int | None) -> None:
        """Let at most so many bodies of tasks with that tag run at a time; None: any number."""
        super().set_limit(tag, slots)
        self._changed()

    def heed(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back, from a thread of the store, whenever slots may have become free; what it returns ends that."""
        self._heeding.append(callback)
        self._listen()
        return lambda: self._heeding.remove(callback)

    def _changed(self) -> None:
        """Somebody else wrote, or slots were left here."""
        for callback in list(self._heeding):
            self._wishes.put(callback)

    def ask_keys(self, code_key: str) -> Callable[[], list[str]]:
        """The keys of all reusable results of one code, asked now and given by calling what this returns."""
        answer = self._client.request("keys", (code_key,))
        return lambda: list(answer.result())

    def ask_entries(
        self, *, key: str = "", code_key: str = "", task: str = "", flow: str = "", limit: int = 200
    ) -> Callable[[], list[Entry]]:
        """Reusable results, asked now and given by calling what this returns."""
        answer = self._client.request("entries", (key, code_key, task, flow, limit))
        return lambda: [codec.entry_from_wire(row) for row in answer.result()]

    def open_worker(self, kind: str, name: str) -> str:
        """Register this process as a worker with a liveness lock of its own; its id."""
        worker = worker_id(name)
        self._ask("open_worker", worker, kind, name)
        self._workers.append(worker)
        return worker

    def watch(self, run: str, callback: Callable[[Signal], None]) -> None:
        """Deliver each unanswered wish for a run once to its owner, from a thread of the store."""
        self._callbacks[run] = heard_once(callback)
        self._listen()
        self._client.tell("watch", run, 0)

    def _listen(self) -> None:
        if self._dispatcher is None:
            self._dispatcher = threading.Thread(target=self._dispatch, name="prefect_nb-store-wishes", daemon=True)
            self._dispatcher.start()

    def _arrived(self, row: tuple[Any, ...]) -> None:
        self._wishes.put(codec.signal_from_wire(row))

    def _restarted(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        for worker in list(self._workers):
            yield "hold", (worker,)
        for run in list(self._callbacks):
            yield "watch", (run, 0)

    def _dispatch(self) -> None:
        while (wish := self._wishes.get()) is not None:
            if isinstance(wish, Signal):
                self._callbacks[wish.run](wish)
            else:
                wish()

    def close(self) -> None:
        """Wait for open appends, release the worker's lock and stop."""
        self._client.close()
        atexit.unregister(self.close)
        self._wishes.put(None)
