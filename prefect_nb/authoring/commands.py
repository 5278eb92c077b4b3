"""What a page may ask of a run, carried out as events; the answer is a value, never an exception.

Served on a thread of its own while a cell runs, so nothing here touches the user's namespace. Knows the protocol of
`prefect_nb.views.model`; not how messages travel.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from prefect_nb.authoring import approvals
from prefect_nb.authoring.approvals import Answer
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.shelf import artifacts_now
from prefect_nb.core import events as ev
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.engine.session import Session
from prefect_nb.errors import PrefectNBError, UsageError
from prefect_nb.results.vault import Vault
from prefect_nb.views.children import Query, children
from prefect_nb.views.details import Details
from prefect_nb.views.inspect import inspect
from prefect_nb.wiring import now

__all__ = ["Commands", "Handler", "Said", "answer_of", "answered", "story", "wanted"]

_log = logging.getLogger("prefect_nb")
Said = tuple[str, Any]
Handler = Callable[[str, Mapping[str, Any]], Said]


def answered(data: Mapping[str, Any], serve: Callable[[str, Mapping[str, Any]], Said]) -> dict[str, Any]:
    """What a page is told of its command, whatever became of it."""
    op = data.get("op")
    try:
        said, extra = serve(op if isinstance(op, str) else "", data)
    except PrefectNBError as error:
        return {"ok": False, "message": error.message}
    except Exception:  # the border: a page's message, whatever it holds, must not become output of the user's cell
        _log.debug("a page's command failed: %s", op, exc_info=True)
        return {"ok": False, "message": f"{op} failed in the kernel"}
    return {"ok": True, "message": said, **({"data": extra} if extra is not None else {})}


def wanted(known: Mapping[str, Handler], op: str, data: Mapping[str, Any]) -> tuple[Handler, str]:
    """What serves a command, and the task that it names.

    Raises
    ------
    UsageError
        If nobody serves it.
    """
    handler, task = known.get(op), data.get("task")
    if handler is None or not isinstance(task, str):
        raise UsageError(f"{str(data.get('op'))[:40]} is not something a page can ask for")
    return handler, task


class Commands:
    """The commands of pages for one kernel's run.

    Parameters
    ----------
    flow : LiveFlow
        The kernel's notebook.
    """

    def __init__(self, flow: LiveFlow) -> None:
        self._flow = flow
        self._known: dict[str, Handler] = {
            "cancel": self._cancel,
            "skip": self._skip,
            "approve": self._approve,
            "reject": self._reject,
            "invalidate": self._invalidate,
            "force": self._force,
            "run": self._intend,
            "run-downstream": self._intend,
            "retry": self._intend,
            "details": self._details,
            "why": self._details,
            "logs": self._details,
            "children": self._children,
        }

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Carry a command out."""
        if data.get("op") in ("hello", "snapshot"):
            return {"ok": True, "message": ""}
        return answered(data, self._serve)

    def _serve(self, op: str, data: Mapping[str, Any]) -> Said:
        if op == "document":
            return self._document(data)
        handler, task = wanted(self._known, op, data)
        self._check_run(op, data)
        return handler(task, data)

    def _check_run(self, op: str, data: Mapping[str, Any]) -> None:
        run = data.get("run")
        if not self._flow.opened:
            if op not in ("force", "run", "run-downstream", "retry"):
                raise UsageError("nothing has run yet")
        elif isinstance(run, str) and run and run != self._flow.session.run.id:
            raise UsageError(f"run {run} is over in this kernel; the newest %flow shows the one that is open")

    def _document(self, data: Mapping[str, Any]) -> Said:
        rows, path = data.get("cells"), data.get("path")
        if not isinstance(rows, list) or not all(_is_cell(row) for row in rows):
            raise UsageError("a document is a list of cells, each with an id and a source")
        if len({row["id"] for row in rows}) != len(rows):
            raise UsageError("two cells of the document have the same id")
        self._flow.set_document(rows, path=path if isinstance(path, str) else "")
        return "", None

    def _found(self, task: str) -> Visit | None:
        """The visit that a node stands for: a task's latest, or that of one function call."""
        run = self._flow.session.run
        return run.visit(task) or next((v for i, v in run.visits.items() if str(i) == task), None)

    def _cancel(self, task: str, data: Mapping[str, Any]) -> Said:
        visit = self._found(task)
        if visit is None:
            raise UsageError(f"{task} has not run yet")
        if visit.state.final:
            raise UsageError(f"{task} has ended already: {visit.state.label}")
        self._flow.session.ask(ev.CancelRequested(at=now(), actor="page", visit=visit.id, message="by the page"))
        return f"asked {task} to stop", None

    def _skip(self, task: str, data: Mapping[str, Any]) -> Said:
        session = self._flow.session
        visit = self._found(task)
        cell = self._flow.document.task(task)
        if visit is not None and not visit.state.final:
            session.ask(ev.SkipRequested(at=now(), actor="page", visit=visit.id, message="by the page"))
        elif cell is not None and cell.spec is not None:
            fresh = VisitId(task, 1 if visit is None else visit.id.visit + 1)
            session.ask(
                ev.TaskPlanned(at=now(), actor="page", visit=fresh, spec=cell.spec, cell=cell.id),
                ev.SkipRequested(at=now(), actor="page", visit=fresh, message="by the page"),
            )
            if data.get("queued") is True:  # the page has asked for this cell already; that execution is the one meant
                self._flow.skips.add(cell.id)
        else:
            raise UsageError(f"there is no task {task}")
        return f"{task} is skipped", None

    def _approve(self, task: str, data: Mapping[str, Any]) -> Said:
        session = self._flow.session
        session.ask(approvals.approved(session.run, task, answer_of(data)))
        return f"{task} may go on: run its cell", None

    def _reject(self, task: str, data: Mapping[str, Any]) -> Said:
        session = self._flow.session
        session.ask(approvals.rejected(session.run, task, answer_of(data)))
        return f"{task} is cancelled", None

    def _invalidate(self, task: str, data: Mapping[str, Any]) -> Said:
        session = self._flow.session
        visit = self._found(task)
        if visit is None:
            raise UsageError(f"{task} has no result yet")
        if visit.key:
            session.store.invalidate(visit.key)
        session.ask(ev.TaskInvalidated(at=now(), actor="page", visit=visit.id))
        return f"{task} will be computed again", None

    def _force(self, task: str, data: Mapping[str, Any]) -> Said:
        cell = self._flow.document.task(task)
        if cell is None:
            raise UsageError(f"there is no task {task}")
        self._flow.forced.add(cell.id)
        return f"the next execution of {task} computes it again", None

    def _intend(self, task: str, data: Mapping[str, Any]) -> Said:
        """A body runs only when its cell is executed; where the page cannot do that, a person is told which."""
        document = self._flow.document
        cell = document.task(task)
        if cell is None:
            raise UsageError(f"there is no task {task} that a cell could run")
        self._flow.forced.add(cell.id)
        wanted = {cell.id}
        if data.get("op") == "run-downstream":
            wanted |= {d for d in document.graph.descendants(cell.id) if (c := document.cell(d)) and c.spec}
        names = [c.spec.name for c in document.cells if c.id in wanted and c.spec is not None]
        told = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        return f"now run {'the cell' if len(names) == 1 else 'the cells'} of {told}: this page cannot", None

    def _details(self, task: str, data: Mapping[str, Any]) -> Said:
        return "", self.details(task).to_plain()

    def _children(self, task: str, data: Mapping[str, Any]) -> Said:
        visit = self._found(task)
        if visit is None:
            raise UsageError(f"{task} has not run yet")
        return "", children(self._flow.session.run, visit, Query.of(data)).to_plain()

    def details(self, task: str) -> Details:
        """One task's story."""
        return story(self._flow.session, self._flow.session.run, task, self._flow.vault)


def story(session: Session, run: Run, task: str, vault: Vault) -> Details:
    """What the store and a run tell of one of its tasks."""
    store, visit = session.store, run.find(task)
    name = task if visit is None else visit.spec.name
    entries = store.entries(task=name, flow=run.flow, limit=20)
    entry = next((e for e in entries if visit is not None and e.key == visit.key), None)
    earlier = next((e for e in entries if entry is not None and e.created_at < entry.created_at), None)
    events = [event for _, event in store.events(run.id)]
    told = inspect(events, store.logs(run.id), entry, earlier, task)
    return told if visit is None else replace(told, artifacts=artifacts_now(session, visit.id, vault))


def answer_of(data: Mapping[str, Any]) -> Answer:
    """What a person said on the page; anything that is not what a page sends says nothing."""
    note, value = data.get("note"), data.get("value")
    return Answer(
        approvals.person("page"),
        now(),
        note if isinstance(note, str) else "",
        value if isinstance(value, Mapping) else {},
    )


def _is_cell(row: object) -> bool:
    if not isinstance(row, Mapping) or not isinstance(row.get("id"), str) or not row["id"]:
        return False
    tags = row.get("tags")
    listed = tags is None or (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags))
    return isinstance(row.get("source"), str) and listed
