"""Which cells are handed to the runner, and as what."""

from __future__ import annotations

import ast
import builtins
from typing import Any

import pytest

from prefect_nb.authoring import transform


async def _runner(line: str, cell: str) -> None:
    return None


def _rewritten(source: str) -> str:
    return "".join(transform.rewrite(source.splitlines(keepends=True)))


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("%%task\nx = 1\n", ""),
        ("%%task", ""),
        ("%%task load --retries 3\nx = 1", "load --retries 3"),
        ("%%task\tload\r\nx", "load"),
        ("\n\n%%task a\nx", "a"),
        ("#| task: load --retries 3\nx = 1", "load --retries 3"),
        ("#|task:\nx = 1", ""),
        ("#| task :a\nx = '''\n%%task\n'''", "a"),
        ('%%task it\'s "odd" \\\nx', 'it\'s "odd" \\'),
    ],
)
def test_task_cells_become_one_call(source: str, line: str) -> None:
    """The rewritten cell awaits the entry with the header's text and the cell as it was."""
    call = ast.parse(_rewritten(source)).body[0].value.value  # type: ignore[attr-defined]
    assert call.func.id == transform.ENTRY
    assert [argument.value for argument in call.args] == [line, source]


@pytest.mark.parametrize(
    "source",
    [
        "x = 1\n",
        "",
        "%%tasks\nx",
        "%%task?\n",
        "%%task??",
        "%%time\nx",
        "# | task: a\n",
        "#| tags: [a]\n",
        "#| tasks: a\n",
    ],
)
def test_other_cells_stay_as_they_are(source: str) -> None:
    """Anything but a task header in the first line is none of ours; help belongs to IPython."""
    assert _rewritten(source) == source


@pytest.mark.parametrize("source", ["%%task a\nx\n", "#| task: a\nx\n", "x\n"])
def test_rewriting_again_changes_nothing(source: str) -> None:
    """The rewrite is idempotent, since front ends and IPython may transform twice."""
    assert _rewritten(_rewritten(source)) == _rewritten(source)


@pytest.mark.parametrize("first", ["x = 1\n", "%%task\n"])
def test_a_misplaced_header_becomes_a_usage_error(first: str) -> None:
    """Where a header stands further down, the cell only tells so, also when it begins with one."""
    lines = transform.rewrite([first, "%%task\n"], lambda source: 2)
    assert len(lines) == 1
    assert lines[0].startswith(f"{transform.ENTRY}.usage(")
    assert "line 2" in lines[0]


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("%%task\nx = 1\n", "incomplete"),
        ("%%task\nx = 1\n\n", "complete"),
        ("%%task\nfor i in x:\n", "incomplete"),
        ("#| task: a\nx = 1", "complete"),
        ("#| task: a\nfor i in x:", "incomplete"),
    ],
)
def test_a_console_knows_when_a_task_cell_is_complete(shell: Any, source: str, status: str) -> None:
    """A task cell is complete when any cell magic would be; the comment spelling when the Python is."""
    transform.install(shell, _runner)
    try:
        assert shell.check_complete(source)[0] == status
    finally:
        transform.uninstall(shell)


def test_install_and_uninstall_leave_no_trace(shell: Any) -> None:
    """Installing twice installs once, as the first transformer; uninstalling restores the shell."""
    before = list(shell.input_transformers_cleanup)
    transform.install(shell, _runner)
    transform.install(shell, _runner)
    assert shell.input_transformers_cleanup[1:] == before
    assert shell.transform_cell("%%task\n1").startswith(f"await {transform.ENTRY}(")
    transform.uninstall(shell)
    transform.uninstall(shell)
    assert shell.input_transformers_cleanup == before
    assert not hasattr(builtins, transform.ENTRY)
