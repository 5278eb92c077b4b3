"""The extension protocols: what a store, a result storage, a serializer and a notifier promise.

Adapters live on floor 3 and pass the conformance suites of :mod:`prefect_nb.testing`. Nothing here has behaviour.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from prefect_nb.core.events import Event
from prefect_nb.core.slots import SlotMoves
from prefect_nb.core.spec import VisitId

__all__ = [
    "AsksAhead",
    "Commit",
    "Entry",
    "Executor",
    "Expect",
    "LogChunk",
    "Recalled",
    "Recalls",
    "Receipt",
    "ResultRow",
    "RunRow",
    "Serializer",
    "Signal",
    "Store",
    "Usage",
    "VisitRow",
]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Expect:
    """What an append is based on: the visit's row must have this version and this newest token, else it is refused."""

    visit: VisitId
    version: int
    token: int


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run's projection, replaced as a whole by each append that carries it. Times: seconds since the epoch, UTC."""

    run: str
    flow: str
    notebook: str
    live: bool
    state: str
    type: str
    message: str
    created_at: float
    ended_at: float | None
    worker: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    graph: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0


@dataclass(frozen=True, slots=True)
class VisitRow:
    """A visit's projection, replaced as a whole by each append that carries it."""

    run: str
    visit: VisitId
    kind: str
    state: str
    type: str
    message: str
    version: int
    token: int
    attempt: int
    attempts: int
    key: str = ""
    result: str = ""
    parent: VisitId | None = None
    cell: str | None = None
    planned_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    duration_s: float | None = None
    due_at: float | None = None
    cached_from: str | None = None
    cached_age_s: float | None = None
    saved_s: float | None = None
    reason: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A reusable result: which code (`code_key`), with which inputs (`key`), having read what (`manifest`), gave it.

    `parts` name the ingredients of the key, for explanations: JSON-able rows (kind, name, digest).
    """

    key: str
    code_key: str
    task: str
    flow: str
    run: str
    result: str
    created_at: float
    cost_s: float
    manifest: tuple[Mapping[str, Any], ...] = ()
    parts: tuple[tuple[str, str, str], ...] = ()
    invalid: bool = False


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A result's sealed bytes, `inline` or (None) in a file; without the result `uses`, if any, it is worth nothing."""

    digest: str
    size: int
    codec: str
    inline: bytes | None = None
    cost_s: float = 0.0
    uses: str = ""


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A piece of what one attempt of a visit printed or logged."""

    visit: VisitId
    attempt: int
    stream: str
    text: str
    at: float


@dataclass(frozen=True, slots=True)
class Signal:
    """A wish that another process left for the owner of a run.

    `kind` is "cancel", "cancel-run", "skip", "invalidate", "approve" or "reject"; `task` is empty for the whole run.
    `detail` holds what else was said, JSON-able: the ``note`` of an answer, and the ``value`` that it gives to a form.
    """

    run: str
    kind: str
    task: str = ""
    actor: str = ""
    at: float = 0.0
    id: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Commit:
    """One atomic append: all of it, or nothing and a refusal.

    `expect` guards visits, `run_owner` (who must hold the run, empty: anybody) the `run_row`, and `after` (number of
    the newest event known, negative: any) what follows a lost append. `wishes` are the numbers of answered signals.
    """

    run: str
    events: tuple[Event, ...] = ()
    expect: tuple[Expect, ...] = ()
    run_owner: str = ""
    run_row: RunRow | None = None
    visit_rows: tuple[VisitRow, ...] = ()
    results: tuple[ResultRow, ...] = ()
    entries: tuple[Entry, ...] = ()
    logs: tuple[LogChunk, ...] = ()
    after: int = -1
    wishes: tuple[int, ...] = ()
    slots: SlotMoves | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to an append: durable up to event number `seq`, or refused with why; `full`: no slot is free."""

    accepted: bool
    seq: int = 0
    refusal: str = ""
    full: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Disk use in bytes, counts and the bound."""

    database: int
    results: int
    quota: int
    runs: int
    entries: int


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a store holds of one code: the keys, and under each its entries (without parts), newest first.

    An entry's small result comes with it. `complete` says that there are no others.
    """

    keys: frozenset[str]
    entries: Callable[[str], list[tuple[Entry, ResultRow | None]]]
    complete: bool


@runtime_checkable
class Recalls(Protocol):
    """A store that gives everything it holds of one code at once, and tells when that may no longer hold."""

    @property
    def changes(self) -> int:
        """Grows when another process wrote, and when something was declared unfit or dropped."""

    def recall(self, code_key: str, *, limit: int) -> Recalled:
        """The newest entries of one code, at most `limit`; a bound on their bytes is the store's own."""


