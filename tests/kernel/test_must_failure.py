"""Must 5: retries, time limits and failures; controls stay alive, variables are never half-written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from must_parts import Notebook, said, states, stored_as

pytestmark = pytest.mark.kernel

FLAKY = """%%task flaky --retries 3 --delay 0.2,0.3
bag.append('half')
half_written = 1
count = open('count.txt').read().count('x')
open('count.txt', 'a').write('x')
print('try', count + 1)
if count < 2:
    raise ValueError('not yet')
made = count"""


@pytest.fixture
def notebook(kernel: Any, tmp_path: Path) -> Notebook:
    """A loaded notebook."""
    made = Notebook(kernel, tmp_path)
    made.load()
    return made


def test_it_fails_twice_and_then_succeeds(notebook: Notebook, tmp_path: Path) -> None:
    """Each attempt starts from the same variables and has its own log; the delays are waited; one success, no error."""
    (tmp_path / "count.txt").touch()
    notebook.run("bag", "bag = []")
    began = time.monotonic()
    run = notebook.run("flaky", FLAKY)
    assert time.monotonic() - began >= 0.5
    assert (run.ok, run.errors, run.text()) == (True, [], "try 1\ntry 2\ntry 3\n")
    assert notebook.kernel.value("bag, made") == "(['half'], 2)"
    logs = notebook.kernel.run("%flow logs flaky").text()
    for number in (1, 2, 3):
        assert f"attempt {number}\ntry {number}\n" in logs
    why = notebook.why("flaky")
    assert why.count("Retrying") >= 2
    assert "attempt 3/4" in why or "3/4" in why
    assert states(notebook.kernel)["flaky"] == "Success"


def test_controls_live_while_a_retry_waits(notebook: Notebook, tmp_path: Path) -> None:
    """A page's command is answered during the wait between attempts, and cancel ends it."""
    kernel = notebook.kernel
    request = kernel.send("%%task waits --retries 1 --delay 600\nprint('go', flush=True)\n1 / 0", cell_id="waits")
    kernel.wait(request, until=said("go"))
    stored_as(tmp_path, "waits", "Retrying")
    session = kernel.client.session
    opened = session.msg("comm_open", {"comm_id": "page", "target_name": "prefect_nb.control", "data": {"v": 1}})
    cancel = {"v": 1, "op": "cancel", "task": "waits", "nonce": "n1"}
    subshell = _subshell(kernel)
    for message in (opened, session.msg("comm_msg", {"comm_id": "page", "data": cancel})):
        if subshell:
            message["header"]["subshell_id"] = subshell
        kernel.client.shell_channel.send(message)
    run = kernel.wait(request, limit=15)
    answers = [m["content"]["data"] for m in (*kernel.others, *run.messages) if m["msg_type"] == "comm_msg"]
    assert any(a.get("nonce") == "n1" and a["ok"] for a in answers), answers
    assert not run.ok
    assert states(kernel)["waits"] == "Cancelled"


def _subshell(kernel: Any) -> str:
    message = kernel.client.session.msg("create_subshell_request", {})
    kernel.client.control_channel.send(message)
    reply = kernel.client.get_control_msg(timeout=10)
    return str(reply["content"].get("subshell_id") or "")


def test_a_failing_cell_raises_once_and_leaves_nothing(notebook: Notebook) -> None:
    """One error, no half-written names, values as before; what it had bound stays readable."""
    notebook.run("before", "bag = [1]\nkept = 'old'")
    run = notebook.run("bad", "%%task bad\nbag.append(2)\nkept = 'new'\nfresh = 1\nraise KeyError('no')")
    assert [e["ename"] for e in run.errors] == ["KeyError"]
    assert notebook.kernel.value("bag, kept") == "([1], 'old')"
    assert not notebook.kernel.run("fresh").ok
    assert (
        "'fresh': 1"
        in notebook.kernel.run(
            "{k: v for k, v in get_ipython().run_line_magic('flow', 'failed bad').items() if k == 'fresh'}"
        ).result
    )


def test_dependants_name_what_failed(notebook: Notebook) -> None:
    """A task below a failed one is TriggerFailed and names it; a plain cell that needs its name says so too."""
    notebook.run("bad", "%%task bad\nx = 1 / 0")
    below = notebook.run("below", "%%task below\ny = x + 1")
    plain = notebook.run("plain", "print(x)")
    assert [e["ename"] for e in below.errors] == ["NotAvailable"]
    assert "bad" in below.errors[0]["evalue"]
    assert [e["ename"] for e in plain.errors] == ["NotAvailable"]
    assert "bad" in plain.errors[0]["evalue"]
    assert states(notebook.kernel) == {"bad": "Failed", "below": "TriggerFailed"}
    assert "below" not in notebook.ran()


