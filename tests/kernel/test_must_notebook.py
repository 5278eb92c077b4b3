"""Must 2: the extension in a notebook; task cells behave as plain cells do, and their header explains itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from must_parts import said

pytestmark = pytest.mark.kernel

HEAVY = [
    "pandas",
    "numpy",
    "papermill",
    "nbformat",
    "ipywidgets",
    "anywidget",
    "click",
    "graphviz",
    "matplotlib",
    "cloudpickle",
    "yaml",
    "sqlite3",
]
OPTIONS = [
    "--retries",
    "--delay",
    "--jitter",
    "--retry-on",
    "--timeout",
    "--cache",
    "--version",
    "--files",
    "--env",
    "--after",
    "--tags",
]


@pytest.fixture(scope="module")
def loaded(shared_kernel: Any) -> Iterator[Any]:
    """A kernel with the extension, shared by the module."""
    assert shared_kernel.run("%load_ext prefect_nb", "load").ok
    return shared_kernel


def test_loading_is_silent_light_and_leaves_no_trace(make_kernel: Callable[..., Any], tmp_path: Path) -> None:
    """Loading prints nothing, writes nothing, and neither it nor the first plain cell loads a heavy module."""
    folder = tmp_path / "work"
    folder.mkdir()
    kernel = make_kernel(folder)
    before = kernel.value("__import__('json').dumps(sorted(__import__('sys').modules))")
    run = kernel.run("%load_ext prefect_nb")
    assert (run.ok, run.outputs) == (True, [])
    assert kernel.run("1").outputs[-1]["type"] == "execute_result"
    after = kernel.value("__import__('json').dumps(sorted(__import__('sys').modules))")
    new = {m.split(".")[0] for m in eval(eval(after))} - {m.split(".")[0] for m in eval(eval(before))}
    assert not new & set(HEAVY), new & set(HEAVY)
    assert list(folder.iterdir()) == []
    for magic in ("%reload_ext prefect_nb", "%unload_ext prefect_nb", "%load_ext prefect_nb"):
        run = kernel.run(magic)
        assert (run.ok, run.outputs) == (True, []), magic
    run = kernel.run("%%task\nx = 1\nx")
    assert (run.ok, run.result) == (True, "1")
    kernel.run("%unload_ext prefect_nb")
    assert not kernel.run("%%task\nx = 1").ok
    assert kernel.run("x + 1").result == "2"


def test_help_documents_every_option(loaded: Any) -> None:
    """``%%task?`` names and explains every option, both spellings and %flow's commands have help too."""
    payload = loaded.run("%%task?").reply["content"]["payload"][0]["data"]["text/plain"]
    for option in OPTIONS:
        assert option in payload, option
    assert "#| task:" in payload
    commands = loaded.run("%flow?").reply["content"]["payload"][0]["data"]["text/plain"]
    for command in ("status", "why", "logs", "runs", "run", "new", "failed", "dot", "usage"):
        assert command in commands


@pytest.mark.parametrize(
    ("code", "wanted"), [("%%task a --ret", "--retries"), ("#| task: a --ti", "--timeout"), ("%%task --ca", "--cache")]
)
def test_tab_completes_options(loaded: Any, code: str, wanted: str) -> None:
    """Tab after a dash offers the header's options."""
    request = loaded.client.complete(code)
    while True:
        reply = loaded.client.get_shell_msg(timeout=20)
        if reply["parent_header"].get("msg_id") == request:
            break
    assert wanted in reply["content"]["matches"]


USAGE = {
    "unknown option": ("%%task a --retrise 3\nx = 1", "--retries"),
    "bad number": ("%%task a --retries many\nx = 1", "retries"),
    "bad duration": ("%%task a --timeout soon\nx = 1", "timeout"),
    "misplaced": ("x = 1\n%%task a\ny = 2", "first line"),
    "comment spelling": ("#| task: a --retrise 3\nx = 1", "--retries"),
    "flow command": ("%flow nonsense", "status"),
    "unknown task": ("%flow why nobody", "no such task"),
    "run in company": ("1\n%flow run", "only line"),
}


