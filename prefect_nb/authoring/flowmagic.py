"""``%flow``: the graph, and every question about it, as text that survives a kernel restart."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from typing import Any

from IPython.core.error import UsageError as MagicUsageError

from prefect_nb.authoring import approvals
from prefect_nb.authoring.approvals import Answer
from prefect_nb.authoring.hub import Hub
from prefect_nb.authoring.liveflow import LiveFlow
from prefect_nb.authoring.rests import RESTING
from prefect_nb.authoring.runner import CellRunner
from prefect_nb.authoring.tracebacks import present
from prefect_nb.core.states import StateName, StateType
from prefect_nb.errors import NotAvailable, PrefectNBError, UsageError
from prefect_nb.views.artifacts import artifact_text, artifacts_of
from prefect_nb.views.dot import to_dot
from prefect_nb.views.inspect import explanation
from prefect_nb.views.model import RunView
from prefect_nb.views.text import runs_table, status_table
from prefect_nb.views.words import size
from prefect_nb.wiring import now

__all__ = ["FlowMagic"]

_print = print  # notebooks may replace the builtin


class FlowMagic:
    """The commands of ``%flow`` for one kernel.

    Parameters
    ----------
    flow, runner, hub
        The kernel's notebook, what runs its cells, and what shows them.
    """

    def __init__(self, flow: LiveFlow, runner: CellRunner, hub: Hub) -> None:
        self._flow = flow
        self._runner = runner
        self._hub = hub
        self._commands: dict[str, Callable[[str], Any]] = {
            "": self._graph,
            "widget": self._widget,
            "status": self._status,
            "why": self._why,
            "logs": self._logs,
            "artifacts": self._artifacts,
            "runs": self._runs,
            "run": self._run,
            "approve": self._approve,
            "reject": self._reject,
            "new": self._new,
            "failed": self._failed,
            "dot": self._dot,
            "usage": self._usage,
            "finish": self._finish,
        }

    def __call__(self, line: str) -> Any:
        """Carry one command out."""
        command, _, rest = line.strip().partition(" ")
        handler = self._commands.get(command)
        if handler is None:
            known = ", ".join(c for c in self._commands if c)
            raise MagicUsageError(f"%flow {command}: there is no such command; use one of {known}")
        try:
            return handler(rest.strip())
        except PrefectNBError as error:
            raise MagicUsageError(str(error).replace("\n", " ")) from None

    def _graph(self, rest: str) -> None:
        self._hub.display()
        if self._flow.remark:
            _print(self._flow.remark, file=sys.stderr)

    def _widget(self, rest: str) -> Any:
        return self._hub.widget()

    def _status(self, rest: str) -> None:
        self._open()
        _print(status_table(self._hub.model()))

    def _why(self, name: str) -> None:
        self._open()
        task = self._known(name, "why")
        _print(explanation(self._hub.details(task), self._flow.session.run.find(task), now()))

    def _logs(self, name: str) -> None:
        self._open()
        task = self._known(name, "logs") if name else ""
        last: object = None
        for chunk in self._flow.store.logs(self._flow.session.run.id, task):
            head = (chunk.visit, chunk.attempt)
            if head != last:
                _print(f"--- {chunk.visit} attempt {chunk.attempt}")
                last = head
            _print(chunk.text, end="")

    def _artifacts(self, name: str) -> None:
        self._open()
        run = self._flow.session.run
        visit = run.find(self._known(name, "artifacts"))
        chunks = [] if visit is None else self._flow.store.logs(run.id, visit.id.task, artifacts=True)
        shown = artifacts_of(c for c in chunks if visit is not None and c.visit == visit.id)
        _print("\n\n".join(map(artifact_text, shown)) or f"{name} shows no artifacts")

    def _runs(self, rest: str) -> None:
        rows = self._flow.store.runs(flow=self._flow.name)
        views = [
            RunView(
                id=r.run,
                flow=r.flow,
                notebook=r.notebook,
                state=r.state,
                type=r.type,
                message=r.message,
                live=r.live,
                started_at=r.created_at,
                ended_at=r.ended_at,
            )
            for r in rows
        ]
        _print(runs_table(views, now()) if views else "no runs yet")

    def _run(self, name: str) -> None:
        raise UsageError("%flow run must be the only line of its cell", hint="give it a cell of its own")

    async def bring_up_to_date(self, name: str) -> None:
        """``%flow run [NAME]``: run what is stale, in the order of the cells; a failure stops only what needs it.

        Raises
        ------
        NotAvailable
            In the end, if a task did not end well.
        """
        try:
            self._open()
            cells = [c for c in self._flow.document.cells if c.spec is not None]
            if name:
                known = self._known(name, "run")
                cells = [c for c in cells if c.spec is not None and c.spec.name == known]
        except PrefectNBError as error:
            raise MagicUsageError(str(error).replace("\n", " ")) from None
        bad: dict[str, str] = {}
        for cell in cells:
            visit = await self._runner.bring(cell)
            if visit is not None and visit.state.name in RESTING:
                _print(approvals.words(visit.id.task, visit.state), file=sys.stderr)
            elif visit is not None and visit.state.type is not StateType.COMPLETED:
                bad[visit.id.task] = visit.state.label
                if visit.state.name is StateName.CANCELLED:  # Stop, or a button: go no further
                    break
        self._hub.flush()
        _print(status_table(self._hub.model()))
        if bad:
            told = ", ".join(f"{task} {state}" for task, state in bad.items())
            sum_up = NotAvailable(f"not everything is up to date: {told}", hint="%flow why NAME tells more")
            raise present(self._flow.shell, sum_up, None)

    def _approve(self, rest: str) -> None:
        name, answer = self._answer(rest, "approve")
        session = self._flow.session
        session.ask(approvals.approved(session.run, name, answer))
        _print(f"{name} may go on: execute its cell")

    def _reject(self, rest: str) -> None:
        name, answer = self._answer(rest, "reject")
        session = self._flow.session
        session.ask(approvals.rejected(session.run, name, answer))
        _print(f"{name} is cancelled")

    def _answer(self, rest: str, command: str) -> tuple[str, Answer]:
        """A task's name, then ``field=value`` words that answer its form, then a note."""
        self._open()
        try:
            words = shlex.split(rest)
        except ValueError:
            words = rest.split()
        name = self._known(words[0] if words else "", command)
        form = approvals.waiting(self._flow.session.run, name).state.data.get("form") or {}
        fields = dict(word.split("=", 1) for word in words[1:] if word.partition("=")[0] in form)
        note = " ".join(word for word in words[1:] if word.partition("=")[0] not in form)
        return name, Answer(approvals.person("notebook"), now(), note, fields)

    def _new(self, rest: str) -> None:
        _print(f"run {self._flow.renew()}")

    def _failed(self, name: str) -> Any:
        left = self._flow.failed.get(name)
        if left is None:
            raise MagicUsageError(f"%flow failed: no body of {name or 'a task'} failed in this kernel")
        return dict(left)

    def _dot(self, rest: str) -> None:
        _print(to_dot(self._hub.model()))

    def _usage(self, rest: str) -> None:
        used = self._flow.store.usage()
        _print(
            f"{self._flow.store.location}: results {size(used.results)} of {size(used.quota)}, "
            f"database {size(used.database)}, {used.runs} runs, {used.entries} reusable results"
        )

    def _finish(self, rest: str) -> None:
        if self._flow.mode == "flow":
            self._flow.finish(interrupted="--interrupted" in rest)
        self._hub.flush()

    def _open(self) -> None:
        """Make sure that there is a run to tell about; the last one is taken over after a restart."""
        self._flow.mend()
        session = self._flow.session
        self._flow.describe()
        session.ask()

    def _known(self, name: str, command: str) -> str:
        run = self._flow.session.run
        names = [*(c.spec.name for c in self._flow.document.cells if c.spec is not None), *run.latest]
        if name in names or any(name in (str(v), v.task) for v in run.visits):
            return name
        told = ", ".join(dict.fromkeys(names)) or "none yet"
        what = f"%flow {command} {name}: there is no such task" if name else f"%flow {command} takes a task's name"
        raise MagicUsageError(f"{what}; known are {told}")
