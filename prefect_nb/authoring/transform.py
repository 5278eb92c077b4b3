"""The input transformer that turns a task cell into one awaited call of the runner.

Knows IPython's input transformers and the two spellings of a header. Knows nothing about options, bodies or the engine:
what follows the header is handed over as text. Both functions of a cell's rewrite are pure, so IPython may ask twice.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

__all__ = ["ENTRY", "CellRunner", "install", "rewrite", "uninstall"]

ENTRY = "__prefect_nb_task__"

_MAGIC = re.compile(r"%%task(?=\s|$)(?P<line>.*)")
_RUN = re.compile(r"\s*%flow\s+run(?=\s|$)(?P<name>.*)\s*")
_COMMENT = re.compile(r"#\|\s*task\s*:(?P<line>.*)")


class CellRunner(Protocol):
    """What runs a task cell: its header line without the marker, and the whole cell as the user wrote it."""

    def __call__(self, line: str, cell: str) -> Awaitable[None]:
        """Run the cell to its end; raises what the cell raised."""
        ...


class _Entry:
    """The builtin that rewritten cells call."""

    def __init__(self, runner: CellRunner, run_flow: Callable[[str], Awaitable[None]] | None) -> None:
        self._runner = runner
        self.run_flow = run_flow

    def __call__(self, line: str, cell: str) -> Awaitable[None]:
        return self._runner(line, cell)

    def usage(self, message: str) -> None:
        from IPython.core.error import UsageError  # a script that runs flows pays nothing for IPython

        raise UsageError(message)  # IPython prints one line for it, without a traceback


class _Transformer:
    """An entry of IPython's list of transformers; told apart from others by its class."""

    # IPython leaves such transformers out when it asks whether a cell is complete, and then treats the untouched
    # `%%task` cell as it treats every cell magic: complete after an empty line.
    has_side_effects = True

    def __init__(self, line_of_misplaced: Callable[[str], int | None] | None) -> None:
        self._line_of_misplaced = line_of_misplaced

    def __call__(self, lines: list[str]) -> list[str]:
        return rewrite(lines, self._line_of_misplaced)


def rewrite(lines: list[str], line_of_misplaced: Callable[[str], int | None] | None = None) -> list[str]:
    """The lines of a cell, or one line that calls the runner if it is a task cell.

    Parameters
    ----------
    lines : list of str
        The cell with its line ends.
    line_of_misplaced : callable, optional
        Says in which line of a source a header stands that is not the first one, if any.
    """
    cell = "".join(lines)
    if line_of_misplaced is not None and (number := line_of_misplaced(cell)) is not None:
        message = (
            f"the task header in line {number} must be the first line of its cell; move it up or split the cell there"
        )
        return [f"{ENTRY}.usage({message!r})\n"]
    first = next((line for line in lines if line.strip()), "")
    match = _MAGIC.match(first) or _COMMENT.match(first)
    if match is not None:
        return [f"await {ENTRY}({match['line'].strip()!r}, {cell!r})\n"]
    # A magic cannot await, and bringing tasks up to date means waiting for them.
    run = _RUN.fullmatch(cell) if first and "%flow" in first else None
    return [f"await {ENTRY}.run_flow({run['name'].strip()!r})\n"] if run is not None else lines


def install(
    shell: Any,
    runner: CellRunner,
    line_of_misplaced: Callable[[str], int | None] | None = None,
    run_flow: Callable[[str], Awaitable[None]] | None = None,
) -> None:
    """Make task cells of this shell run through `runner`; a second call replaces the first.

    The runner is reached through a builtin, so ``%reset`` cannot lose it.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The shell whose cells are rewritten.
    runner : CellRunner
        Runs one task cell.
    line_of_misplaced : callable, optional
        See :func:`rewrite`.
    run_flow : callable, optional
        Carries out a cell that is ``%flow run [NAME]`` and nothing else.
    """
    uninstall(shell)
    setattr(builtins, ENTRY, _Entry(runner, run_flow))
    shell.input_transformers_cleanup.insert(0, _Transformer(line_of_misplaced))


def uninstall(shell: Any) -> None:
    """Leave the shell as it was before :func:`install`; does nothing if it was not installed."""
    transformers = shell.input_transformers_cleanup
    transformers[:] = [t for t in transformers if not isinstance(t, _Transformer)]
    builtins.__dict__.pop(ENTRY, None)
