"""Who is calling: which visit of which cell a function task is called from, carried by a context variable.

The one ambient value of the package, read only on this floor.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from prefect_nb.authoring.former import Former
from prefect_nb.authoring.ground import Ground
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.nodes import Node
from prefect_nb.core.spec import VisitId

__all__ = ["Caller", "Planner", "adopt", "calling", "current", "enter", "home"]


class Planner(Protocol):
    """A flow whose body is running: calls of tasks become nodes."""

    def call(self, task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Node:
        """Plan a call."""

    def map(self, task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Node:
        """Plan a map."""


@dataclass(slots=True)
class Caller:
    """The visit that is running now, and how often it called each function.

    Parameters
    ----------
    flow : Ground
        The kernel's notebook, or the run of a flow of functions.
    visit : VisitId, optional
        The visit; None in a plain cell, and in the body of a flow.
    cell : str
        The cell's id.
    plan : Planner, optional
        In the body of a flow: what makes nodes of calls.
    former : Former, optional
        What a run had before it was resumed.
    """

    flow: Ground
    visit: VisitId | None
    cell: str = ""
    plan: Planner | None = None
    former: Former | None = None
    calls: dict[str, Any] = field(default_factory=dict)
    pid: int = field(default_factory=os.getpid)

    def number(self, name: str) -> int:
        """How often this visit called `name` before; safe from any thread."""
        number: int = next(self.calls.setdefault(name, count()))
        return number


_current: ContextVar[Caller | None] = ContextVar("prefect_nb_caller", default=None)
_home: list[tuple[LiveFlow, int]] = []


@contextmanager
def calling(caller: Caller) -> Iterator[None]:
    """Make `caller` the one whom function tasks belong to."""
    reset = _current.set(caller)
    try:
        yield
    finally:
        _current.reset(reset)


def enter(caller: Caller | None) -> None:
    """Make `caller` the one whom function tasks belong to, until somebody else enters.

    For hooks around a cell: an awaited cell's second hook runs in another context than its first, where nothing can be
    reset.
    """
    _current.set(caller)


def current() -> Caller | None:
    """Who is calling, if anybody is; nobody in a forked child, where there is no engine."""
    caller = _current.get()
    return caller if caller is None or caller.pid == os.getpid() else None


def adopt(flow: LiveFlow | None) -> None:
    """Make a kernel's notebook the home of function tasks that are called outside of any task cell."""
    _home[:] = [] if flow is None else [(flow, os.getpid())]


def home() -> LiveFlow | None:
    """The kernel's notebook, None where the extension is not loaded, and in a forked child."""
    return _home[0][0] if _home and _home[0][1] == os.getpid() else None
