"""A function task's body on its way to a worker process, and what it finds there.

In the worker the surroundings are those of the caller: working folder, environment, paths, levels of loggers, the data
of local modules, the states of random generators. What the body reads and does is observed there and told back, and
:mod:`~prefect_nb.authoring.context` answers as it does at home. Tasks that the body calls run at home. Knows nothing of
how it is sent. It must stay light: a worker imports it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, cast

from prefect_nb.analysis.origins import loaded
from prefect_nb.analysis.reads import Observer, Read
from prefect_nb.authoring import context, hidden, signals
from prefect_nb.core.effects import Interrupt
from prefect_nb.core.run import Run, evolved
from prefect_nb.core.spec import VisitId
from prefect_nb.errors import UsageError
from prefect_nb.executors import worker
from prefect_nb.executors.raised import unpacked
from prefect_nb.executors.stopping import Unfit

__all__ = ["Elsewhere", "Far", "FarTask", "Home", "Observed", "ask_home", "source_of"]

_OWN_LOGGER = "prefect_nb.task"


@dataclass(frozen=True, slots=True)
class Observed:
    """What a body in another process was seen to do: its reads, what takes purity away, and reads that changed."""

    reads: tuple[Read, ...] = ()
    taints: tuple[Any, ...] = ()
    unstable: tuple[Read, ...] = ()


@dataclass(slots=True)
class Elsewhere:
    """What its own process knows of a body that runs in a worker.

    Parameters
    ----------
    function : callable
        The body.
    observed : Observed, optional
        What it was seen to do, once that was told.
    wish : Interrupt, optional
        The last stop that was asked for; it may come before the body is on its way.
    listener : callable, optional
        Who carries a stop out.
    """

    function: Callable[..., Any]
    observed: Observed | None = None
    wish: Interrupt | None = None
    listener: Callable[[Interrupt], None] | None = None

    def wished(self, order: Interrupt) -> None:
        """Somebody wants it to stop."""
        self.wish = order
        if self.listener is not None:
            self.listener(order)


@dataclass(frozen=True, slots=True)
class Home:
    """The surroundings that the body would have had where it was called.

    Parameters
    ----------
    cwd, path, environment
        Working folder, ``sys.path`` and environment variables.
    levels : mapping
        Loggers that have a level of their own; the root's under the empty name.
    sources : mapping
        Local modules that the body needs, each with the fingerprint of its source as it was loaded.
    data : mapping
        Their data by module and name, each pickled.
    generators : mapping
        States of random generators, if the body draws from them.
    """

    cwd: str
    path: Sequence[str]
    environment: Mapping[str, str]
    levels: Mapping[str, int]
    sources: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    generators: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Far:
    """What a worker calls.

    Parameters
    ----------
    body : bytes
        The pickled function and its arguments.
    buffers : sequence
        Their large buffers.
    home : Home
        The surroundings.
    frame : tuple, optional
        What the context answers from: the run, the visit, the attempt, the task's name, whether it is mapped,
        the iteration and what the one before handed on.
    watch : tuple, optional
        What is observed: paths to ignore, environment variables that the body reads.
    """

    body: bytes
    buffers: Sequence[Any]
    home: Home
    frame: tuple[Run, VisitId, int, str, bool, int, Any] | None = None
    watch: tuple[tuple[Any, ...], frozenset[str]] | None = None

    def __call__(self) -> Any:
        """Run the body; what it returns."""
        _settle(self.home)
        function, args, kwargs = pickle.loads(self.body, buffers=self.buffers)  # noqa: S301 - from our own caller
        _same_modules(self.home)
        hidden.put_back(self.home.generators)
        before = hidden.generators() if self.home.generators else {}
        observer = None if self.watch is None else Observer(ignore=self.watch[0], environment=self.watch[1])
        try:
            with ExitStack() as stack:
                if self.frame is not None:
                    stack.enter_context(context.inside(_frame(*self.frame)))
                if observer is not None:
                    stack.enter_context(observer)
                return _called(function, args, kwargs)
        except signals.Success as success:
            return success.result
        finally:
            if observer is not None:
                seen = Observed(observer.reads(), observer.taints(), observer.unstable())
                worker.tell(pickle.dumps(("observed", seen)))
            if before and (states := hidden.changed(before, hidden.generators())):
                worker.tell(pickle.dumps(("generators", states)))
            _same_modules(self.home)  # what the body imported itself


class FarTask:
    """A task as a body in a worker sees it: a call goes home, runs there as it would have, and its value comes back.

    Parameters
    ----------
    number : int
        Which task of those that travelled.
    name : str
        Its name.
    is_async : bool
        Whether its calls are awaited in asynchronous code.
    """

    def __init__(self, number: int, name: str, is_async: bool) -> None:
        self.number = number
        self.is_async = is_async
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Its value, or what it raised."""
        if self.is_async and _in_loop():
            return asyncio.to_thread(self._ask, "call", args, kwargs)
        return self._ask("call", args, kwargs)

    def map(self, *args: Any, **kwargs: Any) -> Any:
        """The values of a call for each element."""
        return self._ask("map", args, kwargs)

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        """Nobody could wait for it here."""
        raise UsageError(
            f"{self.__name__}.submit was called in a worker process", hint=f"call {self.__name__}(...), which waits"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return FarTask, (self.number, self.__name__, self.is_async)

    def __repr__(self) -> str:
        return f"<task {self.__name__}>"

    def _ask(self, how: str, args: Any, kwargs: Any) -> Any:
        return _asked(self.number, how, args, kwargs)


def ask_home(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a task that the body imported itself: as with all tasks, it runs at home."""
    return _asked(f"{function.__module__}:{function.__qualname__}", "call", args, kwargs)


def _asked(which: int | str, how: str, args: Any, kwargs: Any) -> Any:
    import cloudpickle  # only where something has to travel

    question = cloudpickle.dumps((which, how, args, dict(kwargs)), protocol=5)
    failed, answer = pickle.loads(worker.ask(question))  # noqa: S301 - from our own caller
    if failed:
        raise unpacked(answer)
    return pickle.loads(answer)  # noqa: S301 - as above


def source_of(module: types.ModuleType) -> str:
    """The fingerprint of a local module's source as it was loaded; empty if nobody can tell."""
    record = loaded(module)
    if not record.true:
        return "" if record.file.endswith(".py") else "compiled"
    return _fingerprint(record.text)


@lru_cache(maxsize=1024)
def _fingerprint(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _settle(home: Home) -> None:
    """Put the process where its caller is."""
    if os.getcwd() != home.cwd:
        os.chdir(home.cwd)
    if sys.path != home.path:
        sys.path[:] = home.path
    if dict(os.environ) != home.environment:
        for name in os.environ.keys() - home.environment.keys():
            del os.environ[name]
        os.environ.update(home.environment)
    root, own = logging.getLogger(), logging.getLogger(_OWN_LOGGER)
    for logger in (root, own):
        if not any(isinstance(handler, _Home) for handler in logger.handlers):
            logger.handlers[:] = [_Home()]
    own.propagate = False  # its lines go home once
    own.setLevel(logging.INFO)
    for name, level in home.levels.items():
        (logging.getLogger(name) if name else root).setLevel(level)
    for name, source in home.sources.items():  # before anything is built on what is stale here
        if (module := sys.modules.get(name)) is not None and source_of(module) != source:
            raise Unfit(f"{name} is another one in this worker")


def _same_modules(home: Home) -> None:
    """Let local modules hold the data that they hold at home.

    Raises
    ------
    Unfit
        If one of them is not what it is at home.
    """
    for name, source in home.sources.items():
        module = sys.modules.get(name)
        if module is None:
            continue
        if not source or source_of(module) != source:
            raise Unfit(f"{name} was edited since it was imported where the task is called")
        for variable, data in home.data.get(name, {}).items():
            if _pickled(getattr(module, variable, None)) != data:  # an equal one stays: others may hold it
                setattr(module, variable, pickle.loads(data))  # noqa: S301 - from our own caller


def _pickled(value: object) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:  # locks, connections: each process has its own
        return b""


def _called(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    value = function(*args, **kwargs)
    return asyncio.run(value) if isinstance(value, types.CoroutineType) else value


def _frame(run: Run, visit: VisitId, *known: Any) -> context.Frame:
    return context.Frame(cast(Any, _Engine(run)), visit, *known)


class _Engine:
    """What the context asks of the engine: the run, and whether it was asked to stop."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        here = worker.serving()
        return evolved(self._run, cancelled=True) if here is not None and here.stopped else self._run


class _Home(logging.Handler):
    """Sends records home, where the caller's own handlers take them."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            plain = dict(record.__dict__, msg=self.format(record), message="", args=None, exc_info=None)
            plain |= {"exc_text": None, "stack_info": None}  # the text holds them
            worker.tell(pickle.dumps(("log", plain)))
        except Exception:  # as every handler: a line that cannot be shown must not end the body
            self.handleError(record)


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
