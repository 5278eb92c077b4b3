"""A shell and a store for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from apps_parts import Past, Shell


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell in the test's own folder."""
    found = Shell(tmp_path)
    yield found
    found.close()


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    """A store in the test's own folder, which is the working directory."""
    os.chdir(tmp_path)
    found = Past(tmp_path)
    yield found
    found.store.close()
