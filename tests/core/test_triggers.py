"""Triggers: run, wait, skip or fail."""

from __future__ import annotations

import pytest

from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State, StateName
from prefect_nb.core.triggers import Go, all_successful

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
    ruling = all_successful((VisitId(f"t{i}"), State(name, 0.0)) for i, name in enumerate(names))
    assert (ruling.go, ruling.reason.detail if ruling.reason else None) == (go, detail)


def test_the_root_cause_is_handed_on() -> None:
    """A task that was failed by its own trigger names the cause, not itself."""
    state = State(N.TRIGGER_FAILED, 0.0, "", {"cause": "load TimedOut"})
    ruling = all_successful([(VisitId("clean"), state)])
    assert ruling.reason is not None
    assert ruling.reason.sentence == "not run: load TimedOut"
