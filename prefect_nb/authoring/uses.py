"""One use of a resource in one run: its setup and its cleanup, and what they hold for the tasks between.

In a resumed run a setup that had succeeded is put off until a task of the block has to be entered; that one waits for a
setup anew. What still stands when the run is left is cleaned up then. Knows plans and visits; not how a block is
written.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from prefect_nb.authoring.former import Former
from prefect_nb.authoring.functions import Task
from prefect_nb.authoring.gates import inside
from prefect_nb.authoring.nodes import Live, Node
from prefect_nb.authoring.signals import skip
from prefect_nb.core import events as ev
from prefect_nb.core.run import Visit
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import StateName
from prefect_nb.engine.session import Session
from prefect_nb.errors import NotAvailable, PrefectNBError, UsageError
from prefect_nb.wiring import now

__all__ = ["Use", "Uses", "put_off"]

_log = logging.getLogger("prefect_nb")
_uses: ContextVar[tuple[Use, ...]] = ContextVar("prefect_nb_resources", default=())
_setting_up: ContextVar[Use | None] = ContextVar("prefect_nb_setup", default=None)


class Manages(Protocol):
    """Who says how a resource is set up and cleaned up."""

    of: Any
    name: str

    def tasks(self) -> tuple[Task[..., Any], Task[..., Any]]:
        """Setup and cleanup, as tasks."""


class Uses:
    """The uses of resources in one run.

    Parameters
    ----------
    session : Session
        The run.
    former : Former
        What it had before it was resumed.
    hear : callable
        Tells of the end of a visit.
    """

    def __init__(
        self, session: Session, former: Former, hear: Callable[[VisitId, Callable[[Visit], None]], None]
    ) -> None:
        self.hear = hear
        self._session = session
        self._former = former
        self._all: list[Use] = []

    def used(self, use: Use) -> bool:
        """A resource is used from now on; whether its setup had succeeded before the run was resumed."""
        self._all.append(use)
        return f"setup {use.manager.name}" in self._former.set_up

    def release(self, cleanup: Node, members: tuple[VisitId, ...]) -> None:
        """Its block was left: let the cleanup wait for these."""
        self._session.post(ev.BlockLeft(at=now(), visit=cleanup.visit, upstream=members))

    def anew(self, setup: Node) -> Node:
        """The setup in place of one that was put off."""
        return next(use for use in self._all if use.node is setup).anew()

    def refuse_left(self, above: Sequence[Node]) -> None:
        """Refuse a call that is given a resource whose block was left: it would be cleaned up, or gone.

        Raises
        ------
        UsageError
            If one of these is such a resource.
        """
        for use in self._all:
            if use.left and use.node is not None and any(node.visit == use.node.visit for node in above):
                told = f"{use.manager.name} is used after its block"
                raise UsageError(told, hint="call the task inside the with block, or pass it a value made there")

    def end(self) -> None:
        """Clean up what still stands, the last first."""
        for use in reversed(self._all):
            use.end()


class Use:
    """One use of a resource in one run.

    Parameters
    ----------
    manager : Manager
        Whose.
    plan : Plans
        The run.
    """

    def __init__(self, manager: Manages, plan: Any) -> None:
        self.manager = manager
        self.node: Node | None = None
        self._plan = plan
        self._live = Live(manager.name)
        self._setup, self._cleanup = manager.tasks()
        self._setup.instead, self._cleanup.instead = self._set_up, self._clean_up
        self._settings: tuple[tuple[Any, ...], Mapping[str, Any]] = ((), {})
        self._context = contextvars.copy_context()
        self._members: set[VisitId] = set()
        self._last: Node | None = None
        self._lock = threading.RLock()
        self._standing: list[tuple[Any, Any]] = []
        self.left = self._over = self._late = self._asked = False
        self._again: Node | None = None
        self._error: PrefectNBError | None = None
        self._waiting: list[tuple[Callable[[], None], Callable[[BaseException], None]]] = []

    # --- in the flow's body ------------------------------------------------------------------------------------------

    def open(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Node:
        """Plan the setup and the cleanup."""
        self._late, self._settings = self._plan.resources.used(self), (args, kwargs)
        self._context = contextvars.copy_context()
        self.node = self._context.run(self._called)
        self._last = self._plan.call(self._cleanup, (self.node,), {})
        return self.node

    @contextmanager
    def around(self) -> Iterator[None]:
        """What is called here uses it."""
        assert self.node is not None
        token = _uses.set((*_uses.get(), self))
        try:
            with inside(self.node, members=self._members):
                yield
        finally:
            _uses.reset(token)

    def leave(self) -> None:
        """Nothing more will be called that uses it."""
        self.left = True
        if self._last is not None:
            self._plan.resources.release(self._last, tuple(sorted(self._members.copy())))

    def _called(self) -> Node:
        _setting_up.set(self)
        node: Node = self._plan.call(self._setup, *self._settings)
        return node

    # --- in workers --------------------------------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether its setup was put off, and has not succeeded since."""
        return self._late and not self._standing

    def _set_up(self, *args: Any, **kwargs: Any) -> Live:
        if self._late and not self._asked:
            self._live.note = "put off: it was set up before the run was resumed, and is again once a task needs it"
            return self._live
        instance = self.manager.of(*args, **kwargs)
        resource = instance.setup()
        with self._lock:
            over = self._over
            if not over:
                self._standing.append((instance, resource))
                self._live.resource, self._live.note = (resource,), ""
        if over:  # it was given up, and came too late
            instance.cleanup(resource)
        return self._live

    def _clean_up(self, _: Any) -> None:
        with self._lock:
            standing, self._standing, self._over = self._standing, [], True
        if not standing:
            raise skip("nothing was set up")
        try:
            while standing:
                instance, resource = standing[-1]
                instance.cleanup(resource)
                standing.pop()
        finally:
            with self._lock:
                self._standing = [*standing, *self._standing]

    def end(self) -> None:
        """The run is left, or has ended: what still stands is cleaned up here, though no task can say so."""
        with self._lock:
            standing, self._standing, self._over = self._standing, [], True
        for instance, resource in reversed(standing):
            try:
                instance.cleanup(resource)
            except Exception:  # the author's code, and the run has ended
                _log.warning("the cleanup of %s raised", self.manager.name, exc_info=True)

    def demand(self, go_on: Callable[[], None], give_up: Callable[[BaseException], None]) -> None:
        """Set it up anew, once, and go on then."""
        with self._lock:
            error, ready = self._error, bool(self._standing)
            if error is None and not ready:
                self._waiting.append((go_on, give_up))
                self.anew()
        if error is not None:
            give_up(error)
        elif ready:
            go_on()

    def anew(self) -> Node:
        """The setup that was put off, planned now if it was not before."""
        with self._lock:
            if self._again is None:
                self._asked = True
                self._again = self._context.copy().run(self._called)
                self._plan.resources.hear(self._again.visit, self._heard)
            return self._again

    def _heard(self, setup: Visit) -> None:
        with self._lock:
            if setup.state.name is not StateName.SUCCESS:
                told = f"{setup.id.label} is {setup.state.label}"
                self._error = NotAvailable(f"{told}: {setup.state.message}", task=setup.id.task)
            waiting, self._waiting, error = self._waiting, [], self._error
        for go_on, give_up in waiting:
            if error is None:
                go_on()
            else:
                give_up(error)


def put_off(context: contextvars.Context, spec: TaskSpec) -> Use | None:
    """The resource, if any, that has to be set up anew before a body with this context may be entered."""
    if spec.resource == "cleanup":
        return None
    if spec.resource == "setup":
        own = context.get(_setting_up)
        if own is not None and own._late and not own._asked:
            return None
    return next((use for use in context.get(_uses, ()) if use.waits), None)
