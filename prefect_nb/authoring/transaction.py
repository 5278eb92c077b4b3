"""A body as a transaction on the namespace: what it changed, and how to undo that.

Before the body: which names exist, and an image of each input that it might change in place. After it: what was bound,
unbound and changed; or, if it failed, everything as it was. An input too large to copy and not stored is *guarded*: a
change is noticed and told, but cannot be undone.

Knows the namespace and values; not the shell's loop, not the engine.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_nb.analysis.names import Names
from prefect_nb.analysis.values import fingerprint, is_immutable, size_of
from prefect_nb.authoring.keys import is_code
from prefect_nb.authoring.namespace import Namespace, Version, late_names
from prefect_nb.errors import Unhashable

__all__ = ["Changes", "Transaction"]

BUDGET = 256 << 20
_SHELL = re.compile(r"_+|_i+|_i?\d+|In|Out|_[oid]h|exit|quit|get_ipython|open|__\w+__")


@dataclass(frozen=True, slots=True)
class Changes:
    """What a body left behind.

    Parameters
    ----------
    bound : mapping
        Names it bound or changed in place, with their values.
    deleted : frozenset of str
        Names it unbound.
    mutated : frozenset of str
        The names among `bound` that it changed in place.
    unhashable : mapping
        Inputs whose change could not be checked, and why.
    """

    bound: Mapping[str, Any]
    deleted: frozenset[str]
    mutated: frozenset[str]
    unhashable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Image:
    value: object
    digest: str
    copied: object = None
    stored: Version | None = None
    guarded: bool = False


class Transaction:
    """One attempt of one body.

    Parameters
    ----------
    ns : Namespace
        With every input in place.
    names : Names
        The body's analysis.
    tree : ast.Module
        The body's syntax, to tell inputs that are only looked at from those that may be changed.
    producers : mapping
        The cell that made each input.
    """

    def __init__(self, ns: Namespace, names: Names, tree: ast.Module, producers: Mapping[str, str]) -> None:
        self._ns = ns
        self._names = names
        self.before = {n: v for n, v in ns.user.items() if not _SHELL.fullmatch(n)}
        self._images: dict[str, _Image] = {}
        self._unhashable: dict[str, str] = {}
        inputs = {n for n in names.reads | names.deletes if n in ns.user}
        inputs |= {n for n in late_names(ns.user.get(n) for n in inputs) if n in ns.user}
        looked_at = _only_looked_at(tree)
        for name in sorted(inputs):
            value = ns.user[name]
            if is_code(value) or is_immutable(value) or (name in looked_at and _frame(value)):
                continue
            self._take(name, value, producers.get(name, ""))

    @property
    def guarded(self) -> tuple[str, ...]:
        """Inputs that are watched but could not be rolled back."""
        return tuple(n for n, image in self._images.items() if image.guarded)

    def _take(self, name: str, value: object, producer: str) -> None:
        try:
            digest = self._ns.fingerprint(name)
        except Unhashable as error:
            self._unhashable[name] = error.message
            return
        version = self._ns.version(producer, name)
        if version is not None and version.address and version.fingerprint == digest:
            self._images[name] = _Image(value, digest, stored=version)
            return
        copied, guarded = None, size_of(value) > BUDGET
        if not guarded:
            try:
                copied = copy.deepcopy(value)
            except Exception:  # any class may refuse to be copied in its own way
                guarded = True
        self._images[name] = _Image(value, digest, copied=copied, guarded=guarded)

    def changes(self) -> Changes:
        """What the body did to the namespace, by looking, not by guessing."""
        user, before = self._ns.user, self.before
        now = {n: v for n, v in user.items() if not _SHELL.fullmatch(n)}
        deleted = frozenset(n for n in before if n not in now)
        bound = {n: v for n, v in now.items() if n not in before or before[n] is not v or n in self._names.writes}
        mutated: set[str] = set()
        for name, image in self._images.items():
            if self._changed(image):
                mutated |= {n for n, v in now.items() if v is image.value}
                mutated |= {name} & set(now)
        bound |= {n: now[n] for n in mutated}
        return Changes(bound, deleted, frozenset(mutated), self._unhashable)

    def left(self) -> dict[str, Any]:
        """What the body bound so far, and its inputs, for people who ask why it failed."""
        user, before = self._ns.user, self.before
        new = {n: v for n, v in user.items() if not _SHELL.fullmatch(n) and (n not in before or before[n] is not v)}
        return {**{n: user[n] for n in self._names.reads if n in user}, **new}

    def _changed(self, image: _Image) -> bool:
        try:
            return fingerprint(image.value) != image.digest
        except Unhashable:
            return True

    def rollback(self) -> tuple[str, ...]:
        """Put every name and every input back as it was; the inputs that could not be."""
        user, stuck = self._ns.user, []
        for name in [n for n in user if not _SHELL.fullmatch(n) and n not in self.before]:
            del user[name]
        user.update(self.before)
        for name, image in self._images.items():
            if not self._changed(image):
                continue
            if image.stored is not None:
                for other in [n for n, v in user.items() if v is image.value]:
                    self._ns.drop(other)
                self._ns.promise(image.stored)
                self._ns.materialize((name,))
            elif image.guarded:
                stuck.append(name)
            elif not _refill(image.value, image.copied):
                for other in [n for n, v in user.items() if v is image.value]:
                    user[other] = image.copied
        return tuple(stuck)


def _refill(value: Any, copied: Any) -> bool:
    """Give a changed container its old content in place, so that every alias sees it; False if it has no such way."""
    if type(value) is list:
        value[:] = copied
    elif type(value) in (dict, set):
        value.clear()
        value.update(copied)
    elif type(value) is bytearray:
        value[:] = copied
    elif type(value).__module__ == "numpy" and type(value).__name__ == "ndarray" and value.shape == copied.shape:
        if value.dtype != copied.dtype or not value.flags.writeable:
            return False
        value[...] = copied
    else:
        return False
    return True


def _frame(value: object) -> bool:
    """Whether methods and subscripts of this value never change it (pandas 3 copies on write; polars is immutable)."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    if library == "pandas":
        import pandas  # loaded already: the value is one of its own

        return int(pandas.__version__.partition(".")[0]) >= 3
    return library in ("polars", "pyarrow")


