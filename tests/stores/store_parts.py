"""Second processes for the store tests."""

from __future__ import annotations

import os
import select
import subprocess
import sys

__all__ = ["PATIENCE_S", "in_another_process", "wait_for_end"]

PATIENCE_S = 20.0


def in_another_process(code: str, *arguments: str) -> str:
    """What a Python process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def wait_for_end(pid: int) -> None:
    """Return when a process has ended; fail when it does not."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], PATIENCE_S)[0], f"process {pid} lives on"
    finally:
        os.close(handle)
