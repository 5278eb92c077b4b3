"""The graph of a flow before anything runs: its body is run with calls that only make nodes, up to the first result.

Knows nodes and the view model; nothing of runs or stores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from prefect_nb.authoring.calls import Caller, calling
from prefect_nb.authoring.gates import gates_for, note
from prefect_nb.authoring.mapping import elements_of
from prefect_nb.authoring.nodes import Node, nodes_among
from prefect_nb.authoring.operations import OPERATIONS
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State, StateName
from prefect_nb.views.model import EdgeView, NodeView, RunView, ViewModel
from prefect_nb.views.svg import to_svg

if TYPE_CHECKING:
    from prefect_nb.authoring.functions import Task

__all__ = ["Graph", "traced"]


@dataclass(frozen=True, slots=True)
class Graph:
    """What a flow will run, as far as it is known before: shown as a picture, or as lines of text.

    Parameters
    ----------
    flow : str
        The flow's name.
    nodes : tuple of str
        The tasks' names, in the order of the calls.
    edges : tuple of (str, str)
        Which task's result goes to which.
    mapped : tuple of str
        The tasks among them that have a child for each element.
    unknown_from : str
        The task whose ``.result()`` the body wants to go on; empty if the graph is whole.
    """

    flow: str
    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    mapped: tuple[str, ...] = ()
    unknown_from: str = ""

    @property
    def model(self) -> ViewModel:
        """For the views."""
        message = (
            f"unknown from here: the flow waits for the result of {self.unknown_from}" if self.unknown_from else ""
        )
        nodes = [
            NodeView(id=n, label=n, kind="function", message="mapped" if n in self.mapped else "") for n in self.nodes
        ]
        edges = [EdgeView(a, b) for a, b in self.edges]
        run = RunView(id="", flow=self.flow, state=StateName.PENDING.label, type="PENDING", message=message)
        return ViewModel.of(1, run, nodes, edges)

    def __repr__(self) -> str:
        lines = [f"{self.flow}: {len(self.nodes)} tasks"]
        for name in self.nodes:
            above = [a for a, b in self.edges if b == name]
            shown = f"{name}[…]" if name in self.mapped else name
            lines.append(f"  {shown}" + (f" <- {', '.join(above)}" if above else ""))
        if self.unknown_from:
            lines.append(f"  unknown from here: the flow waits for the result of {self.unknown_from}")
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "image/svg+xml": to_svg(self.model)}


class _Unknown(BaseException):
    """The body asked for a result; what it does then nobody knows before."""

    def __init__(self, task: str) -> None:
        super().__init__(task)
        self.task = task


class _Tracer:
    """Makes nodes, and remembers them."""

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.edges: list[tuple[str, str]] = []
        self.mapped: list[str] = []
        self._counts: Counter[str] = Counter()
        self.resources = self

    def call(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Node:
        """Note a call."""
        task.bind(args, kwargs)
        return self._noted(task.spec.name, nodes_among((args, kwargs), []), nout=task.nout)

    def map(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Node:
        """Note a map; its elements are left alone."""
        elements_of((*args, *kwargs.values()), task.spec.name)
        return self._noted(task.spec.name, nodes_among((args, kwargs), []), mapped=True)

    def result_of(self, node: Node) -> Any:
        """Nothing has run."""
        raise _Unknown(node.name)

    def state_of(self, node: Node) -> State:
        """Nothing has run."""
        return State(StateName.PENDING, 0.0)

    def compute(self, operation: str, *values: Any) -> Node:
        """Note an operator."""
        return self.call(OPERATIONS[operation], values, {})

    def used(self, use: Any) -> bool:
        """Nothing was used before."""
        return False

    def release(self, cleanup: Node, members: tuple[VisitId, ...]) -> None:
        """Note what a cleanup waits for."""
        self.edges += [(member.task, cleanup.name) for member in members]

    def _noted(self, base: str, above: list[Node], *, mapped: bool = False, nout: int | None = None) -> Node:
        name = base
        while name in self.nodes:
            self._counts[base] += 1
            name = f"{base}-{self._counts[base] + 1}"
        self.nodes.append(name)
        self.edges += dict.fromkeys((node.name, name) for node in (*above, *gates_for(self, above)))
        if mapped:
            self.mapped.append(name)
        return note(Node(self, VisitId(name), mapped=mapped, nout=nout))


def traced(flow: str, body: Callable[[], Any]) -> Graph:
    """The graph that a flow's body makes."""
    tracer, unknown = _Tracer(), ""
    with calling(Caller(cast(Any, None), None, plan=tracer)):
        try:
            body()
        except _Unknown as stopped:
            unknown = stopped.task
    return Graph(flow, tuple(tracer.nodes), tuple(tracer.edges), tuple(tracer.mapped), unknown)
