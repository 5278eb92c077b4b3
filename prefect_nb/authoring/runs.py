"""A run of a flow as its caller sees it: wait for it, ask it, steer it; and the driving of its flow's body to the end.

Knows what the end of a flow's body means. Not how visits run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prefect_nb.authoring import approvals
from prefect_nb.authoring.calls import Caller, calling
from prefect_nb.authoring.causes import error_of, first_failure
from prefect_nb.authoring.flowruns import FlowRun, Parked, Unattended
from prefect_nb.authoring.nodes import filled
from prefect_nb.authoring.tracebacks import error_info
from prefect_nb.core import events as ev
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.run import Run as RunState
from prefect_nb.core.run import Visit
from prefect_nb.core.spec import TaskKind, TaskSpec, VisitId
from prefect_nb.core.states import State, StateName, StateType
from prefect_nb.engine.session import Session
from prefect_nb.errors import NotAvailable, TaskCancelled
from prefect_nb.wiring import now

__all__ = ["Run", "TaskRun", "Tasks"]

_PATIENCE_S = 2.0
_FOREVER_S = 1e6


class TaskRun:
    """One task of a run, or one child of a map."""

    def __init__(self, work: FlowRun, visit: VisitId) -> None:
        self._work = work
        self._id = visit

    @property
    def name(self) -> str:
        """Its name in the run; of a child with its index."""
        return self._id.task if self._id.index < 0 else f"{self._id.task}[{self._id.index}]"

    @property
    def state(self) -> State:
        """How it stands."""
        return self._visit.state

    @property
    def attempts(self) -> int:
        """How often its body was entered."""
        return self._visit.attempt

    @property
    def children(self) -> list[TaskRun]:
        """The children of a map, in order; empty for everything else."""
        return [TaskRun(self._work, VisitId(self._id.task, self._id.visit, i)) for i in range(self._visit.width or 0)]

    def result(self) -> Any:
        """Its value, None if it was skipped; raises what its body raised, and NotAvailable while it has not ended."""
        if not self._visit.state.final:
            raise NotAvailable(f"{self.name} is {self.state.label}; it has no result yet", task=self.name)
        return self._work.outcome(self._id)

    def logs(self) -> str:
        """What its body printed and logged, all attempts in order."""
        chunks = self._work.store.logs(self._work.session.run.id, self._id.task)
        children = self._visit.width is not None
        mine = [c for c in chunks if c.visit == self._id or (children and c.visit[:2] == self._id[:2])]
        return "".join(chunk.text for chunk in mine)

    def why(self) -> str:
        """Why it ran, was reused, was skipped or did not run."""
        visit = self._visit
        lines = [f"{self.name} is {visit.state.label}" + (f": {visit.state.message}" if visit.state.message else "")]
        if visit.reason is not None:
            lines.append(visit.reason.sentence)
            lines += [f"  {what}: {words}" for what, words in visit.reason.parts]
        return "\n".join(dict.fromkeys(lines))

    def __repr__(self) -> str:
        return f"<{self.name}: {self.state.label}>"

    @property
    def _visit(self) -> Visit:
        return self._work.session.run.visits[self._id]


class Tasks(Mapping[str, TaskRun]):
    """The tasks of a run by name; the second call of a task is ``name-2``. Children are asked of their map."""

    def __init__(self, work: FlowRun) -> None:
        self._work = work

    def __getitem__(self, name: str) -> TaskRun:
        found = self._work.session.run.latest.get(name)
        if found is None:
            raise KeyError(f"{name}; this run has {', '.join(self) or 'no tasks yet'}")
        return TaskRun(self._work, found)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._work.session.run.latest))

    def __len__(self) -> int:
        return len(self._work.session.run.latest)


class Run:
    """One run of a flow of functions.

    Parameters
    ----------
    work : FlowRun
        The run under way.
    flow : str
        The flow's name, for people.
    patient : bool
        Whether who drives it waits for a person's answer.
    """

    def __init__(self, work: FlowRun, flow: str, *, patient: bool = True) -> None:
        self._work = work
        self._flow = flow
        self._patient = patient
        self._changed = threading.Condition()
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        work.session.bus.subscribe(self._told)
        self._last = work.session.run.state.name

    @property
    def id(self) -> str:
        """The run's id."""
        return self._work.session.run.id

    @property
    def session(self) -> Session:
        """Its engine."""
        return self._work.session

    @property
    def state(self) -> State:
        """How it stands now."""
        return self._work.session.run.state

    @property
    def tasks(self) -> Mapping[str, TaskRun]:
        """Its tasks by name."""
        return Tasks(self._work)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the flow was called with."""
        return self._work.session.run.parameters

    def wait(self, timeout: float | None = None) -> State:
        """Wait until it has ended, or only waits for a person; its state, also when `timeout` seconds are over."""
        with self._changed:
            self._changed.wait_for(lambda: self._done or self._blocked(), timeout)
        return self.state

    def result(self, timeout: float | None = None) -> Any:
        """Wait until it has ended; what the flow returned, or what it raised is raised.

        Raises
        ------
        NotAvailable
            If it has not ended after `timeout` seconds, or was paused as a whole.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._done, timeout):
                raise NotAvailable(f"run {self.id} is {self.state.label}; it has no result yet", run=self.id)
        if self._error is not None:
            raise self._error
        return self._value

    def cancel(self) -> None:
        """Stop what runs and begin nothing more; bodies that can be interrupted end within two seconds."""
        with self._work.gate:
            self._work.stopping = True
        self._work.session.post(ev.RunCancelRequested(at=now(), actor=approvals.person("python")))

    def pause(self) -> None:
        """Begin nothing more, let running bodies end, and leave the run Paused: ``resume(run.id)`` goes on with it."""
        self._park()

    def approve(self, task: str, note: str = "", value: Mapping[str, Any] | None = None) -> None:
        """Let a task go on that waits for a person; `value` answers its form.

        Raises
        ------
        UsageError
            If it does not wait, or the answer does not fit.
        """
        answer = approvals.Answer(approvals.person("python"), now(), note, value or {})
        session = self._work.session
        session.ask(approvals.approved(session.run, task, answer))

    def left(self) -> None:
        """Wait until nothing of it runs in this process any more, also where it was paused."""
        with self._changed:
            self._changed.wait_for(lambda: self._done)

    def __repr__(self) -> str:
        return f"<run {self.id} of {self._flow}: {self.state.label}>"

    # --- driving -----------------------------------------------------------------------------------------------------

    def drive(self, body: Callable[[], Any], *, name: str) -> Any:
        """Run the flow's body in this thread and see the run to its end; the value, or what failed is raised."""
        try:
            self._value = self._driven(body, name)
        except BaseException as error:  # it is the run's outcome too
            self._error = error
            raise
        finally:
            self._end()
        return self._value

    def _driven(self, body: Callable[[], Any], name: str) -> Any:
        work, value = self._work, None
        error: BaseException | None = None
        try:
            with calling(Caller(work, None, plan=work)):
                work.begin()
                try:
                    value = body()
                except Exception as raised:
                    error = raised
            work.wait_for_all()
            return self._concluded(value, error, name)
        except Parked:
            work.executor.close(patience_s=_FOREVER_S)
            hint = f"prefect_nb.resume({self.id!r}) goes on with it"
            raise NotAvailable(f"run {self.id} was paused", hint=hint, run=self.id) from None
        except Unattended:
            asked = ", ".join(v.id.task for v in work.session.run.visits.values() if v.state.type is StateType.PAUSED)
            self._park()
            work.executor.close(patience_s=_FOREVER_S)
            told = f"run {self.id} waits for a person: {asked}"
            hint = f"prefect-nb approve NAME --run {self.id}, then prefect_nb.resume({self.id!r}) goes on with it"
            raise NotAvailable(told, hint=hint, run=self.id) from None
        except KeyboardInterrupt:
            self._park()
            for visit in work.session.run.visits.values():
                if visit.state.type is StateType.RUNNING:
                    work.session.post(ev.CancelRequested(at=now(), visit=visit.id, actor="stop", message="by Stop"))
            work.executor.close(patience_s=_PATIENCE_S)
            raise

    def _concluded(self, value: Any, error: BaseException | None, name: str) -> Any:
        """Close the run, and say what its flow's call gives."""
        work = self._work
        if error is not None and not work.session.run.cancelled and not self._known(error):
            self._record(error, name)
        run = work.session.ask(ev.RunClosed(at=now()))
        if run.state.name is StateName.CANCELLED or run.cancelled:
            raise TaskCancelled(f"run {run.id} of {self._flow} was cancelled", hint=run.state.message, run=run.id)
        if error is not None:
            raise error
        if run.state.type is StateType.FAILED and (failed := first_failure(run, work.errors)) is not None:
            raise _noted(failed[1], f"task {failed[0]} of run {run.id}")
        return filled(value, work.result_of)

    def _known(self, error: BaseException) -> bool:
        """Whether it is what a task raised, so that the run fails for that task."""
        run = self._work.session.run
        bad = [v.id for v in run.visits.values() if v.state.final and v.state.type is not StateType.COMPLETED]
        return any(error is error_of(run, v, self._work.errors) or error is self._work.errors.get(v) for v in bad)

    def _record(self, error: BaseException, name: str) -> None:
        """The flow's own body raised: a visit says so, so that the run fails for it."""
        session, at = self._work.session, now()
        taken, number = name, 2
        while session.run.latest.get(taken) is not None:
            taken, number = f"{name}-{number}", number + 1
        visit = VisitId(taken)
        told = error_info(error, error.__traceback__, label=self._work.cell_label)
        reason = Reason(ReasonCode.UNCACHEABLE, "the body of a flow always runs")
        session.ask(
            ev.TaskPlanned(at=at, visit=visit, spec=TaskSpec(name, kind=TaskKind.FUNCTION)),
            ev.KeyResolved(at=at, visit=visit, key="", reason=reason),
            ev.BodyEntered(at=at, visit=visit, token=1),
            ev.BodyRaised(at=at, visit=visit, token=1, error=told),
        )

    def _park(self) -> None:
        work = self._work
        with work.gate:
            if work.parked or work.session.run.state.final:
                return
            work.stopping = work.parked = True
        work.session.ask(ev.RunClosed(at=now(), interrupted=True, actor=approvals.person("python")))
        work.wake()

    def _end(self) -> None:
        work = self._work
        work.executor.close()
        work.loop.close()
        work.session.close()
        if work.parked:  # whoever wants to go on with it need not wait for the end of this process
            work.store.take_run(self.id, "", work.session.run.worker)
        with self._changed:
            self._done = True
            self._changed.notify_all()

    # --- hearing of changes ------------------------------------------------------------------------------------------

    def _told(self, run: RunState) -> None:
        """In the engine's thread: wake those who wait when it comes to a stop."""
        if run.state.name is not self._last:
            self._last = run.state.name
            if not self._patient and self._blocked():
                self._work.unattended = True
                self._work.wake()
            with self._changed:
                self._changed.notify_all()

    def _blocked(self) -> bool:
        """Whether nothing goes on until a person says something."""
        run = self._work.session.run
        if run.state.name is not StateName.PAUSED:
            return False
        if run.closed:
            return self._work.parked
        resting = [v for v in run.visits.values() if v.state.type is StateType.PAUSED]
        return all(v.state.data.get("until") is None for v in resting)


def _noted(error: BaseException, note: str) -> BaseException:
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
    return error
