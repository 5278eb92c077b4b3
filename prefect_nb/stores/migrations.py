"""How a store of an earlier schema becomes one of this one.

Knows the tables as they were; must not know transactions: its caller opens one around all steps. Standard library only.
"""

from __future__ import annotations

import re
import sqlite3

__all__ = ["SCHEMA_VERSION", "raise_schema"]

SCHEMA_VERSION = 5
_STEPS: dict[int, tuple[str, ...]] = {
    1: ("ALTER TABLE signal ADD COLUMN detail TEXT NOT NULL DEFAULT '{}'",),
    2: (
        "ALTER TABLE result ADD COLUMN uses TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE result ADD COLUMN gone_at REAL",
        "UPDATE result SET uses = used_result(inline) WHERE inline NOT NULL AND codec = 'plain'",
    ),
    3: ("CREATE UNIQUE INDEX artifact ON log (run_id, task, visit, idx, stream) WHERE stream GLOB 'artifact:*'",),
    4: (
        "CREATE TABLE tag_limit (tag TEXT PRIMARY KEY, slots INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE ticket (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, task TEXT NOT NULL, "
        "visit INTEGER NOT NULL, idx INTEGER NOT NULL, worker TEXT NOT NULL, tags TEXT NOT NULL, "
        "held INTEGER NOT NULL, UNIQUE (run_id, task, visit, idx))",
        "CREATE INDEX ticket_by_turn ON ticket (held, id)",
    ),
}
"""What makes a store of each earlier version one of the next."""

_VALUES = re.compile(rb'"values":"([0-9a-f]{64})"')


def raise_schema(c: sqlite3.Connection, version: int) -> None:
    """Take every step from `version` on."""
    c.create_function("used_result", 1, _used_result, deterministic=True)
    for step in range(version, SCHEMA_VERSION):
        for statement in _STEPS[step]:
            c.execute(statement)


def _used_result(record: bytes) -> str:
    """The result that a record names, as stores of schema 2 kept it: within, in plain sight."""
    found = _VALUES.search(record)
    return found.group(1).decode() if found else ""
