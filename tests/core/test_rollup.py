"""A run's state, from the states of its visits."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_nb.core.events import RunAttached, RunCancelRequested, RunClosed, RunOpened
from prefect_nb.core.machine import step
from prefect_nb.core.policy import Trigger
from prefect_nb.core.rollup import rolled_up
from prefect_nb.core.run import Run, Visit, evolved
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.core.states import State, StateName
from prefect_nb.errors import IllegalTransition

N = StateName


def run_of(*names: StateName, before: StateName = N.RUNNING, **flags: Any) -> Run:
    """A run with one task in each of these states."""
    run = evolved(Run(), id="r1", state=State(before, 0.0), **flags)
    for number, name in enumerate(names):
        visit = Visit(VisitId(f"t{number}"), TaskSpec(f"t{number}"), State(name, 1.0), 0.0)
        tally = {**run.tally, name: run.tally.get(name, 0) + 1}
        run = evolved(run, visits=run.visits.put(visit.id, visit), latest=run.latest.put(visit.id.task, visit.id))
        stuck = name in (N.PAUSED, N.SUSPENDED, N.PENDING, N.MAPPED)
        counts = {"active": run.active + (not name.final), "stuck": run.stuck + stuck}
        run = evolved(run, tally=tally, paused=run.paused + (name in (N.PAUSED, N.SUSPENDED)), **counts)
    return run


CLOSED = {"closed": True}
CASES = [
    ([], {}, "Running", ""),
    ([], {"live": True}, "Open", ""),
    ([N.SUCCESS, N.FAILED], {"live": True}, "Open", ""),
    ([N.SUCCESS, N.RUNNING], {"live": True}, "Running", ""),
    ([N.SUCCESS, N.PENDING], {}, "Running", ""),
    ([N.RETRYING], {}, "Running", ""),
    ([N.PAUSED, N.SUCCESS], {}, "Paused", ""),
    ([N.PAUSED, N.PENDING], {}, "Paused", ""),
    ([N.PAUSED, N.RUNNING], {}, "Running", ""),
    ([N.PAUSED, N.RETRYING], {}, "Running", ""),
    ([N.RUNNING], CLOSED, "Running", ""),
    ([N.RUNNING], {"closed": True, "interrupted": True}, "Paused", "interrupted; it can be resumed"),
    ([N.PENDING], {"closed": True, "lost": True}, "Crashed", "its kernel or process vanished; it can be resumed"),
    ([N.CANCELLING], {"cancelled": True}, "Cancelling", ""),
    ([N.CANCELLED, N.FAILED], {"cancelled": True}, "Cancelled", ""),
    ([N.CRASHED], {"cancelled": True, "closed": True, "lost": True}, "Cancelled", ""),
    ([], CLOSED, "Success", ""),
    ([N.SUCCESS, N.CACHED, N.SKIPPED], CLOSED, "Success", ""),
    ([N.SKIPPED, N.SKIPPED], CLOSED, "Skipped", ""),
    ([N.SUCCESS, N.CANCELLED], CLOSED, "Cancelled", ""),
    ([N.SUCCESS, N.NOT_RUN], CLOSED, "Cancelled", ""),
    ([N.FAILED, N.NOT_RUN], CLOSED, "Failed", "t0 Failed"),
    ([N.SUCCESS, N.TIMED_OUT, N.TRIGGER_FAILED], CLOSED, "Failed", "t1 TimedOut, t2 TriggerFailed"),
    ([N.CRASHED], CLOSED, "Failed", "t0 Crashed"),
    ([N.VALIDATION_FAILED, N.SKIPPED], CLOSED, "Failed", "t0 ValidationFailed"),
]


@pytest.mark.parametrize(("names", "flags", "label", "message"), CASES)
def test_roll_up(names: list[StateName], flags: dict[str, Any], label: str, message: str) -> None:
    """The first rule that matches wins, and failures are named."""
    run = rolled_up(run_of(*names, **flags), RunCancelRequested(at=9.0))
    assert (run.state.label, run.state.message) == (label, message)
    assert run.ended_at == (9.0 if run.state.final else None)


def test_an_unchanged_state_keeps_its_time() -> None:
    """A run stays in the state it entered, though its version counts on."""
    run = run_of(N.RUNNING)
    rolled = rolled_up(run, RunCancelRequested(at=9.0))
    assert rolled.state is run.state
    assert rolled.version == run.version + 1


def test_a_jump_off_the_table_is_a_fault() -> None:
    """A successful run cannot begin to run again."""
    with pytest.raises(IllegalTransition, match="cannot go from Success to Running"):
        rolled_up(run_of(N.RUNNING, before=N.SUCCESS), RunCancelRequested(at=9.0))


def chain(*rows: tuple[str, StateName, str, tuple[str, ...]]) -> Run:
    """A closed run from rows of (task, state, trigger, upstream)."""
    run = evolved(Run(), id="r1", state=State(N.RUNNING, 0.0), closed=True)
    for task, name, trigger, upstream in rows:
        spec = TaskSpec(task, trigger=Trigger(trigger))
        visit = Visit(VisitId(task), spec, State(name, 1.0), 0.0, upstream=tuple(VisitId(u) for u in upstream))
        tally = {**run.tally, name: run.tally.get(name, 0) + 1}
        run = evolved(run, visits=run.visits.put(visit.id, visit), latest=run.latest.put(task, visit.id), tally=tally)
    return run


@pytest.mark.parametrize(
    ("rows", "label", "message"),
    [
        ([("a", N.FAILED, "all_successful", ()), ("b", N.SUCCESS, "any_failed", ("a",))], "Success", ""),
        ([("a", N.FAILED, "all_successful", ()), ("b", N.SKIPPED, "any_failed", ("a",))], "Failed", "a Failed"),
        (
            [("a", N.FAILED, "all_successful", ()), ("b", N.FAILED, "any_failed", ("a",))],
            "Failed",
            "a Failed, b Failed",
        ),
        (
            [
                ("a", N.FAILED, "all_successful", ()),
                ("b", N.TRIGGER_FAILED, "all_successful", ("a",)),
                ("c", N.SUCCESS, "all_finished", ("b",)),
            ],
            "Success",
            "",
        ),
        (
            [
                ("a", N.FAILED, "all_successful", ()),
                ("b", N.SUCCESS, "all_finished", ("a",)),
                ("c", N.TRIGGER_FAILED, "all_successful", ("a",)),
            ],
            "Failed",
            "c TriggerFailed",
        ),
        ([("a", N.SUCCESS, "all_successful", ()), ("b", N.FAILED, "all_successful", ())], "Failed", "b Failed"),
    ],
)
def test_a_failure_is_answered_for_only_by_who_heeds_it(
    rows: list[tuple[str, StateName, str, tuple[str, ...]]], label: str, message: str
) -> None:
    """A task that ran because of a failure answers for it; a failure with nobody to answer fails the run."""
    run = rolled_up(chain(*rows), RunCancelRequested(at=9.0))
    assert (run.state.label, run.state.message) == (label, message)


def test_the_tasks_that_are_named_decide() -> None:
    """A reference task fails the run though somebody answered for it; what is not named is told only."""
    rows = [("a", N.FAILED, "all_successful", ()), ("b", N.SUCCESS, "any_failed", ("a",))]
    told = rolled_up(evolved(chain(*rows), reference=("b",)), RunCancelRequested(at=9.0)).state
    assert (told.label, told.message) == ("Success", "does not decide: a Failed")
    told = rolled_up(evolved(chain(*rows), reference=("a",)), RunCancelRequested(at=9.0)).state
    assert (told.label, told.message) == ("Failed", "a Failed")


@pytest.mark.parametrize(("name", "label"), [(N.SUCCESS, "Failed"), (N.SKIPPED, "Failed"), (N.CANCELLED, "Cancelled")])
def test_a_verdict_stands_in_place_of_the_end_but_not_of_a_stop(name: StateName, label: str) -> None:
    """What a handler decided replaces Success, Skipped or Failed; who was cancelled stays so."""
    run = run_of(name, closed=True, verdict="Failed", message="no")
    assert rolled_up(run, RunCancelRequested(at=9.0)).state.label == label


def test_no_other_verdict_is_possible() -> None:
    """An event that closes a run as anything but Success or Failed is refused."""
    run, _ = step(Run(), RunOpened(at=0.0, run="r1", flow="f", live=False, worker="w"))
    with pytest.raises(IllegalTransition, match="made to end as Open"):
        step(run, RunClosed(at=1.0, verdict="Open"))


def test_who_takes_a_run_over_begins_without_the_verdict_of_its_end() -> None:
    """A resumed run is judged anew: by its tasks, all of them, until it is closed again."""
    run, _ = step(Run(), RunOpened(at=0.0, run="r1", flow="f", live=False, worker="w"))
    run, _ = step(run, RunClosed(at=1.0, verdict="Failed", message="no", reference=("a",)))
    run, _ = step(run, RunAttached(at=2.0, worker="w2"))
    assert (run.reference, run.verdict, run.message, run.state.label) == ((), "", "", "Running")