_CHANGERS = frozenset(
    {"insert", "pop", "update", "drop_duplicates", "drop", "rename", "set_index", "reset_index", "sort_values"}
    | {"sort_index", "fillna", "replace", "clip", "dropna", "ffill", "bfill", "mask", "where", "eval", "set_flags"}
    | {"at", "iat", "loc", "iloc", "attrs", "values", "flags", "columns", "index"}
)


def _only_looked_at(tree: ast.Module) -> frozenset[str]:
    """Names that every use only subscripts for reading or calls harmless methods of."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    seen: dict[str, bool] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            seen[node.id] = seen.get(node.id, True) and _harmless(node, parents)
    return frozenset(name for name, harmless in seen.items() if harmless)


def _harmless(node: ast.Name, parents: Mapping[ast.AST, ast.AST]) -> bool:
    parent = parents.get(node)
    if isinstance(parent, ast.Subscript) and parent.value is node:
        return isinstance(parent.ctx, ast.Load)
    if not isinstance(parent, ast.Attribute) or not isinstance(parent.ctx, ast.Load):
        return False
    if parent.attr not in _CHANGERS:
        return True
    above = parents.get(parent)
    if isinstance(above, ast.Call) and above.func is parent and parent.attr not in ("insert", "pop", "update"):
        return all(k.arg is not None and k.arg != "inplace" for k in above.keywords)
    if parent.attr in ("columns", "index", "values", "loc", "iloc", "at", "iat"):
        outer = parents.get(parent)
        return not isinstance(outer, ast.Subscript) or isinstance(outer.ctx, ast.Load)
    return False
