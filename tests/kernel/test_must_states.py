"""Must 3: every transition is in the store before it is shown; tables and outputs survive the kernel."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from must_parts import Notebook, said, states

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


@pytest.fixture
def notebook(kernel: Any, tmp_path: Path) -> Notebook:
    """A loaded notebook."""
    made = Notebook(kernel, tmp_path)
    made.load()
    return made


def _events(tmp_path: Path, task: str) -> list[str]:
    """The kinds of a task's events as another process reads them."""
    with sqlite3.connect(f"file:{tmp_path / '.prefect_nb' / 'state.db'}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT body FROM event ORDER BY run_id, seq").fetchall()
    events = [json.loads(body) for (body,) in rows]
    return [event["kind!"] for event in events if event.get("visit", [""])[0] == task]


def test_transitions_are_stored_before_they_are_shown(notebook: Notebook, tmp_path: Path) -> None:
    """When a cell's reply has come, another process finds every transition; while it runs, that it runs."""
    kernel = notebook.kernel
    source = (
        "%%task slow\nprint('go', flush=True)\nimport os, time\nwhile not os.path.exists('let'):\n    time.sleep(0.01)"
    )
    request = kernel.send(source, cell_id="slow")
    kernel.wait(request, until=said("go"))
    (tmp_path / "let").touch()
    assert kernel.wait(request).ok
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


def test_the_graph_is_one_bundle(notebook: Notebook) -> None:
    """%flow shows our own type, a picture without scripts and a table, and is kept up to date in place."""
    notebook.run("a", "%%task a\na = 1")
    shown = notebook.run("flow", "%flow").outputs[0]
    bundle = shown["data"]
    assert set(bundle) == {"application/vnd.prefect-nb.flow+json", "image/svg+xml", "text/plain"}
    assert "<script" not in bundle["image/svg+xml"]
    assert "Success" in bundle["text/plain"]
    json.dumps(bundle)
    run = notebook.run("b", "%%task b\nb = a + 1")
    name = shown["transient"]["display_id"]
    notebook.kernel.run("1")
    updates = [m for m in (*run.messages, *notebook.kernel.others) if m["msg_type"] == "update_display_data"]
    assert any(m["content"]["transient"]["display_id"] == name for m in updates) or updates == []
