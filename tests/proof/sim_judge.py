"""What must hold after every step of the simulation, judged by the database alone and by what people were told."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from prefect_nb.core import events as ev
from prefect_nb.core import wire
from prefect_nb.core.machine import step
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import StateName, StateType
from prefect_nb.errors import IllegalTransition
from prefect_nb.stores import statements

__all__ = ["Judge", "Violated"]

N = StateName
_FINAL = tuple(t.value for t in StateType if t.final)


class Violated(AssertionError):
    """An invariant does not hold; its text begins with its number in the list of `reliability.md`."""


def hold(fact: object, wording: str) -> None:
    """Raise if it is not so."""
    if not fact:
        raise Violated(wording)


def _patient(run: Run, visit: Visit) -> bool:
    """Whether it waits for a person or a time, itself or upstream, and needs no process for that."""
    if visit.state.name in (N.PAUSED, N.RESUMING):
        return True
    return visit.state.name is N.PENDING and any(_patient(run, run.visits[up]) for up in visit.upstream)


class Judge:
    """Folds every run's events as they appear and compares them with the rows.

    Parameters
    ----------
    base : sqlite3.Connection
        The database.
    """

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base
        self._runs: dict[str, tuple[int, Run]] = {}
        self._rows: dict[tuple[str, VisitId], Any] = {}
        self._successes: dict[tuple[Any, ...], tuple[int, str]] = {}
        self._entered: dict[tuple[str, VisitId], int] = {}
        self._by_wish: dict[tuple[str, float], int] = {}
        self.told: dict[tuple[str, VisitId], tuple[str, int, str]] = {}
        self._changes = -1

    def look(self) -> None:
        """Judge what was committed since the last look."""
        if self._base.total_changes == self._changes:
            return
        self._changes = self._base.total_changes
        hold(not self._base.in_transaction, "I17: a transaction was left open")
        self._look_at_successes()
        for run_id, state, seq in self._base.execute("SELECT run_id, state, seq FROM run").fetchall():
            known, run = self._runs.get(run_id, (0, Run()))
            hold(seq >= known, f"I17: run {run_id} went back from event {known} to {seq}")
            if seq > known:
                run = self._fold(run_id, known, run)
                self._runs[run_id] = (seq, run)
                self._look_at_rows(run_id, run)
            hold(state == self._runs[run_id][1].state.label, f"I7: {run_id} is {state} in its row, not by its events")

    def _look_at_successes(self) -> None:
        found = {row[:4]: row[4:] for row in self._base.execute("SELECT * FROM success").fetchall()}
        for key, value in self._successes.items():
            hold(found.get(key) == value, f"I1: the success of {key} was {value} and is {found.get(key)}")
        self._successes = found
        for (run, visit), (_, token, result) in self.told.items():
            now = found.get((run, *visit))
            hold(
                now == (token, result), f"I2: {visit} of {run} was told as done by {token}, {result}; recorded is {now}"
            )

    def _fold(self, run_id: str, known: int, run: Run) -> Run:
        rows = self._base.execute(
            "SELECT seq, body FROM event WHERE run_id = ? AND seq > ?", (run_id, known)
        ).fetchall()
        for number, (seq, body) in enumerate(rows, known + 1):
            hold(seq == number, f"I7: event {number} of {run_id} is missing")
            event = wire.from_plain(json.loads(body))
            try:
                after, _ = step(run, event)
            except IllegalTransition as error:
                raise Violated(f"I6: event {seq} of {run_id} cannot have happened: {error}") from error
            self._look_at_event(run_id, run, event, after)
            run = after
        return run

    def _look_at_event(self, run_id: str, before: Run, event: ev.Event, after: Run) -> None:
        if event.actor.startswith("cli "):
            count = self._by_wish[event.actor, event.at] = self._by_wish.get((event.actor, event.at), 0) + 1
            hold(count == 1, f"I15: the wish of {event.actor} had effect {count} times")
        if isinstance(event, ev.TaskEvent) and event.visit in before.visits:
            old, new = before.visits[event.visit], after.visits[event.visit]
            if old.state.final:
                hold(old.state == new.state, f"I6: {event.visit} was {old.state.label} and moved")
            if old.state.name is N.PAUSED and new is not old and new.state.name is not N.PAUSED:
                known = (ev.VisitApproved, ev.TimerFired, ev.CancelRequested, ev.SkipRequested)
                hold(isinstance(event, known), f"I14: {type(event).__name__} moved {event.visit}, which was Paused")
            if new.token > old.token:
                hold(not before.cancelled, f"I13: {event.visit} was permitted in a run that was asked to stop")
                bad = [u for u in new.upstream if before.visits[u].state.type is not StateType.COMPLETED]
                hold(not bad, f"I8: {event.visit} was permitted although {bad} had not succeeded")
        if isinstance(event, ev.BodyEntered):
            last = self._entered.get((run_id, event.visit), 0)
            hold(event.token > last, f"I3: {event.visit} of {run_id} was entered by {event.token} after {last}")
            self._entered[run_id, event.visit] = event.token
            visit = after.visits[event.visit]
            hold(visit.attempt <= visit.attempts, f"I9: attempt {visit.attempt} of {visit.attempts} of {event.visit}")

    def _look_at_rows(self, run_id: str, run: Run) -> None:
        text = "SELECT task, visit, idx, state, type, version, token, attempt, result FROM visit WHERE run_id = ?"
        rows = {VisitId(*row[:3]): row[3:] for row in self._base.execute(text, (run_id,)).fetchall()}
        hold(
            rows.keys() == set(run.visits), f"I7: rows {set(rows) ^ set(run.visits)} of {run_id} are not in the events"
        )
        for visit, row in rows.items():
            v = run.visits[visit]
            told = (v.state.label, v.state.type.value, v.version, v.token, v.attempt, v.result)
            hold(row == told, f"I7: the row of {visit} of {run_id} is {row}, its events say {told}")
            before = self._rows.get((run_id, visit), row)
            hold(
                row[2] >= before[2] and row[3] >= before[3], f"I5: {visit} of {run_id} went back from {before} to {row}"
            )
            if before[1] in _FINAL:
                hold(row[:2] == before[:2] and row[3:] == before[3:], f"I6: {visit} was {before} and is {row}")
            self._rows[run_id, visit] = row
            if row[1] == "COMPLETED" and row[5] and row is not before:
                found = self._base.execute("SELECT 1 FROM result WHERE digest = ?", (row[5],)).fetchone()
                hold(found, f"I12: {visit} of {run_id} succeeded with {row[5]}, which is not there")

    @property
    def heard(self) -> set[tuple[str, float]]:
        """The wishes that had effect: who, when."""
        return set(self._by_wish)

    def finish(self) -> None:
        """With nothing left alive and everything swept: all ended, and a full check finds nothing."""
        self.look()
        hold(statements.check(self._base, "") == [], f"the check finds {statements.check(self._base, '')}")
        for run_id, (_, run) in self._runs.items():
            open_visits = [str(v.id) for v in run.visits.values() if not v.state.final and not _patient(run, v)]
            hold(not open_visits, f"I16: {open_visits} of {run_id} never ended")
            hold(
                run.state.final or run.state.name in (N.OPEN, N.PAUSED) or run.active,
                f"I16: {run_id} stays {run.state.label}",
            )
