"""The view for everybody: rules of axe-core, the keyboard alone, forced colours and little motion; and hostile text."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from browser.page_parts import AXE, View, many
from prefect_nb.views.model import NodeView, ViewModel
from prefect_nb.views.svg import to_svg

pytestmark = pytest.mark.browser

GOLDEN = Path(__file__).parents[1] / "golden" / "flights.json"
SHOTS = os.environ.get("VIEW_SHOTS")
CHILDREN = {
    "task": "map",
    "total": 3,
    "matched": 3,
    "offset": 0,
    "counts": {"Success": 2, "Failed": 1},
    "strip": [["Success", 2], ["Failed", 1]],
    "rows": [
        {
            "id": f"map[{index}]#1",
            "index": index,
            "label": f"map[{index}]",
            "state": state,
            "type": kind,
            "attempt": 1,
            "attempts": 1,
            "duration_s": 0.5,
            "started_at": None,
            "message": "",
        }
        for index, (state, kind) in enumerate(
            [("Success", "COMPLETED"), ("Success", "COMPLETED"), ("Failed", "FAILED")]
        )
    ],
}


@pytest.fixture
def page(chromium: BrowserContext) -> Iterator[Page]:
    """A page of its own, without Jupyter."""
    one = chromium.new_page()
    one.set_default_timeout(10_000)
    yield one
    one.close()


def flights() -> ViewModel:
    """A notebook's flow with a map added."""
    model = ViewModel.from_plain(json.loads(GOLDEN.read_text("utf-8")))
    counts = {"Success": 2, "Failed": 1}
    one = NodeView(id="map", label="map", kind="function", state="Failed", type="FAILED", counts=counts)
    return ViewModel.of(model.seq, model.run, [*model.nodes, one], model.edges)


def shot(page: Page, name: str) -> None:
    """Keep a picture where somebody wants to look."""
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_fault_by_the_rules_of_axe(page: Page, theme: str) -> None:
    """Graph with details and an open map, Timeline, List and help break no serious or critical rule, light and dark."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm ci in labextension/")
    view = View(page, flights(), theme)
    page.add_script_tag(path=str(AXE))
    found: dict[str, Any] = {}

    def check(name: str) -> None:
        shot(page, f"axe-{name}-{theme}")
        faults = page.evaluate(
            "async () => (await axe.run('#view', {resultTypes: ['violations']})).violations"
            ".filter(v => ['serious', 'critical'].includes(v.impact))"
            ".map(v => [v.id, v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? ''))])"
        )
        if faults:
            found[name] = faults

    check("graph")
    view.root.locator("[data-node='map']").dispatch_event("click")
    page.wait_for_function("() => window.sent.some(m => m.op === 'children')")
    view.answer("children", CHILDREN)
    view.root.locator("tr[data-child='2']").wait_for()
    check("map")
    view.root.get_by_role("button", name="Keys").click()
    for mode in ("Timeline", "List"):
        view.root.get_by_role("button", name=mode, exact=True).click()
        check(mode.lower())
    assert not found, json.dumps(found, indent=1)
    assert not view.faults


def test_everything_is_reached_by_the_keyboard(page: Page) -> None:
    """One tab stop for the graph, arrows along it, Enter opens, Escape closes, a slash searches."""
    view = View(page, flights())
    assert page.locator(".pnb-graph [tabindex='0']").count() == 1
    page.locator(".pnb-graph [tabindex='0']").focus()
    first = page.evaluate("() => document.activeElement.dataset.node")
    page.keyboard.press("ArrowDown")
    second = page.evaluate("() => document.activeElement.dataset.node")
    assert second != first
    page.keyboard.press("Enter")
    assert view.root.locator(".pnb-pane h3").inner_text() == second
    page.keyboard.press("Escape")
    assert view.root.locator(".pnb-pane").is_hidden()
    assert page.evaluate("() => document.activeElement.dataset.node") == second
    page.keyboard.press("/")
    page.keyboard.type("map")
    page.keyboard.press("Enter")
    assert view.root.locator(".pnb-pane h3").inner_text() == "map"


def test_motion_and_colours_follow_the_person(chromium: BrowserContext) -> None:
    """Little motion stops the moving borders, and forced colours paint with the system's."""
    browser = chromium.browser
    assert browser is not None
    context = browser.new_context(reduced_motion="reduce", forced_colors="active")
    try:
        page = context.new_page()
        View(page, many(8))
        moving = page.locator(".pnb-node[data-tone='running'] > .pnb-box").first
        assert moving.evaluate("node => getComputedStyle(node).animationName") == "none"
        fill = moving.evaluate("node => getComputedStyle(node).fill")
        canvas = page.evaluate(
            "() => { const d = document.createElement('div'); d.style.background = 'Canvas';"
            " document.body.append(d); return getComputedStyle(d).backgroundColor; }"
        )
        assert fill == canvas
    finally:
        context.close()


