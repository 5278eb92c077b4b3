"""A run of functions alive in JupyterLab: its graph below the call, controls while the cell runs, maps opened."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from browser.lab_parts import Notebook
from browser.test_live import GATE, release

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]

FLOW = f"""
from prefect_nb import task, flow, unmapped
@task
def fetch(region, page):
    if page == 7:
        raise ValueError("page 7 is torn")
    print("read", region, page)
    return page
@task
def clean(x):
    return x + 1
@task(approve=True)
def publish(x):
    return x
@task
def hold():
    {GATE.format(name="go").strip().replace(chr(10), chr(10) + "    ")}
    return 1
@task
def never(x):
    import time
    while True:
        time.sleep(0.01)
@flow
def etl(region, pages=40):
    raw = fetch.map(unmapped(region), range(pages))
    good = clean.map(raw)
    return publish(hold())
@flow
def endless():
    return publish(never(1))
"""
CELLS = ["%load_ext prefect_nb", FLOW, 'etl("EU", 5)']


def test_controls_act_on_a_run_while_its_cell_runs(notebook: Open) -> None:
    """States turn while ``etl()`` holds its cell; Cancel run stops the body within it, and the cell says so."""
    nb = notebook(["%load_ext prefect_nb", FLOW, "endless()"])
    nb.run(0, 1)
    nb.start(2)
    nb.becomes("never", "Running")
    nb.becomes("publish", "Pending")
    assert nb.edges() == {("never", "publish")}
    button = nb.view().locator("button[data-action='cancel-run']")
    button.click()
    assert button.inner_text() == "Press again to cancel the run"
    button.click()
    nb.becomes("never", "Cancelled")
    nb.ended(2)
    assert "was cancelled" in nb.output(2)


def test_a_task_is_cancelled_and_the_run_resumed(notebook: Open) -> None:
    """A run that waits for a person ends its cell; Resume and Approve bring it to its end, in the same graph."""
    nb = notebook(CELLS)
    nb.run(0, 1)
    nb.start(2)
    nb.becomes("hold", "Running")
    nb.becomes("clean", "Success")

    release(nb, "go")
    nb.ended(2)
    assert "waits for a person: publish" in nb.output(2)
    nb.view().locator("button[data-action='resume-run']").click()
    nb.view().locator("button[data-action='cancel-run']").wait_for()
    nb.press("publish", "approve")
    nb.becomes("publish", "Success")
    nb.wait_for(lambda: nb.model()["run"]["state"] == "Success", "the saved picture of the end")
    assert not nb.view().locator("button[data-action='resume-run']").count()
    saved = nb.bundle(2)
    assert "etl: Success" in saved["image/svg+xml"]


def test_a_map_opens_to_its_children(notebook: Open) -> None:
    """A map's table filters, sorts, and opens a child with its own states, log and error, while the flow runs."""
    nb = notebook(["%load_ext prefect_nb", FLOW, 'etl("EU", 400)'])
    nb.run(0, 1)
    nb.start(2)
    nb.becomes("fetch", "Failed")
    pane = nb.pane("fetch")
    pane.locator("tr[data-child='0']").wait_for()
    assert pane.locator("tr[data-child]").count() <= 100, "only a window of 400 rows is there"
    pane.locator(".pnb-filter", has_text="Failed").click()
    pane.locator(".pnb-matched", has_text="1 of 400 items").wait_for()
    pane.locator("tr[data-child='7'] button").click()
    pane.locator("[data-section='error']", has_text="ValueError: page 7 is torn").wait_for()
    pane.locator("button[aria-label='Back to the map']").click()
    pane.locator(".pnb-filter", has_text="Failed").click()
    pane.locator("tr[data-child='20']").wait_for()
    pane.locator(".pnb-window").evaluate("node => node.scrollTo(0, node.scrollHeight)")
    pane.locator("tr[data-child='399'] button").click()
    pane.locator("[data-section='logs']", has_text="read EU 399").wait_for()
    release(nb, "go")
    nb.ended(2)


def test_views_search_and_filter(notebook: Open) -> None:
    """Timeline and List hold the graph's tasks; search and state filters dim in the graph and leave out elsewhere."""
    nb = notebook(CELLS)
    nb.run(0, 1)
    release(nb, "go")
    nb.run(2)
    view = nb.view()
    nodes = view.locator(".pnb-node").count()
    view.get_by_role("button", name="Timeline").click()
    assert view.locator(".pnb-barline").count() == nodes
    assert view.locator(".pnb-bar-box").count() == 3, "what has not run has no bar"
    view.get_by_role("searchbox", name="search tasks").fill("cle")
    assert view.locator(".pnb-barrow").all_inner_texts()[0].startswith("clean")
    assert view.locator(".pnb-barline").count() == 1
    view.get_by_role("button", name="List", exact=True).click()
    assert view.locator("tr[data-node]").count() == 1
    view.get_by_role("button", name="Graph", exact=True).click()
    assert view.locator(".pnb-node.pnb-dimmed").count() == nodes - 1
    view.get_by_role("searchbox", name="search tasks").press("Escape")
    assert view.locator(".pnb-node.pnb-dimmed").count() == 0
    view.locator(".pnb-filter[data-filter='Paused']").click()
    assert view.locator(".pnb-node:not(.pnb-dimmed)").get_attribute("data-node") == "publish"
