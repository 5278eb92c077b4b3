"""The programs of docs/classics.md do what the page says."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "classics.md"
BLOCKS = dict(re.findall(r"^## (.+?)\n.*?```python\n(.*?)```", PAGE.read_text("utf-8"), re.M | re.S))


def test_every_section_has_a_program() -> None:
    """No heading of the page goes without one."""
    assert list(BLOCKS) == re.findall(r"^## (.+)$", PAGE.read_text("utf-8"), re.M)
    assert len(BLOCKS) >= 7


@pytest.mark.parametrize("title", BLOCKS)
def test_the_program_prints_what_the_page_says(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Line by line, as beside each ``print``."""
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "program.py"
    program.write_text(BLOCKS[title])
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        runpy.run_path(str(program))
    told = re.findall(r"^print\(.*\)\s+# (.+)$", BLOCKS[title], re.M)
    assert told
    assert said.getvalue().splitlines() == told
