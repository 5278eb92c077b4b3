"""What a store can be asked, as functions over one open connection and plain tuples.

Knows the tables of `schema.sql`; must not know dataclasses, events, threads or transactions: its caller opens the
transaction, gives every write a savepoint and turns :class:`Refused` into an answer. Standard library only.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from prefect_nb.stores.retention import collect, evict, open_workers, prune_run
from prefect_nb.stores.slots import (
    Refused,
    drop_tickets,
    limits,
    move_slots,
    set_limit,
    slots_used,
    ticket_workers,
    turns,
)

__all__ = ["ENTRY_COLUMNS", "READS", "RUN_COLUMNS", "VISIT_COLUMNS", "WRITES", "Refused"]

_ENTRIES_PER_KEY = 8
_RECALLED = 16 << 20

RUN_COLUMNS = (
    "run_id, flow, notebook, live, state, type, message, created_at, ended_at, worker, parameters, graph, version"
)
VISIT_COLUMNS = (
    "run_id, task, visit, idx, kind, state, type, message, version, token, attempt, attempts, key, result, parent, "
    "cell, planned_at, started_at, ended_at, duration_s, due_at, cached_from, cached_age_s, saved_s, reason, error"
)
ENTRY_COLUMNS = "key, code_key, task, flow, run, result, created_at, cost_s, manifest, parts, invalid"


def _insert(table: str, columns: str, keys: str = "") -> str:
    names = columns.split(", ")
    text = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})"
    if keys:
        sets = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys.split(", "))
        text += f" ON CONFLICT ({keys}) DO UPDATE SET {sets}"
    return text


_PUT_RUN = _insert("run", RUN_COLUMNS, "run_id")
_PUT_VISIT = _insert("visit", VISIT_COLUMNS, "run_id, task, visit, idx")
_PUT_ENTRY = _insert("entry", ENTRY_COLUMNS)
_PUT_RESULT = (
    "INSERT INTO result (digest, size, codec, inline, cost_s, uses, used_at) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (digest) DO UPDATE SET size = excluded.size, codec = excluded.codec, inline = excluded.inline, "
    "cost_s = max(cost_s, excluded.cost_s), uses = excluded.uses, used_at = excluded.used_at"
)
_PUT_LOG = (
    "INSERT OR REPLACE INTO log (run_id, task, visit, idx, attempt, stream, text, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_ARTIFACT = "stream GLOB 'artifact:*'"  # as the index has it, whose rows are unique
_VISIT_IS = "run_id = ? AND task = ? AND visit = ? AND idx = ?"


def append(c: sqlite3.Connection, *commit: Any) -> int:
    """Apply one commit; the run's newest event number."""
    run, expects, owner, events, run_row, visits, results, entries, logs, after, wishes, slots = commit
    found = c.execute("SELECT seq, worker FROM run WHERE run_id = ?", (run,)).fetchone()
    if found is None and run_row is None:
        raise Refused(f"there is no run {run}")
    if found is not None and owner and found[1] != owner:
        raise Refused(f"run {run} belongs to worker {found[1]} now, not to {owner}")
    seq: int = found[0] if found else 0
    if after not in (seq, -1):
        raise Refused(f"run {run} has {seq} events; this was based on {after}")
    for task, visit, index, version, token in expects:
        row = c.execute(
            f"SELECT version, token FROM visit WHERE {_VISIT_IS}",
            (run, task, visit, index),
        ).fetchone() or (0, 0)
        if row != (version, token):
            raise Refused(
                f"{task}#{visit} is at version {row[0]}, token {row[1]}; this was based on {version} and {token}"
            )
    if run_row is not None:
        c.execute(_PUT_RUN, run_row)
    if events:
        c.executemany(
            "INSERT INTO event (run_id, seq, body) VALUES (?, ?, ?)",
            [(run, seq + i, body) for i, body in enumerate(events, 1)],
        )
        seq += len(events)
        c.execute("UPDATE run SET seq = ? WHERE run_id = ?", (seq, run))
    for row in visits:
        c.execute(_PUT_VISIT, row)
        if row[6] == "COMPLETED":
            _succeed(c, row)
    if results:
        now = time.time()
        c.executemany(_PUT_RESULT, [(*row, now) for row in results])
    for row in entries:
        _enter(c, row)
    if logs:
        c.executemany(_PUT_LOG, logs)
    if wishes:
        c.executemany("UPDATE signal SET taken_by = 'answered' WHERE id = ?", [(n,) for n in wishes])
    if slots is not None:
        move_slots(c, run, slots)
    return seq


