"""A run of a flow as its caller sees it: wait for it, ask it, steer it; and the driving of its flow's body to the end.

Knows what the end of a flow's body means. Not how visits run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from prefect_nb.authoring import approvals, signals
from prefect_nb.authoring.afterwards import carried_out
from prefect_nb.authoring.calls import Caller, calling
from prefect_nb.authoring.causes import error_of, first_failure
from prefect_nb.authoring.finished import kept_value
from prefect_nb.authoring.flowruns import FlowRun
from prefect_nb.authoring.leaving import Parked, Unattended
from prefect_nb.authoring.nodes import filled
from prefect_nb.authoring.taskruns import TaskRun, Tasks
from prefect_nb.authoring.tracebacks import error_info
from prefect_nb.core import events as ev
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.run import Run as RunState
from prefect_nb.core.spec import TaskKind, TaskSpec, VisitId
from prefect_nb.core.states import State, StateName, StateType
from prefect_nb.engine.session import Attachments, Session
from prefect_nb.errors import NotAvailable, TaskCancelled, TaskFailed, UsageError
from prefect_nb.protocols import Signal
from prefect_nb.wiring import now

__all__ = ["Run"]

_PATIENCE_S = 2.0
_FOREVER_S = 1e6


class Run:
    """One run of a flow of functions.

    Parameters
    ----------
    work : FlowRun
        The run under way.
    flow : str
        The flow's name, for people.
    resumed : callable
        Goes on with it, once it was left, without taking a task's result over.
    patient : bool
        Whether who drives it waits for a person's answer.
    """

    def __init__(self, work: FlowRun, flow: str, resumed: Callable[[str], Run], *, patient: bool = True) -> None:
        self._resumed = resumed
        self._work = work
        self.vault = work.vault
        self._flow = flow
        self._patient = patient
        self._changed = threading.Condition()
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._after: RunState | None = None  # how it stands since it was left, after a wish from here
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
        """How it stands now; once it was left, as this process last knew it."""
        return (self._after or self._work.session.run).state

    @property
    def tasks(self) -> Mapping[str, TaskRun]:
        """Its tasks by name."""
        return Tasks(self._work)

    @property
    def unattended(self) -> bool:
        """Whether it was left because only a person's answer is missing."""
        return self._work.unattended

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
        if not self._work.parked:
            self._work.session.post(ev.RunCancelRequested(at=now(), actor=approvals.person("python")))
            return
        self._wish("cancel-run")

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
        event = approvals.approved(self._after or session.run, task, answer)
        if not self._work.parked:
            session.ask(event)
            return
        self._wish("approve", event.visit.label, {"note": note, "value": dict(event.value)})

    def retry(self, task: str) -> Run:
        """Go on with a run that ended badly or was paused, and run this task again though it had succeeded; the run.

        What depends on the task runs again where its value is another. Of a map the children that had not succeeded
        run again; ``fetch[3]`` names one that had.

        Raises
        ------
        UsageError
            If it still runs, ended well or was cancelled, or has no such task.
        """
        state = self.state
        if state.name in (StateName.SUCCESS, StateName.SKIPPED, StateName.CANCELLED):
            hint = "call the flow again: what did not change is reused"
            raise UsageError(f"run {self.id} ended as {state.label}; its tasks are not tried again", hint=hint)
        if not state.final and state.type is not StateType.PAUSED:
            raise UsageError(f"run {self.id} is {state.label}", hint="wait for its end, or cancel it first")
        return self._resumed(task)

    def _wish(self, kind: str, task: str = "", detail: Mapping[str, Any] | None = None) -> None:
        """A wish for a run that is left: its engine here has ended."""
        self.left()
        actor = approvals.person("python")
        wish = Signal(run=self.id, kind=kind, task=task, actor=actor, at=now(), detail=detail or {})
        self._after = carried_out(self._work.store, wish)

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
            work.ending.tell(self._flow, work.was, work.session.run.state)
            with calling(Caller(work, None, plan=work)):
                work.begin()
                try:
                    value = body()
                except signals.Success as success:
                    value = success.result
                except Exception as raised:
                    error = raised
                except signals.BodySignal as raised:
                    error = _no_signal(raised, self._flow)
            work.wait_for_all()
            return self._concluded(value, error, name)
        except Parked:
            self._let_end(_FOREVER_S)
            hint = f"prefect_nb.resume({self.id!r}) goes on with it"
            raise NotAvailable(f"run {self.id} was paused", hint=hint, run=self.id) from None
        except Unattended:
            paused = [v for v in work.session.run.visits.values() if v.state.type is StateType.PAUSED]
            asked = "; ".join(f"{v.id.label} ({v.state.message})" for v in paused)
            self._park()
            self._let_end(_FOREVER_S)
            told = f"run {self.id} waits for a person: {asked}"
            hint = f"prefect-nb approve NAME --run {self.id}, then prefect_nb.resume({self.id!r}) goes on with it"
            raise NotAvailable(told, hint=hint, run=self.id) from None
        except BaseException:  # Ctrl-C, sys.exit(), a stop of a body that called it: it can be resumed
            if work.session.failure is None:
                self._leave()
            raise

    def _leave(self) -> None:
        """Stop what runs and park the run."""
        session = self._work.session
        self._park()
        for visit in session.run.visits.values():
            if visit.state.type is StateType.RUNNING and visit.width is None:
                session.post(ev.CancelRequested(at=now(), visit=visit.id, actor="stop", message="by Stop"))
        self._let_end(_PATIENCE_S)

    def _let_end(self, patience_s: float) -> None:
        """Wait for the bodies that run."""
        self._work.loop.drain(patience_s)
        self._work.executor.close(patience_s=patience_s)

    def _concluded(self, value: Any, error: BaseException | None, name: str) -> Any:
        """Close the run, and say what its flow's call gives."""
        work, session, ending, body = self._work, self._work.session, self._work.ending, ""
        if error is not None:
            session.ask(durable=False)  # a cancel that made it may still be on its way
        if error is not None and not session.run.cancelled:
            fails = ending.as_tasks_say(session.run, now()).type is StateType.FAILED
            body = "" if fails and self._known(error) else self._record(error, name)
        was, attachments = session.run.state, Attachments()
        if error is None:
            address, attachments = kept_value(work, session.run, value)
            session.describe({**session.graph, "value": address})
        run = session.ask(ending.closed(self._flow, session.run, now(), body), attachments=attachments)
        ending.tell(self._flow, was, run.state)
        if run.state.name is StateName.CANCELLED or run.cancelled:
            raise TaskCancelled(f"run {run.id} of {self._flow} was cancelled", hint=run.state.message, run=run.id)
        if run.state.type is StateType.FAILED:
            raise self._failure(run, error)
        return filled(value, work.result_of)

    def _failure(self, run: RunState, error: BaseException | None) -> BaseException:
        """What the call of a flow raises whose run failed."""
        if error is not None:
            return error
        if (failed := first_failure(run, self._work.errors)) is not None:
            return _noted(failed[1], f"task {failed[0]} of run {run.id}")
        return TaskFailed(f"run {run.id} of {self._flow} failed: {run.state.message}", run=run.id)

    def _known(self, error: BaseException) -> bool:
        """Whether it is what a task raised, so that the run fails for that task."""
        run = self._work.session.run
        bad = [v.id for v in run.visits.values() if v.state.final and v.state.type is not StateType.COMPLETED]
        return any(error is error_of(run, v, self._work.errors) or error is self._work.errors.get(v) for v in bad)

    def _record(self, error: BaseException, name: str) -> str:
        """The flow's own body raised: a visit says so, so that the run fails for it; its task."""
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
        return taken

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
        work.resources.end()
        work.session.close()
        if work.parked:  # whoever wants to go on with it need not wait for the end of this process
            work.store.take_run(self.id, "", work.session.run.worker)
        with self._changed:
            self._done = True
            self._changed.notify_all()

    # --- hearing of changes ------------------------------------------------------------------------------------------

    def _told(self, run: RunState) -> None:
        """In the engine's thread: wake those who wait when it comes to a stop."""
        if run.state.name is not self._last or run.state.name is StateName.PAUSED:
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


def _no_signal(raised: BaseException, flow: str) -> Exception:
    """What a signal in the body of a flow means: there is no visit that could be skipped, paused or tried again."""
    told = signals.outside(raised, flow)
    if isinstance(raised, signals.Fail) and isinstance(told, Exception):
        return told
    hint = "raise it in the body of a task; a flow's body just returns"
    return UsageError(f"the body of flow {flow} raised signals.{type(raised).__name__.lower()}", hint=hint)


def _noted(error: BaseException, note: str) -> BaseException:
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
    return error
