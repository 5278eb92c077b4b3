"""A function task's body as it is sent to a worker process, and who attends to it here meanwhile.

The function and its arguments are pickled as they are in this process, so what runs is what the key was made of; local
modules travel by name, with the fingerprint of their source and their data. Knows calls and pickles; not workers.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import pickle
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from prefect_nb.analysis.origins import place_of
from prefect_nb.authoring import context, hidden
from prefect_nb.authoring.afar import Far, FarTask, Home, source_of
from prefect_nb.authoring.callbody import Call, Crashed, Overdue
from prefect_nb.authoring.mouth import revealed
from prefect_nb.core.effects import Enter, Interrupt
from prefect_nb.core.run import Run, evolved
from prefect_nb.core.table import Table
from prefect_nb.errors import TaskCrashed, TaskTimeout, UsageError
from prefect_nb.executors.raised import packed
from prefect_nb.executors.stopping import BodyLost, BodyStopped
from prefect_nb.executors.worker import dumped
from prefect_nb.wiring import processes

__all__ = ["Errand", "run_plainly"]

_OWN_LOGGER = "prefect_nb.task"
_IN_BAND = 4096
_START_S = 30.0  # how long a worker may take to start before that counts against the body
_registering = threading.Lock()


class Errand:
    """One entry of one body in a worker process.

    Parameters
    ----------
    call : Call
        Whose body.
    order : Enter
        The permission.
    """

    def __init__(self, call: Call, order: Enter) -> None:
        assert call.far is not None
        self._call, self._far, self._order = call, call.far, order
        self._token = (call.ground.session.run.id, call.visit, order.token)
        self._stopped = self._overdue = self._late = False
        self._began: float | None = None
        self._letter = _Letter()
        self._far.listener = self.interrupt
        if (wish := self._far.wish) is not None and wish.token == order.token:
            self.interrupt(wish)

    def run(self) -> Any:
        """The body's value, or what it raised; in the thread that attends to its visit."""
        try:
            value = processes().sent(self._token, self)
        except BodyStopped:
            if self._overdue:
                raise Overdue(self._too_long()) from None
            raise
        except BodyLost as lost:
            task = self._call.visit.task
            error = TaskCrashed(f"{self._call.visit} crashed: {lost.message}", task=task, code=lost.code)
            raise Crashed(error, lost.message, lost.code) from None
        if self._overdue:  # it had been told to stop, and came back with something
            raise Overdue(self._too_long())
        return value

    def interrupt(self, order: Interrupt) -> None:
        """Stop it, also before it has begun; the state follows when it has ended, which takes the grace at most.

        Its limit counts from its own first line, not from the start of its worker.
        """
        if order.why == "timeout":
            limit, began = self._call.spec.timeout or 0.0, self._began
            left = limit + _START_S if began is None else limit - (time.monotonic() - began)
            if left > 0:
                self._wait_on(left)
                return
            self._overdue = True
        self._stopped = True
        processes().stop(self._token)

    def _wait_on(self, seconds: float) -> None:
        self._late = True
        again = threading.Timer(seconds, self.interrupt, (Interrupt(self._call.visit, self._order.token, "timeout"),))
        again.daemon = True
        again.start()

    def _too_long(self) -> TaskTimeout:
        spec = self._call.spec
        return TaskTimeout(f"{self._call.visit.task} took longer than {spec.timeout or 0:g} s", task=spec.name)

    # --- what the executor asks --------------------------------------------------------------------------------------

    def packed(self) -> list[memoryview]:
        """The body with all that it needs; from here on a stop finds it."""
        if self._stopped:
            raise BodyStopped
        call, verdict = self._call, self._call.verdict
        run = call.ground.session.run
        visit, table = run.visits.get(call.visit), Table()  # type: ignore[var-annotated]
        known = evolved(
            Run(),
            id=run.id,
            flow=run.flow,
            parameters=run.parameters,
            created_at=run.created_at,
            visits=table if visit is None else table.put(call.visit, visit),
        )
        assert verdict is not None
        watch = None if verdict.plain else ((call.ground.place.folder,), verdict.environment)
        frame = (known, call.visit, self._order.attempt, call.spec.name, call.mapped)
        arguments = call.bound.args, dict(call.bound.kwargs)
        self._far.observed = None
        return self._letter.sealed(self._far.function, arguments, (frame, watch, not verdict.plain))

    def begun(self) -> None:
        """The body begins; a limit that ran out meanwhile starts now."""
        self._began = time.monotonic()
        if self._late:
            self._wait_on(self._call.spec.timeout or 0.0)

    def heard(self, news: bytes) -> None:
        """What the body did, or logged."""
        kind, told = pickle.loads(news)  # noqa: S301 - from our own worker
        if kind == "observed":
            self._far.observed = told
        elif kind == "generators":
            hidden.put_back(told)
        elif kind == "secret":
            revealed(*told)
        else:
            _log(told)

    def asked(self, question: bytes) -> bytes:
        """The body calls a task: it runs here, in the thread and the context that attend to the body."""
        return self._letter.asked(question)


