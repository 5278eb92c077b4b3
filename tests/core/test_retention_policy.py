"""Which ended runs go, by age and by rank."""

from __future__ import annotations

import pytest

from prefect_nb.core.retention import Ended, Retention

DAY = 86_400.0
RUNS = [Ended(f"{flow}{age}", flow, "", -age * DAY) for flow in "ab" for age in (1, 5, 40)]


@pytest.mark.parametrize(
    ("retention", "gone"),
    [
        (Retention(), []),
        (Retention(older_than_s=30 * DAY), ["a40", "b40"]),
        (Retention(older_than_s=5 * DAY), ["a40", "b40", "a5", "b5"]),
        (Retention(keep_last=2), ["a40", "b40"]),
        (Retention(keep_last=0), ["a40", "b40", "a5", "b5", "a1", "b1"]),
        (Retention(older_than_s=2 * DAY, keep_last=2), ["a40", "b40"]),
        (Retention(older_than_s=30 * DAY, keep_last=1), ["a40", "b40"]),
        (Retention(older_than_s=0.0), ["a40", "b40", "a5", "b5", "a1", "b1"]),
    ],
)
def test_what_goes(retention, gone):
    """A run goes when it is as old as asked and not among the newest of its flow; nothing goes unasked."""
    assert [run.run for run in retention.doomed(RUNS, 0.0)] == gone
    assert [run.run for run in retention.doomed(reversed(RUNS), 0.0)] == sorted(gone, key=lambda r: (-int(r[1:]), r)), (
        "the order of the rows decides"
    )


def test_since_when_entries_must_have_been_used():
    """Only an age that was asked for makes reusable results old."""
    assert Retention(older_than_s=10.0).before(15.0) == 5.0
    assert Retention(keep_last=3).before(15.0) is None
