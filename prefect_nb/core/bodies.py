"""How a visit moves by what its body answers: that it began, and the one way in which it ended.

Every answer quotes the permission under which the body runs; an older one changes nothing.
"""

from __future__ import annotations

from prefect_nb.core import events as ev
from prefect_nb.core.effects import ClearTimer, Interrupt, SetTimer
from prefect_nb.core.moved import Handler, Move, moved_to, pause_timers
from prefect_nb.core.run import Run, Visit, evolved
from prefect_nb.core.states import StateName
from prefect_nb.errors import IllegalTransition

__all__ = ["BODY_MOVES"]

N = StateName


def _entered(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyEntered)
    if event.token != visit.token:
        return visit, ()
    started = event.at if visit.started_at is None else visit.started_at
    tried = [f"iteration {visit.loop + 1}"] if visit.loop else []
    if visit.attempts > visit.spent + 1:
        tried.append(f"attempt {visit.attempt - visit.spent}/{visit.attempts - visit.spent}")
    message = ", ".join(tried)
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
    assert isinstance(event, ev.BodyEnd)
    if event.token < visit.token or visit.state.name is not N.SUBMITTED:
        return visit, ()
    raise IllegalTransition(
        f"{visit.id} is {visit.state.label}: its body has not begun under this permission", visit=visit.id, event=event
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
    counted = visit.attempt - visit.asked - visit.crashes - visit.spent
    if event.retryable and retry.allows(counted, error.types):
        due = event.at + retry.wait(counted, f"{run.id}/{visit.id}")
        data = {"due": due, "next_attempt": visit.attempt + 1}
        waiting = moved_to(visit, N.RETRYING, event, summary, data, error=error)
        return waiting, (ClearTimer(visit.id), SetTimer(visit.id, visit.token, "retry", due))
    if error.kind == "timeout":
        limit = "its limit" if visit.spec.timeout is None else f"{visit.spec.timeout:g} s"
        how = "stopped" if error.hard else "soft: the body was not stopped"
        return moved_to(visit, N.TIMED_OUT, event, f"over {limit}, {how}", {"hard": error.hard}, error=error), ()
    return moved_to(visit, N.FAILED, event, summary, error=error), ()


def _never_began(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """What its body was to be given could not be had; no attempt was made."""
    assert isinstance(event, ev.BodyRaised)
    if event.token != visit.token:
        return visit, ()
    summary = f"{event.error.type}: {event.error.message}".splitlines()[0][:200]
    return moved_to(visit, N.FAILED, event, summary, error=event.error), ()


def _raised_while_cancelling(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyRaised)
    if event.token != visit.token:
        return visit, ()
    told = f"{visit.state.message}; it raised {event.error.type} while stopping".lstrip("; ")
    return moved_to(visit, N.CANCELLED, event, told, error=event.error), ()


def _crashed(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """A crash has a budget of its own; a body that is to run once is never entered again unasked."""
    assert isinstance(event, ev.BodyCrashed)
    if event.token != visit.token:
        return visit, ()
    crashes, retry = visit.crashes + 1, visit.spec.retry
    told = event.message or "its process vanished"
    if crashes <= retry.crashes and not visit.spec.once:
        due = event.at + retry.wait(crashes, f"{run.id}/{visit.id}/crash")
        data: dict[str, object] = {"due": due, "next_attempt": visit.attempt + 1}
        waiting = moved_to(visit, N.RETRYING, event, told, data, crashes=crashes)
        return waiting, (ClearTimer(visit.id), SetTimer(visit.id, visit.token, "retry", due))
    end = {"last_seen": event.at, "entered": True, "code": event.code}
    return moved_to(visit, N.CRASHED, event, told, end, crashes=crashes), ()


def _crashed_while_cancelling(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """It was to stop, and it has."""
    assert isinstance(event, ev.BodyCrashed)
    if event.token != visit.token:
        return visit, ()
    return moved_to(visit, N.CANCELLED, event, f"{visit.state.message}; its process vanished".lstrip("; ")), ()


def _skipped(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodySkipped)
    if event.token != visit.token:
        return visit, ()
    return moved_to(visit, N.SKIPPED, event, event.message), ()


def _paused(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyPaused)
    if event.token != visit.token:
        return visit, ()
    data = {"wants": "answer" if event.form else "approval", "form": dict(event.form), "until": event.until}
    paused = moved_to(visit, N.PAUSED, event, event.message, {**data, "limit": event.limit}, approval=None)
    return paused, (ClearTimer(visit.id), *pause_timers(paused))


def _deferred(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyDeferred)
    if event.token != visit.token:
        return visit, ()
    data = {"due": event.due, "next_attempt": visit.attempt + 1}
    waiting = moved_to(
        visit, N.RETRYING, event, event.message or "asked to be tried again", data, asked=visit.asked + 1
    )
    return waiting, (ClearTimer(visit.id), SetTimer(visit.id, visit.token, "retry", event.due))


def _looped(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """Each iteration has the attempts that the policy grants; a retry enters the one that failed."""
    assert isinstance(event, ev.BodyLooped)
    if event.token != visit.token:
        return visit, ()
    loop, spent = visit.loop + 1, visit.attempt - visit.asked - visit.crashes
    told = f"iteration {loop} done" + (f": {event.message}" if event.message else "")
    data = {"due": event.at, "iteration": loop}
    looped = moved_to(visit, N.LOOPED, event, told, data, loop=loop, loop_result=event.result, spent=spent, error=None)
    return looped, (ClearTimer(visit.id), SetTimer(visit.id, visit.token, "retry", event.at))


def _gave_up_while_cancelling(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    """The body wanted to wait, but it had been asked to stop."""
    assert isinstance(event, ev.BodyPaused | ev.BodyDeferred | ev.BodyLooped)
    if event.token != visit.token:
        return visit, ()
    return moved_to(visit, N.CANCELLED, event, visit.state.message), ()


def _stopped(run: Run, visit: Visit, event: ev.TaskEvent) -> Move:
    assert isinstance(event, ev.BodyCancelled)
    if event.token != visit.token:
        return visit, ()
    return moved_to(visit, N.CANCELLED, event, visit.state.message or event.message or f"by {event.actor}"), ()


_CAN_END = (N.RUNNING, N.CANCELLING)
BODY_MOVES: dict[tuple[StateName, type[ev.TaskEvent]], Handler] = {
    (N.SUBMITTED, ev.BodyEntered): _entered,
    (N.CANCELLING, ev.BodyEntered): _entered_while_cancelling,
    (N.RUNNING, ev.BodyRaised): _raised,
    (N.RUNNING, ev.BodyCrashed): _crashed,
    (N.PENDING, ev.BodyRaised): _never_began,
    (N.RUNNING, ev.BodyPaused): _paused,
    (N.RUNNING, ev.BodyDeferred): _deferred,
    (N.RUNNING, ev.BodyLooped): _looped,
    (N.CANCELLING, ev.BodyRaised): _raised_while_cancelling,
    (N.CANCELLING, ev.BodyCrashed): _crashed_while_cancelling,
    (N.CANCELLING, ev.BodyPaused): _gave_up_while_cancelling,
    (N.CANCELLING, ev.BodyDeferred): _gave_up_while_cancelling,
    (N.CANCELLING, ev.BodyLooped): _gave_up_while_cancelling,
    (N.SUBMITTED, ev.BodyCancelled): _stopped,
    **{(name, ev.BodyReturned): _returned for name in _CAN_END},
    **{(name, ev.BodySkipped): _skipped for name in _CAN_END},
    **{(name, ev.BodyCancelled): _stopped for name in _CAN_END},
    **{(name, end): _late for name in (N.RETRYING, N.LOOPED, N.PAUSED, N.RESUMING) for end in ev.BODY_ENDS},
    **{(N.SUBMITTED, end): _late for end in ev.BODY_ENDS if end is not ev.BodyCancelled},
}
"""(state, what the body answered) -> the move."""
