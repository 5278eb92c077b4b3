"""Whether a task may run, by how everything upstream ended. Pure; failure beats skip.

In this order: a failure that the trigger does not accept fails the task, naming the root cause; then, if nothing failed
and the task goes along, a skip skips it; then it runs. All but the default judge when everything upstream is final.

Source: the founding system's triggers, without its trap that a skipped upstream hid a failed one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from prefect_nb.core.policy import Trigger
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State, StateName, StateType

__all__ = ["Go", "Ruling", "ruling"]


class Go(Enum):
    """What a trigger decides."""

    RUN = "run"
    WAIT = "wait"
    ASK = "ask"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Ruling:
    """A trigger's decision and, when the task does not run, why."""

    go: Go
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class _Ends:
    """How everything upstream ended."""

    total: int
    good: int
    bad: int
    skipped: int


def ruling(trigger: Trigger, upstream: Iterable[tuple[VisitId, State]], *, skip_too: bool = True) -> Ruling:
    """Run, wait, ask the author's own trigger, fail (naming the root cause) or skip (naming who was skipped).

    Parameters
    ----------
    trigger : Trigger
        The task's trigger.
    upstream : iterable of (VisitId, State)
        Everything it waits for; children in place of their map.
    skip_too : bool
        Whether the task is skipped when something upstream was.
    """
    skipped: VisitId | None = None
    first: tuple[VisitId, State] | None = None
    total = good = bad = skips = 0
    waiting = False
    for visit, state in upstream:
        total += 1
        if not state.final:
            waiting = True
        elif state.type is StateType.COMPLETED:
            good += 1
            if state.name is StateName.SKIPPED:
                skips += 1
                skipped = skipped or visit
        else:
            bad += state.type is not StateType.CANCELLED
            first = first or (visit, state)
            if not trigger.heeds_failures:
                return Ruling(Go.FAIL, Reason(ReasonCode.UPSTREAM_FAILED, _cause(visit, state)))
    if waiting:
        return Ruling(Go.WAIT)
    if skipped is not None and skip_too and first is None and trigger.name != "not_all_skipped":
        return Ruling(Go.SKIP, Reason(ReasonCode.UPSTREAM_SKIPPED, _words(skipped)))
    if trigger.custom:
        return Ruling(Go.ASK)
    return _counted(trigger, _Ends(total, good, bad, skips), first, skipped)


def _counted(trigger: Trigger, ends: _Ends, first: tuple[VisitId, State] | None, skipped: VisitId | None) -> Ruling:
    if trigger.name == "not_all_skipped" and skipped is not None and ends.skipped == ends.total:
        return Ruling(Go.SKIP, Reason(ReasonCode.UPSTREAM_SKIPPED, _words(skipped)))
    if _ACCEPTS[trigger.name](trigger, ends):
        return Ruling(Go.RUN)
    cause = f"; {_cause(*first)}" if first is not None else ""
    told = f"its trigger {trigger.name} saw {ends.good} of {ends.total} succeed and {ends.bad} fail{cause}"
    return Ruling(Go.FAIL, Reason(ReasonCode.UPSTREAM_FAILED, told))


def _within(trigger: Trigger, count: int, total: int) -> bool:
    low = 1.0 if trigger.at_least is None else trigger.at_least
    high = trigger.at_most
    if 0 < low < 1:
        low *= total
    if high is not None and 0 < high < 1:
        high *= total
    return low <= count and (high is None or count <= high)


_ACCEPTS: dict[str, Callable[[Trigger, _Ends], bool]] = {
    "all_successful": lambda t, e: e.good == e.total,
    "all_failed": lambda t, e: e.bad == e.total,
    "any_successful": lambda t, e: e.good > 0 or not e.total,
    "any_failed": lambda t, e: e.bad > 0 or not e.total,
    "all_finished": lambda t, e: True,
    "not_all_skipped": lambda t, e: e.good == e.total,
    "some_failed": lambda t, e: _within(t, e.bad, e.total),
    "some_successful": lambda t, e: _within(t, e.good, e.total),
}


def _cause(visit: VisitId, state: State) -> str:
    return str(state.data.get("cause") or f"{_words(visit)} {state.label}")


def _words(visit: VisitId) -> str:
    return f"{visit.task}[{visit.index}]" if visit.index >= 0 else visit.task