def run_plainly(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """A call without an engine, in a worker process."""
    errand = _Plain(function, args, kwargs)
    try:
        return processes().sent(object(), errand)
    except BodyLost as lost:
        name = getattr(function, "__name__", "the task")
        raise TaskCrashed(f"{name} crashed: {lost.message}", code=lost.code) from None


class _Plain:
    """A body of which nothing is recorded."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._what = function, (args, dict(kwargs))
        self._letter = _Letter()

    def packed(self) -> list[memoryview]:
        """The body."""
        return self._letter.sealed(*self._what, (None, None, True))

    def begun(self) -> None:
        """It has no limit."""

    def heard(self, news: bytes) -> None:
        """It logged something, or drew random numbers."""
        kind, told = pickle.loads(news)  # noqa: S301 - from our own worker
        if kind == "generators":
            hidden.put_back(told)
        elif kind == "secret":
            revealed(*told)
        elif kind == "log":
            _log(told)

    def asked(self, question: bytes) -> bytes:
        """It calls a task."""
        return self._letter.asked(question)


class _Letter:
    """What travels, and the tasks in it, which stay."""

    def __init__(self) -> None:
        self._tasks: list[Any] = []

    def sealed(
        self, function: Callable[..., Any], arguments: tuple[tuple[Any, ...], dict[str, Any]], rest: tuple[Any, ...]
    ) -> list[memoryview]:
        """A pickle of the body in its surroundings, and its buffers.

        Raises
        ------
        TypeError
            If part of it cannot be pickled.
        """
        stream, beside, modules = io.BytesIO(), [], set()  # type: ignore[var-annotated]
        self._tasks.clear()

        def aside(buffer: pickle.PickleBuffer) -> bool:
            if buffer.raw().nbytes < _IN_BAND:
                return True
            beside.append(buffer)
            return False

        pickler = _pickler()(stream, aside, self._tasks, modules)
        try:
            pickler.dump((function, *arguments))
        except Exception as error:  # a user's class may raise anything here
            name = getattr(function, "__name__", "the task")
            told = f"{name}, or what it is given, cannot travel to a worker process: {type(error).__name__}: {error}"
            raise TypeError(told) from error
        frame, watch, draws = rest
        home = _home(_reached(modules), draws=draws)
        return dumped(Far(stream.getvalue(), beside, home, frame, watch))

    def asked(self, question: bytes) -> bytes:
        """The answer to a call of one of the tasks."""
        import cloudpickle  # only where something has to travel

        which, how, args, kwargs = pickle.loads(question)  # noqa: S301 - from our own worker
        try:
            task = self._tasks[which] if isinstance(which, int) else _named(which)
            value = (task.map if how == "map" else task)(*args, **kwargs)
            return pickle.dumps((False, cloudpickle.dumps(value, protocol=5)))
        except (BodyStopped, KeyboardInterrupt):
            raise  # meant for who attends to the body
        except BaseException as error:  # it is the answer
            return pickle.dumps((True, packed(error)))


def _named(address: str) -> Any:
    """A task that the worker has from an import of its own."""
    module, _, name = address.partition(":")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not hasattr(type(found), "judge_purity"):
        raise UsageError(f"{address} is no task where the flow runs", hint=f"import {module} there")
    return found


@functools.cache
def _pickler() -> Any:
    """The pickler: tasks stay here, and local modules are noted."""
    from cloudpickle import cloudpickle  # only where something has to travel

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def __init__(self, file: Any, aside: Any, tasks: list[Any], modules: set[str]) -> None:
            super().__init__(file, protocol=5, buffer_callback=aside)
            self._known_tasks = tasks
            self._modules = modules

        def reducer_override(self, obj: Any) -> Any:
            if hasattr(type(obj), "judge_purity"):  # a task; its module stands on this one
                if all(obj is not known for known in self._known_tasks):
                    self._known_tasks.append(obj)
                number = next(n for n, known in enumerate(self._known_tasks) if known is obj)
                return FarTask, (number, obj.spec.name, obj.is_async)
            if isinstance(obj, types.ModuleType):
                self._modules.add(obj.__name__)
            elif isinstance(obj, types.FunctionType | type):
                module = sys.modules.get(str(obj.__module__))
                if module is not None and _is_local(module.__name__):
                    if not source_of(module):  # no import would give what is in memory here
                        return self._by_value(obj, module)
                    self._modules.add(module.__name__)
            return super().reducer_override(obj)

        def _by_value(self, obj: Any, module: types.ModuleType) -> Any:
            with _registering:
                before = module.__name__ in cloudpickle.list_registry_pickle_by_value()
                cloudpickle.register_pickle_by_value(module)
                try:
                    return super().reducer_override(obj)
                finally:
                    if not before:
                        cloudpickle.unregister_pickle_by_value(module)

    return Pickler


def _reached(names: Iterable[str]) -> list[types.ModuleType]:
    """The local modules among these, and those that they use."""
    todo, found = [n for n in names if _is_local(n)], dict[str, types.ModuleType]()
    while todo:
        name = todo.pop()
        module = sys.modules.get(name)
        if module is None or name in found:
            continue
        found[name] = module
        for value in list(vars(module).values()):
            home = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
            if isinstance(home, str) and home not in found and _is_local(home):
                todo.append(home)
    return list(found.values())


def _is_local(name: str) -> bool:
    return name in sys.modules and place_of(name) == "local"


def _home(modules: Sequence[types.ModuleType], *, draws: bool) -> Home:
    levels = {"": logging.root.level}
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level and name != _OWN_LOGGER:
            levels[name] = logger.level
    return Home(
        os.getcwd(),
        list(sys.path),
        dict(os.environ),
        levels,
        {module.__name__: source_of(module) for module in modules},
        {module.__name__: _data(module) for module in modules},
        hidden.generators() if draws else {},
    )


def _data(module: types.ModuleType) -> dict[str, bytes]:
    """What a local module holds beside its definitions, as far as it can be pickled; the rest is made by its import."""
    found = {}
    for name, value in vars(module).items():
        if name.startswith("__") or isinstance(value, types.ModuleType | types.FunctionType | type):
            continue
        try:
            found[name] = pickle.dumps(value, protocol=5)
        except Exception:  # locks, connections: each process has its own
            continue
    return found


def _log(plain: Mapping[str, Any]) -> None:
    """A record that the body made, to the handlers here."""
    record = logging.makeLogRecord(dict(plain))
    if record.name.startswith(_OWN_LOGGER):
        _ = context.context.logger  # sets the handler up that shows it
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
