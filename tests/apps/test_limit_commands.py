"""``prefect-nb limits`` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from prefect_nb import open_store
from prefect_nb.apps.cli import cli


def call(*arguments: str, status: int = 0) -> str:
    """Type a command in the working directory; what it says."""
    result = CliRunner().invoke(cli, ["limits", *arguments])
    assert result.exit_code == status, result.output
    return result.output


def test_limits_are_set_listed_and_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands and Python see the same; a limit may come before the first task, which makes the store."""
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert "no tag has a limit" in call()
    assert call("set", "db", "3") == "at most 3 with db at a time\n"
    assert call("set", "api", "0") == "nothing with api enters\n"
    assert call() == "api: 0 of 0 in use\ndb: 0 of 3 in use\n"
    rows = [{"tag": "api", "slots": 0, "used": 0}, {"tag": "db", "slots": 3, "used": 0}]
    assert json.loads(call("--json")) == rows
    call("unset", "api")
    store = open_store()
    try:
        assert store.limits() == {"db": 3}  # type: ignore[attr-defined]
        store.set_limit("db", None)  # type: ignore[attr-defined]
    finally:
        store.close()
    assert "db has no limit" in call("unset", "db", status=2)
    assert "no tag has a limit" in call()


@pytest.mark.parametrize("slots", ["-1", "many", "1.5"])
def test_a_limit_is_a_number(slots: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything else is wrong usage, and changes nothing."""
    monkeypatch.chdir(tmp_path)
    call("set", "--", "db", slots, status=2)
    assert not list(tmp_path.iterdir())
