"""What outlives a page, a kernel and a session: the view after a reload, a restart, a save; and pages without us."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from browser.lab_parts import Lab, Notebook

pytestmark = pytest.mark.browser
Open = Callable[..., Notebook]

START = ["%load_ext prefect_nb", "%flow"]
CELLS = [*START, "%%task one\nprint('computed one')\na = 1", "%%task two\nb = a + 1"]
MIME = "application/vnd.prefect-nb.flow+json"


def test_a_reload_finds_the_view_and_keeps_it_alive(notebook: Open) -> None:
    """After a reload of the page the view is there with its states, and goes on turning."""
    nb = notebook([*CELLS, "%%task three\nc = b + 1"], another_page=True)
    nb.run(0, 1, 2, 3)
    nb.save()
    nb.reload()
    nb.becomes("two", "Success")
    assert nb.state("three") == "Pending"
    nb.run(4)
    nb.becomes("three", "Success")
    assert not nb.view().locator(".pnb-banner").is_visible()
    nb.pane("three").locator("[data-section=history]").wait_for()


def test_a_restart_greys_the_view_and_loses_nothing(notebook: Open) -> None:
    """A restarted kernel's view is grey and says why; the old states stay; running all again computes nothing."""
    nb = notebook([*CELLS, "%%task three\nc = b + 1"])
    nb.run(0, 1, 2, 3, 4)
    nb.becomes("three", "Success")
    nb.restart()
    nb.view().locator(".pnb-banner", has_text="Kernel restarted").wait_for()
    assert "pnb-stale-view" in (nb.view().get_attribute("class") or "")
    assert nb.state("two") == "Success"
    nb.run(0)
    assert "pnb-stale-view" in (nb.view().get_attribute("class") or "")
    nb.run(2)
    nb.until("!document.querySelector('.pnb-stale-view')")
    assert "finished before the restart" in nb.output(2)
    assert "computed one" in nb.output(2)
    nb.run_all()
    for number, task in ((2, "one"), (3, "two"), (4, "three")):
        assert re.search("finished before the restart|from cache", nb.output(number)), nb.output(number)
        assert nb.state(task) in ("Success", "Cached")


def test_the_saved_notebook_holds_a_picture(notebook: Open, lab: Lab) -> None:
    """Saved, the output is our model, an accessible SVG without script, and text, shown without kernel and in HTML."""
    nb = notebook(CELLS)
    nb.run(0, 1, 2, 3)
    nb.becomes("two", "Success")
    nb.wait_for(lambda: all(n["state"] == "Success" for n in nb.model()["nodes"]), "the final states in the document")
    saved = nb.save()
    data = next(o["data"] for o in saved["cells"][1]["outputs"] if MIME in o.get("data", {}))
    svg = "".join(data["image/svg+xml"])
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") or root.get("aria-labelledby")
    assert not re.search(r"<script|<foreignObject|\son\w+=|href=|url\((?!#)", svg)
    assert "two" in "".join(data["text/plain"])
    assert "Success" in "".join(data["text/plain"])
    nb.close()
    lab.end_kernels()
    again = notebook(nb.path, kernel=False)
    again.becomes("two", "Success")
    page = nb.path.with_suffix(".html")
    done = subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "html", "--output", str(page), str(nb.path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    pictures = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page.read_text("utf-8"))
    assert ">two<" in b64decode(pictures[0]).decode()


def test_two_tabs_show_the_same_and_both_steer(notebook: Open, lab: Lab) -> None:
    """Two tabs on one kernel turn together; a cancel from the second stops a cell that the first one started."""
    nb = notebook([*START, "%%task stuck\nwhile True:\n    pass", "%%task next\nn = 1"])
    nb.run(0, 1)
    nb.save()
    other = notebook(nb.path, another_page=True)
    other.becomes("stuck", "Pending")
    nb.start(2)
    other.becomes("stuck", "Running")
    other.press("stuck", "cancel")
    other.becomes("stuck", "Cancelled")
    nb.becomes("stuck", "Cancelled")
    nb.ended(2)
    nb.run(3)
    other.becomes("next", "Success")


def test_stop_ends_a_retry_wait(notebook: Open) -> None:
    """The notebook's own Stop button during a wait between two attempts cancels the task; the kernel goes on."""
    nb = notebook([*START, "%%task again --retries 3 --delay 60\nraise OSError('no')", "%%task next\nn = 1"])
    nb.run(0, 1)
    nb.start(2)
    nb.becomes("again", "Retrying")
    nb.js("void app.commands.execute('notebook:interrupt-kernel');")
    nb.becomes("again", "Cancelled")
    nb.ended(2)
    nb.run(3)
    nb.becomes("next", "Success")


@pytest.fixture
def bare_lab(tmp_path: Path) -> Iterator[Lab]:
    """A server where our lab extension is switched off."""
    server = Lab(tmp_path / "bare", extension=False)
    yield server
    server.close()


def test_pages_without_the_extension_have_a_picture_and_a_widget(notebook: Open, bare_lab: Lab) -> None:
    """Without the lab extension %flow is a picture that follows, and the widget is alive with buttons that act."""
    cells = ["%load_ext prefect_nb", "%flow", "%flow widget", "%%task one\na = 1", "%%task two\nb = a + 1"]
    nb = notebook(cells, server=bare_lab, another_page=True)
    nb.run(0, 1, 2, 3, 4)
    nb.page.locator(".jp-RenderedSVG svg, .jp-RenderedSVG img").first.wait_for()
    nb.becomes("two", "Success")
    nb.wait_for(lambda: "Success" in "".join(nb.bundle(1)["image/svg+xml"]), "the picture to follow")
    nb.press("two", "invalidate")
    nb.view().locator(".pnb-node[data-node='two'][aria-label*='out of date']").wait_for(state="attached")
    nb.press("two", "run")
    nb.view().locator("[aria-live]", has_text="now run the cell of two").wait_for(state="attached")
    nb.run(4)
    nb.view().locator(".pnb-node[data-node='two']:not([aria-label*='out of date'])").wait_for(state="attached")
    assert json.loads(nb.js("return JSON.stringify(cells[4].model.executionCount)")) == 6
