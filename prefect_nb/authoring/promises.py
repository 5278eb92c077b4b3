"""Calls and maps of tasks outside of a flow: a call that goes on in another thread, and the rows of a map.

Knows threads and arguments; not what a task does when it is called.
"""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import Any

from prefect_nb.authoring.mapping import elements_of, flattened
from prefect_nb.authoring.nodes import Node, Whole, filled
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State, StateName
from prefect_nb.errors import UsageError
from prefect_nb.executors.threads import ThreadExecutor
from prefect_nb.wiring import now

__all__ = ["Promise", "resolved", "rows_of", "workers"]

_shared: dict[int, ThreadExecutor] = {}


def workers() -> int:
    """How many bodies run at a time where nobody says."""
    return min(32, (os.cpu_count() or 1) + 4)


class Promise:
    """One call in a thread of its own turn.

    Parameters
    ----------
    task : callable
        The task.
    args, kwargs
        What it is called with; nodes among them are waited for first.
    """

    def __init__(self, task: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.node = Node(self, VisitId(getattr(task, "__name__", "task")))
        self._future: Future[Any] = Future()
        context = contextvars.copy_context()

        def job() -> None:
            try:
                value = task(*filled(args, Node.result), **filled(dict(kwargs), Node.result))
            except BaseException as error:  # it is the answer
                self._future.set_exception(error)
            else:
                self._future.set_result(value)

        executor = _shared.setdefault(os.getpid(), ThreadExecutor(workers(), "prefect_nb submitted"))
        executor.submit(lambda: context.run(job))

    def result_of(self, node: Node) -> Any:
        """Wait for it; its value, or what it raised."""
        return self._future.result()

    def compute(self, operation: str, *values: Any) -> Node:
        """Outside of a flow there is nothing to plan."""
        hint = "ask for its value first, with .result()"
        raise UsageError(f"{self.node.name} is a call that runs by itself, not yet a value", hint=hint)

    def state_of(self, node: Node) -> State:
        """Whether it has ended, and how."""
        if not self._future.done():
            return State(StateName.RUNNING, now())
        return State(StateName.SUCCESS if self._future.exception() is None else StateName.FAILED, now())


def resolved(value: Any) -> Any:
    """The value itself where a name holds a node of a call outside of a flow; waits for it."""
    return value.result() if type(value) is Node and isinstance(value.plan, Promise) else value


def rows_of(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], task: str
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The arguments of each call of a map, zipped to the shortest."""
    elements = elements_of((*args, *kwargs.values()), task)
    sources = [resolved(e.source) for e in elements]
    columns = [flattened(s) if e.flat else s for e, s in zip(elements, sources, strict=True)]
    for row in zip(*columns, strict=False):
        rest = iter(row)

        def one(value: Any, rest: Iterator[Any] = rest) -> Any:
            return value.value if isinstance(value, Whole) else next(rest)

        yield tuple(one(a) for a in args), {name: one(a) for name, a in kwargs.items()}
