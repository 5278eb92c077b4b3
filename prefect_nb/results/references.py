"""References to what a notebook defines: a name and a fingerprint of the definition.

Knows code objects; must not know pickles, envelopes or stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import CellType, CodeType, FunctionType
from typing import Any

from blake3 import blake3

from prefect_nb.errors import ResultUnavailable

__all__ = [
    "NOTEBOOK",
    "NotebookGlobals",
    "fill_function",
    "fingerprint",
    "make_function",
    "named",
    "notebook_reference",
]

NOTEBOOK = "__main__"
_BORING = frozenset(
    {"__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__", "__slotnames__"}
    # what an enumeration remembers of the values that were asked of it
    | {"_value2member_map_", "_hashable_values_", "_unhashable_values_", "_unhashable_values_map_"}
)
# Varied arguments, generators and coroutines; the rest says how the code was compiled, not what it does.
_TELLING_FLAGS = 0x3AC


def notebook_reference(name: str, expected: str) -> Any:
    """Stand in a pickle for a definition of the notebook; only our own reader can follow it."""
    raise ResultUnavailable(f"a stored result refers to {name} of a notebook and was read outside one", name=name)


class NotebookGlobals:
    """Stands in a pickle for the notebook's namespace, in which a function without a name looks names up."""

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return notebook_reference, ("", "")


def make_function(code: CodeType, namespace: dict[str, Any], closure: tuple[CellType, ...] | None) -> FunctionType:
    """A function of the notebook that has no name there, as a lambda in a list; its state follows."""
    return FunctionType(code, namespace, closure=closure)


def fill_function(function: FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Give a function that :func:`make_function` made its attributes, defaults and captured values."""
    attributes, slots = state
    function.__dict__.update(attributes)
    for name, value in slots.items():
        if name != "__closure__":
            setattr(function, name, value)
    for cell, old in zip(function.__closure__ or (), slots["__closure__"] or (), strict=True):
        try:
            cell.cell_contents = old.cell_contents
        except ValueError:  # it was empty
            continue


def named(namespace: Mapping[str, Any], name: str) -> Any:
    """The object of a dotted name, or None."""
    first, *rest = name.split(".")
    found = namespace.get(first)
    for part in rest:
        found = getattr(found, part, None)
    return found


def fingerprint(definition: Any) -> str:
    """Equal for equal definitions of a class or function, wherever and whenever they were executed."""
    return str(blake3(repr(_shape(definition)).encode("utf-8", "backslashreplace")).hexdigest()[:16])


def _shape(item: Any) -> Any:
    if isinstance(item, CodeType):
        return (
            item.co_name,
            item.co_code,
            item.co_names,
            item.co_varnames,
            item.co_freevars,
            item.co_argcount,
            item.co_flags & _TELLING_FLAGS,
            [_shape(const) for const in item.co_consts],
        )
    if isinstance(item, FunctionType):
        return "function", _shape(item.__code__), _shape(item.__defaults__), _shape(item.__kwdefaults__)
    if isinstance(item, classmethod | staticmethod):
        return type(item).__name__, _shape(item.__func__)
    if isinstance(item, property):
        return "property", [_shape(part) for part in (item.fget, item.fset, item.fdel)]
    if isinstance(item, type) and item.__module__ != NOTEBOOK:
        return "class", item.__module__, item.__qualname__
    if isinstance(item, type):
        bases = [f"{base.__module__}.{base.__qualname__}" for base in item.__bases__]
        members = [(name, _shape(part)) for name, part in sorted(vars(item).items()) if name not in _BORING]
        return "class", item.__qualname__, bases, members
    if isinstance(item, tuple | list):
        return [type(item).__name__, *map(_shape, item)]
    if isinstance(item, set | frozenset):
        return [type(item).__name__, *sorted(repr(_shape(part)) for part in item)]
    if isinstance(item, dict):
        return ["dict", *((repr(key), _shape(part)) for key, part in item.items())]
    if item is None or isinstance(item, bool | int | float | complex | str | bytes | type(...)):
        return repr(item)
    return type(item).__qualname__
