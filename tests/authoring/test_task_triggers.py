"""Triggers as users write them, and judges of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from prefect_nb import State, signals, triggers
from prefect_nb.core import events as ev
from prefect_nb.core.machine import step
from prefect_nb.core.policy import TRIGGERS, Trigger
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.run import Run
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import StateName
from prefect_nb.errors import UsageError

N = StateName
A, B = VisitId("a"), VisitId("b")


def test_every_trigger_has_its_name() -> None:
    """Each trigger that the core knows can be written as ``triggers.NAME``; the bounded ones also without bounds."""
    for name in TRIGGERS:
        assert triggers.asked(getattr(triggers, name)).trigger == Trigger(name)
    assert triggers.always_run == triggers.all_finished
    assert triggers.some_failed(2, 0.5) == Trigger("some_failed", 2, 0.5)
    assert triggers.some_successful(at_most=3) == Trigger("some_successful", None, 3)


def test_what_else_may_stand_for_a_trigger() -> None:
    """Nothing is the default, ``manual_only`` asks a person, a callable judges by itself."""

    def enough(upstream: Mapping[str, State]) -> bool:
        return len(upstream) > 1

    assert triggers.asked(None) == triggers.Asked(Trigger())
    assert triggers.asked(triggers.manual_only) == triggers.Asked(Trigger(), approve=True)
    assert triggers.asked(enough) == triggers.Asked(Trigger("enough", custom=True), enough)


@pytest.mark.parametrize("wrong", ["any_failed", 3, ("all_failed",)])
def test_what_is_no_trigger_is_refused(wrong: object) -> None:
    """Anything else is a usage error."""
    with pytest.raises(UsageError, match="is not a trigger"):
        triggers.asked(wrong)


def _raise(error: BaseException) -> Callable[[Any], bool]:
    def judge(upstream: Any) -> bool:
        raise error

    return judge


def _after(a_fails: bool, judge: triggers.Judge) -> State:
    """The state of a task below one that ended, once its own trigger was asked."""
    why = Reason(ReasonCode.FIRST)
    run = step(Run(), ev.RunOpened(at=0.0, run="r", flow="f", live=False, worker="w"))[0]
    error = ev.ErrorInfo("ValueError", "no")
    end: ev.Event = ev.BodyReturned(at=1.0, visit=A, token=1)
    if a_fails:
        end = ev.BodyRaised(at=1.0, visit=A, token=1, error=error)
    spec = TaskSpec("b", trigger=triggers.asked(judge).trigger)
    for event in (
        ev.TaskPlanned(at=1.0, visit=A, spec=TaskSpec("a")),
        ev.TaskPlanned(at=1.0, visit=B, spec=spec, upstream=(A,)),
        ev.KeyResolved(at=1.0, visit=A, key="k", reason=why),
        ev.BodyEntered(at=1.0, visit=A, token=1),
        end,
    ):
        run, _ = step(run, event)
    run, orders = step(run, triggers.judged(judge, triggers.upstream_states(run, B), B, 2.0))
    if run.visits[B].state.name is N.PENDING:
        assert [type(order).__name__ for order in orders] == ["Resolve"]
    return run.visits[B].state


JUDGES: dict[str, tuple[triggers.Judge, str]] = {
    "yes": (lambda up: up["a"].name is N.FAILED, ""),
    "no": (lambda up: up["a"].name is N.SUCCESS, "said no to a Failed"),
    "none": (lambda up: None, "said no"),
    "raises": (_raise(ZeroDivisionError("by zero")), "its trigger judge raised ZeroDivisionError: by zero"),
    "signals": (_raise(signals.skip("not today")), "its trigger judge raised Skip: not today"),
}


@pytest.mark.parametrize("name", JUDGES)
def test_an_author_judges(name: str) -> None:
    """Truth lets the task run; everything else, errors included, is TriggerFailed with the reason."""
    judge, words = JUDGES[name]
    state = _after(True, judge)
    assert state.name is (N.TRIGGER_FAILED if words else N.PENDING)
    assert words in state.message


def test_interrupts_pass_a_judge() -> None:
    """Stop is not the judge's answer."""
    with pytest.raises(KeyboardInterrupt):
        _after(True, _raise(KeyboardInterrupt()))
