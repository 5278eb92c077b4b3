"""What those who attend to visits ask of the run and of the map that a visit belongs to. Protocols only."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from prefect_nb.authoring.former import Former
from prefect_nb.authoring.ground import Ground
from prefect_nb.authoring.nodes import Node
from prefect_nb.core.run import Visit
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.executors.loop import LoopThread
from prefect_nb.protocols import Executor

__all__ = ["Family", "House", "Stops", "Substitute", "refuses"]


class House(Ground, Protocol):
    """The run to which a visit belongs, as those who attend to visits see it."""

    executor: Executor
    loop: LoopThread
    former: Former
    gate: threading.Lock
    stopping: bool
    parked: bool
    errors: dict[VisitId, BaseException]
    guests: dict[VisitId, list[Callable[[], None]]]

    def origin_of(self, visit: VisitId) -> str:
        """What stands for where its inputs came from."""

    def keep(self, visit: VisitId, value: Any, *, stored: bool) -> None:
        """Hold a value for those downstream."""

    def given(self, node: Node, skipped: Any = None) -> Any:
        """What a task that depends on this node is given for it; `skipped` where there is no value."""

    def settled(self, attendance: Any, visit: Visit) -> None:
        """The visit is final, and that is durable."""

    def trouble(self, attendance: Any, error: BaseException) -> None:
        """Its owner cannot go on: the visit fails for this."""


class Stops(Protocol):
    """A run that may be asked to stop."""

    stopping: bool
    parked: bool


def refuses(run: Stops, spec: TaskSpec) -> bool:
    """Whether nothing of this task is begun any more; a resource is cleaned up after a cancel too."""
    return run.parked or (run.stopping and spec.resource != "cleanup")


class Family(Protocol):
    """The map that a visit opens, or belongs to."""

    def open(self) -> None:
        """Begin to plan children; runs in a worker."""

    def fail(self, error: BaseException) -> None:
        """There are none to plan, for this reason."""

    def ended(self) -> None:
        """One more child has ended."""


class Substitute(Protocol):
    """What runs in place of a function's body, under its name and key: the run that a nested flow is."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it."""
