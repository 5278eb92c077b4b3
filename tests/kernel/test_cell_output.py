"""What a task shows belongs to it: in the record, in the log callback and on its own part of the page."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import ipykernel
import pytest

pytestmark = pytest.mark.kernel

REPLAY = "from prefect_nb.authoring.capture import replay\nreplay(record, get_ipython(), note='from cache')"


def _record(kernel: Any) -> list[tuple[str, str, str]]:
    value = kernel.value("[(o.kind, o.name, o.text or o.data.get('text/plain', '')) for o in record]")
    return list(ast.literal_eval(value))


def test_everything_is_recorded_in_its_order(task_kernel: Any) -> None:
    """Streams, displays and the result are one ordered list, neighbours of one stream joined."""
    run = task_kernel.run(
        "%%task\nimport sys\nprint('a')\nprint('b')\nprint('c', file=sys.stderr)\ndisplay('d')\nprint('e')\n'f'"
    )
    assert _record(task_kernel) == [
        ("stream", "stdout", "a\nb\n"),
        ("stream", "stderr", "c\n"),
        ("display", "", "'d'"),
        ("stream", "stdout", "e\n"),
        ("result", "", "'f'"),
    ]
    assert run.text() == "a\nb\ne\n"
    assert task_kernel.value("''.join(t for n, t in texts if n == 'stdout')") == repr("a\nb\ne\n")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("!echo shell", "shell\n"),
        ("import os\ncode = os.system('echo child')", "child\n"),
        ("import subprocess\ndone = subprocess.run(['echo', 'run'])", "run\n"),
        ("for i in range(3):\n    print(f'\\r{i}0 %', end='')", "20 %"),
        ("import logging\nlog.warning('late')", "WARNING:root:late\n"),
        ("import warnings\nwarnings.warn_explicit('w', UserWarning, 'f.py', 3)", "f.py:3: UserWarning: w\n"),
    ],
)
def test_text_from_everywhere_is_recorded(task_kernel: Any, source: str, text: str) -> None:
    """Child processes, C-level writes, progress lines, warnings and a logging handler made in an earlier cell."""
    task_kernel.run("import logging\nlogging.basicConfig()\nlog = logging.getLogger()")
    task_kernel.run("%%task\n" + source)
    assert "".join(text for _, _, text in _record(task_kernel)) == text


def test_text_sent_elsewhere_is_not_recorded(task_kernel: Any) -> None:
    """What the user redirects does not appear on the page, so it is not in the record either."""
    task_kernel.run(
        "%%task\nimport contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n    print('away')\n"
        "print('here')"
    )
    assert _record(task_kernel) == [("stream", "stdout", "here\n")]


def test_cleared_output_is_gone_and_updates_are_folded(task_kernel: Any) -> None:
    """The record is what the page shows in the end."""
    task_kernel.run(
        """%%task
from IPython.display import clear_output
print('old')
clear_output()
first = display('one', display_id=True)
first.update('two')
print('x')
clear_output(wait=True)
second = display(1, display_id=True)
second.update(2)"""
    )
    assert _record(task_kernel) == [("display", "", "2")]


def test_threads_write_to_the_cell_that_started_them(task_kernel: Any, tmp_path: Path) -> None:
    """A thread's text is in the record while the body runs; later it reaches the callback and its own cell's page."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    first = task_kernel.send(
        "%%task\nimport threading\n"
        f"def work(gate={str(gate)!r}):\n    print('early')\n    ready.set()\n    open(gate).read()\n"
        "    print('late', flush=True)\n    display('shown late')\n"
        "ready = threading.Event()\nworker = threading.Thread(target=work)\nworker.start()\nready.wait()"
    )
    assert "early" in task_kernel.wait(first).text()
    assert ("stream", "stdout", "early\n") in _record(task_kernel)
    task_kernel.run("sealed, first_texts = capture, list(texts)\nheard = sealed._on_text")
    second = task_kernel.send("worker.join()\nprint('second')")
    gate.write_text("now")
    run = task_kernel.wait(second)
    assert run.text() == "second\n"
    others = [m for m in task_kernel.others if m["parent_header"].get("msg_id") == first]
    assert [m["content"]["text"] for m in others if m["msg_type"] == "stream"] == ["late\n"]
    if ipykernel.version_info >= (7,):  # older kernels route the text of threads and not their displays
        shown = [m["content"]["data"]["text/plain"] for m in others if m["msg_type"] == "display_data"]
        assert shown == ["'shown late'"]
    assert task_kernel.value("[o.text for o in sealed.outputs() if o.kind == 'stream']") == "['early\\n']"
    assert task_kernel.value("('stdout', 'late') in texts") == "True"


