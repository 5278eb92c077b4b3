"""Operators and indexing on nodes, each a small task of its own: ``total + 1``, ``row["price"]``, ``rate > 0.5``.

Knows which operator is which task; nodes ask their plan for one by name.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from prefect_nb.authoring.functions import Task
from prefect_nb.core.policy import Cache
from prefect_nb.core.spec import TaskKind, TaskSpec

__all__ = ["OPERATIONS"]


def _two(of: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(a: Any, b: Any) -> Any:
        return of(a, b)

    return apply


def _one(of: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(a: Any) -> Any:
        return of(a)

    return apply


_ARITHMETIC = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor")
_BINARY = (*_ARITHMETIC, "lt", "le", "gt", "ge", "getitem")
_UNARY = ("neg", "pos", "invert", "abs")


def _task(name: str, body: Callable[..., Any]) -> Task[..., Any]:
    return Task(body, TaskSpec(name.rstrip("_"), TaskKind.FUNCTION, cache=Cache("never")))


OPERATIONS: dict[str, Task[..., Any]] = {
    **{name: _task(name, _two(getattr(operator, name))) for name in _BINARY},
    **{name: _task(name, _one(getattr(operator, name))) for name in _UNARY},
}
"""The task of each operator, by the name it has in the module ``operator``."""
