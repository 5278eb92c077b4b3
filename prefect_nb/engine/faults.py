"""What the engine says when it cannot go on, and to whom."""

from __future__ import annotations

import os

from prefect_nb.errors import StoreError

__all__ = ["broken", "forked", "over", "refused"]


def broken(run: str, error: BaseException) -> StoreError:
    """The loop met a fault of its own."""
    return StoreError(
        f"the engine of run {run} stopped at a fault of its own: {type(error).__name__}: {error}",
        hint="run the cell again; what was shown as done is in the store",
    )


def over(run: str) -> StoreError:
    """The session was closed."""
    return StoreError(f"the engine of run {run} has ended", hint="load the extension again")


def forked(run: str) -> StoreError:
    """A child made by fork has no engine."""
    return StoreError(
        f"run {run} was used from a forked child (process {os.getpid()})",
        hint="do the work in the child, and record it in the parent",
    )


def refused(run: str, why: str) -> StoreError:
    """The store did not take a commit."""
    return StoreError(
        f"the store refused a change of run {run}: {why}",
        hint="another kernel took this run over; start a new one with %flow new",
    )
