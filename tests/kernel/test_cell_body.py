"""A task cell behaves as the same cell without its header."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

SAME = {
    "expression": "1 + 1",
    "quiet": "1 + 1;",
    "quiet with a comment": "1 + 1;  # no",
    "quote in a shell line": "!echo it\\'s\n2 + 2;",
    "none": "None",
    "statement": "x = 1",
    "prints": "print('a')\nprint('b')\n'c'",
    "await": "import asyncio\nawait asyncio.sleep(0, 'slept')",
    "async for": "async def g():\n    yield 1\nasync for v in g():\n    print(v)\nv",
    "line magic": "%precision 3\n3.14159",
    "assigned magic": "p = %precision\np",
    "shell": "!echo hi",
    "assigned shell": "lines = !echo hi\nlines",
    "help": "len?",
    "nested magic": "%%capture out\nprint('hidden')",
    "capture shown": "%%capture out\nprint('hidden')\nNone",
    "capture with": (
        "from IPython.utils.capture import capture_output\nwith capture_output() as c:\n    print(1)\nc.stdout"
    ),
    "display": "from IPython.display import display, HTML\ndisplay(HTML('<b>x</b>'))\ndisplay('y')\n'z'",
    "annotations": "from __future__ import annotations\ndef f(a: Nowhere): pass\nf.__annotations__",
    "blank lines": "\n\n  \n7",
    "indented": "    y = 3\n    y",
    "stderr": "import sys\nprint('oops', file=sys.stderr)",
    "warning": "import warnings\nwarnings.simplefilter('always')\nwarnings.warn_explicit('w', UserWarning, 'f.py', 3)",
    "empty": "",
    "comment only": "# nothing",
    "unicode": "'ä→☃'",
    "form feed": "a = 1\x0c\na",
    "clear": "from IPython.display import clear_output\nprint(1)\nclear_output()\nprint(2)",
    "display id": "h = display('a', display_id='same')\nh.update('b')",
}


def _shown(run: Any) -> list[dict[str, Any]]:
    merged: list[dict[str, Any]] = []
    for output in run.outputs:
        kept = {key: value for key, value in output.items() if key not in {"execution_count", "traceback"}}
        if merged and kept["type"] == "stream" and merged[-1].get("name") == kept["name"]:
            merged[-1]["text"] += kept["text"]
        else:
            merged.append(kept)
    return merged


@pytest.mark.parametrize("name", SAME)
def test_a_task_cell_shows_what_the_plain_cell_shows(task_kernel: Any, name: str) -> None:
    """Messages, status and payload of the two are equal."""
    plain = task_kernel.run(SAME[name])
    task = task_kernel.run("%%task\n" + SAME[name])
    assert _shown(task) == _shown(plain)
    assert task.ok == plain.ok
    assert task.reply["content"].get("payload") == plain.reply["content"].get("payload")


@pytest.mark.parametrize("mode", ["all", "last", "last_expr", "last_expr_or_assign", "none"])
@pytest.mark.parametrize("source", ["1\n2\nx = 3", "1\n2", "y: int = 4", "y = 1\ny += 4", "for i in range(2):\n    i"])
def test_every_interactivity_setting_holds(task_kernel: Any, mode: str, source: str) -> None:
    """``ast_node_interactivity`` decides what is shown, as in a plain cell."""
    task_kernel.run(f"get_ipython().ast_node_interactivity = {mode!r}")
    try:
        plain, task = task_kernel.run(source), task_kernel.run("%%task\n" + source)
    finally:
        task_kernel.run("get_ipython().ast_node_interactivity = 'last_expr'")
    assert _shown(task) == _shown(plain)


def test_out_and_in_hold_what_the_user_sees(task_kernel: Any) -> None:
    """``_``, ``_N``, ``Out[N]`` hold the value, ``In[N]`` and ``_iN`` the cell as it was written."""
    run = task_kernel.run("%%task\n'the value'")
    number = run.reply["content"]["execution_count"]
    seen = ast.literal_eval(task_kernel.value(f"_, _{number}, Out[{number}], In[{number}], _i{number}"))
    assert seen == ("the value",) * 3 + ("%%task\n'the value'",) * 2


def test_source_and_file_name_are_those_of_the_cell(task_kernel: Any) -> None:
    """``inspect`` and the debugger find the user's lines under the name that the front end computes."""
    cell = "%%task\nimport inspect\n\ndef f():\n    return 1\ninspect.getsource(f), f.__code__.co_firstlineno"
    run = task_kernel.run(cell)
    assert run.result == "('def f():\\n    return 1\\n', 4)"
    task_kernel.run(f"from ipykernel.compiler import get_file_name\nraw = {cell!r}")
    assert task_kernel.value("f.__code__.co_filename == get_file_name(raw)") == "True"


def test_ast_transformers_apply(task_kernel: Any) -> None:
    """Transformers of the syntax tree see the body once."""
    task_kernel.run(
        "import ast\nclass Twice(ast.NodeTransformer):\n    def visit_Constant(self, node):\n"
        "        return ast.Constant(node.value * 2) if isinstance(node.value, int) else node\n"
        "get_ipython().ast_transformers.append(Twice())"
    )
    try:
        assert task_kernel.run("%%task\n21").result == "42"
    finally:
        task_kernel.run("get_ipython().ast_transformers.clear()")


def test_reset_keeps_task_cells_working(task_kernel: Any) -> None:
    """``%reset`` empties the namespace and not the entry of task cells."""
    names = "runner, interrupts, texts, transform, Body, Capture, present, get_ipython"
    task_kernel.run(f"import builtins; builtins.kept = ({names})\n%reset -f")
    task_kernel.run(f"import builtins; ({names}) = builtins.kept")
    assert task_kernel.run("%%task\n5").result == "5"


def test_a_misplaced_header_is_one_line(task_kernel: Any) -> None:
    """A header below other lines is a usage error of one line, without a traceback, and runs nothing."""
    run = task_kernel.run("print('ran')\n%%task\n1")
    assert not run.ok
    assert re.fullmatch(r"UsageError: .*line 2.*\n", run.text("stderr"))
    assert not run.errors
    assert not run.text()


def test_figures_belong_to_the_task_and_come_once(task_kernel: Any) -> None:
    """An inline figure is shown once, after what was printed before it, and is in the record."""
    pytest.importorskip("matplotlib")
    task_kernel.run("%matplotlib inline\nimport matplotlib.pyplot as plt")
    run = task_kernel.run("%%task\nprint('before')\nlines = plt.plot([1, 2])")
    assert [o["type"] for o in run.outputs] == ["stream", "display_data"]
    assert "image/png" in run.outputs[1]["data"]
    assert task_kernel.value("[o.kind for o in record]") == "['stream', 'display']"
    assert task_kernel.run("1").outputs[0]["type"] == "execute_result"
