"""The state is the fold of the events."""

from __future__ import annotations

import random

from simulation import play

from prefect_nb.core.fold import fold
from prefect_nb.core.run import Run


def test_nothing_folds_to_a_blank_run() -> None:
    """No events, no run."""
    assert fold([]) == Run()


def test_fold_goes_on_from_a_run() -> None:
    """A snapshot and the events after it give what all events give; a generator will do."""
    events = play([random.Random(3).randrange(2**20) for _ in range(60)]).events
    for cut in range(0, len(events), 7):
        assert fold((e for e in events[cut:]), fold(events[:cut])) == fold(events)
