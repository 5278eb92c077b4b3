"""How one visit moves: a handler for each legal (state, event) pair, and the wording of every illegal one.

The table is total over :class:`~prefect_nb.core.states.StateName` and `TASK_EVENTS`; the state diagram of the docs is
made from it. Handlers are pure; they return the moved visit and the orders that follow.

Source: the transition tables of h11.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

from prefect_nb.core import events as ev
from prefect_nb.core.effects import ClearTimer, Effect, Enter, Interrupt, SetTimer
from prefect_nb.core.events import Event
from prefect_nb.core.reasons import Reason
from prefect_nb.core.run import Run, Visit, evolved
from prefect_nb.core.states import EDGES, State, StateName
from prefect_nb.errors import IllegalTransition

__all__ = ["ILLEGAL", "MOVES", "TASK_EVENTS", "Handler", "Move", "crashed", "moved_to"]

N = StateName
Move = tuple[Visit, tuple[Effect, ...]]
Handler = Callable[[Run, Visit, ev.TaskEvent], Move]
_NOTHING: Mapping[str, object] = {}


def moved_to(
    visit: Visit,
    name: StateName,
    event: Event,
    message: str = "",
    data: Mapping[str, object] = _NOTHING,
    **changes: object,
) -> Visit:
    """The visit in another state, with fields changed; :class:`IllegalTransition` if the table has no such edge."""
    if name not in EDGES[visit.state.name]:
        raise IllegalTransition(f"{visit.id} cannot go from {visit.state.label} to {name.label}", visit=visit.id)
    changes["state"] = State(name, event.at, message, data)
    changes["ended_at"] = event.at if name.final else None
    return evolved(visit, **changes)


def crashed(visit: Visit, event: Event, last_seen: float | None = None) -> Visit:
    """The visit after the end of the process that ran its body."""
    return moved_to(visit, N.CRASHED, event, "its kernel or process vanished", {"last_seen": last_seen})


def _same(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """Recorded, but nothing moves."""
    return visit, ()


def _grant(visit: Visit, event: Event, key: str, reason: Reason | None) -> Move:
    token, attempt = visit.token + 1, visit.attempt + 1
    granted = moved_to(visit, N.SUBMITTED, event, token=token, attempt=attempt, key=key, reason=reason)
    return granted, (Enter(visit.id, token, attempt),)


def _resolved(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.KeyResolved)
    if run.closed:  # whoever attaches to the run is asked again
        return visit, ()
    return _grant(visit, event, event.key, event.reason)


def _reused(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.ResultReused)
    cached = moved_to(
        visit,
        N.CACHED,
        event,
        event.reason.sentence,
        key=event.key,
        result=event.result,
        reason=event.reason,
        cached_from=event.source_run,
        cached_age_s=event.age_s,
        saved_s=event.saved_s,
    )
    return cached, ()


def _entered(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyEntered)
    if event.token != visit.token:
        return visit, ()
    started = event.at if visit.started_at is None else visit.started_at
    message = f"attempt {visit.attempt}/{visit.spec.retry.attempts}" if visit.spec.retry.count else ""
    running = moved_to(visit, N.RUNNING, event, message, started_at=started)
    if visit.spec.timeout is None:
        return running, ()
    return running, (SetTimer(visit.id, visit.token, "timeout", event.at + visit.spec.timeout),)


def _entered_while_cancelling(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """The first interrupt found no body; this one does."""
    assert isinstance(event, ev.BodyEntered)
    if event.token != visit.token:
        return visit, ()
    started = event.at if visit.started_at is None else visit.started_at
    return evolved(visit, started_at=started), (Interrupt(visit.id, visit.token, "cancel"),)


def _late(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """An end of an attempt that ended before changes nothing; one of an attempt that never began is a fault."""
    assert isinstance(event, _BODY_ENDS)
    if event.token < visit.token or visit.state.name is N.RETRYING:
        return visit, ()
    raise IllegalTransition(
        f"{visit.id} is {visit.state.label}: {_wording(visit.state.name, type(event))}", visit=visit.id, event=event
    )


def _returned(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyReturned)
    if event.token != visit.token:
        return visit, ()
    message = "finished before it could be stopped" if visit.state.name is N.CANCELLING else event.note
    return moved_to(visit, N.SUCCESS, event, message, result=event.result, note=event.note, error=None), ()


def _raised(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyRaised)
    if event.token != visit.token:
        return visit, ()
    error, retry = event.error, visit.spec.retry
    summary = f"{error.type}: {error.message}".splitlines()[0][:200] if error.message else error.type
    if event.retryable and retry.allows(visit.attempt, error.types):
        due = event.at + retry.wait(visit.attempt, f"{run.id}/{visit.id}")
        data = {"due": due, "next_attempt": visit.attempt + 1}
        waiting = moved_to(visit, N.RETRYING, event, summary, data, error=error)
        return waiting, (ClearTimer(visit.id), SetTimer(visit.id, visit.token, "retry", due))
    if error.kind == "timeout":
        limit = "its limit" if visit.spec.timeout is None else f"{visit.spec.timeout:g} s"
        how = "stopped" if error.hard else "soft: the body was not stopped"
        return moved_to(visit, N.TIMED_OUT, event, f"over {limit}, {how}", {"hard": error.hard}, error=error), ()
    return moved_to(visit, N.FAILED, event, summary, error=error), ()


def _raised_while_cancelling(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyRaised)
    if event.token != visit.token:
        return visit, ()
    told = f"{visit.state.message}; it raised {event.error.type} while stopping".lstrip("; ")
    return moved_to(visit, N.CANCELLED, event, told, error=event.error), ()


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
    if event.kind == "retry" and visit.state.name is N.RETRYING and not run.closed:
        return _grant(visit, event, visit.key, visit.reason)
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
    return crashed(visit, event, event.last_seen), ()


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
    (N.CANCELLING, ev.BodyEntered): _entered_while_cancelling,
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
    **{(N.RETRYING, end): _late for end in _BODY_ENDS},
    **{(N.SUBMITTED, end): _late for end in (ev.BodyReturned, ev.BodyRaised, ev.BodySkipped)},
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
