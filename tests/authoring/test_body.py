"""A body in a plain shell, as a terminal has it; kernels are tested in ``tests/kernel``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from prefect_nb.authoring.body import Body, End
from prefect_nb.authoring.interrupts import Interrupts


def _run(shell: Any, cell: str, names: dict[str, Any]) -> End:
    return asyncio.run(Body(shell, cell, 1).run(names, Interrupts(), 1))


def test_names_are_bound_in_the_namespace_given(shell: Any) -> None:
    """A body reads and writes the namespace that it is run with, and may be run again."""
    body, names = Body(shell, "%%task\nx = y + 1", 1), {"y": 1}
    for expected in (2, 6):
        assert asyncio.run(body.run(names, Interrupts(), 1)) == End("returned")
        assert names["x"] == expected
        names["y"] = 5


@pytest.mark.parametrize(
    ("cell", "source", "awaits"),
    [
        ("%%task\n\n\nx = 1", "x = 1\n", False),
        ("%%task\n!ls", "get_ipython().system('ls')\n", False),
        ("%%task\nawait f()", "await f()\n", True),
        ("%%task\nasync def f():\n    await g()", "async def f():\n    await g()\n", False),
        ("%%task", "", False),
    ],
)
def test_analysis_sees_plain_python_without_the_header(shell: Any, cell: str, source: str, awaits: bool) -> None:
    """The source is the transformed body; whether it awaits is known before it runs."""
    body = Body(shell, cell, 1)
    assert (body.source, body.awaits) == (source, awaits)


@pytest.mark.parametrize("blank", ["", "\n", "\n  \n"])
def test_lines_are_those_of_the_cell(shell: Any, blank: str) -> None:
    """Line numbers in the tree, in tracebacks and in syntax errors count from the header."""
    line = 2 + blank.count("\n")
    assert Body(shell, f"%%task\n{blank}x = 1", 1).tree.body[0].lineno == line
    end = _run(shell, f"%%task\n{blank}1 / 0", {})
    assert end.kind == "raised"
    assert end.traceback is not None
    assert end.traceback.tb_lineno == line
    with pytest.raises(SyntaxError) as caught:
        Body(shell, f"%%task\n{blank}x = = 1", 1)
    assert caught.value.lineno == line


def test_the_traceback_begins_in_the_body(shell: Any) -> None:
    """No frame of ours stands above the user's, also when the body awaits."""
    for cell in ("%%task\nf()", "%%task\nasync def g():\n    f()\nawait g()"):
        body = Body(shell, cell, 1)
        end = asyncio.run(body.run({"f": lambda: 1 / 0}, Interrupts(), 1))
        assert end.traceback is not None
        assert end.traceback.tb_frame.f_code.co_filename == body.filename
