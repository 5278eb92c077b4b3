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

from prefect_nb.core import events as ev
from prefect_nb.core.effects import ClearTimer, Effect, Interrupt, Resolve, SetTimer, Settle
from prefect_nb.core.events import Event, RunEvent, TaskEvent
from prefect_nb.core.moves import ILLEGAL, MOVES, Move, crashed, moved_to
from prefect_nb.core.rollup import rolled_up
from prefect_nb.core.run import Run, Visit, evolved
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State, StateName, StateType
from prefect_nb.core.triggers import Go, all_successful
from prefect_nb.errors import IllegalTransition

__all__ = ["step"]

N = StateName
Step = tuple[Run, tuple[Effect, ...]]
_WITH_BODY = (N.SUBMITTED, N.RUNNING, N.LOOPED, N.MAPPED, N.CANCELLING)


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
        return (run, effects) if moved is visit else _settle(run, visit, moved, effects, event)
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
    visit = Visit(
        id=event.visit,
        spec=event.spec,
        state=State(N.PENDING, event.at),
        planned_at=event.at,
        upstream=upstream,
        unmet=len(unmet),
        parent=event.parent,
        cell=event.cell,
    )
    if run.cancelled:
        return _settle(run, None, moved_to(visit, N.NOT_RUN, event, "the run was asked to stop"), (), event)
    if unmet:
        waiting = run.waiting
        for up in unmet:
            waiting = waiting.put(up, (*(waiting.get(up) or ()), visit.id))
        run = evolved(run, waiting=waiting)
    judged, effects = _judge(run, visit, event)
    return _settle(run, None, judged, effects, event)


def _judge(run: Run, visit: Visit, event: Event) -> Move:
    """The visit after its trigger's ruling; the same object when it may run or has to wait."""
    if visit.upstream:
        ruling = all_successful((up, run.visits[up].state) for up in visit.upstream)
        if ruling.go is Go.WAIT:
            return visit, ()
        if ruling.reason is not None:
            reason, sentence = ruling.reason, ruling.reason.sentence
            if ruling.go is Go.SKIP:
                return moved_to(visit, N.SKIPPED, event, sentence, reason=reason), ()
            return moved_to(visit, N.TRIGGER_FAILED, event, sentence, {"cause": reason.detail}, reason=reason), ()
    return visit, () if run.closed else (Resolve(visit.id),)


def _settle(run: Run, before: Visit | None, moved: Visit, effects: tuple[Effect, ...], event: Event) -> Step:
    """Put a moved visit (or a new one) in its place, let those who waited for its end be judged, roll the run up."""
    run = _put(run, before, moved)
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
        effects = tuple(orders)
    return rolled_up(run, event), effects


def _heard(run: Run, dependant: VisitId, end: State, event: Event) -> Step:
    """The run after a visit heard that something upstream of it ended so."""
    visit = run.visits[dependant]
    if visit.state.name is not N.PENDING:
        return run, ()
    visit = evolved(visit, unmet=visit.unmet - 1)
    if visit.unmet and end.type is StateType.COMPLETED:
        return evolved(run, visits=run.visits.put(dependant, visit)), ()
    judged, effects = _judge(run, visit, event)
    if judged is visit:
        return evolved(run, visits=run.visits.put(dependant, visit)), effects
    return _put(run, visit, judged), (ClearTimer(dependant), Settle(dependant))


def _put(run: Run, before: Visit | None, moved: Visit) -> Run:
    """The run with a new or moved visit, its version counted up; `tally` and `active` follow."""
    moved = evolved(moved, version=moved.version + 1)
    name = moved.state.name
    changes: dict[str, object] = {"visits": run.visits.put(moved.id, moved)}
    if before is None:
        changes["active"] = run.active + (not name.final)
        if moved.parent is None:
            former = run.visit(moved.id.task)
            changes["latest"] = run.latest.put(moved.id.task, moved.id)
            changes["tally"] = _tallied(run, None if former is None else former.state.name, name)
    elif name is not before.state.name:
        changes["active"] = run.active - name.final
        if moved.parent is None and run.latest[moved.id.task] == moved.id:
            changes["tally"] = _tallied(run, before.state.name, name)
    return evolved(run, **changes)


def _tallied(run: Run, less: StateName | None, more: StateName) -> dict[StateName, int]:
    tally = dict(run.tally)
    if less is not None:
        tally[less] -= 1
    tally[more] = tally.get(more, 0) + 1
    return tally


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
            run = evolved(run, closed=True, interrupted=event.interrupted, lost=event.lost)
            if event.lost:
                run, effects = _crash_all(run, event)
            elif not event.interrupted:
                run, effects = _stop_all(run, event)
    return rolled_up(run, event), effects


def _attach(run: Run, event: ev.RunAttached) -> Step:
    """Under another worker the former permissions are void; what may begin gets its order again.

    A retry wait keeps its due time; its timer is set again only for the worker that set it, because nobody else stands
    ready for the body yet: another one plans a new visit, or posts TimerFired once it is ready.
    """
    if run.state.name in (N.SUCCESS, N.SKIPPED, N.CANCELLED):
        raise IllegalTransition(f"run {run.id} ended as {run.state.label}; there is nothing to resume", run=run.id)
    same = event.worker == run.worker
    run = evolved(run, worker=event.worker, closed=False, interrupted=False, lost=False, ended_at=None)
    run, effects = (run, ()) if same else _crash_all(run, event)
    orders: list[Effect] = list(effects)
    resolving = {effect.visit for effect in effects if type(effect) is Resolve}
    for visit in run.visits.values():
        if visit.state.name is N.PENDING and not visit.unmet and visit.id not in resolving:
            orders.append(Resolve(visit.id))
        elif visit.state.name is N.RETRYING and same:
            orders.append(SetTimer(visit.id, visit.token, "retry", visit.state.data["due"]))
    return run, tuple(orders)


def _crash_all(run: Run, event: RunEvent) -> Step:
    """Every body that ran has crashed: its process vanished, or lost its permission to another."""
    effects: tuple[Effect, ...] = ()
    for visit in _open_visits(run):
        if visit.state.name in _WITH_BODY:
            run, more = _settle(run, visit, crashed(visit, event), (), event)
            effects += more
    return run, effects


def _stop_all(run: Run, event: RunEvent) -> Step:
    """What runs is asked to stop, everything else becomes NotRun at once: nobody judges, for nobody goes on."""
    orders: list[Effect] = []
    for visit in _open_visits(run):
        if visit.state.name not in _WITH_BODY:
            run = _put(run, visit, moved_to(visit, N.NOT_RUN, event, "the run ended before it was reached"))
            orders += ClearTimer(visit.id), Settle(visit.id)
            continue
        if visit.state.name is not N.CANCELLING:
            run = _put(run, visit, moved_to(visit, N.CANCELLING, event, f"by {event.actor}"))
        orders.append(Interrupt(visit.id, visit.token, "cancel"))
    return run, tuple(orders)


def _open_visits(run: Run) -> list[Visit]:
    return [v for v in run.visits.values() if not v.state.final] if run.active else []
