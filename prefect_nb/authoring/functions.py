"""A function as a task: its calls are visits of the same engine.

A call computes its key, asks for an earlier result, or runs the body in the caller's thread, as a child of the cell or
task that calls it, and returns the value, as a plain call would. In the body of a flow it becomes a node instead. Where
the extension is not loaded and no flow runs, a task is just its function.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, cast

from prefect_nb.analysis.code import reach
from prefect_nb.analysis.origins import place_of
from prefect_nb.analysis.purity import Verdict, judge
from prefect_nb.analysis.values import is_immutable
from prefect_nb.authoring import hidden
from prefect_nb.authoring.afar import Elsewhere, ask_home
from prefect_nb.authoring.callbody import Call
from prefect_nb.authoring.callkeys import Arguments, Binder, Stem
from prefect_nb.authoring.calls import Caller, current, home
from prefect_nb.authoring.capture import replay
from prefect_nb.authoring.copies import spent
from prefect_nb.authoring.errands import run_plainly
from prefect_nb.authoring.gates import planned
from prefect_nb.authoring.ground import Ground, namespace_of
from prefect_nb.authoring.handlers import NOBODY, Handlers
from prefect_nb.authoring.house import Substitute
from prefect_nb.authoring.keys import Keyed, part_rows
from prefect_nb.authoring.nodes import Node
from prefect_nb.authoring.outputs import from_plain
from prefect_nb.authoring.promises import Promise, rows_of
from prefect_nb.authoring.recall import Past
from prefect_nb.authoring.reuse import Finding, Found, Wish, look_up
from prefect_nb.authoring.shelf import shown_again
from prefect_nb.authoring.solo import Solo, abandoned, refuse_unrecorded
from prefect_nb.authoring.targets import claim, restored, target_of
from prefect_nb.authoring.triggers import Judge
from prefect_nb.core import events as ev
from prefect_nb.core.plan import Question, decide
from prefect_nb.core.run import Visit
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.engine.desk import Desk
from prefect_nb.errors import ResultUnavailable
from prefect_nb.executors.loop import in_loop
from prefect_nb.executors.worker import serving
from prefect_nb.protocols import Entry, LogChunk
from prefect_nb.wiring import now

__all__ = ["Task"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Known:
    """The code of a function as it was last followed, and the globals and captured names on which that rests."""

    stem: Stem
    watched: tuple[tuple[dict[str, Any], str, Any], ...]
    cells: tuple[tuple[CellType, Any], ...]

    @property
    def holds(self) -> bool:
        """Whether every name is still bound to what it was bound to."""
        for space, name, value in self.watched:
            if space.get(name) is not value:
                return False
        return all(_inside(cell) is value for cell, value in self.cells)


class Task(Generic[P, R]):
    """A function as a task; call it as the function.

    Parameters
    ----------
    function : callable
        The body.
    spec : TaskSpec
        Its name and options.
    judge : callable, optional
        The author's own trigger.
    handlers : Handlers, optional
        Who hears of each move of its body.
    where : str
        The executor of its body; empty for that of whoever calls it.
    """

    def __init__(
        self,
        function: Callable[P, R],
        spec: TaskSpec,
        judge: Judge | None = None,
        handlers: Handlers = NOBODY,
        where: str = "",
    ) -> None:
        self.function = function
        self.spec = spec
        self.judge = judge
        self.handlers = handlers
        self.where = where
        self._solo = Solo(spec.name)
        self.instead: Substitute | None = None
        self.manager: Any = None  # of the resource that it sets up
        self.nout: int | None = None  # how many values it gives, where its author says so
        self.tells_skips = False  # whether a skipped input is told from None
        self.is_async = inspect.iscoroutinefunction(function)
        self._binder = Binder(function)
        self._known: _Known | None = None
        self._verdicts: dict[str, Verdict] = {}
        self._past: Past | None = None
        self._new = Finding(decide(Question(spec, key="any", pure=True)).reason)  # where no earlier call is known
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run, or reuse, one call; returns what the function returned or raises what it raised.

        In the body of a flow it returns a node at once. Threads: may be called from any, and runs in it.
        """
        caller = current()
        if caller is None:
            if (flow := home()) is None:
                refuse_unrecorded(self.spec)
                return self._plainly(args, kwargs)
            caller = Caller(flow, None)
        elif caller.plan is not None:
            return cast(R, planned(caller.plan.call, self, args, kwargs))
        bound = self._binder.bind(args, kwargs)
        if self.is_async and in_loop():  # it is to be awaited
            return cast(R, asyncio.to_thread(self._visit, caller, bound))
        return self._visit(caller, bound)

    def submit(self, *args: Any, **kwargs: Any) -> Node:
        """Begin one call and go on: a node, whose ``.result()`` waits for the value."""
        caller = current()
        if caller is not None and caller.plan is not None:
            return planned(caller.plan.call, self, args, kwargs)
        return Promise(self, args, kwargs).node

    def map(self, *args: Any, **kwargs: Any) -> Any:
        """Call it for each element: in a flow a node with a child for each, elsewhere the list of the values.

        Iterables are zipped to the shortest; ``unmapped(x)`` gives every call the same, ``flatten(x)`` takes the
        elements apart once more.
        """
        caller = current()
        if caller is not None and caller.plan is not None:
            return planned(caller.plan.map, self, args, kwargs)
        return [self(*a, **k) for a, k in rows_of(args, kwargs, self.spec.name)]

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self.__call__, instance)  # type: ignore[arg-type]

    def __reduce__(self) -> tuple[Any, ...]:
        made = (self.function, self.spec, self.judge, self.handlers, self.where)
        return Task, made, {"nout": self.nout, "tells_skips": self.tells_skips}

    def __repr__(self) -> str:
        return f"<task {self.spec.name}>"

    # --- what whoever attends to a visit needs ------------------------------------------------------------------------

    def takes(self, name: str) -> bool:
        """Whether it has a parameter of this name."""
        return self._binder.takes(name)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
        """The arguments by name, defaults included; TypeError if the function could not be called so."""
        return self._binder.bind(args, kwargs)

    def prepared(self, ground: Ground, visit: VisitId, bound: Arguments, *, mapped: bool = False) -> Call:
        """A call with its key, computed over the values that it is given; the file that it makes is claimed.

        Raises
        ------
        UsageError
            If its target cannot be a path, or is another call's.
        """
        product = target_of(ground, self.spec, visit, bound.named, mapped=mapped) if self.spec.target else None
        keyed = self._code(ground).key(bound.named, str(product.path) if product else "")
        if product is not None:
            claim(ground, product, visit, keyed.key)
        call = Call(ground, self.spec, visit, keyed, bound, handlers=self.handlers, mapped=mapped, product=product)
        if (self.where or ground.where) == "processes" and self.instead is None:
            call.far = Elsewhere(self.function)
        else:
            call.spent = spent(bound.named)
        return call

    def find(self, call: Call, done: Visit | None = None) -> Finding | Found:
        """An earlier call that fits, or why there is none; `done` is the same call before the run was resumed."""
        ground, keyed = call.ground, call.keyed
        if not keyed.key:  # a function's past is given, so nothing of a notebook's is asked
            return look_up(cast(Any, ground), self.spec, keyed, Wish(), ())
        past = self._calls_before(ground, keyed)
        call.learned = past.learned
        earlier = past.earlier(keyed.key, now())
        if not earlier and done is None:
            return self._new
        call.rows.update((entry.result, row) for entry, row in earlier if row is not None)
        entries = [entry for entry, _ in earlier]
        if done is None:
            return look_up(cast(Any, ground), self.spec, keyed, Wish(), entries)
        if self.spec.once:  # what it did is done, whatever changed since
            entries = [_entry(self.spec.name, keyed, ground, done)]
        elif all(entry.result != done.result for entry in entries):
            entries.append(_entry(self.spec.name, keyed, ground, done))
        return look_up(cast(Any, ground), self.spec, keyed, Wish(recover=done.result), entries)

    def reuse(self, call: Call, found: Found) -> R:
        """The value of an earlier call, with its outputs and hidden states in place.

        Raises
        ------
        ResultUnavailable
            If it cannot be read.
        """
        ground = call.ground
        stored = ground.vault.load(found.result, namespace=namespace_of(ground), row=call.rows.get(found.result))
        if not isinstance(stored, dict) or "call" not in stored:
            raise ResultUnavailable("it is not the result of a call")
        if call.product is not None and (told := restored(call.product, stored, once=self.spec.once)):
            ground.session.log(LogChunk(call.visit, 0, "stderr", f"{told}\n", now()))
        call.cost_s = stored["cost_s"]
        hidden.put_back(stored["hidden"])
        outputs = from_plain(stored["outputs"])
        shown_again(outputs, call.visit, ground)
        replay(outputs, ground.shell)
        return cast(R, stored["call"])

    def judge_purity(self, call: Call) -> None:
        """Say whether the body is pure; the same for the same code."""
        verdict = self._verdicts.get(call.keyed.code_key)
        if verdict is None:
            verdict = judge(cast(FunctionType, self.function), namespace_of(call.ground))
            self._verdicts = {call.keyed.code_key: verdict}
        call.verdict = verdict

    # --- one call in the caller's thread ------------------------------------------------------------------------------

    def _plainly(self, args: Any, kwargs: Any) -> R:
        if serving() is not None:  # in a worker process: the engine is at home
            return cast(R, ask_home(self.function, args, kwargs))
        if self.where == "processes":
            return cast(R, run_plainly(self.function, args, kwargs))
        value: Any = self.function(*args, **kwargs)
        if self.is_async and not in_loop():
            return cast(R, asyncio.run(value))
        return cast(R, value)

    def _visit(self, caller: Caller, bound: Arguments) -> R:
        call = self.prepared(caller.flow, self._place(caller), bound)
        done = caller.former.take(self.spec.name, call.keyed.key, call.visit).done if caller.former else None
        session, desk = caller.flow.session, Desk(waits_for_end=False)
        finding = self.find(call, done)
        session.sit(call.visit, desk)
        try:
            return self._go(call, finding, caller, desk)
        except BaseException:  # whoever waits for the visit has to learn that nobody attends to it any more
            if abandoned(session.run.visits.get(call.visit)):
                session.abandon(call.visit, "its caller was interrupted")
            raise

    def _place(self, caller: Caller) -> VisitId:
        """The visit that a call of this caller is."""
        above = caller.visit
        if above is None:
            return VisitId(self.spec.name, caller.flow.number_call(self.spec.name))
        label = above.task if above.index < 0 else f"{above.task}[{above.index}]"
        name = f"{label}.{self.spec.name}"
        return VisitId(name, above.visit, caller.number(name))

    def _go(self, call: Call, finding: Finding | Found, caller: Caller, desk: Desk) -> R:
        session = call.ground.session
        planned = ev.TaskPlanned(
            at=now(), visit=call.visit, spec=self.spec, parent=caller.visit, cell=caller.cell or None
        )
        while isinstance(finding, Found):
            try:
                value = self.reuse(call, finding)
            except ResultUnavailable as error:
                finding = finding.without(error.message)
                continue
            session.post(planned, finding.event(call.visit, call.keyed.key, call.cost_s))
            return value
        self.judge_purity(call)
        bound = call.bound
        body = lambda: self._plainly(bound.args, bound.kwargs)  # noqa: E731
        return cast(R, self._solo.run(call, desk, planned, finding.reason, body))

    # --- keys --------------------------------------------------------------------------------------------------------

    def _calls_before(self, ground: Ground, keyed: Keyed) -> Past:
        past = self._past
        if past is None or past.code_key != keyed.code_key or past.store is not ground.store:
            past = self._past = Past(ground.store, keyed.code_key)
        return past

    def _code(self, ground: Ground) -> Stem:
        """What the function's keys begin with; computed again when a name that it looks up may mean something else."""
        known = self._known
        if known is not None and known.holds:
            return known.stem
        function = cast(FunctionType, self.function)
        reached = reach((self.spec.name,), {self.spec.name: function}, project_root=ground.place.root)
        problem = str(reached.problems[0]) if reached.problems else ""
        stem = Stem(part_rows(reached.parts), self.spec.version, problem)
        space = function.__globals__
        watched = tuple((space, n, space.get(n)) for n in reached.late_names)
        cells = tuple((cell, _inside(cell)) for cell in function.__closure__ or ())
        steady = all(_steady(value) for value in (*(v for _, _, v in watched), *(v for _, v in cells)))
        defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        local = any(part.kind == "module" for part in reached.parts)
        fixed = steady and not local and all(map(is_immutable, defaults))
        self._known = _Known(stem, watched, cells) if fixed else None
        return stem


def _entry(task: str, keyed: Keyed, ground: Ground, done: Visit) -> Entry:
    """A finished visit of this run as an earlier result, though it was not fit for reuse by others."""
    run, at = ground.session.run, done.ended_at or 0.0
    cost = done.duration_s or 0.0
    return Entry(keyed.key, keyed.code_key, task, run.flow, run.id, done.result, at, cost, (), keyed.parts)


def _inside(cell: CellType) -> Any:
    """What a captured name is bound to; the cell itself while it is bound to nothing."""
    try:
        return cell.cell_contents
    except ValueError:
        return cell


def _steady(value: object) -> bool:
    """Whether what a name is bound to stays the same as long as the name does: no data, and no code over data."""
    if isinstance(value, FunctionType | type) and place_of(value.__module__) in ("stdlib", "installed"):
        return True
    return value is None or (is_immutable(value) and not getattr(value, "__closure__", None))
