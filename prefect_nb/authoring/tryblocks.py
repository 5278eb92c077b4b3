"""Task calls inside ``try``: in a flow they cannot raise there, so a warning says it. Knows source; runs nothing."""

from __future__ import annotations

import ast
import inspect
import textwrap
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from prefect_nb.analysis.parsing import parse
from prefect_nb.authoring.functions import Task

__all__ = ["warn_about_tries"]

_seen: weakref.WeakSet[Any] = weakref.WeakSet()


def warn_about_tries(function: Callable[..., Any]) -> None:
    """Warn, once for each function, of task calls whose errors a ``try`` around them will never see."""
    if function in _seen:
        return
    _seen.add(function)
    for node in ast.walk(_tree(function)):
        if isinstance(node, ast.Try) and node.handlers:
            for call in _bare_calls(node.body, function):
                told = f"flow {function.__name__} calls {call} inside try, but a node raises nothing"
                warnings.warn(f"{told}; catch around {call}(...).result()", UserWarning, stacklevel=4)


def _tree(function: Callable[..., Any]) -> ast.AST:
    """Its syntax, as well as can be told: a warning may err."""
    try:
        return parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return ast.Module([], [])


def _bare_calls(body: list[ast.stmt], function: Callable[..., Any]) -> list[str]:
    """Names of tasks that are called in these statements, and not asked for their result at once."""
    asked = {
        id(node.func.value)
        for statement in body
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "result"
    }
    names = []
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and id(node) not in asked:
                target = node.func.value if isinstance(node.func, ast.Attribute) else node.func
                if isinstance(target, ast.Name) and isinstance(_named(function, target.id), Task):
                    names.append(target.id)
    return list(dict.fromkeys(names))


def _named(function: Callable[..., Any], name: str) -> object:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    inner = {free: cell.cell_contents for free, cell in cells if cell is not None}
    return inner.get(name, function.__globals__.get(name))
