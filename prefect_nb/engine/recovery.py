"""Open a run, take one over, and tell the truth about runs whose process died."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prefect_nb.core import events as ev
from prefect_nb.core.fold import fold
from prefect_nb.core.run import Run
from prefect_nb.core.states import StateName, StateType
from prefect_nb.engine.batch import Place
from prefect_nb.engine.session import Session
from prefect_nb.engine.wishes import wished
from prefect_nb.errors import UsageError
from prefect_nb.protocols import RunRow, Signal, Store

__all__ = ["Opening", "carry_out", "open_session", "sweep"]

_BODIES = (StateName.SUBMITTED, StateName.RUNNING, StateName.CANCELLING)
_KEPT = (StateName.PAUSED, StateName.SUSPENDED, StateName.RESUMING)
_RESUMABLE = ("Crashed", "Paused", "Failed", "Running", "Cancelling", "Open")


@dataclass(frozen=True, slots=True)
class Opening:
    """What to open.

    Parameters
    ----------
    flow, notebook : str
        The flow's name and the notebook's path.
    live : bool
        A notebook somebody works in; its run stays Open and survives kernel restarts.
    worker : str
        This process, as the store knows it; the same again when opening failed half-way.
    new_id : str
        The id for a new run.
    parameters : mapping
        JSON-able parameters, for the record.
    resume : str, optional
        A headless run to go on with: an id, or ``"last"``.
    fresh : bool
        Never take an open live run over.
    former : str
        A worker of this very process whose engine has ended: its run is taken over although its process lives.
    """

    flow: str
    notebook: str
    live: bool
    worker: str
    new_id: str
    parameters: Mapping[str, Any]
    resume: str | None = None
    fresh: bool = False
    former: str = ""


def open_session(store: Store, opening: Opening, now: Callable[[], float]) -> tuple[Session, str]:
    """A session for the run, new or taken over, and a sentence for people (empty when nothing is worth saying).

    Raises
    ------
    UsageError
        If the run to resume does not exist, has ended well, or still runs elsewhere.
    """
    row, remark = (None, "") if opening.fresh else _earlier(store, opening)
    if row is None:
        session = Session(store, Run(), now, Place(opening.notebook))
        session.ask(
            ev.RunOpened(
                at=now(),
                run=opening.new_id,
                flow=opening.flow,
                live=opening.live,
                worker=opening.worker,
                parameters=opening.parameters,
            )
        )
        session.listen()
        return session, remark
    run, after = _told(store, row.run)
    session = Session(store, run, now, Place(opening.notebook, row.graph), after)
    session.ask(ev.RunAttached(at=now(), worker=opening.worker), *_left_over(run, now()))
    session.listen()
    return session, remark


def _earlier(store: Store, opening: Opening) -> tuple[RunRow | None, str]:
    if opening.resume is None and not opening.live:
        return None, ""
    if opening.resume is not None:
        row = _to_resume(store, opening)
        if _held(store, row, opening):
            raise UsageError(f"run {row.run} still runs in another process", hint="cancel it first, or wait for it")
    else:
        rows = [r for r in store.runs(flow=opening.flow, limit=20) if r.live and not StateType(r.type).final]
        own = (opening.worker, opening.former or opening.worker)
        rows.sort(key=lambda r: r.worker not in own)  # its own first, else the newest that nobody holds
        found = next((r for r in rows if not _held(store, r, opening)), None)
        if found is None:
            held = f"another kernel works on {opening.flow} in run {rows[0].run}" if rows else ""
            return None, held and f"{held}; this one has a run of its own"
        row = found
    if not store.take_run(row.run, opening.worker, row.worker):
        return None, f"another kernel was faster to take run {row.run} over; this one has a run of its own"
    return row, ""


def _told(store: Store, run: str) -> tuple[Run, int]:
    """A run as its events tell it, and the number of the newest."""
    events = store.events(run)
    return fold(event for _, event in events), events[-1][0] if events else 0


def _held(store: Store, row: RunRow, opening: Opening) -> bool:
    return row.worker not in (opening.former, opening.worker) and store.alive(row.worker)


def _left_over(run: Run, at: float) -> list[ev.TaskEvent]:
    """What becomes of visits whose process is gone: bodies have crashed; what waited for its turn is given up.

    What waits for a person or a time, or was just let go on, needs no process and stays as it is.

    Nobody stands ready for the body of a visit that waits (a retry, a first entry): executing its cell again makes a
    visit of its own, and until then the old one would keep the run busy for ever.
    """
    found: list[ev.TaskEvent] = []
    for visit in run.visits.values():
        if visit.state.name in _BODIES:
            found.append(ev.WorkerLost(at=at, visit=visit.id, actor="recovery"))
        elif not visit.state.final and visit.state.name not in _KEPT:
            told = f"its kernel ended while it was {visit.state.label}; run it again"
            found.append(ev.CancelRequested(at=at, visit=visit.id, actor="recovery", message=told))
    return found


def _to_resume(store: Store, opening: Opening) -> RunRow:
    if opening.resume not in (None, "", "last"):
        row = store.run(str(opening.resume))
        if row is None:
            raise UsageError(f"there is no run {opening.resume}", hint="prefect-nb runs lists them")
    else:
        rows = [r for r in store.runs(flow=opening.flow, limit=50) if not r.live]
        if not rows:
            raise UsageError(f"{opening.flow} has no run to resume", hint="leave --resume out to start one")
        row = rows[0]
    if row.state not in _RESUMABLE:
        raise UsageError(f"run {row.run} ended as {row.state}; there is nothing to resume", hint="start a new run")
    return row


def carry_out(store: Store, row: RunRow, wish: Signal, worker: str, now: Callable[[], float]) -> bool:
    """Let a wish happen in a run that nobody works on; False if somebody does, who then is the one to ask.

    The run stays for whoever goes on with it.

    Parameters
    ----------
    row : RunRow
        The run, as it was read.
    wish : Signal
        What is wished.
    worker : str
        This process, as the store knows it.
    """
    if store.alive(row.worker) or not store.take_run(row.run, worker, row.worker):
        return False
    run, after = _told(store, row.run)
    happens = wished(run, wish)
    session = Session(store, run, now, Place(row.notebook, row.graph), after)
    try:
        attached: list[ev.Event] = [ev.RunAttached(at=now(), worker=worker, actor="recovery"), *_left_over(run, now())]
        parked: list[ev.Event] = [] if row.live else [ev.RunClosed(at=now(), interrupted=True, actor="recovery")]
        session.ask(*attached, *([] if happens is None else [happens]), *parked)
    finally:
        _let_go(session)
    return True


def _let_go(session: Session) -> None:
    """End the session and leave its run to nobody: whoever looked after it may live long, and works on nothing."""
    session.close()
    session.store.take_run(session.run.id, "", session.run.worker)


def sweep(store: Store, worker: str, now: Callable[[], float]) -> list[str]:
    """Mark what died: bodies of dead processes become Crashed, their headless runs too. Idempotent; the runs' ids."""
    found = []
    for row in store.runs(limit=200):
        if StateType(row.type).final or row.state == "Paused" or store.alive(row.worker):
            continue
        if row.live and not _left_over(_told(store, row.run)[0], now()):
            continue
        if not store.take_run(row.run, worker, row.worker):
            continue
        run, after = _told(store, row.run)  # again, for nobody else can add to it from here on
        left = _left_over(run, now())
        session = Session(store, run, now, Place(row.notebook, row.graph), after)
        ending: list[ev.Event] = [] if row.live else [ev.RunClosed(at=now(), lost=True, actor="recovery")]
        try:
            session.ask(ev.RunAttached(at=now(), worker=worker, actor="recovery"), *left, *ending)
        finally:
            _let_go(session)
        found.append(row.run)
    return found
