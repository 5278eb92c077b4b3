"""A body as a transaction on the namespace: what it changed, and how to undo that.

Before the body: which names exist, and an image of each input that it might change in place, with everything that
shares memory with one. After it: what was bound, unbound and changed; or, if it failed, everything as it was. An input
too large to copy and not stored is *guarded*: a change is noticed and told, but cannot be undone.

Knows the namespace and values; not the shell's loop, not the engine.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_nb.analysis.names import Names
from prefect_nb.analysis.values import is_immutable, own_fingerprint, size_of
from prefect_nb.authoring.footprint import bound_late, is_shells, late_names
from prefect_nb.authoring.namespace import Namespace
from prefect_nb.authoring.sharing import is_code
from prefect_nb.authoring.versions import Version
from prefect_nb.errors import Unhashable

__all__ = ["Changes", "Transaction"]

BUDGET = 256 << 20


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
    unforeseen : frozenset of str
        The names among `mutated` that were no inputs: their content before is not in the key.
    state : frozenset of str
        Functions and classes that keep a state of their own, which it changed.
    kept : frozenset of str
        The names among `bound` that it could have bound and left as it found them.
    """

    bound: Mapping[str, Any]
    deleted: frozenset[str]
    mutated: frozenset[str]
    unhashable: Mapping[str, str] = field(default_factory=dict)
    unforeseen: frozenset[str] = frozenset()
    state: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()


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
        self.before = {n: v for n, v in ns.user.items() if not is_shells(n)}
        self.reached = ns.reached(names)
        self._images: dict[str, _Image] = {}
        self._unhashable: dict[str, str] = {}
        self._copies: dict[int, Any] = {}
        inputs = {n for n in names.reads | names.deletes if n in ns.user}
        inputs |= {n for n in late_names(ns.kin.code(inputs)) if n in ns.user}
        self._bound_late = bound_late(ns.kin.code(inputs))
        looked_at = _only_looked_at(tree)
        passive = {n for n in inputs if n in looked_at and _frame(ns.user[n])}
        self.inputs = frozenset(inputs)
        for name in sorted(ns.kin.linked(inputs - passive) - passive):
            value = ns.user.get(name)
            if not is_immutable(value):
                self._take(name, value, producers.get(name) or ns.writer(name) or "")

    @property
    def guarded(self) -> tuple[str, ...]:
        """Inputs that are watched but could not be rolled back."""
        return tuple(n for n, image in self._images.items() if image.guarded)

    def _take(self, name: str, value: object, producer: str) -> None:
        try:
            digest = self._ns.fingerprint(name)
        except Unhashable as error:
            if not is_code(value):
                self._unhashable[name] = error.message
            return
        version = self._ns.version(producer, name)
        if version is not None and version.address and version.fingerprint == digest:
            self._images[name] = _Image(value, digest, stored=version)
            return
        if size_of(value) > BUDGET and not _frame(value):
            self._images[name] = _Image(value, digest, guarded=True)
            return
        try:
            copied = self._copy(value)
        except Exception:  # any class may refuse to be copied in its own way
            self._images[name] = _Image(value, digest, guarded=True)
        else:
            self._images[name] = _Image(value, digest, copied=copied)

    def _copy(self, value: Any) -> object:
        if is_code(value):
            return [copy.deepcopy(part, self._copies) for part in _state_of(value)]
        if type(value).__module__.startswith("pandas") and _frame(value):
            return value.copy(deep=False)  # both copy on write
        return copy.deepcopy(value, self._copies)

    # --- after it returned -------------------------------------------------------------------------------------------

    def changes(self) -> Changes:
        """What the body did to the namespace, by looking, not by guessing; fingerprints of what it left are known."""
        ns, before = self._ns, self.before
        now = {n: v for n, v in ns.user.items() if not is_shells(n)}
        lost = ns.ran(self._names, self.reached)
        deleted = frozenset(n for n in before if n not in now)
        asked = self._names.writes | self._bound_late
        bound = {n: v for n, v in now.items() if n not in before or before[n] is not v or n in asked}
        mutated: set[str] = set()
        for name, image in self._images.items():
            if self._changed(name, image):
                mutated |= {n for n, v in now.items() if v is image.value} | ({name} & set(now))
        unforeseen = ns.altered({n: k for n, k in lost.items() if n not in self._images and n not in bound})
        mutated |= unforeseen
        self._keep(frozenset(bound) | deleted, frozenset(mutated))
        state = frozenset(n for n in mutated if is_code(now[n]) and n not in bound)
        # a plain cell's function keeps its state where it is; a task's gets a version, or its reader would make it anew
        ours = {n for n in state if ns.version(ns.writer(n) or "", n) is not None}
        bound |= {n: now[n] for n in (mutated - state) | ours}
        maybe = {n for n in bound if n in before and before[n] is bound[n] and n not in mutated}
        kept = frozenset(maybe - self._names.must_write)
        return Changes(bound, deleted, frozenset(mutated), self._unhashable, unforeseen, state, kept)

    def _keep(self, replaced: frozenset[str], mutated: frozenset[str]) -> None:
        """Hold what plain cells had made of the names that this body replaced or changed."""
        for name in replaced | mutated:
            if name not in self.before:
                continue
            value, image = self.before[name], self._images.get(name)
            if name in mutated:
                if image is not None and image.copied is not None and not is_code(value):
                    self._ns.keep(name, image.copied, image.digest)
                continue
            try:
                self._ns.keep(name, value, image.digest if image is not None else own_fingerprint(value))
            except Unhashable:
                self._ns.keep(name, value, "")

    def _changed(self, name: str, image: _Image) -> bool:
        if image.copied is not None and _same_blocks(image.value, image.copied):
            self._ns.confirm(name, image.value, image.digest)
            return False
        try:
            digest = own_fingerprint(image.value)
        except Unhashable:
            return True
        self._ns.confirm(name, image.value, digest)
        return digest != image.digest

    # --- after it did not --------------------------------------------------------------------------------------------

    def rollback(self) -> tuple[str, ...]:
        """Put every name and every input back as it was; the inputs that could not be."""
        user, stuck = self._ns.user, []
        for name in [n for n in user if not is_shells(n) and n not in self.before]:
            del user[name]
        user.update(self.before)
        lost = self._ns.ran(self._names, self.reached)
        for name, image in self._images.items():
            if user.get(name) is not image.value or not self._changed(name, image):
                continue
            if is_code(image.value):
                stuck += [] if _refill_state(image.value, image.copied) else [name]
            elif image.stored is not None:
                self._reload(image)
            elif image.guarded:
                stuck.append(name)
            else:
                aliases = [n for n, v in user.items() if v is image.value]
                if not _refill(image.value, image.copied):
                    user.update(dict.fromkeys(aliases, image.copied))
                for other in aliases:  # what was found out about the changed value no longer holds
                    self._ns.confirm(other, user[other], image.digest)
        stuck += sorted(self._ns.altered({n: k for n, k in lost.items() if n not in self._images}))
        return tuple(stuck)

    def _reload(self, image: _Image) -> None:
        assert image.stored is not None
        version, user = image.stored, self._ns.user
        writers = {n: self._ns.writer(n) for n, v in user.items() if v is image.value}
        for other in writers:
            user.pop(other)
        self._ns.put_back(version.cell, version.name)
        self._ns.materialize((version.name,))
        for other in writers:
            user.setdefault(other, user[version.name])


