"""State handlers: an author's functions that hear of each move of a task's body, and may propose another end, once.

A handler is called as ``handler(task, old, new)`` with the task's name and two states. What it returns in place of
`new` becomes the signal that a body would have raised for it, so that one path leads from there to the engine. Knows
states and signals; nothing about calls or stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prefect_nb.authoring import signals
from prefect_nb.core import events as ev
from prefect_nb.core.bodies import BODY_MOVES
from prefect_nb.core.run import Run, Visit, evolved
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import EDGES, State, StateName, StateType
from prefect_nb.errors import UsageError

__all__ = ["NOBODY", "Entered", "Handler", "Handlers", "handlers"]

Handler = Callable[[str, State, State], State | None]
"""(task, old, new) -> another state in place of `new`, or None."""

N = StateName


@dataclass(frozen=True, slots=True)
class Entered:
    """One entry of a body, as handlers hear of it: the run at that time, whose body, and under which permission.

    `at` is now (seconds since the epoch, UTC), `log` takes a line for the task's log.
    """

    run: Run
    spec: TaskSpec
    visit: VisitId
    token: int
    attempt: int
    at: float
    log: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Handlers:
    """The handlers of one task.

    Parameters
    ----------
    on_state : tuple of callable
        Hear of every move.
    on_success, on_failure : tuple of callable
        Hear of a Success that was computed here, and of an end of the type FAILED.
    strict : bool
        Whether a handler that raises makes the task fail; else its error is a line in the task's log.
    """

    on_state: tuple[Handler, ...] = ()
    on_success: tuple[Handler, ...] = ()
    on_failure: tuple[Handler, ...] = ()
    strict: bool = False

    def __bool__(self) -> bool:
        return bool(self.on_state or self.on_success or self.on_failure)

    def entered(self, entry: Entered) -> None:
        """The body is about to run.

        Raises
        ------
        BodySignal
            What a handler proposes instead, or why its proposal cannot be followed.
        """
        old = State(N.SUBMITTED, entry.at)
        signal = self._ask(entry, old, State(N.RUNNING, entry.at))
        if signal is not None:
            raise signal

    def ended(
        self, entry: Entered, came: tuple[Any, BaseException | None], end: ev.BodyEnd | None
    ) -> tuple[Any, BaseException | None]:
        """How the body is to end: as it came (a value, or an error with its event), or as a handler proposes."""
        value, error = came
        new = State(N.SUCCESS, entry.at) if end is None else _proposed(entry, end)
        signal = self._ask(entry, State(N.RUNNING, entry.at), new)
        if signal is None or isinstance(end, ev.BodyCancelled):  # who was asked to stop stops
            return value, error
        if isinstance(signal, signals.Success):
            return (value if signal.result is None else signal.result), None
        if error is not None and signal.__cause__ is None:
            signal.__cause__ = error
        return None, signal

    def _ask(self, entry: Entered, old: State, new: State) -> signals.BodySignal | None:
        """Tell every handler; the first other state that one returns counts."""
        found: signals.BodySignal | None = None
        for handler in self.for_state(new):
            name = getattr(handler, "__name__", type(handler).__name__)
            try:
                answer = handler(entry.spec.name, old, new)
            except (Exception, signals.BodySignal) as error:  # the author's code, which is not the task's body
                told = f"its handler {name} raised {type(error).__name__}: {error}"
                if self.strict:
                    return signals.Fail(told, retryable=False)
                entry.log(told)
                continue
            if answer is None or answer is new or found is not None:
                continue
            found = _signal(name, answer, new)
        return found

    def for_state(self, new: State) -> Iterable[Handler]:
        """Who hears of a move to this state."""
        more: tuple[Handler, ...] = ()
        if new.name is N.SUCCESS:
            more = self.on_success
        elif new.type is StateType.FAILED:
            more = self.on_failure
        return (*self.on_state, *more)


NOBODY = Handlers()


def handlers(given: Mapping[str, object]) -> Handlers:
    """The handlers that ``@task(on_state=, on_success=, on_failure=, strict_handlers=)`` name; one or several of each.

    Raises
    ------
    UsageError
        If one of them is no function.
    """
    found: dict[str, tuple[Handler, ...]] = {}
    for option in ("on_state", "on_success", "on_failure"):
        value = given.get(option) or ()
        several = tuple(value) if isinstance(value, list | tuple) else (value,)
        for handler in several:
            if not callable(handler):
                raise UsageError(
                    f"{option} takes functions of (task, old, new), not {handler!r}", hint="or a list of them"
                )
        found[option] = several
    return Handlers(**found, strict=bool(given.get("strict_handlers", False)))


def _proposed(entry: Entered, end: ev.BodyEnd) -> State:
    """The state to which the machine would move for the end of a body."""
    known = entry.run.visits.get(entry.visit) or Visit(entry.visit, entry.spec, State(N.PENDING, entry.at), entry.at)
    running = evolved(known, state=State(N.RUNNING, entry.at), token=entry.token, attempt=entry.attempt)
    moved, _ = BODY_MOVES[N.RUNNING, type(end)](entry.run, running, end)
    return moved.state


def _signal(handler: str, wanted: State, new: State) -> signals.BodySignal:
    """What a body would raise to end so; a failure that names the handler if no body can."""
    told = wanted.message or f"by its handler {handler}"
    data = wanted.data
    match wanted.name:
        case N.SUCCESS:
            return signals.Success(told, result=data.get("result"))
        case N.SKIPPED:
            return signals.Skip(told)
        case N.FAILED:
            return signals.Fail(told, retryable=False)
        case N.RETRYING:
            return signals.Retry(told, after=max(0.0, float(data.get("after", 0.0))))
        case N.PAUSED:
            after, limit = data.get("after"), data.get("timeout")
            return signals.Pause(
                told, until=data.get("until"), after=after, timeout=limit, form=dict(data.get("form", {}))
            )
    can = ", ".join(name.label for name in (N.SUCCESS, N.SKIPPED, N.FAILED, N.RETRYING, N.PAUSED))
    legal = wanted.name in EDGES[N.RUNNING]
    why = "no body ends so" if legal else f"it cannot follow {N.RUNNING.label}"
    return signals.Fail(
        f"its handler {handler} proposed {wanted.label} in place of {new.label}: {why}; it can propose {can}",
        retryable=False,
    )
