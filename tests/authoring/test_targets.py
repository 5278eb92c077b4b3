"""Files that calls make: where they lie, that they belong to one key, and that nothing stale is taken for them."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prefect_nb import flow, open_store, resume, signals, task, unmapped
from prefect_nb.errors import PrefectNBError, UsageError


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a store and a working folder of its own."""
    monkeypatch.chdir(tmp_path)


@task(target="out/{region}/{n:03d}.json", cache="always")
def report(region: str, n: int) -> Any:
    return {"region": region, "n": n}


@flow
def daily(region: str, n: int = 7) -> Any:
    return report(region, n)


def ran(flow: Any, *arguments: Any) -> tuple[Any, str]:
    """What a flow of one task gives, and the state of the task."""
    run = flow.submit(*arguments)
    value = run.result()
    (visit,) = run.tasks.values()
    return value, visit.state.name


def read(path: str) -> Any:
    """What a JSON file holds."""
    return json.loads(Path(path).read_text())


def test_a_call_makes_its_file_once() -> None:
    """The file is made from the value, under the path of the arguments; an equal call reuses both."""
    value = {"region": "EU", "n": 7}
    assert [ran(daily, "EU"), ran(daily, "EU")] == [(value, "Success"), (value, "Cached")]
    assert read("out/EU/007.json") == value
    assert ran(daily, "US") == ({"region": "US", "n": 7}, "Success")
    assert sorted(p.name for p in Path("out").rglob("*") if p.is_file()) == ["007.json", "007.json"], "a draft was left"


@pytest.mark.parametrize("harm", ["delete", "change", "another"])
def test_a_file_that_somebody_changed_is_made_again(harm: str) -> None:
    """A file that is gone, or holds something else, is noticed on a hit and restored, and the log says so."""
    daily("EU")
    path = Path("out/EU/007.json")
    kept = path.read_bytes()
    if harm == "delete":
        path.unlink()
    else:
        status = path.stat()
        path.write_bytes(kept.replace(b"7", b"8") if harm == "change" else b"{}")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    run = daily.submit("EU")
    assert run.result() == {"region": "EU", "n": 7}
    assert path.read_bytes() == kept
    assert run.tasks["report"].state.name == "Cached"
    told = "gone" if harm == "delete" else "not what this task had written"
    assert f"out/EU/007.json was {told}; it was written again" in "".join(run.tasks["report"].logs())


def test_a_file_that_is_there_proves_nothing() -> None:
    """A file of that name from elsewhere is no result: the body runs, and its file takes the name."""
    Path("out/EU").mkdir(parents=True)
    Path("out/EU/007.json").write_text('"not ours"')
    assert ran(daily, "EU")[1] == "Success"
    assert read("out/EU/007.json")["n"] == 7


def test_other_code_makes_another_file() -> None:
    """The file belongs to the code and the inputs: a changed body runs again although the file is there."""

    def made(factor: int) -> Any:
        @task(name="scaled", target="scaled.json", cache="always")
        def scaled(x: int) -> int:
            return x * factor

        @flow(name="scaling")
        def scaling() -> Any:
            return scaled(3)

        return ran(scaling)

    assert [made(2), made(5), made(5)] == [(6, "Success"), (15, "Success"), (15, "Cached")]
    assert read("scaled.json") == 15
    assert made(2) == (6, "Cached")
    assert read("scaled.json") == 6, "a reused value left the other's file"


def test_another_path_is_another_call() -> None:
    """The path is part of the key, so that a file under a new name is made by the body, not by a guess."""

    def made(target: str) -> str:
        @task(name="moved", target=target, cache="always")
        def moved() -> int:
            return 1

        @flow(name="moving")
        def moving() -> Any:
            return moved()

        return ran(moving)[1]

    assert [made("a.json"), made("b.json"), made("b.json")] == ["Success", "Success", "Cached"]
    assert (read("a.json"), read("b.json")) == (1, 1)


def test_two_keys_cannot_claim_one_path() -> None:
    """The second of two different calls with one path fails before anything is overwritten, and names both."""

    @task(target="all.json")
    def one(region: str) -> str:
        return region

    @flow
    def both() -> Any:
        first = one("EU")
        first.result()
        return [first, one("US")]

    run = both.submit()
    with pytest.raises(UsageError, match=r"two calls of one run have the target all\.json: one, and one-2#1"):
        run.result()
    assert read("all.json") == "EU"
    assert run.tasks["one-2"].state.name == "Failed"

    @flow
    def twice() -> Any:
        return [one("EU"), one("EU")]

    assert twice() == ["EU", "EU"]


def test_children_of_a_map_have_files_of_their_own() -> None:
    """A map's children are told apart by their index or their elements; without either the second one fails."""

    @task(target="parts/{prefix}-{map_index}.txt")
    def part(prefix: str, x: int) -> str:
        return f"{prefix}{x}"

    @task(target="parts/one.txt")
    def narrow(x: int) -> str:
        return str(x)

    @flow
    def fan(width: int) -> Any:
        return part.map(unmapped("p"), range(10, 10 + width))

    @flow
    def clash() -> Any:
        return narrow.map([1, 2])

    assert fan(3) == ["p10", "p11", "p12"]
    assert [Path(f"parts/p-{n}.txt").read_text() for n in range(3)] == ["p10", "p11", "p12"]
    with pytest.raises(UsageError, match="two calls of one run"):
        clash()


