"""The one place that moves a state: ``step(run, event) -> (run, effects)``.

Rules of this room
------------------
* It is total: every (state, event) pair has a move in :mod:`~prefect_nb.core.moves` or is illegal with its wording.
* It is pure: time arrives in events, waits are derived, nothing is read from outside.
* Final states absorb. A late answer changes nothing; the engine records it as refused.
* A permission (token) is granted by ``Enter`` and must be quoted by everything the body answers; an older one is stale.
* A run's own state is never set, it is rolled up from its visits; only ``RunAttached`` reopens a run that ended.

What the table cannot say: triggers are judged when a visit is planned and again whenever something upstream ends.

Source: the transition tables of h11 and the event/instruction machine of dask.distributed, made immutable.
"""

from __future__ import annotations

from prefect_nb.core import events as ev
from prefect_nb.core.effects import ClearTimer, Effect, Interrupt, Resolve, Settle
from prefect_nb.core.events import Event, RunEvent, TaskEvent
from prefect_nb.core.moves import ILLEGAL, MOVES, Move, moved_to
from prefect_nb.core.rollup import rolled_up
from prefect_nb.core.run import Run, Visit, evolved
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State, StateName, StateType
from prefect_nb.core.triggers import Go, all_successful
from prefect_nb.errors import IllegalTransition

__all__ = ["step"]

N = StateName


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
    run = evolved(
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
    told = evolved(visit, reason=ruling.reason)
    if ruling.go is Go.SKIP:
        return moved_to(told, N.SKIPPED, event, ruling.reason.sentence), ()
    return moved_to(told, N.TRIGGER_FAILED, event, ruling.reason.sentence, cause=ruling.reason.detail), ()


def _settle(
    run: Run, before: Visit, moved: Visit, effects: tuple[Effect, ...], event: Event
) -> tuple[Run, tuple[Effect, ...]]:
    """Put a moved visit back, roll the run up and, when the visit ended, let those who waited for it be judged."""
    new = before.version == 0
    if moved is before and not new:
        return run, effects
    moved = evolved(moved, version=moved.version + 1)
    old_name, name = before.state.name, moved.state.name
    ended = name.final and not (old_name.final and not new)
    tally: dict[StateName, int] = dict(run.tally)
    if name is not old_name and moved.parent is None and run.latest[moved.id.task] == moved.id:
        tally[old_name] -= 1
        tally[name] = tally.get(name, 0) + 1
    run = evolved(run, visits=run.visits.put(moved.id, moved), tally=tally, active=run.active - ended)
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
            run = evolved(
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
                raise IllegalTransition(
                    f"run {run.id} ended as {run.state.label}; there is nothing to resume", run=run.id
                )
            run = evolved(run, worker=event.worker, closed=False, interrupted=False, lost=False, ended_at=None)
        case ev.RunCancelRequested():
            run = evolved(run, cancelled=True)
            run, effects = _stop_all(run, event)
        case ev.RunClosed():
            run = evolved(run, closed=True, interrupted=event.interrupted, lost=event.lost)
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
            moved = (
                visit if visit.state.name is N.CANCELLING else moved_to(visit, N.CANCELLING, event, f"by {event.actor}")
            )
        else:
            moved = moved_to(visit, N.NOT_RUN, event, "the run ended before it was reached")
        run, more = _settle(run, visit, moved, more, event)
        effects = (*effects, *more)
    return run, effects
