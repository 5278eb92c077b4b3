"""A task cell's body: compiled and run as IPython compiles and runs a plain cell.

Knows IPython's compiler, display hook and history, and SIGINT through :mod:`prefect_nb.authoring.interrupts`. Knows
nothing about tasks: who may run a body, with which names and what its end means is decided above. The user's line
numbers are kept: the header's lines become comments, and the text is registered under the file name that a front end's
debugger computes for the cell.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import linecache
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, TracebackType
from typing import Any, Literal

from prefect_nb.analysis.parsing import PARSING
from prefect_nb.authoring.interrupts import Guard, Interrupts, Why
from prefect_nb.authoring.tracebacks import user_frames
from prefect_nb.authoring.transform import ENTRY

__all__ = ["Body", "End"]


@dataclass(frozen=True, slots=True)
class End:
    """How a body ended.

    Parameters
    ----------
    kind : str
        ``"interrupted"`` only if somebody asked and the body let the interrupt pass; an exception of the user's own,
        including SystemExit and KeyboardInterrupt, is ``"raised"``.
    error : BaseException or None
        What it raised.
    traceback : traceback or None
        The user's frames only.
    why : str or None
        Who asked last: ``"cancel"``, ``"timeout"``, ``"stop"``. May be set on any kind: a body can catch an interrupt.
    """

    kind: Literal["returned", "raised", "interrupted"]
    error: BaseException | None = None
    traceback: TracebackType | None = None
    why: Why | None = None


class Body:
    """The compiled body of a task cell; may be run several times.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        Whose transformers, compiler flags and display settings apply.
    raw_cell : str
        The cell as the user wrote it, header included.
    header_lines : int
        How many of its first lines are header.

    Attributes
    ----------
    source : str
        The body as plain Python, without the header: what an analysis should see.
    tree : ast.Module
        Its syntax tree, with the cell's line numbers.
    filename : str
        The name under which tracebacks and the debugger know it.
    awaits : bool
        Whether it awaits at its top level.

    Raises
    ------
    SyntaxError
        As a plain cell raises it.
    """

    def __init__(self, shell: Any, raw_cell: str, header_lines: int) -> None:
        self._shell = shell
        self._raw_cell = raw_cell
        lines = raw_cell.splitlines(keepends=True)
        head, rest = lines[:header_lines], lines[header_lines:]
        blank = next((number for number, line in enumerate(rest) if line.strip()), len(rest))
        text = "".join(rest[blank:])
        self.source: str = shell.transform_cell(text) if text else ""
        padded = "".join([_comment(line) for line in head] + ["\n"] * blank) + self.source
        self.filename: str = _register(shell, raw_cell, padded)
        with PARSING:
            tree: ast.Module = shell.compile.ast_parse(padded, filename=self.filename)
        self.tree: ast.Module = shell.transform_ast(tree)
        self._codes = _compile(shell, self.tree, self.filename)
        self.awaits = any(_is_coroutine(code) for code in self._codes)

    async def run(
        self,
        namespace: dict[str, Any],
        interrupts: Interrupts,
        token: int,
        view: MutableMapping[str, Any] | None = None,
    ) -> End:
        """Run the body to its end, which is returned, whatever it is.

        Parameters
        ----------
        namespace : dict
            Its globals.
        interrupts : Interrupts
            Owner of SIGINT for the time of the body.
        token : int
            The permission that a cancel request has to name.
        view : mutable mapping, optional
            Stands in for the namespace where names are looked up outside functions.
        """
        __tracebackhide__ = True  # a debugger's stack is the user's; so in all that lies between it and the shell
        with self._history(), interrupts.around(token) as guard:
            error: BaseException | None = None
            try:
                for code in self._codes:
                    await _execute(code, namespace, guard, view)
            except GeneratorExit:  # the event loop is going away; nobody waits for an answer
                raise
            except BaseException as raised:  # everything a body raises is data
                error = raised
            try:
                with guard.running():
                    _flush_figures(self._shell)
            except KeyboardInterrupt as interrupt:
                error = error or interrupt
            return _end(error, guard, interrupts)

    @contextmanager
    def _history(self) -> Iterator[None]:
        """``In[n]``: plain Python while it runs (a trailing ``;`` is looked up there), then the user's text."""
        history: list[str] = getattr(self._shell.history_manager, "input_hist_parsed", [])
        raw = self._raw_cell.rstrip("\n")
        if not history or not (history[-1] == raw or history[-1].startswith(f"await {ENTRY}(")):
            yield
            return
        number = len(history) - 1
        history[number] = self.source
        try:
            yield
        finally:
            history[number] = raw


