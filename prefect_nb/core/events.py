"""Facts that happened, as frozen data; the record from which every state is folded.

Every event carries its time (`at`, seconds since the epoch, UTC) and who caused it (`actor`); nothing in the core reads
a clock. Names are past tense. Their wire form is :mod:`~prefect_nb.core.wire`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_nb.core.errorinfo import ErrorInfo
from prefect_nb.core.reasons import Reason
from prefect_nb.core.spec import TaskSpec, VisitId

__all__ = [
    "BODY_ENDS",
    "BlockLeft",
    "BodyCancelled",
    "BodyCrashed",
    "BodyDeferred",
    "BodyEnd",
    "BodyEntered",
    "BodyLooped",
    "BodyPaused",
    "BodyRaised",
    "BodyReturned",
    "BodySkipped",
    "CancelRequested",
    "ErrorInfo",
    "Event",
    "KeyResolved",
    "LateResultRefused",
    "MapOpened",
    "MapSealed",
    "ResultReused",
    "RunAttached",
    "RunCancelRequested",
    "RunClosed",
    "RunEvent",
    "RunOpened",
    "SkipRequested",
    "SlotsAnswered",
    "TaskEvent",
    "TaskInvalidated",
    "TaskPlanned",
    "TimerFired",
    "TriggerJudged",
    "VisitApproved",
    "WorkerLost",
]


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

    `interrupted` leaves the run resumable (Paused); otherwise what is not final becomes NotRun. `reference` names the
    tasks that decide how it ends; without any, all do. `verdict` is ``"Success"`` or ``"Failed"`` where a handler of
    the flow put it in place of what the tasks say, and `message` says so.
    """

    interrupted: bool = False
    lost: bool = False
    reference: tuple[str, ...] = ()
    verdict: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlanned(TaskEvent):
    """A visit came into being; it runs when everything upstream is final and its trigger agrees."""

    spec: TaskSpec
    upstream: tuple[VisitId, ...] = ()
    parent: VisitId | None = None
    cell: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyResolved(TaskEvent):
    """Its key is known and no result fits: the body has to run. An empty key means uncacheable.

    `ask` says why a person has to agree first, though the task itself does not want that. `like` stands for the key
    where a process to come may find another one for the same call. `loop` counts iterations that an earlier visit of
    the same call had ended, what the last handed on is at `loop_result`. Its body needs a slot of each of `limits`.
    """

    key: str
    reason: Reason
    ask: str = ""
    like: str = ""
    loop: int = 0
    loop_result: str = ""
    limits: tuple[str, ...] = ()


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
class BodyEnd(TaskEvent):
    """What a body answers in the end, under the permission that it was given."""

    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyReturned(BodyEnd):
    """The body ended well; `result` is its stored outcome's address or empty, `note` says why nothing was stored."""

    result: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyRaised(BodyEnd):
    """The body raised or exceeded its limit; `retryable` is what a predicate of the author said, if any."""

    error: ErrorInfo
    retryable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class BodySkipped(BodyEnd):
    """The body said that it need not run."""

    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyCancelled(BodyEnd):
    """The body stopped because somebody asked."""

    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyPaused(BodyEnd):
    """The body asked to wait, for a person or until a time, and to be entered again then.

    `until` is when it goes on by itself, `limit` when nobody's answer makes it time out (seconds since the epoch, UTC);
    `form` describes the answer that it wants, name -> type in words.
    """

    message: str = ""
    until: float | None = None
    limit: float | None = None
    form: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyDeferred(BodyEnd):
    """The body asked to be entered again at `due`, whatever its policy allows."""

    due: float
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLooped(BodyEnd):
    """The body ended one iteration and asked for the next, which is given what is stored at `result`."""

    result: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyCrashed(BodyEnd):
    """The process that ran this body alone vanished; `code` is how it ended, negative: by that signal."""

    message: str = ""
    code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitApproved(TaskEvent):
    """A person let a paused visit go on; `value` answers its form."""

    note: str = ""
    value: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerJudged(TaskEvent):
    """A trigger of the author's was asked and decided."""

    passed: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOpened(TaskEvent):
    """The visit is one of many: children may be planned, with it as their parent and indices from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSealed(TaskEvent):
    """No further child will be planned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLeft(TaskEvent):
    """Nothing more will be called that uses a resource: its cleanup, this visit, waits for these and then begins."""

    upstream: tuple[VisitId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LateResultRefused(TaskEvent):
    """A body came back with an old permission; its result was thrown away."""

    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired(TaskEvent):
    """A retry wait (`kind` "retry"; `limits` as above) or a time limit ("timeout") ran out for `token`."""

    token: int
    kind: str
    limits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsAnswered(TaskEvent):
    """A slot of each limit that it waits for was taken for it, or `message` says how they stand."""

    taken: bool
    message: str = ""


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


BODY_ENDS: tuple[type[BodyEnd], ...] = (
    BodyReturned,
    BodyRaised,
    BodySkipped,
    BodyCancelled,
    BodyPaused,
    BodyDeferred,
    BodyLooped,
    BodyCrashed,
)
"""What a body can answer in the end."""
