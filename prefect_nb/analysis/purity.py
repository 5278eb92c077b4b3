"""Is a body pure? Fails closed: everything it can reach is analysed code or on the shipped list, or it is impure.

Reading files and the environment, and hidden generators, are understood: they go into the manifest. Knows no cells, no
store; never runs the code it judges.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect_nb.analysis.bodies import Body
from prefect_nb.analysis.calls import names_in_query
from prefect_nb.analysis.code import node_of
from prefect_nb.analysis.origins import place_of
from prefect_nb.analysis.sources import tree
from prefect_nb.analysis.witness import Cause, Inquiry

__all__ = ["Cause", "Verdict", "env_names", "judge", "query_names"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a body's result depends on nothing but its key and its manifest.

    Parameters
    ----------
    pure : bool
        True only when nothing speaks against it.
    causes : tuple of Cause
        What does, in order of the lines.
    reads_files : bool
        Whether it opens files for reading or lists directories.
    uses_random : bool
        Whether it draws from a hidden generator, whose state then belongs to the manifest.
    environment : frozenset of str
        The environment variables that it reads; ``"<cwd>"`` is the working directory.
    """

    pure: bool
    causes: tuple[Cause, ...]
    reads_files: bool
    uses_random: bool
    environment: frozenset[str] = frozenset()

    @property
    def plain(self) -> bool:
        """Whether there is nothing about the body that would have to be watched."""
        return self.pure and not (self.reads_files or self.uses_random or self.environment)


def judge(body: str | types.FunctionType, namespace: Mapping[str, Any]) -> Verdict:
    """Judge a cell's body or a function without running it.

    Parameters
    ----------
    body : str or function
        Source after IPython's transforms, or a function of the notebook or a local module.
    namespace : mapping
        The live names that the body sees; used for source bodies.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> judge("import time\\nt = time.time()", {}).causes[0].code
    'CLOCK'
    """
    inquiry = Inquiry()
    try:
        if isinstance(body, str):
            _judge_cell(inquiry, body, namespace)
        else:
            inquiry.see(body, getattr(body, "__name__", "the function"))
        _judge_waiting(inquiry)
    except RecursionError:
        inquiry.blame("UNANALYSED", "code that is nested too deeply")
    causes = tuple(sorted(inquiry.causes.values(), key=lambda c: (c.inside, c.line or 0, c.code, c.name)))
    return Verdict(not causes, causes, inquiry.reads_files, inquiry.uses_random, frozenset(inquiry.environment))


def _judge_cell(inquiry: Inquiry, source: str, namespace: Mapping[str, Any]) -> None:
    module = tree(source)
    if module is None:
        inquiry.blame("UNANALYSED", "a body with a syntax error")
        return
    Body(inquiry, namespace).cell(module.body)


def _judge_waiting(inquiry: Inquiry) -> None:
    """Judge the functions that were met, until none is left."""
    while inquiry.waiting:
        function = inquiry.waiting.pop()
        space = function.__globals__
        home = str(space.get("__name__") or "")
        inquiry.inside = function.__qualname__
        inquiry.line = None
        inquiry.captured(function, function.__qualname__)
        for name, part in function.__dict__.items():
            inquiry.see(part, f"{function.__qualname__}.{name}")
        node = node_of(function)
        if node is None:
            inquiry.blame("UNANALYSED", function.__qualname__)
            continue
        module = home if place_of(home, space) == "local" else ""
        Body(inquiry, space, module=module, closure=_closure(function)).function(node)


def _closure(function: types.FunctionType) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            found[name] = None
    return found


def query_names(source: str) -> frozenset[str]:
    """Names that ``@`` in the strings of ``.query(…)`` and ``.eval(…)`` calls reads."""
    module = tree(source)
    found: set[str] = set()
    for node in ast.walk(module) if module is not None else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("query", "eval"):
            for argument in (*node.args, *(k.value for k in node.keywords)):
                for part in ast.walk(argument):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        found.update(names_in_query(part.value))
    return frozenset(found)


def env_names(source: str, namespace: Mapping[str, Any]) -> frozenset[str]:
    """Environment variables that a body, or what it reaches, reads by a name that is written out."""
    return judge(source, namespace).environment
