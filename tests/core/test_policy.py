"""Durations, retries and cache rules as values."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_nb.core.policy import Cache, CacheMode, Retry, seconds
from prefect_nb.errors import UsageError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("250ms", 0.25),
        ("10s", 10),
        ("5m", 300),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("2w", 1_209_600),
        (" 1.5H ", 5400),
        ("7", 7),
        ("0.5", 0.5),
        (4, 4),
        (0, 0),
    ],
)
def test_durations(value: Any, expected: float) -> None:
    """Numbers are seconds; texts name their units."""
    assert seconds(value) == expected


@pytest.mark.parametrize(
    "value", ["", "5 minutes", "m", "-1", "1d tomorrow", "1h,30m", "inf", "nan", -1, math.inf, math.nan]
)
def test_what_is_no_duration(value: Any) -> None:
    """Everything else is a usage error that names the value."""
    with pytest.raises(UsageError, match="is not a duration"):
        seconds(value)


@given(st.floats(0, 1e9))
def test_numbers_are_their_own_duration(number: float) -> None:
    """A finite number of seconds, 0 or more, is itself, also as text."""
    assert seconds(number) == number
    assert seconds(str(number)) == number or "e" in str(number)


TIMEOUT = ("ReadTimeout", "httpx.ReadTimeout", "TimeoutError", "builtins.TimeoutError", "OSError", "Exception")


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ((), True),
        ("ReadTimeout", True),
        ("httpx.ReadTimeout", True),
        ("OSError", True),
        (TimeoutError, True),
        ((KeyError, "OSError"), True),
        ("KeyError", False),
        (KeyError, False),
        ("requests.ReadTimeout", False),
        ("readtimeout", False),
    ],
)
def test_retry_on(on: Any, expected: bool) -> None:
    """Classes match by name, by qualified name and by base; an empty list means every exception."""
    assert Retry(1, on=on).allows(1, TIMEOUT) is expected


def test_retries_run_out() -> None:
    """`count` retries follow the first attempt, and no more."""
    assert [Retry(2).allows(n, TIMEOUT) for n in (1, 2, 3, 4)] == [True, True, False, False]
    assert (Retry().attempts, Retry(2).attempts) == (1, 3)


@pytest.mark.parametrize(
    ("delay", "waits"),
    [
        (0, [0, 0, 0]),
        ("10s", [10, 10, 10]),
        ((1, "2s", 4), [1, 2, 4]),
        ([1, 2], [1, 2, 2]),
        ((), [0, 0, 0]),
    ],
)
def test_delays(delay: Any, waits: list[float]) -> None:
    """One wait for all, or one per retry of which the last repeats."""
    assert [Retry(3, delay).wait(n, "r/t") for n in (1, 2, 3)] == waits


@given(st.floats(0, 10), st.integers(1, 20), st.text(max_size=20))
def test_jitter_is_bounded_and_repeatable(jitter: float, attempt: int, salt: str) -> None:
    """A wait is stretched by at most its fraction, and the same salt always waits the same."""
    retry = Retry(20, delay=10, jitter=jitter)
    wait = retry.wait(attempt, salt)
    assert 10 <= wait <= 10 * (1 + jitter)
    assert wait == Retry(20, delay=10, jitter=jitter).wait(attempt, salt)


def test_jitter_differs_between_tasks_and_attempts() -> None:
    """A thousand tasks that fail together do not come back together."""
    waits = {Retry(2, 10, 1.0).wait(attempt, f"r/t{n}") for attempt in (1, 2) for n in range(500)}
    assert len(waits) == 1000
    assert 14 < sum(waits) / 1000 < 16


@pytest.mark.parametrize(
    "bad",
    [
        {"count": -1},
        {"count": True},
        {"count": 1.5},
        {"jitter": -1},
        {"jitter": 11},
        {"on": 3},
        {"delay": "x"},
        {"crashes": -1},
        {"crashes": True},
    ],
)
def test_bad_retries(bad: dict[str, Any]) -> None:
    """A policy that cannot be meant is refused when it is written."""
    with pytest.raises(UsageError):
        Retry(**bad)


@pytest.mark.parametrize(
    ("rule", "mode", "age"),
    [
        ("pure", CacheMode.PURE, None),
        ("never", CacheMode.NEVER, None),
        ("always", CacheMode.ALWAYS, None),
        ("1d", CacheMode.AGE, 86_400),
        (60, CacheMode.AGE, 60),
        ("0", CacheMode.AGE, 0),
    ],
)
def test_cache_rules(rule: Any, mode: CacheMode, age: float | None) -> None:
    """Each spelling gives its mode and age, and `rule` spells an equal policy."""
    cache = Cache(rule)
    assert (cache.mode, cache.max_age) == (mode, age)
    assert Cache(cache.rule) == cache


@pytest.mark.parametrize("rule", ["age", "sometimes", "", "-1", -1])
def test_bad_cache_rules(rule: Any) -> None:
    """Other spellings are refused with the ones that exist."""
    with pytest.raises(UsageError, match="pure, never, always or a duration"):
        Cache(rule)
