"""Visits of cells that rest: what is left waiting for a person or a time, taken up again, or given up.

Nobody holds such a visit: it lies in the store, its cell has ended and the kernel is free. Executing the cell once more
goes on with it, unless the cell or what it reads changed meanwhile. Knows runs and sessions; not how a body is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefect_nb.authoring.body import End
from prefect_nb.authoring.ground import Ground
from prefect_nb.authoring.job import Job
from prefect_nb.authoring.orders import next_order
from prefect_nb.authoring.reuse import Found
from prefect_nb.core import events as ev
from prefect_nb.core.effects import Resolve
from prefect_nb.core.events import TaskEvent
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import StateName, StateType
from prefect_nb.engine.desk import Order
from prefect_nb.engine.session import Attachments, Session
from prefect_nb.errors import NotAvailable
from prefect_nb.wiring import now

__all__ = [
    "RESTING",
    "Rested",
    "explained",
    "give_up",
    "go_on",
    "refuse_waiting",
    "resolved",
    "rested",
    "told_end",
    "told_to_rest",
    "unknown_outcome",
]

RESTING = (StateName.PAUSED, StateName.RESUMING)


@dataclass(frozen=True, slots=True)
class Rested:
    """In the place of an order: there will be none, for the visit waits for a person or a time."""

    visit: Visit


def told_to_rest(session: Session, visit: VisitId, events: Sequence[TaskEvent]) -> Rested | None:
    """Let events happen that may leave the visit resting; that, once it is durable, or None if an order comes.

    Raises
    ------
    StoreError
        If the engine cannot go on.
    """
    found = session.ask(*events).visits[visit]
    return Rested(found) if found.state.name in RESTING else None  # a short pause may be over already


def told_end(session: Session, visit: VisitId, events: Sequence[TaskEvent], attachments: Attachments) -> Rested | None:
    """Tell the engine how a body ended; only for a pause, to which no order answers, is its answer waited for."""
    if any(isinstance(event, ev.BodyPaused) for event in events):
        return told_to_rest(session, visit, events)
    session.post(*events, attachments=attachments)
    return None


def rested(run: Run, job: Job) -> Visit | None:
    """The visit that an execution of a cell goes on with; None if it has to be a new one."""
    last = run.visit(job.spec.name)
    if last is None or last.state.name not in RESTING or job.keyed is None or job.fresh:
        return None
    if last.key != job.keyed.key or last.cell not in (None, job.cell.id):
        return None  # an answer to that would be an answer to something else
    reused = isinstance(job.finding, Found) and last.state.name is StateName.PAUSED  # which never asks
    return None if reused else last


def give_up(session: Session, task: str) -> None:
    """A new visit takes the place of one that rests."""
    last = session.run.visit(task)
    if last is not None and last.state.name in RESTING:
        told = "a new execution took its place: the cell, or what it reads, changed while it waited"
        session.post(ev.CancelRequested(at=now(), visit=last.id, message=told))


async def go_on(job: Job, session: Session, resting: Visit) -> Order:
    """The permission to enter a body that was let go on."""
    assert job.keyed is not None
    reason = Reason(ReasonCode.PERSON, resting.state.message or "it goes on after a pause")
    limits = session.limited(job.spec.tags, resting.parent)
    session.post(ev.KeyResolved(at=now(), visit=resting.id, key=job.keyed.key, reason=reason, limits=limits))
    order = await next_order(job, session)
    while isinstance(order, Resolve):  # it came when the visit was let go on, and was just answered
        order = await next_order(job, session)
    return order


def resolved(job: Job, flow: Ground, reason: Reason, ask: str, *, first: bool) -> ev.KeyResolved:
    """That a cell's body has to run; `first` after a restart, it goes on with the iteration that was cut off."""
    assert job.keyed is not None and job.visit is not None  # noqa: PT018
    key, run = job.keyed.key, flow.session.run
    last = run.visits.get(VisitId(job.visit.task, job.visit.visit - 1))
    more: dict[str, Any] = {"limits": flow.session.limited(job.spec.tags)}
    if first and last is not None and last.key == key and key and last.state.type is not StateType.COMPLETED:
        more |= {"loop": last.loop, "loop_result": last.loop_result}
    return ev.KeyResolved(at=now(), visit=job.visit, key=key, reason=reason, ask=ask, **more)


def unknown_outcome(run: Run, job: Job) -> str:
    """Why a person has to agree before the body of a task that may run once only is entered again; empty if not."""
    assert job.visit is not None
    before = run.visits.get(VisitId(job.visit.task, job.visit.visit - 1))
    if not job.spec.once or before is None or before.state.name is not StateName.CRASHED:
        return ""
    return "its body was running when its kernel vanished; approve to run it again, or skip it"


def refuse_waiting(task: str, above: Sequence[Visit]) -> None:
    """What a task needs may not be there yet.

    Raises
    ------
    NotAvailable
        Naming the task above that waits for a person or a time.
    """
    for visit in above:
        if visit.state.name in RESTING:
            paused, name = visit.state.name is StateName.PAUSED, visit.id.task
            hint = f"%flow approve {name} lets it go on; then execute its cell" if paused else f"execute {name} first"
            raise _absent(f"{task} needs {name}, which", visit, hint)


def explained(end: End, lacking: Mapping[str, Visit]) -> End:
    """A name that a body missed, and why nobody made it, if a task should have."""
    error = end.error
    name = error.name if isinstance(error, NameError) else None
    visit = lacking.get(name or "")
    if visit is None:
        return end
    told = _absent(f"{name} is not available: task {visit.id.task}", visit, f"run {visit.id.task} first")
    return replace(end, error=told)


def _absent(what: str, visit: Visit, hint: str) -> NotAvailable:
    state = visit.state
    message = f": {state.message}" if state.message else ""
    return NotAvailable(f"{what} is {state.label}{message}", hint=hint, task=visit.id.task, state=state.label)
