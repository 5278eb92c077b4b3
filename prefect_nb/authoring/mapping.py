"""Maps: one visit that opens children, one for each element, as the elements become known.

Iterables are zipped to the shortest and consumed lazily: of an iterator only so many children are open at a time. Over
a map there is no barrier: child i waits for child i. Knows elements and windows; not how a child runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any, Protocol

from prefect_nb.authoring.copies import own
from prefect_nb.authoring.nodes import Broken, Flat, Node, Whole
from prefect_nb.core import events as ev
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import StateType
from prefect_nb.engine.session import Session
from prefect_nb.errors import UsageError
from prefect_nb.wiring import now

__all__ = ["Brood", "Elements", "elements_of", "flattened", "upstream_of"]

_SIZED_WINDOW = 1024
_AT_ONCE = 128
_TEXTS = (str, bytes, bytearray)


class Nursery(Protocol):
    """The run, as a map sees it."""

    broods: dict[VisitId, Brood]
    window: int
    stopping: bool

    @property
    def session(self) -> Session:
        """The engine."""

    def given(self, node: Node) -> Any:
        """What a task that depends on this node is given for it."""

    def soon(self, job: Callable[[], None]) -> None:
        """Run a job in a worker."""

    def bear(self, brood: Brood, children: list[tuple[VisitId, tuple[Any, ...], Mapping[str, Any]]]) -> None:
        """Plan children with these arguments."""


@dataclass(slots=True)
class Elements:
    """One mapped argument: an iterator, or the children of another map."""

    source: Any
    flat: bool = False
    iterator: Iterator[Any] | None = None
    lazy: bool = False
    held: list[Any] = field(default_factory=list)  # of an iterator: the next element, while others are waited for


class _Wait(Exception):
    """The next element is not known yet."""


class _End(Exception):
    """There is no further element."""


def elements_of(arguments: Iterable[Any], task: str) -> list[Elements]:
    """The mapped ones among the arguments of a map.

    Raises
    ------
    UsageError
        If there is none, or one cannot be mapped over.
    """
    found = []
    for value in arguments:
        if isinstance(value, Whole):
            continue
        flat = isinstance(value, Flat)
        source = value.value if isinstance(value, Flat) else value
        if not isinstance(source, Node):
            hint = f"wrap it: unmapped({source!r:.40})"
            if isinstance(source, _TEXTS):
                raise UsageError(f"{task}.map was given a text, {source!r:.60}, to map over", hint=hint)
            if not isinstance(source, Iterable):
                raise UsageError(f"{task}.map cannot map over {source!r:.60}, which has no elements", hint=hint)
        found.append(Elements(source, flat))
    if not found:
        raise UsageError(f"{task}.map has nothing to map over", hint="give it a list, or call the task")
    return found


def upstream_of(elements: Elements) -> Node | None:
    """The node whose end has to be waited for before its elements are known."""
    source = elements.source
    if isinstance(source, Node) and (elements.flat or not source.mapped):
        return source
    return None


class Brood:
    """The children of one map.

    Parameters
    ----------
    nursery : Nursery
        The run.
    visit : VisitId
        The map's own visit.
    arguments : tuple
        As the author gave them.
    elements : list of Elements
        The mapped ones among them, in the same order.
    """

    def __init__(
        self,
        nursery: Nursery,
        visit: VisitId,
        arguments: tuple[tuple[Any, ...], Mapping[str, Any]],
        elements: list[Elements],
    ) -> None:
        self.visit = visit
        self.width = 0
        self.begun = self.opened = self.sealed = False
        self.born = 0  # children that the engine knows of: what other maps may build on
        self.closed = False  # said once no further child will be born
        self.listeners: list[Brood] = []
        self._nursery = nursery
        self._arguments = arguments
        self._elements = elements
        self._ended = 0
        self._lock = threading.Lock()
        self._wanted = False
        self._busy = False
        for above in self._above():
            nursery.broods[above].listeners.append(self)

    def open(self) -> None:
        """Begin: everything that has to be waited for is there."""
        for elements in self._elements:
            source = elements.source
            if isinstance(source, Node):
                if upstream_of(elements) is None:
                    continue
                source = self._nursery.given(source)
            if not isinstance(source, Iterable) or isinstance(source, _TEXTS):
                raise TypeError(f"{self.visit.task} cannot map over {source!r:.60}, which has no elements")
            elements.lazy = not isinstance(source, Sized)
            elements.iterator = iter(flattened(source) if elements.flat else source)
        self.begun = True
        self.nudge()

    def fail(self, error: BaseException) -> None:
        """It cannot begin: one child says why, so that the map fails for it."""
        self._only_child((Broken(error),), {})

    def ended(self) -> None:
        """One more child has ended, so another one may be planned."""
        with self._lock:
            self._ended += 1
            left = self.width - self._ended
        if not self.sealed and left in (0, self._limit // 2):
            self.nudge()

    def nudge(self) -> None:
        """Plan what can be planned, in a worker; one at a time."""
        with self._lock:
            self._wanted = True
            if self._busy:
                return
            self._busy = True
        self._nursery.soon(self._advance)

    @property
    def _limit(self) -> int:
        """How many children may be open at a time."""
        return self._nursery.window if any(e.lazy for e in self._elements) else _SIZED_WINDOW

    def _advance(self) -> None:
        while True:
            with self._lock:
                if not self._wanted:
                    self._busy = False
                    return
                self._wanted = False
            while not self.sealed and self._plan_some():
                pass

    def _plan_some(self) -> bool:
        """Plan the next children; whether it is worth trying again."""
        nursery, session = self._nursery, self._nursery.session
        if not self.begun or nursery.stopping:  # a map above has children before the engine knows of this one
            return False
        if session.run.visits[self.visit].state.type in (StateType.CANCELLING, StateType.CANCELLED):
            return False  # nobody would enter what it has still to come
        if any(not nursery.broods[above].opened for above in self._above()):
            return self._stand_in()
        if not self.opened:
            session.post(ev.MapOpened(at=now(), visit=self.visit))
            self.opened = True
        children: list[tuple[VisitId, tuple[Any, ...], Mapping[str, Any]]] = []
        over = False
        while len(children) < _AT_ONCE and self.width - self._ended < self._limit:
            try:
                row = [self._next(e) for e in self._elements]
            except _Wait:
                break
            except _End:
                over = True
                break
            except BaseException as error:  # the author's iterator, which may even call sys.exit(): the child's error
                children.append((self._child(self.width), (Broken(error),), {}))
                self.width += 1
                over = True
                break
            for elements in self._elements:
                elements.held.clear()
            children.append((self._child(self.width), *self._filled(row)))
            self.width += 1
        if children:
            nursery.bear(self, children)
            self.born = self.width
        if over:
            self.sealed = self.closed = True
            session.post(ev.MapSealed(at=now(), visit=self.visit))
        if children or over:
            for listener in self.listeners:
                listener.nudge()
        return len(children) == _AT_ONCE

    def _stand_in(self) -> bool:
        """What it maps over ended without children: one child stands for them, so that its end is judged as theirs."""
        broods, visits = self._nursery.broods, self._nursery.session.run.visits
        if any(not broods[above].opened and visits[above].state.final for above in self._above()):
            row = [e.source if isinstance(e.source, Node) else None for e in self._elements]
            self._only_child(*self._filled(row))
        return False

    def _above(self) -> list[VisitId]:
        """The maps whose children its own wait for, one by one."""
        nodes = (e.source for e in self._elements if isinstance(e.source, Node) and upstream_of(e) is None)
        return [node.visit for node in nodes]

    def _child(self, index: int) -> VisitId:
        return VisitId(self.visit.task, self.visit.visit, index)

    def _next(self, elements: Elements) -> Any:
        if elements.held:
            return elements.held[0]
        if elements.iterator is None:
            return self._next_child(elements.source)
        try:
            value = next(elements.iterator)
        except StopIteration:
            raise _End from None
        value = own(value)  # an iterator may fill the same list again and again
        elements.held.append(value)
        return value

    def _next_child(self, source: Node) -> Node:
        above = self._nursery.broods[source.visit]
        final = self._nursery.session.run.visits[above.visit].state.final
        over = above.closed or final  # both read before the children, of which more may be born meanwhile
        if self.width < above.born:
            return Node(source.plan, VisitId(source.visit.task, source.visit.visit, self.width))
        if over:
            raise _End
        raise _Wait

    def _filled(self, row: list[Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """The arguments of one child."""
        args, kwargs = self._arguments
        rest = iter(row)

        def one(value: Any) -> Any:
            return value.value if isinstance(value, Whole) else next(rest)

        return tuple(one(a) for a in args), {name: one(a) for name, a in kwargs.items()}

    def _only_child(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """One child, and no more: there are no elements, and its end says why."""
        session = self._nursery.session
        session.post(ev.MapOpened(at=now(), visit=self.visit))
        self.opened = self.sealed = True
        self.width = 1
        self._nursery.bear(self, [(self._child(0), args, kwargs)])
        self.born = 1
        self.closed = True
        session.post(ev.MapSealed(at=now(), visit=self.visit))
        for listener in self.listeners:
            listener.nudge()


def flattened(items: Iterable[Any]) -> Iterator[Any]:
    """The elements of the elements; what has none, or is a text, is passed as it is."""
    for item in items:
        if isinstance(item, Iterable) and not isinstance(item, _TEXTS):
            yield from item
        else:
            yield item
