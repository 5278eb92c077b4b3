"""Parts of the store tests: stores that close themselves, a small disk."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prefect_nb.stores.process import ProcessStore
from prefect_nb.stores.sqlite import SqliteStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the store of a test lies."""
    return tmp_path / "proj" / ".prefect_nb"


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., ProcessStore]]:
    """Start a store with its owner process; all are closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda path=folder, **more: stack.enter_context(contextlib.closing(ProcessStore(path, **more)))


@pytest.fixture
def open_here(folder: Path) -> Iterator[Callable[..., SqliteStore]]:
    """Open a store in this process; all are closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda path=folder, **more: stack.enter_context(contextlib.closing(SqliteStore(path, **more)))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1.5 MB that can be filled; skipped loudly where nothing may be mounted."""
    place = tmp_path / "disk"
    place.mkdir(mode=0o700)
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"NOT TESTED: a full disk needs the right to mount one ({mount.stderr.strip()})")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
