"""Where the front end sends no cell ids (plain nbclient, a terminal), equal text is no identity."""

from __future__ import annotations

from typing import Any

import pytest
from must_parts import states

pytestmark = pytest.mark.kernel

SCRIPTS = {
    "a task that changes what it reads": ["%%task\nn = 1", "%%task\nn += 1", "%%task\nn += 1", "n"],
    "a task whose input was bound anew": ["x = 1", "%%task\ny = x * 10", "x = 2", "%%task\ny = x * 10", "y"],
    "a plain cell between others": ["x = 1", "%%task\ny = x", "x = 2", "x = 1", "%%task\nz = x", "(y, z)"],
    "a value changed in place": ["%%task\na = [1]", "%%task\na.append(2)", "%%task\na.append(2)", "a"],
    "a helper defined anew": [
        "def f():\n    return 1",
        "%%task\ny = f()",
        "def f():\n    return 2",
        "%%task\ny = f()",
        "y",
    ],
    "one name for two cells": ["%%task same\nx = 1", "%%task same\nz = 2", "(x, z)"],
}


@pytest.mark.parametrize("cells", SCRIPTS.values(), ids=SCRIPTS)
def test_a_notebook_gives_what_plain_python_gives(kernel: Any, cells: list[str]) -> None:
    """Cells executed once from top to bottom bind what they bind without their headers."""
    scope: dict[str, Any] = {}
    for cell in cells[:-1]:
        exec("\n".join(line for line in cell.splitlines() if not line.startswith("%%task")), scope)
    kernel.run("%load_ext prefect_nb")
    for cell in cells[:-1]:
        assert kernel.run(cell).ok, cell
    assert kernel.run(cells[-1]).result == repr(eval(cells[-1], scope))


def test_the_same_cell_at_once_again_is_itself(kernel: Any) -> None:
    """Nothing it uses was touched in between, so it is reused under its name."""
    for cell in ["%load_ext prefect_nb", "x = 1", "%%task t\ny = x", "%%task t\ny = x"]:
        kernel.run(cell)
    assert states(kernel) == {"t": "Cached"}
