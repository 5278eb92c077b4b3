"""Which names lead to the same memory, so that a change through one of them is a change of the others.

A walk over live objects by identity: containers, instances, buffers of arrays and frames. Knows objects only; must not
call anything of theirs.
"""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from prefect_nb.analysis.origins import place_of
from prefect_nb.analysis.values import is_immutable

__all__ = ["Links", "Reach", "is_code", "reachable", "share_views", "stands_alone"]

_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(Ellipsis), range})
_CODE = (types.FunctionType, type, types.ModuleType, types.BuiltinFunctionType, types.MethodType)


def is_code(value: object) -> bool:
    """Whether a value is followed as code instead of fingerprinted as data."""
    return isinstance(value, _CODE)


@dataclass(frozen=True, slots=True)
class Reach:
    """What lies below a value.

    Parameters
    ----------
    active : frozenset of int
        Identities of what can change in place through it.
    passive : frozenset of int
        Memory that it only looks at, or copies before it writes: it changes with it, never because of it.
    bases : mapping of int to set of int
        Memory below arrays that are views, with those arrays; a stored copy of another one would not share it any more.
    objects : frozenset of int
        The part of `active` that is not reached through code: what is stored with the value.
    code : tuple
        The functions and classes of the notebook and of local modules below it.
    """

    active: frozenset[int] = frozenset()
    passive: frozenset[int] = frozenset()
    bases: Mapping[int, set[int]] = field(default_factory=dict)
    objects: frozenset[int] = frozenset()
    code: tuple[Any, ...] = ()

    def meets(self, other: Reach) -> bool:
        """Whether a change through one can be a change of the other."""
        one, two = self.active, other.active
        return not (one.isdisjoint(two) and one.isdisjoint(other.passive) and two.isdisjoint(self.passive))

    def stored_with(self, other: Reach) -> bool:
        """Whether one piece has to hold both, so that they share again when they come back."""
        one, two = self.objects, other.objects
        return not (one.isdisjoint(two) and one.isdisjoint(other.passive) and two.isdisjoint(self.passive))

    def shares_data(self, other: Reach) -> bool:
        """Whether what would be stored of one can change through the other; that they are of one class says nothing."""
        one, two = self.objects, other.objects
        below = one.isdisjoint(other.active | other.passive) and two.isdisjoint(self.active | self.passive)
        return not (below and self.passive.isdisjoint(other.active) and other.passive.isdisjoint(self.active))

    def views(self, other: Reach) -> bool:
        """Whether they share the memory of arrays, and not only objects."""
        mine, theirs = self.active | self.passive, other.active | other.passive
        common = (self.bases.keys() & theirs) | (other.bases.keys() & mine)
        return any(self.bases.get(base) != other.bases.get(base) for base in common)


NOWHERE = Reach()


def reachable(value: object) -> Reach:
    """Everything below a value that can change in place, its own identity included."""
    active: set[int] = set()
    passive: set[int] = set()
    bases: dict[int, set[int]] = {}
    objects: frozenset[int] | None = None
    below: list[Any] = []
    held: list[object] = []  # nothing met may be freed before the walk ends, or its identity would be used again
    stack: list[Any] = [value]
    code: list[Any] = []
    while stack or code:
        if not stack:
            objects = frozenset(active) if objects is None else objects
            stack, code = code, []
        each = stack.pop()
        kind = type(each)
        if kind in _ATOMS or id(each) in active:
            continue
        if isinstance(each, types.ModuleType | types.BuiltinFunctionType | types.CodeType):
            continue
        if objects is None and isinstance(each, types.FunctionType | type):
            code.append(each)
            continue
        if isinstance(each, types.FunctionType | type):
            if place_of(each.__module__) in ("notebook", "local"):
                below.append(each)
            elif isinstance(each, type) or not each.__closure__:
                continue  # a library's own, which everybody uses
        elif isinstance(each, Enum) or (kind is tuple and set(map(type, each)) <= _ATOMS):
            continue
        active.add(id(each))
        held.append(each)
        if kind.__module__ == "numpy" and hasattr(each, "base") and not isinstance(each, type):
            memory = _memory(each)
            for base in memory[1:]:
                bases.setdefault(base, set()).add(id(each))
            (active if each.flags.writeable else passive).update(memory)
            if getattr(each.dtype, "hasobject", False):
                stack.extend(each.flat)
        elif kind.__module__.partition(".")[0] == "pandas":
            memory = [i for array in _blocks(each) for i in _memory(array)]
            for base in memory:
                bases.setdefault(base, set()).add(id(each))
            (passive if _copies_on_write(each) else active).update(memory)
        else:
            stack.extend(_below(each, kind))
    found = frozenset(active)
    return Reach(found, frozenset(passive), bases, found if objects is None else objects, tuple(below))


def _memory(array: Any) -> list[int]:
    """The array, and what it is a view of."""
    found = []
    while array is not None and hasattr(array, "dtype"):
        found.append(id(array))
        array = array.base
    return found