class Store(Protocol):
    """Events and their rows. Thread-safe; every method may be called from any thread.

    ``append`` returns at once; its future completes after the commit that made it durable (or with a ``StoreError``).
    Appends are applied in the order of the calls. The other methods block and see every append whose future is done.
    """

    @property
    def location(self) -> str:
        """Where the store is, for people."""

    def append(self, commit: Commit) -> Future[Receipt]:
        """Apply a commit atomically; the only write of states."""

    def open_worker(self, kind: str, name: str) -> str:
        """Register this process as a worker with a liveness lock of its own; its id."""

    def alive(self, worker: str) -> bool:
        """Whether that worker's process still lives; False only when its death is proven or its lease is over."""

    def take_run(self, run: str, worker: str, previous: str) -> bool:
        """Make `worker` the owner of a run whose owner is `previous`; False if somebody else was faster."""

    def runs(self, *, flow: str = "", limit: int = 50) -> list[RunRow]:
        """Newest runs first."""

    def run(self, run: str) -> RunRow | None:
        """One run's row; an unambiguous prefix of its id is enough."""

    def visits(self, run: str) -> list[VisitRow]:
        """The visits of a run, in the order they were planned."""

    def events(self, run: str, *, after: int = 0) -> list[tuple[int, Event]]:
        """The events of a run with their numbers, in order, from `after` (exclusive)."""

    def keys(self, code_key: str) -> list[str]:
        """The keys of all reusable results of one code."""

    def entries(
        self, *, key: str = "", code_key: str = "", task: str = "", flow: str = "", limit: int = 200
    ) -> list[Entry]:
        """Reusable results by key or code key, or by flow and task for explanations; newest first."""

    def invalidate(self, key: str) -> int:
        """Mark the entries of a key unfit; how many."""

    def result(self, digest: str) -> ResultRow | None:
        """The row of a stored result, and note its use for eviction."""

    def logs(self, run: str, task: str = "", *, artifacts: bool = False) -> list[LogChunk]:
        """What was printed, in order; or the artifacts: of chunks with such a stream only a visit's last is kept."""

    def signal(self, signal: Signal) -> None:
        """Leave a wish for the owner of a run; durable on return."""

    def watch(self, run: str, callback: Callable[[Signal], None]) -> None:
        """Deliver each wish for a run once to its owner, from a thread of the store.

        What no append has answered is delivered again to the next who watches: a wish outlives who heard it.
        """

    def usage(self) -> Usage:
        """Disk use and its bound."""

    def evict(self, need: int = 0) -> Sequence[str]:
        """Drop results until `need` bytes fit under the quota, cheapest to recompute per byte first; their digests."""

    def check(self) -> list[str]:
        """Problems found by a full check, in words; empty when all is well."""

    def close(self) -> None:
        """Wait for open appends, release the worker's lock and stop."""


@runtime_checkable
class AsksAhead(Protocol):
    """A store that can be asked without waiting: what comes back gives the answer, and blocks until it is there."""

    def ask_keys(self, code_key: str) -> Callable[[], list[str]]:
        """As :meth:`Store.keys`."""

    def ask_entries(
        self, *, key: str = "", code_key: str = "", task: str = "", flow: str = "", limit: int = 200
    ) -> Callable[[], list[Entry]]:
        """As :meth:`Store.entries`."""


class Executor(Protocol):
    """Where bodies run; safe from any thread.

    A job is ours (it enters a body and writes down what that gave) and does not raise; the body in it is the user's.
    """

    slots: int
    hard: bool  # whether a stop ends a body that does not listen

    def submit(self, job: Callable[[], None]) -> None:
        """Let a job run; jobs begin in the order of the calls, at most `slots` at a time."""

    def guarded(self, token: Hashable, body: Callable[[], _T]) -> _T:
        """Inside a job: run a (picklable) body that :meth:`stop` can reach under this token; its value or error."""

    def stop(self, token: Hashable) -> bool:
        """Raise ``BodyStopped`` in the body under this token; False if none runs. A hard one ends it in the end."""

    def close(self, *, patience_s: float = 0.0) -> bool:
        """Drop what has not begun and wait for what runs; whether all of it has ended in time."""


@runtime_checkable
class Serializer(Protocol):
    """Values to buffers and back; its `name` is stored with every result.

    ``load`` must not execute anything unless the envelope around the buffers was verified (the caller does that first).
    """

    name: str

    def can(self, value: object) -> bool:
        """Whether it would write this value faithfully; cheap."""

    def dump(self, value: object) -> list[bytes | memoryview]:
        """The value as buffers; raises :class:`~prefect_nb.errors.Unstorable` naming the part at fault."""

    def load(self, buffers: Sequence[memoryview]) -> object:
        """The value again."""
