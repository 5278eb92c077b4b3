"""``@flow``: a function whose task calls become a graph of nodes; its runs, and resuming them.

Knows how a run is opened, where its code is found again, and what a call gives. Not how a run goes on (runs).
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, Generic, ParamSpec, TypeVar, Unpack, cast, overload

from prefect_nb.authoring.afterwards import known_in, unfit
from prefect_nb.authoring.audience import watched
from prefect_nb.authoring.calls import current
from prefect_nb.authoring.childflows import ChildFlow, given, hosted
from prefect_nb.authoring.endings import Ending, FlowOptions
from prefect_nb.authoring.finished import FinishedRun
from prefect_nb.authoring.flowruns import FlowRun
from prefect_nb.authoring.footing import Footing, footing
from prefect_nb.authoring.former import Former, code_digest
from prefect_nb.authoring.functions import Task
from prefect_nb.authoring.ground import namespace_of
from prefect_nb.authoring.parameters import Parameters
from prefect_nb.authoring.promises import rows_of
from prefect_nb.authoring.promises import workers as default_workers
from prefect_nb.authoring.runs import Run
from prefect_nb.authoring.tracing import Graph, traced
from prefect_nb.authoring.tryblocks import warn_about_tries
from prefect_nb.core import events as ev
from prefect_nb.core.fold import fold
from prefect_nb.core.policy import Cache
from prefect_nb.core.run import Run as RunState
from prefect_nb.core.spec import TaskKind, TaskSpec
from prefect_nb.core.states import StateType
from prefect_nb.engine.recovery import Opening, open_session
from prefect_nb.engine.session import Attachments, Session
from prefect_nb.errors import UsageError
from prefect_nb.protocols import RunRow
from prefect_nb.wiring import executor_name, new_run_id, now

__all__ = ["Flow", "flow", "resume"]

P = ParamSpec("P")
R = TypeVar("R")

_known: dict[str, Flow[..., Any]] = {}
_running: dict[str, Run] = {}
_mine: set[str] = set()  # the workers that this process is, as stores know it


class Flow(Generic[P, R]):
    """A function as a flow; call it as the function.

    Parameters
    ----------
    function : callable
        The body: plain Python that calls tasks.
    name : str
        What its runs are called.
    workers : int
        How many task bodies may run at a time.
    where : str
        The executor of tasks that do not name one.
    options : FlowOptions, optional
        What it says about the end of its runs.
    """

    def __init__(
        self,
        function: Callable[P, R],
        name: str,
        workers: int,
        where: str = "threads",
        options: FlowOptions | None = None,
    ) -> None:
        self._options: FlowOptions = options or {}
        self.ending = Ending(options)
        self.function = function
        self.name = name
        self.workers = workers
        self.where = where
        self.parameters = Parameters(function)
        self._as_task: Task[..., Any] | None = None
        functools.update_wrapper(self, function)
        _known[_address(function)] = self
        _known[name] = self

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it to its end; what it returns, with nodes replaced by their values, or what failed is raised.

        In a notebook its graph is shown alive below the cell; in a terminal, a line for each change.
        In the body of another flow it is a node, and a run of its own.

        Raises
        ------
        ParameterError
            If the parameters do not fit; nothing ran.
        NotAvailable
            If only a person's answer is missing: the run is Paused, and nothing here waits for it.
        """
        caller = current()
        if caller is not None and caller.plan is not None:
            return cast(R, caller.plan.call(self._task(), args, kwargs))
        run, drive = self.opened(self.parameters.checked(args, kwargs), patient=False)
        with hosted(caller, run.cancel):
            return cast(R, watched(run, drive)())

    def map(self, *args: Any, **kwargs: Any) -> Any:
        """Call it for each element: in another flow a node with a child run for each, elsewhere the list of values."""
        caller = current()
        if caller is not None and caller.plan is not None:
            return caller.plan.map(self._task(), args, kwargs)
        return [self(*a, **k) for a, k in rows_of(args, kwargs, self.name)]

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Run:
        """Begin a run and go on: the run, at once.

        Raises
        ------
        ParameterError
            If the parameters do not fit; nothing ran.
        """
        run, drive = self.opened(self.parameters.checked(args, kwargs))
        _in_background(watched(run, drive), self.name)
        return run

    def graph(self, *args: P.args, **kwargs: P.kwargs) -> Graph:
        """The graph before anything runs: the flow's body is run, no task, up to the first ``.result()``."""
        values = self.parameters.checked(args, kwargs)
        positional, named = self.parameters.spread(values)
        return traced(self.name, lambda: self.function(*positional, **named))

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self
        raise UsageError(f"{self.name} is a method; a flow is a plain function", hint="define it outside the class")

    def __reduce__(self) -> tuple[Any, ...]:
        return Flow, (self.function, self.name, self.workers, self.where, self._options)

    def __repr__(self) -> str:
        return f"<flow {self.name}>"

    # --- opening a run -----------------------------------------------------------------------------------------------

    def _opening(self, ground: Footing, run_id: str, parameters: Mapping[str, Any], **more: Any) -> Opening:
        worker = ground.store.open_worker("flow", self.name)
        _mine.add(worker)
        return Opening(self.name, str(ground.notebook), False, worker, run_id, parameters, **more)

    def opened(
        self, values: dict[str, Any], *, run_id: str = "", patient: bool = True
    ) -> tuple[Run, Callable[[], Any]]:
        """A new run, and what drives it to its end; only a patient one waits there for a person's answer."""
        ground = footing()
        plain, rest = self.parameters.to_plain(values)
        opening = self._opening(ground, run_id or new_run_id(now()), plain, fresh=True)
        session, _ = open_session(ground.store, opening, now)
        work = FlowRun(ground, session, Former(RunState()), self.workers, body_code=code_digest(self.function.__code__))
        described: dict[str, Any] = {"entry": _address(self.function), "given": given(values)}
        if rest:
            address, row = ground.vault.save({"parameters": {n: values[n] for n in rest}}, namespace=namespace_of(work))
            session.ask(attachments=Attachments(results=(row,)), durable=False)
            described["parameters"] = address
        session.describe(described)
        return self._run(work, values, patient=patient)

    def _resumed(
        self, ground: Footing, row: RunRow, former_worker: str, *, patient: bool = True, again: str = ""
    ) -> tuple[Run, Callable[[], Any]]:
        """A run that was left, and what drives it to its end; a task that is wanted `again` is not taken over."""
        before = fold(event for _, event in ground.store.events(row.run))
        wanted = known_in(before, again) if again else ""
        opening = self._opening(ground, row.run, {}, resume=row.run, former=former_worker)
        session, _ = open_session(ground.store, opening, now)
        _give_up_waiting(session)
        before = unfit(session, before, wanted) if wanted else before
        work = FlowRun(ground, session, Former(before), self.workers, body_code=code_digest(self.function.__code__))
        values = dict(row.parameters)
        if address := row.graph.get("parameters"):
            stored = ground.vault.load(str(address), namespace=namespace_of(work))
            assert isinstance(stored, dict)
            values |= stored["parameters"]
        positional, named = self.parameters.spread(values)
        work.was = before.state
        return self._run(work, self.parameters.checked(positional, named), patient=patient)

    def _run(self, work: FlowRun, values: Mapping[str, Any], *, patient: bool = True) -> tuple[Run, Callable[[], Any]]:
        work.where, work.ending = self.where, self.ending
        run = Run(work, self.name, lambda task: _resumed(_row(work.session.run.id), task), patient=patient)
        positional, named = self.parameters.spread(values)
        _running[run.id] = run
        warn_about_tries(self.function)

        def drive() -> Any:
            try:
                return run.drive(lambda: self.function(*positional, **named), name=self.function.__name__)
            finally:
                _running.pop(run.id, None)

        return run, drive

    def _task(self) -> Task[..., Any]:
        """The flow as a node of another: a child run, which goes on where it was if the other is resumed."""
        if self._as_task is None:
            child = ChildFlow(self, _go_on)
            spec = TaskSpec(self.name.rpartition(".")[2], kind=TaskKind.FUNCTION, cache=Cache("never"))
            task: Task[..., Any] = Task(self.function, spec)
            task.instead = child
            self._as_task = task
        return self._as_task


