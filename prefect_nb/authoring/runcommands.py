"""What a page may ask of a run of a flow of functions, while it runs and after.

Served on a thread of its own while a cell runs, so nothing here touches the user's namespace. A task runs when the body
of its flow calls it: so there is no button that runs one, but one that goes on with the whole run where it did not end
well. Knows the protocol of `prefect_nb.views.model`; not how messages travel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefect_nb.authoring import approvals
from prefect_nb.authoring.audience import aside
from prefect_nb.authoring.commands import Handler, Said, answer_of, answered, story, wanted
from prefect_nb.authoring.flows import resume
from prefect_nb.authoring.runs import Run
from prefect_nb.authoring.screens import RunScreen
from prefect_nb.core import events as ev
from prefect_nb.core.run import Visit
from prefect_nb.errors import UsageError
from prefect_nb.views.children import Query, children
from prefect_nb.wiring import now

__all__ = ["RunCommands"]


class RunCommands:
    """The commands of pages for one run.

    Parameters
    ----------
    run : Run
        The run, as the one who drives it last sees it.
    screen : RunScreen
        What pages know of it.
    """

    def __init__(self, run: Run, screen: RunScreen) -> None:
        self._run, self._screen = run, screen
        self._known: dict[str, Handler] = {
            "cancel-run": self._cancel_run,
            "resume-run": self._resume_run,
            "cancel": self._cancel,
            "skip": self._skip,
            "approve": self._approve,
            "reject": self._reject,
            "invalidate": self._invalidate,
            "details": self._details,
            "children": self._children,
        }

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Carry a command out."""
        return answered(data, self._serve)

    def _serve(self, op: str, data: Mapping[str, Any]) -> Said:
        if op in ("run", "run-downstream", "retry", "force"):
            raise UsageError("a task of a flow runs when the flow calls it: resume the run, or call the flow again")
        handler, task = wanted(self._known, op, data)
        return handler(task, data)

    def _visit(self, task: str) -> Visit:
        visit = self._screen.run.find(task)
        if visit is None:
            raise UsageError(f"run {self._run.id} has no task {task}")
        return visit

    def _open(self, task: str) -> Visit:
        """A visit that has not ended, of a run that goes on here."""
        visit = self._visit(task)
        if visit.state.final:
            raise UsageError(f"{task} has ended already: {visit.state.label}")
        if not self._screen.here:
            raise UsageError(f"nothing drives run {self._run.id} now: resume it first")
        return visit

    def _cancel_run(self, task: str, data: Mapping[str, Any]) -> Said:
        if not self._screen.here:
            raise UsageError(f"run {self._run.id} is {self._run.state.label}; nothing of it runs")
        self._run.cancel()
        return "asked the run to stop", None

    def _resume_run(self, task: str, data: Mapping[str, Any]) -> Said:
        if self._screen.here:
            raise UsageError(f"run {self._run.id} still runs")
        with aside():
            resume(self._run.id)
        return "the run goes on: what had succeeded is not run again", None

    def _cancel(self, task: str, data: Mapping[str, Any]) -> Said:
        visit = self._open(task)
        asked = ev.CancelRequested(at=now(), actor="page", visit=visit.id, message="by the page")
        self._screen.session.ask(asked)
        return f"asked {task} to stop", None

    def _skip(self, task: str, data: Mapping[str, Any]) -> Said:
        visit = self._open(task)
        self._screen.session.ask(ev.SkipRequested(at=now(), actor="page", visit=visit.id, message="by the page"))
        return f"{task} is skipped", None

    def _approve(self, task: str, data: Mapping[str, Any]) -> Said:
        self._open(task)
        session = self._screen.session
        session.ask(approvals.approved(session.run, task, answer_of(data)))
        return f"{task} goes on", None

    def _reject(self, task: str, data: Mapping[str, Any]) -> Said:
        self._open(task)
        session = self._screen.session
        session.ask(approvals.rejected(session.run, task, answer_of(data)))
        return f"{task} is cancelled", None

    def _invalidate(self, task: str, data: Mapping[str, Any]) -> Said:
        visit, screen = self._visit(task), self._screen
        if not visit.key:
            raise UsageError(f"{task} has no result that another run could reuse")
        screen.session.store.invalidate(visit.key)
        if screen.here:
            screen.session.ask(ev.TaskInvalidated(at=now(), actor="page", visit=visit.id))
        return f"the next run computes {task} again", None

    def _details(self, task: str, data: Mapping[str, Any]) -> Said:
        return "", story(self._screen.session, self._screen.run, task, self._run.vault).to_plain()

    def _children(self, task: str, data: Mapping[str, Any]) -> Said:
        return "", children(self._screen.run, self._visit(task), Query.of(data)).to_plain()
