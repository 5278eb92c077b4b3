"""The one place that moves a state: ``step(run, event) -> (run, effects)``.

Rules of this room
------------------
* It is total: every (state, event) pair has a move in :mod:`~prefect_nb.core.moves` or is illegal with its wording.
* It is pure: time arrives in events, waits are derived, nothing is read from outside.
* Final states absorb. A late answer changes nothing; the engine records it as refused.
* A permission (token) is granted by ``Enter`` and must be quoted by everything the body answers; an older one is stale.
* A run's own state is never set, it is rolled up from its visits; only ``RunAttached`` reopens a run that ended.
* A closed run grants nothing; attaching gives the withheld orders again. What ran under another worker has crashed.

What the table cannot say: a trigger is judged when a visit is planned, when something upstream ends badly, and when the
last of its upstream ends (`unmet` counts them, so that joining n visits costs n and not n squared).

Source: the transition tables of h11 and the event/instruction machine of dask.distributed, made immutable.
"""

from __future__ import annotations

from collections import Counter

from prefect_nb.core import events as ev
from prefect_nb.core.counts import put
from prefect_nb.core.effects import ClearTimer, Effect, Interrupt, Judge, Resolve, Settle
from prefect_nb.core.events import Event, RunEvent, TaskEvent
from prefect_nb.core.judging import depends, judge
from prefect_nb.core.moved import crashed, map_ended, moved_to, withheld
from prefect_nb.core.moves import ILLEGAL, MOVES
from prefect_nb.core.rollup import VERDICTS, roll_up, rolled_up
from prefect_nb.core.run import Run, Visit, evolved
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import State, StateName, StateType
from prefect_nb.errors import IllegalTransition

__all__ = ["step"]

N = StateName
Step = tuple[Run, tuple[Effect, ...]]
_WITH_BODY = (N.SUBMITTED, N.RUNNING, N.MAPPED, N.CANCELLING)
_NEW = Visit(VisitId(""), TaskSpec(""), State(N.PENDING, 0.0), 0.0)  # changed into each new one: a copy is cheaper


def step(run: Run, event: Event) -> Step:
    """The run after an event, and the orders that follow from it, in the order in which they are to be carried out.

    Raises
    ------
    IllegalTransition
        If the event cannot happen in this state: a fault of the caller, told with the visit's story.
    """
    if not run.id and not isinstance(event, ev.RunOpened):
        raise IllegalTransition(f"{type(event).__name__} before the run was opened", event=event)
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
        if moved is visit:
            return run, effects
        if isinstance(event, ev.BlockLeft):
            return _released(run, visit, moved, event)
        run, effects = _settle(run, visit, moved, effects, event)
        return _stop_children(run, visit, event, effects) if visit.state.name is N.MAPPED else (run, effects)
    assert isinstance(event, RunEvent)
    return _run_event(run, event)


def _plan(run: Run, event: ev.TaskPlanned) -> Step:
    if event.visit in run.visits:
        raise IllegalTransition(f"{event.visit} was planned before", run=run.id, visit=event.visit)
    if run.closed or run.state.final:
        raise IllegalTransition(f"run {run.id} is closed; {event.visit} cannot be planned", run=run.id)
    upstream = tuple(dict.fromkeys(event.upstream))
    unmet: list[VisitId] = []
    for up in upstream:
        found = run.visits.get(up)
        if found is None:
            raise IllegalTransition(f"{event.visit} waits for {up}, which was never planned", run=run.id)
        if not found.state.final:
            unmet.append(up)
    visit = evolved(
        _NEW,
        id=event.visit,
        spec=event.spec,
        state=State(N.PENDING, event.at),
        planned_at=event.at,
        upstream=upstream,
        unmet=len(unmet),
        held=event.spec.resource == "cleanup",
        parent=event.parent,
        cell=event.cell,
    )
    parent = None if visit.parent is None else run.visits.get(visit.parent)
    if parent is not None and parent.width is not None and not parent.state.final:
        if visit.id.index != parent.width or parent.sealed or parent.id in upstream:
            raise IllegalTransition(f"{visit.id} is not the next child of {parent.id}", run=run.id, visit=visit.id)
        run = evolved(run, visits=run.visits.put(parent.id, evolved(parent, width=parent.width + 1)))
    stopping = parent is not None and parent.width is not None and parent.state.name is not N.MAPPED
    if run.cancelled or stopping:
        told = "its map was asked to stop" if stopping else "the run was asked to stop"
        return _settle(run, None, moved_to(visit, N.NOT_RUN, event, told), (), event)
    if unmet:
        waiting = run.waiting
        for up in unmet:
            waiting = waiting.put(up, (*(waiting.get(up) or ()), visit.id))
        run = evolved(run, waiting=waiting)
    judged, effects = judge(run, visit, event)
    return _settle(run, None, judged, effects, event)


