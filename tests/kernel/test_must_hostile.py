"""Must 9: bad disks, bad stores, bad values and sudden deaths: errors of ours, and the kernel goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from must_parts import Notebook, said, states, stored_as

pytestmark = pytest.mark.kernel
WAITS = "print('go', flush=True)\nimport os, time\nwhile not os.path.exists('let'):\n    time.sleep(0.01)"
FLOW = "get_ipython()._prefect_nb.rooms.flow"


@pytest.fixture
def notebook(kernel: Any, tmp_path: Path) -> Notebook:
    """A loaded notebook."""
    made = Notebook(kernel, tmp_path)
    made.load()
    return made


@pytest.fixture(scope="module")
def shared(shared_kernel: Any, tmp_path_factory: pytest.TempPathFactory) -> Notebook:
    """A loaded notebook, shared by the module."""
    made = Notebook(shared_kernel, tmp_path_factory.mktemp("ledger"))
    made.load()
    return made


BODIES = {
    "SystemExit": "raise SystemExit(3)",
    "KeyboardInterrupt": "raise KeyboardInterrupt('mine')",
    "GeneratorExit": "raise GeneratorExit",
    "recursion": "def f(): return f()\nf()",
    "str raises": "class Bad(Exception):\n    def __str__(self): raise ValueError('no')\nraise Bad",
    "nul and colours": "raise ValueError('\\0 \\x1b[31m')",
    "surrogates": "raise ValueError('\\ud800')",
    "huge message": "raise ValueError('x' * 10_000_000)",
    "group": "raise ExceptionGroup('many', [ValueError(1), KeyError(2)])",
}


@pytest.mark.parametrize("name", BODIES)
def test_whatever_is_raised_is_a_failed_task(shared: Notebook, name: str) -> None:
    """Anything a body raises makes the task Failed, once, and neither kernel nor engine minds."""
    request = shared.kernel.send(f"%%task bad --cache never\n{BODIES[name]}", cell_id="bad")
    # Jupyter itself sends no reply when an error has no text or one that cannot be encoded; it is idle afterwards.
    shared.kernel.wait(request, until=lambda m: m["content"].get("execution_state") == "idle")
    assert states(shared.kernel)["bad"] == ("Cancelled" if name == "GeneratorExit" else "Failed")
    assert shared.run("good", "%%task good --cache never\ngood = 1\ngood").result == "1"


VALUES = {
    "lock": "import threading\nv = threading.Lock()",
    "generator": "v = (i for i in range(3))",
    "file": "v = open('/dev/null')",
    "socket": "import socket\nv = socket.socket()",
    "bad reduce": "class C:\n    def __reduce__(self): raise TypeError('never')\nv = C()",
    "bad eq": "class C:\n    def __eq__(self, other): raise TypeError('never')\n    __hash__ = None\nv = C()",
    "bad repr": "class C:\n    def __repr__(self): raise TypeError('never')\nv = C()",
    "deep": "v = []\nfor _ in range(100_000):\n    v = [v]",
    "cycle": "v = []\nv.append(v)",
    "module": "import json as v",
    "lambda": "v = lambda: 1",
}


@pytest.mark.parametrize("name", VALUES)
def test_any_value_may_be_bound_and_read(shared: Notebook, name: str) -> None:
    """A value that cannot be written down or hashed stays usable, in the next task too; only its reuse is lost."""
    word = name.replace(" ", "_")
    made = shared.run("made", f"%%task made_{word}\n{VALUES[name]}")
    assert made.ok, made.errors
    used = shared.run("used", f"%%task used_{word}\nkind = type(v).__name__\nkind")
    assert used.ok, used.errors
    again = shared.run("made")
    assert again.ok, again.errors
    assert shared.kernel.value("type(v).__name__ == kind") == "True"


OUTPUTS = {
    "ten megabytes": "print('x' * 10_000_000)",
    "a million lines": "for i in range(100_000): print(i)",
    "nul and colours": "print('\\0 \\x1b[31m red \\x07')",
    "bytes": "import os\nos.write(1, bytes(range(256)))",
    "carriage returns": "for i in range(10_000): print(i, end='\\r')",
    "no newline": "print('y' * 1_000_000, end='')",
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_any_output_may_be_printed(shared: Notebook, name: str) -> None:
    """Huge or dirty output breaks nothing: the task succeeds and its logs can be read."""
    word = name.replace(" ", "_")
    run = shared.run("out", f"%%task out_{word}\n{OUTPUTS[name]}\nout = 1")
    assert run.ok, run.errors
    assert states(shared.kernel)[f"out_{word}"] == "Success"
    assert shared.kernel.run(f"%flow logs out_{word}").ok
    assert shared.run("out").ok


VANDALS = {
    "open": "import builtins\nbuiltins.open = no",
    "print": "import builtins\nbuiltins.print = no",
    "queues": "import queue\nqueue.SimpleQueue = queue.Queue = no",
    "threads": "import threading\nthreading.Thread = no",
    "frozen clock": "import time\ntime.time = lambda: 1_000_000_000.0",
    "ids": "import uuid, secrets\nuuid.uuid4 = secrets.token_hex = no",
}


@pytest.mark.parametrize("name", VANDALS)
def test_the_engine_has_references_of_its_own(notebook: Notebook, name: str) -> None:
    """A notebook that replaces what a plain kernel can do without breaks itself, not the engine."""
    notebook.run(
        "vandal", f"%%task vandal --cache never\ndef no(*a, **k): raise RuntimeError('replaced')\n{VANDALS[name]}"
    )
    for cell in ("next", "more"):
        run = notebook.run(cell, f"%%task {cell} --cache never\n{cell} = 2\n{cell}")
        assert run.ok, run.errors
        assert run.result == "2"
    assert states(notebook.kernel)["more"] == "Success"


def test_changing_the_working_directory_moves_nothing(notebook: Notebook, tmp_path: Path) -> None:
    """A task may chdir: flow and store stay where they are."""
    (tmp_path / "elsewhere").mkdir()
    notebook.run("a", "%%task a\na = 1")
    before = notebook.kernel.value(f"{FLOW}.name, {FLOW}.store.location")
    notebook.run("cd", "%%task cd\nimport os\nos.chdir('elsewhere')")
    assert notebook.run("b", "%%task b\nb = a + 1\nb").result == "2"
    assert notebook.kernel.value(f"{FLOW}.name, {FLOW}.store.location") == before
    assert not (tmp_path / "elsewhere" / ".prefect_nb").exists()
    assert len(notebook.kernel.run("%flow runs").text().strip().splitlines()) == 3


BIG = "%%task big\nbig = bytes(range(256)) * 4000\nlen(big)"


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "empty"])
def test_a_damaged_result_is_never_served(notebook: Notebook, tmp_path: Path, damage: str) -> None:
    """A result file with one flipped bit, cut short or missing is recomputed, with the reason told."""
    assert notebook.run("big", BIG).result == "1024000"
    files = [f for f in (tmp_path / ".prefect_nb" / "results").rglob("*") if f.is_file()]
    assert files
    for file in files:
        data = bytearray(file.read_bytes())
        match damage:
            case "flip":
                data[len(data) // 2] ^= 1
                file.write_bytes(data)
            case "cut":
                file.write_bytes(data[: len(data) // 2])
            case "gone":
                file.unlink()
            case "empty":
                file.write_bytes(b"")
    notebook.kernel.restart()
    notebook.load()
    notebook.ran()
    assert notebook.run("big").result == "1024000"
    assert notebook.kernel.value("big == bytes(range(256)) * 4000") == "True"
    assert notebook.ran() == ["big"]
    assert "damaged" in notebook.why("big") or "missing" in notebook.why("big")


def test_another_key_recomputes(make_kernel: Callable[..., Any], tmp_path: Path) -> None:
    """Results signed with another key are not trusted: computed again, with the reason, and nothing breaks."""
    first = Notebook(make_kernel(PREFECT_NB_KEY="11" * 32), tmp_path)
    first.load()
    first.run("a", "%%task a\na = [1]\na")
    first.ran()
    first.kernel.close()
    second = Notebook(make_kernel(PREFECT_NB_KEY="22" * 32), tmp_path)
    second.load()
    assert second.run("a", "%%task a\na = [1]\na").result == "[1]"
    assert second.ran() == ["a"]
    assert "another key" in second.why("a")


def _break_store(folder: Path, how: str) -> None:
    place = folder / ".prefect_nb"
    place.mkdir()
    if how == "garbage":
        (place / "state.db").write_bytes(b"this is no database at all" * 100)
    elif how == "newer":
        with sqlite3.connect(place / "state.db") as connection:
            connection.execute("CREATE TABLE store_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
            for name in ("schema_version", "min_reader", "min_writer"):
                connection.execute("INSERT INTO store_meta VALUES (?, '999')", (name,))
        connection.close()
    elif how == "a file":
        place.rmdir()
        place.write_text("in the way")


STORES = {"garbage": "StoreCorrupt", "newer": "StoreTooNew", "a file": "StoreError"}


@pytest.mark.parametrize("how", STORES)
def test_a_bad_store_is_one_error_of_ours(kernel: Any, tmp_path: Path, how: str) -> None:
    """An unusable store is named with what to do; plain cells work, and so does the cell once the store is repaired."""
    _break_store(tmp_path, how)
    notebook = Notebook(kernel, tmp_path)
    notebook.load()
    run = notebook.run("a", "%%task a\na = 1\na")
    assert [e["ename"] for e in run.errors] == [STORES[how]]
    assert str(tmp_path) in run.errors[0]["evalue"]
    assert "->" in run.errors[0]["evalue"]
    assert notebook.run("plain", "1 + 1").result == "2"
    place = tmp_path / ".prefect_nb"
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    assert notebook.run("a").result == "1"


def _recorded(folder: Path) -> dict[str, str]:
    """The state of each task's last visit as another process reads it."""
    with contextlib.closing(sqlite3.connect(f"file:{folder / '.prefect_nb' / 'state.db'}?mode=ro", uri=True)) as base:
        return dict(base.execute("SELECT task, state FROM visit ORDER BY run_id, visit").fetchall())


