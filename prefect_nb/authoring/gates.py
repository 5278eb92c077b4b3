"""Branches that are open in the body of a flow: what is called inside one waits for its gate, and is skipped with it.

Knows nodes and a context variable; not what a gate decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from prefect_nb.authoring.nodes import Node, Plan
from prefect_nb.core.spec import VisitId

__all__ = ["gates_for", "inside", "note"]


@dataclass(slots=True)
class _Branch:
    gate: Node
    inside: set[VisitId] = field(default_factory=set)


_open: ContextVar[tuple[_Branch, ...]] = ContextVar("prefect_nb_branches", default=())


@contextmanager
def inside(gate: Node) -> Iterator[None]:
    """Let what is called here depend on a gate."""
    reset = _open.set((*_open.get(), _Branch(gate)))
    try:
        yield
    finally:
        _open.reset(reset)


def gates_for(plan: Plan, above: Sequence[Node]) -> list[Node]:
    """The gates that a call has to wait for: of each open branch, unless something upstream stands in it already."""
    branches = _open.get()
    if not branches:
        return []
    visits = {node.visit for node in above}
    return [b.gate for b in branches if b.gate.plan is plan and not visits & b.inside]


def note(node: Node) -> Node:
    """A node was made: it stands in every open branch."""
    for branch in _open.get():
        branch.inside.add(node.visit)
    return node
