"""How far a cell's code can have reached: which names' values it may have changed, whatever its source says.

Conservative: what cannot be followed may lead anywhere. Knows names and live values; not versions.
"""

from __future__ import annotations

import dis
import functools
import inspect
import re
import types
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from prefect_nb.analysis.lookups import CONSTANT, lookups
from prefect_nb.analysis.names import Names
from prefect_nb.analysis.origins import place_of

__all__ = ["bound_late", "is_shells", "late_names", "looked_up", "roams", "touched"]

Code = Callable[[Iterable[str]], Iterable[object]]
"""Names to their values, and to the functions and classes below these."""

_SHELL = re.compile(r"_+|_i+|_i?\d+|In|Out|_[oid]h|exit|quit|get_ipython|open|__\w+__")


@lru_cache(maxsize=1 << 16)
def is_shells(name: str) -> bool:
    """Whether a name is the shell's own, not the notebook's."""
    return _SHELL.fullmatch(name) is not None


def roams(names: Names | None, code: Code) -> bool:
    """Whether a cell may reach any value at all: it looks names up unseen, or calls code that keeps state."""
    if names is None or names.dynamic or names.impure_magics or names.star_imports:
        return True
    return any(_keeps_state(each) for each in code(touched(names, code)))


def touched(names: Names, code: Code) -> set[str]:
    """The names that a cell and the functions it calls, wherever these lie, look up or bind."""
    found = set(names.reads | names.writes | names.deletes | names.mutates)
    edge = found
    while edge:
        edge = late_names(code(edge)) - found
        found |= edge
    return found


def looked_up(values: Iterable[object]) -> set[str]:
    """The names that functions among `values`, and those that these call, look up in the notebook."""
    return {name for code in _codes(values) for name in lookups(code)[0]} - CONSTANT


def _keeps_state(value: object) -> bool:
    """Whether a value is code of a local module, which may remember objects that it was given before."""
    if isinstance(value, types.ModuleType):
        return place_of(value.__name__) == "local"
    if isinstance(value, types.FunctionType | type):
        return place_of(value.__module__) == "local"
    return place_of(type(value).__module__) == "local"


def late_names(values: Iterable[object]) -> set[str]:
    """Global names that functions, and methods of notebook classes, among `values` look up when they are called."""
    return {name for code in _codes(values) for name in code.co_names}


def bound_late(values: Iterable[object]) -> set[str]:
    """Global names that functions among `values`, and those that these call, may bind or delete when they run."""
    return {name for code in _codes(values) for name in _global_stores(code)}


@lru_cache(maxsize=4096)
def _global_stores(code: types.CodeType) -> frozenset[str]:
    stores = ("STORE_GLOBAL", "DELETE_GLOBAL")
    return frozenset(str(i.argval) for i in dis.get_instructions(code) if i.opname in stores)


def _codes(values: Iterable[object]) -> Iterator[types.CodeType]:
    """The code of notebook functions and of all that they name, nested code included."""
    seen: set[int] = set()
    stack: list[Any] = list(values)
    while stack:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, types.FunctionType):
            if value.__module__ == "__main__":
                stack.append(value.__code__)
                names = (n for code in _nested(value.__code__) for n in code.co_names)
                stack.extend(value.__globals__[n] for n in names if n in value.__globals__)
                stack.extend(c.cell_contents for c in value.__closure__ or () if _filled(c))
        elif isinstance(value, types.CodeType):
            yield value
            stack.extend(c for c in value.co_consts if isinstance(c, types.CodeType))
        elif isinstance(value, type):
            if value.__module__ == "__main__":
                stack.extend(vars(value).values())
        elif isinstance(value, property):
            stack += [value.fget, value.fset, value.fdel]
        elif isinstance(value, staticmethod | classmethod | types.MethodType | functools.partial):
            stack.append(getattr(value, "func", None) or getattr(value, "__func__", None))
        elif (inner := inspect.getattr_static(value, "__wrapped__", None)) is not None:
            stack.append(inner)
        elif type(value).__module__ == "__main__":
            stack.append(type(value))


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _nested(const)


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises
    except ValueError:
        return False
    return True
