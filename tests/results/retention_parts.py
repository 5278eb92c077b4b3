"""A store with its files in which time can pass, and runs whose visits leave records and values."""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

from prefect_nb.core.retention import Sweep
from prefect_nb.core.spec import VisitId
from prefect_nb.protocols import Commit, ResultRow
from prefect_nb.results.storage import ORPHAN_S, FileResults
from prefect_nb.results.vault import Vault
from prefect_nb.stores.sqlite import SqliteStore
from prefect_nb.testing.stores import entry, opening, run_row, visit_row

__all__ = ["KEY", "LARGE", "Ground", "Worker", "age"]

KEY = b"k" * 32
LARGE = 40_000


def age(folder: Path, seconds: float) -> None:
    """Let all that is recorded, and all files, have happened so many seconds earlier."""
    with sqlite3.connect(folder / "state.db") as c:
        for table, column in (("run", "ended_at"), ("run", "created_at"), ("entry", "created_at")):
            c.execute(f"UPDATE {table} SET {column} = {column} - ?", (seconds,))
        c.execute("UPDATE result SET used_at = used_at - ?1, gone_at = gone_at - ?1", (seconds,))
    c.close()
    for path in (folder / "results").rglob("*"):
        if path.is_file():
            was = path.stat().st_mtime - seconds
            os.utime(path, (was, was))


class Ground:
    """Where a store and its files lie, and one who prunes."""

    def __init__(self, folder: Path, *, quota: int = 10 * 2**30) -> None:
        self.folder = folder
        self.store = SqliteStore(folder, results=folder / "results", quota=quota)
        self.files = FileResults(folder / "results")
        self.vault = Vault(self.store, self.files, KEY)

    def prune(self, **more):
        """Collect now."""
        return self.vault.collect(Sweep(time.time(), **more))

    def forget(self) -> list[str]:
        """Prune every run that may be pruned."""
        rows = self.store.runs(limit=1000)
        return [row.run for row in rows if self.store.prune_run(row.run, row.worker)]

    def problems(self) -> list[str]:
        """What a surviving row names and cannot be read, and files that should be gone."""
        with sqlite3.connect(self.folder / "state.db") as c:
            named = {
                r[0] for r in c.execute("SELECT result FROM visit WHERE result <> '' UNION SELECT result FROM entry")
            }
        c.close()
        fresh = Vault(self.store, self.files, KEY)
        found = []
        for digest in sorted(named):
            record = fresh.load(digest, namespace={})
            value = fresh.load(record["values"], namespace={}) if record["values"] else None
            if value is not None and len(value) != record["size"]:
                found.append(f"{digest[:8]} holds another value")
        old = time.time() - ORPHAN_S
        known = {p.name for p in self.files.orphans(lambda d: self.store.result(d) is not None, old)}
        return found + [f"{name} is left over" for name in known]


class Worker:
    """A process at work, with a store of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.store = SqliteStore(folder, results=folder / "results")
        self.vault = Vault(self.store, FileResults(folder / "results"), KEY)
        self.id = self.store.open_worker("kernel", name)
        self.runs: list[str] = []
        self.saved: tuple[str, tuple[ResultRow, ...]] = ("", ())

    def open(self, run: str, flow: str = "flow") -> None:
        """Begin a run."""
        assert self.store.append(opening(run, self.id, created_at=time.time(), flow=flow)).result().accepted
        self.runs.append(run)

    def save(self, text: bytes) -> str:
        """Write a value and its record down, and commit neither."""
        address, value = self.vault.save(text, namespace={}, cost_s=1.0)
        record = {"names": {}, "values": address, "size": len(text)}
        name, row = self.vault.save(record, namespace={}, cost_s=1.0, uses=address)
        self.saved = name, (value, row)
        return name

    def commit(self, run: str, task: str, *, key: str = "") -> None:
        """Let a visit succeed with what was saved, under a key if it is to be found again."""
        name, rows = self.saved
        at = time.time()
        visit = replace(visit_row(VisitId(task), run=run, type="COMPLETED"), result=name)
        entries = (replace(entry(key, result=name, created_at=at), run=run),) if key else ()
        done = self.store.append(Commit(run, visit_rows=(visit,), results=rows, entries=entries)).result()
        assert done.accepted, done

    def reuse(self, run: str, task: str, key: str) -> bool:
        """Let a visit reuse what is found under a key."""
        found = self.store.entries(key=key)
        if found:
            visit = replace(
                visit_row(VisitId(task), run=run, type="COMPLETED"), result=found[0].result, cached_from=found[0].run
            )
            assert self.store.append(Commit(run, visit_rows=(visit,))).result().accepted
        return bool(found)

    def end(self, run: str, *, type: str = "COMPLETED") -> None:
        """End a run."""
        row = run_row(run, self.id, flow="flow")
        at = time.time()
        done = replace(row, type=type, state="Success", ended_at=None if type == "PAUSED" else at, created_at=at - 1)
        assert self.store.append(Commit(run, run_row=done)).result().accepted

    def stop(self) -> None:
        """The process ends."""
        self.store.close()
