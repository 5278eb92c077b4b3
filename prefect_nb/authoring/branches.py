"""Branches of a flow that are decided while it runs: ``case``, ``switch`` and ``merge``.

A gate is a task of its own that skips itself where its branch is not taken; what stands in the branch is skipped with
it, and says so. Knows tasks and gates; nothing of how a run goes on.

Source: the founding system's ``case``, ``switch`` and ``merge``; there a merge took the first value that was not None,
here it takes the first that was not skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prefect_nb.authoring import triggers
from prefect_nb.authoring.calls import Planner, current
from prefect_nb.authoring.functions import Task
from prefect_nb.authoring.gates import inside
from prefect_nb.authoring.nodes import Node, Skip
from prefect_nb.authoring.signals import skip
from prefect_nb.core.policy import Cache, Trigger
from prefect_nb.core.spec import TaskKind, TaskSpec
from prefect_nb.errors import UsageError

__all__ = ["case", "merge", "switch"]


@contextmanager
def case(condition: Any, value: Any) -> Iterator[Node]:
    """Take a branch only where a value turns out to be this one.

    Tasks that are called in the ``with`` block are planned in any case; where the branch is not taken they are Skipped,
    with the reason.

    Parameters
    ----------
    condition : Node or value
        What is compared.
    value : Any
        What it has to equal; may be a node too.

    Yields
    ------
    Node
        The gate, a task of its own.

    Raises
    ------
    UsageError
        Outside the body of a flow.

    Examples
    --------
    >>> with case(kind(report), "daily"):
    ...     short = summarise(report)
    >>> with case(kind(report), "monthly"):
    ...     long = tabulate(report)
    >>> send(merge(short, long))
    """
    gate = _gate(_plan("case"), condition, value)
    with inside(gate):
        yield gate


def switch(condition: Any, cases: Mapping[Any, Callable[[], Any]]) -> dict[Any, Any]:
    """Take one of several branches, each a task or function without arguments, by a value; what each gave, by value.

    Parameters
    ----------
    condition : Node or value
        What is compared.
    cases : mapping
        What to call where the value is the key: ``{"daily": short_report, "monthly": lambda: long_report(day)}``.

    Raises
    ------
    UsageError
        Outside the body of a flow, or where a branch is a node: that call would run in any case.
    """
    plan = _plan("switch")
    for value, branch in cases.items():
        if isinstance(branch, Node) or not callable(branch):
            hint = f"give the task itself, or a lambda: {{{value!r}: lambda: …}}; a call of it is planned at once"
            raise UsageError(f"the branch of switch for {value!r} is {branch!r}, nothing to call", hint=hint)
    found: dict[Any, Any] = {}
    for value, branch in cases.items():
        with inside(_gate(plan, condition, value)):
            found[value] = branch()
    return found


def merge(*branches: Any) -> Any:
    """The value of the first of these that was not skipped, as a node; skipped itself where all were.

    Parameters
    ----------
    *branches : Node or value
        The last tasks of branches.

    Raises
    ------
    UsageError
        Outside the body of a flow, or without any.
    """
    plan = _plan("merge")
    if not branches:
        raise UsageError("merge takes at least one node", hint="give it the last task of each branch")
    sure = not all(isinstance(branch, Node) for branch in branches)  # a value is never skipped
    return plan.call(_merge_with_value if sure else _merge_nodes, branches, {})


def _plan(what: str) -> Planner:
    caller = current()
    if caller is None or caller.plan is None:
        raise UsageError(
            f"{what} stands outside the body of a flow", hint=f"in plain code an if does what {what} does in a flow"
        )
    return caller.plan


def _gate(plan: Planner, condition: Any, value: Any) -> Node:
    shown = value.name if isinstance(value, Node) else repr(value)
    name = f"{condition.name if isinstance(condition, Node) else repr(condition)} is {shown}"
    short = name if len(name) <= 60 else f"{name[:59]}…"
    return plan.call(Task(_equals, TaskSpec(short, TaskKind.FUNCTION, cache=Cache("never"))), (condition, value), {})


def _equals(condition: Any, value: Any) -> bool:
    if not bool(condition == value):
        raise skip(f"it is {_short(condition)}, not {_short(value)}")
    return True


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _first(*branches: Any) -> Any:
    return next(value for value in branches if value is not Skip.SKIPPED)


def _merging(trigger: Trigger) -> Task[..., Any]:
    spec = TaskSpec("merge", TaskKind.FUNCTION, cache=Cache("never"), trigger=trigger, skip_with_upstream=False)
    made: Task[..., Any] = Task(_first, spec)
    made.tells_skips = True
    return made


_merge_nodes, _merge_with_value = _merging(triggers.not_all_skipped), _merging(triggers.all_successful)
