"""One SQLite file, opened by one process: transactions, locks, durability, and what can go wrong with a file.

Knows SQLite and the operations by name; must not know dataclasses, threads or pipes: its caller serialises the calls.
Three guards beyond SQLite's own: one file lock around every write transaction, its checkpoint and the close (which
removes the overlap that the WAL-reset fault of SQLite before 3.51.3 needs); the identity of the `-wal` file is compared
before anything is acknowledged (a stray close elsewhere can delete it unnoticed); and each writer's newest answers are
stored with the group they belong to, so that a group sent twice is applied once.
"""

from __future__ import annotations

import marshal
import os
import sqlite3
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from prefect_nb.errors import StoreCorrupt, StoreError, StoreFull, StoreReadOnly, StoreTooNew
from prefect_nb.stores.migrations import SCHEMA_VERSION, raise_schema
from prefect_nb.stores.place import FileLock, explain_os_error, network_filesystem, prepare
from prefect_nb.stores.retention import compact
from prefect_nb.stores.statements import READS, WRITES, Refused, check

__all__ = ["Answer", "Database", "LostLog"]


Answer = tuple[int, str, Any]  # number of the request, "ok" | "refused" | "full" | "error", payload


class LostLog(StoreError):
    """Somebody deleted the open write-ahead log; only a new process can open the store soundly again."""


