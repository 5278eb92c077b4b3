"""What a run tells its store: events and output are collected into commits, and sent in order.

Used by the engine's thread only. Knows batches and rows; not what an answer of the store means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from prefect_nb.core.effects import Claim
from prefect_nb.core.run import Run
from prefect_nb.core.slots import SlotMoves
from prefect_nb.core.spec import VisitId
from prefect_nb.engine.batch import Acked, Batch, Place
from prefect_nb.engine.rows import run_row
from prefect_nb.engine.spool import Shown, Spool
from prefect_nb.errors import StoreError
from prefect_nb.protocols import Receipt, RunRow, Store

__all__ = ["BATCH", "Outbox"]

BATCH = 256


class Outbox:
    """The commit that is being collected, and what is known of the ones before.

    Parameters
    ----------
    store : Store
        Where commits go.
    place : Place
        Where the notebook is, and its graph as it was last known.
    after : int
        The number of the newest event that the store has.
    tell : callable
        Told of each artifact that is handed in.
    """

    def __init__(self, store: Store, place: Place, after: int, tell: Callable[[Shown], None]) -> None:
        self.batch = Batch(after=after)
        self.logs = Spool(tell)
        self._store = store
        self._place = place
        self._told: RunRow | None = None

    @property
    def notebook(self) -> str:
        """The notebook's path, for people."""
        return self._place.notebook

    @property
    def graph(self) -> Mapping[str, Any]:
        """The notebook's graph, as it was described last."""
        return self._place.graph

    def describe(self, place: Place) -> None:
        """The notebook's graph changed."""
        self._place = place
        self.batch.described = True

    def draw(self, claims: Sequence[Claim]) -> bool:
        """Tickets that are to be drawn again with the next commit; whether there are any."""
        self.batch.claims.extend(claims)
        return bool(claims)

    def clear(self) -> Batch:
        """Collect nothing any more; what was collected."""
        batch, self.batch = self.batch, Batch()
        self.logs.drain()
        return batch

    def send(self, run: Run, *, idle: bool) -> Acked | None:
        """Send what was collected as one commit; logs alone wait for company or for an idle moment."""
        batch = self.batch
        ripe = batch.filled or (self.logs and idle) or self.logs.due
        if not run.id or not ripe:
            return None
        self.batch = Batch(after=batch.after + len(batch.events))
        return self._append(batch, run, None)

    def claim(self, batch: Batch, run: Run, taken: tuple[VisitId, ...]) -> Acked | None:
        """Send a commit that takes slots, after everything else, and wait for its answer; None if it is not their turn.

        Then nothing of it happened.
        """
        acked = self._append(batch, run, SlotMoves(taken=taken, worker=run.worker))
        if acked.receipt.exception() is None and acked.receipt.result().full:
            self._told = None
            return None
        self.batch = Batch(after=batch.after + len(batch.events))
        return acked

    def _append(self, batch: Batch, run: Run, slots: SlotMoves | None) -> Acked:
        row = run_row(run, self._place.notebook, self._place.graph)
        told = replace(row, version=0)
        news = batch.described or told != self._told
        self._told = told
        commit = batch.commit(run, row if news else None, self.logs.drain())
        settled = tuple(run.visits[v] for v in batch.settled)
        stored = sum(r.size for r in batch.results)
        try:
            receipt = self._store.append(commit if slots is None else replace(commit, slots=slots))
        except StoreError as error:
            receipt = Future[Receipt]()
            receipt.set_exception(error)
        return Acked(settled, run, receipt, tuple(batch.waiters), stored)
