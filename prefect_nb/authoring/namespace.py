"""The kernel's namespace by versions: which cell made the value that a name holds, and what its fingerprint is.

Rules of this room
------------------
* A name may be *pending*: its value is known by fingerprint and stored, and is loaded when somebody reads it.
* A fingerprint is remembered only until user code ran that could have reached the value.
* A task gets the version that its edge names; if the namespace holds another one, it is put back first.

Knows values and versions; not the shell, not the engine.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from prefect_nb.analysis.names import Names
from prefect_nb.analysis.values import fingerprint, is_immutable
from prefect_nb.errors import NotAvailable, Unhashable

__all__ = ["Namespace", "Version", "late_names"]

_OWNERS = ("numpy", "pandas", "polars", "pyarrow")


@dataclass(frozen=True, slots=True)
class Version:
    """One cell's binding of a name: its fingerprint, and the address of the values that hold it (empty: not stored)."""

    cell: str
    name: str
    fingerprint: str
    address: str = ""


class Namespace:
    """Names, versions and fingerprints of one kernel; used by the kernel's main thread only.

    Parameters
    ----------
    user : mutable mapping
        The shell's namespace.
    load : callable
        Address of stored values to the values themselves, by name; raises ResultUnavailable.
    """

    def __init__(self, user: MutableMapping[str, Any], load: Callable[[str], dict[str, Any]]) -> None:
        self.user = user
        self._load = load
        self._pending: dict[str, Version] = {}
        self._versions: dict[tuple[str, str], Version] = {}
        self._writer: dict[str, str] = {}
        self._known: dict[str, tuple[object, str]] = {}
        self._kept: dict[tuple[str, str], tuple[object, str]] = {}

    # --- reading -------------------------------------------------------------------------------------------------

    def __contains__(self, name: str) -> bool:
        return name in self._pending or name in self.user

    def value(self, name: str) -> Any:
        """The value of a name, loaded if it is pending."""
        self.materialize((name,))
        return self.user[name]

    def fingerprint(self, name: str) -> str:
        """The fingerprint of a name's value, computed at most once until user code could have changed it.

        Raises
        ------
        Unhashable
            If the value has none; the message names the part at fault.
        """
        if name not in self.user:
            return self._pending[name].fingerprint
        value = self.user[name]
        known = self._known.get(name)
        if known is not None and known[0] is value:
            return known[1]
        try:
            digest = fingerprint(value)
        except Unhashable as error:
            raise Unhashable(f"{name}: {error.message}", hint=error.hint, name=name) from None
        self._known[name] = (value, digest)
        return digest

    def materialize(self, names: Iterable[str]) -> None:
        """Load pending values; names that were stored together are bound together, so that aliases stay aliases.

        Raises
        ------
        ResultUnavailable
            If a value cannot be read; its name stays unbound.
        """
        for name in list(names):
            version = self._pending.get(name)
            if version is None or name in self.user:  # code that ran since then may have bound it anew
                self._pending.pop(name, None)
                continue
            values = self._load(version.address)
            for other, theirs in list(self._pending.items()):
                if theirs.address == version.address and other in values and other not in self.user:
                    del self._pending[other]
                    self.user[other] = values[other]
                    self._known[other] = (values[other], theirs.fingerprint)

    def materialize_all(self) -> None:
        """Load everything that is pending: the code to come may look anywhere."""
        self.materialize(tuple(self._pending))

    # --- versions ------------------------------------------------------------------------------------------------

    def version(self, cell: str, name: str) -> Version | None:
        """The version of `name` that `cell` made last, if this kernel knows it."""
        return self._versions.get((cell, name))

    def writer(self, name: str) -> str | None:
        """The cell that bound or changed `name` last."""
        return self._writer.get(name)

    def made(self, version: Version) -> None:
        """Record that a cell just bound a name (its value is in the namespace)."""
        self._versions[version.cell, version.name] = version
        self._writer[version.name] = version.cell
        self._pending.pop(version.name, None)
        if version.name in self.user:
            self._known[version.name] = (self.user[version.name], version.fingerprint)

    def promise(self, version: Version) -> None:
        """Record that a cell's stored value stands behind a name; keep the live object if it is equal."""
        self._versions[version.cell, version.name] = version
        self._writer[version.name] = version.cell
        known = self._known.get(version.name)
        live = known is not None and known[0] is self.user.get(version.name) and known[1] == version.fingerprint
        if not live:
            self.user.pop(version.name, None)
            self._known.pop(version.name, None)
            self._pending[version.name] = version

    def wrote_plain(self, cell: str, names: Iterable[str]) -> None:
        """Record that a plain cell just bound names; their fingerprints are computed when somebody asks."""
        for name in names:
            self._writer[name] = cell
            self._pending.pop(name, None)
            self._known.pop(name, None)
            self._kept.pop((cell, name), None)

    def drop(self, name: str) -> None:
        """Unbind a name."""
        self.user.pop(name, None)
        self._pending.pop(name, None)
        self._known.pop(name, None)
        self._writer.pop(name, None)

    def forget_cell(self, cell: str) -> None:
        """A cell left the document: the names that it bound last go with it."""
        for name in [n for n, c in self._writer.items() if c == cell]:
            self.drop(name)
        for key in [k for k in self._versions if k[0] == cell]:
            del self._versions[key]

    def keep(self, name: str) -> None:
        """Before a task rebinds what a plain cell made: keep the object, since a plain cell is never run by us."""
        cell = self._writer.get(name)
        if cell is not None and (cell, name) not in self._versions and name in self.user:
            try:
                self._kept[cell, name] = (self.user[name], self.fingerprint(name))
            except Unhashable:
                return

    def put_back(self, cell: str, name: str) -> bool:
        """Bind `name` to the version that `cell` made; False if that version is gone and `cell` has to run again.

        Raises
        ------
        NotAvailable
            If `cell` is a plain cell whose value was overwritten and cannot be restored.
        """
        version = self._versions.get((cell, name))
        if version is None:
            if self._writer.get(name, cell) == cell and name in self:
                return True
            kept = self._kept.get((cell, name))
            if kept is not None and fingerprint(kept[0]) == kept[1]:
                self.user[name], self._known[name] = kept[0], kept
                self._writer[name] = cell
                return True
            return False
        if name in self and self._same(name, version.fingerprint):
            return True
        if not version.address:
            return False
        self.user.pop(name, None)
        self._known.pop(name, None)
        self._pending[name] = version
        self._writer[name] = cell
        return True

    def _same(self, name: str, digest: str) -> bool:
        try:
            return self.fingerprint(name) == digest
        except Unhashable:
            return False

    def missing(self, cell: str, name: str) -> NotAvailable:
        """The error for a name whose plain cell would be needed but has not run, or was overwritten since."""
        return NotAvailable(
            f"{name} comes from a plain cell that has not run in this kernel, or was overwritten since",
            hint="run that cell by hand; plain cells are never run for you",
            name=name,
            cell=cell,
        )

    # --- what user code may have changed ---------------------------------------------------------------------------

    def ran(self, names: Names | None) -> None:
        """User code ran: forget the fingerprints of everything that it could have reached."""
        if names is None or names.dynamic or names.impure_magics or names.star_imports:
            self._known = {n: k for n, k in self._known.items() if is_immutable(k[0]) and self.user.get(n) is k[0]}
            return
        reached = set(names.reads | names.writes | names.deletes | names.mutates)
        reached |= late_names(self.user.get(n) for n in reached)
        values = [self.user.get(n) for n in reached]
        opaque = any(not _closed(v) for v in values)
        ids = {id(v) for v in values}
        kept = {}
        for name, known in self._known.items():
            if self.user.get(name) is not known[0]:
                continue
            safe = _closed(known[0]) and not (name in reached or id(known[0]) in ids or opaque)
            if safe or is_immutable(known[0]):
                kept[name] = known
        self._known = kept


def _closed(value: object) -> bool:
    """Whether a value cannot lead code to other globals' values: it is immutable, code, or owns all it holds."""
    if value is None or isinstance(value, types.ModuleType | types.FunctionType | type | types.BuiltinFunctionType):
        return True
    library = type(value).__module__.partition(".")[0]
    if library in _OWNERS and not _objects(value):
        # before pandas 3 a frame may share its memory with another one
        shares = library == "pandas" and sys.modules["pandas"].__version__.startswith(("0.", "1.", "2."))
        return not shares and getattr(value, "base", None) is None
    return is_immutable(value)


def _objects(value: object) -> bool:
    """Whether an array or frame may hold arbitrary Python objects."""
    dtypes = getattr(value, "dtypes", None)
    if dtypes is None or isinstance(dtypes, tuple):
        dtypes = (getattr(value, "dtype", None),)
    try:
        return any(str(dtype) == "object" for dtype in dtypes)
    except TypeError:
        return str(dtypes) == "object"


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
