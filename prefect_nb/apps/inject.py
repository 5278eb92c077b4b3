"""Parameters into a notebook: papermill's cell in papermill's place, and proof that it only assigns values.

Knows notebook nodes and papermill's translator; must not know types, files or kernels. papermill is loaded at first
use: importing it loads every engine, ours too.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from prefect_nb.apps.notebooks import tagged
from prefect_nb.errors import ParameterError

__all__ = ["inject", "prove", "written"]

TAG = "injected-parameters"
_ID = "injected-parameters"


def written(values: Mapping[str, Any], kernel: str) -> str:
    """The source of a cell that assigns these values, and nothing else.

    Raises
    ------
    ParameterError
        If a value cannot be written so that reading it gives the same value.
    """
    from papermill.translators import translate_parameters

    dates = {name: value for name, value in values.items() if isinstance(value, date)}
    others = {name: value for name, value in values.items() if name not in dates}
    source = str(translate_parameters(kernel, "python", others, "Parameters"))
    for name, value in dates.items():
        source += f'{name} = __import__("datetime").{_word(value)}.fromisoformat("{value.isoformat()}")\n'
    prove(source, values)
    return source


def prove(source: str, values: Mapping[str, Any]) -> None:
    """Check that a cell assigns exactly these values, by its syntax tree.

    Raises
    ------
    ParameterError
        If it does anything else.
    """
    found: dict[str, Any] = {}
    try:
        for node in ast.parse(source).body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if name not in found:
                    found[name] = _literal(value)
                case _:
                    raise ValueError(f"line {node.lineno} is no plain assignment")
        if _shown(found) != _shown(values):
            raise ValueError("it would assign something else")
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ParameterError(
            f"these parameters cannot be written into the notebook safely: {error}",
            hint="pass simpler values, or a path to a file that the notebook reads",
        ) from error


def _shown(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: repr(value) for name, value in values.items()}


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.Call(
            func=ast.Attribute(
                value=ast.Attribute(
                    value=ast.Call(func=ast.Name(id="__import__"), args=[ast.Constant(value="datetime")], keywords=[]),
                    attr="date" | "datetime" as word,
                ),
                attr="fromisoformat",
            ),
            args=[ast.Constant(value=str(text))],
            keywords=[],
        ):
            return (datetime if word == "datetime" else date).fromisoformat(text)
    return ast.literal_eval(node)


def _word(value: date) -> str:
    return "datetime" if isinstance(value, datetime) else "date"


def inject(nb: NotebookNode, values: Mapping[str, Any], kernel: str) -> None:
    """Put the values into the notebook, in place: after the ``parameters`` cell, or instead of an earlier injection."""
    earlier = tagged(nb, TAG)
    if not values:
        if earlier is not None:
            nb.cells.remove(earlier)
        return
    source = written(values, kernel)
    cell = new_code_cell(source=source, id=_ID, metadata={"tags": [TAG]})  # type: ignore[no-untyped-call]
    if earlier is not None:
        cell.metadata = earlier.metadata
        nb.cells[nb.cells.index(earlier)] = cell
        return
    declaring = tagged(nb, "parameters")
    nb.cells.insert(nb.cells.index(declaring) + 1 if declaring is not None else 0, cell)