def _comment(line: str) -> str:
    return line if line.lstrip().startswith("#") or not line.strip() else f"# {line}"


def _register(shell: Any, raw_cell: str, text: str) -> str:
    """Make the text known to tracebacks, ``inspect`` and the debugger; the file name."""
    number = shell.displayhook.prompt_count
    # IPython appends a line end before transformers see a cell; a debugger hashes the cell without it.
    candidates = [raw_cell, raw_cell.removesuffix("\n")]
    known = (raw for raw in candidates if shell.compile.get_code_name(raw, text, number) in linecache.cache)
    name: str = shell.compile.cache(text, number, raw_code=next(known, candidates[-1]))
    return name


def _compile(shell: Any, tree: ast.Module, filename: str) -> list[CodeType]:
    nodes = list(tree.body)
    mode = shell.ast_node_interactivity
    if mode == "last_expr_or_assign":
        nodes += _assigned(nodes)
        mode = "last_expr"
    shown = {
        "all": len(nodes),
        "last": 1,
        "last_expr": 1 if nodes and isinstance(nodes[-1], ast.Expr) else 0,
    }.get(mode, 0)
    silent = max(0, len(nodes) - shown)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT if shell.autoawait else 0
    codes = []
    with shell.compile.extra_flags(flags):
        for index, node in enumerate(nodes):
            if index < silent:
                codes.append(shell.compile(ast.Module([node], []), filename, "exec"))
            else:
                codes.append(shell.compile(ast.Interactive([node]), filename, "single"))
    return codes


def _assigned(nodes: list[ast.stmt]) -> list[ast.stmt]:
    """The expression that shows the name which the last statement assigns, if it does."""
    last = nodes[-1] if nodes else None
    target: ast.expr | None = None
    if isinstance(last, ast.Assign) and len(last.targets) == 1:
        target = last.targets[0]
    elif isinstance(last, ast.AugAssign | ast.AnnAssign):
        target = last.target
    if last is None or not isinstance(target, ast.Name):
        return []
    shown = ast.Expr(ast.copy_location(ast.Name(target.id, ast.Load()), target))
    return [ast.fix_missing_locations(ast.copy_location(shown, last))]


def _is_coroutine(code: CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_COROUTINE)


async def _execute(
    code: CodeType, namespace: dict[str, Any], guard: Guard, view: MutableMapping[str, Any] | None
) -> None:
    __tracebackhide__ = True
    if _is_coroutine(code):
        await guard.drive(eval(code, namespace, view))  # noqa: S307 - running the user's cell is the purpose
        return
    with guard.running():
        exec(code, namespace, view)  # noqa: S102 - running the user's cell is the purpose


def _flush_figures(shell: Any) -> None:
    """Show open inline figures now: IPython would do it after the cell, when they no longer belong to the task."""
    backend = sys.modules.get("matplotlib_inline.backend_inline")
    flush = getattr(backend, "flush_figures", None)
    if flush is not None and flush in shell.events.callbacks.get("post_execute", ()):
        flush()


def _end(error: BaseException | None, guard: Guard, interrupts: Interrupts) -> End:
    if error is None:
        return End("returned", why=guard.why)
    tb = user_frames(error.__traceback__)
    if isinstance(error, asyncio.CancelledError) and interrupts.cancelled_from_outside():
        guard.why = guard.why or "stop"
    asked = guard.why is not None and isinstance(error, KeyboardInterrupt | asyncio.CancelledError)
    return End("interrupted" if asked else "raised", error, tb, guard.why)