def test_the_store_directory_deleted_while_it_runs(notebook: Notebook, tmp_path: Path) -> None:
    """A cell whose end cannot be recorded says so and what to do; the next begins a new store, and it is all there."""
    notebook.run("a", "%%task a\na = 1")
    shutil.rmtree(tmp_path / ".prefect_nb")
    refused = notebook.run("b", "%%task b\nb = a + 1\nb")
    assert [error["ename"].startswith("Store") for error in refused.errors] == [True]
    assert "deleted or replaced while it was open" in refused.errors[0]["evalue"]
    assert str(tmp_path / ".prefect_nb") in refused.errors[0]["evalue"]
    assert "->" in refused.errors[0]["evalue"]
    assert notebook.run("plain", "a + 1").result == "2"
    again = notebook.run("b", "%%task b\nb = a + 2\nb")
    assert (again.result, again.errors) == ("3", [])
    assert _recorded(tmp_path)["b"] == "Success"
    assert states(notebook.kernel)["b"] == "Success"
    notebook.kernel.restart()
    notebook.load()
    notebook.ran()
    assert notebook.run("a").ok
    assert notebook.run("b").result == "3"
    assert notebook.ran() == []


def _owner(kernel: Any) -> psutil.Process:
    pid = int(kernel.value(f"{FLOW}.store._client.pid"))
    return psutil.Process(pid)