def _below(each: Any, kind: type) -> Iterable[object]:
    if isinstance(each, type):
        return vars(each).values() if each.__module__ == "__main__" else ()
    if isinstance(each, types.FunctionType):
        return _captured(each)
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return () if set(map(type, each)) <= _ATOMS else list(each)
    if kind is dict:
        return [v for v in list(each.values()) if type(v) not in _ATOMS]
    library = kind.__module__.partition(".")[0]
    if library in ("polars", "pyarrow"):
        return ()
    if library in ("matplotlib", "mpl_toolkits"):
        return _drawn(each)
    return gc.get_referents(each)


_ITS_LIBRARYS = frozenset({"_callbacks", "callbacks", "stale_callback", "_remove_method", "canvas", "_parents"})


def _drawn(each: Any) -> Iterable[object]:
    """The state of an artist, without what leads to windows and other figures, and without what all figures use."""
    state = getattr(each, "__dict__", {})
    if state.get("_readonly") or type(each).__name__ == "MarkerStyle":
        return ()
    own = [v for k, v in list(state.items()) if k not in _ITS_LIBRARYS]
    return [v for v in own if type(v) is not list or not set(map(type, v)) <= _ATOMS]


def _captured(function: types.FunctionType) -> list[object]:
    found: list[object] = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            continue
    return [*found, *function.__dict__.values()]


def _blocks(table: Any) -> list[Any]:
    """The arrays behind a table."""
    blocks = getattr(getattr(table, "_mgr", None), "blocks", None) or ()
    arrays = (getattr(b.values, "_ndarray", b.values) for b in blocks)
    return [a for a in arrays if type(a).__module__ == "numpy"]


def _copies_on_write(table: Any) -> bool:
    return int(sys.modules["pandas"].__version__.partition(".")[0]) >= 3


def linked(
    names: Iterable[str],
    values: Iterable[str],
    reach: Mapping[str, Reach],
    meets: Callable[[Reach, Reach], bool] = Reach.meets,
) -> frozenset[str]:
    """The names among `values` that share something that can change with one of `names`, which are included."""
    found = set(names) & set(values)
    left = {n for n in values if n not in found and reach.get(n, NOWHERE).active}
    edge = set(found)
    while edge:
        grown = {n for n in left if any(meets(reach[n], reach.get(e, NOWHERE)) for e in edge)}
        found |= grown
        left -= grown
        edge = grown
    return frozenset(found)


def share_views(values: Iterable[object]) -> bool:
    """Whether values of a group share the memory of arrays, which no stored copy would do."""
    reach = [reachable(v) for v in {id(v): v for v in values}.values()]  # one object under two names is no view
    return any(one.views(two) for number, one in enumerate(reach) for two in reach[:number])


class Links:
    """Who shares memory with whom among live values; walks are remembered for as long as the caller trusts them.

    Parameters
    ----------
    trusted : callable
        Whether a name's value is certainly as it was when it was last looked at.
    """

    def __init__(self, trusted: Callable[[str, object], bool]) -> None:
        self._trusted = trusted
        self._known: dict[str, tuple[object, Reach]] = {}

    def with_(
        self,
        names: Iterable[str],
        values: Mapping[str, Any],
        meets: Callable[[Reach, Reach], bool] = Reach.meets,
    ) -> frozenset[str]:
        """The names whose values share memory with those of `names`, which are included if they are bound."""
        wanted = [n for n in names if n in values]
        if all(stands_alone(values[n]) for n in wanted):
            return frozenset(wanted)
        return linked(wanted, values, {n: self._of(n, v) for n, v in values.items()}, meets)

    def groups(self, names: Iterable[str], values: Mapping[str, Any]) -> frozenset[frozenset[str]]:
        """Those of `names` that one stored piece has to hold with others, with all of these."""
        wanted = [n for n in names if n in values and not stands_alone(values[n])]
        if not wanted:
            return frozenset()
        reach = {n: self._of(n, v) for n, v in values.items()}
        found = (linked((n,), values, reach, Reach.stored_with) for n in wanted)
        return frozenset(g for g in found if len(g) > 1)

    def code(self, names: Iterable[str], values: Mapping[str, Any]) -> list[Any]:
        """The values of names, and the notebook's and local modules' functions and classes below them."""
        found: list[Any] = []
        for name in names:
            if name in values:
                value = values[name]
                held = isinstance(value, tuple | frozenset) and stands_alone(value)
                found += value, *(reachable(value) if held else self._of(name, value)).code
        return found

    def _of(self, name: str, value: object) -> Reach:
        if stands_alone(value):
            return NOWHERE
        found = self._known.get(name)
        if found is not None and found[0] is value and self._trusted(name, value):
            return found[1]
        fresh = reachable(value)
        self._known[name] = (value, fresh)
        return fresh


def stands_alone(value: object) -> bool:
    """Whether no change of another name's value can change this one: it is immutable, or code without state."""
    if isinstance(value, types.ModuleType | types.BuiltinFunctionType):
        return True
    return is_immutable(value)
