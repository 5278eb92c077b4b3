"""What a cell's text says about itself: the task header in its first line, its options, its name.

Two spellings mean the same: the magic ``%%task name --retries 3`` and the comment ``#| task: name --retries 3``, which
linters and formatters leave alone. Every mistake in a header is one :class:`~prefect_nb.errors.UsageError` with the
option named. Must not know IPython; its option table builds the magic's help and completion from :data:`OPTIONS`.
"""

from __future__ import annotations

import re
import shlex
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from io import StringIO
from typing import Literal, TypeVar

from prefect_nb.analysis.names import Names
from prefect_nb.core.policy import Cache, Retry, seconds
from prefect_nb.core.spec import TaskKind, TaskSpec
from prefect_nb.errors import UsageError

__all__ = [
    "OPTIONS",
    "Header",
    "Option",
    "Options",
    "default_name",
    "line_of_misplaced",
    "misplaced",
    "options",
    "split",
    "task_spec",
]

_T = TypeVar("_T")
_MAGIC = re.compile(r"%%task(?=\s|$)(?P<line>.*)")
_COMMENT = re.compile(r"#\|\s*task\s*:(?P<line>.*)")
_OTHER_MAGIC = re.compile(r"%%(?!(?:task|time|timeit|prun|capture)(?:\s|$))\w")  # its body is not Python
_CLASS = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME_LENGTH = 80


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
    Option("--tags", "TAG", "Words for people; they change nothing.", "nightly", True),
    Option("--fresh", "", "Run the body this time, whatever was stored."),
)
_BY_NAME = {option.name: option for option in OPTIONS}


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a task cell.

    Parameters
    ----------
    name : str, optional
        The name it gives; None also when the line is faulty.
    line : str
        What follows the marker.
    spelling : str
        Which of the two.
    lines : int
        Physical lines before the body.
    """

    name: str | None
    line: str
    spelling: Literal["magic", "comment"]
    lines: int = 1


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
    fresh: bool = False


def split(source: str) -> tuple[Header | None, str]:
    """The header of a task cell and its body; (None, `source`) for a plain cell. Never raises.

    Only empty lines may stand above the header. The body keeps its lines as they are.
    """
    lines = source.splitlines(keepends=True)
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    found = None if first is None else _marker(lines[first])
    if first is None or found is None:
        return None, source
    spelling, line = found
    try:
        name = options(line).name
    except UsageError:
        name = None
    return Header(name, line, spelling, first + 1), "".join(lines[first + 1 :])


def _marker(line: str) -> tuple[Literal["magic", "comment"], str] | None:
    text = line.rstrip()
    if magic := _MAGIC.fullmatch(text):
        return "magic", magic["line"].strip()
    if comment := _COMMENT.fullmatch(text):
        return "comment", comment["line"].strip()
    return None


def line_of_misplaced(source: str) -> int | None:
    """The number (from 1) of the first line that looks like a header but is not the cell's first; None if all is well.

    Lines inside a text literal, or in the body of a cell magic that is not Python (``%%writefile``), are no headers.
    """
    lines = source.splitlines(keepends=True)
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if not lines or _OTHER_MAGIC.match(lines[first]):
        return None
    for number, line in enumerate(lines):
        if number > first and _marker(line) is not None and not _inside_text("".join(lines[first:number])):
            return number + 1
    return None


def _inside_text(above: str) -> bool:
    try:
        for _ in tokenize.generate_tokens(StringIO(above).readline):
            pass
    except tokenize.TokenError as error:
        # "EOF in multi-line string" up to Python 3.11, "unterminated triple-quoted string literal" later
        return "multi-line string" in str(error) or "triple-quoted" in str(error)
    except SyntaxError:
        return False
    return False


def misplaced(source: str) -> str | None:
    """One line that says what to do if a header stands below the first line of the cell, else None."""
    number = line_of_misplaced(source)
    if number is None:
        return None
    return f"the task header in line {number} must be the first line of its cell; move it up or split the cell there"


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
    return Options(
        name,
        _retry(given),
        _read(given, "--timeout", _limit),
        _read(given, "--cache", Cache) or Cache(),
        _read(given, "--version", str) or "",
        *(_several(given, each) for each in ("--files", "--env", "--after", "--tags")),
        "--fresh" in given,
    )


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
        if option is None:
            close = get_close_matches(spelled, _BY_NAME, 1, 0.5)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(_BY_NAME)}"
            raise UsageError(f"%%task has no option {spelled}", hint=hint)
        if not option.metavar:
            if equals:
                raise UsageError(f"{option.name} takes no value")
        elif not equals:
            value = next(waiting, "")
            if not value or value in _BY_NAME:
                raise UsageError(f"{option.name} needs a value", hint=f"for example {option.name} {option.example}")
        yield option, value


def _read(given: dict[str, list[str]], name: str, convert: Callable[[str], _T]) -> _T | None:
    if name not in given:
        return None
    value, option = given[name][0], _BY_NAME[name]
    example = f"for example {name} {option.example}"
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
            raise UsageError(f"{name}: {value!r} is not a name", hint=f"for example {name} {_BY_NAME[name].example}")
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


def _limit(text: str) -> float:
    limit = seconds(text)
    if limit <= 0:
        raise UsageError("a time limit must be longer than 0")
    return limit


def _valid_name(name: str) -> str:
    if not name.strip() or len(name) > _NAME_LENGTH or not name.isprintable() or set(name) & {"/", "#"}:
        raise UsageError(
            f"{name[:_NAME_LENGTH]!r} cannot be a task's name",
            hint=f"1 to {_NAME_LENGTH} characters, without control characters, '/' and '#'",
        )
    return name


def default_name(names: Names, ordinal: int) -> str:
    """A name for a task that has none: the first two public names that it binds, else ``"task-3"`` for the third cell.

    Examples
    --------
    >>> from prefect_nb.analysis.names import analyze
    >>> default_name(analyze("import os; df = 1; _t = 2; model = 3"), 4)
    'df-model'
    """
    public = [name for name in names.order if not name.startswith("_") and name not in names.imports]
    return "-".join(public[:2])[:_NAME_LENGTH] or f"task-{ordinal}"


def task_spec(header: Header, names: Names, ordinal: int) -> TaskSpec:
    """The task that a header asks for; `names` and `ordinal` give its name if it gives none.

    Raises
    ------
    UsageError
        As :func:`options`.
    """
    asked = options(header.line)
    return TaskSpec(
        name=asked.name or default_name(names, ordinal),
        kind=TaskKind.CELL,
        retry=asked.retry,
        timeout=asked.timeout,
        cache=asked.cache,
        version=asked.version,
        files=asked.files,
        env=asked.env,
        after=asked.after,
        tags=asked.tags,
    )
