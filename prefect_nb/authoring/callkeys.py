"""The key of one call of a function task: what stays the same for all calls is hashed once.

Knows keys and arguments; not how the function's code is followed, not the store.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from blake3 import blake3

from prefect_nb.analysis.values import fingerprint, is_immutable
from prefect_nb.authoring.keys import Keyed, combine, framed
from prefect_nb.errors import Unhashable

__all__ = ["Arguments", "Binder", "Stem", "changed_argument"]

_PLAIN = (inspect.Parameter.POSITIONAL_OR_KEYWORD,)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one call, defaults included: as the body is given them, and by name."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    named: Mapping[str, Any]


class Binder:
    """Binds the arguments of calls to a function's parameters.

    Parameters
    ----------
    function : callable
        The function; its signature is read once.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._signature = inspect.signature(function)
        parameters = self._signature.parameters
        self._names = tuple(parameters)
        self._plain = all(p.kind in _PLAIN for p in parameters.values())

    def takes(self, name: str) -> bool:
        """Whether it has a parameter of this name."""
        return name in self._names

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
        """The arguments; TypeError if the function could not be called so."""
        if self._plain and not kwargs and len(args) == len(self._names):
            return Arguments(args, kwargs, dict(zip(self._names, args, strict=True)))
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return Arguments(bound.args, bound.kwargs, bound.arguments)


class Stem:
    """What the keys of all calls begin with.

    Parameters
    ----------
    parts : tuple of (kind, name, digest)
        The function's code and what it reaches.
    version : str
        The author's own part of the key; empty if there is none.
    problem : str
        Why there can be no key; empty if there can.
    """

    def __init__(self, parts: tuple[tuple[str, str, str], ...], version: str, problem: str) -> None:
        self.code_key = combine(parts)
        self._parts = (*parts, ("option", "--version", version)) if version else parts
        self._problem = problem
        self._hasher = blake3(b"".join(framed(part) for part in self._parts))

    def key(self, arguments: Mapping[str, Any], target: str = "") -> Keyed:
        """The key of a call with these arguments, and with the file that it makes."""
        rows = [("option", "--target", target)] if target else []
        for name, value in arguments.items():
            try:
                rows.append(("input", name, fingerprint(value)))
            except Unhashable as error:
                return Keyed("", self.code_key, (*self._parts, *rows), self._problem or f"{name}: {error.message}")
        if self._problem:
            return Keyed("", self.code_key, (*self._parts, *rows), self._problem)
        hasher = self._hasher.copy()
        hasher.update(b"".join(map(framed, rows)))
        return Keyed("b3-" + hasher.hexdigest(length=20), self.code_key, (*self._parts, *rows), "")


def changed_argument(keyed: Keyed, bound: Arguments) -> str:
    """An argument that the body changed in place, which a reused result would not do."""
    before: Mapping[str, str] | None = None
    for name, value in bound.named.items():
        if is_immutable(value):
            continue
        if before is None:
            before = {name: digest for kind, name, digest in keyed.parts if kind == "input"}
        try:
            same = fingerprint(value) == before.get(name)
        except Unhashable:
            same = False
        if not same:
            return f"it changes its argument {name}"
    return ""
