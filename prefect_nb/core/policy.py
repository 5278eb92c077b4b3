"""Policies as values: how often to retry, when to reuse, how long to wait. Pure decisions, no clock, no chance.

Jitter is derived from the run, the task and the attempt, so the same run always waits the same time
(rule of the house: randomness never enters the core).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import Enum

from prefect_nb.errors import UsageError

__all__ = ["TRIGGERS", "Cache", "CacheMode", "Retry", "Trigger", "seconds"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def seconds(value: float | int | str) -> float:
    """A duration in seconds from a number of seconds or a string such as ``"5m"`` or ``"1h30m"``.

    Raises
    ------
    UsageError
        If the text is not a duration or the number is negative or not finite.

    Examples
    --------
    >>> seconds("1h30m"), seconds("250ms"), seconds(4), seconds("7")
    (5400.0, 0.25, 4.0, 7.0)
    """
    if isinstance(value, str):
        text = value.strip().lower()
        parts = _DURATION.findall(text)
        if parts and "".join(n + u for n, u in parts) == text:
            return sum(float(n) * _UNITS[u] for n, u in parts)
        try:
            value = float(text)
        except ValueError:
            raise UsageError(
                f"{value!r} is not a duration",
                hint='use seconds, or a text such as "250ms", "10s", "5m", "1h30m", "1d"',
            ) from None
    number = float(value)
    if not 0 <= number < float("inf"):
        raise UsageError(f"{value!r} is not a duration", hint="a duration is a finite number of seconds, 0 or more")
    return number


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a failed body is entered again.

    Parameters
    ----------
    count : int
        Retries after the first attempt; 0 means one attempt only.
    delay : float, str or tuple of them
        Seconds before each retry; a tuple gives one wait per retry, its last one repeats.
    jitter : float
        Each wait is stretched by up to this fraction (0.3 = up to 30 % longer).
    on : tuple of str
        Names of exception classes (bases count); empty means every exception.
    crashes : int
        How often the body is entered again because the process that ran it vanished (a segfault, the OOM killer); such
        an entry takes nothing from `count`. One by default: most such deaths say nothing about the task, but a body
        that kills its process each time has to come to an end.
    """

    count: int = 0
    delay: tuple[float, ...] = (0.0,)
    jitter: float = 0.0
    on: tuple[str, ...] = ()
    crashes: int = 1

    def __init__(
        self,
        count: int = 0,
        delay: float | int | str | tuple[float | int | str, ...] | list[float | int | str] = 0.0,
        jitter: float = 0.0,
        on: object = (),
        crashes: int = 1,
    ) -> None:
        for number, what in ((count, "retries"), (crashes, "crashes")):
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                raise UsageError(f"{what} must be a whole number, 0 or more, not {number!r}")
        delays = tuple(seconds(d) for d in delay) if isinstance(delay, tuple | list) else (seconds(delay),)
        if not 0 <= jitter <= 10:
            raise UsageError(f"jitter must lie between 0 and 10, not {jitter!r}", hint="0.3 waits up to 30 % longer")
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "delay", delays or (0.0,))
        object.__setattr__(self, "jitter", float(jitter))
        object.__setattr__(self, "on", _names(on))
        object.__setattr__(self, "crashes", crashes)

    @property
    def attempts(self) -> int:
        """Attempts in total, the first one included; those that a crash ended are beside them."""
        return self.count + 1

    def allows(self, attempt: int, error_types: tuple[str, ...]) -> bool:
        """Whether another attempt may follow attempt number `attempt` (from 1) that raised `error_types`.

        `error_types` are the class names of the exception and its bases, plain and with their module.
        """
        return attempt <= self.count and (not self.on or any(name in error_types for name in self.on))

    def wait(self, attempt: int, salt: str) -> float:
        """Seconds to wait after attempt number `attempt` (from 1); the same for the same `salt`."""
        base = self.delay[min(attempt, len(self.delay)) - 1]
        if not self.jitter:
            return base
        digest = hashlib.blake2b(f"{salt}/{attempt}".encode(), digest_size=8).digest()
        return base * (1 + self.jitter * int.from_bytes(digest, "big") / 2**64)


def _names(on: object) -> tuple[str, ...]:
    items = on if isinstance(on, tuple | list | set | frozenset) else (on,)
    names = []
    for item in items:
        if isinstance(item, type):
            names.append(f"{item.__module__}.{item.__qualname__}")
        elif isinstance(item, str) and item:
            names.append(item)
        else:
            raise UsageError(f"retry-on takes exception classes or their names, not {item!r}")
    return tuple(names)


class CacheMode(Enum):
    """When an earlier result may stand in for a deliberate second execution."""

    PURE = "pure"  # only if the body is pure
    NEVER = "never"
    ALWAYS = "always"  # the author vouches for it
    AGE = "age"  # the author vouches for it for this long


@dataclass(frozen=True, slots=True)
class Cache:
    """When a result may be reused; the default trusts only pure bodies.

    Parameters
    ----------
    rule : str or float
        ``"pure"`` (default), ``"never"``, ``"always"``, or a duration such as ``"1d"``.
    """

    mode: CacheMode = CacheMode.PURE
    max_age: float | None = None

    def __init__(self, rule: str | float | int = "pure") -> None:
        age: float | None = None
        try:
            mode = CacheMode(rule) if rule != "age" else None
        except ValueError:
            mode = None
        if mode is None:
            try:
                age = seconds(rule)
            except UsageError:
                raise UsageError(
                    f"cache must be pure, never, always or a duration, not {rule!r}", hint="for example --cache 1d"
                ) from None
            mode = CacheMode.AGE
        object.__setattr__(self, "mode", mode)
        object.__setattr__(self, "max_age", age)

    @property
    def rule(self) -> str | float:
        """The spelling that makes an equal Cache."""
        return self.mode.value if self.max_age is None else self.max_age


TRIGGERS = (
    "all_successful",
    "all_failed",
    "any_successful",
    "any_failed",
    "all_finished",
    "not_all_skipped",
    "some_failed",
    "some_successful",
)
"""The triggers by name; a custom one has a name of its own."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """How everything upstream must have ended for a task to run.

    Parameters
    ----------
    name : str
        One of `TRIGGERS`, or what people call a custom one.
    at_least, at_most : float, optional
        Bounds of ``some_failed`` and ``some_successful``: a count, or below 1 a fraction of all.
    custom : bool
        Whether a callable of the author's decides.
    """

    name: str = "all_successful"
    at_least: float | None = None
    at_most: float | None = None
    custom: bool = False

    def __post_init__(self) -> None:
        if not self.custom and self.name not in TRIGGERS:
            raise UsageError(f"there is no trigger {self.name!r}", hint=f"known are {', '.join(TRIGGERS)}")
        for bound in (self.at_least, self.at_most):
            if bound is not None and not 0 <= bound < float("inf"):
                raise UsageError(f"a trigger's bound is a count or a fraction, not {bound!r}")

    @property
    def heeds_failures(self) -> bool:
        """Whether a task that runs under it answers for failures upstream of it."""
        return self.name != "all_successful"
