"""Seeded lives of small flows of functions: cut off, paused, cancelled and resumed, and compared with plain Python.

Chains, maps, maps over maps, reductions; retries, failures, skips, pauses and triggers that heed failures. Judged here
(:mod:`flow_world`): the state of every task and of every child, and every value, are what plain Python says; I7 a final
run has final tasks only; I9 attempts stay within the policy, and what had succeeded durably is not entered again in any
later life; I13 no body is entered in a run that was left; I16 it always goes on until the run has ended.

Not here: time limits, coroutines, worker processes, two runs at once (tests of their own, with real threads).

Again, and what happened in it: ``PYTHONPATH=tests/proof python tests/proof/flow_world.py SEED``.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from flow_world import lived

REGRESSIONS = (
    (60, "a body that a cancel kept from being entered was waited for"),
    (1154, "a task that waits for a failure and for what that failure ended was let go twice"),
)
"""Seeds that once broke a promise, and which. (A change of the simulation gives a seed another life.)"""


@pytest.fixture(autouse=True)
def own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are sealed with a key of the test's own."""
    monkeypatch.setenv("PREFECT_NB_HOME", str(tmp_path / "home"))


def lives(first: int, count: int) -> Counter[str]:
    """Play so many seeds; how much happened in them."""
    happened: Counter[str] = Counter()
    for seed in range(first, first + count):
        try:
            happened += lived(seed).happened
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    return happened


@pytest.mark.parametrize("block", range(4))
def test_no_life_differs_from_plain_python(block: int) -> None:
    """A hundred lives; all kinds of things happened in them."""
    happened = lives(block * 25, 25)
    assert not [kind for kind in ("died", "paused", "approved", "resumed") if not happened[kind]]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", range(4))
def test_none_of_many_lives_differs(block: int) -> None:
    """Two thousand lives."""
    happened = lives(1000 + block * 500, 500)
    assert min(happened[kind] for kind in ("died", "paused", "approved", "resumed", "cancelled")) > 10


@pytest.mark.parametrize(("seed", "once"), REGRESSIONS)
def test_what_once_broke_holds(seed: int, once: str) -> None:
    """Seeds that found a fault."""
    lives(seed, 1)


def test_a_seed_is_one_life() -> None:
    """The same seed makes the same choices."""
    assert lived(8).happened == lived(8).happened