def test_the_owner_of_the_store_killed_in_a_cell(notebook: Notebook) -> None:
    """Kill -9 of the store's process while a cell runs: the cell ends well, and nothing recorded is lost."""
    kernel = notebook.kernel
    notebook.run("a", "%%task a\na = 1")
    owner = _owner(kernel)
    source = (
        "%%task slow\nprint('go', flush=True)\nimport os, time\nwhile not os.path.exists('let'):\n    time.sleep(0.01)"
    )
    request = kernel.send(source, cell_id="slow")
    kernel.wait(request, until=said("go"))
    owner.kill()
    (notebook.ledger.parent / "let").touch()
    assert kernel.wait(request, limit=30).ok
    assert states(kernel) == {"a": "Success", "slow": "Success"}


def test_a_kernel_killed_in_a_task(notebook: Notebook, make_kernel: Callable[..., Any], tmp_path: Path) -> None:
    """Kill -9 of the kernel while a body runs: reopened, the old body is Crashed, the rest stands, it runs again."""
    kernel = notebook.kernel
    notebook.run("a", "%%task a\na = 1")
    owner = _owner(kernel)
    request = kernel.send("%%task slow\nprint('go', flush=True)\nimport time\ntime.sleep(600)", cell_id="slow")
    kernel.wait(request, until=said("go"))
    stored_as(tmp_path, "slow", "Running")
    kernel.manager.signal_kernel(signal.SIGKILL)
    psutil.wait_procs([owner], timeout=20)
    assert not owner.is_running()
    second = Notebook(make_kernel(tmp_path), tmp_path)
    second.load()
    assert states(second.kernel) == {"a": "Success", "slow": "Crashed"}
    assert second.run("slow", "%%task slow\nslow = 1\nslow").result == "1"
    assert states(second.kernel) == {"a": "Success", "slow": "Success"}
    assert len(second.kernel.run("%flow runs").text().strip().splitlines()) == 3


