"""Nodes: what a task call inside a flow gives, at once, in place of its value; and arguments that hold nodes.

A node passed to another task is an edge. Used as a value it says so instead of giving a wrong answer. Knows what a plan
can be asked; must not know how anything runs.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, NoReturn, Protocol, runtime_checkable

from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State
from prefect_nb.errors import UsageError

__all__ = [
    "Broken",
    "Flat",
    "Live",
    "Node",
    "Plan",
    "Skip",
    "Whole",
    "edges",
    "filled",
    "flatten",
    "nodes_among",
    "unmapped",
]

_DISPLAYS = frozenset({"BUILD_SET", "SET_ADD", "SET_UPDATE"})
_REBUILD = (__name__, "prefect_nb.authoring.copies")  # who makes a set of nodes anew


class Plan(Protocol):
    """Who made a node and can be asked about it."""

    def result_of(self, node: Node) -> Any:
        """Wait for the node; its value, or what it raised."""

    def state_of(self, node: Node) -> State:
        """How it stands."""

    def compute(self, operation: str, *values: Any) -> Node:
        """A node for an operator, by its name in the module ``operator``, on nodes and values."""


def _operator(name: str, *, swapped: bool = False) -> Callable[..., Any]:
    def method(self: Node, *other: Any) -> Node:
        return self.plan.compute(name, *((*other, self) if swapped else (self, *other)))

    return method


@runtime_checkable
class Draft(Protocol):
    """A plan that can still be changed: a flow that is being built."""

    def link(self, upstream: Node, downstream: Node) -> None:
        """Let one call wait for another."""


class Node:
    """What a task call inside a flow gives: pass it on, or ask for its :meth:`result`.

    Parameters
    ----------
    plan : Plan
        Who made it.
    visit : VisitId
        Its visit.
    mapped : bool
        Whether it stands for many children, whose values are its result, as a list.
    nout : int, optional
        How many values its task gives; then it can be unpacked.
    """

    __slots__ = ("__weakref__", "mapped", "nout", "plan", "visit")

    def __init__(self, plan: Plan, visit: VisitId, *, mapped: bool = False, nout: int | None = None) -> None:
        self.plan = plan
        self.visit = visit
        self.mapped = mapped
        self.nout = nout

    @property
    def name(self) -> str:
        """The task's name in this run."""
        return self.visit.task

    @property
    def state(self) -> State:
        """How it stands now."""
        return self.plan.state_of(self)

    def result(self) -> Any:
        """Wait for it; its value (None if it was skipped), or what its body raised."""
        return self.plan.result_of(self)

    def set_upstream(self, *nodes: Node) -> None:
        """Let it wait for others without being given their values: in a flow that is built with ``with Flow(...)``.

        Raises
        ------
        UsageError
            In the body of a flow, where its call is under way.
        """
        if not isinstance(self.plan, Draft):
            hint = f"say it in the call: {self.visit.task}(…, upstream_tasks=[…])"
            raise UsageError(f"{self.visit.task} was planned already", hint=hint, task=self.visit.task)
        for node in nodes:
            self.plan.link(node, self)

    def set_downstream(self, *nodes: Node) -> None:
        """Let others wait for it; see :meth:`set_upstream`."""
        for node in nodes:
            node.set_upstream(self)

    def __repr__(self) -> str:
        return f"<node {self.visit.task}>"

    def __deepcopy__(self, memo: object) -> Node:
        return self  # it stands for one visit, wherever it is

    def _refuse(self, *_: Any) -> NoReturn:
        """A node is not its value."""
        raise UsageError(
            f"{self.visit.task} is a node, not a value: it has not run yet",
            hint=f"pass it on to a task as it is, or wait for its value with .result() ({self.visit.task}.result())",
            task=self.visit.task,
        )

    __bool__ = __str__ = __format__ = __contains__ = _refuse
    __array__ = __int__ = __float__ = __index__ = __complex__ = _refuse

    def __iter__(self) -> Iterator[Node]:
        """Unpack it: only where its task says how many values it gives (``@task(nout=2)``)."""
        return iter([self[index] for index in range(len(self))])

    def __len__(self) -> int:
        return self._refuse() if self.nout is None else self.nout

    __getitem__ = _operator("getitem")
    __add__, __radd__ = _operator("add"), _operator("add", swapped=True)
    __sub__, __rsub__ = _operator("sub"), _operator("sub", swapped=True)
    __mul__, __rmul__ = _operator("mul"), _operator("mul", swapped=True)
    __matmul__, __rmatmul__ = _operator("matmul"), _operator("matmul", swapped=True)
    __truediv__, __rtruediv__ = _operator("truediv"), _operator("truediv", swapped=True)
    __floordiv__, __rfloordiv__ = _operator("floordiv"), _operator("floordiv", swapped=True)
    __mod__, __rmod__ = _operator("mod"), _operator("mod", swapped=True)
    __pow__, __rpow__ = _operator("pow"), _operator("pow", swapped=True)
    __and__, __rand__ = _operator("and_"), _operator("and_", swapped=True)
    __or__, __ror__ = _operator("or_"), _operator("or_", swapped=True)
    __xor__, __rxor__ = _operator("xor"), _operator("xor", swapped=True)
    __lt__, __le__, __gt__, __ge__ = _operator("lt"), _operator("le"), _operator("gt"), _operator("ge")
    __neg__, __pos__, __invert__, __abs__ = _operator("neg"), _operator("pos"), _operator("invert"), _operator("abs")

    def __eq__(self, other: object) -> bool:
        return True if self is other else self._refuse()

    def __hash__(self) -> int:
        """Only for a set that is written out, ``{a, b}``: as a key a node would never be equal to its value."""
        frame = sys._getframe(1)
        if dis.opname[frame.f_code.co_code[frame.f_lasti]] in _DISPLAYS or frame.f_globals.get("__name__") in _REBUILD:
            return id(self) >> 4
        return self._refuse()