_SEEDS = [
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    '"><svg onload=window.hit=1>',
    "'onfocus='window.hit=1' autofocus='",
    "javascript:window.hit=1",
    "</title><script>window.hit=1</script>",
    "</style><script>window.hit=1</script>",
    "${window.hit=1}",
    "{{constructor.constructor('window.hit=1')()}}",
    "]]><script>window.hit=1</script>",
    "<iframe srcdoc='<script>parent.hit=1</script>'>",
    "<a href='javascript:window.hit=1'>x</a>",
    "\u202e<script>window.hit=1</script>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=window.hit=1>",
    "<details open ontoggle=window.hit=1>",
    "&lt;script&gt;window.hit=1&lt;/script&gt;",
    "\x1b]0;x\x07<b onmouseover=window.hit=1>",
    "<x" * 40 + " onclick=window.hit=1>",
    "a" * 4000,
    "__proto__",
]
HOSTILE = [
    f"{head}{seed}" for seed in _SEEDS for head in ("", "x ", "\n", "'\"", "<!--", "\\", "\u0000", "%00", "`", ">")
]


def test_hostile_text_runs_nowhere(page: Page) -> None:
    """200 hostile strings as names, messages, reasons, logs and errors, on every surface: no script, no markup."""
    assert len(HOSTILE) == 200
    for start in range(0, len(HOSTILE), 50):
        part = HOSTILE[start : start + 50]
        nodes = [
            NodeView(
                id=f"{text}{index}",
                label=text,
                kind="function",
                state="Failed",
                type="FAILED",
                message=text,
                reason=text,
            )
            for index, text in enumerate(part)
        ]
        plain = flights()
        run = replace(plain.run, flow=part[0], message=part[1], kind="function")
        model = ViewModel.of(1, run, [*nodes, replace(nodes[0], id="open", counts={"Failed": 3})], ())
        view = View(page, model)
        page.locator(".pnb-node").last.dispatch_event("click")
        page.wait_for_function("() => window.sent.some(m => m.op === 'children')")
        row = CHILDREN["rows"][0]  # type: ignore[index]
        view.answer("children", {**CHILDREN, "rows": [{**row, "index": i, "message": t} for i, t in enumerate(part)]})
        lines = [{"stream": text, "text": text, "at": 1.0, "attempt": 1} for text in part]
        story = {
            "task": "open",
            "states": [{"name": text, "at": 1.0, "message": text, "attempt": 1} for text in part],
            "logs": lines,
            "logs_cut": 0,
            "key": [{"part": text, "value": text, "changed": True} for text in part],
            "reason": part[2],
            "error": {"type": part[3], "message": part[4], "traceback": part[5]},
            "inputs": part,
            "outputs": part,
        }
        view.answer("details", story)
        for mode in ("Timeline", "List", "Graph"):
            view.root.get_by_role("button", name=mode, exact=True).click()
        page.evaluate(
            "svg => { const at = document.createElement('div'); at.innerHTML = svg; document.body.append(at); }",
            to_svg(model),
        )
        page.wait_for_timeout(50)
        assert page.evaluate("() => window.hit") is None
        foreign = "script, img, iframe, a, details, math, b[onmouseover], [onload], [onerror], [onfocus], [autofocus]"
        assert page.locator(f".pnb :is({foreign})").count() == 0
        assert not view.faults
    assert page.locator(".pnb").evaluate("node => node.scrollWidth <= node.clientWidth + 1"), "nothing bursts the view"


def test_ten_thousand_tasks_stay_few_elements(page: Page) -> None:
    """10,000 tasks are drawn as groups; Timeline and List hold what is in sight; a group tells its members."""
    view = View(page, many(10_000))
    shot(page, "ten-thousand")
    assert page.locator(".pnb-node").count() <= 150
    view.root.get_by_role("button", name="Timeline").click()
    assert 10 < page.locator(".pnb-barline").count() < 120
    shot(page, "ten-thousand-timeline")
    page.locator(".pnb-rows").evaluate("node => node.scrollTo(0, node.scrollHeight)")
    page.locator(".pnb-barline[data-node='task-9999']").wait_for()
    view.root.get_by_role("button", name="List", exact=True).click()
    assert 10 < page.locator("tr[data-node]").count() < 120
    page.locator(".pnb-list").evaluate("node => node.scrollTo(0, node.scrollHeight)")
    page.locator("tr[data-node='task-9999']").wait_for()
    view.root.get_by_role("button", name="Graph", exact=True).click()
    page.locator(".pnb-node").nth(3).dispatch_event("click")
    page.locator("tr[data-child='0']").wait_for()
    shot(page, "ten-thousand-group")
    before = page.locator(".pnb-node").count()
    page.locator("button[data-action='unfold']").click()
    assert page.locator(".pnb-node").count() > before
    assert not view.faults
