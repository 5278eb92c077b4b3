"""``context``: what a running body may ask about itself. Outside of bodies every question is an error that says so.

A context variable says which body runs, so threads that are started with a copied context see the same answers. Knows
runs and visits; not how a body is run.

Examples
--------
>>> from prefect_nb import context
>>> context.run_id
Traceback (most recent call last):
...
prefect_nb.errors.UsageError: context.run_id was asked outside of a task's body
  -> ask it inside a %%task cell or an @task function
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from prefect_nb.authoring.shelf import Shelf
from prefect_nb.core.run import Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import StateType
from prefect_nb.engine.session import Session
from prefect_nb.errors import UsageError

__all__ = ["Approval", "Context", "Frame", "context", "frame", "inside"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One entry of one body.

    Parameters
    ----------
    session : Session
        The engine of its run.
    visit : VisitId
        Whose body it is.
    attempt : int
        Which entry of it, from 1.
    task : str
        The task's own name.
    mapped : bool
        Whether the visit is an element of a map, so that its index means something to its author.
    iteration : int
        Which iteration of the body this is, from 1.
    handed_on : Any
        What the iteration before handed on.
    shelf : Shelf
        Its artifacts.
    """

    session: Session
    visit: VisitId
    attempt: int
    task: str
    mapped: bool = False
    iteration: int = 1
    handed_on: Any = None
    shelf: Shelf = field(default_factory=Shelf)


@dataclass(frozen=True, slots=True)
class Approval:
    """What let a paused body go on: who, when, which words, and the answers to the form that it asked."""

    by: str
    at: datetime
    note: str
    value: Mapping[str, Any]

    def __getitem__(self, field: str) -> Any:
        return self.value[field]


_frame: ContextVar[Frame | None] = ContextVar("prefect_nb_frame", default=None)


@contextmanager
def inside(frame: Frame) -> Iterator[None]:
    """Answer for this body until it ends."""
    reset = _frame.set(frame)
    try:
        yield
    finally:
        _frame.reset(reset)


def frame() -> Frame | None:
    """The entry of the body that runs here, None outside of bodies."""
    return _frame.get()


class Context:
    """The questions; there is one object of this class, `context`."""

    __slots__ = ()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return _asked("run_id").session.run.id

    @property
    def task_name(self) -> str:
        """The task's name."""
        return _asked("task_name").task

    @property
    def attempt(self) -> int:
        """Which entry of the body this is, from 1; a body that was paused goes on with its attempt."""
        return _asked("attempt").attempt

    @property
    def map_index(self) -> int | None:
        """The element's number, from 0; None in a task that is not mapped."""
        frame = _asked("map_index")
        return frame.visit.index if frame.mapped else None

    @property
    def loop_result(self) -> Any:
        """What the iteration before handed on with ``signals.loop``; None in the first."""
        return _asked("loop_result").handed_on

    @property
    def loop_count(self) -> int:
        """Which iteration of the body this is, from 1."""
        return _asked("loop_count").iteration

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The run's parameters, read-only."""
        return MappingProxyType(dict(_asked("parameters").session.run.parameters))

    @property
    def scheduled_time(self) -> datetime:
        """The time that the run stands for: when it was begun; aware, UTC."""
        return datetime.fromtimestamp(_asked("scheduled_time").session.run.created_at, UTC)

    @property
    def logger(self) -> logging.Logger:
        """A logger whose lines, from INFO on, belong to the task's output."""
        return _logger(_asked("logger").task)

    @property
    def idempotency_token(self) -> str:
        """The same for every attempt of this visit, in whichever process, and for no other: for APIs that take one."""
        frame = _asked("idempotency_token")
        parts = (frame.session.run.id, frame.visit.task, str(frame.visit.index), str(frame.visit.visit))
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked this body to stop; for bodies that no interrupt can reach, such as threads."""
        visit = _visit(_asked("cancelled"))
        run = _asked("cancelled").session.run
        return run.cancelled or (visit is not None and visit.state.type in _STOPPED)

    @property
    def approval(self) -> Approval | None:
        """What let this body go on after a pause; None if nobody was asked."""
        visit = _visit(_asked("approval"))
        given = None if visit is None else visit.approval
        if given is None:
            return None
        value = MappingProxyType(dict(given["value"]))
        return Approval(given["by"], datetime.fromtimestamp(given["at"], UTC), given["note"], value)

    def __repr__(self) -> str:
        frame = _frame.get()
        return "<context outside of a task's body>" if frame is None else f"<context of {frame.visit}>"


context = Context()

_STOPPED = (StateType.CANCELLING, StateType.CANCELLED)


def _asked(question: str) -> Frame:
    frame = _frame.get()
    if frame is None:
        raise UsageError(
            f"context.{question} was asked outside of a task's body",
            hint="ask it inside a %%task cell or an @task function",
        )
    return frame


def _visit(frame: Frame) -> Visit | None:
    return frame.session.run.visits.get(frame.visit)


class _Shown(logging.Handler):
    """Writes to the stream that belongs to the body now, unless logging is set up to write there itself."""

    def emit(self, record: logging.LogRecord) -> None:
        if any(getattr(handler, "stream", None) is sys.stderr for handler in logging.root.handlers):
            return
        try:
            sys.stderr.write(f"{self.format(record)}\n")
        except Exception:  # as every handler: a line that cannot be shown must not end the body
            self.handleError(record)


def _logger(task: str) -> logging.Logger:
    parent = logging.getLogger("prefect_nb.task")
    if not parent.handlers:
        handler = _Shown()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
        parent.addHandler(handler)
        parent.setLevel(logging.INFO)
    return parent.getChild(task.replace(".", "_"))
