"""The one place that moves a state: ``step(run, event) -> (run, effects)``.

Rules of this room
------------------
* It is total: every (state, event) pair is in ``MOVES``, is ignored for a stated reason, or is illegal with its wording.
* It is pure: time arrives in events, waits are derived, nothing is read from outside.
* Final states absorb. A late answer changes nothing; the engine records it as refused.
* A permission (token) is granted by ``Enter`` and must be quoted by everything the body answers; an older one is stale.
* A run's own state is never set, it is rolled up from its visits; only ``RunAttached`` reopens a run that ended.

What the table cannot say: triggers are judged when a visit is planned and again whenever something upstream ends.

Source: the transition tables of h11 and the event/instruction machine of dask.distributed, made immutable.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

from prefect_nb.core import events as ev
from prefect_nb.core.effects import ClearTimer, Effect, Enter, Interrupt, Resolve, SetTimer, Settle
from prefect_nb.core.events import Event, RunEvent, TaskEvent
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.rollup import rolled_up
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import EDGES, State, StateName, StateType
from prefect_nb.core.triggers import Go, all_successful
from prefect_nb.errors import IllegalTransition

__all__ = ["ILLEGAL", "MOVES", "TASK_EVENTS", "step"]

N = StateName
Move = tuple[Visit, tuple[Effect, ...]]
Handler = Callable[[Run, Visit, ev.TaskEvent], Move]


def step(run: Run, event: Event) -> tuple[Run, tuple[Effect, ...]]:
    """The run after an event, and the orders that follow from it, in the order in which they are to be carried out.

    Raises
    ------
    IllegalTransition
        If the event cannot happen in this state: a fault of the caller, told with the visit's story.
    """
    if isinstance(event, ev.TaskPlanned):
        return _plan(run, event)
    if isinstance(event, TaskEvent):
        visit = run.visits.get(event.visit)
        if visit is None:
            raise IllegalTransition(
                f"{type(event).__name__} for {event.visit}, which was never planned", run=run.id, visit=event.visit
            )
        handler = MOVES.get((visit.state.name, type(event)))
        if handler is None:
            raise IllegalTransition(
                f"{event.visit} is {visit.state.label}: {ILLEGAL[visit.state.name, type(event)]}",
                run=run.id,
                visit=event.visit,
                state=visit.state,
                event=event,
            )
        moved, effects = handler(run, visit, event)
        return _settle(run, visit, moved, effects, event)
    assert isinstance(event, RunEvent)
    return _run_event(run, event)


# --- moves of one visit ------------------------------------------------------------------------------------------


def _to(visit: Visit, name: StateName, event: Event, message: str = "", **data: object) -> Visit:
    if name not in EDGES[visit.state.name]:
        raise IllegalTransition(f"{visit.id} cannot go from {visit.state.label} to {name.label}", visit=visit.id)
    ended = event.at if name.final else None
    return replace(visit, state=State(name, event.at, message, data), ended_at=ended)


def _same(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """Recorded, but nothing moves."""
    return visit, ()


def _grant(visit: Visit, event: Event) -> Move:
    token, attempt = visit.token + 1, visit.attempt + 1
    granted = replace(_to(visit, N.SUBMITTED, event), token=token, attempt=attempt)
    return granted, (Enter(visit.id, token, attempt),)


def _resolved(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.KeyResolved)
    return _grant(replace(visit, key=event.key, reason=event.reason), event)


def _reused(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.ResultReused)
    known = replace(
        visit,
        key=event.key,
        result=event.result,
        reason=event.reason,
        cached_from=event.source_run,
        cached_age_s=event.age_s,
        saved_s=event.saved_s,
    )
    return _to(known, N.CACHED, event, event.reason.sentence), ()


def _entered(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyEntered)
    if event.token != visit.token:
        return visit, ()
    started = visit.started_at if visit.started_at is not None else event.at
    message = f"attempt {visit.attempt}/{visit.spec.retry.attempts}" if visit.spec.retry.count else ""
    running = replace(_to(visit, N.RUNNING, event, message), started_at=started)
    if visit.spec.timeout is None:
        return running, ()
    return running, (SetTimer(visit.id, visit.token, "timeout", event.at + visit.spec.timeout),)


def _returned(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyReturned)
    if event.token != visit.token:
        return visit, ()
    message = "finished before it could be stopped" if visit.state.name is N.CANCELLING else event.note
    done = replace(visit, result=event.result, note=event.note, error=None)
    return _to(done, N.SUCCESS, event, message), ()


def _raised(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyRaised)
    if event.token != visit.token:
        return visit, ()
    error, retry = event.error, visit.spec.retry
    failed = replace(visit, error=error)
    summary = f"{error.type}: {error.message}".splitlines()[0][:200] if error.message else error.type
    if event.retryable and retry.allows(visit.attempt, error.types):
        due = event.at + retry.wait(visit.attempt, f"{run.id}/{visit.id}")
        waiting = _to(failed, N.RETRYING, event, summary, due=due, next_attempt=visit.attempt + 1)
        return waiting, (ClearTimer(visit.id), SetTimer(visit.id, visit.token, "retry", due))
    if error.kind == "timeout":
        how = "stopped" if error.hard else "soft: the body was not stopped"
        return _to(failed, N.TIMED_OUT, event, f"over {visit.spec.timeout:g} s, {how}", hard=error.hard), ()
    return _to(failed, N.FAILED, event, summary), ()


def _raised_while_cancelling(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyRaised)
    if event.token != visit.token:
        return visit, ()
    told = f"{visit.state.message}; it raised {event.error.type} while stopping".lstrip("; ")
    return _to(replace(visit, error=event.error), N.CANCELLED, event, told), ()


def _skipped(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodySkipped)
    if event.token != visit.token:
        return visit, ()
    return _to(visit, N.SKIPPED, event, event.message), ()


def _stopped(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyCancelled)
    if event.token != visit.token:
        return visit, ()
    return _to(visit, N.CANCELLED, event, visit.state.message or event.message or f"by {event.actor}"), ()


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
    return _to(visit, N.CANCELLED, event, event.message or f"by {event.actor}"), ()


def _cancel_running(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.CancelRequested)
    moved = _to(visit, N.CANCELLING, event, event.message or f"by {event.actor}")
    return moved, (Interrupt(visit.id, visit.token, "cancel"),)


def _cancel_again(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """A second wish interrupts once more: the body may have swallowed the first."""
    return visit, (Interrupt(visit.id, visit.token, "cancel"),)


def _skip_waiting(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.SkipRequested)
    return _to(visit, N.SKIPPED, event, event.message or f"by {event.actor}"), ()


def _invalidated(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    return replace(visit, invalid=True), ()


def _lost(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.WorkerLost)
    return _to(visit, N.CRASHED, event, "its kernel or process vanished", last_seen=event.last_seen), ()


# --- the table ---------------------------------------------------------------------------------------------------

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


# --- the run around the visit --------------------------------------------------------------------------------------


def _plan(run: Run, event: ev.TaskPlanned) -> tuple[Run, tuple[Effect, ...]]:
    if event.visit in run.visits:
        raise IllegalTransition(f"{event.visit} was planned before", run=run.id, visit=event.visit)
    if run.closed:
        raise IllegalTransition(f"run {run.id} is closed; {event.visit} cannot be planned", run=run.id)
    visit = Visit(
        id=event.visit,
        spec=event.spec,
        state=State(N.PENDING, event.at),
        planned_at=event.at,
        upstream=event.upstream,
        parent=event.parent,
        cell=event.cell,
    )
    before = run.visit(event.visit.task) if event.parent is None else None
    waiting = run.waiting
    for up in event.upstream:
        waiting = waiting.put(up, (*waiting.get(up, ()), event.visit))
    tally = dict(run.tally)
    latest = run.latest
    if event.parent is None:
        if before is not None:
            tally[before.state.name] -= 1
        tally[N.PENDING] = tally.get(N.PENDING, 0) + 1
        latest = latest.put(event.visit.task, event.visit)
    run = replace(
        run, visits=run.visits.put(visit.id, visit), latest=latest, waiting=waiting, tally=tally, active=run.active + 1
    )
    judged, effects = _judge(run, visit, event)
    return _settle(run, visit, judged, effects, event)


def _judge(run: Run, visit: Visit, event: Event) -> Move:
    known = ((up, run.visits[up].state) for up in visit.upstream if up in run.visits)
    ruling = all_successful(known)
    if ruling.go is Go.RUN:
        return visit, (Resolve(visit.id),)
    if ruling.reason is None:
        return visit, ()
    told = replace(visit, reason=ruling.reason)
    if ruling.go is Go.SKIP:
        return _to(told, N.SKIPPED, event, ruling.reason.sentence), ()
    return _to(told, N.TRIGGER_FAILED, event, ruling.reason.sentence, cause=ruling.reason.detail), ()


def _settle(
    run: Run, before: Visit, moved: Visit, effects: tuple[Effect, ...], event: Event
) -> tuple[Run, tuple[Effect, ...]]:
    """Put a moved visit back, roll the run up and, when the visit ended, let those who waited for it be judged."""
    new = before.version == 0
    if moved is before and not new:
        return run, effects
    moved = replace(moved, version=moved.version + 1)
    old_name, name = before.state.name, moved.state.name
    ended = name.final and not (old_name.final and not new)
    tally: dict[StateName, int] = dict(run.tally)
    if name is not old_name and moved.parent is None and run.latest[moved.id.task] == moved.id:
        tally[old_name] -= 1
        tally[name] = tally.get(name, 0) + 1
    run = replace(run, visits=run.visits.put(moved.id, moved), tally=tally, active=run.active - ended)
    if ended:
        effects = (*effects, ClearTimer(moved.id), Settle(moved.id))
        for dependant in run.waiting.get(moved.id, ()):
            waiting = run.visits[dependant]
            if waiting.state.name is N.PENDING and not waiting.key:
                judged, more = _judge(run, waiting, event)
                run, more = _settle(run, waiting, judged, more, event)
                effects = (*effects, *more)
    return rolled_up(run, event), effects


def _run_event(run: Run, event: RunEvent) -> tuple[Run, tuple[Effect, ...]]:
    effects: tuple[Effect, ...] = ()
    match event:
        case ev.RunOpened():
            if run.id:
                raise IllegalTransition(f"run {run.id} was opened before", run=run.id)
            run = replace(
                run,
                id=event.run,
                flow=event.flow,
                live=event.live,
                worker=event.worker,
                parameters=event.parameters,
                created_at=event.at,
            )
        case ev.RunAttached():
            if run.state.name in (N.SUCCESS, N.CANCELLED):
                raise IllegalTransition(f"run {run.id} ended as {run.state.label}; there is nothing to resume", run=run.id)
            run = replace(run, worker=event.worker, closed=False, interrupted=False, lost=False, ended_at=None)
        case ev.RunCancelRequested():
            run = replace(run, cancelled=True)
            run, effects = _stop_all(run, event)
        case ev.RunClosed():
            run = replace(run, closed=True, interrupted=event.interrupted, lost=event.lost)
            if not (event.interrupted or event.lost):
                run, effects = _stop_all(run, event)
    return rolled_up(run, event), effects


def _stop_all(run: Run, event: RunEvent) -> tuple[Run, tuple[Effect, ...]]:
    effects: tuple[Effect, ...] = ()
    if not run.active:
        return run, effects
    open_visits: list[VisitId] = [v.id for v in run.visits.values() if not v.state.final]
    for visit_id in open_visits:
        visit = run.visits[visit_id]
        if visit.state.final:
            continue
        more: tuple[Effect, ...] = ()
        if visit.state.type in (StateType.RUNNING, StateType.CANCELLING) or visit.state.name is N.SUBMITTED:
            more = (Interrupt(visit.id, visit.token, "cancel"),)
            moved = visit if visit.state.name is N.CANCELLING else _to(visit, N.CANCELLING, event, f"by {event.actor}")
        else:
            moved = _to(visit, N.NOT_RUN, event, "the run ended before it was reached")
        run, more = _settle(run, visit, moved, more, event)
        effects = (*effects, *more)
    return run, effects
