"""The current state is always the fold of the events; nothing else may say what a run looks like."""

from __future__ import annotations

from collections.abc import Iterable

from prefect_nb.core.events import Event
from prefect_nb.core.machine import step
from prefect_nb.core.run import Run

__all__ = ["fold"]


def fold(events: Iterable[Event], run: Run | None = None) -> Run:
    """The run after `events`, starting from `run` or from nothing; the effects are dropped: they were carried out."""
    run = Run() if run is None else run
    for event in events:
        run, _ = step(run, event)
    return run