def _succeed(c: sqlite3.Connection, visit: tuple[Any, ...]) -> None:
    key, token, result = visit[:4], visit[9], visit[13]
    done = c.execute("INSERT OR IGNORE INTO success VALUES (?, ?, ?, ?, ?, ?)", (*key, token, result)).rowcount
    if not done:
        row = c.execute(f"SELECT token, result FROM success WHERE {_VISIT_IS}", key).fetchone()
        if row != (token, result):
            raise Refused(f"{key[1]}#{key[2]} has a recorded success already, by token {row[0]}; this is token {token}")


def _enter(c: sqlite3.Connection, entry: tuple[Any, ...]) -> None:
    c.execute("DELETE FROM entry WHERE key = ? AND manifest = ?", (entry[0], entry[8]))
    c.execute(_PUT_ENTRY, entry)
    c.execute(
        "DELETE FROM entry WHERE key = ?1 AND id <= "
        f"(SELECT id FROM entry WHERE key = ?1 ORDER BY id DESC LIMIT 1 OFFSET {_ENTRIES_PER_KEY})",
        (entry[0],),
    )


def open_worker(c: sqlite3.Connection, session: str, *row: Any) -> None:
    """Record a worker: id, kind, name, host, boot, pid_ns, pid, pid_start."""
    now = time.time()
    c.execute(
        "INSERT OR IGNORE INTO worker "
        "(session, worker_id, kind, name, host, boot, pid_ns, pid, pid_start, started, seen)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (session, *row, now, now),
    )


def beat(c: sqlite3.Connection, session: str) -> None:
    """Say that this session's workers live."""
    c.execute("UPDATE worker SET beat = beat + 1, seen = ? WHERE session = ?", (time.time(), session))


def close_session(c: sqlite3.Connection, session: str) -> None:
    """Record that this session ended in good order, and forget old writers."""
    c.execute("UPDATE worker SET closed = 1 WHERE session = ?", (session,))
    c.execute("DELETE FROM writer WHERE session = ? OR at < ?", (session, time.time() - 7 * 86400))


def take_run(c: sqlite3.Connection, run: str, worker: str, previous: str) -> bool:
    """Change a run's owner if it is still `previous`; that one's tickets end."""
    if not c.execute("UPDATE run SET worker = ? WHERE run_id = ? AND worker = ?", (worker, run, previous)).rowcount:
        return False
    c.execute("DELETE FROM ticket WHERE run_id = ? AND worker <> ?", (run, worker))
    return True


def invalidate(c: sqlite3.Connection, key: str) -> int:
    """Mark a key's entries unfit; how many were fit."""
    return c.execute("UPDATE entry SET invalid = 1 WHERE key = ? AND invalid = 0", (key,)).rowcount


def signal(
    c: sqlite3.Connection, run: str, kind: str, task: str, actor: str, at: float, detail: str = "{}"
) -> int | None:
    """Leave a wish, with what else was said as JSON; its number."""
    text = "INSERT INTO signal (run_id, kind, task, actor, at, detail) VALUES (?, ?, ?, ?, ?, ?)"
    return c.execute(text, (run, kind, task, actor, at, detail)).lastrowid