@pytest.mark.parametrize("name", USAGE)
def test_a_typo_is_one_line(loaded: Any, name: str) -> None:
    """A header or command that cannot be used is one line that says what would work; the cell fails, nothing runs."""
    source, word = USAGE[name]
    run = loaded.run(source, f"usage-{name}")
    assert not run.ok
    shown = run.text("stderr")
    assert "UsageError" in shown
    assert word in shown
    assert len(shown.strip().splitlines()) == 1, shown
    assert not run.errors


def test_both_spellings_are_one_task(loaded: Any) -> None:
    """The comment spelling has the same name, options and key as the magic: the second finds the first's result."""
    assert loaded.run("%%task twin --retries 2\ntwin_value = 41 + 1\ntwin_value", "twin").result == "42"
    run = loaded.run("#| task: twin --retries 2\ntwin_value = 41 + 1\ntwin_value", "twin")
    assert run.result == "42"
    assert "twin" in run.outputs[-1]["data"]["text/plain"] or "cache" in str(run.outputs)
    assert "Cached" in loaded.run("%flow why twin").text()


CELLS = {
    "await": ("import asyncio\nawait asyncio.sleep(0)\n'done'", "'done'"),
    "line magic": ("%precision 3\nround(3.14159, 2)", None),
    "shell": ("!echo from the shell", None),
    "semicolon": ("6 * 7;", None),
    "last expression": ("6 * 7", "42"),
    "async for": ("async def g():\n    yield 5\n[i async for i in g()]", "[5]"),
    "nested quotes": ("s = '''a\"b\\'c'''\ns", None),
    "trailing comment": ("6 * 7  # the answer", "42"),
    "unicode": ("grüße = 'žluť'\ngrüße", "'žluť'"),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_task_cell_shows_what_a_plain_cell_shows(loaded: Any, name: str) -> None:
    """The same source gives the same outputs with and without the header."""
    source, result = CELLS[name]
    plain = loaded.run(source, f"plain-{name}")
    task = loaded.run(f"%%task same_{len(name)} --cache never\n{source}", f"task-{name}")
    assert task.ok, task.errors
    assert task.text() == plain.text()
    assert task.result == plain.result
    if result is not None:
        assert task.result == result


def test_a_plain_awaited_cell_is_untouched(loaded: Any) -> None:
    """A plain cell with top-level await runs without a word from us, and so does %flow run."""
    run = loaded.run("import asyncio\nawait asyncio.sleep(0)\n7", "plain-await")
    assert (run.result, run.text("stderr"), run.errors) == ("7", "", [])


def test_a_breakpoint_has_the_cells_file_name(loaded: Any) -> None:
    """Code of a task cell lives in the file that the debugger computes from the cell's text."""
    source = "%%task where\nimport inspect\nfile_name = inspect.currentframe().f_code.co_filename"
    assert loaded.run(source, "where").ok
    expected = f"get_ipython().compile.get_code_name({source!r}, '', 0)"
    assert loaded.value("file_name") == loaded.value(expected)


def test_errors_show_the_users_lines_only(loaded: Any) -> None:
    """A traceback names the cell and its line, and no frame of ours."""
    run = loaded.run("%%task broken\ndef inner():\n    return 1 / 0\ninner()", "broken")
    shown = "\n".join(run.errors[0]["traceback"])
    assert len(run.errors) == 1
    assert run.errors[0]["ename"] == "ZeroDivisionError"
    assert "inner()" in shown
    assert "prefect_nb" not in shown


STOPS = {
    "sync": "while True: pass",
    "await": "import asyncio\nawait asyncio.sleep(60)",
    "mixed": "import asyncio\nwhile True:\n    await asyncio.sleep(0)\n    sum(range(1000))",
}


@pytest.mark.parametrize("name", STOPS)
def test_stop_cancels_the_visit_and_nothing_else(loaded: Any, name: str) -> None:
    """Stop ends the body, the visit is Cancelled, the run stays open and the next cell runs."""
    request = loaded.send(f"%%task stop_{name}\nprint('go', flush=True)\n{STOPS[name]}", cell_id=f"stop-{name}")
    loaded.wait(request, until=said("go"))
    loaded.interrupt()
    run = loaded.wait(request, limit=15)
    assert [e["ename"] for e in run.errors] in (["KeyboardInterrupt"], ["CancelledError"])
    assert "Cancelled" in loaded.run(f"%flow why stop_{name}").text()
    assert loaded.run("%%task after_stop --cache never\nstill = 1\nstill", "after").result == "1"


FIGURE = """%%task figure --cache always
import matplotlib.pyplot as plt
plt.plot([1, 2, 3])
plt.title('drawn');"""


def _pictures(run: Any) -> list[str]:
    """The figures that a cell showed."""
    return [output["data"]["image/png"] for output in run.outputs if "image/png" in output.get("data", {})]


def test_a_figure_is_shown_once_and_again_on_a_hit(loaded: Any) -> None:
    """A figure belongs to the task that drew it: shown there once, in no later cell, and replayed on a hit."""
    first = _pictures(loaded.run(FIGURE, "figure"))
    assert len(first) == 1
    assert loaded.run("'later'", "later").outputs[0]["type"] == "execute_result"
    assert _pictures(loaded.run(FIGURE, "figure")) == first
    assert "figure is Cached" in loaded.run("%flow why figure").text()
    assert _pictures(loaded.run("'later'", "later")) == []


@pytest.mark.parametrize("end", ["", ";"], ids=["an expression", "a semicolon"])
def test_out_is_as_in_a_plain_cell(loaded: Any, end: str) -> None:
    """``Out[n]``, ``_n`` and ``_`` after a task cell, run or reused, are what they are after the plain cell."""

    def left(run: Any) -> tuple[str, str]:
        number = run.reply["content"]["execution_count"]
        return loaded.value(f"Out.get({number}), globals().get('_{number}'), _"), run.result

    source = f"answer = 6 * 7\nanswer{end}"
    before = "loaded_before = 'before'\nloaded_before"
    loaded.run(before, "before")
    plain = left(loaded.run(source, "plain-out"))
    assert plain == (("(42, 42, 42)", "42") if not end else ("(None, None, 'before')", None))
    name = f"out_{len(end)}"
    for _ in ("run", "reused"):
        loaded.run(before, "before")
        assert left(loaded.run(f"%%task {name} --cache always\n{source}", name)) == plain
    assert f"{name} is Cached" in loaded.run(f"%flow why {name}").text()


def _plain(text: str) -> str:
    """Text without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _debugged(kernel: Any, source: str, cell_id: str, *answers: str) -> tuple[list[str], Any]:
    """Execute a cell as a front end with an input box does; the debugger's prompts, and the run."""
    request = kernel.send(source, cell_id=cell_id, allow_stdin=True)
    prompts = []
    for answer in answers:
        prompts.append(kernel.client.get_stdin_msg(timeout=20)["content"]["prompt"])
        kernel.client.input(answer)
    return prompts, kernel.wait(request)


@pytest.mark.parametrize("debugger", ["pdb", "IPython.core.debugger"])
def test_a_breakpoint_stops_at_the_users_line(loaded: Any, debugger: str) -> None:
    """A trace set in a task cell asks at the user's own line, steps to the next, and the task then ends well."""
    lines = [
        "before = 20",
        f"__import__({debugger!r}, fromlist=['']).set_trace()",
        "after = before + 1",
        "return after",
    ]
    source = "\n    ".join(["def stepped():", *lines]) + "\nstepped()"
    name = f"halted_{len(debugger)}"
    answers = ("where", "p 'it', before", "n", "c")
    prompts, run = _debugged(loaded, f"%%task {name} --cache never\n{source}", name, *answers)
    assert prompts == ["ipdb> "] * 4
    stop, _, step = _plain(run.text()).partition("('it', 20)")
    assert "prefect_nb" not in stop  # the stack is the user's
    assert "----> 5     after = before + 1" in stop
    assert "----> 6     return after" in step
    assert run.result == "21"
    assert f"{name} is Success" in loaded.run(f"%flow why {name}").text()


def test_debug_enters_the_failed_line(loaded: Any) -> None:
    """``%debug`` after a failed task begins in the user's function at the line that failed."""
    assert not loaded.run("%%task fell --cache never\ndef halve(n):\n    return n / 0\nhalve(7)", "fell").ok
    prompts, run = _debugged(loaded, "%debug", "debug", "p 'at', n", "up", "p 'caller', __name__", "q")
    shown = _plain(run.text())
    assert len(prompts) == 4
    assert "('at', 7)" in shown
    assert "('caller', '__main__')" in shown
    assert "----> 3     return n / 0" in shown
    assert "----> 4 halve(7)" in shown
    assert "prefect_nb" not in shown
