"""``prune``: forget ended runs, and every result that nothing refers to any more.

Knows the opened store and its vault; must not know rows, or which results are in use (the store does).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import click

from prefect_nb.apps.listing import as_json, in_store
from prefect_nb.apps.opened import Opened, place_of
from prefect_nb.core.policy import seconds
from prefect_nb.core.retention import Ended, Prunes, Retention, Sweep
from prefect_nb.core.states import StateType
from prefect_nb.errors import UsageError
from prefect_nb.protocols import Store, Usage
from prefect_nb.results.vault import Collected
from prefect_nb.stores.sqlite import SqliteStore
from prefect_nb.views.words import size
from prefect_nb.wiring import now, open_vault

__all__ = ["prune"]

_ALL = 2**31


@dataclass(frozen=True, slots=True)
class _Pruned:
    """What one prune did, or would do."""

    runs: tuple[str, ...]
    kept: tuple[str, ...]
    collected: Collected
    usage: Usage
    rehearsal: bool


@click.command()
@click.option("--older-than", metavar="TIME", help="Forget runs that ended so long ago, such as 30d.")
@click.option("--keep-last", type=click.IntRange(0), metavar="N", help="Keep the newest N ended runs of each flow.")
@click.option("--flow", default="", help="Forget only this flow's runs.")
@click.option("--dry-run", is_flag=True, help="Change nothing; tell what would go.")
@as_json
@in_store
def prune(older_than: str | None, keep_last: int | None, flow: str, dry_run: bool, plain: bool, store: str) -> None:
    """Forget ended runs, and delete the results that nothing refers to any more.

    With both --older-than and --keep-last, a run goes when it is old and not among the newest. With neither, no run
    goes. Runs that are open, paused or running stay, and so do runs whose process lives.
    """
    retention = Retention(_age(older_than), keep_last)
    with Opened(place_of(store)) as opened:
        pruned = _pruned(opened, retention, flow, dry_run)
    if plain:
        click.echo(json.dumps(_to_plain(pruned), indent=2))
    else:
        for line in _lines(pruned, retention):
            click.echo(line)


def _age(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return seconds(text)
    except (UsageError, ValueError) as error:
        raise UsageError(f"--older-than {text} is no duration", hint="write 12h or 30d") from error


def _pruned(opened: Opened, retention: Retention, flow: str, rehearsal: bool) -> _Pruned:
    store, at = opened.store, now()
    assert isinstance(store, Prunes)
    doomed, kept = _doomed(store, retention, flow, at)
    gone = doomed if rehearsal else [run for run in doomed if store.prune_run(run.run, run.worker)]
    kept += [run.run for run in doomed if run not in gone]
    before = None if flow else retention.before(at)
    sweep = Sweep(at, before, rehearsal=rehearsal, runs=tuple(doomed) if rehearsal else ())
    collected = open_vault(store, opened.place).collect(sweep)
    if collected.swept.alone and not rehearsal and isinstance(store, SqliteStore):
        store.compact()
    return _Pruned(tuple(run.run for run in gone), tuple(kept), collected, store.usage(), rehearsal)


def _doomed(store: Store, retention: Retention, flow: str, at: float) -> tuple[list[Ended], list[str]]:
    """The runs that go, and those that would if their process had not been alive."""
    rows = store.runs(flow=flow, limit=_ALL)
    ended = [
        Ended(row.run, row.flow, row.worker, row.ended_at)
        for row in rows
        if row.ended_at is not None and StateType(row.type).final
    ]
    doomed = retention.doomed(ended, at)
    living = {worker for worker in {run.worker for run in doomed} if worker and store.alive(worker)}
    return [run for run in doomed if run.worker not in living], [run.run for run in doomed if run.worker in living]


def _lines(pruned: _Pruned, retention: Retention) -> list[str]:
    swept, collected = pruned.collected.swept, pruned.collected
    asked = "" if retention != Retention() else "; --older-than and --keep-last say which runs"
    forgot, dropped, evicted, deleted = (
        ("would forget", "would drop", "would evict", "would delete")
        if pruned.rehearsal
        else ("forgot", "dropped", "evicted", "deleted")
    )
    lines = [f"{forgot} {_count(len(pruned.runs), 'run')} and {_count(swept.entries, 'reusable result')}{asked}"]
    lines.append(f"{dropped} {_count(swept.dropped, 'stored value')} that nothing uses: {size(swept.dropped_bytes)}")
    if swept.evicted:
        what = _count(swept.evicted, "stored value")
        lines.append(f"{evicted} {what} that did not fit the quota: {size(swept.evicted_bytes)}")
    if collected.orphans:
        lines.append(f"{deleted} {_count(collected.orphans, 'stray file')}: {size(collected.orphan_bytes)}")
    if swept.waiting:
        told = f"{_count(swept.waiting, 'stored value')} ({size(swept.waiting_bytes)}) can go in an hour"
        lines.append(f"{told}: another kernel is at work and may still use what it found")
    if pruned.kept:
        lines.append(f"{_count(len(pruned.kept), 'run')} stay{'s' * (len(pruned.kept) == 1)}: their process lives")
    lines.append(f"results: {size(pruned.usage.results)} of {size(pruned.usage.quota)}")
    return lines


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _to_plain(pruned: _Pruned) -> dict[str, object]:
    swept, collected = pruned.collected.swept, pruned.collected
    return {
        "dry_run": pruned.rehearsal,
        "runs": list(pruned.runs),
        "kept": list(pruned.kept),
        "entries": swept.entries,
        "dropped": swept.dropped,
        "dropped_bytes": swept.dropped_bytes,
        "evicted": swept.evicted,
        "evicted_bytes": swept.evicted_bytes,
        "orphans": collected.orphans,
        "orphan_bytes": collected.orphan_bytes,
        "waiting": swept.waiting,
        "waiting_bytes": swept.waiting_bytes,
        "results_bytes": pruned.usage.results,
        "quota": pruned.usage.quota,
    }
