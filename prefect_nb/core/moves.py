"""How one visit moves: a handler for each legal (state, event) pair, and the wording of every illegal one.

The table is total over :class:`~prefect_nb.core.states.StateName` and `TASK_EVENTS`; the state diagram of the docs is
made from it. Handlers are pure; they return the moved visit and the orders that follow.

Source: the transition tables of h11.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from prefect_nb.core import events as ev
from prefect_nb.core.effects import ClearTimer, Effect, Enter, Interrupt, SetTimer
from prefect_nb.core.events import Event
from prefect_nb.core.run import Run, Visit, evolved
from prefect_nb.core.states import EDGES, State, StateName
from prefect_nb.errors import IllegalTransition

__all__ = ["ILLEGAL", "MOVES", "TASK_EVENTS", "Handler", "Move", "moved_to"]

N = StateName
Move = tuple[Visit, tuple[Effect, ...]]
Handler = Callable[[Run, Visit, ev.TaskEvent], Move]


def moved_to(visit: Visit, name: StateName, event: Event, message: str = "", **data: object) -> Visit:
    """The visit in another state; :class:`IllegalTransition` if the edge is not in the table."""
    if name not in EDGES[visit.state.name]:
        raise IllegalTransition(f"{visit.id} cannot go from {visit.state.label} to {name.label}", visit=visit.id)
    ended = event.at if name.final else None
    return evolved(visit, state=State(name, event.at, message, data), ended_at=ended)


def movedmoved_to(visit: Visit, name: StateName, event: Event, message: str = "", **data: object) -> Visit:
    """The visit in another state; :class:`IllegalTransition` if the edge is not in the table."""
    if name not in EDGES[visit.state.name]:
        raise IllegalTransition(f"{visit.id} cannot go from {visit.state.label} to {name.label}", visit=visit.id)
    ended = event.at if name.final else None
    return evolved(visit, state=State(name, event.at, message, data), ended_at=ended)


def _same(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """Recorded, but nothing moves."""
    return visit, ()


def _grant(visit: Visit, event: Event) -> Move:
    token, attempt = visit.token + 1, visit.attempt + 1
    granted = evolved(moved_to(visit, N.SUBMITTED, event), token=token, attempt=attempt)
    return granted, (Enter(visit.id, token, attempt),)


def _resolved(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.KeyResolved)
    return _grant(evolved(visit, key=event.key, reason=event.reason), event)


def _reused(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.ResultReused)
    known = evolved(
        visit,
        key=event.key,
        result=event.result,
        reason=event.reason,
        cached_from=event.source_run,
        cached_age_s=event.age_s,
        saved_s=event.saved_s,
    )
    return moved_to(known, N.CACHED, event, event.reason.sentence), ()


def _entered(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyEntered)
    if event.token != visit.token:
        return visit, ()
    started = visit.started_at if visit.started_at is not None else event.at
    message = f"attempt {visit.attempt}/{visit.spec.retry.attempts}" if visit.spec.retry.count else ""
    running = evolved(moved_to(visit, N.RUNNING, event, message), started_at=started)
    if visit.spec.timeout is None:
        return running, ()
    return running, (SetTimer(visit.id, visit.token, "timeout", event.at + visit.spec.timeout),)


def _returned(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyReturned)
    if event.token != visit.token:
        return visit, ()
    message = "finished before it could be stopped" if visit.state.name is N.CANCELLING else event.note
    done = evolved(visit, result=event.result, note=event.note, error=None)
    return moved_to(done, N.SUCCESS, event, message), ()


def _raised(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyRaised)
    if event.token != visit.token:
        return visit, ()
    error, retry = event.error, visit.spec.retry
    failed = evolved(visit, error=error)
    summary = f"{error.type}: {error.message}".splitlines()[0][:200] if error.message else error.type
    if event.retryable and retry.allows(visit.attempt, error.types):
        due = event.at + retry.wait(visit.attempt, f"{run.id}/{visit.id}")
        waiting = moved_to(failed, N.RETRYING, event, summary, due=due, next_attempt=visit.attempt + 1)
        return waiting, (ClearTimer(visit.id), SetTimer(visit.id, visit.token, "retry", due))
    if error.kind == "timeout":
        how = "stopped" if error.hard else "soft: the body was not stopped"
        return moved_to(failed, N.TIMED_OUT, event, f"over {visit.spec.timeout:g} s, {how}", hard=error.hard), ()
    return moved_to(failed, N.FAILED, event, summary), ()


def _raised_while_cancelling(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyRaised)
    if event.token != visit.token:
        return visit, ()
    told = f"{visit.state.message}; it raised {event.error.type} while stopping".lstrip("; ")
    return moved_to(evolved(visit, error=event.error), N.CANCELLED, event, told), ()


def _skipped(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodySkipped)
    if event.token != visit.token:
        return visit, ()
    return moved_to(visit, N.SKIPPED, event, event.message), ()


def _stopped(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyCancelled)
    if event.token != visit.token:
        return visit, ()
    return moved_to(visit, N.CANCELLED, event, visit.state.message or event.message or f"by {event.actor}"), ()


def _timer(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """A retry's wait is over, or a body exceeded its limit; a timer of an older permission is stale."""
    assert isinstance(event, ev.TimerFired)
    if event.token != visit.token:
        return visit, ()
    if event.kind == "retry" and visit.state.name is N.RETRYING:
        return _grant(visit, event)
    if event.kind == "timeout" and visit.state.name is N.RUNNING:
        return visit, (Interrupt(visit.id, visit.token, "timeout"),)
    return visit, ()


