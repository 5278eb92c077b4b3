"""What a store forgets: ended runs, reusable results that nobody used for long, results that nothing refers to.

Knows the tables of `schema.sql`; must not know files, clocks of others or how a caller proves that a worker is dead.
What is in use is found by marking, inside the transaction that drops the rest, and not by counts kept beside the rows:
a row of a visit is replaced at each of its moves, so that counts would cost every append, and one that was lost would
lose data or leak it for ever. Only who prunes pays for a mark. Standard library only.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from typing import Any

__all__ = ["collect", "compact", "evict", "open_workers", "prune_run"]

_FEW_PAGES = 256
_FINAL = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
_OF_A_RUN = ("event", "log", "visit", "success", "signal", "run")
_ADDRESS = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_USED = "EXISTS (SELECT 1 FROM visit v WHERE v.result = {0} AND v.result <> '')"

_Drop = tuple[str, int, bool]  # address, size, whether a file holds it


def open_workers(c: sqlite3.Connection) -> list[str]:
    """Workers that did not end in good order, as far as is recorded."""
    return [row[0] for row in c.execute("SELECT worker_id FROM worker WHERE closed = 0")]


def prune_run(c: sqlite3.Connection, run: str, worker: str) -> bool:
    """Forget an ended run with all its rows, if it is still ended and still belongs to that worker."""
    row = c.execute("SELECT type, ended_at, worker FROM run WHERE run_id = ?", (run,)).fetchone()
    if row is None or row[0] not in _FINAL or row[1] is None or row[2] != worker:
        return False
    for table in _OF_A_RUN:
        c.execute(f"DELETE FROM {table} WHERE run_id = ?", (run,))
    return True


def collect(
    c: sqlite3.Connection, session: str, at: float, grace_s: float, quota: int, *asked: Any
) -> tuple[list[_Drop], list[_Drop], list[int], int, bool]:
    """Drop what nothing refers to, then what does not fit.

    Parameters
    ----------
    session : str
        Who asks; its own workers do not count as others at work.
    at, grace_s : float
        The time, and how long something must have been without reference while others are at work.
    quota : int
        The bound of all results in bytes.
    asked
        The time since when a reusable result must have been used (or None); workers proven dead; runs to be forgotten
        first as (run, worker); whether this is only a rehearsal, which is undone.

    Returns
    -------
    tuple
        What was dropped, what was evicted, the sizes of what still has to wait, the number of reusable results that
        went, and whether nobody else was at work.
    """
    before, dead, runs, rehearsal = asked
    c.execute("SAVEPOINT collecting")
    for run, worker in runs:
        prune_run(c, run, worker)
    gone = set(dead)
    others = c.execute("SELECT worker_id FROM worker WHERE closed = 0 AND session <> ?", (session,))
    alone = all(row[0] in gone for row in others)
    entries = _drop_entries(c, before)
    dropped, waiting = _drop_unused(c, at, at if alone else at - grace_s)
    kept = int(c.execute("SELECT count(*) FROM entry").fetchone()[0])
    evicted = _make_room(c, 0, quota)
    entries += kept - int(c.execute("SELECT count(*) FROM entry").fetchone()[0])
    _forget_workers(c, gone)
    if rehearsal:
        c.execute("ROLLBACK TO collecting")
    c.execute("RELEASE collecting")
    return dropped, evicted, waiting, entries, alone


def compact(c: sqlite3.Connection) -> bool:
    """Rewrite the file without its free pages when they are a quarter of it; outside any transaction."""
    free, pages = (int(c.execute(f"PRAGMA {what}").fetchone()[0]) for what in ("freelist_count", "page_count"))
    if free < _FEW_PAGES or free * 4 < pages:
        return False
    c.execute("VACUUM")
    c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return True


def _drop_entries(c: sqlite3.Connection, before: float | None) -> int:
    """Entries without a result, of forgotten runs that no other run used, and such as were not used for long."""
    count = c.execute("DELETE FROM entry WHERE result NOT IN (SELECT digest FROM result)").rowcount
    used = _USED.format("entry.result")
    count += c.execute(f"DELETE FROM entry WHERE run NOT IN (SELECT run_id FROM run) AND NOT {used}").rowcount
    if before is not None:
        text = (
            "DELETE FROM entry WHERE created_at < ?1 AND (invalid = 1 OR "
            "(SELECT used_at FROM result WHERE digest = entry.result) < ?1)"
        )
        count += c.execute(text, (before,)).rowcount
    return count


def _drop_unused(c: sqlite3.Connection, at: float, until: float) -> tuple[list[_Drop], list[int]]:
    """Drop what has been without reference since `until`, and note since when the rest has been.

    A kernel at work may be about to refer to what it found a moment ago, in an entry that is gone now.
    """
    unused = _unused(c)
    c.executemany(
        "UPDATE result SET gone_at = NULL WHERE digest = ?",
        [row for row in c.execute("SELECT digest FROM result WHERE gone_at NOT NULL") if row[0] not in unused],
    )
    c.executemany("UPDATE result SET gone_at = ? WHERE digest = ? AND gone_at IS NULL", [(at, d) for d in unused])
    rows = c.execute("SELECT digest, size, inline IS NULL, gone_at FROM result WHERE gone_at NOT NULL").fetchall()
    dropped = [(digest, size, bool(file)) for digest, size, file, since in rows if since <= until]
    c.executemany("DELETE FROM result WHERE digest = ?", [(digest,) for digest, _, _ in dropped])
    return dropped, [size for _, size, _, since in rows if since > until]


def _unused(c: sqlite3.Connection) -> set[str]:
    """Results that no visit, entry, used result, run, event or artifact names."""
    text = (
        f"SELECT digest FROM result WHERE NOT {_USED.format('digest')} "
        "AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.result = digest)"
    )
    unused = {row[0] for row in c.execute(text)}
    if not unused:
        return unused
    artifacts = "log WHERE stream GLOB 'artifact:*'"
    for table, column in (("run", "graph"), ("run", "parameters"), ("event", "body"), (artifacts, "text")):
        for (said,) in c.execute(f"SELECT {column} FROM {table}"):
            unused.difference_update(_ADDRESS.findall(said))
    pairs = c.execute("SELECT digest, uses FROM result WHERE uses <> ''").fetchall()
    while kept := {uses for digest, uses in pairs if uses in unused and digest not in unused}:
        unused -= kept
    return unused


def _forget_workers(c: sqlite3.Connection, dead: Iterable[str]) -> None:
    c.executemany("UPDATE worker SET closed = 1 WHERE worker_id = ?", [(worker,) for worker in dead])
    c.execute("DELETE FROM worker WHERE closed = 1 AND worker_id NOT IN (SELECT worker FROM run)")


def evict(c: sqlite3.Connection, need: int, quota: int) -> list[str]:
    """Drop results, cheapest to recompute per byte first, those of unfinished runs last, until `need` bytes fit."""
    return [digest for digest, _, _ in _make_room(c, need, quota)]


def _make_room(c: sqlite3.Connection, need: int, quota: int) -> list[_Drop]:
    used = int(c.execute("SELECT coalesce(sum(size), 0) FROM result").fetchone()[0])
    if used + need <= quota:
        return []
    text = (
        "SELECT v.result, coalesce(r.uses, '') FROM visit v JOIN run ON run.run_id = v.run_id "
        "LEFT JOIN result r ON r.digest = v.result WHERE v.result <> '' AND run.ended_at IS NULL"
    )
    busy = {digest for row in c.execute(text) for digest in row}
    fields = "digest, size, inline IS NULL, uses, cost_s / max(size, 1), used_at"
    rows = {row[0]: row for row in c.execute(f"SELECT {fields} FROM result")}
    users: dict[str, list[str]] = {}
    for row in rows.values():
        if row[3]:
            users.setdefault(row[3], []).append(row[0])
    dropped: dict[str, _Drop] = {}
    for digest in sorted(rows, key=lambda d: (d in busy, *rows[d][4:])):
        if used + need <= quota:
            break
        # What describes a value is worth nothing without it, and a value is never found without what describes it.
        for each in _with_users(digest, users):
            if each not in dropped and each in rows:
                dropped[each] = (each, rows[each][1], bool(rows[each][2]))
                used -= rows[each][1]
    c.executemany("DELETE FROM result WHERE digest = ?", [(d,) for d in dropped])
    c.executemany("DELETE FROM entry WHERE result = ?", [(d,) for d in dropped])
    return list(dropped.values())


def _with_users(digest: str, users: dict[str, list[str]]) -> list[str]:
    found, work = [digest], [digest]
    while work:
        for user in users.get(work.pop(), ()):
            if user not in found:
                found.append(user)
                work.append(user)
    return found