@overload
def flow(function: Callable[P, R], /) -> Flow[P, R]: ...


@overload
def flow(**options: Unpack[FlowOptions]) -> Callable[[Callable[P, R]], Flow[P, R]]: ...


def flow(function: Callable[..., Any] | None = None, /, **options: Unpack[FlowOptions]) -> Any:
    """Make a function a flow; with or without options.

    Parameters
    ----------
    **options
        See :class:`~prefect_nb.authoring.endings.FlowOptions`.

    Raises
    ------
    UsageError
        If an option cannot be used.
    """
    name, workers = options.get("name"), options.get("workers")
    where = executor_name(options.get("executor")) or "threads"
    if workers is not None and (not isinstance(workers, int) or workers < 1):
        raise UsageError(f"workers must be a whole number, 1 or more, not {workers!r}")

    def decorate(body: Callable[..., Any]) -> Flow[..., Any]:
        if not inspect.isfunction(body):
            raise UsageError(f"@flow takes a function, not {body!r}", hint="write a def, and put @flow above it")
        if inspect.iscoroutinefunction(body) or inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body):
            raise UsageError(
                f"{body.__name__} is async or a generator", hint="a flow is a plain def; tasks may be async"
            )
        module = "" if body.__module__ == "__main__" else f"{body.__module__}."
        return Flow(body, name or f"{module}{body.__qualname__}", workers or default_workers(), where, options)

    return decorate if function is None else decorate(function)


