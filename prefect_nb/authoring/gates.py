"""What the calls in a block of a flow's body wait for, though they are not given it: a branch's gate, or any nodes.

Knows nodes and a context variable; not what a gate decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from prefect_nb.authoring.nodes import Node, Plan
from prefect_nb.core.spec import VisitId
from prefect_nb.errors import UsageError

__all__ = ["gates_for", "inside", "note", "planned"]


@dataclass(slots=True)
class _Block:
    gates: tuple[Node, ...]
    inside: set[VisitId] = field(default_factory=set)


_open: ContextVar[tuple[_Block, ...]] = ContextVar("prefect_nb_gates", default=())


@contextmanager
def inside(*gates: Node, members: set[VisitId] | None = None) -> Iterator[None]:
    """Let what is called here wait for these; what depends on such a call does so by it.

    Parameters
    ----------
    members : set of VisitId, optional
        Where to note what is called.
    """
    reset = _open.set((*_open.get(), _Block(gates, set() if members is None else members)))
    try:
        yield
    finally:
        _open.reset(reset)


def gates_for(plan: Plan, above: Sequence[Node]) -> list[Node]:
    """The gates that a call has to wait for: of each open block, unless something upstream stands in it already."""
    blocks = _open.get()
    if not blocks:
        return []
    visits = {node.visit for node in above}
    return [gate for block in blocks if not visits & block.inside for gate in block.gates if gate.plan is plan]


def note(node: Node) -> Node:
    """A node was made: it stands in every open block."""
    for block in _open.get():
        block.inside.add(node.visit)
    return node


def planned(plan: Callable[..., Node], task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Node:
    """Plan a call or map that may say what else it waits for: ``load(rows, upstream_tasks=[checked])``.

    Raises
    ------
    UsageError
        If that is something else than nodes.
    """
    if "upstream_tasks" not in kwargs or task.takes("upstream_tasks"):
        return plan(task, args, kwargs)
    above = kwargs.pop("upstream_tasks")
    if not isinstance(above, list | tuple) or any(type(node) is not Node for node in above):
        raise UsageError(f"upstream_tasks takes a list of nodes, not {above!r}", hint="give what task calls gave")
    with inside(*above):
        return plan(task, args, kwargs)
