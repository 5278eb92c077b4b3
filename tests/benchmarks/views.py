"""What the views cost, measured: layout, pictures, first paint and patches; printed, nothing is asserted.

The page part needs a Chromium and Python's playwright, the layout part Node and `npm run build` in ``labextension/``.
Times of Python and of the layout are processor time, medians; those of the page are its own clock until it has painted,
the least of several, because few machines are quiet.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser.lab_parts import CHROMIUM  # noqa: E402
from browser.page_parts import View, many  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

from prefect_nb.views.cards import arrange  # noqa: E402
from prefect_nb.views.fold import fold  # noqa: E402
from prefect_nb.views.model import ViewModel, patch  # noqa: E402
from prefect_nb.views.svg import to_svg  # noqa: E402

__all__ = ["measure"]

_LAYOUT = """
import { arrange } from '%(lib)s/cards.js';
import { fold } from '%(lib)s/fold.js';
let text = '';
for await (const piece of process.stdin) text += piece;
const model = JSON.parse(text);
const times = { layout: [], fold: [] };
for (let turn = 0; turn < 5; turn++) {
  let began = process.cpuUsage();
  arrange(model, 'down');
  times.layout.push(process.cpuUsage(began).user / 1000);
  began = process.cpuUsage();
  fold(model);
  times.fold.push(process.cpuUsage(began).user / 1000);
}
for (const [name, all] of Object.entries(times)) console.log(name, all.sort((a, b) => a - b)[2]);
"""
_CLICK = """async name => {
  const at = [...document.querySelectorAll('.pnb button, .pnb-node')]
    .find(one => one.textContent === name || one.getAttribute('aria-label')?.startsWith(name));
  const began = performance.now();
  at.dispatchEvent(new MouseEvent('click', { bubbles: true }));
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - began;
}"""


def _cpu_ms(what: Callable[[], object], turns: int = 5) -> float:
    times = []
    for _ in range(turns):
        began = time.process_time()
        what()
        times.append((time.process_time() - began) * 1000)
    return statistics.median(times)


def _told(name: str, found: float, limit: float | None = None) -> None:
    aim = f"   at most {limit:4.0f}" if limit is not None else ""
    print(f"views, {name:52} {found:8.1f} ms{aim}")


def measure(folder: Path) -> None:
    """Print all of it."""
    large, middle = many(10_000, extra=4_500), many(500)
    lib = ROOT / "labextension" / "packages" / "view" / "lib"
    if shutil.which("node") and (lib / "fold.js").is_file():
        script = folder / "layout.mjs"
        script.write_text(_LAYOUT % {"lib": lib.as_uri()})
        said = subprocess.run(
            ["node", str(script)], input=json.dumps(large.to_plain()), text=True, capture_output=True, check=True
        ).stdout
        for line in said.splitlines():
            name, found = line.split()
            _told(f"{name} of 10,000 tasks in JavaScript", float(found), 300 if name == "layout" else 100)
    _told("static SVG of 500 tasks (processor time)", _cpu_ms(lambda: to_svg(middle)), 50)
    _told("layout alone of 500 tasks, not folded, in Python", _cpu_ms(lambda: arrange(middle)))
    _told("static SVG of 10,000 tasks (processor time)", _cpu_ms(lambda: to_svg(large), 3))
    _told("folding of 10,000 tasks in Python", _cpu_ms(lambda: fold(large), 3))
    _page(large, middle)


def _page(large: ViewModel, middle: ViewModel) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        View(page, many(5))
        models = {"150 tasks": (many(150), 40), "500 tasks": (middle, 40), "10,000 tasks": (large, 100)}
        for name, (model, _) in models.items():
            found = min(View(page, model).painted_ms for _ in range(4))
            _told(f"first paint of {name}", found, None if model is large else 300)
        for name, (model, limit) in models.items():
            view, times, old = View(page, model), [], model
            for turn in range(8):
                nodes = list(old.nodes)
                for index in range(turn, min(len(nodes), 100 * 7), 7):
                    nodes[index] = replace(nodes[index], state="Running", type="RUNNING", attempt=turn + 1)
                new = ViewModel.of(old.seq + 1, old.run, nodes, old.edges)
                times.append(view.tell({"op": "patch", "patch": patch(old, new), "run": "r1"})[1])
                old = new
            _told(f"patch of up to 100 states among {name}", min(times), limit)
        clicks = ("Timeline", "List", "Failed", "Graph", "task (100)")
        rounds = [[float(page.evaluate(_CLICK, name)) for name in clicks] for _ in range(5)]
        for index, name in enumerate(clicks):
            _told(f"click on {name} at 10,000 tasks", min(times[index] for times in rounds), 100)
        browser.close()
