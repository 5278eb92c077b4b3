"""The founding system's traps, by name: what gave a wrong answer there gives the right one here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_nb import flow, merge, signals, task

Wrong = (ValueError, LookupError)


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a store of its own."""
    monkeypatch.chdir(tmp_path)


@task
def good(x: Any = 1) -> Any:
    return x


@task
def fails(x: Any = 1) -> Any:
    raise ValueError(f"broken {x}")


@task
def skips(x: Any = 1) -> Any:
    raise signals.skip("nothing to do")


@task
def joined(*values: Any) -> Any:
    return values


@task
def total(xs: Any) -> Any:
    return sum(x for x in xs if x is not None)


@task
def one_of_each(x: int) -> int:
    if x == 1:
        raise signals.skip("odd one out")
    if x == 2:
        raise LookupError("missing")
    return x


def ended(of: Any) -> Any:
    """A run that has ended, however it did."""
    run = of.submit()
    with pytest.raises(Wrong):
        run.result()
    return run


def test_trap_a_cache_that_ignores_its_inputs() -> None:
    """There ``cache_for`` gave the result of p=1 for p=2."""

    @task(cache="1d")
    def doubled(p: int) -> int:
        return 2 * p

    @flow
    def one(p: int) -> Any:
        return doubled(p)

    assert [one(1), one(2), one(1)] == [2, 4, 2]


def test_trap_a_skip_that_hides_a_failure() -> None:
    """There upstream {Failed, Skipped} was Skipped and the flow a Success; a failure beats a skip."""

    @flow
    def both() -> Any:
        return joined(skips(), fails())

    run = ended(both)
    assert run.tasks["joined"].state.name == "TriggerFailed"
    assert "fails" in run.tasks["joined"].state.message
    assert run.state.name == "Failed"


def test_trap_a_reduce_over_good_skipped_and_failed_children() -> None:
    """There it was Skipped; here it fails, naming the child."""

    @flow
    def reduced() -> Any:
        return total(one_of_each.map(range(3)))

    run = ended(reduced)
    assert run.tasks["total"].state.name == "TriggerFailed"
    assert "one_of_each[2]" in run.tasks["total"].state.message
    assert run.state.name == "Failed"


def test_trap_a_map_that_looks_well_while_its_children_failed() -> None:
    """There the parent was Success; here it ends as its children did."""

    @flow
    def mapped() -> Any:
        return one_of_each.map(range(3))

    run = ended(mapped)
    found = run.tasks["one_of_each"]
    assert found.state.name == "Failed"
    assert "1 of 3 children failed" in found.state.message
    assert [child.state.name for child in found.children] == ["Success", "Skipped", "Failed"]


def test_trap_a_failed_branch_beside_a_good_end() -> None:
    """There the flow was a Success with nothing said, because its last task was well."""

    @flow
    def beside() -> Any:
        fails(2)
        return good()

    run = ended(beside)
    assert run.state.name == "Failed"
    assert "fails" in run.state.message


def test_trap_a_merge_that_takes_none_for_nothing() -> None:
    """There a branch that returned None was passed over."""

    @flow
    def merged() -> Any:
        return merge(good(None), good(5))

    assert merged() is None
