"""Which exception stands for a visit that did not end well, and how a visit ends that its owner gives up.

The exception is its own, or that of what it was waiting for. Reads only.
"""

from __future__ import annotations

from collections.abc import Mapping

from prefect_nb.authoring import signals
from prefect_nb.core import events as ev
from prefect_nb.core.rollup import failures
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import StateName, StateType
from prefect_nb.errors import NotAvailable, TaskCancelled, TaskFailed
from prefect_nb.executors.stopping import BodyStopped

__all__ = ["error_of", "first_failure", "given_up"]

_CAN_FAIL = (StateName.PENDING, StateName.SUBMITTED, StateName.RUNNING, StateName.CANCELLING)
_OWN = (StateName.FAILED, StateName.TIMED_OUT, StateName.VALIDATION_FAILED, StateName.CRASHED)


def error_of(run: Run, visit_id: VisitId, errors: Mapping[VisitId, BaseException]) -> BaseException:
    """What a visit that did not end well raises.

    Parameters
    ----------
    errors : mapping
        What bodies of this process raised.
    """
    visit = run.visits[visit_id]
    name, state = visit.id.task, visit.state
    own = errors.get(visit_id)
    if own is not None and not isinstance(own, BodyStopped) and (state.name in _OWN or own.__traceback__ is None):
        return signals.outside(own, name)
    if visit.width is not None:
        for index in range(visit.width):
            child = VisitId(visit_id.task, visit_id.visit, index)
            if run.visits[child].state.type in (StateType.FAILED, StateType.CRASHED):
                return error_of(run, child, errors)
    if state.name is StateName.TRIGGER_FAILED:
        for above in visit.upstream:
            if run.visits[above].state.final and run.visits[above].state.type is not StateType.COMPLETED:
                return error_of(run, above, errors)
    if state.type is StateType.CANCELLED:
        return TaskCancelled(f"{visit_id} is {state.label}", hint=state.message, task=name)
    if visit.error is not None:
        summary = f"{visit.error.type}: {visit.error.message}"
        return TaskFailed(f"{visit_id} is {state.label}: {summary}", hint="its body raised in another process")
    return NotAvailable(f"{visit_id} is {state.label}: {state.message or state.name.wording}", task=name)


def first_failure(run: Run, errors: Mapping[VisitId, BaseException]) -> tuple[str, BaseException] | None:
    """Of the tasks for which the run fails the one that failed first, and its exception."""
    failed = [run.visits[run.latest[task]] for task in failures(run)]
    if not failed:
        return None
    own = [v for v in failed if v.state.name in _OWN] or failed
    first = min(own, key=lambda v: v.ended_at or 0.0)
    return first.id.task, error_of(run, first.id, errors)


def given_up(visit: Visit, error: ev.ErrorInfo, at: float, *, wherever: bool) -> tuple[ev.TaskEvent, ...]:
    """The events by which a visit fails that its owner cannot attend to any more.

    Parameters
    ----------
    wherever : bool
        That was tried already: it is cancelled, which it can be in every state.
    """
    name, token = visit.state.name, visit.token
    if wherever or name not in _CAN_FAIL:
        return (ev.CancelRequested(at=at, visit=visit.id, message=f"{error.type}: {error.message}"[:300]),)
    raised = ev.BodyRaised(at=at, visit=visit.id, token=token, error=error, retryable=False)
    entered = (ev.BodyEntered(at=at, visit=visit.id, token=token),) if name is StateName.SUBMITTED else ()
    return *entered, raised
