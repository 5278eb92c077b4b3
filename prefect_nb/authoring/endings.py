"""How a flow ends: its reference tasks, the handlers that hear of its runs' moves, and the one that may judge anew.

A handler hears after a move is durable; only the terminal one is asked before, and what it decides is part of the event
that closes the run. What a handler raises is logged. Knows states and runs; not how a run goes on.

Source: the founding system's reference tasks, state handlers and terminal state handler.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from prefect_nb.authoring.handlers import Handler, handlers
from prefect_nb.authoring.signals import BodySignal
from prefect_nb.core import events as ev
from prefect_nb.core.machine import step
from prefect_nb.core.run import Run
from prefect_nb.core.states import State, StateName, StateType
from prefect_nb.errors import UsageError

__all__ = ["Ending", "FlowOptions", "Terminal"]

Terminal = Callable[[str, State, Mapping[str, State]], State | None]
"""(flow, state, the states of the tasks that decide, by name) -> another state in its place, or None."""

_log = logging.getLogger("prefect_nb")
_OPTIONS = ("on_state", "on_success", "on_failure")
_CAN_BECOME = (StateName.SUCCESS, StateName.FAILED)


class FlowOptions(TypedDict, total=False):
    """What a flow may say about itself.

    Attributes
    ----------
    name : str
        What its runs are called; by default the function's name, with its module's where it is imported.
    workers : int
        How many task bodies may run at a time; by default four more than there are processors, at most 32.
    executor : str
        Where bodies of tasks run that do not say it themselves: ``"threads"`` (default) or ``"processes"``.
    reference : sequence of str
        The tasks that alone decide how a run ends, all calls of each; by default every task does.
    on_state : callable or list of them
        Called as ``handler(flow, old, new)`` when a run begins, or goes on, and when it has ended.
    on_success, on_failure : callable or list of them
        The same for an end as Success, and for one of the type FAILED.
    terminal_state_handler : callable
        Called as ``handler(flow, state, reference_states)`` before a run ends as Success, Skipped or Failed; may return
        another state, Success or Failed with a message, in place of this one.
    """

    name: str | None
    workers: int | None
    executor: str | None
    reference: Sequence[str]
    on_state: Handler | Sequence[Handler]
    on_success: Handler | Sequence[Handler]
    on_failure: Handler | Sequence[Handler]
    terminal_state_handler: Terminal


class Ending:
    """How the runs of one flow end.

    Parameters
    ----------
    options : FlowOptions, optional
        What the flow says.

    Attributes
    ----------
    exact : tuple of str
        Names of single calls that decide; in place of the names of tasks.

    Raises
    ------
    UsageError
        If an option cannot be used.
    """

    def __init__(self, options: FlowOptions | None = None) -> None:
        options = options or {}
        unknown = sorted(set(options) - set(FlowOptions.__annotations__))
        if unknown:
            hint = f"it takes {', '.join(FlowOptions.__annotations__)}"
            raise UsageError(f"a flow has no option {', '.join(unknown)}", hint=hint)
        reference = options.get("reference", ())
        if isinstance(reference, str) or not all(isinstance(name, str) and name for name in reference):
            raise UsageError(f"reference takes names of tasks, not {reference!r}", hint='such as reference=("load",)')
        self._tasks = frozenset(reference)
        self._handlers = handlers({name: options.get(name) for name in _OPTIONS})
        self._terminal = options.get("terminal_state_handler")
        if self._terminal is not None and not callable(self._terminal):
            raise UsageError(
                f"terminal_state_handler takes a function of (flow, state, reference_states), not {self._terminal!r}"
            )
        self.exact: tuple[str, ...] = ()

    def reference(self, run: Run, body: str = "") -> tuple[str, ...]:
        """The names in this run of the tasks that decide; empty if all do.

        Parameters
        ----------
        body : str
            The visit that says that the flow's own body raised, if there is one: it always counts.
        """
        names = [task for task, visit in run.latest.items() if run.visits[visit].spec.name in self._tasks]
        names = [*self.exact] or names
        return (*names, body) if names and body else tuple(names)

    def as_tasks_say(self, run: Run, at: float, body: str = "") -> State:
        """How a run would end now if nobody judged anew."""
        return step(run, ev.RunClosed(at=at, reference=self.reference(run, body)))[0].state

    def closed(self, flow: str, run: Run, at: float, body: str = "") -> ev.RunClosed:
        """The event that ends a run, with the terminal handler's verdict."""
        reference = self.reference(run, body)
        state = self.as_tasks_say(run, at, body)
        if self._terminal is None or run.cancelled or state.type not in (StateType.COMPLETED, StateType.FAILED):
            return ev.RunClosed(at=at, reference=reference)
        told = {task: run.visits[run.latest[task]].state for task in reference or run.latest if task in run.latest}
        name = _name(self._terminal)
        try:
            wanted = self._terminal(flow, state, told)
        except (Exception, BodySignal) as error:  # the author's code, which must not lose what the tasks gave
            _log.warning("the terminal handler %s of flow %s raised", name, flow, exc_info=True)
            said = f"its handler {name} raised {type(error).__name__}: {error}"[:300]
            return ev.RunClosed(at=at, reference=reference, message=said)
        if wanted is None or wanted is state:
            return ev.RunClosed(at=at, reference=reference)
        was = f"was {state.label}" + (f": {state.message}" if state.message else "")
        if isinstance(wanted, State) and wanted.name in _CAN_BECOME:
            said = "; ".join(filter(None, (wanted.message, f"by its handler {name}, {was}")))
            return ev.RunClosed(at=at, reference=reference, verdict=wanted.name.label, message=said)
        what = wanted.label if isinstance(wanted, State) else repr(wanted)[:80]
        said = f"its handler {name} proposed {what} in place of {state.label}; it can propose Success or Failed; {was}"
        return ev.RunClosed(at=at, reference=reference, verdict=StateName.FAILED.label, message=said)

    def tell(self, flow: str, old: State, new: State) -> None:
        """Let the handlers hear of a move of a run."""
        for handler in self._handlers.for_state(new):
            try:
                handler(flow, old, new)
            except (Exception, BodySignal):  # the author's code: the move has been made
                _log.warning("the handler %s of flow %s raised", _name(handler), flow, exc_info=True)


def _name(handler: Any) -> str:
    return str(getattr(handler, "__name__", "") or type(handler).__name__)
