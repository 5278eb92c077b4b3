"""Maps in flows: children without a barrier, shortest zip, reduce, empty maps, windows, failures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flow_parts import PATIENCE_S, Ledger

from prefect_nb import Retry, flatten, flow, signals, task, triggers, unmapped
from prefect_nb.errors import UsageError

L = Ledger()


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a store of its own, and an empty ledger."""
    monkeypatch.chdir(tmp_path)
    L.__init__()  # type: ignore[misc]


@task
def inc(x: int) -> int:
    return x + 1


@task
def pair(a: Any, b: Any) -> Any:
    return a, b


@task
def total(xs: Any) -> Any:
    return sum(xs)


@task
def odd_fails(x: int) -> int:
    if x % 2:
        raise ValueError(f"odd {x}")
    return x


@task
def listed(n: int) -> list[int]:
    return list(range(n))


CASES: dict[str, Any] = {
    "zip to the shortest": (lambda: pair.map([1, 2, 3], ["a", "b"]), [(1, "a"), (2, "b")]),
    "whole": (lambda: pair.map(unmapped("EU"), range(2)), [("EU", 0), ("EU", 1)]),
    "whole list": (lambda: pair.map(unmapped([1, 2]), b=[7]), [([1, 2], 7)]),
    "whole node": (lambda: pair.map(unmapped(inc(1)), range(2)), [(2, 0), (2, 1)]),
    "map over a map": (lambda: inc.map(inc.map(range(3))), [2, 3, 4]),
    "map over a node's list": (lambda: inc.map(listed(3)), [1, 2, 3]),
    "map over nodes": (lambda: inc.map([inc(1), 5]), [3, 6]),
    "two maps": (lambda: pair.map(inc.map(range(3)), inc.map(range(2))), [(1, 1), (2, 2)]),
    "reduce": (lambda: total(inc.map(range(4))), 10),
    "reduce in a list": (lambda: total([total(inc.map(range(2))), 10]), 13),
    "map with a whole map": (lambda: pair.map(range(2), unmapped(inc.map(range(2)))), [(0, [1, 2]), (1, [1, 2])]),
    "empty": (lambda: inc.map([]), []),
    "reduce of an empty map": (lambda: total(inc.map([])), 0),
    "map over an empty map": (lambda: inc.map(inc.map([])), []),
    "empty node": (lambda: inc.map(listed(0)), []),
    "flatten": (lambda: inc.map(flatten([[1, 2], [3], 4])), [2, 3, 4, 5]),
    "flatten a map": (lambda: inc.map(flatten(listed.map([1, 2]))), [1, 1, 2]),
    "flatten a node": (lambda: inc.map(flatten(pair([1], [2, 3]))), [2, 3, 4]),
    "generator": (lambda: inc.map(n for n in range(5)), [1, 2, 3, 4, 5]),
    "many": (lambda: total(inc.map(inc.map(range(300)))), sum(range(300)) + 600),
}


@pytest.mark.parametrize("case", CASES)
def test_a_map_gives_its_childrens_values(case: str) -> None:
    """Every way to spell a map gives the values in order."""
    body, expected = CASES[case]

    @flow(workers=3)
    def etl() -> Any:
        return body()

    assert etl() == expected


def test_there_is_no_barrier_between_maps() -> None:
    """The second map's first child runs while the first map's second still does."""

    @task
    def slow(n: int) -> int:
        if n == 1:
            L.wait("second step of the first")
        return n

    @task
    def then(n: int) -> int:
        if n == 0:
            L.event("second step of the first").set()
        return n

    @flow(workers=2)
    def etl() -> Any:
        return then.map(slow.map(range(2)))

    assert etl() == [0, 1]


def test_a_failing_child_never_hides() -> None:
    """Its siblings go on, what maps over them fails at its index only, and the run fails with its exception."""

    @flow
    def etl() -> Any:
        return inc.map(odd_fails.map(range(4)))

    run = etl.submit()
    with pytest.raises(ValueError, match="odd 1"):
        run.result(PATIENCE_S)
    first, second = run.tasks["odd_fails"], run.tasks["inc"]
    assert [c.state.name for c in first.children] == ["Success", "Failed", "Success", "Failed"]
    assert [c.state.name for c in second.children] == ["Success", "TriggerFailed", "Success", "TriggerFailed"]
    assert (first.state.name, second.state.name, run.state.name) == ("Failed", "Failed", "Failed")
    assert second.children[0].result() == 1


def test_a_reduce_that_heeds_failures_gets_them() -> None:
    """Values, exceptions and None stand in the list, each at its place."""

    @task
    def mixed(n: int) -> int:
        if n == 1:
            raise ValueError("one")
        if n == 2:
            raise signals.skip("two")
        return n

    @task(trigger=triggers.all_finished)
    def summary(xs: Any) -> str:
        return repr(xs)

    @flow
    def etl() -> Any:
        return summary(mixed.map(range(3)))

    assert etl() == "[0, ValueError('one'), None]"


