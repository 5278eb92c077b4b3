"""An IPython shell of a test's own, in this process: no history file, no profile, no ``__main__`` of anybody else."""

from __future__ import annotations

import atexit
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
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
