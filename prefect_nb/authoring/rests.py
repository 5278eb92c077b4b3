"""Visits of cells that rest: what is left waiting for a person or a time, taken up again, or given up.

Nobody holds such a visit: it lies in the store, its cell has ended and the kernel is free. Executing the cell once more
goes on with it, unless the cell or what it reads changed meanwhile. Knows runs and sessions; not how a body is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prefect_nb.authoring.job import Job
from prefect_nb.core import events as ev
from prefect_nb.core.events import TaskEvent
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import StateName
from prefect_nb.engine.session import Session
from prefect_nb.errors import NotAvailable
from prefect_nb.wiring import now

__all__ = ["RESTING", "Rested", "any_rests", "give_up", "refuse_waiting", "rested", "told_to_rest"]

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
    return Rested(found) if found.state.name is StateName.PAUSED else None


def rested(run: Run, job: Job) -> Visit | None:
    """The visit that an execution of a cell goes on with; None if it has to be a new one."""
    last = run.visit(job.spec.name)
    if last is None or last.state.name not in RESTING or job.keyed is None:
        return None
    same = last.key == job.keyed.key and last.cell in (None, job.cell.id)
    return last if same and not job.fresh else None


def give_up(session: Session, task: str) -> None:
    """A new visit takes the place of one that rests: an answer to that would be an answer to something else."""
    last = session.run.visit(task)
    if last is not None and last.state.name in RESTING:
        told = "its cell, or what it reads, changed while it waited"
        session.post(ev.CancelRequested(at=now(), visit=last.id, message=told))


def any_rests(run: Run) -> bool:
    """Whether the run has something left that waits for a person or a time, or was just let go on."""
    return any(visit.state.name in RESTING for visit in run.visits.values())


def refuse_waiting(run: Run, task: str, upstream: Sequence[str]) -> None:
    """What a task needs may not be there yet.

    Raises
    ------
    NotAvailable
        Naming the task upstream that waits for a person or a time.
    """
    for above in upstream:
        visit = run.visit(above)
        if visit is None or visit.state.name not in RESTING:
            continue
        state = visit.state.label
        message = f": {visit.state.message}" if visit.state.message else ""
        paused = visit.state.name is StateName.PAUSED
        hint = f"%flow approve {above} lets it go on; then execute its cell" if paused else f"execute {above} first"
        raise NotAvailable(f"{task} needs {above}, which is {state}{message}", hint=hint, task=above, state=state)