def resume(run_id: str) -> Run | FinishedRun:
    """Go on with a run that was paused, interrupted, failed or whose process vanished; in any process with its code.

    What had succeeded is not run again; what was running is. One that ended well is given as it ended, with its value.

    Parameters
    ----------
    run_id : str
        The run, or an unambiguous beginning of its id.

    Raises
    ------
    UsageError
        If there is no such run, it was cancelled, still runs elsewhere, or its flow's code cannot be found.
    """
    row = _row(run_id)
    return FinishedRun(footing(), row) if row.state in ("Success", "Skipped") else _resumed(row)


def _row(run_id: str) -> RunRow:
    row = footing().store.run(run_id)
    if row is None:
        raise UsageError(f"there is no run {run_id} in {footing().place.folder}", hint="prefect-nb runs lists them")
    return row


def _resumed(row: RunRow, again: str = "") -> Run:
    run, drive = _go_on(row, again=again)
    _in_background(watched(run, drive), row.flow)
    return run


def _go_on(row: RunRow, *, patient: bool = True, again: str = "") -> tuple[Run, Callable[[], Any]]:
    here = _running.get(row.run)
    former = ""
    if here is not None:
        if not here.state.final and here.state.type is not StateType.PAUSED:
            raise UsageError(f"run {row.run} still runs in this process", hint="wait for it, or cancel it first")
        here.left()
        row = footing().store.run(row.run) or row
    ground = footing()
    if row.worker in _mine:
        former = row.worker
    return _located(row)._resumed(ground, row, former, patient=patient, again=again)


def _located(row: RunRow) -> Flow[..., Any]:
    """The flow whose run this is."""
    entry = str(row.graph.get("entry") or "")
    module, _, name = entry.partition(":")
    if entry not in _known and module not in ("", "__main__"):
        try:
            found: Any = import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError):
            found = None
        if isinstance(found, Flow):
            return found
    known = _known.get(entry) or _known.get(row.flow)
    if known is None:
        where = f"{module}.py" if module != "__main__" else row.notebook
        hint = f"import or run {where}, which defines it, and resume again"
        raise UsageError(f"the code of flow {row.flow} is not here", hint=hint, run=row.run)
    return known


def _give_up_waiting(session: Session) -> None:
    """What waited for a person or a time goes on as a new visit, once the flow's body calls for it again."""
    told = "the run was resumed; it goes on as a new visit"
    waiting = [v.id for v in session.run.visits.values() if not v.state.final]
    session.ask(*(ev.CancelRequested(at=now(), visit=v, actor="recovery", message=told) for v in waiting))


def _address(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{function.__qualname__}"


def _in_background(drive: Callable[[], Any], name: str) -> None:
    context = contextvars.copy_context()

    def quietly() -> None:
        with suppress(BaseException):  # the run keeps it for whoever asks for the result
            context.run(drive)

    threading.Thread(target=quietly, name=f"prefect_nb flow {name}", daemon=True).start()
