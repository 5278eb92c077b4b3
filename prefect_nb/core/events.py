"""Facts that happened, as frozen data; the record from which every state is folded.

Every event carries its time (`at`, seconds since the epoch, UTC) and who caused it (`actor`); nothing in the core reads
a clock. Names are past tense. :func:`to_plain` and :func:`from_plain` are the wire form: JSON-able, by class name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

from prefect_nb.core.reasons import Reason
from prefect_nb.core.spec import TaskSpec, VisitId

__all__ = [
    "BODY_ENDS",
    "BodyCancelled",
    "BodyEntered",
    "BodyRaised",
    "BodyReturned",
    "BodySkipped",
    "CancelRequested",
    "ErrorInfo",
    "Event",
    "KeyResolved",
    "LateResultRefused",
    "ResultReused",
    "RunAttached",
    "RunCancelRequested",
    "RunClosed",
    "RunEvent",
    "RunOpened",
    "SkipRequested",
    "TaskEvent",
    "TaskInvalidated",
    "TaskPlanned",
    "TimerFired",
    "WorkerLost",
    "from_plain",
    "to_plain",
]


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """A user's exception as data.

    Parameters
    ----------
    type : str
        Its class name.
    message : str
        ``str(exception)``, cut to a sane length.
    types : tuple of str
        Names of the class and its bases, plain and with their module, nearest first.
    traceback : str
        The user's lines only, plain text.
    kind : str
        ``"raised"``, ``"timeout"`` or ``"unstorable"``.
    hard : bool
        For a time-out: whether the body was really stopped.
    """

    type: str
    message: str
    types: tuple[str, ...] = ()
    traceback: str = ""
    kind: str = "raised"
    hard: bool = True

    def to_plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ErrorInfo:
        """The error that :meth:`to_plain` wrote."""
        return cls(**{**plain, "types": tuple(plain.get("types", ()))})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened at a time, caused by somebody."""

    at: float
    actor: str = "engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent(Event):
    """An event of the run as a whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent(Event):
    """An event of one visit."""

    visit: VisitId


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOpened(RunEvent):
    """A run began; `live` runs stay Open between their cells."""

    run: str
    flow: str
    live: bool
    worker: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAttached(RunEvent):
    """Another worker took the run over: a kernel restarted, or somebody resumed it."""

    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCancelRequested(RunEvent):
    """Somebody asked the whole run to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunClosed(RunEvent):
    """No further visit will be planned: the notebook ended, ``%flow new``, or an interruption.

    `interrupted` leaves the run resumable (Paused); otherwise what is not final becomes NotRun.
    """

    interrupted: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlanned(TaskEvent):
    """A visit came into being; it runs when everything upstream is final and its trigger agrees."""

    spec: TaskSpec
    upstream: tuple[VisitId, ...] = ()
    parent: VisitId | None = None
    cell: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyResolved(TaskEvent):
    """Its key is known and no result fits: the body has to run. An empty key means uncacheable."""

    key: str
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultReused(TaskEvent):
    """An earlier result stands in for the body."""

    key: str
    result: str
    reason: Reason
    source_run: str
    age_s: float
    saved_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyEntered(TaskEvent):
    """The body began, with this permission."""

    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyReturned(TaskEvent):
    """The body ended well; `result` is its stored outcome's address or empty, `note` says why nothing was stored."""

    token: int
    result: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyRaised(TaskEvent):
    """The body raised or exceeded its limit; `retryable` is what a predicate of the author said, if any."""

    token: int
    error: ErrorInfo
    retryable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BodySkipped(TaskEvent):
    """The body said that it need not run."""

    token: int
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyCancelled(TaskEvent):
    """The body stopped because somebody asked."""

    token: int
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LateResultRefused(TaskEvent):
    """A body came back with an old permission; its result was thrown away."""

    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired(TaskEvent):
    """A retry wait (`kind` "retry") or a time limit ("timeout") ran out for the permission `token`."""

    token: int
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested(TaskEvent):
    """Somebody asked this visit to stop."""

    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipRequested(TaskEvent):
    """Somebody decided that this visit need not run."""

    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInvalidated(TaskEvent):
    """Somebody declared the stored result of this visit unfit for reuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLost(TaskEvent):
    """The process that ran the body vanished."""

    last_seen: float | None = None


BODY_ENDS: tuple[type[TaskEvent], ...] = (BodyReturned, BodyRaised, BodySkipped, BodyCancelled)
"""What a body can answer in the end."""

_CLASSES: dict[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        RunOpened,
        RunAttached,
        RunCancelRequested,
        RunClosed,
        TaskPlanned,
        KeyResolved,
        ResultReused,
        BodyEntered,
        BodyReturned,
        BodyRaised,
        BodySkipped,
        BodyCancelled,
        LateResultRefused,
        TimerFired,
        CancelRequested,
        SkipRequested,
        TaskInvalidated,
        WorkerLost,
    )
}


class _Wire:
    """How each field's type goes to and from plain data, by field name (names are unique over all events)."""

    readers: ClassVar[dict[str, Any]] = {
        "visit": lambda v: VisitId(*v),
        "parent": lambda v: None if v is None else VisitId(*v),
        "upstream": lambda v: tuple(VisitId(*u) for u in v),
        "spec": TaskSpec.from_plain,
        "reason": Reason.from_plain,
        "error": ErrorInfo.from_plain,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, VisitId):
        return [value.task, value.visit, value.index]
    if isinstance(value, TaskSpec | Reason | ErrorInfo):
        return value.to_plain()
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value


def to_plain(event: Event) -> dict[str, Any]:
    """The event as JSON-able data, with its class name under ``"kind!"``; fields at their default are left out."""
    plain: dict[str, Any] = {"kind!": type(event).__name__}
    for f in fields(event):
        value = getattr(event, f.name)
        if f.default is not MISSING and value == f.default:
            continue
        plain[f.name] = _plain(value)
    return plain


def from_plain(plain: Mapping[str, Any]) -> Event:
    """The event that :func:`to_plain` wrote.

    Raises
    ------
    KeyError
        If the class name is not one of ours (a store that a newer version wrote).
    """
    cls = _CLASSES[plain["kind!"]]
    readers = _Wire.readers
    return cls(**{k: readers[k](v) if k in readers else v for k, v in plain.items() if k != "kind!"})