def test_a_retry_wait_of_a_dead_kernel_does_not_block(notebook: Notebook, tmp_path: Path) -> None:
    """A kernel restarted while a cell waited for its next attempt: the run is Open, and the cell runs again."""
    kernel = notebook.kernel
    request = kernel.send("%%task waits --retries 1 --delay 600\nprint('go', flush=True)\n1 / 0", cell_id="waits")
    kernel.wait(request, until=said("go"))
    stored_as(tmp_path, "waits", "Retrying")
    kernel.restart()
    notebook.load()
    status = kernel.run("%flow status").text()
    assert "· Open ·" in status
    assert notebook.run("waits", "%%task waits\nwaits = 1\nwaits").result == "1"
    assert states(kernel)["waits"] == "Success"


def test_shutdown_leaves_no_process(make_kernel: Callable[..., Any], tmp_path: Path) -> None:
    """After an orderly shutdown neither the kernel nor the store's process lives on."""
    notebook = Notebook(make_kernel(), tmp_path)
    notebook.load()
    notebook.run("a", "%%task a\na = 1")
    owner = _owner(notebook.kernel)
    notebook.kernel.manager.shutdown_kernel()
    _, alive = psutil.wait_procs([owner], timeout=20)
    assert not alive


def test_the_quota_bounds_the_disk(make_kernel: Callable[..., Any], tmp_path: Path) -> None:
    """Results beyond the quota are evicted, %flow usage shows it, and what was evicted is computed again."""
    notebook = Notebook(make_kernel(PREFECT_NB_QUOTA="3000000"), tmp_path)
    notebook.load()
    for number in range(8):
        notebook.run(f"c{number}", f"%%task c{number}\nv{number} = bytes([{number}]) * 1_000_000")
    used = f"(__import__('time').sleep(0.02), {FLOW}.store.usage().results)[1]"
    for _ in range(200):
        if int(notebook.kernel.value(used)) <= 3_000_000:
            break
    assert int(notebook.kernel.value(f"{FLOW}.store.usage().results")) <= 3_000_000
    results = tmp_path / ".prefect_nb" / "results"
    for _ in range(400):  # a file that was just written goes a moment after its row
        if sum(f.stat().st_size for f in results.rglob("*") if f.is_file()) <= 3_000_000:
            break
        notebook.kernel.value(used)
    assert sum(f.stat().st_size for f in results.rglob("*") if f.is_file()) <= 3_000_000
    assert "of 2.9 MiB" in notebook.kernel.run("%flow usage").text()
    notebook.ran()
    assert notebook.kernel.value("[len(eval(f'v{n}')) for n in range(8)] == [1_000_000] * 8") == "True"
    notebook.kernel.restart()
    notebook.load()
    for number in range(8):
        assert notebook.run(f"c{number}").ok
    assert notebook.kernel.run("v0[:2], v7[:2]").result == "(b'\\x00\\x00', b'\\x07\\x07')"
    assert len(set(notebook.ran())) >= 6  # at most two of the eight have room; which, their cost decides


