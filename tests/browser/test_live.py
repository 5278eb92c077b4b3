"""A flow alive in JupyterLab: states turn while cells run, and every control acts at once."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from browser.lab_parts import Notebook

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]

START = ["%load_ext prefect_nb", "%flow"]
GATE = """
import pathlib, time
while not pathlib.Path({name!r}).exists():
    time.sleep(0.02)
"""
"""A body that runs until a test lets it go on."""


def gate(name: str, header: str, rest: str = "") -> str:
    return f"{header}{GATE.format(name=name)}{rest}"


def release(notebook: Notebook, name: str) -> None:
    (notebook.path.parent / name).touch()


def test_a_node_turns_while_its_cell_runs(notebook: Open) -> None:
    """A graph shown before anything ran has all tasks; one is Running while its cell runs, then Success with a time."""
    nb = notebook([*START, gate("go", "%%task one", "a = 1"), "%%task two\nb = a + 1"])
    nb.run(0, 1)
    nb.becomes("one", "Pending")
    nb.becomes("two", "Pending")
    nb.start(2)
    nb.becomes("one", "Running")
    assert nb.js("return cells[2].node.dataset.prefectNbState") == "Running"
    assert nb.state("two") == "Pending"
    release(nb, "go")
    nb.becomes("one", "Success")
    assert "one: completed," in (nb.node("one").get_attribute("aria-label") or "")
    nb.run(3)
    nb.becomes("two", "Success")
    assert nb.edges() == {("one", "two")}
    nb.run(3)
    nb.becomes("two", "Cached")


def test_cancel_stops_a_running_cell(notebook: Open) -> None:
    """The graph's Cancel stops a body of any kind within two seconds; the next cell runs as if nothing had been."""
    bodies = {
        "spinning": "while True:\n    pass",
        "sleeping": "import time\ntime.sleep(60)",
        "awaiting": "import asyncio\nawait asyncio.sleep(60)",
    }
    stuck = [f"%%task {name}\n{body}" for name, body in bodies.items()]
    nb = notebook([*START, *stuck, "%%task after\nx = 6 * 7", "print('plain', x)"])
    nb.run(0, 1)
    for number, name in enumerate(bodies, 2):
        nb.start(number)
        nb.becomes(name, "Running")
        began = time.monotonic()
        nb.press(name, "cancel")
        nb.becomes(name, "Cancelled", limit=5000)
        assert time.monotonic() - began < 2, name
        nb.ended(number)
    nb.run(5, 6)
    nb.becomes("after", "Success")
    assert nb.output(6).strip() == "plain 42"


def test_skip_and_invalidate_act_while_a_cell_runs(notebook: Open) -> None:
    """While a cell runs, another's result is declared void and a queued one is skipped; its body never runs."""
    nb = notebook(
        [
            *START,
            "%%task early\ne = 1",
            gate("go", "%%task busy", "b = 1"),
            "%%task queued\nopen('ran', 'w').close()\nq = 1",
            "%%task later\nz = b + 1",
            "%%task needs\nn = q + 1",
        ]
    )
    nb.run(0, 1, 2)
    nb.start(3, 4, 5)
    nb.becomes("busy", "Running")
    nb.press("queued", "skip")
    nb.becomes("queued", "Skipped")
    nb.press("early", "invalidate")
    nb.view().locator(".pnb-node[data-node='early'][aria-label*='out of date']").wait_for(state="attached")
    assert nb.state("busy") == "Running"
    release(nb, "go")
    nb.ended(5)
    nb.becomes("later", "Success")
    assert nb.state("queued") == "Skipped"
    assert "Skipped" in nb.output(4)
    assert not (nb.path.parent / "ran").exists()
    nb.run(6)
    nb.becomes("needs", "Skipped")
    nb.run(2)
    nb.becomes("early", "Success")
    nb.run(4)
    nb.becomes("queued", "Success")


