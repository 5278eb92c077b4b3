"""How a run of a flow ends: its reference tasks decide, its handlers hear of it, and one of them may judge anew."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flow_parts import Ledger

from prefect_nb import Flow, State, flow, open_store, resume, signals, task, triggers
from prefect_nb.core.states import StateName
from prefect_nb.errors import TaskFailed, UsageError

L = Ledger()


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a store of its own, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    L.__init__()  # type: ignore[misc]


@task
def load(x: Any = 1) -> Any:
    if x == "bad":
        raise ValueError("no such row")
    return x


@task
def notify(x: Any = 1) -> Any:
    raise ConnectionError("nobody answers")


@task(reference=False)
def tidy(x: Any = 1) -> Any:
    raise OSError("not empty")


@task(reference=False, trigger=triggers.all_finished)
def report(x: Any) -> str:
    return "told"


@task
def skipped() -> None:
    raise signals.skip("no new data")


def ended(run: Any) -> tuple[str, str]:
    state = run.wait()
    return state.name.label, state.message


@flow(reference=("load",))
def loading(*, first: Any = 1, second: Any = 2) -> Any:
    notify()
    return [load(first), load(second)]


def test_a_task_that_is_no_reference_does_not_fail_the_run_and_is_told() -> None:
    """The run is a Success that names the other failure; its value is what the body returned."""
    run = loading.submit()
    assert ended(run) == ("Success", "does not decide: notify Failed")
    assert run.result() == [1, 2]
    assert run.tasks["notify"].state.name == "Failed"
    assert loading() == [1, 2]


def test_every_call_of_a_reference_task_decides() -> None:
    """The second call of a reference task fails the run, and its own exception is raised, not the other task's."""
    run = loading.submit(second="bad")
    assert ended(run) == ("Failed", "load-2 Failed; does not decide: notify Failed")
    with pytest.raises(ValueError, match="no such row"):
        run.result()


def test_a_value_that_was_not_made_is_raised_though_the_run_ended_well() -> None:
    """A failed task that decides nothing raises where its value is part of what the flow returns."""

    @flow(reference=("load",))
    def returning() -> Any:
        load()
        return {"note": notify()}

    run = returning.submit()
    assert ended(run)[0] == "Success"
    with pytest.raises(ConnectionError):
        run.result()


def test_a_body_that_could_not_go_on_fails_its_run() -> None:
    """What a task that decides nothing raised in the flow's body fails the run, as the body's own failure."""

    @flow(reference=("load",))
    def asking() -> Any:
        load()
        return notify().result()

    run = asking.submit()
    assert ended(run) == ("Failed", "asking Failed; does not decide: notify Failed")
    with pytest.raises(ConnectionError):
        run.result()


def test_a_reference_task_that_failed_is_not_answered_for() -> None:
    """Only the reference tasks decide: who heeds a failure does not take it away."""

    @flow(reference=("load",))
    def answered() -> Any:
        return after(load("bad"))

    @task(trigger=triggers.any_failed)
    def after(x: Any) -> str:
        return "handled"

    assert ended(answered.submit())[0] == "Failed"


def test_a_task_that_never_counts_neither_fails_a_run_nor_saves_it() -> None:
    """``reference=False``: its own failure is told only, and another's is not answered for by its success."""

    @flow
    def counting(x: Any) -> Any:
        return [load(x), tidy()][0]

    @flow
    def reporting() -> None:
        report(load("bad"))

    assert ended(counting.submit(1)) == ("Success", "does not decide: tidy Failed")
    assert counting(1) == 1
    assert ended(counting.submit("bad"))[0] == "Failed"
    run = reporting.submit()
    assert ended(run) == ("Failed", "load Failed")
    assert run.tasks["report"].result() == "told"


def test_where_no_reference_task_was_called_every_task_decides() -> None:
    """A name that no call has hides no failure."""

    @flow(reference=("lode",))
    def mistyped() -> None:
        notify()

    assert ended(mistyped.submit()) == ("Failed", "notify Failed")


def test_reference_tasks_that_were_skipped_skip_the_run() -> None:
    """The run is Skipped when all that decide were, whatever else ran."""

    @flow(reference=("skipped",))
    def quiet() -> None:
        skipped()
        load()

    assert ended(quiet.submit())[0] == "Skipped"


def test_nodes_of_a_built_flow_decide() -> None:
    """Single calls are named, also where the order of the run gives them other names; a merged flow brings its own."""
    with Flow("built") as f:
        notify()
        low, high = load("bad"), load(2)
        low.set_upstream(high)  # so that in the run `high` is load and `low` is load-2
    f.set_reference_tasks([high])
    run = f.submit()
    assert ended(run) == ("Success", "does not decide: notify Failed, load-2 Failed")
    with Flow("other") as g:
        notify()
    g.update(f)
    assert ended(g.submit())[0] == "Success"
    with pytest.raises(UsageError, match="another flow"):
        Flow("third").set_reference_tasks([low])


@pytest.mark.parametrize(
    "options", [{"reference": "load"}, {"terminal_state_handler": 3}, {"on_state": "x"}, {"refs": ()}]
)
def test_an_option_that_cannot_be_used_is_refused(options: dict[str, Any]) -> None:
    """A text in place of names, no function in place of a handler, and an unknown option are told at once."""
    with pytest.raises(UsageError):
        flow(**options)(lambda: None)