class Whole:
    """An argument of a map that every child is given as it is."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"unmapped({self.value!r})"


class Flat:
    """An argument of a map whose elements are taken apart once more."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"flatten({self.value!r})"


class Skip(Enum):
    """What a task that asks for it is given in place of the value of a skipped one; others are given None."""

    SKIPPED = "skipped"


class Live:
    """Stands for a resource: never stored, never copied; a body is given what it holds.

    Parameters
    ----------
    name : str
        Whose resource.

    Attributes
    ----------
    resource : tuple
        What it holds; empty while it holds nothing.
    note : str
        Why it holds nothing.
    """

    __slots__ = ("name", "note", "resource")

    def __init__(self, name: str) -> None:
        self.name = name
        self.note = ""
        self.resource: tuple[Any, ...] = ()

    @staticmethod
    def opened(value: Any) -> Any:
        """What a value holds if it stands for a resource, else the value itself."""
        return value.resource[0] if type(value) is Live and value.resource else value

    def __deepcopy__(self, memo: object) -> Live:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self.name} is a live resource")


class Broken:
    """In place of all arguments of a call: why there are none."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


def unmapped(value: Any) -> Any:
    """Give every child of a map this argument as it is: ``fetch.map(unmapped(region), pages)``."""
    return Whole(value)


def flatten(value: Any) -> Any:
    """Map over the elements of the elements: one level; what is no iterable is passed as it is."""
    return Flat(value)


def nodes_among(value: Any, found: list[Node]) -> list[Node]:
    """Add the nodes in a value to `found`, also those inside lists, tuples, sets and dicts."""
    kind = type(value)
    if kind is Node:
        found.append(value)
    elif kind is list or kind is tuple or kind is set or kind is frozenset:
        for item in value:
            nodes_among(item, found)
    elif kind is dict:
        for key, item in value.items():
            nodes_among(key, found)
            nodes_among(item, found)
    elif kind is Whole or kind is Flat:
        nodes_among(value.value, found)
    return found


def edges(plan: Plan, arguments: Any, run: str) -> list[Node]:
    """The nodes among the arguments of a call.

    Raises
    ------
    UsageError
        If one belongs to another run, where its name stands for something else.
    """
    found = nodes_among(arguments, [])
    for node in found:
        if node.plan is not plan:
            told = f"{node!r} does not belong to run {run}"
            raise UsageError(told, hint="pass its value: .result()", task=node.name)
    return found


def filled(value: Any, give: Callable[[Node], Any]) -> Any:
    """The value with each node in it replaced by what `give` gives; containers are made anew."""
    kind = type(value)
    if kind is Node:
        return give(value)
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return kind([filled(item, give) for item in value])
    if kind is dict:
        return {filled(key, give): filled(item, give) for key, item in value.items()}
    return value
