"""How far a cell's code can have reached: which names' values it may have changed, whatever its source says.

Conservative: what cannot be followed may lead anywhere. Knows names and live values; not versions.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping
from typing import Any

from prefect_nb.analysis.names import Names
from prefect_nb.analysis.origins import place_of

__all__ = ["SHELL", "late_names", "roams", "touched"]

SHELL = re.compile(r"_+|_i+|_i?\d+|In|Out|_[oid]h|exit|quit|get_ipython|open|__\w+__")
"""Names that are the shell's own, not the notebook's."""


def roams(names: Names | None, user: Mapping[str, Any]) -> bool:
    """Whether a cell may reach any value at all: it looks names up unseen, or calls code that keeps state."""
    if names is None or names.dynamic or names.impure_magics or names.star_imports:
        return True
    return any(_keeps_state(user.get(n)) for n in touched(names, user))


def touched(names: Names, user: Mapping[str, Any]) -> set[str]:
    """The names that a cell and the functions it calls look up or bind."""
    found = set(names.reads | names.writes | names.deletes | names.mutates)
    return found | late_names(user.get(n) for n in found)


def _keeps_state(value: object) -> bool:
    """Whether a value is code of a local module, which may remember objects that it was given before."""
    if isinstance(value, types.ModuleType):
        return place_of(value.__name__) == "local"
    if isinstance(value, types.FunctionType | type):
        return place_of(value.__module__) == "local"
    return place_of(type(value).__module__) == "local"


def late_names(values: Iterable[object]) -> set[str]:
    """Global names that functions, and methods of notebook classes, among `values` look up when they are called."""
    found: set[str] = set()
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
                new = {n for n in value.__code__.co_names if n in value.__globals__} - found
                found |= new
                stack.extend(value.__globals__[n] for n in new)
                stack.extend(c.cell_contents for c in value.__closure__ or () if _filled(c))
        elif isinstance(value, types.CodeType):
            found |= set(value.co_names)
            stack.extend(c for c in value.co_consts if isinstance(c, types.CodeType))
        elif isinstance(value, type):
            if value.__module__ == "__main__":
                stack.extend(vars(value).values())
        elif type(value).__module__ == "__main__":
            stack.append(type(value))
    return found


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises
    except ValueError:
        return False
    return True