def test_run_all_stops_at_a_failure(notebook: Notebook) -> None:
    """Requests that were queued behind a failed task cell are aborted, as in plain Jupyter."""
    kernel = notebook.kernel
    first = kernel.send("%%task bad\n1 / 0", cell_id="bad", stop_on_error=True)
    second = kernel.send("%%task other\nz = 1", cell_id="other", stop_on_error=True)
    assert not kernel.wait(first).ok
    assert kernel.wait(second).reply["content"]["status"] == "aborted"


def test_flow_run_lets_unrelated_tasks_go_on(notebook: Notebook) -> None:
    """%flow run runs what is stale once, tells what it ran and what failed, lets the rest go on, and then fails."""
    kernel = notebook.kernel
    notebook.run("a", "%%task a\nx = 1")
    notebook.run("bad", "%%task bad\nz = 1 / (x - 1)")
    notebook.run("below", "%%task below\ny = z + 1")
    notebook.run("other", "%%task other\nw = x + 1\nprint('other says', w)")
    notebook.ran()
    kernel.run("1")
    notebook.run("a", "%%task a\nx = 1 + 0 * 2\nx = x")
    notebook.ran()
    run = kernel.run("%flow run")
    assert notebook.ran() == ["bad"]
    assert [e["ename"] for e in run.errors] == ["NotAvailable"]
    assert "bad Failed" in run.errors[0]["evalue"]
    assert "below TriggerFailed" in run.errors[0]["evalue"]
    assert "ZeroDivisionError" in run.text("stderr")
    assert "ran upstream: bad" in str(run.outputs)
    notebook.cells["a"] = "%%task a\nx = 3"
    notebook.run("a")
    notebook.ran()
    good = kernel.run("%flow run")
    assert good.ok, good.errors
    assert notebook.ran() == ["bad", "below", "other"]
    assert "other says 4" in good.text()
    assert set(states(kernel).values()) == {"Success"}
    assert kernel.run("%flow run").ok
    assert notebook.ran() == []


def test_flow_run_of_one_name(notebook: Notebook) -> None:
    """%flow run NAME brings that task and what it needs up to date, and nothing else."""
    notebook.run("a", "%%task a\nx = 1")
    notebook.run("b", "%%task b\ny = x + 1")
    notebook.run("c", "%%task c\nz = x + 2")
    notebook.run("a", "%%task a\nx = 10")
    notebook.ran()
    assert notebook.kernel.run("%flow run b").ok
    assert notebook.ran() == ["b"]
    assert notebook.kernel.run("y").result == "11"


def test_a_time_limit_stops_the_body(notebook: Notebook) -> None:
    """A body over its limit is stopped, TimedOut, and leaves nothing; the next cell runs."""
    run = notebook.run("slow", "%%task slow --timeout 0.3\npartial = 1\nwhile True: pass")
    assert [e["ename"] for e in run.errors] == ["TaskTimeout"]
    assert states(notebook.kernel)["slow"] == "TimedOut"
    assert not notebook.kernel.run("partial").ok
    assert notebook.kernel.run("1 + 1").result == "2"


def test_retry_on_names_what_is_tried_again(notebook: Notebook) -> None:
    """An error that --retry-on does not name fails at once."""
    source = "%%task picky --retries 3 --retry-on TimeoutError,OSError\nraise {}('x')"
    notebook.run("picky", source.format("ValueError"))
    assert notebook.ran() == ["picky"]
    notebook.run("picky", source.format("FileNotFoundError"))
    assert notebook.ran() == ["picky"] * 4


def test_stop_ends_a_retry_wait(notebook: Notebook, tmp_path: Path) -> None:
    """Stop while a cell waits for its next attempt cancels the visit at once; the kernel goes on."""
    kernel = notebook.kernel
    source = "%%task waits --retries 3 --delay 600\nprint('go', flush=True)\nraise ValueError('again')"
    request = kernel.send(source, cell_id="waits")
    kernel.wait(request, until=said("go"))
    stored_as(tmp_path, "waits", "Retrying")
    kernel.interrupt()
    assert not kernel.wait(request, limit=15).ok
    assert states(kernel)["waits"] == "Cancelled"
    assert kernel.run("1 + 1").result == "2"
