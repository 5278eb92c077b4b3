"""The kernel's side of a page, without a browser: hostile messages, answers, silence where nobody listens."""

from __future__ import annotations

import queue
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import nbformat
import pytest
from jupyter_client.manager import KernelManager

from browser.lab_parts import ROOT, kernel_env, write

pytestmark = pytest.mark.kernel
MIME = "application/vnd.prefect-nb.flow+json"
LIMIT = 30.0


class PageOfOurs:
    """What a page is to a kernel: a client that opens the control comm."""

    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder), env=kernel_env())
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LIMIT)
        self.seen: list[dict[str, Any]] = []
        self.control = ""

    def tell(self, kind: str, content: dict[str, Any], metadata: dict[str, Any] | None = None) -> str:
        message = self.client.session.msg(kind, content, metadata=metadata)
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def until(self, told: Any) -> dict[str, Any]:
        """The next message that satisfies `told`; all are kept."""
        ends = time.monotonic() + LIMIT
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=max(0.01, ends - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"nothing after {LIMIT} s: {self.seen[-5:]}") from None
            self.seen.append(message)
            if told(message):
                return message

    def run(self, code: str, cell_id: str = "") -> str:
        """Execute a cell to its end; all text that it printed."""
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
        asked = self.tell("execute_request", content, {"cellId": cell_id} if cell_id else {})

        def ended(message: dict[str, Any]) -> bool:
            mine = message["parent_header"].get("msg_id") == asked
            return mine and message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"

        start = len(self.seen)
        self.until(ended)
        return "".join(m["content"]["text"] for m in self.seen[start:] if m["msg_type"] == "stream")

    def attach(self) -> None:
        """Open the control comm once the kernel has announced itself, as a page does."""

        def announced(message: dict[str, Any]) -> bool:
            return message["msg_type"] == "comm_open" and message["content"]["target_name"] == "prefect_nb.state"

        if not any(announced(m) for m in self.seen):
            self.until(announced)
        self.control = uuid4().hex
        self.tell("comm_open", {"comm_id": self.control, "target_name": "prefect_nb.control", "data": {"v": 1}})

    def ask(self, **data: Any) -> dict[str, Any]:
        """Send a command; its answer."""
        nonce = uuid4().hex
        self.tell("comm_msg", {"comm_id": self.control, "data": {"v": 1, "nonce": nonce, **data}})
        answer = self.until(lambda m: m["msg_type"] == "comm_msg" and m["content"]["data"].get("nonce") == nonce)
        return dict(answer["content"]["data"])

    def printed(self) -> list[Any]:
        """Everything that would appear below a cell."""
        shown = ("stream", "error", "display_data", "execute_result")
        return [m["content"] for m in self.seen if m["msg_type"] in shown]

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[PageOfOurs]:
    one = PageOfOurs(tmp_path)
    yield one
    one.close()


def _hostile(seed: int, run: str) -> Any:
    """A message that no page of ours would send."""
    dice = random.Random(seed)
    junk = [None, 0, -1, 1e308, True, "", "two", "\x00", "x" * 5000, [], {}, [[]], {"a": {}}, ["two"], "é\ud7ff", run]
    ops = ["cancel", "skip", "invalidate", "force", "details", "document", "run", "hello", "snapshot", "", "__init__"]
    data: dict[str, Any] = {"v": 1, "nonce": dice.choice([uuid4().hex, *junk])}
    if dice.random() < 0.2:
        data["v"] = dice.choice(junk)
    data["op"] = dice.choice(ops) if dice.random() < 0.8 else dice.choice(junk)
    for name in ("task", "run", "cells", "path", "queued", "page"):
        if dice.random() < 0.7:
            data[name] = dice.choice(junk)
    if data["op"] == "document" and dice.random() < 0.7:
        row = {"id": dice.choice(junk), "source": dice.choice(junk), "tags": dice.choice(junk)}
        data["cells"] = [row, dice.choice([row, {}, 1, None])]
    if data["op"] in ("cancel", "skip", "invalidate", "force", "run") and data.get("task") == "two":
        data["task"] = "nobody"  # the one thing a page may ask for
    if data["op"] == "document" and data.get("cells") == []:
        data["cells"] = "none"  # an empty notebook is a notebook
    return dice.choice([data] * 12 + junk)


