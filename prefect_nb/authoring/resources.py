"""``resource_manager``: something that is set up for a block of calls, and cleaned up after them whatever happened.

Setup and cleanup are tasks of their own. The cleanup is planned with the setup, held until the block is left, and waits
then for everything that was called in it. A resource is a live handle: never stored, never copied, never reused. Knows
classes and blocks; not what a use does in its run (uses).

Source: the founding system's ``resource_manager``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from types import TracebackType
from typing import Any, overload

from prefect_nb.authoring import triggers
from prefect_nb.authoring.calls import current
from prefect_nb.authoring.functions import Task
from prefect_nb.authoring.gates import inside
from prefect_nb.authoring.nodes import Draft, Node
from prefect_nb.authoring.uses import Use
from prefect_nb.core.policy import Cache
from prefect_nb.core.spec import TaskKind, TaskSpec
from prefect_nb.errors import UsageError

__all__ = ["Manager", "resource_manager", "within"]

_drafts: ContextVar[tuple[Node, ...]] = ContextVar("prefect_nb_drafted_resources", default=())


class Manager:
    """A class that sets something up and cleans it up; call it for a block: ``with Cluster(n=3) as client:``.

    Parameters
    ----------
    of : type
        The class.
    name : str
        What it is called.
    """

    def __init__(self, of: type, name: str) -> None:
        self.of: Any = of
        self.name = name
        self.__doc__ = of.__doc__
        self._signature = inspect.signature(of)
        self._specs = (
            TaskSpec(f"setup {name}", TaskKind.FUNCTION, cache=Cache("never"), resource="setup"),
            TaskSpec(
                f"cleanup {name}",
                TaskKind.FUNCTION,
                cache=Cache("never"),
                trigger=triggers.all_finished,
                skip_with_upstream=False,
                reference=False,
                resource="cleanup",
            ),
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Block:
        """A block that uses one, with these settings; nodes may be among them."""
        self._signature.bind(*args, **kwargs)
        return Block(self, args, kwargs)

    def tasks(self) -> tuple[Task[..., Any], Task[..., Any]]:
        """Its setup and cleanup, as tasks; what they do is said in the run."""
        made = self.of

        def setup(*args: Any, **kwargs: Any) -> Any:
            return made(*args, **kwargs).setup()

        def cleanup(resource: Any) -> Any:
            return made.cleanup(resource)

        first, last = self._specs
        one: Task[..., Any] = Task(setup, first, where="threads")
        other: Task[..., Any] = Task(cleanup, last, where="threads")
        one.manager = self
        return one, other

    def __repr__(self) -> str:
        return f"<resource manager {self.name}>"


class Block:
    """One use of a resource; a context manager, which gives the resource as a node."""

    def __init__(self, manager: Manager, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._manager = manager
        self._settings = args, kwargs
        self._exit = ExitStack()

    def __enter__(self) -> Any:
        """Plan the setup and the cleanup; the resource itself outside of a flow."""
        manager, (args, kwargs) = self._manager, self._settings
        caller = current()
        plan: Any = None if caller is None else caller.plan
        if plan is None:
            instance = manager.of(*args, **kwargs)
            resource = instance.setup()
            self._exit.callback(instance.cleanup, resource)
            return resource
        drafted = isinstance(plan, Draft)
        if drafted:
            node: Node = plan.call(manager.tasks()[0], args, kwargs)
            self._exit.enter_context(inside(node))
            token = _drafts.set((*_drafts.get(), node))
            self._exit.callback(_drafts.reset, token)
            return node
        use = Use(manager, plan)
        node = use.open(args, kwargs)
        self._exit.callback(use.leave)
        self._exit.enter_context(use.around())
        return node

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()


def within() -> tuple[Node, ...]:
    """The resources in whose blocks a call of a flow that is being built stands."""
    return _drafts.get()


@overload
def resource_manager(of: type, /) -> Manager: ...


@overload
def resource_manager(*, name: str) -> Callable[[type], Manager]: ...


def resource_manager(of: type | None = None, /, *, name: str = "") -> Any:
    """Make a class with ``setup(self)`` and ``cleanup(self, resource)`` a resource that a block of calls uses.

    Parameters
    ----------
    name : str
        What its tasks are called: ``setup NAME`` and ``cleanup NAME``; by default the class's name.

    Raises
    ------
    UsageError
        If it is no class, or one of the two is missing or async.

    Examples
    --------
    >>> @resource_manager
    ... class Cluster:
    ...     def __init__(self, n):
    ...         self.n = n
    ...     def setup(self):
    ...         return Client(self.n)
    ...     def cleanup(self, client):
    ...         client.close()
    >>> with Cluster(n=3) as client:
    ...     fitted = fit(client, rows)
    """

    def decorate(made: type) -> Manager:
        if not inspect.isclass(made):
            raise UsageError(f"resource_manager takes a class, not {made!r}", hint="write a class, and put it above it")
        for method in ("setup", "cleanup"):
            found = getattr(made, method, None)
            if not callable(found) or inspect.iscoroutinefunction(found) or inspect.isgeneratorfunction(found):
                hint = "write a plain def setup(self), and a plain def cleanup(self, resource)"
                raise UsageError(f"{made.__name__} has no plain method {method}", hint=hint)
        return Manager(made, name or made.__name__)

    return decorate if of is None else decorate(of)
