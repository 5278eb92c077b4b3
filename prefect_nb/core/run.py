"""What is known of a run and of its visits at one moment; frozen, made only by the machine.

These two classes have no slots: a copy with some fields changed is made several times for every event, and copying an
instance's dict costs a tenth of rebuilding the object field by field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from prefect_nb.core.events import ErrorInfo
from prefect_nb.core.reasons import Reason
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import State, StateName
from prefect_nb.core.table import Table

__all__ = ["Run", "Visit", "evolved", "excerpt"]

T = TypeVar("T", "Run", "Visit")


def evolved(value: T, **changes: object) -> T:
    """A copy of a run or visit with some fields changed; the original stays as it was."""
    fields = value.__dict__.copy()  # it shares its keys with the original: a third of the time and of the memory
    fields.update(changes)
    new = object.__new__(type(value))
    object.__setattr__(new, "__dict__", fields)
    return new


@dataclass(frozen=True)
class Visit:
    """One visit as the machine sees it.

    `version` counts its changes and `token` its permissions to run, both from 0; `attempt` counts entries of the body;
    times are seconds since the epoch, UTC; `note` says why a success was not stored; `asked` counts retries that the
    body asked for beyond its policy, `crashes` entries that ended with the process of the body; `approval` is what a
    person said to let it go on. `width` counts the children of a map (None: it is none), `sealed` says that no more
    will come, `ends` counts how they ended.

    `loop` counts the iterations that ended with the wish for another, `loop_result` is where what they hand on is
    stored, `spent` counts the attempts that they took.

    `like` stands for the key when the run is resumed in another process. `limits` are the tags of which it holds or
    waits for a slot, as long as it is Queued or its body may run.

    `held` cleanups of a resource wait until everything that uses it is known.

    `unmet` counts what is upstream and not final yet. It and a map's counts follow from other visits, so counting is no
    change of its own: `version` stays.
    """

    id: VisitId
    spec: TaskSpec
    state: State
    planned_at: float
    upstream: tuple[VisitId, ...] = ()
    unmet: int = 0
    held: bool = False
    parent: VisitId | None = None
    cell: str | None = None
    version: int = 0
    token: int = 0
    attempt: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    key: str = ""
    like: str = ""
    limits: tuple[str, ...] = ()
    result: str = ""
    reason: Reason | None = None
    error: ErrorInfo | None = None
    cached_from: str | None = None
    cached_age_s: float | None = None
    saved_s: float | None = None
    note: str = ""
    invalid: bool = False
    judged: bool = False
    asked: int = 0
    crashes: int = 0
    loop: int = 0
    loop_result: str = ""
    spent: int = 0
    approval: Mapping[str, Any] | None = None
    width: int | None = None
    sealed: bool = False
    ends: Mapping[StateName, int] = field(default_factory=dict)

    @property
    def children(self) -> list[VisitId]:
        """The ids of a map's children, in order."""
        return [VisitId(self.id.task, self.id.visit, index) for index in range(self.width or 0)]

    @property
    def open_children(self) -> int:
        """Children of a map that are not final."""
        return (self.width or 0) - sum(self.ends.values())

    @property
    def attempts(self) -> int:
        """Attempts that it may take: what its policy grants, what its body asked for, and what crashes took."""
        return self.spec.retry.attempts + self.asked + self.crashes + self.spent

    @property
    def duration_s(self) -> float | None:
        """Seconds from the first entry of the body to the end, waits included; None before."""
        if self.started_at is None or self.ended_at is None:
            return None
        return max(0.0, self.ended_at - self.started_at)


@dataclass(frozen=True)
class Run:
    """A run as the machine sees it.

    `tally` counts the states of each task's latest visit (children of a cell are their parent's affair), `active`
    counts visits that are not final, `paused` those that wait for a person or a time, `stuck` these and those that only
    wait for other visits; `waiting` names, under each visit that is not final, those that wait for its end. All of
    these only save work.

    `reference`, `verdict` and `message` are those of the event that closed it.
    """

    id: str = ""
    flow: str = ""
    live: bool = False
    worker: str = ""
    state: State = field(default_factory=lambda: State(StateName.PENDING, 0.0))
    created_at: float = 0.0
    ended_at: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    visits: Table[VisitId, Visit] = field(default_factory=Table)
    latest: Table[str, VisitId] = field(default_factory=Table)
    waiting: Table[VisitId, tuple[VisitId, ...]] = field(default_factory=Table)
    tally: Mapping[StateName, int] = field(default_factory=dict)
    active: int = 0
    paused: int = 0
    stuck: int = 0
    version: int = 0
    closed: bool = False
    interrupted: bool = False
    lost: bool = False
    cancelled: bool = False
    reference: tuple[str, ...] = ()
    verdict: str = ""
    message: str = ""

    def visit(self, task: str) -> Visit | None:
        """The latest visit of a task, or None if it was never planned."""
        found = self.latest.get(task)
        return None if found is None else self.visits[found]

    def find(self, name: str) -> Visit | None:
        """The latest visit of a task, a call below one (``parent.child``) or a child of a map (``clean[3]``).

        Or the visit of that very name.
        """
        known = self.visit(name)
        if known is not None:
            return known
        found = [v for v in self.visits.values() if name in (v.id.task, v.id.label, str(v.id))]
        return found[-1] if found else None


def excerpt(run: Run, visit: VisitId) -> Run:
    """A new run that says of itself and of this one visit what the given one does; small, for another process."""
    found, visits = run.visits.get(visit), Table[VisitId, Visit]()
    told = {"id": run.id, "flow": run.flow, "parameters": run.parameters, "created_at": run.created_at}
    return evolved(Run(), **told, visits=visits if found is None else visits.put(visit, found))