def _released(run: Run, before: Visit, moved: Visit, event: ev.BlockLeft) -> Step:
    """A cleanup that was held waits for all that was called meanwhile, and no longer for the rest."""
    waiting, unmet = run.waiting, 0
    for up in moved.upstream:
        if up not in run.visits or depends(run, up, before.id):
            why = "depends on it" if up in run.visits else "was never planned"
            raise IllegalTransition(f"{before.id} cannot wait for {up}, which {why}", run=run.id, visit=before.id)
        if not run.visits[up].state.final:
            unmet += 1
            if up not in before.upstream:
                waiting = waiting.put(up, (*(waiting.get(up) or ()), before.id))
    moved = evolved(moved, unmet=unmet)
    judged, effects = judge(run, moved, event)
    return _settle(evolved(run, waiting=waiting), before, judged, effects, event)


def _settle(run: Run, before: Visit | None, moved: Visit, effects: tuple[Effect, ...], event: Event) -> Step:
    """Put a moved visit (or a new one) in its place, let those who waited for its end be judged, roll the run up.

    `moved` was just made: nobody else has seen it.
    """
    run = put(run, before, moved)
    if moved.state.final and not (before is not None and before.state.final):
        orders = [*effects, ClearTimer(moved.id), Settle(moved.id)]
        ended = [moved.id]
        for visit_id in ended:  # grows while dependants end; a loop, because a chain may be longer than the stack
            for dependant in run.waiting.get(visit_id) or ():
                run, more = _heard(run, dependant, run.visits[visit_id].state, event)
                if more:
                    orders.extend(more)
                    if type(more[-1]) is Settle:
                        ended.append(dependant)
            run, parent = _told_parent(run, run.visits[visit_id], event)
            if parent is not None:
                orders += ClearTimer(parent), Settle(parent)
                ended.append(parent)
        effects = tuple(orders)
    roll_up(run, event)
    return run, effects


def _told_parent(run: Run, child: Visit, event: Event) -> tuple[Run, VisitId | None]:
    """The run after a map heard of the end of a child, and the map if that was its own end."""
    parent = None if child.parent is None else run.visits.get(child.parent)
    if parent is None or parent.width is None or parent.state.final:
        return run, None
    ends = {**parent.ends, child.state.name: parent.ends.get(child.state.name, 0) + 1}
    counted = evolved(parent, ends=ends)
    moved = map_ended(counted, event)
    if moved is counted:
        return evolved(run, visits=run.visits.put(parent.id, counted)), None
    return put(run, parent, moved), parent.id


def _stop_children(run: Run, before: Visit, event: Event, effects: tuple[Effect, ...]) -> Step:
    """A map that was asked to stop asks its children."""
    if isinstance(event, ev.CancelRequested):
        for index in range(before.width or 0):
            child = VisitId(before.id.task, before.id.visit, index)
            if not run.visits[child].state.final:
                wish = ev.CancelRequested(at=event.at, visit=child, actor=event.actor, message=event.message)
                run, more = step(run, wish)
                effects += more
    return run, effects


def _heard(run: Run, dependant: VisitId, end: State, event: Event) -> Step:
    """The run after a visit heard that something upstream of it ended so."""
    visit = run.visits[dependant]
    if visit.state.name is not N.PENDING:
        return run, ()
    visit = evolved(visit, unmet=visit.unmet - 1)
    run = evolved(run, visits=run.visits.put(dependant, visit), stuck=run.stuck - (not visit.unmet and not visit.held))
    if visit.unmet and end.type is StateType.COMPLETED:
        return run, ()
    judged, effects = judge(run, visit, event)
    effects = () if visit.unmet else effects  # the last of those that ended with this one lets it go
    return (run, effects) if judged is visit else (put(run, visit, judged), (ClearTimer(dependant), Settle(dependant)))