class Database:
    """A store's database file, opened for writing unless `readonly`.

    Parameters
    ----------
    directory : str
        The store's directory; made when missing, unless `readonly`.
    readonly : bool
        Never write, and open even what lies in a directory that cannot be written.
    """

    def __init__(self, directory: str, *, readonly: bool = False) -> None:
        self.directory = directory
        self.path = os.path.join(directory, "state.db")
        self.readonly = readonly
        self.network = network_filesystem(directory)
        self._wal_id = (0, 0)
        self._db_id = (0, 0)
        self._doubtful = False
        self._lock: FileLock | None = None
        if readonly:
            self._c = self._open_viewer()
            return
        prepare(directory)
        self._lock = FileLock(os.path.join(directory, "write.lock"))
        self._c = self._open()

    def read(self, op: str, *args: Any) -> Any:
        """Answer a question from what is committed."""
        return self._translated(READS[op], *args)

    def check(self, results: str) -> list[str]:
        """Problems found by a full check."""
        return list(self._translated(check, results))

    def _translated(self, function: Callable[..., Any], *args: Any) -> Any:
        if not self.readonly:
            self._renew()
        try:
            return function(self._c, *args)
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def write(self, session: str, batch: Sequence[tuple[int, str, tuple[Any, ...]]]) -> list[Answer]:
        """Apply numbered operations in one transaction; the answers are durable when this returns.

        The numbers of a session rise; what was applied before is answered from its record, not applied again. Without
        a session nothing is remembered. A refused or malformed operation leaves no trace and does not hurt
        its neighbours.

        Raises
        ------
        StoreError
            If nothing of the batch could be made durable.
        """
        if self._lock is None:
            raise StoreReadOnly(f"the store {self.directory} was opened for reading only", path=self.directory)
        self._renew()
        with self._lock:
            try:
                answers = self._attempt(session, batch)
            except sqlite3.Error as error:
                self._recover(error)
                raise self._explain(error) from error
            self._refuse_lost_log()
        return answers

    def _attempt(self, session: str, batch: Sequence[tuple[int, str, tuple[Any, ...]]]) -> list[Answer]:
        c = self._c
        c.execute("BEGIN IMMEDIATE")
        row = c.execute("SELECT n, answers FROM writer WHERE session = ?", (session,)).fetchone() or (0, b"")
        last = row[0]
        known: dict[int, Answer] = {}
        if last >= batch[0][0]:
            known = {answer[0]: answer for answer in marshal.loads(row[1])}
        answers: list[Answer] = []
        fresh: list[Answer] = []
        for n, op, args in batch:
            if n <= last:
                answers.append(known.get(n, (n, "error", ("StoreError", f"answer {n} is no longer known", "", {}))))
                continue
            fresh.append(self._apply(n, op, args))
            answers.append(fresh[-1])
        if fresh and session:
            text = "INSERT OR REPLACE INTO writer (session, n, answers, at) VALUES (?, ?, ?, ?)"
            c.execute(text, (session, fresh[-1][0], marshal.dumps(fresh), time.time()))
        c.execute("COMMIT")
        return answers

    def _apply(self, n: int, op: str, args: tuple[Any, ...]) -> Answer:
        c = self._c
        c.execute("SAVEPOINT one")
        try:
            answer: Answer = (n, "ok", WRITES[op](c, *args))
        except Refused as refused:
            answer = (n, refused.status, str(refused))
        except (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError) as error:
            message = f"the store {self.directory} cannot record this {op}: {error}"
            answer = (n, "error", ("StoreError", message, "this is a fault of ours; please report it", {}))
        else:
            c.execute("RELEASE one")
            return answer
        c.execute("ROLLBACK TO one")
        c.execute("RELEASE one")
        return answer

    def _recover(self, error: sqlite3.Error) -> None:
        """Leave the failed transaction; after a failed write or sync nothing of this connection is trusted."""
        try:
            if self._c.in_transaction:
                self._c.execute("ROLLBACK")
        except sqlite3.Error:
            self._doubtful = True  # the first error is the one to tell
        if _code(error) & 0xFF == sqlite3.SQLITE_IOERR:
            self._doubtful = True

    def _renew(self) -> None:
        self._refuse_lost_log()
        if self._doubtful:
            self._c.close()
            self._c = self._open()
            self._doubtful = False

    def changed(self) -> int:
        """A number that changes when another connection commits."""
        return int(self._c.execute("PRAGMA data_version").fetchone()[0])

    def size(self) -> int:
        """Bytes of the database and its log."""
        return sum(os.path.getsize(p) for p in (self.path, self.path + "-wal") if os.path.exists(p))

    def compact(self) -> None:
        """Give free pages back to the file system, where there are many; meant for a store that nobody else uses."""
        self._renew()
        with self._lock or nullcontext():
            self._translated(compact)

    def close(self) -> None:
        """Checkpoint and close."""
        if self._lock is None:
            self._c.close()
            return
        with self._lock:
            if _file_id(self.path) == self._db_id and _file_id(self.path + "-wal") == self._wal_id:
                self._c.close()
            else:
                _never_close(self._c)
        self._lock.close()

    # --- opening ---

    def _open(self) -> sqlite3.Connection:
        assert self._lock is not None
        with self._lock:
            try:
                # Only ever with O_EXCL: closing an existing database here would drop this process's locks on it.
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            except FileExistsError:
                pass
            except OSError as error:
                raise explain_os_error(error, self.path) from error
            try:
                c = self._connect()
            except sqlite3.Error as error:
                raise self._explain(error) from error
        return c

    def _connect(self) -> sqlite3.Connection:
        c = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False, cached_statements=256)
        try:
            c.execute(f"PRAGMA journal_mode = {'DELETE' if self.network else 'WAL'}").fetchone()
            for text in ("synchronous = FULL", "fullfsync = ON", "foreign_keys = ON", "journal_size_limit = 67108864"):
                c.execute("PRAGMA " + text)
            self._migrate(c)
            self._db_id = _file_id(self.path)
            self._wal_id = (0, 0) if self.network else _file_id(self.path + "-wal")
        except BaseException:
            c.close()
            raise
        return c

    def _migrate(self, c: sqlite3.Connection) -> None:
        c.execute("BEGIN IMMEDIATE")
        if c.execute("SELECT count(*) FROM sqlite_master WHERE name = 'store_meta'").fetchone()[0]:
            self._refuse_newer(c)
            self._raise_older(c)
        else:
            with open(os.path.join(os.path.dirname(__file__), "schema.sql"), encoding="utf-8") as file:
                for statement in file.read().split(";\n"):
                    c.execute(statement)
            rows = [("schema_version", str(SCHEMA_VERSION)), ("min_reader", "1"), ("store_id", os.urandom(8).hex())]
            c.executemany("INSERT INTO store_meta VALUES (?, ?)", rows)
        # A write makes the -wal file exist, so that its identity can be watched from the first commit on.
        c.execute("INSERT OR REPLACE INTO store_meta VALUES ('opened', ?)", (str(time.time()),))
        c.execute("COMMIT")

    def _raise_older(self, c: sqlite3.Connection) -> None:
        row = c.execute("SELECT value FROM store_meta WHERE key = 'schema_version'").fetchone()
        raise_schema(c, int(row[0]))
        c.execute("UPDATE store_meta SET value = ? WHERE key = 'schema_version'", (str(SCHEMA_VERSION),))

    def _refuse_newer(self, c: sqlite3.Connection) -> None:
        meta = dict(c.execute("SELECT key, value FROM store_meta").fetchall())
        version = int(meta["min_reader" if self.readonly else "schema_version"])
        if version > SCHEMA_VERSION:
            raise StoreTooNew(
                f"the store {self.path} was written by a newer prefect_nb (schema {version}; this one knows "
                f"{SCHEMA_VERSION})",
                hint="upgrade: pip install -U prefect_nb; nothing in the store was changed",
                path=self.path,
                version=version,
            )

    def _open_viewer(self) -> sqlite3.Connection:
        if not os.path.exists(self.path):
            raise StoreError(
                f"there is no store at {self.directory}",
                hint="a store comes into being with the first task; check the directory",
                path=self.directory,
            )
        last: sqlite3.Error | None = None
        quoted = self.path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        for mode in ("mode=ro", "mode=ro&immutable=1"):
            try:
                c = sqlite3.connect(f"file:{quoted}?{mode}", uri=True, isolation_level=None, check_same_thread=False)
                self._refuse_newer(c)
            except sqlite3.Error as error:
                last = error
                continue
            log = self.path + "-wal"
            if "immutable" in mode and os.path.exists(log) and os.path.getsize(log):
                warnings.warn(
                    f"{log} cannot be read here: the newest changes are not shown", RuntimeWarning, stacklevel=4
                )
            return c
        assert last is not None
        raise self._explain(last) from last

    # --- trouble ---

    def _refuse_lost_log(self) -> None:
        now = _file_id(self.path)
        if now != self._db_id:
            raise StoreError(
                f"{self.path} was deleted or replaced while it was open (inode {self._db_id[1]}, now {now[1]})",
                hint="put the file back, or run the cell again to begin a new store there",
                path=self.path,
            )
        if _file_id(self.path + "-wal") != self._wal_id:
            raise LostLog(
                f"another program deleted the write-ahead log of {self.path} while it was open; this change was not "
                "recorded",
                hint="run the command again; if it returns, see that nothing else opens the files of this store",
                path=self.path,
            )

    def _corrupt(self, why: str) -> StoreCorrupt:
        return StoreCorrupt(
            f"the store {self.path} is damaged: {why}",
            hint=f"keep it for rescue and start afresh: mv {self.directory} {self.directory}.damaged",
            path=self.path,
        )

    def _explain(self, error: sqlite3.Error) -> StoreError:
        primary = _code(error) & 0xFF
        if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self._corrupt(str(error))
        if primary == sqlite3.SQLITE_FULL or (primary == sqlite3.SQLITE_IOERR and self._disk_is_full()):
            return StoreFull(
                f"the disk under {self.path} is full; nothing that was acknowledged is lost",
                hint="free some space there (prefect-nb paths shows what we use), then run again",
                path=self.path,
            )
        if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return StoreReadOnly(
                f"the store {self.path} cannot be opened for writing ({error})",
                hint=f"make it writable (chmod -R u+rwX {self.directory}) or name another place in PREFECT_NB_STORE",
                path=self.path,
            )
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreError(
                f"another program has kept {self.path} locked for 30 s",
                hint="close what holds it (fuser or lsof on that file names it), then run again",
                path=self.path,
            )
        return StoreError(f"the store {self.path} failed: {error}", hint="run prefect-nb doctor", path=self.path)

    def _disk_is_full(self) -> bool:
        try:
            free = os.statvfs(self.directory)
        except OSError:
            return False
        return free.f_bavail * free.f_frsize < 1 << 20


def _never_close(c: sqlite3.Connection) -> None:
    # Closing a connection whose log was replaced, even at the interpreter's end, would overwrite the other writer.
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(c))


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0) or 0)


def _file_id(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return status.st_dev, status.st_ino
