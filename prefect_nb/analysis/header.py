"""The options of a task header: one table for parsing, help and completion, and the parser.

Every mistake is one :class:`~prefect_nb.errors.UsageError` that names the option. Knows policies; must not know cells.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeVar

from prefect_nb.core.policy import TRIGGERS, Cache, Retry, Trigger, seconds
from prefect_nb.errors import UsageError

__all__ = ["NAME_LENGTH", "OPTIONS", "Option", "Options", "options"]

_T = TypeVar("_T")
_CLASS = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NAME_LENGTH = 80
"""Characters that a task's name may have."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a task header.

    Parameters
    ----------
    name : str
        With its dashes.
    metavar : str
        What its value stands for; empty for a flag.
    help : str
        One sentence.
    example : str
        A value that works; shown when another one does not.
    repeatable : bool
        Whether it takes a comma list and may be given several times.
    choices : tuple of str
        Words worth completing.
    """

    name: str
    metavar: str
    help: str
    example: str = ""
    repeatable: bool = False
    choices: tuple[str, ...] = ()


OPTIONS: tuple[Option, ...] = (
    Option("--retries", "N", "Run the body again up to N times when it raises.", "3"),
    Option("--delay", "TIME[,TIME...]", "Wait before each retry; the last wait repeats.", "1,2,4"),
    Option("--jitter", "F", "Stretch each wait by up to this fraction.", "0.3"),
    Option("--retry-on", "ERROR", "Retry only these exception classes and their subclasses.", "TimeoutError", True),
    Option("--timeout", "TIME", "Stop an attempt that takes longer.", "5m"),
    Option(
        "--cache",
        "RULE",
        "Reuse earlier results if the body is pure (the default), never, always, or up to an age.",
        "1d",
        choices=("pure", "never", "always", "1d"),
    ),
    Option("--version", "V", "Part of the key: change it to make earlier results unfit.", "2"),
    Option("--files", "GLOB", "Files that the body reads; a change makes it run again.", "data/*.csv", True),
    Option("--env", "NAME", "Environment variables that the body reads.", "REGION", True),
    Option("--after", "TASK", "Run after these tasks, though no name is read from them.", "load", True),
    Option(
        "--tags",
        "TAG",
        "Words for people; prefect-nb limits can bound how many tasks with one run at a time.",
        "nightly",
        True,
    ),
    Option(
        "--trigger",
        "NAME",
        "Run when the tasks above have ended so, for example any_failed; some_failed:2 takes a count or a fraction.",
        "any_failed",
        choices=(*TRIGGERS, "always_run", "manual_only"),
    ),
    Option(
        "--on-upstream-skip",
        "DO",
        "When a task above was skipped: skip this one too (the default), or run it.",
        "run",
        choices=("skip", "run"),
    ),
    Option("--approve", "", "Wait for a person before the body runs; a reused result never asks."),
    Option("--once", "", "After an unknown outcome wait for a person instead of running the body again."),
    Option("--fresh", "", "Run the body this time, whatever was stored."),
)
_BY_NAME = {option.name: option for option in OPTIONS}


@dataclass(frozen=True, slots=True)
class Options:
    """What a header line asks for; `fresh` is for this execution only, the rest belongs to the task."""

    name: str | None = None
    retry: Retry = field(default_factory=Retry)
    timeout: float | None = None
    cache: Cache = field(default_factory=Cache)
    version: str = ""
    files: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    trigger: Trigger = field(default_factory=Trigger)
    skip_with_upstream: bool = True
    approve: bool = False
    once: bool = False
    fresh: bool = False


def options(line: str) -> Options:
    """What a header line asks for.

    Raises
    ------
    UsageError
        For anything that cannot be used as written, with the option named.

    Examples
    --------
    >>> found = options("orders --retries 3 --delay 1,2,4")
    >>> found.name, found.retry.attempts, found.retry.delay
    ('orders', 4, (1.0, 2.0, 4.0))
    """
    name, given = _given(line)
    trigger, by_hand = _read(given, "--trigger", _trigger) or (Trigger(), False)
    return Options(
        name=name,
        retry=_retry(given),
        timeout=_read(given, "--timeout", _limit),
        cache=_read(given, "--cache", Cache) or Cache(),
        version=_read(given, "--version", str) or "",
        files=_several(given, "--files"),
        env=_several(given, "--env"),
        after=_several(given, "--after"),
        tags=_several(given, "--tags"),
        trigger=trigger,
        skip_with_upstream=(_read(given, "--on-upstream-skip", _skip_or_run) or "skip") == "skip",
        approve="--approve" in given or by_hand,
        once="--once" in given,
        fresh="--fresh" in given,
    )


def _given(line: str) -> tuple[str | None, dict[str, list[str]]]:
    """The name, if there is one, and the values of each option that is written."""
    given: dict[str, list[str]] = {}
    name: str | None = None
    for option, value in _words(line):
        if option is None:
            if name is not None:
                raise UsageError(
                    f"a task has one name, not {name!r} and {value!r}", hint="quote a name that contains spaces"
                )
            name = _valid_name(value)
        elif option.name in given and not option.repeatable:
            raise UsageError(f"{option.name} is given twice", hint="keep one of them")
        else:
            parts = [part.strip() for part in value.split(",")] if option.repeatable else [value]
            if option.metavar and not all(parts):
                raise UsageError(
                    f"{option.name} has an empty value", hint=f"for example {option.name} {option.example}"
                )
            given.setdefault(option.name, []).extend(parts)
    return name, given


def _words(line: str) -> Iterator[tuple[Option | None, str]]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"the task header cannot be read: {str(error).lower()}", hint="close the quote") from None
    waiting = iter(words)
    for word in waiting:
        if not word.startswith("-"):
            yield None, word
            continue
        spelled, equals, value = word.partition("=")
        option = _BY_NAME.get(spelled)
        if spelled == "--executor":
            raise UsageError(
                "a cell runs in the kernel, where its names live",
                hint="for a process of its own make it a function: @task(executor='processes')",
            )
        if option is None:
            close = get_close_matches(spelled, _BY_NAME, 1, 0.5)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(_BY_NAME)}"
            raise UsageError(f"%%task has no option {spelled}", hint=hint)
        if not option.metavar:
            if equals:
                raise UsageError(f"{option.name} takes no value")
        elif not equals:
            value = next(waiting, "")
            if not value or value.startswith("--"):
                raise UsageError(f"{option.name} needs a value", hint=_example(option))
        yield option, value


def _example(option: Option) -> str:
    return f"for example {option.name} {option.example}"


def _read(given: dict[str, list[str]], name: str, convert: Callable[[str], _T]) -> _T | None:
    if name not in given:
        return None
    value, example = given[name][0], _example(_BY_NAME[name])
    try:
        return convert(value)
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", hint=error.hint or example) from None
    except ValueError:
        raise UsageError(f"{name} needs a number, not {value!r}", hint=example) from None


def _several(given: dict[str, list[str]], name: str) -> tuple[str, ...]:
    values = tuple(dict.fromkeys(given.get(name, ())))
    valid = {"--env": _VARIABLE, "--retry-on": _CLASS}.get(name)
    for value in values:
        if valid is not None and not valid.fullmatch(value):
            raise UsageError(f"{name}: {value!r} is not a name", hint=_example(_BY_NAME[name]))
        if name == "--after":
            _valid_name(value)
    return values


def _retry(given: dict[str, list[str]]) -> Retry:
    count = _read(given, "--retries", _whole) or 0
    delay = _read(given, "--delay", lambda text: tuple(seconds(part) for part in text.split(",")))
    jitter = _read(given, "--jitter", lambda text: Retry(jitter=float(text)).jitter)
    return Retry(count, delay or 0.0, jitter or 0.0, _several(given, "--retry-on"))


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise UsageError(f"{text!r} is not a whole number from 0 to 999999")
    return int(text)


def _trigger(text: str) -> tuple[Trigger, bool]:
    """The trigger, and whether a person has to agree as well: ``NAME``, or ``NAME:AT_LEAST[:AT_MOST]``."""
    name, *bounds = text.split(":")
    if name == "manual_only" and not bounds:
        return Trigger(), True
    if bounds and (not name.startswith("some_") or len(bounds) > 2):
        raise UsageError(f"{name} takes no bounds", hint="some_failed:2 and some_successful:0.5:0.9 do")
    low, high = (*(float(bound) for bound in bounds), None, None)[:2]
    return Trigger({"always_run": "all_finished"}.get(name, name), low, high), False


def _skip_or_run(text: str) -> str:
    if text not in ("skip", "run"):
        raise UsageError(f"{text!r} is neither skip nor run")
    return text


def _limit(text: str) -> float:
    limit = seconds(text)
    if limit <= 0:
        raise UsageError("a time limit must be longer than 0")
    return limit


def _valid_name(name: str) -> str:
    if not name.strip() or len(name) > NAME_LENGTH or not name.isprintable() or set(name) & {"/", "#"}:
        raise UsageError(
            f"{name[:NAME_LENGTH]!r} cannot be a task's name",
            hint=f"1 to {NAME_LENGTH} characters, without control characters, '/' and '#'",
        )
    return name