def _run_event(run: Run, event: RunEvent) -> Step:
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
            run, effects = _attach(run, event)
        case _ if run.state.final:
            return run, ()  # it ended before; only another worker may go on with it
        case ev.RunCancelRequested():
            run, effects = _stop_all(evolved(run, cancelled=True), event)
        case ev.RunClosed():
            if event.verdict not in VERDICTS:
                raise IllegalTransition(f"a run cannot be made to end as {event.verdict}", run=run.id, event=event)
            said = {"reference": event.reference, "verdict": event.verdict, "message": event.message}
            run = evolved(run, closed=True, interrupted=event.interrupted, lost=event.lost, **said)
            if event.lost:
                run, effects = _crash_all(run, event)
            if run.cancelled or not (event.interrupted or event.lost):
                run, more = _stop_all(run, event)
                effects += more
    return rolled_up(run, event), effects


def _attach(run: Run, event: ev.RunAttached) -> Step:
    """Under another worker the former permissions are void; what may begin gets its order again.

    A retry wait keeps its due time; its timer is set again only for the worker that set it, because nobody else stands
    ready for the body yet: another one plans a new visit, or posts TimerFired once it is ready.
    """
    if run.state.name in (N.SUCCESS, N.SKIPPED, N.CANCELLED):
        raise IllegalTransition(f"run {run.id} ended as {run.state.label}; there is nothing to resume", run=run.id)
    same = event.worker == run.worker
    anew = {"closed": False, "interrupted": False, "lost": False, "reference": (), "verdict": "", "message": ""}
    run = evolved(run, worker=event.worker, ended_at=None, **anew)
    run, effects = (run, ()) if same else _crash_all(run, event)
    orders: list[Effect] = list(effects)
    resolving = {effect.visit for effect in effects if type(effect) in (Resolve, Judge)}
    for visit in run.visits.values():
        if visit.state.name is N.PENDING and not visit.unmet and visit.id not in resolving:
            orders += judge(run, visit, event)[1]
        else:
            orders += withheld(visit, same=same)
    return run, tuple(orders)


def _crash_all(run: Run, event: RunEvent) -> Step:
    """Every body that ran has crashed: its process vanished, or lost its permission to another."""
    effects: tuple[Effect, ...] = ()
    for known in _open_visits(run):
        visit = run.visits[known.id]  # a map may have ended with those that heard of the last crash
        if visit.state.name in _WITH_BODY:
            run, more = _settle(run, visit, crashed(visit, event), (), event)
            effects += more
    return run, effects


def _stop_all(run: Run, event: RunEvent) -> Step:
    """What runs is asked to stop, everything else becomes NotRun at once: nobody judges, for nobody goes on.

    But the cleanup of a resource goes on where somebody is there for it.
    """
    orders: list[Effect] = []
    staying = isinstance(event, ev.RunCancelRequested) and not run.closed
    for visit in _open_visits(run):
        if staying and visit.spec.resource == "cleanup":
            continue
        if visit.state.name not in _WITH_BODY:
            run = put(run, visit, moved_to(visit, N.NOT_RUN, event, "the run ended before it was reached"))
            orders += ClearTimer(visit.id), Settle(visit.id)
            continue
        if visit.state.name is not N.CANCELLING:
            run = put(run, visit, moved_to(visit, N.CANCELLING, event, f"by {event.actor}"))
        orders.append(Interrupt(visit.id, visit.token, "cancel") if visit.width is None else ClearTimer(visit.id))
    for visit in _open_visits(run):
        if visit.width is not None:
            counted = evolved(visit, ends=_counted(run, visit))
            moved = map_ended(counted, event)
            if moved is counted:
                run = evolved(run, visits=run.visits.put(visit.id, counted))
            else:
                run = put(run, visit, moved)
                orders.append(Settle(visit.id))
    for visit in _open_visits(run) if staying else ():
        if visit.state.name is N.PENDING and visit.unmet:
            unmet = sum(not run.visits[up].state.final for up in visit.upstream)
            counted = evolved(visit, unmet=unmet)
            stuck = run.stuck - (not unmet and not visit.held)
            run = evolved(run, visits=run.visits.put(visit.id, counted), stuck=stuck)
            if not unmet:
                orders += judge(run, counted, event)[1]
    return run, tuple(orders)


def _counted(run: Run, visit: Visit) -> dict[StateName, int]:
    """How the children of a map ended, counted anew."""
    states = (run.visits[VisitId(visit.id.task, visit.id.visit, i)].state for i in range(visit.width or 0))
    return dict(Counter(state.name for state in states if state.final))


def _open_visits(run: Run) -> list[Visit]:
    return [v for v in run.visits.values() if not v.state.final] if run.active else []
