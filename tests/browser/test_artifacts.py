"""Artifacts on the page: drawn in the details of their node, moving while the cell runs, inert whatever they hold."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from browser.lab_parts import Notebook
from browser.page_parts import AXE, View
from browser.test_accessible import HOSTILE
from prefect_nb.views.model import NodeView, RunView, ViewModel, patch

pytestmark = pytest.mark.browser

SHOTS = os.environ.get("VIEW_SHOTS")
SVG = (
    "<svg xmlns='http://www.w3.org/2000/svg' width='160' height='60' onload='parent.hit=1'>"
    "<script>parent.hit=1;top.hit=1</script><image href='https://example.org/spy.png'/>"
    "<circle cx='30' cy='30' r='20' fill='#1257b8'/></svg>"
)
TEXT = """# Report
Sales **rose** by *4 %*, see [the list](https://example.org/list) or <https://example.org>.

- north, `a_b_c`
  - deeper
- south

1. first
2. second

> quoted

| region | sum |
|--------|----:|
| EU     | 12  |

```
x = 1 < 2
```
---
<b onmouseover="window.hit=1">not bold</b> ![a picture](https://example.org/spy.png) [x](javascript:window.hit=1)
"""
HEAD = {"attempt": 1, "at": 1.0}


def artifacts(text: str = TEXT) -> list[dict[str, Any]]:
    """One of each kind."""
    return [
        {**HEAD, "name": "report", "kind": "markdown", "text": text},
        {**HEAD, "name": "numbers", "kind": "table", "columns": ["region", "sum"], "rows": [["EU", "12"], ["US", "7"]]},
        {**HEAD, "name": "more", "kind": "link", "url": "https://example.org/more", "text": "All of them"},
        {**HEAD, "name": "plot", "kind": "image", "mime": "image/svg+xml", "alt": "a disc", "data": encoded(SVG)},
        {**HEAD, "name": "first", "kind": "progress", "share": 1.0, "words": "5 of 5", "cut": "and something cut"},
    ]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def running(share: float | None, text: str = "45 of 120 · loading") -> ViewModel:
    """A task that runs and tells how far it is."""
    progress = {"name": "second", "share": share, "text": text}
    one = NodeView(
        id="work", label="work", state="Running", type="RUNNING", attempt=1, progress=progress, actions=("why", "logs")
    )
    two = NodeView(id="other", label="other", state="Success", type="COMPLETED", attempt=1)
    return ViewModel.of(1, RunView(id="r1", flow="report", live=True), [one, two], ())


@pytest.fixture
def page(chromium: BrowserContext) -> Iterator[Page]:
    """A page of its own, without Jupyter, in which nothing may be loaded."""
    one = chromium.new_page()
    one.set_default_timeout(10_000)
    one.set_viewport_size({"width": 1000, "height": 1100})
    one.route("https://**", lambda route: one.evaluate("() => { window.hit = 'loaded'; }") or route.abort())
    yield one
    one.close()


def opened(view: View, shown: list[dict[str, Any]]) -> None:
    """Open the details of the task that runs."""
    view.page.locator(".pnb-node[data-node=work]").dispatch_event("click")
    view.page.wait_for_function("() => window.sent.some(m => m.op === 'details')")
    view.answer("details", {"task": "work", "states": [], "logs": [], "artifacts": shown})


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_kind_is_drawn(page: Page, theme: str) -> None:
    """Text, table, link, picture and progress are what they should be, by the rules of axe-core too, in both themes."""
    view = View(page, running(0.375), theme)
    opened(view, artifacts())
    pane = page.locator(".pnb-pane")
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/artifacts-{theme}.png")
        page.locator("[data-artifact=first]").scroll_into_view_if_needed()
        page.screenshot(path=f"{SHOTS}/artifacts-{theme}-end.png")
    assert pane.locator("[data-artifact=report] strong").inner_text() == "rose"
    assert pane.locator("[data-artifact=report] em").inner_text() == "4 %"
    assert pane.locator("[data-artifact=report] li li").inner_text() == "deeper"
    assert pane.locator("[data-artifact=report] td").all_inner_texts() == ["EU", "12"]
    assert pane.locator("[data-artifact=report] pre").inner_text() == "x = 1 < 2"
    assert pane.locator("[data-artifact=numbers] td").all_inner_texts() == ["EU", "12", "US", "7"]
    hrefs = [a.get_attribute("href") for a in pane.locator("figure a").all()]
    assert hrefs == [f"https://example.org{end}" for end in ("/list", "", "/spy.png", "/more")]
    assert pane.locator("img[alt='a disc']").evaluate("img => img.decode().then(() => img.naturalWidth)") == 160
    assert pane.locator("[data-artifact=first] [role=progressbar]").get_attribute("aria-valuenow") == "100"
    assert page.locator(".pnb-pane > .pnb-far").inner_text() == "45 of 120 · loading"
    assert page.evaluate("() => window.hit") is None
    assert not view.faults
    if AXE.is_file():
        page.add_script_tag(path=str(AXE))
        found = page.evaluate("() => axe.run(document.getElementById('view'))")
        bad = [v["id"] for v in found["violations"] if v["impact"] in ("serious", "critical")]
        assert not bad, found["violations"]


def test_progress_moves_and_changes_are_asked_for(page: Page) -> None:
    """A patch moves the bars of node and pane without a question; a changed artifact is asked for once a second."""
    old = running(0.25)
    view = View(page, old)
    opened(view, [])
    bar = page.locator("[data-node=work] .pnb-bar").nth(1)
    width = float(bar.get_attribute("width") or 0)
    asked = len([m for m in view.sent() if m["op"] == "details"])
    new = running(0.5, "60 of 120")
    new = ViewModel.of(2, new.run, new.nodes, new.edges)
    view.tell({"op": "patch", "patch": patch(old, new)})
    assert float(bar.get_attribute("width") or 0) == pytest.approx(2 * width)
    assert page.locator(".pnb-pane > .pnb-far [role=progressbar]").get_attribute("aria-valuenow") == "50"
    assert "60 of 120" in (page.locator(".pnb-node[data-node=work]").get_attribute("aria-label") or "")
    page.wait_for_timeout(1200)
    assert len([m for m in view.sent() if m["op"] == "details"]) == asked
    for seq in range(3, 8):
        from_ = new
        changed = NodeView.from_plain({**new.nodes[0].to_plain(), "artifacts": seq})
        new = ViewModel.of(seq, new.run, [changed, new.nodes[1]], new.edges)
        view.tell({"op": "patch", "patch": patch(from_, new)})
    page.wait_for_function(
        f"() => window.sent.filter(m => m.op === 'details').length === {asked + 1}", polling=50, timeout=5000
    )


def test_hostile_artifacts_run_nowhere(page: Page) -> None:
    """200 hostile strings as every part of every kind: no script, no markup of theirs, no address but the web's."""
    for start in range(0, len(HOSTILE), 50):
        shown: list[dict[str, Any]] = []
        for number, text in enumerate(HOSTILE[start : start + 50]):
            wrapped = f"[x]({text}) ![y]({text}) <{text}> **{text}** `{text}`\n# {text}\n- {text}\n\n"
            wrapped += f"|{text}|\n|---|\n|{text}|"
            head = {**HEAD, "cut": text}
            shown += [
                {**head, "name": f"{text}{number}", "kind": "markdown", "text": text},
                {**head, "name": f"m{number}", "kind": "markdown", "text": wrapped},
                {**head, "name": f"t{number}", "kind": "table", "columns": [text], "rows": [[text]]},
                {**head, "name": f"l{number}", "kind": "link", "url": text, "text": text},
                {**head, "name": f"i{number}", "kind": "image", "mime": text, "data": text, "alt": text},
                {
                    **head,
                    "name": f"s{number}",
                    "kind": "image",
                    "mime": "image/svg+xml",
                    "data": encoded(text),
                    "alt": text,
                },
                {**head, "name": f"p{number}", "kind": "progress", "share": None, "words": text},
                {**head, "name": f"u{number}", "kind": text},
            ]
        view = View(page, running(None, HOSTILE[start]))
        opened(view, shown)
        page.wait_for_timeout(50)
        assert page.evaluate("() => window.hit") is None
        assert page.locator(".pnb figure").count() == len(shown)
        foreign = (
            "script, iframe, details, math, form, style, [onmouseover], [onload], [onerror], [onfocus], [ontoggle]"
        )
        assert page.locator(f".pnb :is({foreign})").count() == 0
        for link in page.locator(".pnb a").all():
            assert link.evaluate(
                "a => /^(https?|mailto):/.test(new URL(a.getAttribute('href'), 'https://page.test/').href)"
            )
        for image in page.locator(".pnb img").all():
            assert (image.get_attribute("src") or "").startswith("data:image/svg+xml;base64,")
        assert not view.faults


def test_no_text_takes_long(page: Page) -> None:
    """Texts made to be slow to read are drawn at once."""
    view = View(page, running(0.5))
    opened(view, [])
    for part in ("[", "![", "**", "`", "_a", "*a", "<http://", "> " * 50, "|-", "- ", "\\", "[](", "~~"):
        text = (part * 65536)[:65536]
        took, _ = view.tell(
            {
                "op": "reply",
                "ok": True,
                "message": "",
                "nonce": [m for m in view.sent() if m["op"] == "details"][-1]["nonce"],
                "data": {"task": "work", "artifacts": [{**HEAD, "name": "x", "kind": "markdown", "text": text}]},
            }
        )
        assert took < 3000, part


def test_a_cell_shows_its_artifacts_while_it_runs(notebook: Callable[..., Notebook]) -> None:
    """In JupyterLab the pane of a running cell shows its texts and how far it is; they move, and stay in the end."""
    body = """%%task work
import pathlib, time
from prefect_nb import artifact
going = artifact.progress(1, 4, "loading")
text = artifact.markdown("**one**")
while not pathlib.Path("go").exists():
    time.sleep(0.02)
going.update(3)
text.update("**two**")
while not pathlib.Path("end").exists():
    time.sleep(0.02)
going.update(4)
"""
    nb = notebook(["%load_ext prefect_nb", "%flow", body])
    nb.run(0, 1)
    nb.start(2)
    nb.becomes("work", "Running")
    pane = nb.pane("work")
    pane.locator("strong", has_text="one").wait_for()
    pane.locator(".pnb-far", has_text="1 of 4 · loading").wait_for()
    (nb.path.parent / "go").touch()
    pane.locator("strong", has_text="two").wait_for()
    pane.locator(".pnb-far", has_text="3 of 4 · loading").wait_for()
    assert nb.state("work") == "Running"
    (nb.path.parent / "end").touch()
    nb.becomes("work", "Success")
    pane.locator("[data-artifact=progress-1]", has_text="4 of 4 · loading").wait_for()