def take_signals(c: sqlite3.Connection, session: str, run: str, after: int) -> list[Any]:
    """The unanswered wishes for a run, now this session's, unless the run belongs to a worker of another session."""
    row = c.execute(
        "SELECT w.session FROM run r JOIN worker w ON w.worker_id = r.worker WHERE r.run_id = ?", (run,)
    ).fetchone()
    if row is None or row[0] == session:
        c.execute("UPDATE signal SET taken_by = ? WHERE run_id = ? AND taken_by <> 'answered'", (session, run))
    fields = "run_id, kind, task, actor, at, id, detail"
    text = f"SELECT {fields} FROM signal WHERE run_id = ? AND taken_by = ? AND id > ? ORDER BY id"
    return c.execute(text, (run, session, after)).fetchall()


def wishes(c: sqlite3.Connection, run: str, after: int) -> bool:
    """Whether there are wishes for a run that nobody has answered."""
    text = "SELECT 1 FROM signal WHERE run_id = ? AND taken_by <> 'answered' AND id > ? LIMIT 1"
    return c.execute(text, (run, after)).fetchone() is not None


def note_use(c: sqlite3.Connection, digests: list[str], at: float) -> None:
    """Note that results were used."""
    c.executemany("UPDATE result SET used_at = ? WHERE digest = ?", [(at, digest) for digest in digests])


def runs(c: sqlite3.Connection, flow: str, limit: int) -> list[Any]:
    """Run rows, newest first."""
    where, values = ("WHERE flow = ?", (flow, limit)) if flow else ("", (limit,))
    text = f"SELECT {RUN_COLUMNS} FROM run {where} ORDER BY created_at DESC, rowid DESC LIMIT ?"
    return c.execute(text, values).fetchall()


def run(c: sqlite3.Connection, name: str) -> list[Any]:
    """The run of that id, or up to two runs whose ids begin so."""
    text = f"SELECT {RUN_COLUMNS} FROM run WHERE run_id = ?"
    exact = c.execute(text, (name,)).fetchall()
    if exact or not name:
        return exact
    text = f"SELECT {RUN_COLUMNS} FROM run WHERE substr(run_id, 1, ?) = ? LIMIT 2"
    return c.execute(text, (len(name), name)).fetchall()


def visits(c: sqlite3.Connection, run: str) -> list[Any]:
    """Visit rows in the order of their planning."""
    text = f"SELECT {VISIT_COLUMNS} FROM visit WHERE run_id = ? ORDER BY rowid"
    return c.execute(text, (run,)).fetchall()


def events(c: sqlite3.Connection, run: str, after: int) -> list[Any]:
    """Event numbers and bodies in order."""
    return c.execute("SELECT seq, body FROM event WHERE run_id = ? AND seq > ? ORDER BY seq", (run, after)).fetchall()


def keys(c: sqlite3.Connection, code_key: str) -> list[str]:
    """The keys of all reusable results of one code."""
    return [row[0] for row in c.execute("SELECT DISTINCT key FROM entry WHERE code_key = ?", (code_key,))]


def entries(c: sqlite3.Connection, key: str, code_key: str, task: str, flow: str, limit: int) -> list[Any]:
    """Entries that match what is given, newest first."""
    given = (("key", key), ("code_key", code_key), ("flow", flow), ("task", task))
    wanted = [(name, value) for name, value in given if value]
    where = "WHERE " + " AND ".join(f"{name} = ?" for name, _ in wanted) if wanted else ""
    text = f"SELECT {ENTRY_COLUMNS} FROM entry {where} ORDER BY id DESC LIMIT ?"
    return c.execute(text, (*(value for _, value in wanted), limit)).fetchall()


