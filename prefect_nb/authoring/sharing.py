"""Which names lead to the same memory, so that a change through one of them is a change of the others.

A walk over live objects by identity: containers, instances, buffers of arrays and frames. Knows objects only; must not
call anything of theirs.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Iterable, Mapping
from typing import Any

from prefect_nb.analysis.values import is_immutable

__all__ = ["is_code", "linked", "reachable"]

_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(Ellipsis), range})
_CODE = (types.FunctionType, type, types.ModuleType, types.BuiltinFunctionType, types.MethodType)
_CONTAINERS = (list, tuple, set, frozenset, dict)


def is_code(value: object) -> bool:
    """Whether a value is followed as code instead of fingerprinted as data."""
    return isinstance(value, _CODE)


def reachable(value: object) -> frozenset[int]:
    """The identities of everything below a value that can change in place, its own included."""
    found: set[int] = set()
    held: list[object] = []  # nothing met may be freed before the walk ends, or its identity would be used again
    stack: list[object] = [value]
    while stack:
        each = stack.pop()
        kind = type(each)
        if kind in _ATOMS or id(each) in found:
            continue
        if isinstance(each, types.ModuleType | types.BuiltinFunctionType | types.CodeType):
            continue
        found.add(id(each))
        held.append(each)
        stack.extend(_below(each, kind))
    return frozenset(found)


def _below(each: Any, kind: type) -> Iterable[object]:
    if isinstance(each, type):
        return vars(each).values() if each.__module__ == "__main__" else ()
    if isinstance(each, types.FunctionType):
        return _captured(each)
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return () if set(map(type, each)) <= _ATOMS else list(each)
    if kind is dict:
        return [v for v in list(each.values()) if type(v) not in _ATOMS]
    if kind.__module__ == "numpy" and hasattr(each, "base"):
        inside = list(each.flat) if getattr(each.dtype, "hasobject", False) else []
        return [*inside, each.base]
    if kind.__module__.partition(".")[0] in ("pandas", "polars", "pyarrow"):
        return _buffers(each)
    return gc.get_referents(each)


def _captured(function: types.FunctionType) -> list[object]:
    found: list[object] = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            continue
    return [*found, *function.__dict__.values()]


def _buffers(table: Any) -> list[object]:
    """The arrays behind a table; a library's caches and its texts lead nowhere else."""
    manager = getattr(table, "_mgr", None)
    blocks = getattr(manager, "blocks", None) or ()
    arrays = [b.values for b in blocks]
    return [a for a in (getattr(each, "_ndarray", each) for each in arrays) if type(a).__module__ == "numpy"]


def linked(names: Iterable[str], values: Mapping[str, Any], reach: Mapping[str, frozenset[int]]) -> frozenset[str]:
    """The names among `values` that share something that can change with one of `names`, which are included.

    Parameters
    ----------
    values : mapping
        Live values by name.
    reach : mapping
        Their :func:`reachable` identities; what is missing has none.
    """
    found = set(names) & set(values)
    open_ids = frozenset[int]().union(*(reach.get(n, frozenset()) for n in found))
    left = {n for n in values if n not in found and reach.get(n)}
    while grown := {n for n in left if not reach[n].isdisjoint(open_ids)}:
        found |= grown
        left -= grown
        open_ids = open_ids.union(*(reach[n] for n in grown))
    return frozenset(found)


def stands_alone(value: object) -> bool:
    """Whether no change of another name's value can change this one: it is immutable, or code without state."""
    if isinstance(value, types.ModuleType | types.BuiltinFunctionType):
        return True
    return is_immutable(value)