def test_run_and_retry_execute_the_right_cells(notebook: Open) -> None:
    """Run, run downstream and retry execute cells in the page: the output lands below the very cell."""
    nb = notebook(
        [
            *START,
            "%%task one\nprint('body one', 1)\na = 1",
            "%%task two\nprint('body two')\nb = a + 1",
            "%%task other\nc = 1",
            "%%task flaky\nimport os\nif not os.path.exists('fixed'):\n    raise OSError('not yet')\nprint('is well')",
        ]
    )
    nb.run(0, 1)
    nb.press("two", "run")
    nb.until("cells[3].model.executionCount")
    nb.ended(3)
    nb.becomes("two", "Success")
    assert "body two" in nb.output(3)
    assert nb.count(2) == 0  # its result was needed, its cell was not executed
    before = nb.count(3)
    nb.press("one", "run-downstream")
    nb.until("cells[3].model.executionCount > argument", before)
    nb.ended(3)
    assert "body one 1" in nb.output(2)
    assert nb.count(4) == 0
    nb.run(5)
    nb.becomes("flaky", "Failed")
    (nb.path.parent / "fixed").touch()
    before = nb.count(5)
    nb.press("flaky", "retry")
    nb.until("cells[5].model.executionCount > argument", before)
    nb.becomes("flaky", "Success")
    nb.ended(5)
    assert nb.output(5).strip() == "is well"


def test_details_tell_a_task_s_story(notebook: Open) -> None:
    """A click shows states, the log of each attempt, why it ran, the parts of its key, and an error's traceback."""
    nb = notebook(
        [
            *START,
            "%%task source\nn = 3",
            "%%task story --retries 2 --delay 0.1\nimport os\nopen('tries', 'a').write('x')\n"
            "print('try', size := os.path.getsize('tries'))\nif size < 2:\n    raise ValueError('too early')\nm = n",
            "%%task broken\ndef inner():\n    return 1 / (n - n)\ninner()",
        ]
    )
    nb.run(0, 1, 2, 3, 4)
    pane = nb.pane("story")
    pane.locator("[data-section=history]").wait_for()
    history = pane.locator("[data-section=history] li b").all_inner_texts()
    assert history[-1] == "Success"
    assert history.count("Running") == 2
    assert "Retrying" in history
    assert "try 1" in pane.locator("[data-section=logs]").inner_text()
    assert "try 2" in pane.locator("[data-section=logs]").inner_text()
    assert "input n" in pane.locator("[data-section=key]").inner_text()
    assert pane.locator("[data-section=why] p").inner_text()
    nb.node("broken").click()
    pane.locator("[data-section=error]").wait_for()
    assert "ZeroDivisionError" in pane.locator("[data-section=error]").inner_text()
    assert "in inner" in pane.locator("pre").first.inner_text()


def test_order_and_freshness_follow_the_document(notebook: Open) -> None:
    """Edges follow the order of cells, not of execution; an edit marks the cell and its dependants as it is typed."""
    nb = notebook(
        [
            *START,
            "%%task first\nv = 1",
            "%%task reader\nr = v * 10",
            "%%task second\nv = 2",
            "%%task last\nw = v * 100",
            "factor = 2",
            "%%task scaled\ns = factor * v",
        ]
    )
    nb.run(0, 1, 4, 5, 2, 3)
    nb.becomes("reader", "Success")
    nb.wait_for(lambda: nb.model()["run"]["order_known"], "the document's order")
    assert nb.edges() >= {("first", "reader"), ("second", "last")}
    assert ("second", "reader") not in nb.edges()
    nb.run(6, 7)

    def badges() -> dict[str, str]:
        return {n["id"]: n["freshness"] for n in nb.model()["nodes"]}

    nb.wait_for(lambda: set(badges().values()) == {"fresh"}, "everything fresh")
    nb.edit(2, "%%task first\nv = 5")
    nb.wait_for(lambda: badges()["reader"] == "stale-input", "the reader marked")
    assert badges() == {
        "first": "stale-code",
        "reader": "stale-input",
        "second": "fresh",
        "last": "fresh",
        "scaled": "fresh",
    }
    assert nb.js("return cells[2].node.hasAttribute('data-prefect-nb-stale')")
    nb.edit(2, "%%task first\nv = 1  # as it was")
    nb.wait_for(lambda: set(badges().values()) == {"fresh"}, "the edit undone")
    nb.edit(6, "factor = 3")
    nb.wait_for(lambda: badges()["scaled"] == "stale-input", "the plain cell's reader marked")
    nb.run(6)
    nb.wait_for(lambda: badges()["scaled"] == "stale-input", "still marked: the value is another one")
    nb.run(7)
    nb.wait_for(lambda: set(badges().values()) == {"fresh"}, "everything fresh again")
