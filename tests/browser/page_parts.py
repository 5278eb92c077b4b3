"""The built renderer alone in a page, without Jupyter: models in, commands out. For tests and benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

from prefect_nb.views.model import EdgeView, NodeView, RunView, ViewModel

__all__ = ["AXE", "View", "many", "states"]

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "prefect_nb" / "static"
AXE = ROOT / "labextension" / "node_modules" / "axe-core" / "axe.min.js"

_MOUNT = """async ([code, model, theme]) => {
  document.body.className = theme;
  const url = URL.createObjectURL(new Blob([code], { type: 'text/javascript' }));
  const { default: widget } = await import(url);
  const hear = {};
  window.sent = [];
  window.tell = message => hear['msg:custom'](message);
  const el = document.getElementById('view');
  const began = performance.now();
  window.end = widget.render({ el, model: {
    get: () => model,
    on: (name, act) => { hear[name] = act; },
    off: () => undefined,
    send: content => window.sent.push(content)
  } });
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - began;
}"""
_TELL = """async message => {
  const began = performance.now();
  window.tell(message);
  const script = performance.now() - began;
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return [script, performance.now() - began];
}"""
TYPES = {
    "Success": "COMPLETED",
    "Cached": "COMPLETED",
    "Failed": "FAILED",
    "Running": "RUNNING",
    "Pending": "PENDING",
    "Paused": "PAUSED",
    "Skipped": "COMPLETED",
}


class View:
    """One view in a page.

    Parameters
    ----------
    page : Page
        The page; what it held is gone.
    model : ViewModel
        What is shown first.
    theme : {"light", "dark"}
        What the page is.
    """

    def __init__(self, page: Page, model: ViewModel, theme: str = "light") -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        style = (STATIC / "widget.css").read_text("utf-8")
        ground = "#15181b" if theme == "dark" else "#fff"
        page.goto("about:blank")
        page.set_content(
            f'<html lang="en"><head><title>flow</title><style>{style} body{{background:{ground}}}</style></head>'
            '<body><main id="view"></main></body></html>'
        )
        code = (STATIC / "widget.js").read_text("utf-8")
        self.painted_ms = float(page.evaluate(_MOUNT, [code, model.to_plain(), theme]))

    @property
    def root(self) -> Locator:
        """The view."""
        return self.page.locator(".pnb")

    def tell(self, message: dict[str, Any]) -> tuple[float, float]:
        """Send a message of the kernel's; milliseconds of script, and until the page has painted."""
        script, painted = self.page.evaluate(_TELL, message)
        return float(script), float(painted)

    def sent(self) -> list[dict[str, Any]]:
        """What the view sent to the kernel."""
        return list(self.page.evaluate("() => window.sent"))

    def answer(self, op: str, data: dict[str, Any]) -> None:
        """Answer the last command of a kind."""
        command = next(one for one in reversed(self.sent()) if one["op"] == op)
        self.tell({"op": "reply", "ok": True, "message": "", "nonce": command["nonce"], "data": data})


def states(count: int) -> list[str]:
    """States in turn."""
    names = list(TYPES)
    return [names[index % len(names)] for index in range(count)]


def many(count: int, *, width: int = 0, extra: int = 0, names: str = "task") -> ViewModel:
    """A flow of `count` tasks in layers; each waits for one of the layer above, and some for another."""
    width = width or max(2, int(count**0.5))
    nodes = [
        NodeView(
            id=f"{names}-{index}",
            label=f"{names}-{index}",
            kind="function",
            state=state,
            type=TYPES[state],
            duration_s=1.5 if state == "Success" else None,
            started_at=1000.0 + index,
            message="ValueError: torn" if state == "Failed" else "",
            actions=("why", "logs"),
        )
        for index, state in enumerate(states(count))
    ]
    edges = [
        EdgeView(nodes[index - width + (index * 7) % 3 - 1].id, nodes[index].id) for index in range(width + 1, count)
    ]
    edges += [
        EdgeView(nodes[index - 2 * width - index % 5].id, nodes[index].id)
        for index in range(3 * width, min(count, 3 * width + extra))
    ]
    run = RunView(id="r1", flow="many", state="Running", type="RUNNING", kind="function", actions=("cancel-run",))
    return ViewModel.of(1, run, nodes, edges)
