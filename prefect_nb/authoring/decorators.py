"""``@task``: the decorator that makes a function a task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypedDict, TypeVar, Unpack, overload

from prefect_nb.authoring import triggers
from prefect_nb.authoring.functions import Task
from prefect_nb.authoring.handlers import Handler, handlers
from prefect_nb.authoring.targets import check_template
from prefect_nb.core.policy import Cache, Retry, seconds
from prefect_nb.core.spec import TaskKind, TaskSpec
from prefect_nb.errors import UsageError
from prefect_nb.wiring import executor_name

__all__ = ["Options", "Task", "task"]


class Options(TypedDict, total=False):
    """What a task may say about itself.

    Attributes
    ----------
    name : str
        The task's name; the function's by default.
    retry : Retry or int
        How often and when it is tried again; a number means that many retries at once.
    timeout : float or str
        How long one attempt may take; in a thread the limit is soft, in a process hard, and the state says which.
    cache : Cache, str or float
        When an earlier result may be reused: ``"pure"``, ``"never"``, ``"always"`` or a duration.
    version : str
        Part of the key.
    target : str
        A file that each call makes of its value, such as ``"out/{region}/{date}.parquet"``: see docs/targets.md.
    tags : tuple of str
        Words for people.
    trigger
        How everything upstream must have ended: one of ``prefect_nb.triggers``, or a function of the states.
    approve : bool
        Whether a person has to agree before the body is entered.
    once : bool
        Whether a body whose outcome is unknown waits for a person instead of being entered again.
    skip_on_upstream_skip : bool
        Whether it is skipped when something upstream was.
    reference : bool
        Whether its end counts for that of its run (default); else it neither fails it nor answers for a failure.
    nout : int
        How many values it gives, so that in a flow its node can be unpacked: ``train, test = split(rows)``.
    on_state : callable or list of them
        Called as ``handler(task, old, new)`` for each move of a body that runs: into Running, and to its end. The first
        other state that one returns takes the place of `new`: Success (its ``data["result"]`` is the value), Skipped,
        Failed, Retrying (``data["after"]`` seconds) or Paused; anything else makes the task fail, naming the handler.
    on_success, on_failure : callable or list of them
        The same for a Success that was computed, not reused, and for an end of the type FAILED.
    executor : str
        Where its body runs: ``"threads"``, or ``"processes"``, where each body has a process of its own that a limit
        or a cancel really ends. By default what its flow says, else threads.
    strict_handlers : bool
        Whether a handler that raises makes the task fail; else its error is a line in the task's log.
    """

    name: str | None
    retry: Retry | int
    timeout: float | int | str | None
    cache: Cache | str | float
    version: str
    target: str
    tags: tuple[str, ...]
    trigger: object
    approve: bool
    once: bool
    skip_on_upstream_skip: bool
    reference: bool
    nout: int
    on_state: Handler | Sequence[Handler]
    on_success: Handler | Sequence[Handler]
    on_failure: Handler | Sequence[Handler]
    executor: str | None
    strict_handlers: bool


P = ParamSpec("P")
R = TypeVar("R")


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(**options: Unpack[Options]) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def task(function: Callable[..., Any] | None = None, /, **options: Unpack[Options]) -> Any:
    """Make a function a task; with or without options.

    Parameters
    ----------
    **options
        See :class:`Options`.

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
    unknown = sorted(set(options) - set(Options.__annotations__))
    if unknown:
        hint = f"it takes {', '.join(Options.__annotations__)}"
        raise UsageError(f"@task has no option {', '.join(unknown)}", hint=hint)

    def decorate(body: Callable[..., Any]) -> Task[..., Any]:
        _check(body)
        asked = triggers.asked(options.get("trigger"))
        retry, cache, timeout = options.get("retry", 0), options.get("cache", "pure"), options.get("timeout")
        spec = TaskSpec(
            name=options.get("name") or body.__name__,
            kind=TaskKind.FUNCTION,
            retry=retry if isinstance(retry, Retry) else Retry(retry),
            timeout=None if timeout is None else _limit(timeout),
            cache=cache if isinstance(cache, Cache) else Cache(cache),
            version=options.get("version", ""),
            target=check_template(options["target"], body.__name__) if "target" in options else "",
            tags=tuple(options.get("tags", ())),
            trigger=asked.trigger,
            skip_with_upstream=bool(options.get("skip_on_upstream_skip", True)),
            approve=bool(options.get("approve", False)) or asked.approve,
            once=bool(options.get("once", False)),
            reference=bool(options.get("reference", True)),
        )
        made: Task[..., Any] = Task(body, spec, asked.judge, handlers(options), executor_name(options.get("executor")))
        made.nout = _count(options["nout"]) if "nout" in options else None
        return made

    return decorate if function is None else decorate(function)


def _limit(timeout: float | int | str) -> float:
    limit = seconds(timeout)
    if not limit:
        raise UsageError("a timeout of 0 would stop every body at once", hint="leave timeout out for no limit")
    return limit


def _count(nout: object) -> int:
    if isinstance(nout, bool) or not isinstance(nout, int) or nout < 1:
        raise UsageError(f"nout must be a whole number, 1 or more, not {nout!r}")
    return nout


def _check(body: object) -> None:
    if isinstance(body, staticmethod | classmethod):
        raise UsageError(f"@task stands above @{type(body).__name__}", hint="put @task below it, next to the function")
    if not inspect.isfunction(body):
        raise UsageError(f"@task takes a function, not {body!r}", hint="write a def, and put @task above it")
    if inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body):
        raise UsageError(f"{body.__name__} is a generator", hint="let the function return a list")
