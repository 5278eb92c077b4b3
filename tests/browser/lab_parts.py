"""A real JupyterLab on loopback and a browser page in it, for tests; everything lies in directories of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Locator, Page

__all__ = ["Lab", "Notebook", "kernel_env", "write"]

ROOT = Path(__file__).parents[2]
CHROMIUM = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-sync", "--disable-component-update", "--disable-dev-shm-usage"),
]
LIMIT = 30_000
"""Milliseconds that anything in the browser may take."""


class Lab:
    """A JupyterLab server that ends with its test session.

    Parameters
    ----------
    home : Path
        Everything that it reads and writes lies below.
    extension : bool
        Whether it has our lab extension: the tree's own build, never an installed copy.
    """

    def __init__(self, home: Path, *, extension: bool = True) -> None:
        self.root = home / "root"
        self.root.mkdir(parents=True)
        own = {name: home / name for name in ("config", "data", "runtime", "settings", "workspaces", "ipython")}
        for folder in own.values():
            folder.mkdir()
        news = own["settings"] / "@jupyterlab" / "apputils-extension"
        news.mkdir(parents=True)
        (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
        (own["data"] / "labextensions").mkdir()
        if extension:
            (own["data"] / "labextensions" / "prefect_nb").symlink_to(ROOT / "prefect_nb" / "labextension")
        else:
            (own["config"] / "labconfig").mkdir()
            off = {"disabledExtensions": {"prefect_nb": True}}
            (own["config"] / "labconfig" / "page_config.json").write_text(json.dumps(off))
        self.settings = own["settings"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        env = kernel_env() | {
            "JUPYTER_PREFER_ENV_PATH": "0",
            "JUPYTER_CONFIG_DIR": str(own["config"]),
            "JUPYTER_DATA_DIR": str(own["data"]),
            "JUPYTER_RUNTIME_DIR": str(own["runtime"]),
            "JUPYTERLAB_SETTINGS_DIR": str(own["settings"]),
            "JUPYTERLAB_WORKSPACES_DIR": str(own["workspaces"]),
            "IPYTHONDIR": str(own["ipython"]),
        }
        options = [
            "--no-browser --allow-root --ip=127.0.0.1 --ServerApp.port_retries=0 --IdentityProvider.token=",
            "--ServerApp.password= --ServerApp.disable_check_xsrf=True --LabApp.expose_app_in_browser=True",
            f"--LabApp.extension_manager=readonly --port={port} --ServerApp.root_dir={self.root}",
        ]
        self.log = home / "server.log"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *" ".join(options).split()],
            env=env,
            cwd=self.root,
            stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._wait()

    def _wait(self) -> None:
        ends = time.monotonic() + 60
        while time.monotonic() < ends and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/api/status", timeout=2):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"JupyterLab did not start:\n{self.log.read_text()[-3000:]}")

    def api(self, method: str, path: str) -> Any:
        """Ask the server itself, past the page."""
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def end_kernels(self) -> None:
        """Shut every kernel down, so that tests share nothing."""
        for session in self.api("GET", "sessions"):
            self.api("DELETE", f"sessions/{session['id']}")

    def close(self) -> None:
        """Stop the server; its kernels end with it."""
        self.end_kernels()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)


def kernel_env() -> dict[str, str]:
    """The environment of a kernel that imports this tree and does not know that it is tested."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return inherited | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}


