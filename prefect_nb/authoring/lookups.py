"""A view of the namespace that notes which names code looks up; for bodies whose reads nobody can foresee.

It stands in for the locals of a body at module level. Functions look their globals up elsewhere and are not seen; their
source says what they read.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

__all__ = ["Lookups"]


class Lookups(MutableMapping[str, Any]):
    """The user's namespace, with the names that were found in it on demand in `read`."""

    def __init__(self, user: MutableMapping[str, Any]) -> None:
        self._user = user
        self._bound: set[str] = set()
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        value = self._user[name]
        if name not in self._bound:
            self.read.add(name)
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        self._bound.add(name)
        self._user[name] = value

    def __delitem__(self, name: str) -> None:
        del self._user[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._user)

    def __len__(self) -> int:
        return len(self._user)
