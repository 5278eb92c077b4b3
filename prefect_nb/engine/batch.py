"""What one commit will carry: the events of a moment, the visits they touched, and who waits for them to be durable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from prefect_nb.core.effects import Claim, Effect, Settle
from prefect_nb.core.events import Event, TaskEvent
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.engine.rows import visit_row
from prefect_nb.engine.slots import slot_moves
from prefect_nb.protocols import Commit, Entry, Expect, LogChunk, Receipt, ResultRow, RunRow

__all__ = ["Acked", "Attachments", "Batch", "Place", "Post", "Stirred"]


@dataclass(frozen=True, slots=True)
class Attachments:
    """What travels in the same transaction as an event: results, entries that make them reusable, answered wishes."""

    results: tuple[ResultRow, ...] = ()
    entries: tuple[Entry, ...] = ()
    wishes: tuple[int, ...] = ()


@dataclass(slots=True)
class Post:
    """Events that somebody let happen, in one transaction.

    `done` completes with the run after them, at once or, if `durable`, after their commit.
    """

    events: Sequence[Event]
    attachments: Attachments
    done: Future[Run] | None
    durable: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run's notebook is, and its graph for the views."""

    notebook: str = ""
    graph: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Acked:
    """A commit that the store has answered: who waits for it, which visits ended with it, bytes of its results."""

    settled: tuple[Visit, ...]
    run: Run
    receipt: Future[Receipt]
    waiters: tuple[Future[Run], ...]
    stored: int


@dataclass(frozen=True, slots=True)
class Stirred:
    """Slots that somebody waits for may have become free."""


@dataclass(slots=True)
class Batch:
    """Posts that will be one commit; used by the engine's thread only.

    Parameters
    ----------
    after : int
        The number of the run's event that it follows.
    described : bool
        Whether the notebook's graph changed.
    hurry : bool
        Whether somebody waits for it.
    """

    after: int = 0
    described: bool = False
    hurry: bool = False
    events: list[Event] = field(default_factory=list)
    touched: dict[VisitId, Expect] = field(default_factory=dict)
    settled: list[VisitId] = field(default_factory=list)
    results: list[ResultRow] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    wishes: list[int] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    waiters: list[Future[Run]] = field(default_factory=list)

    @property
    def filled(self) -> bool:
        """Whether there is anything to commit, or anybody who waits for one."""
        return bool(self.events or self.results or self.described or self.waiters or self.wishes or self.claims)

    def take(self, before: Run, after: Run, post: Post, orders: Iterable[Effect]) -> None:
        """Add a post whose events moved `before` to `after` and gave `orders`."""
        self.events.extend(post.events)
        last: VisitId | None = None  # most posts are about one visit
        for event in post.events:
            if isinstance(event, TaskEvent) and event.visit is not last:
                last = event.visit
                self._touch(before, after, last)
        for order in orders:
            if order.visit is not last and order.visit != last:
                last = order.visit
                self._touch(before, after, last)
            if type(order) is Settle:
                self.settled.append(order.visit)
            elif type(order) is Claim:
                self.claims.append(order)
                self.hurry = True
        self.results.extend(post.attachments.results)
        self.entries.extend(post.attachments.entries)
        self.wishes.extend(post.attachments.wishes)
        if post.done is not None and post.durable:
            self.waiters.append(post.done)
            self.hurry = True

    def _touch(self, before: Run, after: Run, visit: VisitId) -> None:
        if visit in self.touched:
            return
        old, new = before.visits.get(visit), after.visits.get(visit)
        if new is not None and new is not old:
            known = (old.version, old.token) if old is not None else (0, 0)
            self.touched[visit] = Expect(visit, *known)

    def commit(self, run: Run, row: RunRow | None, logs: tuple[LogChunk, ...]) -> Commit:
        """All of it as one append."""
        touched = [run.visits[v] for v in self.touched]
        return Commit(
            run=run.id,
            events=tuple(self.events),
            expect=tuple(self.touched.values()),
            run_owner=run.worker,
            run_row=row,
            visit_rows=tuple(visit_row(run.id, visit) for visit in touched),
            results=tuple(self.results),
            entries=tuple(self.entries),
            logs=logs,
            after=self.after,
            wishes=tuple(self.wishes),
            slots=slot_moves(run, touched, self.claims),
        )
