"""How one visit moves: a handler for each legal (state, event) pair, and the wording of every illegal one.

The table is total over :class:`~prefect_nb.core.states.StateName` and `TASK_EVENTS`; the state diagram of the docs is
made from it. Handlers are pure; they return the moved visit and the orders that follow.

Source: the transition tables of h11.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from prefect_nb.core import events as ev
from prefect_nb.core.bodies import BODY_MOVES
from prefect_nb.core.effects import Claim, ClearTimer, Enter, Interrupt, Resolve
from prefect_nb.core.events import Event
from prefect_nb.core.moved import Handler, Move, crashed, map_ended, moved_to, retold
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.run import Run, Visit, evolved
from prefect_nb.core.states import StateName

__all__ = ["ILLEGAL", "MOVES", "TASK_EVENTS"]

N = StateName


def _same(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """Recorded, but nothing moves."""
    return visit, ()


def _grant(visit: Visit, event: Event, attempt: int, **changes: Any) -> Move:
    token = visit.token + 1
    granted = moved_to(visit, N.SUBMITTED, event, token=token, attempt=attempt, **changes)
    return granted, (Enter(visit.id, token, attempt),)


def _may_enter(visit: Visit, event: ev.KeyResolved | ev.TimerFired, **changes: Any) -> Move:
    """The body has to run: now, or when it has a slot of each limit that holds for it."""
    attempt = visit.attempt + 1
    if visit.state.name is N.RESUMING:  # a body that waited goes on with its attempt
        attempt = max(1, visit.attempt)
    changes["limits"] = event.limits
    if not event.limits:
        return _grant(visit, event, attempt, **changes)
    told = f"waits for {', '.join(event.limits)}"
    queued = moved_to(visit, N.QUEUED, event, told, {"next_attempt": attempt}, **changes)
    return queued, (Claim(visit.id, event.limits),)


def _slots(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.SlotsAnswered)
    if run.closed:  # whoever takes it up asks again
        return visit, ()
    if event.taken:
        return _grant(visit, event, visit.state.data.get("next_attempt", visit.attempt + 1))
    return (visit, ()) if event.message == visit.state.message else (retold(visit, event.message), ())


def _resolved(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.KeyResolved)
    if run.closed:  # whoever attaches to the run is asked again
        return visit, ()
    if event.like:
        visit = evolved(visit, like=event.like)
    if event.loop:
        visit = evolved(visit, loop=event.loop, loop_result=event.loop_result)
    if (visit.spec.approve or event.ask) and visit.approval is None:  # asked last: what is reused never asks
        asks = moved_to(visit, N.PAUSED, event, event.ask or "waits for approval", {"wants": "approval"})
        return evolved(asks, key=event.key, reason=event.reason), ()
    return _may_enter(visit, event, key=event.key, reason=event.reason)


def _judged(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.TriggerJudged)
    if visit.judged or run.closed:
        return visit, ()
    if event.passed:
        return evolved(visit, judged=True), (Resolve(visit.id),)
    told = event.message or f"its trigger {visit.spec.trigger.name} said no"
    reason = Reason(ReasonCode.UPSTREAM_FAILED, told)
    return moved_to(visit, N.TRIGGER_FAILED, event, reason.sentence, {"cause": told}, reason=reason, judged=True), ()


def _map_opened(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    return moved_to(visit, N.MAPPED, event, width=0, started_at=event.at), ()


def _map_sealed(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    return (visit, ()) if visit.sealed else (map_ended(evolved(visit, sealed=True), event), ())


def _left(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BlockLeft)
    if not visit.held:
        return visit, ()
    return evolved(visit, held=False, upstream=tuple(dict.fromkeys((*visit.upstream, *event.upstream)))), ()


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


def _timer(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """A retry's wait is over, or a body exceeded its limit; a timer of an older permission is stale."""
    assert isinstance(event, ev.TimerFired)
    if event.token != visit.token:
        return visit, ()
    if event.kind == "retry" and visit.state.name in (N.RETRYING, N.LOOPED) and not run.closed:
        return _may_enter(visit, event)
    if event.kind == "timeout" and visit.state.name is N.RUNNING:
        return visit, (Interrupt(visit.id, visit.token, "timeout"),)
    if event.kind == "resume" and visit.state.name is N.PAUSED:
        approval = {"by": "the clock", "at": event.at, "note": "", "value": {}}
        resuming = moved_to(visit, N.RESUMING, event, "its time came", approval=approval)
        return resuming, (ClearTimer(visit.id), *(() if run.closed else (Resolve(visit.id),)))
    if event.kind == "pause" and visit.state.name is N.PAUSED:
        return moved_to(visit, N.TIMED_OUT, event, "nobody answered in time"), ()
    return visit, ()


