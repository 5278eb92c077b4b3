"""Signals: what a body raises to say how its visit goes on, and the events that they become.

They are no `Exception`, so a body's own ``except Exception`` lets them pass. Knows events; nothing about cells, calls
or stores.

Examples
--------
>>> from prefect_nb import signals
>>> raise signals.skip("no new data")
Traceback (most recent call last):
...
prefect_nb.authoring.signals.Skip: no new data
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from prefect_nb.authoring import forms
from prefect_nb.authoring.tracebacks import error_info
from prefect_nb.core import events as ev
from prefect_nb.core.policy import seconds
from prefect_nb.core.spec import VisitId
from prefect_nb.errors import NotAvailable, PrefectNBError, TaskFailed, UsageError

__all__ = [
    "BodySignal",
    "Fail",
    "Loop",
    "Pause",
    "Retry",
    "Skip",
    "Success",
    "ended",
    "fail",
    "loop",
    "outside",
    "pause",
    "retry",
    "skip",
    "success",
]


class BodySignal(BaseException):
    """The root of all signals; `message` is one sentence for people. Pickles with everything it carries."""

    def __init__(self, message: str = "", **carried: Any) -> None:
        super().__init__(message)
        self.message = message
        self.__dict__.update(carried)

    def __str__(self) -> str:
        return self.message


class Skip(BodySignal):
    """The body need not run; what depends on it is skipped too, unless it says otherwise."""


class Fail(BodySignal):
    """The body failed; it is tried again as far as the task's retries allow, unless it is not `retryable`."""

    retryable: bool = True


class Retry(BodySignal):
    """Enter the body again in `after` seconds, whatever the task's retries allow."""

    after: float


class Pause(BodySignal):
    """Wait, and enter the body again once a person answers or the time has come."""

    until: float | None
    after: float | None
    timeout: float | None
    form: Mapping[str, str]


class Loop(BodySignal):
    """One iteration is done; enter the body again at once, with `result` in the context."""

    result: Any
    address: str = ""  # where the result is stored


class Success(BodySignal):
    """The body is done, with `result` as what a call returns."""

    result: Any


def skip(message: str = "") -> Skip:
    """The body need not run: ``raise signals.skip("no new data")``."""
    return Skip(message)


def fail(message: str = "") -> Fail:
    """The body failed; it is tried again as often as the task allows."""
    return Fail(message)


def retry(message: str = "", after: float | int | str = "10s") -> Retry:
    """Try again later, however many attempts there were.

    Parameters
    ----------
    message : str
        Why.
    after : float or str
        Seconds, or a text such as ``"5m"``.

    Raises
    ------
    UsageError
        If `after` is not a duration.
    """
    return Retry(message, after=seconds(after))


def pause(
    message: str = "",
    until: datetime | None = None,
    after: float | int | str | None = None,
    timeout: float | int | str | None = None,
    form: Mapping[str, object] | None = None,
) -> Pause:
    """Wait for a person or a time; the body is then entered again from its start, with the answer in the context.

    Parameters
    ----------
    message : str
        What is asked.
    until : datetime, optional
        When it goes on by itself; a naive one is local time.
    after : float or str, optional
        The same, as a duration from now.
    timeout : float or str, optional
        When nobody's answer makes the visit time out; a duration from now.
    form : mapping, optional
        The answer that is wanted: names with ``str``, ``int``, ``float``, ``bool``, ``date`` or ``datetime``.

    Raises
    ------
    UsageError
        If a time, a duration or a type of the form cannot be used.
    """
    if until is not None and not isinstance(until, datetime):
        raise UsageError(f"until takes a datetime, not {until!r}", hint='or say after="10m"')
    if until is not None and after is not None:
        raise UsageError("a pause ends at a time or after a duration, not both", hint="leave until or after out")
    return Pause(
        message,
        until=None if until is None else until.timestamp(),
        after=None if after is None else seconds(after),
        timeout=None if timeout is None else seconds(timeout),
        form=forms.described(form or {}),
    )


def loop(result: Any = None, message: str = "") -> Loop:
    """One iteration is done: enter the body again, which finds `result` in ``context.loop_result``.

    All iterations are one visit; each has the attempts that the task's retries grant, and a retry, also after a crash,
    begins with the iteration that failed.

    Examples
    --------
    >>> page = context.loop_result or 1
    >>> if more(page):
    ...     raise signals.loop(page + 1)
    """
    return Loop(message, result=result)


def success(result: Any = None, message: str = "") -> Success:
    """The body is done already; `result` is what a call of it returns, and what a cell has bound so far stays."""
    return Success(message, result=result)


def ended(
    error: BaseException,
    visit: VisitId,
    token: int,
    at: float,
    label: Callable[[str], str | None] | None = None,
) -> ev.BodyEnd | None:
    """The event that a signal becomes; None for everything else, and for a success, whose result is still to be kept.

    Parameters
    ----------
    error : BaseException
        What the body raised.
    visit, token : VisitId, int
        Which body, under which permission.
    at : float
        Now, seconds since the epoch, UTC.
    label : callable, optional
        As in :func:`~prefect_nb.authoring.tracebacks.error_info`.
    """
    match error:
        case Skip():
            return ev.BodySkipped(at=at, visit=visit, token=token, message=error.message)
        case Fail():
            told = error_info(error, error.__traceback__, label=label)
            return ev.BodyRaised(at=at, visit=visit, token=token, error=told, retryable=error.retryable)
        case Retry():
            return ev.BodyDeferred(at=at, visit=visit, token=token, due=at + error.after, message=error.message)
        case Loop():
            return ev.BodyLooped(at=at, visit=visit, token=token, result=error.address, message=error.message)
        case Pause():
            until = error.until if error.after is None else at + error.after
            limit = None if error.timeout is None else at + error.timeout
            told_at = {"at": at, "visit": visit, "token": token}
            return ev.BodyPaused(**told_at, message=error.message, until=until, limit=limit, form=error.form)  # type: ignore[arg-type]  # told_at holds what every end has
    return None


def outside(error: BaseException, task: str) -> BaseException:
    """What the caller of a function task sees in place of a signal: an ordinary exception; others as they are."""
    match error:
        case Fail():
            told: PrefectNBError = TaskFailed(error.message or f"{task} failed", task=task)
        case Skip():
            told = _absent(task, "Skipped", error.message, "catch NotAvailable to go on without it")
        case Pause():
            told = _absent(task, "Paused", error.message, f"%flow approve {task} lets it go on; then call it again")
        case _:
            return error
    return told.with_traceback(error.__traceback__)


def _absent(task: str, state: str, message: str, hint: str) -> NotAvailable:
    return NotAvailable(f"{task} is {state}" + (f": {message}" if message else ""), hint=hint, task=task, state=state)