def test_the_runs_parameters_and_date() -> None:
    """Fields are filled from the arguments, the run's parameters, and its id, date and task."""

    @task(target="{day:%Y}/{date}/{run_id}-{task}-{level}.txt")
    def note(day: dt.date) -> str:
        return "x"

    @flow
    def noted(level: float) -> Any:
        return note(dt.date(2031, 5, 6))

    run = noted.submit(1.5)
    run.result()
    row = open_store(Path.cwd()).run(run.id)
    assert row is not None
    today = dt.datetime.fromtimestamp(row.created_at, dt.UTC).date()
    assert Path(f"2031/{today}/{run.id}-note-1.5.txt").read_text() == "x"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("out/{}.json", "field"),
        ("out/{0}.json", "field"),
        ("out/{x.y}.json", "field"),
        ("out/{x[0]}.json", "field"),
        ("out/{x!r}.json", "field"),
        ("out/{x:{y}}.json", "field"),
        ("out/{x", "no template"),
        ("out/", "names no file"),
        ("", "names no file"),
    ],
)
def test_templates_are_names_only(template: str, why: str) -> None:
    """A template that is none, or reaches into a value, is refused where it is written."""
    with pytest.raises(UsageError, match=why):
        task(target=template)(report.function)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("a/b", "cannot be made of x"),
        ("..", "leads elsewhere"),
        (".", "leads elsewhere"),
        ("", "cannot be made of x"),
        ("a\0b", "cannot be made of x"),
        ("y" * 201, "cannot be made of x"),
        (["a"], "cannot be made of x, a list"),
        (None, "cannot be made of x, a NoneType"),
    ],
)
def test_values_never_lead_elsewhere(value: Any, why: str) -> None:
    """A value that is more than a part of a name fails its task; nothing is written."""
    entered = []

    @task(target="out/{x}/a.json")
    def make(x: Any) -> int:
        entered.append(x)
        return 1

    @flow
    def making(x: Any) -> Any:
        return make(x)

    before = set(Path().rglob("*"))
    with pytest.raises(UsageError, match=why):
        making(value)
    assert not entered
    assert {p for p in set(Path().rglob("*")) - before if ".prefect_nb" not in p.parts} == set()


def test_unknown_fields_and_the_store_itself() -> None:
    """A field that nothing gives is named with those that there are; the store is no place for a target."""

    @task(target="{nobody}.json")
    def lost(x: int) -> int:
        return x

    @task(target=".prefect_nb/results/x.json")
    def inside(x: int) -> int:
        return x

    for body, why in ((lost, "needs 'nobody'"), (inside, "in the store")):

        @flow(name=body.spec.name + "-flow")
        def run(body: Any = body) -> Any:
            return body(1)

        with pytest.raises(UsageError, match=why):
            run()


FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})


@pytest.mark.parametrize(
    ("ending", "value", "load"),
    [
        (".json", {"a": [1, None]}, read),
        (".npy", np.arange(4.0), np.load),
        (".csv", FRAME, pd.read_csv),
        (".csv", FRAME.set_index("b"), lambda p: pd.read_csv(p, index_col="b")),
        (".pkl", {1: (2, 3)}, pd.read_pickle),
        (".txt", "é\n", lambda p: Path(p).read_text(encoding="utf-8")),
        (".png", b"\x89PNG", lambda p: Path(p).read_bytes()),
    ],
)
def test_the_ending_says_how(ending: str, value: Any, load: Any) -> None:
    """Each ending has its format, and what is read back with everybody's tools is the value."""

    @task(target="v" + ending)
    def make() -> Any:
        return value

    @flow
    def making() -> Any:
        return make()

    making()
    found = load("v" + ending)
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(found, value)
    else:
        np.testing.assert_equal(found, value)


@pytest.mark.parametrize(
    ("ending", "value"), [(".json", {1j}), (".npy", [1]), (".csv", "a,b"), (".png", 3), (".txt", None)]
)
def test_a_value_that_does_not_fit_fails_its_task(ending: str, value: Any) -> None:
    """A value that its ending cannot hold is the task's failure, naming the file; an earlier file stays as it was."""

    @task(target="v" + ending)
    def make() -> Any:
        return value

    @flow
    def making() -> Any:
        return make()

    Path("v" + ending).write_text("before")
    with pytest.raises(PrefectNBError, match=f"cannot be written to the target v\\{ending}"):
        making()
    assert Path("v" + ending).read_text() == "before"
    assert list(Path().glob(".v*")) == []


def test_a_skipped_call_makes_no_file() -> None:
    """Only a success makes the file; one that a signal declared makes it of the signal's value."""

    @task(target="{how}.json")
    def make(how: str) -> Any:
        raise signals.skip("nothing new") if how == "skip" else signals.success([1])

    @flow
    def making() -> Any:
        return [make("skip"), make("success")]

    assert making() == [None, [1]]
    assert (Path("skip.json").exists(), read("success.json")) == (False, [1])


def test_a_resumed_run_looks_at_its_files() -> None:
    """What had succeeded before a failure is taken over, and its file is restored if it is gone."""
    ok: list[int] = []

    @task(target="first.json")
    def first() -> int:
        return 4

    @task
    def second(x: int) -> int:
        if not ok:
            raise ValueError("not yet")
        return x + 1

    @flow(name="resumable-targets")
    def both() -> Any:
        return second(first())

    globals()["both"] = both  # where a resume looks for it
    both.function.__qualname__ = "both"
    run = both.submit()
    run.wait(60)
    Path("first.json").unlink()
    ok.append(1)
    again = resume(run.id)
    assert again.result() == 5
    assert (again.tasks["first"].state.name, read("first.json")) == ("Cached", 4)
