"""The parameters of a flow of functions: checked against its signature before anything runs, all faults at once.

What JSON can hold, and dates, is checked against the annotations that we know and kept as plain data; anything else is
let through, and kept only as long as the process. Knows signatures; not runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from prefect_nb.analysis.kinds import ANY, Kind, fit, kind_of
from prefect_nb.analysis.parsing import parse
from prefect_nb.analysis.redaction import redacted
from prefect_nb.errors import ParameterError, UsageError

__all__ = ["Parameters"]


class Parameters:
    """The parameters of one function.

    Parameters
    ----------
    function : callable
        The flow's body.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._signature = inspect.signature(function)
        self._name = function.__name__
        self._kinds = {name: _kind(p) for name, p in self._signature.parameters.items()}

    def checked(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by name, defaults included, each as its annotation wants it.

        Raises
        ------
        ParameterError
            Naming every one that is missing, unknown or ill-typed.
        """
        given, faults = self._given(args, kwargs)
        values: dict[str, Any] = {}
        for name, parameter in self._signature.parameters.items():
            if name in given:
                try:
                    values[name] = self._fitted(name, given[name])
                except ValueError as error:
                    faults.append(f"{name}: {error}")
            elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            elif parameter.default is parameter.empty:
                faults.append(f"{name} is missing")
            else:
                values[name] = parameter.default
        if faults:
            told = "; ".join(faults)
            raise ParameterError(f"{self._name} was not started: {told}", hint=f"it takes {self._signature}")
        return values

    def spread(self, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The values as positional and keyword arguments of the function."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, parameter in self._signature.parameters.items():
            if name not in values:
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                args.extend(values[name])
            elif parameter.kind is parameter.VAR_KEYWORD:
                kwargs.update(values[name])
            elif parameter.kind is parameter.KEYWORD_ONLY:
                kwargs[name] = values[name]
            else:
                args.append(values[name])
        return tuple(args), kwargs

    def to_plain(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The values as plain data, and the names of those that plain data cannot hold.

        Raises
        ------
        UsageError
            If one holds the value of a secret, which is not to be kept.
        """
        plain: dict[str, Any] = {}
        rest: list[str] = []
        for name, value in values.items():
            value = list(value) if name in self._several else value
            if _same_after_json(value):
                plain[name] = value
            elif isinstance(value, date) and self._kinds[name].word in ("date", "datetime"):
                plain[name] = value.isoformat()
            else:
                rest.append(name)
            if redacted(plain.get(name)) != plain.get(name):
                hint = "pass the Secret itself, and ask it for its value in the task that needs it"
                raise UsageError(f"the parameter {name} holds the value of a secret", hint=hint)
        return plain, rest

    @property
    def _several(self) -> set[str]:
        parameters = self._signature.parameters.values()
        return {p.name for p in parameters if p.kind is p.VAR_POSITIONAL}

    def _given(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """What was given by name, and what could not be placed."""
        given: dict[str, Any] = {}
        faults: list[str] = []
        left = list(args)
        rest = dict(kwargs)
        for name, p in self._signature.parameters.items():
            if p.kind is p.VAR_POSITIONAL:
                given[name], left = tuple(left), []
            elif p.kind is p.VAR_KEYWORD:
                given[name], rest = rest, {}
            elif left and p.kind is not p.KEYWORD_ONLY:
                given[name] = left.pop(0)
                if name in rest and p.kind is not p.POSITIONAL_ONLY:
                    faults.append(f"{name} was given twice")
                    del rest[name]
            elif name in rest and p.kind is not p.POSITIONAL_ONLY:
                given[name] = rest.pop(name)
        faults += [f"{len(left)} more positional arguments than it takes"] * bool(left)
        faults += [f"it has no parameter {name}" for name in rest]
        return given, faults

    def _fitted(self, name: str, value: Any) -> Any:
        kind = self._kinds[name]
        return value if kind.word in ("any", "no") else fit(kind, value)


def _kind(parameter: inspect.Parameter) -> Kind:
    """The kind that an annotation names; ANY for one that we do not know, and where there is none."""
    annotation = parameter.annotation
    if annotation is parameter.empty or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return ANY
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    try:
        return kind_of(parse(text, mode="eval").body)
    except SyntaxError:
        return ANY


def _same_after_json(value: Any) -> bool:
    """Whether JSON gives back an equal value of the same types."""
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return True
    if kind is float:
        return bool(value == value and value not in (float("inf"), float("-inf")))
    if kind is list:
        return all(map(_same_after_json, value))
    if kind is dict:
        return all(type(k) is str and _same_after_json(v) for k, v in value.items())
    return False
