"""``approve`` and ``reject``: answer a task that waits for a person, from any process, with who and when on record.

A run that somebody works on is asked through the store; one that nobody works on is written to here and now, and goes
on when its cell is executed or the run is resumed.
"""

from __future__ import annotations

import time

import click

from prefect_nb.apps.listing import in_store
from prefect_nb.apps.opened import Opened, Told, place_of
from prefect_nb.authoring import approvals
from prefect_nb.authoring.approvals import Answer
from prefect_nb.core.run import Visit
from prefect_nb.core.states import StateName
from prefect_nb.engine.recovery import carry_out
from prefect_nb.errors import PrefectNBError, UsageError
from prefect_nb.protocols import Signal
from prefect_nb.wiring import now

__all__ = ["approve", "reject"]

_WAIT_S = 5.0
_POLL_S = 0.05
_RUNS = 50

_of_run = click.option(
    "--run", "run", default="", metavar="RUN", help="The run; by default the latest where NAME waits."
)
_note = click.option("--note", default="", metavar="TEXT", help="Words for the record.")


@click.command()
@click.argument("name")
@_note
@click.option("--input", "inputs", multiple=True, metavar="FIELD=VALUE", help="Answer a field of its form.")
@_of_run
@in_store
def approve(name: str, note: str, inputs: tuple[str, ...], run: str, store: str) -> None:
    """Let the paused task NAME go on; its body runs when its cell is executed or its run is resumed."""
    value = dict(_field(text) for text in inputs)
    with Opened(place_of(store)) as opened:
        told = _waiting(opened, name, run)
        event = approvals.approved(told.run, name, Answer(approvals.person("cli"), now(), note, value))
        _say(opened, told, Signal(told.row.run, "approve", name, event.actor, event.at, 0, _detail(note, event.value)))


@click.command()
@click.argument("name")
@_note
@_of_run
@in_store
def reject(name: str, note: str, run: str, store: str) -> None:
    """End the paused task NAME without running it: it is Cancelled, naming you."""
    with Opened(place_of(store)) as opened:
        told = _waiting(opened, name, run)
        event = approvals.rejected(told.run, name, Answer(approvals.person("cli"), now(), note))
        _say(opened, told, Signal(told.row.run, "reject", name, event.actor, event.at, 0, _detail(note, {})))


def _field(text: str) -> tuple[str, str]:
    field, equals, value = text.partition("=")
    if not equals or not field:
        raise UsageError(f"{text!r} answers no field", hint="write --input FIELD=VALUE")
    return field, value


def _detail(note: str, value: object) -> dict[str, object]:
    return {"note": note, "value": value}


def _waiting(opened: Opened, name: str, run: str) -> Told:
    """The run that was named, or the latest one in which the task waits; the latest at all if there is none."""
    if run:
        return opened.tell(opened.find(run))
    for row in opened.store.runs(limit=_RUNS):
        if row.ended_at is None:
            told = opened.tell(row)
            visit = told.run.find(name)
            if visit is not None and visit.state.name is StateName.PAUSED:
                return told
    return opened.tell(opened.find())


def _say(opened: Opened, told: Told, wish: Signal) -> None:
    """Let the wish happen, and see that it did."""
    store, before = opened.store, approvals.waiting(told.run, wish.task)
    if not carry_out(store, told.row, wish, store.open_worker("cli", ""), now):
        store.signal(wish)
    ends = time.monotonic() + _WAIT_S
    while (visit := _now(opened, wish.run, before)).state == before.state:
        if time.monotonic() > ends:
            raise PrefectNBError(
                f"{wish.task} was answered and is still {before.state.label} after {_WAIT_S:g} s",
                hint="the kernel of its run takes the answer when it can; prefect-nb status shows when it has",
            )
        time.sleep(_POLL_S)
    click.echo(f"{wish.task} of run {wish.run} is {visit.state.label}: {visit.state.message}")
    if visit.state.name is StateName.RESUMING:
        click.echo(_next_step(opened, wish.run))


def _now(opened: Opened, run: str, before: Visit) -> Visit:
    return opened.tell(opened.find(run)).run.visits[before.id]


def _next_step(opened: Opened, run: str) -> str:
    row = opened.find(run)
    if row.live:
        return "it goes on when its cell is executed"
    return f"it goes on with: prefect-nb run {row.notebook} --resume {row.run}"
