"""docs/parity.md: every line has a verdict, and names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip()[1:-1].split("|")]
    for line in (ROOT / "docs" / "parity.md").read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| there |")
]
VERDICTS = ("have", "better", "refused", "not yet")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_line_says_what_is_here_and_which_test_shows_it(row: list[str]) -> None:
    """No gap is silent, and no claim stands without a test of that name."""
    assert len(row) == 4
    told = row[2]
    assert told.startswith(VERDICTS)
    tests = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", row[-1])
    assert tests or told.startswith(("not yet", "refused"))
    for path, name in tests:
        text = (ROOT / "tests" / path).read_text("utf-8")
        assert not name or f"def {name}(" in text, f"{path} has no test {name}"