def recall(c: sqlite3.Connection, code_key: str, limit: int) -> tuple[list[Any], bool]:
    """One code's entries without their parts, newest first, each with its small result; whether these are all."""
    text = (
        "SELECT e.key, e.code_key, e.task, e.flow, e.run, e.result, e.created_at, e.cost_s, e.manifest, '[]', "
        "e.invalid, r.size, r.codec, r.inline, r.cost_s FROM entry e LEFT JOIN result r ON r.digest = e.result "
        "AND r.inline NOT NULL WHERE e.code_key = ? ORDER BY e.id DESC LIMIT ?"
    )
    found: list[Any] = []
    size = 0
    for row in c.execute(text, (code_key, limit + 1)):
        size += len(row[13] or b"") + len(row[8])
        if len(found) == limit or size > _RECALLED:
            return found, False
        found.append(row)
    return found, True


def result(c: sqlite3.Connection, digest: str) -> Any:
    """A result's row."""
    return c.execute("SELECT digest, size, codec, inline, cost_s FROM result WHERE digest = ?", (digest,)).fetchone()


def logs(c: sqlite3.Connection, run: str, task: str, artifacts: bool) -> list[Any]:
    """Log chunks in order, or the artifacts."""
    also, values = ("AND task = ?", (run, task)) if task else ("", (run,))
    which = f"{_ARTIFACT} ORDER BY task, visit, idx, stream" if artifacts else f"NOT {_ARTIFACT} ORDER BY id"
    text = f"SELECT task, visit, idx, attempt, stream, text, at FROM log WHERE run_id = ? {also} AND {which}"
    return c.execute(text, values).fetchall()


def worker(c: sqlite3.Connection, worker: str) -> Any:
    """What proves a worker's life: host, boot, pid_ns, pid, pid_start, beat, closed."""
    text = "SELECT host, boot, pid_ns, pid, pid_start, beat, closed FROM worker WHERE worker_id = ?"
    return c.execute(text, (worker,)).fetchone()


def usage(c: sqlite3.Connection) -> tuple[int, int, int]:
    """Bytes of result files, number of runs and of entries."""
    size = c.execute("SELECT coalesce(sum(size), 0) FROM result WHERE inline IS NULL").fetchone()[0]
    counts = [c.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("run", "entry")]
    return int(size), int(counts[0]), int(counts[1])


def check(c: sqlite3.Connection, results: str) -> list[str]:
    """Problems in words: SQLite's own check, gaps in event numbers, successes without rows, missing files."""
    found = [f"database: {row[0]}" for row in c.execute("PRAGMA integrity_check") if row[0] != "ok"]
    found += [f"database: row of {row[0]} points to a missing row" for row in c.execute("PRAGMA foreign_key_check")]
    text = (
        "SELECT r.run_id, r.seq, count(e.seq), coalesce(max(e.seq), 0) FROM run r LEFT JOIN event e "
        "ON e.run_id = r.run_id GROUP BY r.run_id HAVING count(e.seq) <> r.seq OR coalesce(max(e.seq), 0) <> r.seq"
    )
    found += [f"run {r}: {seq} events recorded, {n} found, the last is {last}" for r, seq, n, last in c.execute(text)]
    text = (
        "SELECT v.run_id, v.task, v.visit FROM visit v LEFT JOIN success s ON (s.run_id, s.task, s.visit, s.idx) = "
        "(v.run_id, v.task, v.visit, v.idx) WHERE v.type = 'COMPLETED' AND (s.token IS NULL OR s.token <> v.token)"
    )
    found += [f"run {r}: {task}#{visit} is complete without its recorded success" for r, task, visit in c.execute(text)]
    if results:
        text = "SELECT digest FROM result WHERE inline IS NULL"
        digests = [row[0] for row in c.execute(text)]
        missing = [d for d in digests if not os.path.exists(os.path.join(results, d[:2], d))]
        found += [f"result {digest[:12]}: its file is missing" for digest in missing]
    return found


WRITES: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        *(append, open_worker, beat, close_session, take_run, invalidate, signal, take_signals, note_use),
        *(evict, prune_run, collect, set_limit, drop_tickets),
    )
}
READS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        *(runs, run, visits, events, keys, entries, recall, result, logs, worker, usage, wishes, open_workers),
        *(limits, slots_used, turns, ticket_workers),
    )
}