def _cancel_waiting(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.CancelRequested)
    return moved_to(visit, N.CANCELLED, event, event.message or f"by {event.actor}"), ()


def _cancel_running(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.CancelRequested)
    moved = moved_to(visit, N.CANCELLING, event, event.message or f"by {event.actor}")
    return moved, (Interrupt(visit.id, visit.token, "cancel"),)


def _cancel_again(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """A second wish interrupts once more: the body may have swallowed the first."""
    return visit, (Interrupt(visit.id, visit.token, "cancel"),)


def _skip_waiting(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.SkipRequested)
    return moved_to(visit, N.SKIPPED, event, event.message or f"by {event.actor}"), ()


def _invalidated(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    return evolved(visit, invalid=True), ()


def _lost(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.WorkerLost)
    return moved_to(visit, N.CRASHED, event, "its kernel or process vanished", last_seen=event.last_seen), ()


TASK_EVENTS: tuple[type[ev.TaskEvent], ...] = (
    ev.KeyResolved,
    ev.ResultReused,
    ev.BodyEntered,
    ev.BodyReturned,
    ev.BodyRaised,
    ev.BodySkipped,
    ev.BodyCancelled,
    ev.LateResultRefused,
    ev.TimerFired,
    ev.CancelRequested,
    ev.SkipRequested,
    ev.TaskInvalidated,
    ev.WorkerLost,
)
_WAITING = (N.PENDING, N.SCHEDULED, N.LATE, N.RETRYING, N.RESUMING, N.QUEUED, N.PAUSED, N.SUSPENDED)
_BODY_ENDS = (ev.BodyReturned, ev.BodyRaised, ev.BodySkipped, ev.BodyCancelled)

MOVES: dict[tuple[StateName, type[ev.TaskEvent]], Handler] = {
    (N.PENDING, ev.KeyResolved): _resolved,
    (N.PENDING, ev.ResultReused): _reused,
    (N.SUBMITTED, ev.BodyEntered): _entered,
    (N.CANCELLING, ev.BodyEntered): _same,
    (N.RUNNING, ev.BodyReturned): _returned,
    (N.CANCELLING, ev.BodyReturned): _returned,
    (N.RUNNING, ev.BodyRaised): _raised,
    (N.CANCELLING, ev.BodyRaised): _raised_while_cancelling,
    (N.RUNNING, ev.BodySkipped): _skipped,
    (N.CANCELLING, ev.BodySkipped): _skipped,
    (N.RUNNING, ev.BodyCancelled): _stopped,
    (N.SUBMITTED, ev.BodyCancelled): _stopped,
    (N.CANCELLING, ev.BodyCancelled): _stopped,
    (N.SUBMITTED, ev.CancelRequested): _cancel_running,
    (N.RUNNING, ev.CancelRequested): _cancel_running,
    (N.CANCELLING, ev.CancelRequested): _cancel_again,
    (N.SUBMITTED, ev.WorkerLost): _lost,
    (N.RUNNING, ev.WorkerLost): _lost,
    (N.CANCELLING, ev.WorkerLost): _lost,
    **{(name, ev.CancelRequested): _cancel_waiting for name in _WAITING},
    **{(name, ev.SkipRequested): _skip_waiting for name in _WAITING},
    **{(name, ev.WorkerLost): _same for name in _WAITING},  # they wait in the store, not in a process
    **{(name, ev.TimerFired): _timer for name in N},
    **{(name, ev.TaskInvalidated): _invalidated for name in N},
    **{(name, ev.LateResultRefused): _same for name in N},
    # finals absorb; what comes late changes nothing
    **{(n, e): _same for n, e in product(N, TASK_EVENTS) if n.final and e is not ev.TaskInvalidated},
}
"""(state, event) -> the move; every other pair is in `ILLEGAL`."""


def _wording(name: StateName, event: type[ev.TaskEvent]) -> str:
    if event in _BODY_ENDS or event is ev.BodyEntered:
        return f"no body of it runs, so {event.__name__} cannot come"
    if event is ev.SkipRequested:
        return "it is already running; cancel it first"
    if event in (ev.KeyResolved, ev.ResultReused):
        return "its key was resolved before"
    return f"{event.__name__} has no meaning here"


ILLEGAL: dict[tuple[StateName, type[ev.TaskEvent]], str] = {
    pair: _wording(*pair) for pair in product(N, TASK_EVENTS) if pair not in MOVES
}
"""Pairs that cannot happen, each with what to tell."""
