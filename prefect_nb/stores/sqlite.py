"""A store in one SQLite file, opened by this very process: for command lines, tools and tests.

Knows the session and the row codec; must not be used in a kernel, whose user code could drop SQLite's locks and whose
stalls would stop the heartbeat: there :class:`~prefect_nb.stores.process.ProcessStore` does the same from outside.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from prefect_nb.errors import StoreError
from prefect_nb.protocols import Commit, Receipt, Signal
from prefect_nb.stores import codec
from prefect_nb.stores.database import Database
from prefect_nb.stores.rowstore import DEFAULT_QUOTA, Liveness, RowStore, heard_once, network_notice, worker_id
from prefect_nb.stores.session import Session
from prefect_nb.stores.statements import WRITES

__all__ = ["SqliteStore"]

_POLL_S = 0.05


class SqliteStore(RowStore):
    """The embedded store, in this process. ``append`` is durable when it returns.

    Parameters
    ----------
    path : Path
        The store's directory.
    results : Path, optional
        Where the result files lie, for :meth:`check`.
    quota : int
        Bytes that stored results may take.
    readonly : bool
        Look only; works where nothing can be written.
    """

    def __init__(
        self, path: Path, *, results: Path | None = None, quota: int = DEFAULT_QUOTA, readonly: bool = False
    ) -> None:
        self._directory = os.path.abspath(path)
        self._quota = quota
        self._live = Liveness(self._directory)
        self._guard = threading.RLock()
        self._database = Database(self._directory, readonly=readonly)
        self._session = Session(self._database, os.urandom(8).hex(), os.getpid(), str(results or ""))
        self._numbers = 0
        self._closed = False
        self._callbacks: dict[str, Callable[[Signal], None]] = {}
        self._heeding: list[Callable[[], None]] = []
        self._stop = threading.Event()
        self._attendant: threading.Thread | None = None
        if self._database.network and not readonly:
            warnings.warn(network_notice(self._directory, self._database.network), RuntimeWarning, stacklevel=2)

    def _ask(self, op: str, *args: Any) -> Any:
        with self._guard:
            if self._closed:
                raise StoreError(f"the store {self._directory} is closed", hint="open it again", path=self._directory)
            if op not in WRITES:
                return self._session.read(op, args)
            self._numbers += 1
            _, status, payload = self._session.write([(self._numbers, op, args)])[0]
        return codec.answer_from_wire(op, status, payload)

    def append(self, commit: Commit) -> Future[Receipt]:
        """Apply a commit atomically; the only write of states."""
        future: Future[Receipt] = Future()
        try:
            future.set_result(self._ask("append", *codec.commit_to_wire(commit)))
        except StoreError as error:
            future.set_exception(error)
        else:
            if commit.slots is not None and commit.slots.left:
                self._stir()
        return future

    def set_limit(self, tag: str, slots: int | None) -> None:
        """Let at most so many bodies of tasks with that tag run at a time; None: any number."""
        super().set_limit(tag, slots)
        self._stir()

    def heed(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever slots may have become free; what it returns ends that."""
        self._heeding.append(callback)
        self._attend()
        return lambda: self._heeding.remove(callback)

    def _stir(self) -> None:
        for callback in list(self._heeding):
            callback()

    def open_worker(self, kind: str, name: str) -> str:
        """Register this process as a worker with a liveness lock of its own; its id."""
        worker = worker_id(name)
        self._ask("open_worker", worker, kind, name)
        self._attend()
        return worker

    def watch(self, run: str, callback: Callable[[Signal], None]) -> None:
        """Deliver each unanswered wish for a run once to its owner, from a thread of the store."""
        with self._guard:
            self._callbacks[run] = heard_once(callback)
            self._session.watch(run, 0)
        self._attend()

    def _attend(self) -> None:
        with self._guard:
            if self._attendant is None:
                self._attendant = threading.Thread(target=self._serve, name="prefect_nb-store", daemon=True)
                self._attendant.start()

    def _serve(self) -> None:
        while not self._stop.wait(_POLL_S if self._callbacks or self._heeding else min(self._session.due(), 0.5)):
            with self._guard:
                if self._closed:
                    return
                try:
                    self._session.tend()
                    rows = self._session.poll()
                    stirred = self._session.stirred()
                except StoreError:
                    continue  # whoever asks next is told; the wish stays where it is
            for row in rows:
                self._callbacks[row[0]](codec.signal_from_wire(row))
            if stirred:
                self._stir()

    def compact(self) -> None:
        """Give the database's free pages back to the file system, where there are many."""
        with self._guard:
            self._database.compact()

    def close(self) -> None:
        """Release the workers' locks and the file."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            self._stop.set()
            self._session.close()
        if self._attendant is not None and self._attendant is not threading.current_thread():
            self._attendant.join()
