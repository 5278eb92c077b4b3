"""The kernel's notebook as a flow: its name, when it opens, how cells without ids are known, how runs follow."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cells.bench import ShellBench
from cells.probe import extension

from prefect_nb.authoring.liveflow import Request

A = {"id": "a", "source": "%%task a\na = 1"}
B = {"id": "b", "source": "%%task b\nb = a + 1"}


@pytest.fixture
def flow(bench: ShellBench) -> Any:
    """The flow of a shell that has just loaded the extension."""
    return extension(bench.shell).flow


def _of_kernel(metadata: Any) -> Any:
    return SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda channel: {"metadata": metadata}))


REQUESTS: list[tuple[Any, str, dict[str, Any]]] = [
    (SimpleNamespace(), "", {}),
    (SimpleNamespace(kernel=None), "", {}),
    (_of_kernel(None), "", {}),
    (_of_kernel("text"), "", {}),
    (_of_kernel({"cellId": "c1"}), "c1", {}),
    (_of_kernel({"cellId": None, "prefect_nb": [1]}), "", {}),
    (_of_kernel({"cellId": "c1", "prefect_nb": {"mode": "flow"}}), "c1", {"mode": "flow"}),
    (SimpleNamespace(kernel=SimpleNamespace(), parent_header={"metadata": {"cellId": "c2"}}), "c2", {}),
]


@pytest.mark.parametrize(("shell", "cell_id", "ours"), REQUESTS, ids=range(len(REQUESTS)))
def test_a_request_carries_what_is_ours_or_nothing(shell: Any, cell_id: str, ours: dict[str, Any]) -> None:
    """Whatever a front end sends or leaves out, the request has an id and our part, or neither."""
    request = Request(shell)
    assert (request.cell_id, request.ours) == (cell_id, ours)


def test_nothing_is_opened_before_the_first_task(bench: ShellBench, flow: Any) -> None:
    """Plain cells, and looking at the graph, leave no store; the first task opens the run."""
    bench.execute("plain", "x = 1", [{"id": "plain", "source": "x = 1"}])
    assert not flow.opened
    assert not (bench.folder / ".prefect_nb").exists()
    bench.execute("a", A["source"], [A])
    assert flow.opened
    assert (bench.folder / ".prefect_nb" / "state.db").is_file()


NAMES = [
    ({}, {}, "session"),
    ({"JPY_SESSION_NAME": "{folder}/deep/report.ipynb"}, {}, "deep/report"),
    ({"JPY_SESSION_NAME": "report.ipynb"}, {}, "report"),
    ({"JPY_SESSION_NAME": "a-console"}, {}, "session"),
    ({}, {"__vsc_ipynb_file__": "{folder}/code.ipynb"}, "code"),
    ({"JPY_SESSION_NAME": "/elsewhere/far.ipynb"}, {}, "far"),
]


@pytest.mark.parametrize(("environ", "names", "wanted"), NAMES, ids=[f"{n}-{w}" for n, (_, _, w) in enumerate(NAMES)])
def test_a_flow_is_named_after_its_notebook(
    bench: ShellBench, flow: Any, environ: dict[str, str], names: dict[str, str], wanted: str
) -> None:
    """The flow is the notebook's path below the store's root, from whoever tells it, and stays so once it is open."""
    for name, value in environ.items():
        bench.setenv(name, value.format(folder=bench.folder))
    bench.shell.user_ns |= {name: value.format(folder=bench.folder) for name, value in names.items()}
    assert flow.name == wanted
    if not wanted.startswith("far"):
        bench.execute("a", A["source"], [A])
        bench.setenv("JPY_SESSION_NAME", str(bench.folder / "renamed.ipynb"))
        assert (flow.name, flow.session.run.flow) == (wanted, wanted)


def test_equal_text_without_an_id_is_the_same_cell_where_it_makes_no_difference(flow: Any) -> None:
    """Executed again at once, a text is the cell it was; after another cell used what it binds, it is a new one."""
    first = flow.arrived("x = 1").id
    assert flow.arrived("x = 1").id == first
    flow.arrived("x = 2")
    assert flow.arrived("x = 1").id != first


def test_a_cell_that_left_the_page_takes_its_names_along(bench: ShellBench, flow: Any) -> None:
    """A removed task's name goes at the next execution, not while something may be running."""
    for cell in (A, B):
        bench.execute(cell["id"], cell["source"], [A, B])
    bench.tell([A])
    assert "b" in bench.shell.user_ns
    bench.execute("a", A["source"], [A])
    assert "b" not in bench.shell.user_ns
    assert bench.value("a") == "1"


def test_a_new_run_follows_and_the_old_one_is_over(bench: ShellBench, flow: Any) -> None:
    """``renew`` ends the run and begins another, in which the next execution is a first visit."""
    bench.execute("a", A["source"], [A])
    old = flow.session.run.id
    new = flow.renew()
    assert new != old
    assert {row.run: row.state for row in flow.store.runs(flow=flow.name)} == {old: "Success", new: "Open"}
    bench.execute("a", A["source"], [A])
    assert flow.session.run.visit("a").id.visit == 1


def test_after_a_restart_the_run_is_taken_over(bench: ShellBench, flow: Any) -> None:
    """A second session of the same notebook goes on with the first one's run."""
    bench.execute("a", A["source"], [A])
    before = flow.session.run.id
    bench.restart()
    after = extension(bench.shell).flow
    assert after is not flow
    assert (after.session.run.id, after.session.run.visit("a").state.name.value) == (before, "Success")


def test_a_broken_session_is_opened_again_with_what_was_durable(bench: ShellBench, flow: Any) -> None:
    """When the store's process is gone the next cell opens the run anew, and nothing that was recorded is missing."""
    bench.execute("a", A["source"], [A])
    run = flow.session.run.id
    flow.session.close()
    flow.store.close()
    shown = bench.execute("b", B["source"], [A, B])
    again = shown if not shown.error else bench.execute("b", B["source"], [A, B])
    assert not again.error
    assert flow.session.run.id == run
    assert {v.id.task: v.state.name.value for v in flow.session.run.visits.values()} == {"a": "Success", "b": "Success"}


def test_permits_never_repeat(flow: Any) -> None:
    """Each entry of a body has a number that no other has."""
    assert len({flow.permit() for _ in range(100)}) == 100


def test_the_store_lies_with_its_project(flow: Any, bench: ShellBench) -> None:
    """The notebook's nearest project root holds the store."""
    assert (flow.place.root, Path(flow.place.folder)) == (bench.folder, bench.folder / ".prefect_nb")
