"""Flows that are built in a ``with`` block: recorded calls, edges added later, parameters, merging, the same states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flow_parts import Ledger

from prefect_nb import Flow, case, flow, merge, resume, task, unmapped
from prefect_nb.errors import ParameterError, UsageError

L = Ledger()


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a store of its own, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    L.__init__()  # type: ignore[misc]


@task
def one() -> int:
    L.enter("one")
    return 1


@task
def add(a: Any, b: Any = 0) -> Any:
    return a + b


@task(nout=2)
def halves(x: int) -> tuple[int, int]:
    return x // 2, x - x // 2


@task
def total(xs: list[int]) -> int:
    return sum(xs)


@task
def noted(name: str) -> str:
    L.enter(name)
    return name


def test_nothing_runs_until_the_flow_does() -> None:
    """Building records; running gives the values of the last tasks, and a second run is another run."""
    with Flow("built") as f:
        low, high = halves(one() + 6)
        total([low, high, add(one(), b=2)])
    assert not L.entries
    assert [node.name for node in f.tasks] == [
        "one",
        "add",
        "halves",
        "getitem",
        "getitem-2",
        "one-2",
        "add-2",
        "total",
    ]
    run = f.run()
    assert run.state.name == "Success"
    assert run.result() == {"total": 10}
    assert run.tasks["halves"].result() == (3, 4)
    assert f() == {"total": 10}


def test_parameters_are_checked_before_anything_runs() -> None:
    """A parameter is a node; without a default it is required, and its annotation holds."""
    with Flow("with parameters") as f:
        n = f.parameter("n", annotation=int)
        add(n, f.parameter("more", default=5))
    assert f.run(n=1).result() == {"add": 6}
    assert f.run(n=1, more=1).result() == {"add": 2}
    with pytest.raises(ParameterError, match="n is missing"):
        f.run()
    with pytest.raises(ParameterError, match="it has no parameter m"):
        f.run(n=1, m=1)
    with pytest.raises(UsageError, match="cannot be a parameter"):
        f.parameter("n")
    assert not L.entries


def test_edges_may_be_added_after_the_calls() -> None:
    """What waits runs later, whatever the order of the calls; a circle is refused before anything runs."""
    with Flow("edges") as f:
        last, first, middle = noted("last"), noted("first"), noted("middle")
    last.set_upstream(middle)
    first.set_downstream(middle)
    edges = set(f.graph().edges)
    assert len(edges) == 2
    run = f.run()
    assert list(L.entries) == ["first", "middle", "last"]
    assert run.result() == dict.fromkeys(run.result(), "last")
    f.add_edge(last, first)
    with pytest.raises(UsageError, match="wait for each other"):
        f.run().result()


def test_a_chain_is_edges_in_a_row() -> None:
    """Each waits for the one before."""
    with Flow("chain") as f:
        f.chain(*[noted(str(n)) for n in range(4)])
    f.run()
    assert list(L.entries) == ["0", "1", "2", "3"]


def test_maps_branches_and_operators_are_recorded_too() -> None:
    """Everything that a flow's body may call."""
    with Flow("rich") as f:
        n = f.parameter("n", default=3)
        many = add.map([one(), 2, n], unmapped(10))
        with case(total(many) > 30, True):
            big = noted("big")
        with case(total(many) > 30, False):
            small = noted("small")
        merge(big, small)
    assert f.run().result() == {"merge": "big"}
    assert f.run(n=-100).result() == {"merge": "small"}


def test_flows_are_merged() -> None:
    """The calls and parameters of one become the other's; without that its nodes are refused."""
    with Flow("left") as left:
        base = add(left.parameter("n"), 1)
    with Flow("right") as right:
        with pytest.raises(UsageError, match="node of another flow"):
            add(base, 1)
        right.update(left)
        add(base, 10)
    assert right.run(n=1).result() == {"add-2": 12}
    assert left.run(n=1).result() == {"add": 2}
    with pytest.raises(UsageError, match="both have a parameter n"):
        right.update(left)


def test_a_built_flow_is_a_node_of_another() -> None:
    """A run of its own."""
    with Flow("inner") as inner:
        add(inner.parameter("n"), 1)

    @flow
    def outer() -> Any:
        return add(inner(n=1)["add"], 1)

    assert outer() == 3


def test_a_failed_run_is_resumed() -> None:
    """What had succeeded is not entered again."""

    @task
    def second_time() -> str:
        if L.enter("second_time") == 1:
            raise ValueError("not yet")
        return "done"

    with Flow("resumed") as f:
        node = second_time()
        node.set_upstream(one())
    run = f.run()
    assert run.state.name == "Failed"
    again = resume(run.id)
    assert again.result() == {"second_time": "done"}
    assert L.entries == {"one": 1, "second_time": 2}


def test_while_it_is_built_there_is_no_result() -> None:
    """It says where there would be one; and a flow needs a name."""
    with Flow("no results"), pytest.raises(UsageError, match="is being built"):
        one().result()
    with pytest.raises(UsageError, match="takes a name"):
        Flow(lambda: None)  # type: ignore[arg-type]


def test_in_a_flows_body_an_edge_belongs_into_the_call() -> None:
    """The task is under way already."""

    @flow
    def late() -> Any:
        a, b = one(), one()
        with pytest.raises(UsageError, match="was planned already"):
            b.set_upstream(a)
        return a

    assert late() == 1
