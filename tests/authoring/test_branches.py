"""Branches: what is not taken is Skipped with the reason, and a merge goes on with what was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flow_parts import Ledger

from prefect_nb import case, flow, merge, signals, switch, task
from prefect_nb.errors import TaskFailed, UsageError

L = Ledger()


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a store of its own, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    L.__init__()  # type: ignore[misc]


@task
def kind(x: int) -> str:
    return ["even", "odd"][x % 2]


@task
def said(text: Any) -> Any:
    L.enter(str(text))
    return text


@task
def after(text: Any) -> Any:
    L.enter("after")
    return f"after {text}"


@task
def nothing() -> None:
    return None


@task
def skipped() -> None:
    raise signals.skip("no new data")


@task
def fails() -> None:
    raise ValueError("broken")


@flow
def two_ways(x: int) -> Any:
    found = kind(x)
    with case(found, "even"):
        low = after(said("low"))
    with case(found, "odd"):
        high = said("high")
    return merge(low, high)


@pytest.mark.parametrize(("x", "value", "entered"), [(2, "after low", {"low", "after"}), (3, "high", {"high"})])
def test_only_the_branch_that_is_taken_runs(x: int, value: str, entered: set[str]) -> None:
    """The other's tasks are Skipped, a chain of them too, each naming why; the merge has the value."""
    run = two_ways.submit(x)
    assert run.result() == value
    assert set(L.entries) == entered
    states = {name: node.state for name, node in run.tasks.items()}
    missed = "said" if x == 3 else "said-2"
    assert states[missed].name == "Skipped"
    gate = f"kind is {'even' if x == 3 else 'odd'!r}"
    assert states[gate].name == "Skipped"
    assert states[gate].message == f"it is {kind.function(x)!r}, not {'even' if x == 3 else 'odd'!r}"
    assert gate in states[missed].message
    assert states["merge"].name == "Success"
    assert run.state.name == "Success"


def test_the_graph_shows_both_branches_before_anything_runs() -> None:
    """Gates are nodes; only what begins a branch hangs on its gate."""
    edges = set(two_ways.graph(1).edges)
    assert {("kind", "kind is 'even'"), ("kind is 'even'", "said"), ("said", "after")} <= edges
    assert ("kind is 'even'", "after") not in edges
    assert {("after", "merge"), ("said-2", "merge")} <= edges


MERGES: dict[str, Any] = {
    "None is a value": (lambda: merge(nothing(), said(1)), None),
    "skipped is none": (lambda: merge(skipped(), said(1)), 1),
    "the first of two": (lambda: merge(said(1), said(2)), 1),
    "of a map": (lambda: merge(said.map(kind.map([1, 2])), said(2)), ["odd", "even"]),
    "of a skipped map": (lambda: merge(said.map(skipped()), said(2)), 2),
    "a plain value": (lambda: merge(skipped(), 7), 7),
    "one": (lambda: merge(said(1)), 1),
}


@pytest.mark.parametrize("name", MERGES)
def test_a_merge_takes_the_first_value_that_is_not_skipped(name: str) -> None:
    """Whatever the branches are."""
    build, value = MERGES[name]

    @flow
    def merged() -> Any:
        return build()

    assert merged() == value


def test_a_merge_of_nothing_but_skips_is_skipped_and_one_of_a_failure_fails() -> None:
    """A failure beats a skip."""

    @flow
    def all_skipped() -> Any:
        return merge(skipped(), skipped())

    run = all_skipped.submit()
    assert run.result() is None
    assert run.tasks["merge"].state.name == "Skipped"

    @flow
    def failed() -> Any:
        return merge(skipped(), fails())

    run = failed.submit()
    with pytest.raises((ValueError, TaskFailed)):
        run.result()
    assert run.tasks["merge"].state.name == "TriggerFailed"


def test_branches_nest_and_hold_maps() -> None:
    """An inner branch needs the outer one; a map in a branch is skipped as a whole."""

    @flow
    def nested(a: int, b: int) -> Any:
        one, two = kind(a), kind(b)
        with case(one, "even"):
            with case(two, "even"):
                inner = said.map([1, 2])
            outer = said("outer")
        return [merge(inner, "no inner"), merge(outer, "no outer")]

    assert nested(2, 2) == [[1, 2], "outer"]
    assert nested(2, 3) == ["no inner", "outer"]
    run = nested.submit(3, 2)
    assert run.result() == ["no inner", "no outer"]
    assert {run.tasks[n].state.name for n in ("said", "said-2")} == {"Skipped"}


def test_switch_calls_one_branch() -> None:
    """Each branch is a task or a lambda; what the others made is Skipped."""

    @flow
    def switched(x: int) -> Any:
        made = switch(kind(x), {"even": nothing, "odd": lambda: after(said(x))})
        return merge(*made.values())

    assert switched(3) == "after 3"
    assert switched(2) is None
    assert L.entries == {"3": 1, "after": 1}


def test_a_branch_that_was_called_already_is_refused() -> None:
    """It would run in any case."""

    @flow
    def wrong(x: int) -> Any:
        return switch(kind(x), {"even": said(1)})

    with pytest.raises(UsageError, match=r"give the task itself, or a lambda"):
        wrong(1)


@pytest.mark.parametrize("use", [lambda: case(1, 1).__enter__(), lambda: switch(1, {}), lambda: merge(1)])
def test_outside_a_flow_they_say_so(use: Any) -> None:
    """There is nothing to plan."""
    with pytest.raises(UsageError, match="outside the body of a flow"):
        use()


def test_a_gate_is_of_its_own_flow() -> None:
    """A flow that a branch calls is skipped as a node; inside it the branch is not open."""

    @flow
    def child() -> Any:
        return said("child")

    @flow
    def parent(x: int) -> Any:
        with case(kind(x), "even"):
            found = child()
        return merge(found, "none")

    assert parent(2) == "child"
    assert parent(3) == "none"
    assert L.entries == {"child": 1}


def test_a_call_may_wait_for_what_it_is_not_given() -> None:
    """With ``upstream_tasks=`` calls and maps wait, and are skipped too; a parameter of that name is the task's own."""

    @task
    def own(upstream_tasks: Any) -> Any:
        return upstream_tasks

    @flow
    def ordered() -> Any:
        first = said("first")
        second = said("second", upstream_tasks=[first])
        many = said.map(["a", "b"], upstream_tasks=(second,))
        left = said("left", upstream_tasks=[skipped()])
        with pytest.raises(UsageError, match="takes a list of nodes"):
            said("wrong", upstream_tasks=["first"])
        return [many, merge(left, "skipped"), own(upstream_tasks=[first])]

    assert ordered() == [["a", "b"], "skipped", ["first"]]
    assert list(L.entries)[:2] == ["first", "second"]
    assert "left" not in L.entries
    assert ("said", "said-2") in ordered.graph().edges
