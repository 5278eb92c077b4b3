"""Triggers: how everything upstream must have ended for a task to run, as users write them.

The named ones are values that the core judges; any callable over the states upstream may stand in their place, and is
asked here. Knows no cells, calls or stores.

Examples
--------
>>> from prefect_nb import task, triggers
>>> @task(trigger=triggers.any_failed)
... def clean_up(): ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prefect_nb.authoring.signals import BodySignal
from prefect_nb.core import events as ev
from prefect_nb.core.policy import Trigger
from prefect_nb.core.run import Run
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State, StateType
from prefect_nb.errors import UsageError

__all__ = [
    "Asked",
    "Judge",
    "all_failed",
    "all_finished",
    "all_successful",
    "always_run",
    "any_failed",
    "any_successful",
    "asked",
    "judged",
    "manual_only",
    "not_all_skipped",
    "some_failed",
    "some_successful",
    "upstream_states",
]

Judge = Callable[[Mapping[str, State]], object]
"""A trigger of the author's: the states upstream by task name -> whether to run."""

all_successful = Trigger("all_successful")
all_failed = Trigger("all_failed")
any_successful = Trigger("any_successful")
any_failed = Trigger("any_failed")
all_finished = Trigger("all_finished")
always_run = all_finished
not_all_skipped = Trigger("not_all_skipped")


@dataclass(frozen=True, slots=True)
class _ManualOnly:
    """Runs once everything upstream succeeded and a person agreed: the same as ``approve=True``."""


manual_only = _ManualOnly()


def some_failed(at_least: float | None = None, at_most: float | None = None) -> Trigger:
    """So many upstream tasks failed: counts, or fractions of all when below 1; without bounds, at least one."""
    return Trigger("some_failed", at_least, at_most)


def some_successful(at_least: float | None = None, at_most: float | None = None) -> Trigger:
    """So many upstream tasks succeeded: counts, or fractions of all when below 1; without bounds, at least one."""
    return Trigger("some_successful", at_least, at_most)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a ``trigger=`` means: what the core judges, the author's own judge if any, and whether a person is asked."""

    trigger: Trigger
    judge: Judge | None = None
    approve: bool = False


def asked(trigger: object) -> Asked:
    """What a ``trigger=`` means.

    Raises
    ------
    UsageError
        If it is none.
    """
    match trigger:
        case None:
            return Asked(all_successful)
        case Trigger(custom=False):
            return Asked(trigger)
        case _ManualOnly():
            return Asked(all_successful, approve=True)
        case _ if trigger in (some_failed, some_successful):
            return Asked(Trigger(trigger.__name__))  # the function without its brackets
        case str():
            hint = "say triggers.any_failed, without quotes"
        case _ if callable(trigger):
            name = str(getattr(trigger, "__name__", "") or type(trigger).__name__)
            return Asked(Trigger(name, custom=True), trigger)
        case _:
            hint = "use one of prefect_nb.triggers, or a function of the states upstream"
    raise UsageError(f"{trigger!r} is not a trigger", hint=hint)


def upstream_states(run: Run, visit: VisitId) -> dict[str, State]:
    """How everything upstream of a visit ended, by task name; a map that has ended is told by its children."""
    found: dict[str, State] = {}
    for up in run.visits[visit].upstream:
        above = run.visits[up]
        if above.width is None or above.state.type not in (StateType.COMPLETED, StateType.FAILED):
            found[_free(found, up.task if up.index < 0 else f"{up.task}[{up.index}]")] = above.state
            continue
        for index in range(above.width):
            found[f"{up.task}[{index}]"] = run.visits[VisitId(up.task, up.visit, index)].state
    return found


def _free(taken: Mapping[str, State], name: str) -> str:
    number = 2
    while name in taken and f"{name}-{number}" in taken:
        number += 1
    return name if name not in taken else f"{name}-{number}"


def judged(judge: Judge, upstream: Mapping[str, State], visit: VisitId, at: float) -> ev.TriggerJudged:
    """The author's answer as an event; a judge that raises says no, and its error is the reason.

    Parameters
    ----------
    judge : callable
        The author's trigger.
    upstream : mapping
        From :func:`upstream_states`.
    visit : VisitId
        Whose trigger it is.
    at : float
        Now, seconds since the epoch, UTC.
    """
    name = str(getattr(judge, "__name__", "") or type(judge).__name__)
    try:
        passed = bool(judge(upstream))
    except (Exception, BodySignal) as error:  # the author's code: whatever it raises is its answer
        said = str(error)
        told = f"its trigger {name} raised {type(error).__name__}" + (f": {said}" if said else "")
        return ev.TriggerJudged(at=at, visit=visit, passed=False, message=told)
    told = "" if passed else f"its trigger {name} said no to {_told(upstream)}"
    return ev.TriggerJudged(at=at, visit=visit, passed=passed, message=told)


def _told(upstream: Mapping[str, State]) -> str:
    shown = [f"{name} {state.label}" for name, state in list(upstream.items())[:5]]
    return ", ".join(shown) + (" …" if len(upstream) > 5 else "")
