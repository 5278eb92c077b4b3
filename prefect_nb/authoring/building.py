"""Flows that are built by calls in a ``with`` block, and run later: the imperative spelling.

Calls are recorded and nothing runs, so edges may be added afterwards; running the flow makes the same calls again, each
after what it depends on, in the body of a flow of functions. Knows recorded calls; not how a run goes on.

Source: the founding system's ``with Flow("name") as flow``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, Unpack, cast

from prefect_nb.authoring import flows
from prefect_nb.authoring.calls import Caller, calling, current
from prefect_nb.authoring.endings import FlowOptions
from prefect_nb.authoring.gates import gates_for, inside, note
from prefect_nb.authoring.nodes import Flat, Node, Whole, filled, nodes_among
from prefect_nb.authoring.operations import OPERATIONS
from prefect_nb.authoring.promises import workers as default_workers
from prefect_nb.authoring.resources import within
from prefect_nb.authoring.runs import Run
from prefect_nb.authoring.uses import Use
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State, StateName
from prefect_nb.errors import UsageError
from prefect_nb.wiring import executor_name

if TYPE_CHECKING:
    from prefect_nb.authoring.functions import Task

__all__ = ["Flow"]

_NO_DEFAULT = inspect.Parameter.empty
_Key = tuple[int, VisitId]  # a node cannot be a key itself


def _key(node: Node) -> _Key:
    return id(node.plan), node.visit


@dataclass(slots=True, eq=False)
class _Step:
    """One recorded call."""

    node: Node
    task: Task[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    after: list[Node] = field(default_factory=list)
    within: tuple[Node, ...] = ()

    @property
    def above(self) -> list[Node]:
        """What it depends on."""
        return [*nodes_among((self.args, self.kwargs), []), *self.after]


class _Draft:
    """Records calls; the plan of its nodes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: dict[_Key, _Step] = {}
        self.parameters: dict[_Key, inspect.Parameter] = {}
        self._names: set[str] = set()

    def call(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Node:
        """Record a call; its node."""
        task.bind(args, kwargs)
        return self._recorded(Node(self, self._named(task.spec.name), nout=task.nout), task, args, kwargs)

    def map(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Node:
        """Record a map; its node."""
        task.bind(args, kwargs)
        return self._recorded(Node(self, self._named(task.spec.name), mapped=True), task, args, kwargs)

    def compute(self, operation: str, *values: Any) -> Node:
        """Record an operator; its node."""
        return self.call(OPERATIONS[operation], values, {})

    def result_of(self, node: Node) -> NoReturn:
        """Nothing runs while a flow is built."""
        hint = f"run it ({self.name}.run()), or write the flow as a function under @flow, where .result() waits"
        raise UsageError(f"{node.name} has no result: flow {self.name} is being built", hint=hint)

    def state_of(self, node: Node) -> State:
        """Nothing has run."""
        return State(StateName.PENDING, 0.0)

    def _recorded(self, node: Node, task: Task[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Node:
        step = _Step(node, task, args, dict(kwargs), within=within())
        for above in step.above:
            self.own(above)
            known = self.steps.get(_key(above))
            if known is not None and known.task.manager is not None and all(above is not used for used in step.within):
                raise UsageError(f"{above.name} is used after its block", hint="call the task inside the with block")
        step.after += gates_for(self, step.above)
        self.steps[_key(node)] = step
        return note(node)

    def own(self, node: Node) -> None:
        """Refuse a node of another flow."""
        if _key(node) not in self.steps and _key(node) not in self.parameters:
            hint = f"merge that flow into this one first: {self.name}.update(other)"
            raise UsageError(f"{node.name} is a node of another flow than {self.name}", hint=hint)

    def link(self, upstream: Node, downstream: Node) -> None:
        """Let one call wait for another."""
        for node in (upstream, downstream):
            self.own(node)
        if _key(downstream) in self.parameters:
            raise UsageError(f"{downstream.name} is a parameter, which waits for nothing")
        self.steps[_key(downstream)].after.append(upstream)

    def order(self) -> Iterator[_Step]:
        """The calls, each after what it depends on, else as they were made."""
        waiting, done = list(self.steps.values()), set(self.parameters)
        while waiting:
            ready = next((step for step in waiting if all(_key(node) in done for node in step.above)), None)
            if ready is None:
                names = ", ".join(step.node.name for step in waiting)
                raise UsageError(
                    f"in flow {self.name} these wait for each other: {names}", hint="take one of the edges away"
                )
            waiting.remove(ready)
            done.add(_key(ready.node))
            yield ready

    def _named(self, base: str) -> VisitId:
        name, number = base, 1
        while name in self._names:
            number += 1
            name = f"{base}-{number}"
        self._names.add(name)
        return VisitId(name)


class Flow(flows.Flow[..., dict[str, Any]]):
    """A flow that is built by calls: ``with Flow("etl") as f: load(clean(fetch()))``, then ``f.run()``.

    What it gives are the values of its last tasks, those that nothing depends on, by name.

    Parameters
    ----------
    name : str
        What its runs are called.
    **options
        See :class:`~prefect_nb.authoring.endings.FlowOptions`.

    Examples
    --------
    >>> with Flow("etl") as f:
    ...     day = f.parameter("day", default="today")
    ...     rows = fetch(day)
    ...     done = load(rows)
    >>> done.set_upstream(check(rows))
    >>> run = f.run(day="2026-11-22")
    """

    def __init__(self, name: str, /, **options: Unpack[FlowOptions]) -> None:
        if not isinstance(name, str) or not name:
            raise UsageError(f"Flow takes a name, not {name!r}", hint='with Flow("etl") as f, or @flow above a def')
        self._draft = _Draft(name)
        self._open: Any = None
        self._reference: list[_Key] = []

        def body(**parameters: Any) -> dict[str, Any]:
            return self._replayed(parameters)

        body.__name__ = body.__qualname__ = name
        self._body = body
        self._declare()
        where = executor_name(options.get("executor")) or "threads"
        super().__init__(body, name, options.get("workers") or default_workers(), where, options)

    def __enter__(self) -> Self:
        self._open = calling(Caller(cast(Any, None), None, plan=self._draft))
        self._open.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def parameter(self, name: str, default: Any = _NO_DEFAULT, annotation: Any = _NO_DEFAULT) -> Node:
        """A parameter of the flow, as a node that tasks are given; required where it has no default.

        Raises
        ------
        UsageError
            If the name is taken or no identifier.
        """
        if not name.isidentifier() or name in {p.name for p in self._draft.parameters.values()}:
            raise UsageError(f"{name!r} cannot be a parameter of {self.name}", hint="take a new name, as of a variable")
        node = Node(self._draft, VisitId(name))
        self._draft.parameters[_key(node)] = inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        self._declare()
        self.parameters = type(self.parameters)(self._body)
        return node

    def add_edge(self, upstream: Node, downstream: Node) -> None:
        """Let one task wait for another without being given its value.

        Raises
        ------
        UsageError
            If one of them is a node of another flow.
        """
        self._draft.link(upstream, downstream)

    def chain(self, *nodes: Node) -> None:
        """Let each of these wait for the one before."""
        for upstream, downstream in pairwise(nodes):
            self.add_edge(upstream, downstream)

    def set_reference_tasks(self, nodes: Sequence[Node]) -> None:
        """Let only these decide how a run ends; a failure of another task is told and does not fail the run.

        Raises
        ------
        UsageError
            If one of them is a node of another flow, or a parameter.
        """
        for node in nodes:
            self._draft.own(node)
            if _key(node) in self._draft.parameters:
                raise UsageError(f"{node.name} is a parameter, which cannot fail")
        self._reference = [_key(node) for node in nodes]

    def update(self, other: Flow) -> None:
        """Take over the calls, parameters and reference tasks of another flow; its nodes are this flow's too.

        Raises
        ------
        UsageError
            If both have a parameter of one name.
        """
        mine = {p.name for p in self._draft.parameters.values()}
        both = [p.name for p in other._draft.parameters.values() if p.name in mine]
        if both:
            raise UsageError(f"{self.name} and {other.name} both have a parameter {both[0]}", hint="rename one of them")
        self._draft.steps.update(other._draft.steps)
        self._draft.parameters.update(other._draft.parameters)
        self._reference += other._reference
        self._declare()
        self.parameters = type(self.parameters)(self._body)

    def run(self, **parameters: Any) -> Run:
        """Run it and wait for its end, also for a bad one: the run, with its ``state``, ``tasks`` and ``result()``."""
        run = self.submit(**parameters)
        run.wait()
        return run

    @property
    def tasks(self) -> Sequence[Node]:
        """The nodes, in the order of their calls."""
        return tuple(step.node for step in self._draft.steps.values())

    def _declare(self) -> None:
        signature = inspect.Signature(list(self._draft.parameters.values()))
        cast(Any, self._body).__signature__ = signature

    def _replayed(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        draft = self._draft
        made: dict[_Key, Any] = {key: parameters[p.name] for key, p in draft.parameters.items()}
        ends: dict[_Key, str] = {}
        uses: dict[_Key, Use] = {}
        caller = current()
        assert caller is not None
        for step in draft.order():
            call: Callable[..., Any] = step.task.map if step.node.mapped else step.task
            waits = [made[_key(node)] for node in step.after if _key(node) in draft.steps]
            with ExitStack() as around:
                for used in step.within:
                    around.enter_context(uses[_key(used)].around())
                around.enter_context(inside(*waits))
                args, kwargs = _refilled(step.args, made), _refilled(step.kwargs, made)
                if step.task.manager is None:
                    node = call(*args, **kwargs)
                else:
                    use = uses[_key(step.node)] = Use(step.task.manager, caller.plan)
                    node = use.open(args, kwargs)
            made[_key(step.node)] = node
            ends[_key(step.node)] = node.name
            for above in step.above:
                ends.pop(_key(above), None)
        for use in reversed(uses.values()):
            use.leave()
        self.ending.exact = tuple(dict.fromkeys(made[key].name for key in self._reference))
        return {name: made[key] for key, name in ends.items()}


def _refilled(value: Any, made: Mapping[_Key, Any]) -> Any:
    if type(value) is tuple:
        return tuple(_refilled(item, made) for item in value)
    if type(value) is dict:
        return {name: _refilled(item, made) for name, item in value.items()}
    if type(value) is Whole or type(value) is Flat:
        return type(value)(_refilled(value.value, made))
    return filled(value, lambda node: made[_key(node)])
