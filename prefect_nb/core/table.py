"""An immutable mapping whose update costs little, whatever its size.

The machine returns new states instead of changing old ones; with thousands of visits a plain copied dict would make
every event cost a copy of all of them. Here an update copies one row of each level: two rows of 32 and one small dict,
a microsecond or two up to 100,000 entries (rejected: one level of dicts, whose longer rows cost three times that).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

__all__ = ["Table"]

K = TypeVar("K")
V = TypeVar("V")
_BITS = 5
_WIDTH = 1 << _BITS
_MASK = _WIDTH - 1


class Table(Mapping[K, V]):
    """A persistent mapping: :meth:`put` returns a new table and leaves this one as it was.

    Iteration yields keys in the order in which they were first put, which is why every value carries its number.
    """

    __slots__ = ("_next", "_rows")

    def __init__(self) -> None:
        self._rows: list[list[dict[K, tuple[int, V]]]] = [[{}] * _WIDTH] * _WIDTH  # lists only to be copied fast
        self._next = 0

    def put(self, key: K, value: V) -> Table[K, V]:
        """Return this table with `key` bound to `value`."""
        where = hash(key)
        rows = self._rows.copy()
        row = rows[where & _MASK] = rows[where & _MASK].copy()
        place = (where >> _BITS) & _MASK
        bucket = row[place] = row[place].copy()
        old = bucket.get(key)
        new: Table[K, V] = Table.__new__(Table)
        new._rows = rows
        if old is None:
            bucket[key] = (self._next, value)
            new._next = self._next + 1
        else:
            bucket[key] = (old[0], value)
            new._next = self._next
        return new

    def _bucket(self, key: object) -> dict[K, tuple[int, V]]:
        where = hash(key)
        return self._rows[where & _MASK][(where >> _BITS) & _MASK]

    def __getitem__(self, key: K) -> V:
        where = hash(key)
        return self._rows[where & _MASK][(where >> _BITS) & _MASK][key][1]

    def get(self, key: K, default: V | None = None) -> V | None:  # type: ignore[override]  # no exception inside
        """The value of `key`, or `default`."""
        found = self._bucket(key).get(key)
        return default if found is None else found[1]

    def __contains__(self, key: object) -> bool:
        return key in self._bucket(key)

    def __iter__(self) -> Iterator[K]:
        found = [(number, key) for row in self._rows for bucket in row if bucket for key, (number, _) in bucket.items()]
        found.sort(key=lambda pair: pair[0])
        return (key for _, key in found)

    def __len__(self) -> int:
        return self._next  # nothing is ever removed, so the next number is the size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]  # compared by content, so not hashable

    def __repr__(self) -> str:
        return f"Table({dict(self)!r})"