def _state_of(code: Any) -> list[Any]:
    """The parts of a function or class that can change."""
    if isinstance(code, type):
        return [{n: v for n, v in vars(code).items() if not n.startswith("__") and not is_code(v)}]
    found = [*(code.__defaults__ or ()), *(code.__kwdefaults__ or {}).values()]
    for cell in code.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            continue
    return [*(f for f in found if not is_code(f)), dict(code.__dict__)]


def _refill_state(code: Any, copied: Any) -> bool:
    """Give a function's defaults and captured values, or a class's attributes, their old content."""
    if isinstance(code, type):
        for name in _state_of(code)[0].keys() - copied[0].keys():
            delattr(code, name)
        for name, value in copied[0].items():
            setattr(code, name, value)
        return True
    parts = _state_of(code)
    done = [_refill(part, old) or part == old for part, old in zip(parts[:-1], copied[:-1], strict=True)]
    code.__dict__.clear()
    code.__dict__.update(copied[-1])
    return all(done)


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


def _same_blocks(value: Any, copied: Any) -> bool:
    """Whether a table still consists of the very arrays of its lazy copy: on writing, pandas 3 replaces them."""
    ours, theirs = getattr(value, "_mgr", None), getattr(copied, "_mgr", None)
    if ours is None or theirs is None or type(value) is not type(copied):
        return False
    blocks, others = getattr(ours, "blocks", ()), getattr(theirs, "blocks", ())
    if len(blocks) != len(others) or any(str(b.dtype) == "object" for b in blocks):
        return False
    same = all(b.values is o.values for b, o in zip(blocks, others, strict=True))
    axes = all(x.is_(y) and x.names == y.names for x, y in zip(value.axes, copied.axes, strict=True))
    return same and axes and value.attrs == copied.attrs and getattr(value, "name", 0) == getattr(copied, "name", 0)


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
