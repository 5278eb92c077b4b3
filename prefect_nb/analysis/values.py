"""Fingerprints, sizes and immutability of live values.

Equal values have equal fingerprints in every process and on every machine; values of different types never share one.
Never pickle bytes, never ``repr``. Third parties are recognised by name, never imported.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import io
import itertools
import pathlib
import re
import sys
import types
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from enum import Enum
from typing import Any

from prefect_nb.analysis.encode import LEAVES, Encoder, Fault, Hasher, digest, qualified
from prefect_nb.analysis.forms import choose, register
from prefect_nb.analysis.trace import Part, Tracer

__all__ = [
    "FOLLOWS",
    "Hasher",
    "Memo",
    "fingerprint",
    "is_immutable",
    "outline",
    "own_fingerprint",
    "register",
    "size_of",
]

FOLLOWS = "b3+"
"""How the digest of a value begins whose functions look names up when they are called."""

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented), range)
_FROZEN = frozenset(
    (
        *_ATOMS,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        datetime.timezone,
        decimal.Decimal,
        fractions.Fraction,
        re.Pattern,
        uuid.UUID,
        pathlib.PosixPath,
        pathlib.PurePosixPath,
        types.BuiltinFunctionType,
    )
)
_BIG = 4096
_DEEP = 50


class Memo:
    """Digests of large immutable values by identity; bounded, and it keeps the values alive so that no id is reused.

    Only what nobody can write to is remembered: long strings and bytes, large tuples and frozensets of atoms, arrays
    that neither they nor anything below them can be written through, Arrow tables.

    Parameters
    ----------
    size : int
        How many values to keep; the oldest leaves first.
    """

    def __init__(self, size: int = 512) -> None:
        self._size = size
        self._kept: OrderedDict[int, tuple[object, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, value: object) -> bytes | None:
        """The encoding of a value seen before, if it still cannot have changed."""
        kept = self._kept.get(id(value))
        return kept[1] if kept is not None and _stays(value) else None

    def put(self, value: object, encoded: bytes) -> None:
        """Remember a value's encoding if it can never change."""
        if not _stays(value):
            return
        self._kept[id(value)] = (value, encoded)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)


def _stays(value: object) -> bool:
    kind = type(value)
    if kind is tuple or kind is frozenset:
        return len(value) > 256 and all(type(v) in _ATOMS for v in value)  # type: ignore[arg-type, attr-defined]
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name == "numpy.ndarray":
        return getattr(value, "nbytes", 0) > _BIG and _sealed(value)
    return name == "pyarrow.lib.Table"


def _sealed(array: Any) -> bool:
    """Whether no view of the memory can be written through: read-only down to bytes that cannot change."""
    while array is not None:
        if isinstance(array, bytes):
            return True
        flags = getattr(array, "flags", None)
        if flags is None or flags.writeable or flags.owndata or array.dtype.hasobject:
            return False
        array = array.base
    return False


def fingerprint(value: object, memo: Memo | None = None) -> str:
    """The digest of a value, ``"b3-"`` and 40 hexadecimal digits.

    Parameters
    ----------
    value : object
        Anything; functions and classes count with everything they reach.
    memo : Memo, optional
        Remembers immutable values between calls.

    Raises
    ------
    Unhashable
        With the path to the part at fault, for example ``model.tree[3].lock``.

    Examples
    --------
    >>> fingerprint(1) == fingerprint(True), fingerprint({1, 2}) == fingerprint({2, 1})
    (False, True)
    """
    leaf = LEAVES.get(type(value))
    if leaf is not None:
        return "b3-" + digest(leaf(value)).hex()
    encoded, tracer = _walked(value, memo, follow=True)
    return "b3-" + digest(encoded + _rows(tracer.parts)).hex()


def own_fingerprint(value: object, memo: Memo | None = None) -> str:
    """The digest of what belongs to a value itself: not of notebook names that functions in it look up when called.

    Such a value's digest begins with :data:`FOLLOWS`, and whoever relies on what its functions do has to follow them.

    Raises
    ------
    Unhashable
        With the path to the part at fault.
    """
    leaf = LEAVES.get(type(value))
    if leaf is not None:
        return "b3-" + digest(leaf(value)).hex()
    encoded, tracer = _walked(value, memo, follow=False)
    return (FOLLOWS if tracer.late else "b3-") + digest(encoded + _rows(tracer.parts)).hex()


def _walked(value: object, memo: Memo | None, *, follow: bool) -> tuple[bytes, Tracer]:
    tracer = Tracer()
    hasher = Hasher(tracer, choose, memo)
    try:
        encoded = hasher.encode(value)
        faults = tracer.drain(hasher, notebook=follow)
    except Fault as fault:
        raise fault.error("value") from None
    except RecursionError:
        raise Fault("it is nested too deeply").error("value") from None
    if faults:
        label, found = faults[0]
        raise found.error(label)
    return encoded, tracer


