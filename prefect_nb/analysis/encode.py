"""The walk that turns a value into canonical bytes: type-tagged, length-prefixed, blind to identity.

It knows scalars, order, sharing and cycles. What each type consists of is chosen by the caller's ``choose``
(see ``forms``), what code contributes is asked of a :class:`CodeEncoder`.
It must not import a third party, read a file, or look at ``repr``.
"""

from __future__ import annotations

import struct
import types
from array import array
from collections.abc import Callable, Mapping
from operator import ne
from typing import Any, Protocol

from blake3 import blake3

from prefect_nb.errors import Unhashable

__all__ = ["LEAVES", "CodeEncoder", "Encoder", "Fault", "Hasher", "digest", "leaf_list", "qualified"]

Encoder = Callable[["Hasher", Any], bytes]

_LONG = 512
_MANY = 16
_NAN = struct.pack("<d", float("nan"))
_double = struct.Struct("<d").pack
_length = struct.Struct("<Q").pack


class Fault(Exception):
    """A part without a fingerprint; collects the path to it while it travels up."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.steps: list[str] = []

    def at(self, step: str) -> Fault:
        """The same fault, one step further from the root."""
        self.steps.append(step)
        return self

    def error(self, root: str) -> Unhashable:
        """The public error; ``root`` is the name that people know the whole value by."""
        path = root + "".join(reversed(self.steps))
        return Unhashable(
            f"{path} has no fingerprint: {self.why}",
            hint="pass the data it is made from instead, or leave it out of the task's inputs",
            path=path,
            why=self.why,
        )


class CodeEncoder(Protocol):
    """What the walk asks about code."""

    def function(self, hasher: Hasher, value: types.FunctionType) -> bytes:
        """The encoding of a Python function."""

    def klass(self, hasher: Hasher, value: type) -> bytes:
        """The encoding of a class."""

    def module(self, hasher: Hasher, value: types.ModuleType) -> bytes:
        """The encoding of a module."""

    def token(self, module: str, name: str) -> bytes:
        """The encoding of something that is known by where it lives."""


def digest(data: bytes) -> bytes:
    """Twenty bytes of BLAKE3."""
    return blake3(data).digest(20)


def qualified(cls: type) -> str:
    """``module.qualname`` of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _text(tag: bytes, raw: bytes) -> bytes:
    if len(raw) > _LONG:
        return tag.upper() + _length(len(raw)) + digest(raw)
    return tag + _length(len(raw)) + raw


def _float(value: float) -> bytes:
    return b"f" + (_NAN if value != value else _double(value))


LEAVES: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"0",
    bool: lambda v: b"!" if v else b"?",
    int: lambda v: b"i%x;" % v,
    float: _float,
    complex: lambda v: b"c" + _float(v.real) + _float(v.imag),
    str: lambda v: _text(b"s", v.encode("utf-8", "surrogatepass")),
    bytes: lambda v: _text(b"b", v),
    type(Ellipsis): lambda _: b".",
    type(NotImplemented): lambda _: b"/",
}
"""The encodings of values without parts, by exact type."""


def leaf_list(values: list[Any], kind: type) -> bytes | None:
    """One buffer for many scalars of one type, or None when the type has no such form."""
    if kind is str:
        joined = "\0".join(values)
        if joined.count("\0") == len(values) - 1:
            return b"u" + joined.encode("utf-8", "surrogatepass")
        lengths = array("Q", map(len, values)).tobytes()
        return b"v" + lengths + joined.encode("utf-8", "surrogatepass")
    if kind is float and not any(map(ne, values, values)):
        return b"d" + array("d", values).tobytes()
    if kind is int:
        try:
            return b"q" + array("q", values).tobytes()
        except OverflowError:
            return b"x" + ",".join(map(hex, values)).encode()
    return None


class Hasher:
    """One walk over one value; everything it met stays alive until it is dropped, so no id is reused."""

    __slots__ = ("_choose", "_done", "_held", "_loose", "_low", "_open", "code", "memo")

    def __init__(self, code: CodeEncoder, choose: Callable[[type], Encoder], memo: Any = None) -> None:
        self.code = code
        self._choose = choose
        self.memo = memo
        self._open: dict[int, int] = {}
        self._done: dict[int, bytes] = {}
        self._loose: dict[int, tuple[int, int]] = {}
        self._held: list[object] = []
        self._low = 1 << 30

    def encode(self, value: Any) -> bytes:
        """Self-delimiting canonical bytes of a value."""
        leaf = LEAVES.get(type(value))
        return leaf(value) if leaf is not None else self._node(value)

    def hold(self, value: object) -> object:
        """Keep a temporary alive for the length of the walk."""
        self._held.append(value)
        return value

    def forget(self) -> None:
        """Drop what the walk remembers by identity, because the values may have changed since."""
        self._done.clear()
        self._held.clear()

    def _node(self, value: Any) -> bytes:
        key = id(value)
        known = self._done.get(key)
        if known is not None:
            return known
        depth = len(self._open)
        if key in self._open:
            above = self._open[key]
            self._low = min(self._low, above)
            return b"^%d;" % (depth - above)
        if key in self._loose:
            ordinal, low = self._loose[key]
            self._low = min(self._low, low)
            return b"~%d;" % ordinal
        if self.memo is not None:
            known = self.memo.get(value)
            if known is not None:
                return bytes(known)
        outer, self._low = self._low, 1 << 30
        self._open[key] = depth
        try:
            out = b"#" + digest(self._choose(type(value))(self, value))
        finally:
            del self._open[key]
        self._held.append(value)
        self._close(key, depth, outer, out)
        if self.memo is not None:
            self.memo.put(value, out)
        return out

    def _close(self, key: int, depth: int, outer: int, out: bytes) -> None:
        """Remember a finished node: by digest if it stands alone, by ordinal while a cycle around it is open."""
        low = self._low
        if low >= depth:
            self._done[key] = out
            if low == depth and self._loose:
                self._loose = {k: v for k, v in self._loose.items() if v[1] < depth}
            self._low = outer
        else:
            self._loose[key] = (len(self._loose), low)
            self._low = min(outer, low)

    def items(self, values: Any) -> bytes:
        """The encodings of a sequence's elements."""
        size = len(values)
        if size > _MANY:
            kinds = set(map(type, values))
            if len(kinds) == 1:
                packed = leaf_list(values if type(values) is list else list(values), kinds.pop())
                if packed is not None:
                    return b"*" + _length(size) + packed
        out = [_length(size)]
        index = 0
        try:
            for value in values:
                out.append(self.encode(value))
                index += 1
        except Fault as fault:
            raise fault.at(f"[{index}]") from None
        return b"".join(out)

    def pairs(self, mapping: Mapping[Any, Any], step: str = "[{!r}]") -> bytes:
        """The encodings of a mapping's keys and values, in its order."""
        out = [_length(len(mapping))]
        key: Any = None
        try:
            for key, value in mapping.items():
                out.append(self.encode(key))
                out.append(self.encode(value))
        except Fault as fault:
            shown = key if isinstance(key, str | int | float | bytes) else type(key)
            raise fault.at(step.format(shown)) from None
        return b"".join(out)

    def members(self, values: Any) -> bytes:
        """The encodings of a set's elements, in the order of their bytes."""
        before = self._low
        encoded = []
        for value in values:
            try:
                encoded.append(self.encode(value))
            except Fault as fault:
                raise fault.at("{…}") from None
        if self._low != before:
            raise Fault("it is a set whose members refer back to it")
        return _length(len(encoded)) + b"".join(sorted(encoded))
