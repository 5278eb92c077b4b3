"""Must 3: every transition is in the store before it is shown; tables and outputs survive the kernel."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from must_parts import Notebook, hear, said, states, stored_as, table

pytestmark = pytest.mark.kernel

TALKER = """%%task talker
import logging, sys, threading
print('one', flush=True)
print('two', file=sys.stderr, flush=True)
log = logging.getLogger('must')
log.addHandler(logging.StreamHandler(sys.stdout))
log.warning('three')
thread = threading.Thread(target=print, args=('four',))
thread.start()
thread.join()
from IPython.display import HTML, display
display(HTML('<b>five</b>'))
del log, thread
print('six')
'seven'"""
KINDS = ["TaskPlanned", "KeyResolved", "BodyEntered", "BodyReturned"]
MIME = "application/vnd.prefect-nb.flow+json"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def notebook(kernel: Any, tmp_path: Path) -> Notebook:
    """A loaded notebook."""
    made = Notebook(kernel, tmp_path)
    made.load()
    return made


def _events(tmp_path: Path, task: str) -> list[str]:
    """The kinds of a task's events as another process reads them."""
    with contextlib.closing(sqlite3.connect(f"file:{tmp_path / '.prefect_nb' / 'state.db'}?mode=ro", uri=True)) as base:
        rows = base.execute("SELECT body FROM event ORDER BY run_id, seq").fetchall()
    events = [json.loads(body) for (body,) in rows]
    return [event["kind!"] for event in events if event.get("visit", [""])[0] == task]


@contextlib.contextmanager
def _held(tmp_path: Path) -> Iterator[None]:
    """Keep the store from writing anything, as another process in the middle of its own transaction does."""
    with contextlib.closing(sqlite3.connect(tmp_path / ".prefect_nb" / "state.db", isolation_level=None)) as base:
        base.execute("BEGIN IMMEDIATE")
        yield
        base.execute("ROLLBACK")


def _shown(message: dict[str, Any], task: str) -> str:
    """The state in which a message shows a task to a page, live or as a picture; empty if it does not."""
    data = message["content"].get("data", {})
    model = data.get("model") or data.get("patch") or data.get(MIME) or {}
    return next((node["state"] for node in model.get("nodes", ()) if node["id"] == task), "")


def _answers(message: dict[str, Any]) -> bool:
    """Whether a message says that the kernel is done with a request."""
    return bool(message["content"].get("execution_state") == "idle")


def test_transitions_are_stored_before_they_are_shown(notebook: Notebook, tmp_path: Path) -> None:
    """While the store cannot write, no end is shown and no cell is answered; an end that is shown is in the store."""
    kernel, states_shown, answered = notebook.kernel, [], False
    notebook.run("flow", "%flow")
    source = "import os, select\nwhile not os.path.exists('let'):\n    select.select([], [], [], 0.01)"
    request = kernel.send(f"%%task slow\nprint('go', flush=True)\n{source}", cell_id="slow")
    kernel.wait(request, until=said("go"))
    stored_as(tmp_path, "slow", "Running")
    with _held(tmp_path):
        (tmp_path / "let").touch()
        with pytest.raises(AssertionError, match="was not idle"):  # neither answered nor shown as done
            kernel.wait(request, until=lambda m: _shown(m, "slow") == "Success" or _answers(m), limit=0.7)
        assert _events(tmp_path, "slow") == KINDS[:3]
    while not answered or "Success" not in states_shown:
        message = kernel.client.get_iopub_msg(timeout=20)
        states_shown.append(_shown(message, "slow"))
        answered = answered or _answers(message)
        if answered or states_shown[-1] == "Success":
            assert _events(tmp_path, "slow") == KINDS