def _approved(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.VisitApproved)
    approval = {"by": event.actor, "at": event.at, "note": event.note, "value": dict(event.value)}
    told = f"approved by {event.actor}" + (f": {event.note}" if event.note else "")
    resuming = moved_to(visit, N.RESUMING, event, told, approval=approval)
    return resuming, (ClearTimer(visit.id), *(() if run.closed else (Resolve(visit.id),)))


def _cancel_waiting(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.CancelRequested)
    return moved_to(visit, N.CANCELLED, event, event.message or f"by {event.actor}"), ()


def _cancel_running(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.CancelRequested)
    moved = moved_to(visit, N.CANCELLING, event, event.message or f"by {event.actor}")
    return moved, (Interrupt(visit.id, visit.token, "cancel"),)


def _cancel_map(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """Its children are asked by the machine; without any it ends here."""
    assert isinstance(event, ev.CancelRequested)
    return map_ended(moved_to(visit, N.CANCELLING, event, event.message or f"by {event.actor}"), event), ()


def _cancel_again(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """A second wish interrupts once more: the body may have swallowed the first."""
    return visit, () if visit.width is not None else (Interrupt(visit.id, visit.token, "cancel"),)


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
    ev.BodyPaused,
    ev.BodyDeferred,
    ev.BodyLooped,
    ev.BodyCrashed,
    ev.VisitApproved,
    ev.TriggerJudged,
    ev.MapOpened,
    ev.MapSealed,
    ev.BlockLeft,
    ev.LateResultRefused,
    ev.SlotsAnswered,
    ev.TimerFired,
    ev.CancelRequested,
    ev.SkipRequested,
    ev.TaskInvalidated,
    ev.WorkerLost,
)
_WAITING = (N.PENDING, N.SCHEDULED, N.LATE, N.RETRYING, N.LOOPED, N.RESUMING, N.QUEUED, N.PAUSED, N.SUSPENDED)

MOVES: dict[tuple[StateName, type[ev.TaskEvent]], Handler] = {
    **BODY_MOVES,
    (N.PENDING, ev.KeyResolved): _resolved,
    (N.PENDING, ev.ResultReused): _reused,
    (N.PENDING, ev.TriggerJudged): _judged,
    (N.PENDING, ev.MapOpened): _map_opened,
    (N.PENDING, ev.BlockLeft): _left,
    (N.MAPPED, ev.MapSealed): _map_sealed,
    (N.CANCELLING, ev.MapSealed): _map_sealed,
    (N.MAPPED, ev.CancelRequested): _cancel_map,
    (N.MAPPED, ev.WorkerLost): _lost,
    (N.RESUMING, ev.KeyResolved): _resolved,
    (N.PAUSED, ev.VisitApproved): _approved,
    (N.QUEUED, ev.SlotsAnswered): _slots,
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
    if event in ev.BODY_ENDS or event is ev.BodyEntered:
        return f"no body of it runs, so {event.__name__} cannot come"
    if event is ev.SkipRequested:
        return "it is already running; cancel it first"
    if event in (ev.KeyResolved, ev.ResultReused):
        return "its key was resolved before"
    if event is ev.SlotsAnswered:
        return "it waits for no slot"
    if event is ev.VisitApproved:
        return "it waits for nobody"
    return f"{event.__name__} has no meaning here"


ILLEGAL: dict[tuple[StateName, type[ev.TaskEvent]], str] = {
    pair: _wording(*pair) for pair in product(N, TASK_EVENTS) if pair not in MOVES
}
"""Pairs that cannot happen, each with what to tell."""