def test_failure_beats_skip_in_a_reduce() -> None:
    """A reduce over a skipped and a failed child fails; it is not skipped."""

    @task
    def mixed(n: int) -> int:
        if n:
            raise signals.skip("no")
        raise ValueError("failed")

    @flow
    def etl() -> Any:
        return total(mixed.map(range(2)))

    run = etl.submit()
    with pytest.raises(ValueError, match="failed"):
        run.result(PATIENCE_S)
    assert run.tasks["total"].state.name == "TriggerFailed"


def test_a_map_over_what_never_opened_ends_as_that_did() -> None:
    """Above it a trigger failed, so there are no elements: it fails too, naming the cause, and is no empty success."""

    @flow
    def etl() -> Any:
        return inc.map(inc.map(odd_fails(1)))

    run = etl.submit()
    with pytest.raises(ValueError, match="odd 1"):
        run.result(PATIENCE_S)
    assert run.tasks["inc"].state.name == "TriggerFailed"
    assert run.tasks["inc-2"].state.name == "Failed"


def test_each_child_retries_for_itself() -> None:
    """One child fails once and is tried again; the others ran once."""

    @task(retry=Retry(1))
    def flaky(n: int) -> int:
        if L.enter(f"child {n}") == 1 and n == 1:
            raise OSError("once")
        return n

    @flow
    def etl() -> Any:
        return flaky.map(range(3))

    run = etl.submit()
    assert run.result(PATIENCE_S) == [0, 1, 2]
    assert [c.attempts for c in run.tasks["flaky"].children] == [1, 2, 1]


def test_a_generator_is_consumed_as_children_end() -> None:
    """With two workers, never more than the window is taken from it ahead of what has ended."""
    taken = 0
    worst = 0

    def numbers() -> Iterator[int]:
        nonlocal taken, worst
        for n in range(100):
            worst = max(worst, taken - L.entries["done"])
            taken += 1
            yield n

    @task(cache="never")
    def work(n: int) -> int:
        L.enter("done")
        return n

    @flow(workers=2)
    def etl() -> Any:
        return total(work.map(numbers()))

    assert etl() == sum(range(100))
    assert worst <= 4 * 2


def test_an_error_in_a_generator_fails_the_map() -> None:
    """What it had given runs; its error is that of the element that never came."""

    def numbers() -> Iterator[int]:
        yield 1
        raise RuntimeError("no more")

    @flow
    def etl() -> Any:
        return inc.map(numbers())

    run = etl.submit()
    with pytest.raises(RuntimeError, match="no more"):
        run.result(PATIENCE_S)
    assert [c.state.name for c in run.tasks["inc"].children] == ["Success", "Failed"]


@pytest.mark.parametrize("arguments", [("EU",), (5,), (unmapped(1),)])
def test_what_has_no_elements_is_refused_where_it_stands(arguments: tuple[Any, ...]) -> None:
    """A text, a number, or nothing mapped at all: the hint says what to write."""

    @flow
    def etl() -> Any:
        return inc.map(*arguments)

    with pytest.raises(UsageError):
        etl()


def test_a_value_without_elements_fails_the_map() -> None:
    """A node whose value is no list is found out when it is there."""

    @flow
    def etl() -> Any:
        return inc.map(inc(1))

    with pytest.raises(TypeError, match="no elements"):
        etl()


def test_a_cancelled_map_ends() -> None:
    """Its children are stopped, those that wait never begin."""

    @task
    def held(n: int) -> int:
        L.event("began").set()
        while True:
            L.event("never").wait(0.005)

    @flow(workers=2)
    def etl() -> Any:
        return total(held.map(range(6)))

    run = etl.submit()
    L.wait("began")
    run.cancel()
    assert run.wait(PATIENCE_S).name == "Cancelled"
    assert run.tasks["held"].state.type == "CANCELLED"
    assert run.tasks["total"].state.name == "NotRun"


def test_outside_a_flow_a_map_gives_the_values() -> None:
    """As plain calls would."""
    assert pair.map([1, 2], unmapped("x")) == [(1, "x"), (2, "x")]


def test_a_map_of_nothing_but_skips_has_a_place_for_each_child() -> None:
    """As one whose children were skipped in part; one that never opened has none."""

    @task
    def skips(x: int) -> int:
        raise signals.skip("nothing to do")

    @task(skip_on_upstream_skip=False)
    def seen(xs: Any) -> Any:
        return [xs]

    @flow
    def reduced() -> Any:
        many = skips.map(range(2))
        return [seen(many), many, seen(skips.map(skips(1)))]

    assert reduced() == [[[None, None]], [None, None], [None]]
