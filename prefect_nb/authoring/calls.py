"""Who is calling: which visit of which cell a function task is called from, carried by a context variable.

The one ambient value of the package, read only on this floor.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.core.spec import VisitId

__all__ = ["Caller", "adopt", "calling", "current", "home"]


@dataclass(slots=True)
class Caller:
    """The visit that is running now, and how often it called each function.

    Parameters
    ----------
    flow : LiveFlow
        The kernel's notebook.
    visit : VisitId, optional
        The cell's visit; None in a plain cell.
    cell : str
        The cell's id.
    """

    flow: LiveFlow
    visit: VisitId | None
    cell: str = ""
    calls: dict[str, Any] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """How often this visit called `name` before; safe from any thread."""
        number: int = next(self.calls.setdefault(name, count()))
        return number


_current: ContextVar[Caller | None] = ContextVar("prefect_nb_caller", default=None)
_home: list[LiveFlow] = []


@contextmanager
def calling(caller: Caller) -> Iterator[None]:
    """Make `caller` the one whom function tasks belong to."""
    reset = _current.set(caller)
    try:
        yield
    finally:
        _current.reset(reset)


def current() -> Caller | None:
    """Who is calling, if anybody is."""
    return _current.get()


def adopt(flow: LiveFlow | None) -> None:
    """Make a kernel's notebook the home of function tasks that are called outside of any task cell."""
    _home[:] = [] if flow is None else [flow]


def home() -> LiveFlow | None:
    """The kernel's notebook, None where the extension is not loaded."""
    return _home[0] if _home else None