def _rows(parts: set[Part]) -> bytes:
    return b"".join(f"{p.kind}\0{p.name}\0{p.digest}\n".encode() for p in sorted(parts))


def outline(value: object) -> str:
    """The digest of what can be seen of a value: a part that is live counts by its type, an open file by its name too.

    Raises
    ------
    Unhashable
        If part of it is an iterator: nothing can be seen of what is still to come.
    """

    def chosen(kind: type) -> Encoder:
        encoder = choose(kind)

        def lenient(hasher: Hasher, value: Any) -> bytes:
            name = getattr(value, "name", "") if isinstance(value, io.IOBase) else ""
            if isinstance(value, Iterator) and not isinstance(value, io.IOBase):
                raise _Unseen
            try:
                return encoder(hasher, value)
            except Fault:
                return b"o" + f"{qualified(kind)} {name}".encode()

        return lenient

    tracer = Tracer()
    hasher = Hasher(tracer, chosen)
    try:
        encoded = hasher.encode(value)
        tracer.drain(hasher)
    except (_Unseen, RecursionError):
        raise Fault("it cannot be seen whole").error("value") from None
    return "b3-" + digest(encoded).hex()


class _Unseen(Exception):
    """There is no outline."""


def is_immutable(value: object) -> bool:
    """Whether running code cannot have changed the value, so that it need not be hashed again.

    Strict: a user's own class, a function with a closure or with mutable defaults, anything unknown is not.
    """
    return _fixed(value, _DEEP)


def _fixed(value: object, depth: int) -> bool:
    kind = type(value)
    if kind in _FROZEN:
        return not isinstance(value, types.BuiltinFunctionType) or isinstance(value.__self__, types.ModuleType | None)
    if depth and isinstance(value, tuple | frozenset) and kind in (tuple, frozenset):
        return all(_fixed(v, depth - 1) for v in value)
    if kind is types.ModuleType:
        return True
    if kind is type:
        top = value.__module__.partition(".")[0]
        return top == "builtins" or top in sys.stdlib_module_names
    if depth and isinstance(value, types.FunctionType):
        captured = [c.cell_contents for c in value.__closure__ or () if _filled(c)]
        inside = (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *captured)
        return not value.__dict__ and all(_fixed(v, depth - 1) for v in inside)
    if isinstance(value, Enum):
        return depth > 0 and _fixed(value.value, depth - 1)
    return kind.__module__ == "numpy" and hasattr(kind, "dtype") and kind.__name__ not in ("ndarray", "void")


def _filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def size_of(value: object) -> int:
    """Estimated bytes of a value: arrays and frames by their buffers, containers by a sample of their elements."""
    return _size(value, 6)


def _size(value: Any, depth: int) -> int:
    kind = type(value)
    top = kind.__module__.partition(".")[0]
    if top == "pandas" and hasattr(value, "memory_usage"):
        used = value.memory_usage(deep=False)
        return int(used.sum() if hasattr(used, "sum") else used) + _texts(value)
    if top == "polars" and hasattr(value, "estimated_size"):
        return int(value.estimated_size())
    if top == "torch" and hasattr(value, "element_size"):
        return int(value.element_size() * value.nelement())
    found = getattr(value, "nbytes", None) if kind.__module__ != "builtins" or kind is memoryview else None
    if isinstance(found, int):
        dtype = getattr(value, "dtype", None)
        return found + (_sampled(list(value.flat[:64]), value.size, depth) if getattr(dtype, "hasobject", False) else 0)
    own = sys.getsizeof(value, 64)
    if not depth:
        return own
    if isinstance(value, dict | types.MappingProxyType):  # a foreign mapping may fetch, lock or refuse when it is asked
        pairs = dict.items(value) if isinstance(value, dict) else value.items()
        some = [x for pair in itertools.islice(pairs, 64) for x in pair]
        return own + _sampled(some, 2 * len(value), depth)
    if isinstance(value, list | tuple | set | frozenset):
        return own + _sampled(list(itertools.islice(value, 64)), len(value), depth)
    state = getattr(value, "__dict__", None)
    if isinstance(state, dict) and not isinstance(value, type | types.ModuleType | types.FunctionType):
        return own + sum(_size(v, depth - 1) for v in list(state.values()))
    return own


def _sampled(some: list[Any], count: int, depth: int) -> int:
    return sum(_size(v, depth - 1) for v in some) * count // len(some) if some else 0


def _texts(value: Any) -> int:
    """The text behind a table's object columns, from a sample."""
    columns = [value.iloc[:, i] for i in range(value.shape[1])] if getattr(value, "ndim", 1) == 2 else [value]
    total = 0
    for column in columns:
        if str(column.dtype) in ("object", "str", "string"):
            total += _sampled(list(column[:64]), len(column), 2)
    return total