def test_hostile_messages_change_nothing(page: PageOfOurs) -> None:
    """Hundreds of malformed messages: each with a nonce is answered, nothing is printed, no state changes."""
    page.run("%load_ext prefect_nb")
    page.attach()
    page.run("%%task one\na = 1")
    page.run("%%task two\nb = a + 1")
    before = page.run("%flow status")
    run = before.splitlines()[0].rpartition("run ")[2]
    page.seen.clear()
    for seed in range(400):
        page.tell("comm_msg", {"comm_id": page.control, "data": _hostile(seed, run)})
    page.tell("comm_open", {"comm_id": uuid4().hex, "target_name": "prefect_nb.control", "data": "nonsense"})
    assert page.ask(op="details", task="two")["ok"]
    assert page.printed() == []
    assert page.run("%flow status") == before
    assert page.run("print(a, b)") == "1 2\n"


def test_every_command_is_answered_with_a_sentence(page: PageOfOurs) -> None:
    """Refusals say why; details tell states, logs and key; a run that is over is named; a force computes again."""
    page.run("%load_ext prefect_nb")
    page.attach()
    assert page.ask(op="hello", page="p")["ok"]
    refused = page.ask(op="cancel", task="one", run="")
    assert (refused["ok"], refused["message"]) == (False, "nothing has run yet")
    cells = [
        {"id": "c1", "source": "%%task one\nprint('said')\na = 1", "type": "code", "tags": []},
        {"id": "c2", "source": "%%task two\nb = a", "type": "code", "tags": []},
    ]
    assert page.ask(op="document", path="n.ipynb", cells=cells)["ok"]
    page.run(cells[0]["source"], "c1")
    details = page.ask(op="details", task="one")["data"]
    assert [s["name"] for s in details["states"]] == ["Pending", "Submitted", "Running", "Success"]
    assert "".join(line["text"] for line in details["logs"]) == "said\n"
    assert {"code"} <= {part["part"] for part in details["key"]}
    assert page.ask(op="cancel", task="one")["message"] == "one has ended already: Success"
    assert page.ask(op="cancel", task="nobody")["ok"] is False
    assert "is over" in page.ask(op="skip", task="two", run="another")["message"]
    assert page.ask(op="force", task="one")["ok"]
    assert page.run(cells[0]["source"], "c1") == "said\n"
    assert "the cells of one and two" in page.ask(op="run-downstream", task="one")["message"]
    assert page.ask(op="dance", task="one")["message"] == "dance is not something a page can ask for"


def test_a_document_that_comes_late_renames_nothing(page: PageOfOurs) -> None:
    """A document that arrives during or after a cell's run keeps its task, its states and its result."""
    page.run("%load_ext prefect_nb")
    page.attach()
    page.ask(op="hello", page="p")
    cells = [{"id": f"c{n}", "source": f"%%task t{n}\nv{n} = {n}", "type": "code", "tags": []} for n in range(3)]
    for cell in (cells[2], cells[0]):
        page.tell("execute_request", {"code": cell["source"], "silent": False}, {"cellId": cell["id"]})
    assert page.ask(op="document", path="n.ipynb", cells=cells)["ok"]
    told = page.run("%flow status")
    rows = [line.split()[:2] for line in told.splitlines() if line.startswith("t") and line[1].isdigit()]
    assert rows == [["t0", "Success"], ["t1", "Pending"], ["t2", "Success"]]


def test_headless_output_ends_with_the_final_graph(tmp_path: Path) -> None:
    """With nbclient alone, %flow in the first cell ends up as the picture of the final states; nothing else appears."""
    path = write(tmp_path / "n.ipynb", ["%load_ext prefect_nb", "%flow", "%%task one\na = 1", "%%task two\nb = a"])
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", str(path)]
    done = subprocess.run(command, env=kernel_env(), capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    outputs = [cell.outputs for cell in nbformat.read(path, 4).cells]
    assert [len(o) for o in outputs] == [0, 1, 0, 0]
    data = outputs[1][0].data
    assert [n["state"] for n in data[MIME]["nodes"]] == ["Success", "Success"]
    assert data["image/svg+xml"].count("Success") >= 2
    assert ROOT.name not in data["text/plain"]


def test_places_that_need_a_widget_get_one(page: PageOfOurs) -> None:
    """Where a VS Code notebook is open, %flow is a widget; where a page of ours said hello, it is our own view."""
    page.run("%load_ext prefect_nb")
    page.run("__vsc_ipynb_file__ = '/somewhere/n.ipynb'")
    page.run("%flow")
    shown = [m["content"]["data"] for m in page.seen if m["msg_type"] == "display_data"]
    assert "application/vnd.jupyter.widget-view+json" in shown[-1]
    page.attach()
    page.ask(op="hello", page="p")
    page.run("%flow")
    shown = [m["content"]["data"] for m in page.seen if m["msg_type"] == "display_data"]
    assert set(shown[-1]) == {MIME, "image/svg+xml", "text/plain"}
