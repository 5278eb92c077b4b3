"""``@task``: the decorator that makes a function a task."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

from prefect_nb.authoring.functions import Task
from prefect_nb.core.policy import Cache, Retry
from prefect_nb.core.spec import TaskKind, TaskSpec
from prefect_nb.errors import UsageError

__all__ = ["Task", "task"]

P = ParamSpec("P")
R = TypeVar("R")


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(
    *,
    name: str | None = None,
    retry: Retry | int = 0,
    cache: Cache | str | float = "pure",
    version: str = "",
    tags: tuple[str, ...] = (),
) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: Retry | int = 0,
    cache: Cache | str | float = "pure",
    version: str = "",
    tags: tuple[str, ...] = (),
) -> Any:
    """Make a function a task; with or without options.

    Parameters
    ----------
    name : str, optional
        The task's name; the function's by default.
    retry : Retry or int
        How often and when it is tried again; a number means that many retries at once.
    cache : Cache, str or float
        When an earlier result may be reused: ``"pure"``, ``"never"``, ``"always"`` or a duration.
    version : str
        Part of the key.
    tags : tuple of str
        Words for people.

    Raises
    ------
    UsageError
        If an option cannot be used.

    Examples
    --------
    >>> @task(retry=Retry(2, delay="1s"))
    ... def double(x):
    ...     return 2 * x
    >>> double(4)
    8
    """

    def decorate(body: Callable[..., Any]) -> Task[..., Any]:
        _check(body)
        spec = TaskSpec(
            name=name or body.__name__,
            kind=TaskKind.FUNCTION,
            retry=retry if isinstance(retry, Retry) else Retry(retry),
            cache=cache if isinstance(cache, Cache) else Cache(cache),
            version=version,
            tags=tuple(tags),
        )
        return Task(body, spec)

    return decorate if function is None else decorate(function)


def _check(body: object) -> None:
    if isinstance(body, staticmethod | classmethod):
        raise UsageError(f"@task stands above @{type(body).__name__}", hint="put @task below it, next to the function")
    if not inspect.isfunction(body):
        raise UsageError(f"@task takes a function, not {body!r}", hint="write a def, and put @task above it")
    lazy = inspect.iscoroutinefunction(body) or inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body)
    if lazy:
        raise UsageError(f"{body.__name__} is async or a generator", hint="let a plain function return the value")
