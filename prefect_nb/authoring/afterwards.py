"""Wishes for a run that this process has left: carried out in the store, or left there for who works on it now.

Knows runs that nobody works on; not those that go on here.
"""

from __future__ import annotations

from prefect_nb.authoring.approvals import person
from prefect_nb.core import events as ev
from prefect_nb.core.fold import fold
from prefect_nb.core.machine import step
from prefect_nb.core.run import Run
from prefect_nb.engine.recovery import carry_out
from prefect_nb.engine.session import Session
from prefect_nb.errors import UsageError
from prefect_nb.protocols import Signal, Store
from prefect_nb.wiring import now

__all__ = ["carried_out", "known_in", "unfit"]


def carried_out(store: Store, wish: Signal) -> Run:
    """Let it happen; the run as it is then."""
    row = store.run(wish.run)
    if row is not None and not carry_out(store, row, wish, store.open_worker("flow", row.flow), now):
        store.signal(wish)
    return fold(event for _, event in store.events(wish.run))


def known_in(run: Run, task: str) -> str:
    """The name of a task of this run.

    Raises
    ------
    UsageError
        If it has none of that name.
    """
    if run.find(task) is None:
        names = ", ".join(list(run.latest)[:20])
        raise UsageError(f"run {run.id} has no task {task}", hint=f"it has {names}" if names else "it has none")
    return task


def unfit(session: Session, before: Run, task: str) -> Run:
    """The run as it was, but for the result of one task, which nobody takes over any more: a person wants it again."""
    visit = before.find(task)
    assert visit is not None
    event = ev.TaskInvalidated(at=now(), visit=visit.id, actor=person("python"))
    session.ask(event)
    if visit.key:
        session.store.invalidate(visit.key)
    return step(before, event)[0]
