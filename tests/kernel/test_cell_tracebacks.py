"""A failing task cell shows its error once, and exactly as the plain cell does."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

HEADER = "%%task"
COMMENT = f"# {HEADER}"

FAILING = {
    "function": "def f(a):\n    return 1 / a\n\nf(0)",
    "library": "import json\njson.loads('{')",
    "chained": "try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('b') from e",
    "context": "try:\n    {}['a']\nexcept KeyError:\n    undefined_name",
    "suppressed": "try:\n    {}['a']\nexcept KeyError:\n    raise ValueError('b') from None",
    "group": "raise ExceptionGroup('g', [ValueError(1), TypeError(2)])",
    "noted": "e = ValueError('v')\ne.add_note('look here')\nraise e",
    "syntax": "x = 1\ny = = 2",
    "indentation": "x = 1\n  y = 2",
    "dangling": "return 3",
    "syntax at run time": "exec('a b')",
    "coroutine": "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    raise KeyError('k')\nawait f()",
    "exit": "import sys\nsys.exit(3)",
    "usage": "%run",
    "own renderer": "class E(Exception):\n    def _render_traceback_(self):\n        return ['mine']\nraise E()",
    "silent assertion": "assert not 'x', 'said'",
    "deep": "def f(n):\n    return f(n - 1) if n else 1 / 0\nf(4)",
    "user interrupt": "raise KeyboardInterrupt",
}


def _normal(run: Any) -> tuple[list[Any], str]:
    def clean(text: str) -> str:
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
        text = re.sub(r"In\[\d+\]", "In[N]", text)
        # IPython's own frame, where it shows one: a task cell is run by the branch for cells that await
        text = re.sub(r'(interactiveshell\.py"?(?::|, line )).*run_code\n.*\n', r"\1 run_code\n", text)
        return re.sub(r"(ipykernel_\d+/)?\d{5,}\.py", "CELL.py", text)

    errors = [(e["ename"], clean(e["evalue"]), [clean(line) for line in e["traceback"]]) for e in run.errors]
    return errors, clean(run.text("stderr"))


@pytest.mark.parametrize("name", FAILING)
def test_the_error_is_that_of_the_plain_cell(task_kernel: Any, name: str) -> None:
    """Error message, its traceback and the reply are equal but for the cell's number."""
    task_kernel.run("import warnings; warnings.simplefilter('always')")
    plain = task_kernel.run(f"{COMMENT}\n{FAILING[name]}")
    task = task_kernel.run(f"{HEADER}\n{FAILING[name]}")
    assert _normal(task) == _normal(plain)
    assert task.reply["content"]["status"] == "error"
    assert task.reply["content"]["ename"] == plain.reply["content"]["ename"]
    assert "prefect_nb" not in str(_normal(task))


def test_the_error_can_be_examined_afterwards(task_kernel: Any) -> None:
    """``%tb`` and post-mortem tools see the user's frames only, and raising again shows plain frames."""
    task_kernel.run("%%task\ndef f():\n    kept = 41\n    1 / 0\nf()")
    again = task_kernel.run("%tb")
    assert "ZeroDivisionError" in str(again.outputs)
    frames = "[(f.name, 'prefect_nb' in f.filename) for f in __import__('traceback').extract_tb(sys.last_traceback)]"
    task_kernel.run("import sys")
    assert task_kernel.value(frames + "[1:]") == "[('<module>', False), ('f', False)]"
    run = task_kernel.run("raise sys.last_value")
    assert len(run.errors) == 1
    assert task_kernel.value("'showtraceback' in vars(get_ipython())") == "False"


def test_post_mortem_debugging_stands_in_the_users_frame(task_kernel: Any) -> None:
    """``%debug`` begins in the line that failed, with its locals."""
    task_kernel.run("%%task\ndef f():\n    kept = 41\n    1 / 0\nf()")
    request = task_kernel.send("%debug", allow_stdin=True)
    shown = []
    for command in ("p kept + 1", "q"):
        prompt = task_kernel.client.get_stdin_msg(timeout=20)
        shown.append(prompt["content"]["prompt"])
        task_kernel.client.input(command)
    assert "42" in task_kernel.wait(request).text()
