"""An IPython shell of a test's own, in this process: no history file, no profile, no ``__main__`` of anybody else."""

from __future__ import annotations

import atexit
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cell_parts import Book
from cells.bench import ShellBench
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


@pytest.fixture
def shell() -> Iterator[Any]:
    """A plain IPython shell, as a terminal has it."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "NoColor"
    module = types.ModuleType("session_under_test")
    before = sys.modules.get(module.__name__)
    made = InteractiveShell(config=config, user_module=module)
    yield made
    atexit.unregister(made.atexit_operations)
    made.atexit_operations()
    sys.modules.pop(module.__name__, before)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[ShellBench]:
    """A shell of this process with the extension loaded, in a folder and with a store of its own."""
    made = ShellBench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def book(shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Book]:
    """A notebook of a test's own, with its store in the test's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_NB_HOME", str(tmp_path / "home"))
    made = Book(shell)
    yield made
    made.close()
