"""What a cell's text says about itself: the task header in its first line, its options, its name.

Two spellings mean the same: the magic ``%%task name --retries 3`` and the comment ``#| task: name --retries 3``, which
linters and formatters leave alone. Every mistake in a header is one :class:`~prefect_nb.errors.UsageError` with the
option named. Must not know IPython; its option table builds the magic's help and completion from :data:`OPTIONS`.
"""

from __future__ import annotations

import re
import tokenize
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO
from typing import Literal

from prefect_nb.analysis.header import NAME_LENGTH, OPTIONS, Option, Options, options
from prefect_nb.analysis.names import Names
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

_MAGIC = re.compile(r"%%task(?=\s|$)(?P<line>.*)")
_COMMENT = re.compile(r"#\|\s*task\s*:(?P<line>.*)")
_OTHER_MAGIC = re.compile(r"%%(?!(?:task|time|timeit|prun|capture)(?:\s|$))\w")  # its body is not Python


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


@lru_cache(maxsize=1024)
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


def default_name(names: Names, ordinal: int) -> str:
    """A name for a task that has none: the first two public names that it binds, else ``"task-3"`` for the third cell.

    Examples
    --------
    >>> from prefect_nb.analysis.names import analyze
    >>> default_name(analyze("import os; df = 1; _t = 2; model = 3"), 4)
    'df-model'
    """
    public = [name for name in names.order if not name.startswith("_") and name not in names.imports]
    return "-".join(public[:2])[:NAME_LENGTH] or f"task-{ordinal}"


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
        trigger=asked.trigger,
        skip_with_upstream=asked.skip_with_upstream,
        approve=asked.approve,
        once=asked.once,
    )
