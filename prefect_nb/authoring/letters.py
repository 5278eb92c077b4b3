"""What travels to a worker process: a body with its arguments and its surroundings; and the tasks in it, which stay.

The function and its arguments are pickled as they are in this process, so what runs is what the key was made of; local
modules travel by name, with the fingerprint of their source and their data. Knows pickles and modules; not calls.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import pickle
import sys
import threading
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from prefect_nb.analysis.origins import place_of
from prefect_nb.authoring import hidden
from prefect_nb.authoring.afar import Far, FarTask, Home, source_of
from prefect_nb.errors import UsageError
from prefect_nb.executors.raised import packed
from prefect_nb.executors.stopping import BodyStopped
from prefect_nb.executors.worker import dumped

__all__ = ["Letter"]

_OWN_LOGGER = "prefect_nb.task"
_IN_BAND = 4096
_registering = threading.Lock()


class Letter:
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
