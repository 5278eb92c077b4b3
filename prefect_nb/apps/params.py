"""Typed parameters: what a notebook declares, what was given, and every reason why the two do not fit.

The annotations and defaults of the cell tagged ``parameters`` are read as source text; nothing is executed. Knows
source text and values; must not know notebooks, kernels or how a value gets into one.
"""

from __future__ import annotations

import ast
import difflib
import keyword
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from prefect_nb.analysis.kinds import ANY, Kind, fit, kind_of, kind_of_default, parse
from prefect_nb.errors import NotebookError, ParameterError

__all__ = ["Parameter", "Text", "declared", "plain", "settle"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter.

    Parameters
    ----------
    name : str
        Its name.
    kind : Kind
        What values fit.
    written : str
        The line that declares it, for people.
    required : bool
        Whether it has an annotation and no default.
    """

    name: str
    kind: Kind
    written: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A value as somebody typed it in a shell: its meaning depends on the parameter's type."""

    text: str


def declared(source: str, where: str = "the notebook") -> dict[str, Parameter]:
    """The parameters that a ``parameters`` cell declares, in order; lines of magics are no part of it.

    Raises
    ------
    NotebookError
        If the cell is not Python.
    """
    lines = ["" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines()]
    try:
        tree = ast.parse("\n".join(lines))
    except (SyntaxError, ValueError) as error:
        raise NotebookError(
            f"the parameters cell of {where} is not Python: {error}", hint="correct the cell, then run again"
        ) from error
    found: dict[str, Parameter] = {}
    for node in tree.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                kind = kind_of(annotation)
                found[name] = Parameter(name, kind, ast.unparse(node), required=value is None)
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    if isinstance(target, ast.Name):
                        written = f"{target.id} = {ast.unparse(value)}"
                        found[target.id] = Parameter(target.id, kind_of_default(value), written)
    return found


def settle(
    known: Mapping[str, Parameter], given: Mapping[str, Any], where: str, *, allowed: Iterable[str] = ()
) -> dict[str, Any]:
    """The values to inject, each of its parameter's type.

    Parameters
    ----------
    known : mapping
        The declared parameters.
    given : mapping
        A `Text` or a value for each name.
    where : str
        The notebook, for people.
    allowed : iterable of str
        Names that need no declaration.

    Raises
    ------
    ParameterError
        Naming every parameter that is unknown, missing or ill-typed.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    passing = frozenset(allowed)
    for name, value in given.items():
        problem = _name_problem(name, known, passing)
        if problem:
            problems.append(problem)
            continue
        kind = known[name].kind if name in known else ANY
        try:
            values[name] = parse(kind, value.text) if isinstance(value, Text) else fit(kind, value)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    problems += [f"{p.name}: has no default, so a value is needed" for p in known.values() if _missing(p, given)]
    if problems:
        noun = "a parameter" if len(problems) == 1 else f"{len(problems)} parameters"
        raise ParameterError(f"{noun} of {where} cannot be used: {'; '.join(problems)}", hint=_known(known))
    return values


def _missing(parameter: Parameter, given: Mapping[str, Any]) -> bool:
    return parameter.required and parameter.name not in given


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as JSON, for the record: dates as ISO text."""
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in values.items()}


def _name_problem(name: object, known: Mapping[str, Parameter], allowed: frozenset[str]) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        return f"{str(name)[:40]!r} is not a name"
    if keyword.iskeyword(name):
        return f"{name!r} is a word of Python's own"
    if name.startswith("__"):
        return f"{name!r} may not be set: names with two underscores belong to Python"
    if name not in known and name not in allowed:
        near = difflib.get_close_matches(name, known, n=1)
        return f"{name!r} is unknown" + (f" (did you mean {near[0]!r}?)" if near else "")
    return ""


def _known(known: Mapping[str, Parameter]) -> str:
    if not known:
        return "the notebook declares none: tag a cell with `parameters` and assign their defaults there"
    return "its parameters: " + ", ".join(parameter.written for parameter in known.values())
