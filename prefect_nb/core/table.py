"""An immutable mapping whose update costs the square root of its size.

The machine returns new states instead of changing old ones; with thousands of visits a plain copied dict would make
every event cost a copy of all of them. Buckets of dicts keep an update at some microseconds for 100,000 entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

__all__ = ["Table"]

K = TypeVar("K")
V = TypeVar("V")
_BUCKETS = 128


class Table(Mapping[K, V]):
    """A persistent mapping: :meth:`put` returns a new table and leaves this one as it was.

    Iteration yields keys in the order in which they were first put, which is why every value carries its number.
    """

    __slots__ = ("_buckets", "_next", "_size")

    def __init__(self) -> None:
        self._buckets: tuple[dict[K, tuple[int, V]], ...] = ({},) * _BUCKETS
        self._size = 0
        self._next = 0

    def put(self, key: K, value: V) -> Table[K, V]:
        """Return this table with `key` bound to `value`."""
        where = hash(key) % _BUCKETS
        bucket = self._buckets[where]
        old = bucket.get(key)
        new: Table[K, V] = Table.__new__(Table)
        new._buckets = (
            *self._buckets[:where],
            {**bucket, key: (self._next if old is None else old[0], value)},
            *self._buckets[where + 1 :],
        )
        new._size = self._size + (old is None)
        new._next = self._next + (old is None)
        return new

    def __getitem__(self, key: K) -> V:
        return self._buckets[hash(key) % _BUCKETS][key][1]

    def __iter__(self) -> Iterator[K]:
        rows = [(number, key) for bucket in self._buckets for key, (number, _) in bucket.items()]
        rows.sort(key=lambda row: row[0])
        return (key for _, key in rows)

    def __len__(self) -> int:
        return self._size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return dict(self) == dict(other)

    __hash__ = None  # type: ignore[assignment]  # compared by content, so not hashable

    def __repr__(self) -> str:
        return f"Table({dict(self)!r})"