@pytest.mark.skipif(os.geteuid() != 0, reason="SKIPPED: a full disk needs a file system of its own, hence root")
def test_a_full_disk(make_kernel: Callable[..., Any], tmp_path: Path) -> None:
    """On a full disk the cell gets an error of ours and keeps its value; with space again everything goes on."""
    place = tmp_path / "small"
    place.mkdir()
    if os.system(f"mount -t tmpfs -o size=3m tmpfs {place} 2>/dev/null"):
        pytest.skip("SKIPPED: this root may not mount a small file system")
    try:
        notebook = Notebook(make_kernel(place), tmp_path)
        notebook.load()
        assert notebook.run("a", "%%task a\na = 1\na").result == "1"
        filler = place / "filler"
        descriptor = os.open(filler, os.O_CREAT | os.O_WRONLY)
        with contextlib.suppress(OSError):
            while True:
                os.write(descriptor, b"x" * 4096)
        os.close(descriptor)
        refused = notebook.run("b", "%%task b\nb = bytes(1_000_000)\nprint('x' * 100_000)")
        assert [error["ename"] for error in refused.errors] == ["StoreFull"]
        assert str(place) in refused.errors[0]["evalue"]
        assert "free some space" in refused.errors[0]["evalue"]
        if "x" * 100_000 in refused.text():  # else not even its beginning could be recorded, and it did not run
            assert notebook.run("plain", "len(b)").result == "1000000"
        refused = notebook.run("c", "%%task c\nc = 1\nprint('y' * 500_000)")  # its value is small, its log is not
        assert [error["ename"] for error in refused.errors] == ["StoreFull"]
        assert "state.db is full" in refused.errors[0]["evalue"]
        assert {task: state for task, state in _recorded(place).items() if state == "Success"} == {"a": "Success"}
        filler.unlink()
        assert notebook.run("d", "%%task d\nd = a + 1\nd").result == "2"
        assert notebook.run("b").ok
        assert {task: states(notebook.kernel)[task] for task in "abd"} == dict.fromkeys("abd", "Success")
        notebook.kernel.restart()
        notebook.load()
        notebook.ran()
        assert [notebook.run(cell).ok for cell in "abd"] == [True] * 3
        assert notebook.ran() == []
        notebook.kernel.close()
    finally:
        os.system(f"umount -l {place}")


def test_a_read_only_directory(make_kernel: Callable[..., Any], tmp_path: Path) -> None:
    """Where nothing can be written, the error names the directory and the way out; plain cells work."""
    place = tmp_path / "fixed"
    place.mkdir()
    if os.geteuid() == 0 and os.system(f"mount -t tmpfs -o ro tmpfs {place} 2>/dev/null"):
        pytest.skip("SKIPPED: root can write anywhere, and this one may not mount a read-only file system")
    place.chmod(0o555) if os.geteuid() else None
    try:
        notebook = Notebook(make_kernel(place), tmp_path)
        notebook.load()
        run = notebook.run("a", "%%task a\na = 1")
        assert [e["ename"] for e in run.errors] == ["StoreReadOnly"]
        assert str(place) in run.errors[0]["evalue"]
        assert notebook.run("plain", "1 + 1").result == "2"
        notebook.kernel.close()
    finally:
        if os.geteuid() == 0:
            os.system(f"umount -l {place}")
        else:
            place.chmod(0o755)