def test_function_tasks_in_threads_do_not_mix(task_kernel: Any) -> None:
    """Two captures in two threads hear their own thread only; the cell around them records both."""
    task_kernel.run(
        """%%task
import threading
from prefect_nb.authoring.capture import Capture
inner, barrier = {}, threading.Barrier(2)
def work(name):
    heard = []
    with Capture(get_ipython(), on_text=lambda stream, text: heard.append(text)) as own:
        for step in range(20):
            barrier.wait()
            print(name)
    inner[name] = "".join(heard), [o.text for o in own.outputs()]
threads = [threading.Thread(target=work, args=[name]) for name in "ab"]
[t.start() for t in threads]
[t.join() for t in threads]
None"""
    )
    assert task_kernel.value("inner == {n: ((n + '\\n') * 20, [(n + '\\n') * 20]) for n in 'ab'}") == "True"
    text = _record(task_kernel)[0][2]
    assert sorted(text.split()) == ["a"] * 20 + ["b"] * 20
    assert task_kernel.value("texts") == "[]"


def _joined(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs without what differs by nature; a kernel may send one text in two pieces."""
    joined: list[dict[str, Any]] = []
    for output in outputs:
        kept = {k: v for k, v in output.items() if k not in {"transient", "execution_count"}}
        last = joined[-1] if joined else {}
        if kept["type"] == "stream" and last.get("type") == "stream" and last["name"] == kept["name"]:
            last["text"] += kept["text"]
        else:
            joined.append(kept)
    return joined


def test_replay_shows_the_same_again(task_kernel: Any) -> None:
    """Order, streams, bundles and result are those of the first time, display ids are fresh, the note comes last."""
    first = task_kernel.run(
        "%%task\nimport sys\nprint('a')\ndisplay('b', display_id='mine')\nprint('c', file=sys.stderr)\n{'d': 1}"
    )
    again = task_kernel.run(REPLAY + "\n")
    shown = _joined(again.outputs)
    assert shown[:-1] == _joined(first.outputs)
    assert shown[-1]["data"]["text/plain"] == "from cache"
    identities = [o["transient"]["display_id"] for o in again.outputs if o.get("transient")]
    assert len(identities) == 1
    assert identities != ["mine"]


def test_replay_gives_the_value_back(task_kernel: Any) -> None:
    """With the value at hand ``Out`` and ``_`` hold the very object."""
    task_kernel.run("%%task\n{'d': 1}")
    run = task_kernel.run(REPLAY.replace("note='from cache'", "value=(value := {'d': 1})"))
    assert run.result == "{'d': 1}"
    assert task_kernel.value(f"_ is value and Out[{run.reply['content']['execution_count']}] is value") == "True"


def test_the_record_survives_being_written_down(task_kernel: Any) -> None:
    """Plain form through JSON and back is the same record."""
    task_kernel.run("%%task\nfrom IPython.display import Image\nprint('a')\ndisplay({'text/plain': 'x'}, raw=True)\n1")
    task_kernel.run("import json\nfrom prefect_nb.authoring.capture import from_plain, to_plain")
    assert task_kernel.value("from_plain(json.loads(json.dumps(to_plain(record)))) == record") == "True"
