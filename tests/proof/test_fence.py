"""An old permission opens nothing: every event that quotes one, in every state in which a newer one is out."""

from __future__ import annotations

import pytest

from prefect_nb.core import events as ev
from prefect_nb.core.fold import fold
from prefect_nb.core.machine import step
from prefect_nb.core.policy import Retry
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.run import Run
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import StateName
from prefect_nb.errors import IllegalTransition

A = VisitId("a")
N = StateName
ERROR = ev.ErrorInfo("ValueError", "no", ("ValueError",))
TO_SUBMITTED = (
    ev.RunOpened(at=0.0, run="r1", flow="f", live=True, worker="w"),
    ev.TaskPlanned(at=1.0, visit=A, spec=TaskSpec("a", retry=Retry(3, delay=5.0), timeout=9.0)),
    ev.KeyResolved(at=2.0, visit=A, key="k", reason=Reason(ReasonCode.FIRST)),
    ev.BodyEntered(at=3.0, visit=A, token=1),
    ev.BodyRaised(at=4.0, visit=A, token=1, error=ERROR),
    ev.TimerFired(at=9.0, visit=A, token=1, kind="retry"),
)
RUNNING = (*TO_SUBMITTED, ev.BodyEntered(at=10.0, visit=A, token=2))
STATES: dict[StateName, tuple[ev.Event, ...]] = {
    N.SUBMITTED: TO_SUBMITTED,
    N.RUNNING: RUNNING,
    N.CANCELLING: (*RUNNING, ev.CancelRequested(at=11.0, visit=A)),
    N.RETRYING: (*RUNNING, ev.BodyRaised(at=11.0, visit=A, token=2, error=ERROR)),
    N.PAUSED: (*RUNNING, ev.BodyPaused(at=11.0, visit=A, token=2, until=50.0, limit=60.0)),
    N.SUCCESS: (*RUNNING, ev.BodyReturned(at=11.0, visit=A, token=2, result="d")),
    N.CRASHED: (*RUNNING, ev.RunAttached(at=11.0, worker="w2")),
}
OLD: dict[str, ev.TaskEvent] = {
    "entered": ev.BodyEntered(at=70.0, visit=A, token=1),
    "returned": ev.BodyReturned(at=70.0, visit=A, token=1, result="old"),
    "raised": ev.BodyRaised(at=70.0, visit=A, token=1, error=ERROR),
    "skipped": ev.BodySkipped(at=70.0, visit=A, token=1),
    "cancelled": ev.BodyCancelled(at=70.0, visit=A, token=1),
    "paused": ev.BodyPaused(at=70.0, visit=A, token=1),
    "deferred": ev.BodyDeferred(at=70.0, visit=A, token=1, due=80.0),
    **{f"timer {kind}": ev.TimerFired(at=70.0, visit=A, token=1, kind=kind) for kind in ("retry", "timeout")},
    **{f"timer {kind}": ev.TimerFired(at=70.0, visit=A, token=1, kind=kind) for kind in ("resume", "pause")},
    "refused": ev.LateResultRefused(at=70.0, visit=A, token=1),
}
WAITS_WITHOUT_BODY = (N.RETRYING, N.PAUSED)


@pytest.mark.parametrize("kind", OLD)
@pytest.mark.parametrize("name", STATES, ids=lambda name: name.label)
def test_an_old_permission_moves_nothing(name: StateName, kind: str) -> None:
    """The run stays the very same and no order is given (where no body can be, an answer of one is a fault)."""
    before = fold(STATES[name])
    assert (before.visits[A].state.name, before.visits[A].token) == (name, 2)
    try:
        after, orders = step(before, OLD[kind])
    except IllegalTransition:
        assert kind == "entered" or name in WAITS_WITHOUT_BODY
        return
    assert told(after) == told(before)
    assert orders == ()


def told(run: Run) -> tuple[object, ...]:
    """Everything that anybody can see of the run."""
    visit = run.visits[A]
    return run.state.label, visit.state, visit.version, visit.token, visit.attempt, visit.result, visit.error