def test_what_is_told_survives_a_restart(notebook: Notebook) -> None:
    """status, why, logs and runs say the same after a kernel restart."""
    kernel = notebook.kernel
    notebook.run("a", "%%task a\nprint('said by a')\na = 1")
    notebook.run("bad", "%%task bad\nprint('said by bad')\n1 / 0")
    notebook.run("after", "%%task after --after bad\nb = 1")
    assert states(kernel) == {"a": "Success", "bad": "Failed", "after": "TriggerFailed"}
    logs, why = kernel.run("%flow logs").text(), notebook.why("bad")
    assert "said by a" in logs
    assert "said by bad" in logs
    assert "ZeroDivisionError" in why
    kernel.restart()
    assert kernel.run("%load_ext prefect_nb", "load").ok
    assert states(kernel) == {"a": "Success", "bad": "Failed", "after": "TriggerFailed"}
    assert kernel.run("%flow logs").text() == logs
    assert "ZeroDivisionError" in notebook.why("bad")
    assert len(kernel.run("%flow runs").text().strip().splitlines()) == 3


def _told(run: Any) -> list[str]:
    """What a run showed, in order; streams cut into lines."""
    found: list[str] = []
    for output in run.outputs:
        if output["type"] == "stream":
            found += output["text"].splitlines()
        elif output["type"] == "display_data":
            found.append(output["data"].get("text/html") or output["data"]["text/plain"])
        elif output["type"] == "execute_result":
            found.append(output["data"]["text/plain"])
    return found


def test_output_belongs_to_its_task_and_is_replayed_in_order(notebook: Notebook, tmp_path: Path) -> None:
    """Text of every kind, threads and displays are stored with the task, and shown again in their order on a hit."""
    first = _told(notebook.run("talker", TALKER.replace("%%task talker", "%%task talker --cache always")))
    assert first == ["one", "two", "three", "four", "<b>five</b>", "six", "'seven'"]
    again = notebook.run("talker")
    assert "Cached" in notebook.why("talker")
    shown = _told(again)
    assert [line for line in shown if "saved" not in line] == first
    logs = notebook.kernel.run("%flow logs talker").text()
    positions = [logs.index(word) for word in ("one", "two", "three", "four", "six")]
    assert positions == sorted(positions)
    notebook.kernel.restart()
    notebook.load()
    assert [line for line in _told(notebook.run("talker")) if "saved" not in line] == first


def _agree(bundle: dict[str, Any], wanted: dict[str, str]) -> None:
    """Model, picture and table tell of the same tasks in the same states, and count them alike."""
    assert set(bundle) == {MIME, "image/svg+xml", "text/plain"}
    model, text = bundle[MIME], bundle["text/plain"]
    assert {node["label"]: node["state"] for node in model["nodes"]} == wanted
    assert model["counts"] == Counter(node["type"] for node in model["nodes"])
    assert table(text) == wanted
    picture = ElementTree.fromstring(bundle["image/svg+xml"])
    assert not [
        part for part in picture.iter() if part.tag == f"{SVG}script" or any(k[:2] == "on" for k in part.attrib)
    ]
    drawn = [list(part.iter(f"{SVG}text")) for part in picture.iter(f"{SVG}g") if part.get("role") == "listitem"]
    words = {name.text: told.text.split(" · ")[0] for name, told in (texts[:2] for texts in drawn)}
    assert words == wanted
    done = sum(state == "Success" for state in wanted.values())
    counted = f"{done} of {len(wanted)} done, {len(wanted) - done} failed"
    assert f"· {counted} ·" in text
    assert picture.findtext(f"{SVG}desc").startswith(f"{counted}. ")


def test_the_graph_is_one_bundle(notebook: Notebook) -> None:
    """%flow shows a model, a picture without scripts and a table that agree, and brings them up to date in place."""
    notebook.run("a", "%%task a\na = 1")
    notebook.run("bad", "%%task bad\n1 / 0")
    notebook.run("after", "%%task after --after bad\nc = 1")
    shown = notebook.run("flow", "%flow").outputs[0]
    before = {"a": "Success", "bad": "Failed", "after": "TriggerFailed"}
    _agree(shown["data"], before)
    name = shown["transient"]["display_id"]
    run = notebook.run("b", "%%task b\nb = a + 1")
    notebook.kernel.others += run.messages
    update = hear(
        notebook.kernel,
        lambda m: m["msg_type"] == "update_display_data" and _shown(m, "b") == "Success",
    )
    assert update["content"]["transient"]["display_id"] == name
    _agree(update["content"]["data"], {**before, "b": "Success"})
