"""A run's state, from the states of its visits; the first rule that matches wins.

A final run has final visits only, with one exception: a run whose worker vanished is Crashed at once and keeps what had
not begun waiting, so that whoever resumes it can go on.
"""

from __future__ import annotations

from prefect_nb.core.events import Event
from prefect_nb.core.run import Run, evolved
from prefect_nb.core.states import RUN_EDGES, State, StateName, StateType
from prefect_nb.errors import IllegalTransition

__all__ = ["rolled_up"]

N = StateName
_FAILURES = (N.FAILED, N.TIMED_OUT, N.TRIGGER_FAILED, N.VALIDATION_FAILED, N.CRASHED)
_STOPPED = (N.CANCELLED, N.NOT_RUN)


def rolled_up(run: Run, event: Event) -> Run:
    """The run with its version counted up and its state brought up to date.

    Raises
    ------
    IllegalTransition
        If the table of run states has no such move: a fault of the machine.
    """
    name, message = _name(run)
    version = run.version + 1
    if name is run.state.name and message == run.state.message:
        return evolved(run, version=version)
    if name is not run.state.name and name not in RUN_EDGES[run.state.name]:
        raise IllegalTransition(f"run {run.id} cannot go from {run.state.label} to {name.label}", run=run.id)
    ended = event.at if name.final else None
    return evolved(run, state=State(name, event.at, message), ended_at=ended, version=version)


def _name(run: Run) -> tuple[StateName, str]:
    if run.cancelled:
        return (N.CANCELLED, "") if not run.active else (N.CANCELLING, "")
    if run.lost:
        return N.CRASHED, "its kernel or process vanished; it can be resumed"
    if run.closed and run.interrupted:
        return N.PAUSED, "interrupted; it can be resumed"
    if run.active:
        return _busy(run)
    if not run.closed:
        return (N.OPEN, "") if run.live else (N.RUNNING, "")
    return _ended(run)


def _busy(run: Run) -> tuple[StateName, str]:
    paused = run.tally.get(N.PAUSED, 0) + run.tally.get(N.SUSPENDED, 0)
    if paused and paused + run.tally.get(N.PENDING, 0) == run.active:
        return N.PAUSED, ""
    return N.RUNNING, ""


def _ended(run: Run) -> tuple[StateName, str]:
    tally = run.tally
    failed = sum(tally.get(name, 0) for name in _FAILURES)
    if failed:
        tasks = [t for t, v in run.latest.items() if run.visits[v].state.type in (StateType.FAILED, StateType.CRASHED)]
        return N.FAILED, ", ".join(f"{t} {run.visits[run.latest[t]].state.label}" for t in tasks[:5])
    if any(tally.get(name, 0) for name in _STOPPED):
        return N.CANCELLED, ""
    if tally.get(N.SKIPPED, 0) and tally[N.SKIPPED] == sum(tally.values()):
        return N.SKIPPED, ""
    return N.SUCCESS, ""
