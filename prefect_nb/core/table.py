"""An immutable mapping whose update costs little, whatever its size.

The machine returns new states instead of changing old ones; with thousands of visits a plain copied dict would make
every event cost a copy of all of them. Here each key has a number, from 0 in the order in which keys came, and the
values lie in chunks by number: an update copies one chunk and the list of chunks, half a microsecond up to 10,000
entries and one up to 100,000 (rejected: rows of small dicts by hash, which cost three copies and lose the order).

Which number a key has never changes, so all versions share one dict of numbers; it may know keys that a version does
not have, whose numbers are not below that version's size. Only one version of each size may add the next key to it:
whoever comes second, also from another thread, goes on with a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

__all__ = ["Table"]

K = TypeVar("K")
V = TypeVar("V")
_BITS = 6
_MASK = (1 << _BITS) - 1


class Table(Mapping[K, V]):
    """A persistent mapping: :meth:`put` returns a new table and leaves this one as it was.

    Iteration yields keys in the order in which they were first put.
    """

    __slots__ = ("_chunks", "_numbers", "_right", "_size")

    def __init__(self) -> None:
        self._chunks: list[list[V]] = []
        self._numbers: dict[K, int] = {}
        self._right: list[None] = [None]  # holds one item while nobody has added to `_numbers` after this version
        self._size = 0

    def put(self, key: K, value: V) -> Table[K, V]:
        """Return this table with `key` bound to `value`."""
        size = self._size
        number = self._numbers.get(key, size)
        new: Table[K, V] = Table.__new__(Table)
        chunks = new._chunks = self._chunks.copy()
        if number < size:
            at = number >> _BITS
            chunk = chunks[at] = chunks[at].copy()
            chunk[number & _MASK] = value
            new._numbers, new._right, new._size = self._numbers, self._right, size
            return new
        try:
            self._right.pop()
            numbers = self._numbers
        except IndexError:
            numbers = {k: n for k, n in list(self._numbers.items()) if n < size}
        numbers[key] = size
        if size & _MASK:
            chunks[-1] = [*chunks[-1], value]
        else:
            chunks.append([value])
        new._numbers, new._right, new._size = numbers, [None], size + 1
        return new

    def __getitem__(self, key: K) -> V:
        number = self._numbers[key]
        if number >= self._size:
            raise KeyError(key)
        return self._chunks[number >> _BITS][number & _MASK]

    def get(self, key: K, default: V | None = None) -> V | None:  # type: ignore[override]  # no exception inside
        """The value of `key`, or `default`."""
        number = self._numbers.get(key)
        if number is None or number >= self._size:
            return default
        return self._chunks[number >> _BITS][number & _MASK]

    def __contains__(self, key: object) -> bool:
        return self._numbers.get(key, self._size) < self._size  # type: ignore[arg-type]  # any object may be asked

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._numbers)[: self._size])

    def values(self) -> list[V]:  # type: ignore[override]  # all at once: a view would look every key up
        """The values, in the order of their keys."""
        return [value for chunk in self._chunks for value in chunk]

    def items(self) -> list[tuple[K, V]]:  # type: ignore[override]  # as above
        """Keys with their values, in order."""
        return list(zip(self, self.values(), strict=True))

    def unlike(self, other: Table[K, V]) -> list[V]:
        """The values that are other objects here than in an earlier version of this table, in order.

        Where the two are not versions of one table, that is all of them.
        """
        if self._numbers is not other._numbers or self._size < other._size:
            return self.values()
        found = []
        for at, chunk in enumerate(self._chunks):
            old = other._chunks[at] if at < len(other._chunks) else []
            if chunk is not old:
                known = len(old)
                found += [v for i, v in enumerate(chunk) if i >= known or v is not old[i]]
        return found

    def __len__(self) -> int:
        return self._size

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment]  # compared by content, so not hashable

    def __repr__(self) -> str:
        return f"Table({dict(self.items())!r})"
