"""Real processes, killed and stopped at random moments; see :mod:`kill_loop`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("kill_loop.py")
ROOT = Path(__file__).resolve().parents[2]


def killed(folder: Path, seed: int, kills: int, patience_s: float) -> dict[str, Any]:
    """What came of so many kills."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), str(seed), str(kills)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=patience_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def promised(found: dict[str, Any]) -> None:
    """Nothing lost, nothing twice, deaths seen in time; and something was at stake."""
    assert found["wrong"] == []
    assert found["told"] >= found["kills"]
    assert found["successes"] >= found["told"]
    assert found["slowest_detection_s"] < 2


def test_ten_kills(tmp_path: Path) -> None:
    """After ten kills of kernels and store processes everything that was told as done is there, once."""
    promised(killed(tmp_path, 1, 10, 60))


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_thousand_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same after a thousand; prints what happened."""
    found = killed(tmp_path, 2, 1000, 850)
    with capsys.disabled():
        print(f"\n  {found}")
    promised(found)
    assert min(found["did"][kind] for kind in ("kernel", "owner", "both", "stop")) > 50