def write(path: Path, cells: Sequence[str], outputs: dict[int, list[Any]] | None = None) -> Path:
    """A notebook with these code cells; their ids are c0, c1, and so on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, source in enumerate(cells):
        notebook.cells.append(nbformat.v4.new_code_cell(source, id=f"c{number}"))
    nbformat.write(notebook, path)
    return path


class Notebook:
    """One notebook in one browser page, driven as a person would.

    Parameters
    ----------
    page : Page
        An empty page.
    lab : Lab
        The server.
    path : Path
        The notebook below the server's root.
    """

    def __init__(self, page: Page, lab: Lab, path: Path) -> None:
        self.page, self.lab, self.path = page, lab, path
        self.noise: list[str] = []
        page.on("pageerror", lambda error: self.noise.append(str(error)))
        page.set_default_timeout(LIMIT)

    def open(self, *, kernel: bool = True) -> Notebook:
        """Open it in JupyterLab and wait until its kernel can take cells."""
        where = self.path.relative_to(self.lab.root).as_posix()
        if not self.page.url.startswith(f"{self.lab.url}/lab"):
            self.page.goto(f"{self.lab.url}/lab?reset")
            self.page.wait_for_selector(".jp-Launcher")
            self.page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
        open_it = "window.jupyterapp.commands.execute('docmanager:open', argument)"
        wish = {"path": where, **({} if kernel else {"kernel": {"shouldStart": False, "autoStartDefault": False}})}
        self.page.evaluate(f"argument => {{ void {open_it}; }}", wish)
        self.until("panel?.context?.path === argument && cells?.length", where)
        if kernel:
            self.idle()
        return self

    def close(self) -> None:
        """Close it without saving."""
        self.page.evaluate("() => { for (const w of [...window.jupyterapp.shell.widgets('main')]) w.dispose(); }")

    def reload(self) -> None:
        """Press the browser's button; JupyterLab opens what was open."""
        where = self.path.relative_to(self.lab.root).as_posix()
        self.page.goto(f"{self.lab.url}/lab/tree/{where}?reset")
        self.until("panel?.context?.path === argument && cells?.length", where)
        self.idle()

    def js(self, body: str, argument: Any = None) -> Any:
        """Run JavaScript with ``panel``, ``cells`` and ``app`` at hand."""
        return self.page.evaluate(
            "argument => { const app = window.jupyterapp; const panel = app.shell.currentWidget;"
            f" const cells = panel.content.widgets; {body} }}",
            argument,
        )

    def until(self, body: str, argument: Any = None, *, limit: int = LIMIT) -> None:
        """Wait until a JavaScript expression (with ``panel`` and ``cells``) is true."""
        self.page.wait_for_function(
            "argument => { const panel = window.jupyterapp?.shell.currentWidget;"
            f" const cells = panel?.content?.widgets; return {body}; }}",
            arg=argument,
            timeout=limit,
        )

    def idle(self) -> None:
        """Wait until the kernel has nothing to do."""
        self.until("panel?.sessionContext?.session?.kernel?.status === 'idle'")

    def start(self, *numbers: int) -> None:
        """Execute cells, by their numbers from 0, without waiting for them."""
        for number in numbers:
            self.js(
                "panel.content.activeCellIndex = argument; panel.content.deselectAll();"
                " void app.commands.execute('notebook:run-cell');",
                number,
            )

    def run(self, *numbers: int) -> None:
        """Execute cells one after the other, each to its end."""
        for number in numbers:
            self.start(number)
            self.ended(number)

    def ended(self, number: int) -> None:
        """Wait for the end of the last execution of a cell."""
        self.until("cells[argument].model.executionState === 'idle' && cells[argument].model.executionCount", number)

    def run_all(self) -> None:
        """Execute every cell and wait for the last."""
        self.js("void app.commands.execute('notebook:run-all-cells');")
        self.page.wait_for_timeout(100)
        self.until("cells.every(c => c.model.type !== 'code' || c.model.executionState === 'idle')", limit=120_000)

    def edit(self, number: int, source: str) -> None:
        """Type a new source into a cell."""
        self.js("cells[argument[0]].model.sharedModel.setSource(argument[1]);", [number, source])

    def count(self, number: int) -> int:
        """The execution count of a cell."""
        return int(self.js("return cells[argument].model.executionCount ?? 0;", number))

    def output(self, number: int) -> str:
        """All that a cell shows below itself, as text."""
        return str(self.js("return cells[argument].outputArea.node.innerText;", number))

    def bundle(self, number: int) -> dict[str, Any]:
        """The MIME bundle of a cell's first output that has several forms."""
        outputs = self.js("return cells[argument].model.outputs.toJSON();", number)
        return dict(next(o["data"] for o in outputs if "data" in o))

    def save(self) -> dict[str, Any]:
        """Save it; the notebook as it then lies on the disk."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.context.save()")
        saved: dict[str, Any] = json.loads(self.path.read_text("utf-8"))
        return saved

    def restart(self) -> None:
        """Restart the kernel, past the dialog that asks."""
        self.js("panel.sessionContext.session.kernel.restart();")
        self.until("['restarting', 'starting'].includes(panel.sessionContext.session.kernel.status)")
        self.idle()

    # --- the graph ---------------------------------------------------------------------------------------------------

    def view(self, nth: int = 0) -> Locator:
        """The live view, of the first output that holds one."""
        return self.page.locator(".jp-NotebookPanel .pnb").nth(nth)

    def node(self, task: str, nth: int = 0) -> Locator:
        """The node of a task in the graph."""
        return self.view(nth).locator(f".pnb-node[data-node='{task}']")

    def becomes(self, task: str, state: str, nth: int = 0, *, limit: int = LIMIT) -> None:
        """Wait until a node shows a state."""
        self.view(nth).locator(f".pnb-node[data-node='{task}'][data-state='{state}']").wait_for(
            state="attached", timeout=limit
        )

    def state(self, task: str) -> str:
        """The state that a node shows."""
        return str(self.node(task).get_attribute("data-state"))

    def press(self, task: str, action: str) -> None:
        """Open a node's details and press a button there."""
        self.pane(task).locator(f"button[data-action='{action}']").click()

    def pane(self, task: str) -> Locator:
        """Open the details of a node."""
        node = self.node(task)
        node.click()
        return self.view().locator(".pnb-pane")

    def edges(self) -> set[tuple[str, str]]:
        """The edges that the page holds."""
        rows = self.model()["edges"]
        return {(e["source"], e["target"]) for e in rows}

    def model(self) -> dict[str, Any]:
        """The newest model in the document: what is saved with the notebook."""
        outputs = self.js("return cells.flatMap(c => c.model.outputs ? c.model.outputs.toJSON() : []);")
        mime = "application/vnd.prefect-nb.flow+json"
        return next(dict(o["data"][mime]) for o in outputs if mime in o.get("data", {}))

    def wait_for(self, told: Callable[[], bool], what: str, *, limit: float = 20) -> None:
        """Wait until something is true that only Python can tell."""
        ends = time.monotonic() + limit
        while not told():
            assert time.monotonic() < ends, f"waited {limit} s for {what}"
            self.page.wait_for_timeout(50)
