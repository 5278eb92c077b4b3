"""Seeded lives of the real engine and the real SQL, with faults; what must hold after every step.

The numbers are those of the list of invariants. Judged here (:mod:`sim_judge`): I1 one success, never changed; I2 what
was told is there; I3 one entry for each token, tokens rise; I5 nothing goes back; I6 legal moves, finals absorb; I7
events without gaps that fold to the rows; I8 nobody is permitted before what is upstream succeeded; I9 attempts stay
within the policy; I12 a success has its result; I13 nobody is permitted in a run asked to stop; I14 what is paused
moves by a person or a time only; I15 a wish has effect at most once, and one for a whole run is not lost; I16 without
faults everything comes to rest and can be swept; I17 a reader never sees an older state, nor half a transaction.

Not here: I4 (a holder does not check a clock before a body: a late start is possible and its commit is refused), I10
and I11 (limits and schedules have tests of their own), processes, pipes and files (:mod:`test_kills`).

Again, and what happened in it: ``PYTHONPATH=tests/proof python tests/proof/sim_world.py SEED``.
"""

from __future__ import annotations

import logging
from collections import Counter

import pytest
from sim_world import FAULTS, played

BLOCK = 25
REGRESSIONS = (
    (10, "a kernel with a neighbour did not go back to its own run after its engine had failed"),
    (99, "a wish to cancel a run was lost with the engine that had heard it"),
    (109, "a wish was lost with the kernel that had heard it"),
    (867, "a commit was recorded although the one before it was lost: the run could not be folded any more"),
)
"""Seeds that once broke a promise, and which. (A change of the simulation gives a seed another life; the mutants in
:mod:`mutants` bring each of these faults back for good.)"""


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """Thousands of refused commits are no news."""
    logging.getLogger("prefect_nb").setLevel(logging.CRITICAL)


def lives(first: int, count: int, steps: int) -> Counter[str]:
    """Play so many seeds; how much happened in them."""
    happened: Counter[str] = Counter()
    for seed in range(first, first + count):
        try:
            world = played(seed, steps)
        except Exception as error:
            raise AssertionError(f"seed {seed} with {steps} steps: {error}") from error
        happened += world.happened
        happened["heard"] += len(world.judge.heard)
    return happened


@pytest.mark.parametrize("block", range(8))
def test_no_life_breaks_a_promise(block: int) -> None:
    """Two hundred short lives, each with its own part of the faults; all kinds of things happened in them."""
    happened = lives(block * BLOCK, BLOCK, 80)
    assert not [kind for kind in (*FAULTS[:4], "full", "told", "engine failed") if not happened[kind]]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", range(10))
def test_no_long_life_breaks_a_promise(block: int) -> None:
    """Four thousand longer lives."""
    happened = lives(1000 + block * 400, 400, 260)
    assert min(happened[kind] for kind in (*FAULTS[:4], "full", "write", "answer", "swept", "heard")) > 20


@pytest.mark.parametrize(("seed", "once"), REGRESSIONS)
def test_what_once_broke_holds(seed: int, once: str) -> None:
    """Seeds that found a fault, with the length that they had then."""
    lives(seed, 1, 220)


def test_a_seed_is_one_life() -> None:
    """The same seed makes the same choices."""
    assert played(7, 120).trail == played(7, 120).trail
