"""Wishes for a run that this process has left: carried out in the store, or left there for who works on it now.

Knows runs that nobody works on; not those that go on here.
"""

from __future__ import annotations

from prefect_nb.core.fold import fold
from prefect_nb.core.run import Run
from prefect_nb.engine.recovery import carry_out
from prefect_nb.protocols import Signal, Store
from prefect_nb.wiring import now

__all__ = ["carried_out"]


def carried_out(store: Store, wish: Signal) -> Run:
    """Let it happen; the run as it is then."""
    row = store.run(wish.run)
    if row is not None and not carry_out(store, row, wish, store.open_worker("flow", row.flow), now):
        store.signal(wish)
    return fold(event for _, event in store.events(wish.run))
