"""Triggers: run, wait, skip or fail."""

from __future__ import annotations

import pytest

from prefect_nb.core.policy import Trigger
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State, StateName
from prefect_nb.core.triggers import Go, ruling

N = StateName


@pytest.mark.parametrize(
    ("names", "go", "detail"),
    [
        ([], Go.RUN, None),
        ([N.SUCCESS, N.CACHED], Go.RUN, None),
        ([N.SUCCESS, N.RUNNING], Go.WAIT, None),
        ([N.SKIPPED, N.RUNNING], Go.WAIT, None),
        ([N.SKIPPED, N.SUCCESS, N.SKIPPED], Go.SKIP, "t0"),
        ([N.SKIPPED, N.FAILED], Go.FAIL, "t1 Failed"),
        ([N.FAILED, N.SKIPPED], Go.FAIL, "t0 Failed"),
        ([N.RUNNING, N.TIMED_OUT], Go.FAIL, "t1 TimedOut"),
        ([N.NOT_RUN], Go.FAIL, "t0 NotRun"),
        ([N.CANCELLED], Go.FAIL, "t0 Cancelled"),
        ([N.CRASHED], Go.FAIL, "t0 Crashed"),
        ([N.RETRYING], Go.WAIT, None),
        ([N.PAUSED], Go.WAIT, None),
        ([N.CANCELLING], Go.WAIT, None),
    ],
)
def test_all_successful(names: list[StateName], go: Go, detail: str | None) -> None:
    """Everything completed: run; a failure at once: fail; else wait; else a skip: skip."""
    ruled = ruling(Trigger(), upstream(names))
    assert (ruled.go, ruled.reason.detail if ruled.reason else None) == (go, detail)


def upstream(names: list[StateName]) -> list[tuple[VisitId, State]]:
    """One task in each of these states."""
    return [(VisitId(f"t{i}"), State(name, 0.0)) for i, name in enumerate(names)]


GOOD, BAD, SKIP, STOP, BUSY = N.SUCCESS, N.FAILED, N.SKIPPED, N.CANCELLED, N.RUNNING
RUN_IT, FAIL_IT, SKIP_IT, WAIT, ASK = Go.RUN, Go.FAIL, Go.SKIP, Go.WAIT, Go.ASK


@pytest.mark.parametrize(
    ("trigger", "names", "go"),
    [
        (Trigger("all_failed"), [BAD, N.TIMED_OUT, N.CRASHED, N.TRIGGER_FAILED], RUN_IT),
        (Trigger("all_failed"), [BAD, GOOD], FAIL_IT),
        (Trigger("all_failed"), [BAD, STOP], FAIL_IT),
        (Trigger("any_failed"), [BAD, GOOD], RUN_IT),
        (Trigger("any_failed"), [GOOD, GOOD], FAIL_IT),
        (Trigger("any_failed"), [GOOD, STOP], FAIL_IT),
        (Trigger("any_failed"), [], RUN_IT),
        (Trigger("any_failed"), [BAD, BUSY], WAIT),
        (Trigger("any_failed"), [BAD, SKIP], RUN_IT),  # failure beats skip
        (Trigger("any_failed"), [SKIP], SKIP_IT),
        (Trigger("any_successful"), [BAD, GOOD], RUN_IT),
        (Trigger("any_successful"), [BAD, N.CACHED], RUN_IT),
        (Trigger("any_successful"), [BAD, BAD], FAIL_IT),
        (Trigger("any_successful"), [], RUN_IT),
        (Trigger("all_finished"), [BAD, GOOD, STOP], RUN_IT),
        (Trigger("all_finished"), [BAD, BUSY], WAIT),
        (Trigger("all_finished"), [GOOD, SKIP], SKIP_IT),
        (Trigger("all_finished"), [BAD, SKIP], RUN_IT),
        (Trigger("not_all_skipped"), [SKIP, GOOD], RUN_IT),
        (Trigger("not_all_skipped"), [SKIP, SKIP], SKIP_IT),
        (Trigger("not_all_skipped"), [SKIP, BAD], FAIL_IT),
        (Trigger("some_failed", at_least=2), [BAD, BAD, GOOD], RUN_IT),
        (Trigger("some_failed", at_least=2), [BAD, GOOD, GOOD], FAIL_IT),
        (Trigger("some_failed", at_least=0.5), [BAD, GOOD], RUN_IT),
        (Trigger("some_failed", at_least=0.5), [BAD, GOOD, GOOD], FAIL_IT),
        (Trigger("some_failed", at_least=1, at_most=1), [BAD, BAD], FAIL_IT),
        (Trigger("some_successful"), [GOOD, BAD], RUN_IT),
        (Trigger("some_successful", at_most=0.5), [GOOD, GOOD, BAD], FAIL_IT),
        (Trigger("mine", custom=True), [BAD, GOOD], ASK),
        (Trigger("mine", custom=True), [BAD, BUSY], WAIT),
        (Trigger("mine", custom=True), [SKIP], SKIP_IT),
    ],
)
def test_the_other_triggers(trigger: Trigger, names: list[StateName], go: Go) -> None:
    """Each counts good and bad ends; a stopped task is neither; a skip goes along only when nothing failed."""
    ruled = ruling(trigger, upstream(names))
    assert ruled.go is go
    assert (ruled.reason is None) == (go not in (FAIL_IT, SKIP_IT))


@pytest.mark.parametrize("name", ["all_successful", "all_finished", "any_failed", "some_successful"])
def test_who_does_not_go_along_is_not_skipped(name: str) -> None:
    """A skip upstream counts as a success for a task that runs whatever was skipped."""
    ruled = ruling(Trigger(name), upstream([SKIP, GOOD]), skip_too=False)
    assert ruled.go is (FAIL_IT if name == "any_failed" else RUN_IT)


def test_the_root_cause_is_handed_on() -> None:
    """A task that was failed by its own trigger names the cause, not itself."""
    state = State(N.TRIGGER_FAILED, 0.0, "", {"cause": "load TimedOut"})
    ruled = ruling(Trigger(), [(VisitId("clean"), state)])
    assert ruled.reason is not None
    assert ruled.reason.sentence == "not run: load TimedOut"


def test_a_refusal_tells_what_it_saw() -> None:
    """A counted trigger names its counts and the first failure."""
    ruled = ruling(Trigger("all_failed"), upstream([GOOD, BAD]))
    assert ruled.reason is not None
    assert ruled.reason.detail == "its trigger all_failed saw 1 of 2 succeed and 1 fail; t1 Failed"
