"""``cancel``: leave a wish for the owner of a run, and see that it is heard."""

from __future__ import annotations

import getpass
import time

import click

from prefect_nb.apps.listing import in_store, of_run
from prefect_nb.apps.opened import Opened, place_of
from prefect_nb.core.states import StateType
from prefect_nb.errors import PrefectNBError, UsageError
from prefect_nb.protocols import Signal
from prefect_nb.wiring import now

__all__ = ["cancel"]

_WAIT_S = 5.0
_POLL_S = 0.05


@click.command()
@of_run
@click.option("--task", default="", metavar="NAME", help="Stop only this task; the rest goes on.")
@click.option("--wait", default=_WAIT_S, show_default=True, metavar="SECONDS", help="Wait so long for it to happen.")
@in_store
def cancel(run: str, task: str, wait: float, store: str) -> None:
    """Stop RUN, by default the latest: what runs is interrupted, the rest is not run."""
    with Opened(place_of(store)) as opened:
        row = opened.find(run)
        before = _state(opened, row.run, task)
        if StateType(before[1]).final:
            raise UsageError(
                f"{f'task {task} of run' if task else 'run'} {row.run} ended as {before[0]}; there is nothing to stop",
                hint="prefect-nb runs shows what is active",
            )
        kind = "cancel" if task else "cancel-run"
        opened.store.signal(Signal(run=row.run, kind=kind, task=task, actor=f"{_user()} (cli)", at=now()))
        ends = time.monotonic() + wait
        while not StateType((state := _state(opened, row.run, task))[1]).final and time.monotonic() < ends:
            time.sleep(_POLL_S)
    what = f"task {task} of run {row.run}" if task else f"run {row.run}"
    if state == before:
        raise PrefectNBError(
            f"{what} was asked to stop and is still {state[0]} after {wait:g} s",
            hint="its kernel may be busy in native code; prefect-nb status shows when it has stopped",
        )
    click.echo(f"{what} is {state[0]}")


def _state(opened: Opened, run: str, task: str) -> tuple[str, str]:
    if not task:
        row = opened.find(run)
        return row.state, row.type
    told = opened.tell(opened.find(run))
    name = opened.task(told, task)
    node = next(node for node in told.model.nodes if node.id == name)
    return node.state, node.type


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
