"""The exam's option: ``--cases FILE`` examines another catalogue of the same format."""

from __future__ import annotations

from pathlib import Path

import pytest
from cells.catalogue import DEFAULT


def pytest_addoption(parser: pytest.Parser) -> None:
    """One catalogue instead of the ones that lie here; ``--everywhere`` takes engine cases to a real kernel too."""
    parser.addoption("--cases", type=Path, default=None, help="a catalogue of cell cases (Markdown with TOML blocks)")
    parser.addoption("--everywhere", action="store_true", help="examine engine cases in a real kernel too")


def catalogues(config: pytest.Config) -> list[Path]:
    """The catalogues to examine."""
    asked = config.getoption("--cases", default=None)
    if asked is not None:
        return [Path(asked)]
    more = DEFAULT.with_name("more-cases.md")
    return [DEFAULT, more] if more.is_file() else [DEFAULT]
