"""Values as buffers and back: plain data as JSON, everything else as pickle with its arrays beside it.

Classes and functions of the notebook are written as references, name and fingerprint, and looked up in a given
namespace when they are read; a reference that no longer fits makes the result unavailable, never wrong. Knows values;
must not know envelopes, files or stores.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from prefect_nb.errors import ResultUnavailable, Unstorable
from prefect_nb.results.blame import Place, find_culprit
from prefect_nb.results.references import (
    NOTEBOOK,
    NotebookGlobals,
    fill_function,
    fingerprint,
    make_function,
    named,
    notebook_reference,
)

__all__ = ["PickleSerializer", "PlainSerializer"]

_compact = json.JSONEncoder(separators=(",", ":")).encode
_IN_BAND = 2048
_PLAIN_LIMIT = 5000
_INT_BITS = 4096


class PlainSerializer:
    """JSON, for exactly the values that JSON gives back unchanged: no tuples, no shared parts, no odd keys."""

    name = "plain"

    def can(self, value: object) -> bool:
        """Whether it would write this value faithfully; cheap."""
        seen: set[int] = set()
        work: list[Any] = [value]
        count = 0
        while work:
            item = work.pop()
            kind = type(item)
            count += 1
            if count > _PLAIN_LIMIT:
                return False
            if kind is float or item is None:
                continue
            if kind is not list and kind is not dict:
                if not _plain_leaf(item):
                    return False
                continue
            if id(item) in seen or len(item) > _PLAIN_LIMIT:
                return False
            seen.add(id(item))
            if kind is dict:
                if any(type(key) is not str for key in item):
                    return False
                work.extend(item.values())
            work.extend(item)
        return True

    def dump(self, value: object) -> list[bytes | memoryview]:
        """The value as buffers; raises :class:`~prefect_nb.errors.Unstorable` naming the part at fault."""
        try:
            return [_compact(value).encode()]
        except (TypeError, ValueError, RecursionError) as error:
            raise Unstorable(f"a value is not plain data: {error}", path="") from error

    def load(self, buffers: Sequence[memoryview]) -> object:
        """The value again."""
        return json.loads(bytes(buffers[0]))


def _plain_leaf(item: Any) -> bool:
    kind = type(item)
    if kind is str:
        return item.isascii() or _encodable(item)
    if kind is int:
        return bool(item.bit_length() <= _INT_BITS)
    return item is None or kind is bool or kind is float


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class PickleSerializer:
    """Pickle protocol 5: large buffers stay where they are, notebook definitions become references.

    Parameters
    ----------
    namespace : mapping
        Where references are looked up when a value is read: the notebook's variables.
    """

    name = "pickle"

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace

    def can(self, value: object) -> bool:
        """Whether it would write this value faithfully; only :meth:`dump` can tell, so it always tries."""
        return True

    def dump(self, value: object) -> list[bytes | memoryview]:
        """The value as buffers; raises :class:`~prefect_nb.errors.Unstorable` naming the part at fault."""
        stream = io.BytesIO()
        beside: list[memoryview] = []

        def aside(buffer: pickle.PickleBuffer) -> bool:
            view = buffer.raw()
            if view.nbytes < _IN_BAND:
                return True
            beside.append(view)
            return False

        try:
            self._write(value, stream, aside)
        except Exception as error:  # the border to every class's own __reduce__
            raise self._unstorable(value, error) from error
        return [stream.getbuffer(), *beside]

    def _write(self, value: object, stream: Any, aside: Callable[[pickle.PickleBuffer], bool]) -> None:
        _pickler_class()(stream, protocol=5, buffer_callback=aside).dump(value)

    def _unstorable(self, value: object, error: Exception) -> Unstorable:
        def attempt(part: object) -> Exception | None:
            try:
                self._write(part, _Nowhere(), lambda _: False)
            except Exception as reason:  # the same border
                return reason
            return None

        place, reason = find_culprit(value, attempt) or (Place("", value), error)
        what = f"{place.path} ({type(place.value).__name__})" if place.path else f"a {type(place.value).__name__}"
        return Unstorable(
            f"{what} cannot be written down: {reason}",
            hint="make it in a plain cell, or drop it before the task ends; the task then runs each time",
            path=place.path,
            type=type(place.value).__name__,
        )

    def load(self, buffers: Sequence[memoryview]) -> object:
        """The value again.

        Raises
        ------
        ResultUnavailable
            If a class, function or module that it needs is missing or changed.
        """
        try:
            return _Reader(io.BytesIO(buffers[0]), self._namespace, buffers[1:]).load()
        except ResultUnavailable:
            raise
        except Exception as error:  # the border to every class's own __setstate__
            raise ResultUnavailable(
                f"a stored result cannot be rebuilt: {type(error).__name__}: {error}",
                hint="a package it needs may be missing or of another version; run the task again",
            ) from error


class _Nowhere:
    def write(self, data: object) -> int:
        return 0


class _Reader(pickle.Unpickler):
    """Finds notebook definitions in the namespace; everything else is imported."""

    def __init__(self, stream: io.BytesIO, namespace: Mapping[str, Any], buffers: Sequence[memoryview]) -> None:
        super().__init__(stream, buffers=buffers)
        self._namespace = namespace

    def find_class(self, module: str, name: str) -> Any:
        if module == notebook_reference.__module__ and name == notebook_reference.__name__:
            return self._notebook
        if module == NOTEBOOK:
            return self._notebook(name, "")
        return super().find_class(module, name)

    def _notebook(self, name: str, expected: str) -> Any:
        if not name:
            return self._namespace if isinstance(self._namespace, dict) else dict(self._namespace)
        found = named(self._namespace, name)
        if found is None:
            raise ResultUnavailable(
                f"a stored result needs {name}, which the notebook does not define",
                hint=f"run the cell that defines {name} first, or run the task again",
                name=name,
            )
        if expected and fingerprint(found) != expected:
            raise ResultUnavailable(
                f"a stored result was made with another {name} than the notebook defines now",
                hint="run the task again",
                name=name,
            )
        return found


_made: list[type] = []


def _pickler_class() -> Any:
    if _made:
        return _made[0]
    import cloudpickle

    class Writer(cloudpickle.Pickler):  # type: ignore[misc]
        """By value what has no name, by reference what the notebook names, refused what only looks storable."""

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, type | FunctionType):
                if obj.__module__ == NOTEBOOK and "<" not in obj.__qualname__:
                    return notebook_reference, (obj.__qualname__, fingerprint(obj))
                if obj.__module__ == NOTEBOOK and isinstance(obj, FunctionType):
                    return self._nameless(obj)
            elif isinstance(obj, io.IOBase) and type(obj) not in (io.BytesIO, io.StringIO):
                raise TypeError(f"an open file ({type(obj).__name__}) is no value")
            elif isinstance(obj, memoryview):
                raise TypeError("a memoryview would come back as bytes")
            return super().reducer_override(obj)

        def _nameless(self, function: FunctionType) -> Any:
            """By value, but it will look its globals up where the notebook has them then."""
            _, (code, _, _, _, closure), (attributes, slots), *_ = self._dynamic_function_reduce(function)
            slots = {n: v for n, v in slots.items() if n not in ("__globals__", "_cloudpickle_submodules")}
            return make_function, (code, NotebookGlobals(), closure), (attributes, slots), None, None, fill_function

    _made.append(Writer)
    return Writer
