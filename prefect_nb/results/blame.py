"""Finds the part of a value that cannot be written down, and its path in words of the user's code.

Follows what pickle would follow: items of containers and what ``__reduce_ex__`` gives. Knows values; must not know how
they are written: the caller passes the attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

__all__ = ["Place", "find_culprit"]

_DEPTH = 40
_WIDTH = 10_000


class Place(NamedTuple):
    """A part of a value and the path to it, such as ``model.session.lock``."""

    path: str
    value: object


def find_culprit(value: object, attempt: Callable[[object], Exception | None]) -> tuple[Place, Exception] | None:
    """The deepest part for which `attempt` fails, and why; None if the whole succeeds this time."""
    reason = attempt(value)
    if reason is None:
        return None
    place = Place("", value)
    passed = {id(value)}
    for _ in range(_DEPTH):
        for n, part in enumerate(_parts(place)):
            if n >= _WIDTH:
                break
            if id(part.value) in passed:
                continue
            failure = attempt(part.value)
            if failure is not None:
                place, reason = part, failure
                passed.add(id(part.value))
                break
        else:
            break
    return place, reason


def _parts(place: Place) -> Iterator[Place]:
    value = place.value
    if isinstance(value, dict):
        for key, item in list(value.items()):
            yield Place(_item(place.path, key), item)
            yield Place(f"{place.path or 'dict'}, key {key!r:.40}", key)
        if type(value) is dict:
            return
    elif isinstance(value, list | tuple | set | frozenset):
        for n, item in enumerate(list(value)):
            yield Place(f"{place.path or 'value'}[{n}]", item)
        if type(value) in (list, tuple, set, frozenset):
            return
    try:
        reduced = value.__reduce_ex__(5)
    except Exception:  # a class's own code; that it fails is why we are here
        return
    if isinstance(reduced, tuple):
        yield from _reduced_parts(place.path, reduced)


def _reduced_parts(path: str, reduced: tuple[Any, ...]) -> Iterator[Place]:
    state = reduced[2] if len(reduced) > 2 else None
    states = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    for attributes in states:
        if isinstance(attributes, dict):
            for name, item in attributes.items():
                yield Place(f"{path}.{name}" if path else str(name), item)
        elif attributes is not None:
            yield Place(path, attributes)
    for n, argument in enumerate(reduced[1]):
        yield Place(f"{path or 'value'}({n})", argument)
    for n, item in enumerate(reduced[3] or () if len(reduced) > 3 else ()):
        yield Place(f"{path or 'value'}[{n}]", item)
    for key, item in reduced[4] or () if len(reduced) > 4 else ():
        yield Place(_item(path, key), item)


def _item(path: str, key: object) -> str:
    if not path:
        return key if isinstance(key, str) else f"[{key!r:.40}]"
    return f"{path}[{key!r:.40}]"
