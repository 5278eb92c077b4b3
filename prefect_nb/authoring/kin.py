"""Which names of a kernel belong together: whose values share memory, or lie in one stored piece until they are read.

Knows live values and what is pending; not which version a name should have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prefect_nb.analysis.values import FOLLOWS
from prefect_nb.authoring.footprint import is_shells
from prefect_nb.authoring.sharing import Links, Reach
from prefect_nb.authoring.versions import Version

__all__ = ["Kin"]


class Kin:
    """The names of one namespace by what they share.

    Parameters
    ----------
    user : mapping
        The shell's namespace.
    pending : mapping
        Names whose values are stored and not loaded.
    trusted : callable
        Whether a name's value is certainly as it was when it was last looked at.
    load : callable
        Binds pending names to their values.
    """

    def __init__(
        self,
        user: Mapping[str, Any],
        pending: Mapping[str, Version],
        trusted: Callable[[str, object], bool],
        load: Callable[[Iterable[str]], None],
    ) -> None:
        self._user = user
        self._pending = pending
        self._links = Links(trusted)
        self._load = load

    def linked(self, names: Iterable[str], *, data: bool = False) -> frozenset[str]:
        """The names whose values share memory with those of `names`, which are included if they are bound.

        With `data`, what they have in common by being of one class does not count.
        """
        names = set(names)
        waiting = frozenset[str]().union(*(self._beside(n) for n in names & self._pending.keys()))
        return self._links.with_(names, self._values(), Reach.shares_data if data else Reach.meets) | waiting

    def with_live(self, name: str) -> frozenset[str]:
        """The loaded names whose values share memory with that of this one."""
        return self._links.with_((name,), self._values())

    def shared(self, names: Iterable[str]) -> frozenset[frozenset[str]]:
        """Those of these names whose values share what would be stored, with each other and through no other name."""
        names = frozenset(names)
        values = {n: self._user[n] for n in names if n in self._user}
        found = {self._links.with_((n,), values, Reach.stored_with) for n in values}
        found |= {self._beside(n) & names for n in names & self._pending.keys()}
        return frozenset(g for g in found if len(g) > 1)

    def groups(self, names: Iterable[str]) -> frozenset[frozenset[str]]:
        """Those of these names that have to be stored in one piece with others, with all of these."""
        return self._links.groups(names, self._values())

    def code(self, names: Iterable[str]) -> list[Any]:
        """The values of names with the functions and classes below them; those are loaded that have any.

        Raises
        ------
        ResultUnavailable
            If one of them cannot be read.
        """
        names = set(names)
        self._load([n for n in names & self._pending.keys() if self._pending[n].fingerprint.startswith(FOLLOWS)])
        return self._links.code(names, self._values())

    def _beside(self, name: str) -> frozenset[str]:
        """A pending name with those that are pending in the same stored piece and share its memory."""
        version = self._pending[name]
        members = {name, *(n for _, n, _ in version.group)} & self._pending.keys()
        return frozenset(n for n in members if self._pending[n].address == version.address)

    def _values(self) -> dict[str, Any]:
        return {n: v for n, v in self._user.items() if not is_shells(n)}
