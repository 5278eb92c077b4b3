"""Limits and the tickets of visits that wait for slots or hold them, over one open connection.

Knows the tables of `schema.sql`; must not know how a caller proves that a worker is dead. Whether it is a ticket's turn
is found in the transaction that lets it in, from the tickets themselves and not from counts kept beside them. SQLite
has one writer at a time; elsewhere the rows of the limits in question have to be locked first. Standard library only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from prefect_nb.core.turns import serve

__all__ = [
    "Full",
    "Refused",
    "drop_tickets",
    "limits",
    "move_slots",
    "set_limit",
    "slots_used",
    "ticket_workers",
    "turns",
]

_IS = "run_id = ? AND task = ? AND visit = ? AND idx = ?"
_UNIT = "\x1f"  # between tags; the owner of a store starts faster without a parser of JSON
_Visit = tuple[str, int, int]


class Refused(Exception):
    """An append that does not fit what is recorded; its text says why."""

    status = "refused"


class Full(Refused):
    """It is not the turn of a ticket."""

    status = "full"


def limits(c: sqlite3.Connection) -> dict[str, int]:
    """The number of slots by tag."""
    return dict(c.execute("SELECT tag, slots FROM tag_limit ORDER BY tag").fetchall())


def set_limit(c: sqlite3.Connection, tag: str, slots: int | None) -> None:
    """Set a limit, or take it away."""
    if slots is None:
        c.execute("DELETE FROM tag_limit WHERE tag = ?", (tag,))
    else:
        c.execute("INSERT OR REPLACE INTO tag_limit (tag, slots) VALUES (?, ?)", (tag, slots))


def _tags(c: sqlite3.Connection) -> list[list[str]]:
    """The tags of each ticket that holds its slots."""
    return [row[0].split(_UNIT) for row in c.execute("SELECT tags FROM ticket WHERE held = 1")]


def _waiting(c: sqlite3.Connection) -> Iterator[tuple[tuple[str, str, int, int], list[str]]]:
    """Who waits, in order, with the tags of each; as far as it is asked."""
    for row in c.execute("SELECT run_id, task, visit, idx, tags FROM ticket WHERE held = 0 ORDER BY id"):
        yield row[:4], row[4].split(_UNIT)


def slots_used(c: sqlite3.Connection) -> dict[str, int]:
    """The slots that are held now, by tag."""
    return serve(limits(c), _tags(c), ())[1]


def turns(c: sqlite3.Connection, run: str) -> tuple[list[_Visit], dict[str, int], dict[str, int], int]:
    """The visits of a run whose turn it is; limits, and slots used once all whose turn it is are in; how many wait."""
    known = limits(c)
    found, used = serve(known, _tags(c), _waiting(c))
    count = c.execute("SELECT count(*) FROM ticket WHERE run_id = ? AND held = 0", (run,)).fetchone()[0]
    return [who[1:] for who in found if who[0] == run], known, used, count


def ticket_workers(c: sqlite3.Connection) -> list[str]:
    """The workers that have tickets."""
    return [row[0] for row in c.execute("SELECT DISTINCT worker FROM ticket")]


def drop_tickets(c: sqlite3.Connection, workers: Iterable[str]) -> None:
    """Forget the tickets of dead workers: who waits, and who holds."""
    c.executemany("DELETE FROM ticket WHERE worker = ?", [(worker,) for worker in workers])


def move_slots(c: sqlite3.Connection, run: str, moves: tuple[Any, ...]) -> None:
    """What a commit does to the tickets of its run.

    Raises
    ------
    Full
        If it is not the turn of all that it takes slots for.
    """
    left, drawn, taken, worker = moves
    c.executemany(f"DELETE FROM ticket WHERE {_IS}", [(run, *visit) for visit in left])
    for *visit, tags in drawn:
        c.execute(f"DELETE FROM ticket WHERE {_IS}", (run, *visit))
        text = "INSERT INTO ticket (run_id, task, visit, idx, worker, tags, held) VALUES (?, ?, ?, ?, ?, ?, 0)"
        c.execute(text, (run, *visit, worker, _UNIT.join(tags)))
    if not taken:
        return
    found = set(turns(c, run)[0])
    for visit in taken:
        if tuple(visit) not in found:
            raise Full(f"it is not the turn of {visit[0]}")
        c.execute(f"UPDATE ticket SET held = 1 WHERE {_IS}", (run, *visit))
