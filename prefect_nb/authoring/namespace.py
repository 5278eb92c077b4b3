"""The kernel's namespace by versions: which cell made the value that a name holds, and what its fingerprint is.

Rules of this room
------------------
* A name may be *pending*: its value is known by fingerprint and stored, and is loaded when somebody reads it.
* A fingerprint is remembered only until user code ran that could have reached the value, and never while a thread that
  user code started still runs.
* A task gets the version that its edge names; if the namespace holds another one, it is put back first.
* Names that shared memory when a version was made are put back together, from one load, so that they share it again.

Knows values and versions; not the shell, not the engine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any

from prefect_nb.analysis.names import Names
from prefect_nb.analysis.values import is_immutable, own_fingerprint, size_of
from prefect_nb.authoring.footprint import is_shells, roams, touched
from prefect_nb.authoring.kin import Kin
from prefect_nb.authoring.versions import Version
from prefect_nb.errors import ResultUnavailable, Unhashable

__all__ = ["Namespace", "Version"]

_HELD = 64 << 20


class Namespace:
    """Names, versions and fingerprints of one kernel; used by the kernel's main thread only.

    Parameters
    ----------
    user : mutable mapping
        The shell's namespace.
    load : callable
        Address of stored values to the values themselves, by name; raises ResultUnavailable.

    Attributes
    ----------
    threads : list of Thread
        The user's own that may still run.
    writers : dict
        The cell that bound or changed a name last.
    kin : Kin
        Which names share memory.
    """

    def __init__(self, user: MutableMapping[str, Any], load: Callable[[str], dict[str, Any]]) -> None:
        self.user = user
        self.threads: list[threading.Thread] = []
        self._load = load
        self._pending: dict[str, Version] = {}
        self._versions: dict[tuple[str, str], Version] = {}
        self.writers: dict[str, str] = {}
        self._known: dict[str, tuple[object, str]] = {}
        self._kept: dict[tuple[str, str], tuple[object, str]] = {}
        self.kin = Kin(user, self._pending, self._trusted, self.materialize)

    # --- reading -------------------------------------------------------------------------------------------------

    def __contains__(self, name: str) -> bool:
        return name in self._pending or name in self.user

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
        if known is not None and known[0] is value and not self._unsettled():
            return known[1]
        try:
            digest = own_fingerprint(value)
        except Unhashable as error:
            raise Unhashable(f"{name}: {error.message}", hint=error.hint, name=name) from None
        self._known[name] = (value, digest)
        return digest

    def confirm(self, name: str, value: object, digest: str) -> None:
        """Somebody has just computed this fingerprint of a name's value."""
        if self.user.get(name) is value:
            self._known[name] = (value, digest)

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
            try:
                values = self._load(version.address)
            except ResultUnavailable:
                self._lose(version.address)
                raise
            for other, theirs in list(self._pending.items()):
                if theirs.address == version.address and other in values and other not in self.user:
                    del self._pending[other]
                    self.user[other] = values[other]
                    self._known[other] = (values[other], theirs.fingerprint)

    def _lose(self, address: str) -> None:
        """What lies at an address cannot be read: forget that it does, so that its task is run again."""
        for name in [n for n, v in self._pending.items() if v.address == address]:
            del self._pending[name]
        for key, version in self._versions.items():
            if version.address == address:
                self._versions[key] = replace(version, address="")

    def materialize_all(self) -> None:
        """Load everything that is pending: the code to come may look anywhere."""
        self.materialize(tuple(self._pending))

    def _trusted(self, name: str, value: object) -> bool:
        known = self._known.get(name)
        return known is not None and known[0] is value and not self._unsettled()

    def _unsettled(self) -> bool:
        """Whether a thread of the user's own still runs, so that nothing stays as it was seen."""
        if self.threads:
            self.threads = [t for t in self.threads if t.is_alive()]
        return bool(self.threads)

    # --- versions ------------------------------------------------------------------------------------------------

    def version(self, cell: str, name: str) -> Version | None:
        """The version of `name` that `cell` made last, if this kernel knows it."""
        return self._versions.get((cell, name))

    def writer(self, name: str) -> str | None:
        """The cell that bound or changed `name` last."""
        return self.writers.get(name)

    def made(self, version: Version) -> None:
        """Record that a cell just bound a name (its value is in the namespace)."""
        name = version.name
        self._versions[version.cell, name] = version
        self.writers[name] = version.cell
        self._pending.pop(name, None)
        self._kept.pop((version.cell, name), None)
        if name not in self.user:
            return
        value = self.user[name]
        if version.fingerprint:
            self._known[name] = (value, version.fingerprint)
        if not version.address and (not version.fingerprint or size_of(value) <= _HELD):
            self._kept[version.cell, name] = (value, version.fingerprint)

    def promise(self, versions: Iterable[Version], carried: Iterable[Version] = ()) -> None:
        """Record that a cell's stored values stand behind names; keep the live objects if all of a group are equal.

        `carried` are versions of other cells that were stored once more beside these because they share their memory.
        """
        versions = tuple(versions)
        for each in carried:
            old = self._versions.get((each.cell, each.name))
            if old is not None and old.fingerprint == each.fingerprint:
                self._versions[each.cell, each.name] = each
        self._versions.update({(v.cell, v.name): v for v in versions})
        for version in versions:
            members = (version, *self._members(version))
            if not all(self._live(m) for m in members):
                for each in members:
                    if each is version or self.writers.get(each.name) == each.cell:
                        self._expect(each)
            self.writers[version.name] = version.cell

    def replace_plain(self, version: Version) -> None:
        """Expect an equal value in place of what a plain cell made, since a stored one shares its memory."""
        name = version.name
        if self.writers.get(name) == version.cell and self._is(version) and not self._together(version):
            self._expect(version)

    def _members(self, version: Version) -> list[Version]:
        """The other values of a group as they lie at the version's address, as far as they are still their cells'."""
        found = []
        for cell, name, digest in version.group:
            known = self._versions.get((cell, name))
            here = Version(cell, name, digest, version.address, known.group if known is not None else ())
            if known.fingerprint == digest if known is not None else self.writers.get(name) == cell and self._is(here):
                found.append(here)
        return found

    def _live(self, version: Version) -> bool:
        known = self._known.get(version.name)
        same = known is not None and known[0] is self.user.get(version.name) and known[1] == version.fingerprint
        return same and self._shares(version, {version.name, *(n for _, n, _ in version.group)})

    def _together(self, version: Version) -> bool:
        """Whether the names of a group share their memory now."""
        wanted = {n for _, n, _ in version.group}
        return not wanted or wanted <= self.kin.with_live(version.name)

    def _shares(self, version: Version, group: set[str]) -> bool:
        """Whether an equal value shares its memory with its group, and, if another cell bound it, with nobody else."""
        if version.name in self._pending:
            return self._pending[version.name].address == version.address
        now = self.kin.with_live(version.name)
        return group <= now if self.writers.get(version.name) == version.cell else group == now

    def _expect(self, version: Version) -> None:
        if self.writers.get(version.name, version.cell) != version.cell and version.name in self.user:
            try:
                self.keep(version.name, self.user[version.name], self.fingerprint(version.name))
            except Unhashable:
                self.keep(version.name, self.user[version.name], "")
        self.user.pop(version.name, None)
        self._known.pop(version.name, None)
        self._pending[version.name] = version

    def wrote_plain(self, cell: str, names: Iterable[str]) -> None:
        """Record that a plain cell just bound or changed names; their fingerprints are computed when somebody asks."""
        for name in names:
            self.writers[name] = cell
            self._pending.pop(name, None)
            self._known.pop(name, None)
            self._kept.pop((cell, name), None)
            self._versions.pop((cell, name), None)

    def drop(self, name: str) -> None:
        """Unbind a name."""
        self.user.pop(name, None)
        self._pending.pop(name, None)
        self._known.pop(name, None)
        self.writers.pop(name, None)

    def unmake(self, cell: str, name: str) -> None:
        """A cell no longer makes a name; what it made goes, if it is still in place."""
        self._versions.pop((cell, name), None)
        self._kept.pop((cell, name), None)
        if self.writers.get(name) == cell:
            self.drop(name)

    def forget_cell(self, cell: str) -> None:
        """A cell left the document: the names that it bound last go with it."""
        for name in [n for n, c in self.writers.items() if c == cell]:
            self.drop(name)
        for table in (self._versions, self._kept):
            for key in [k for k in table if k[0] == cell]:
                del table[key]

    def keep(self, name: str, value: object, digest: str) -> None:
        """Before what a plain cell made is lost: hold its value, since a plain cell is never run by us."""
        cell = self.writers.get(name)
        if cell is not None and (cell, name) not in self._versions:
            self._kept[cell, name] = (value, digest)

    def put_back(self, cell: str, name: str, but: Callable[[Version], bool] = lambda version: False) -> bool:
        """Bind `name` to the version that `cell` made; False if that version is gone.

        What shares memory with it is put back too, `but` for versions that something later replaced.
        """
        version = self._versions.get((cell, name))
        if version is None:
            if self.writers.get(name, cell) == cell and name in self:
                return True
            return self._take_kept(cell, name)
        group = (version, *(m for m in self._members(version) if not but(m)))
        if all(self._is(v) for v in group) and self._shares(version, {v.name for v in group}):
            self.writers[name] = cell
            return True
        if not version.address:
            return self._take_kept(cell, name)
        for each in group:
            self._expect(each)
            self.writers[each.name] = each.cell
        return True

    def _is(self, version: Version) -> bool:
        name = version.name
        if name not in self:
            return False
        if not version.fingerprint:
            kept = self._kept.get((version.cell, name))
            return kept is not None and self.user.get(name) is kept[0]
        try:
            return self.fingerprint(name) == version.fingerprint
        except Unhashable:
            return False

    def _take_kept(self, cell: str, name: str) -> bool:
        kept = self._kept.get((cell, name))
        if kept is None or (kept[1] and own_fingerprint(kept[0]) != kept[1]):
            return False
        self._pending.pop(name, None)
        self._known.pop(name, None)
        self.user[name] = kept[0]
        if kept[1]:
            self._known[name] = kept
        self.writers[name] = cell
        return True

    # --- what user code may have changed ---------------------------------------------------------------------------

    def reached(self, names: Names | None) -> frozenset[str]:
        """The names whose values code can get at now; asked before and after it ran, since it may cut links."""
        if names is None or roams(names, self.kin.code):
            return frozenset(n for n in self.user if not is_shells(n))
        return self.kin.linked(touched(names, self.kin.code))

    def ran(self, names: Names | None, before: frozenset[str]) -> Mapping[str, tuple[object, str]]:
        """User code ran: forget the fingerprints of everything that it could have reached; what was forgotten."""
        reached = before | self.reached(names)
        kept, lost = {}, {}
        for name, known in self._known.items():
            same = self.user.get(name) is known[0]
            if same and (name not in reached or is_immutable(known[0])):
                kept[name] = known
            else:
                lost[name] = known
        self._known = kept
        return lost

    def altered(self, lost: Mapping[str, tuple[object, str]]) -> frozenset[str]:
        """The names among those forgotten that still hold the same object with another content."""
        found = set()
        for name, (value, digest) in lost.items():
            if self.user.get(name) is not value or name in self._known:
                continue
            try:
                if self.fingerprint(name) != digest:
                    found.add(name)
            except Unhashable:
                found.add(name)
        return frozenset(found)
