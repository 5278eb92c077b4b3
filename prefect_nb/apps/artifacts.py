"""``artifacts``: what the tasks of a run show of themselves, now and later.

Knows the opened store and the text renderer; must not know how a body makes one.
"""

from __future__ import annotations

import json
from itertools import groupby

import click

from prefect_nb.apps.listing import as_json, in_store, of_run
from prefect_nb.apps.opened import Opened, place_of
from prefect_nb.views.artifacts import artifact_text, artifacts_of

__all__ = ["artifacts"]


@click.command()
@of_run
@click.option("--task", "name", default="", metavar="NAME", help="Only this task's.")
@as_json
@in_store
def artifacts(run: str, name: str, plain: bool, store: str) -> None:
    """Print the artifacts of RUN: texts, tables, links, and how far a task is; by default of the latest run."""
    with Opened(place_of(store)) as opened:
        told = opened.tell(opened.find(run))
        chunks = opened.store.logs(told.row.run, opened.task(told, name) if name else "", artifacts=True)
    found = [(visit, artifacts_of(rows)) for visit, rows in groupby(chunks, key=lambda chunk: chunk.visit)]
    if plain:
        rows = [{"task": v.task, "visit": v.visit, "index": v.index} | a.to_plain() for v, made in found for a in made]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    texts = [f"── {visit}\n" + "\n\n".join(map(artifact_text, made)) for visit, made in found if made]
    click.echo("\n\n".join(texts) or f"no artifacts in run {told.row.run}")