# --- handlers --------------------------------------------------------------------------------------------------------


def test_handlers_hear_of_the_beginning_and_the_end() -> None:
    """Each is called as (flow, old, new): all for Running and the end, two only for theirs; after it is recorded."""
    heard: list[tuple[str, ...]] = []

    def note(kind: str) -> Any:
        def handler(name: str, old: State, new: State) -> None:
            stored = open_store(Path(), readonly=True)
            state = stored.runs(flow=name, limit=1)[0].state
            stored.close()
            heard.append((kind, name.rpartition(".")[2], old.label, new.label, state))

        return handler

    @flow(on_state=note("any"), on_success=[note("good")], on_failure=note("bad"))
    def told(x: Any) -> Any:
        return load(x)

    told(1)
    begun = ("any", "told", "Pending", "Running", "Running")
    assert heard == [
        begun,
        ("any", "told", "Running", "Success", "Success"),
        ("good", "told", "Running", "Success", "Success"),
    ]
    heard.clear()
    run = told.submit("bad")
    run.left()
    assert heard[1:] == [
        ("any", "told", "Running", "Failed", "Failed"),
        ("bad", "told", "Running", "Failed", "Failed"),
    ]
    heard.clear()
    resume(run.id).left()
    assert heard[0] == ("any", "told", "Failed", "Running", "Running")


def test_handlers_hear_of_a_cancelled_run_which_nobody_judges_anew() -> None:
    """A stop is told to the handlers; the terminal handler is not asked."""
    heard: list[str] = []

    @task
    def long() -> None:
        L.event("in").set()
        L.wait("go on")

    @flow(
        on_state=lambda name, old, new: heard.append(new.label),
        terminal_state_handler=lambda name, state, tasks: State(StateName.SUCCESS, 0.0),
    )
    def stopped() -> None:
        long()

    run = stopped.submit()
    L.wait("in")
    run.cancel()
    L.event("go on").set()
    run.left()
    assert heard == ["Running", "Cancelled"]


Verdict = tuple[Any, ...]


@pytest.mark.parametrize(
    ("x", "answer", "label", "message"),
    [
        (1, None, "Success", ""),
        ("bad", None, "Failed", "load Failed"),
        (
            "bad",
            State(StateName.SUCCESS, 0.0, "one of two is enough"),
            "Success",
            "one of two is enough; by its handler judge, was Failed: load Failed",
        ),
        (1, State(StateName.FAILED, 0.0), "Failed", "by its handler judge, was Success"),
        (
            1,
            State(StateName.RETRYING, 0.0),
            "Failed",
            "its handler judge proposed Retrying in place of Success; it can propose Success or Failed; was Success",
        ),
        (1, "fine", "Failed", "its handler judge proposed 'fine' in place of Success; it can propose .*"),
        (1, ValueError("oops"), "Success", "its handler judge raised ValueError: oops"),
        ("bad", signals.skip("oops"), "Failed", "load Failed; its handler judge raised Skip: oops"),
    ],
)
def test_the_terminal_handler_may_judge_anew(x: Any, answer: Any, label: str, message: str) -> None:
    """It sees the state and those of the tasks that decide; its verdict is recorded with what it was, an error too."""
    seen: list[Any] = []

    def judge(name: str, state: State, tasks: Mapping[str, State]) -> Any:
        seen.append((name, state.label, {task: s.label for task, s in tasks.items()}))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @flow(name="judged", reference=("load",), terminal_state_handler=judge)
    def judged(x: Any) -> Any:
        load(x)
        notify()
        return "value"

    run = judged.submit(x)
    found, told = ended(run)
    told = told.replace("; does not decide: notify Failed", "").replace("does not decide: notify Failed; ", "")
    told = told.replace(": does not decide: notify Failed", "").replace("does not decide: notify Failed", "")
    assert (found, bool(re.fullmatch(message, told))) == (label, True), told
    first = "Failed" if x == "bad" else "Success"
    assert seen == [("judged", first, {"load": first})]
    stored = open_store(Path(), readonly=True).runs(flow="judged", limit=1)[0]
    assert (stored.state, stored.message) == (label, run.state.message)
    if label == "Success":
        assert run.result() == "value"
    else:
        with pytest.raises(ValueError if x == "bad" else TaskFailed):
            run.result()


def test_a_handler_that_raises_is_logged_and_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The run ends as it would have, its value is returned, and the log says which handler raised."""

    def broken(name: str, old: State, new: State) -> None:
        raise RuntimeError("the pager is down")

    @flow(on_state=broken)
    def paged() -> Any:
        return load(5)

    with caplog.at_level(logging.WARNING, "prefect_nb"):
        assert paged() == 5
    assert [r.getMessage().rpartition(" of flow ")[0] for r in caplog.records] == ["the handler broken"] * 2


def test_a_flow_whose_verdict_was_failed_can_be_resumed() -> None:
    """A run that a handler made fail goes on, takes over what had succeeded, and is judged again."""
    verdicts = [State(StateName.FAILED, 0.0, "not yet"), None]

    @flow(terminal_state_handler=lambda name, state, tasks: verdicts.pop(0))
    def patient() -> Any:
        return counted()

    @task
    def counted() -> int:
        return L.enter("counted")

    run = patient.submit()
    assert ended(run)[0] == "Failed"
    run.left()
    again = resume(run.id)
    assert ended(again) == ("Success", "")
    assert again.result() == 1
