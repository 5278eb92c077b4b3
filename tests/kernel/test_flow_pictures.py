"""Runs of functions show themselves below the cell that called them, in a real kernel without any page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

MIME = "application/vnd.prefect-nb.flow+json"
FLOW = """
from prefect_nb import task, flow
@task
def double(x):
    return 2 * x
@flow
def inner(x):
    return double(x)
@flow
def etl(n):
    return inner(n), double.map(range(n))
"""


def pictures(run: Any) -> list[dict[str, Any]]:
    """What each display of a cell shows in the end."""
    shown: dict[str, dict[str, Any]] = {}
    for output in run.outputs:
        if "display_id" in output.get("transient", ()):
            shown[output["transient"]["display_id"]] = output["data"]
    return list(shown.values())


@pytest.mark.parametrize("loaded", [True, False], ids=["with the extension", "without it"])
def test_a_call_shows_its_graph_and_leaves_the_final_one(make_kernel: Callable[..., Any], loaded: bool) -> None:
    """The cell's one display ends with final states in every form; the flow below is a node of it, not a picture."""
    kernel = make_kernel()
    kernel.run(("%load_ext prefect_nb\n" if loaded else "") + FLOW)
    run = kernel.run("etl(3)")
    assert run.result == "(6, [0, 2, 4])"
    (data,) = pictures(run)
    states = {node["id"]: node["state"] for node in data[MIME]["nodes"]}
    assert states == {"inner": "Success", "double": "Success"}
    assert data[MIME]["run"]["state"] == "Success"
    assert data[MIME]["run"]["kind"] == "function"
    assert 'role="img"' in data["image/svg+xml"]
    assert "Flow etl: Success" in data["image/svg+xml"]
    assert "double" in data["text/plain"]
    assert "inner" in data["text/plain"]


def test_a_loop_of_calls_does_not_flood_its_cell(shared_kernel: Any) -> None:
    """A cell that calls a flow many times has five pictures, the last of which shows the last run."""
    shared_kernel.run("%load_ext prefect_nb\n" + FLOW)
    run = shared_kernel.run(
        "ids = []\nfor n in range(9):\n    r = inner.submit(n); r.result(); r.left(); ids.append(r.id)\ndel r"
    )
    shown = pictures(run)
    assert len(shown) == 5
    last = shared_kernel.value("ids[-1]").strip("'")
    assert shown[-1][MIME]["run"]["id"] == last


def test_a_picture_is_not_part_of_what_a_task_cell_shows_again(shared_kernel: Any) -> None:
    """A task cell that calls a flow shows its run when it runs, and not when its result is reused."""
    shared_kernel.run("%load_ext prefect_nb\n" + FLOW)
    source = "%%task answering --cache always\nanswer = inner(21)\nprint(answer)"
    first = shared_kernel.run(source, cell_id="c1")
    again = shared_kernel.run(source, cell_id="c1")
    assert [p[MIME]["run"]["flow"] for p in pictures(first)] == ["inner"]
    assert "42" in again.text()
    assert not [p for p in pictures(again) if MIME in p]


def test_silence_is_a_variable(make_kernel: Callable[..., Any]) -> None:
    """PREFECT_NB_PROGRESS=0 shows nothing."""
    kernel = make_kernel(PREFECT_NB_PROGRESS="0")
    kernel.run("%load_ext prefect_nb\n" + FLOW)
    run = kernel.run("etl(2)")
    assert run.result == "(4, [0, 2])"
    assert not pictures(run)
