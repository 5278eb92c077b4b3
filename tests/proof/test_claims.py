"""What every possible order of claims, commits, takeovers, lost commits and deaths leaves in the store.

Each row of the table is searched to its end; see :mod:`claim_model` for what a worker may do. Held in every state: at
most one success for each visit, it never changes, and one that somebody was told of is there; versions and tokens only
grow; nobody ends a visit under another token than the newest; an append of a worker that does not own the run is
refused, a refused one changes nothing; final visits stay; event numbers have no gap and fold to exactly the rows.
"""

from __future__ import annotations

import pytest
from claim_model import Broken, Claims

SMALL = (
    (2, ("a",), 0, 2),
    (2, ("a",), 2, 1),
    (2, ("a", "b"), 1, 0),
    (2, ("a", "b"), 0, 1),
    (3, ("a",), 0, 0),
)
LARGE = ((3, ("a",), 1, 1), (2, ("a", "b"), 1, 2), (3, ("a", "b"), 0, 0))


def searched(workers: int, tasks: tuple[str, ...], faults: int, deaths: int) -> Claims:
    """A search that found nothing wrong."""
    claims = Claims(workers, tasks, faults=faults, deaths=deaths)
    claims.explore()
    return claims


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_no_order_breaks_a_promise(case: tuple[int, tuple[str, ...], int, int]) -> None:
    """Two or three workers on one or two visits: every state is searched, and the search was no empty one."""
    found = searched(*case).found
    assert found.states > 500
    assert found.refused > 100
    assert {success[0] for success in found.successes} == set(case[1])
    assert {success[3] for success in found.successes} == {f"by w{n}" for n in range(case[0])}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_no_order_breaks_a_promise_in_the_large(case: tuple[int, tuple[str, ...], int, int]) -> None:
    """Three workers on two visits, with deaths and lost commits."""
    assert searched(*case).found.states > 10_000


def test_the_model_finds_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the guard against lost commits the shortest way to a hole in the record is told."""
    monkeypatch.setattr("claim_model.UNGUARDED", True)
    with pytest.raises(Broken, match=r"(?s)cannot be folded.*w0 posts.*w0 posts.*w0 lost.*w0 arrives") as told:
        searched(2, ("a", "b"), 1, 0)
    assert len(str(told.value).splitlines()) == 5
