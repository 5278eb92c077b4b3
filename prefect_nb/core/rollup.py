"""A run's state, from the states of its visits; the first rule that matches wins.

A final run has final visits only, with one exception: a run whose worker vanished is Crashed at once and keeps what had
not begun waiting, so that whoever resumes it can go on.
"""

from __future__ import annotations

from prefect_nb.core.events import Event
from prefect_nb.core.run import Run, Visit, evolved
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import RUN_EDGES, State, StateName, StateType
from prefect_nb.errors import IllegalTransition

__all__ = ["VERDICTS", "failures", "roll_up", "rolled_up"]

N = StateName
_FAILURES = (N.FAILED, N.TIMED_OUT, N.TRIGGER_FAILED, N.VALIDATION_FAILED, N.CRASHED)
_STOPPED = (N.CANCELLED, N.NOT_RUN)
VERDICTS = {"": None, "Success": N.SUCCESS, "Failed": N.FAILED}
"""What may stand in place of what the tasks of a run say, by its name."""


def rolled_up(run: Run, event: Event) -> Run:
    """The run with its version counted up and its state brought up to date.

    Raises
    ------
    IllegalTransition
        If the table of run states has no such move: a fault of the machine.
    """
    rolled = evolved(run)
    roll_up(rolled, event)
    return rolled


def roll_up(draft: Run, event: Event) -> None:
    """The same, done to a run that was just made and that nobody else has seen."""
    fields = draft.__dict__
    fields["version"] += 1
    name, message = _name(draft)
    state = draft.state
    if name is state.name and message == state.message:
        return
    if name is not state.name and name not in RUN_EDGES[state.name]:
        raise IllegalTransition(f"run {draft.id} cannot go from {state.label} to {name.label}", run=draft.id)
    fields["state"] = State(name, event.at, message)
    fields["ended_at"] = event.at if name.final else None


def _name(run: Run) -> tuple[StateName, str]:
    if run.cancelled:
        return (N.CANCELLED, "") if not run.active else (N.CANCELLING, "")
    if run.lost:
        return N.CRASHED, "its kernel or process vanished; it can be resumed"
    if run.closed and run.interrupted:
        why = "a task waits for a person or a time" if run.paused else "interrupted"
        return N.PAUSED, f"{why}; it can be resumed"
    if run.active:
        return _busy(run)
    if not run.closed:
        return (N.OPEN, "") if run.live else (N.RUNNING, "")
    return _ended(run)


def _busy(run: Run) -> tuple[StateName, str]:
    if run.paused and run.stuck == run.active:
        return N.PAUSED, ""
    return N.RUNNING, ""


def _ended(run: Run) -> tuple[StateName, str]:
    name, message = _as_its_tasks_say(run)
    verdict = VERDICTS[run.verdict]
    if verdict is not None and name is not N.CANCELLED:  # who was stopped stays stopped
        return verdict, run.message
    return name, "; ".join(filter(None, (message, run.message)))


def _as_its_tasks_say(run: Run) -> tuple[StateName, str]:
    deciding, others = _deciding(run)
    aside = _listed("does not decide: ", [v for v in others if v.state.name in (*_FAILURES, *_STOPPED)])
    if any(v.state.name in _FAILURES for v in deciding) and (failed := failures(run)):
        return N.FAILED, "; ".join(filter(None, (_listed("", [run.visits[run.latest[t]] for t in failed]), aside)))
    if any(v.state.name in _STOPPED for v in deciding):
        return N.CANCELLED, aside
    if deciding and all(v.state.name is N.SKIPPED for v in deciding):
        return N.SKIPPED, aside
    return N.SUCCESS, aside


def _listed(before: str, visits: list[Visit]) -> str:
    told = ", ".join(f"{v.id.task} {v.state.label}" for v in visits[:5])
    return f"{before}{told}" if told else ""


def _deciding(run: Run) -> tuple[list[Visit], list[Visit]]:
    """The latest visits of the tasks that decide how the run ends, and of the others."""
    latest = [run.visits[i] for i in run.latest.values()]
    named = set(run.reference)
    counts = [v.id.task in named if named else v.spec.reference for v in latest]
    return [v for v, c in zip(latest, counts, strict=True) if c], [
        v for v, c in zip(latest, counts, strict=True) if not c
    ]


def failures(run: Run) -> list[str]:
    """Tasks for whose failure the run fails.

    Where the run has reference tasks, those of them that failed. Else those that failed and for which no task answered:
    one whose trigger heeds failures, and which ended well. A task that did not run because of a failure hands it on to
    those that answer for itself; one that does not count answers for nothing.
    """
    failed = [v for v in _deciding(run)[0] if v.state.name in _FAILURES]
    answered: set[VisitId] = set()
    for visit in () if run.reference else reversed(list(run.visits.values())):  # what is upstream was planned before
        hands_on = visit.state.name is N.TRIGGER_FAILED and visit.id in answered
        ended_well = visit.state.type is StateType.COMPLETED and visit.state.name is not N.SKIPPED
        if hands_on or (visit.spec.trigger.heeds_failures and ended_well and visit.spec.reference):
            answered.update(visit.upstream)
    return [v.id.task for v in failed if v.id not in answered]
