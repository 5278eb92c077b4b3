"""Copies of arguments: a call takes them as they are when it is made, and each body is given its own.

So nobody sees what another body, a further attempt, or the flow's body later changed in place. Data is copied; what
cannot be (a handle, a lock, code) is passed on as it is. Knows values and nodes; nothing about runs.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, Sized, ValuesView
from typing import Any

from prefect_nb.analysis.values import is_immutable
from prefect_nb.authoring.nodes import Flat, Node, Whole
from prefect_nb.authoring.sharing import is_code

__all__ = ["Given", "own", "source_of", "spent"]

Given = tuple[tuple[Any, ...], Mapping[str, Any]]
"""Positional and keyword arguments."""

_ITEMS = frozenset((list, tuple, set, frozenset))
_LIVE = (KeysView, ValuesView, ItemsView)


def own(value: Any, give: Callable[[Node], Any] | None = None, memo: dict[int, Any] | None = None) -> Any:
    """The value as nobody else holds it.

    Parameters
    ----------
    give : callable, optional
        What a node is replaced by; without it nodes stay.
    """
    kind = type(value)
    if kind is Node:
        return value if give is None else give(value)
    if kind in _ITEMS or kind is dict:
        memo = {} if memo is None else memo
        if (known := memo.get(id(value))) is not None:  # one object at two places stays one
            return known
        if kind is dict:
            made: Any = {own(k, give, memo): own(v, give, memo) for k, v in value.items()}
        else:
            made = kind([own(item, give, memo) for item in value])
        memo[id(value)] = made
        return made
    if is_immutable(value) or is_code(value):
        return value
    if kind is Whole or kind is Flat:
        return kind(own(value.value, give, memo))
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # the border to classes of other people: what refuses to be copied is shared
        return value


def source_of(value: Any) -> Any:
    """An argument of a map, as its elements are when the map is made; an iterator stays what it is."""
    if isinstance(value, Whole | Flat):
        return type(value)(source_of(value.value))
    if isinstance(value, _LIVE):
        return [own(item) for item in value]
    return own(value) if isinstance(value, Sized) or type(value) is Node else value


def spent(named: Mapping[str, Any]) -> str:
    """Why a body cannot be given the same once more: it consumes an argument; empty if it does not."""
    names = [n for n, v in named.items() if isinstance(v, Iterator) and not isinstance(v, io.IOBase)]
    return f"its argument {names[0]} is an iterator, which cannot be read a second time" if names else ""
