"""A function task's body in a worker process, and who attends to it here meanwhile.

Its stop, its limit, what it tells and what it asks. Knows calls; not how a body is packed, nor workers.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from prefect_nb.authoring import context, hidden
from prefect_nb.authoring.artifacts import received
from prefect_nb.authoring.callbody import Call, Crashed, Overdue
from prefect_nb.authoring.letters import Letter
from prefect_nb.authoring.loops import iteration
from prefect_nb.authoring.mouth import revealed
from prefect_nb.core.effects import Enter, Interrupt
from prefect_nb.core.run import excerpt
from prefect_nb.errors import TaskCrashed, TaskTimeout, UsageError
from prefect_nb.executors.stopping import BodyLost, BodyStopped, Unfit
from prefect_nb.wiring import processes

__all__ = ["Errand", "run_plainly"]

_OWN_LOGGER = "prefect_nb.task"
_START_S = 30.0  # how long a worker may take to start before that counts against the body


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
        self._letter = Letter()
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
        except Unfit as unfit:
            raise _stale(unfit) from None
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
        known = excerpt(call.ground.session.run, call.visit)
        assert verdict is not None
        watch = None if verdict.plain else ((call.ground.place.folder,), verdict.environment)
        turn = iteration(call.ground, call.visit)
        here = (self._order.attempt, call.spec.name, call.mapped, turn.number, turn.handed_on)
        arguments = call.bound.args, dict(call.bound.kwargs)
        self._far.observed = None
        frame = (known, call.visit, *here)
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
        elif kind == "artifact":
            received(told)
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
    except Unfit as unfit:
        raise _stale(unfit) from None
    except BodyLost as lost:
        name = getattr(function, "__name__", "the task")
        raise TaskCrashed(f"{name} crashed: {lost.message}", code=lost.code) from None


class _Plain:
    """A body of which nothing is recorded."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._what = function, (args, dict(kwargs))
        self._letter = Letter()

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


def _log(plain: Mapping[str, Any]) -> None:
    """A record that the body made, to the handlers here."""
    record = logging.makeLogRecord(dict(plain))
    if record.name.startswith(_OWN_LOGGER):
        _ = context.context.logger  # sets the handler up that shows it
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def _stale(unfit: Unfit) -> UsageError:
    return UsageError(str(unfit), hint="reload it where the task is called, or restart that process")
