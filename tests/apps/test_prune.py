"""``prefect-nb prune`` as a user types it."""

from __future__ import annotations

import json

import pytest
from apps_parts import Past
from click.testing import CliRunner, Result

from prefect_nb.apps.cli import cli
from prefect_nb.stores.sqlite import SqliteStore


def call(*arguments: str, status: int = 0) -> Result:
    """Type a command in the working directory."""
    result = CliRunner().invoke(cli, ["prune", *arguments])
    assert result.exit_code == status, result.output
    return result


@pytest.fixture
def report(past: Past) -> Past:
    """Three ended runs of one flow, one of another, one open; their kernel is gone, but for that of the last."""
    for number in range(3):
        session = past.open(f"r{number}")
        past.succeed(session, "load")
        past.finish(session)
    other = past.open("other-1", flow="other")
    past.fail(other, "load")
    past.finish(other)
    live = past.open("open-1", flow="notes", live=True)
    past.succeed(live, "load")
    live.close()
    past.store.close()
    past.store = SqliteStore(past.folder / ".prefect_nb")
    session = past.open("held", flow="notes")
    past.succeed(session, "load")
    past.finish(session)
    return past


def left(report: Past) -> set[str]:
    """The runs that there are."""
    return {row.run for row in report.store.runs(limit=100)}


EVERY = {"r0", "r1", "r2", "other-1", "open-1", "held"}


@pytest.mark.parametrize(
    ("options", "gone", "kept"),
    [
        ((), set(), []),
        (("--keep-last", "2"), {"r0"}, []),
        (("--keep-last", "0"), {"r0", "r1", "r2", "other-1"}, ["held"]),
        (("--older-than", "30d"), {"r0", "r1", "r2", "other-1"}, ["held"]),
        (("--older-than", "30d", "--keep-last", "1"), {"r0", "r1"}, []),
        (("--older-than", "999999d"), set(), []),
        (("--keep-last", "0", "--flow", "other"), {"other-1"}, []),
    ],
)
def test_what_goes(report, options, gone, kept):
    """The asked-for runs go, a rehearsal names them and changes nothing; open runs and living kernels' stay."""
    rehearsed = json.loads(call(*options, "--dry-run", "--json").output)
    assert left(report) == EVERY
    pruned = json.loads(call(*options, "--json").output)
    assert left(report) == EVERY - gone
    assert set(rehearsed["runs"]) == set(pruned["runs"]) == gone
    assert (rehearsed["dry_run"], pruned["dry_run"]) == (True, False)
    assert pruned["kept"] == kept
    assert report.store.check() == []


def test_it_is_told_in_words(report):
    """What went, what stays and the room that is left are said; a second prune finds nothing."""
    told = call("--older-than", "1d").output
    assert told.startswith("forgot 4 runs and 0 reusable results\ndropped 0 stored values that nothing uses: 0 B\n")
    assert "1 run stays: their process lives" in told
    assert told.endswith("results: 0 B of 10.0 GiB\n")
    assert call("--older-than", "1d", "--dry-run").output.startswith("would forget 0 runs and 0 reusable results\n")
    assert "--older-than and --keep-last say which runs" in call().output


def test_a_bad_age_is_named(report):
    """An age that is none is wrong usage, and nothing goes."""
    result = call("--older-than", "a month", status=2)
    assert "--older-than a month is no duration" in result.stderr
    assert left(report) == EVERY
