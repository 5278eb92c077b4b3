"""``status``, ``runs``, ``why``, ``logs`` and ``graph``: what a store knows of runs, now and later.

Knows the opened store and the text renderers; must not know how a run is executed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from prefect_nb.apps.files import write_text
from prefect_nb.apps.opened import Opened, Told, place_of, run_view
from prefect_nb.errors import UsageError
from prefect_nb.views.details import Details
from prefect_nb.views.dot import to_dot
from prefect_nb.views.inspect import explanation, inspect
from prefect_nb.views.model import NodeView
from prefect_nb.views.svg import to_svg
from prefect_nb.views.text import runs_table, status_table, table
from prefect_nb.wiring import now

__all__ = ["as_json", "graph", "in_store", "logs", "of_run", "runs", "status", "why"]

in_store = click.option("--store", default="", metavar="PATH", help="The store; by default the working directory's.")
as_json = click.option("--json", "plain", is_flag=True, help="Print JSON.")
of_run = click.argument("run", default="")


def _json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


@click.command()
@of_run
@as_json
@in_store
def status(run: str, plain: bool, store: str) -> None:
    """Show every task of RUN with its state, attempt, time and reason; by default of the latest run."""
    with Opened(place_of(store)) as opened:
        model = opened.tell(opened.find(run)).model
    if not plain:
        click.echo(status_table(model))
        return
    _json(
        {
            "run": model.run.id,
            "flow": model.run.flow,
            "state": model.run.state,
            "type": model.run.type,
            "tasks": [_task(node) for node in model.nodes if node.kind != "plain"],
        }
    )


def _task(node: NodeView) -> dict[str, Any]:
    return {
        "name": node.id,
        "state": node.state,
        "type": node.type,
        "attempt": node.attempt,
        "duration_s": node.duration_s,
        "cached_from": node.cached_from,
        "reason": node.reason or node.message,
    }


@click.command()
@click.option("-n", "limit", default=20, show_default=True, type=click.IntRange(1, 10_000), help="At most so many.")
@click.option("--flow", default="", help="Only this flow's runs.")
@as_json
@in_store
def runs(limit: int, flow: str, plain: bool, store: str) -> None:
    """List the runs of the store, newest first."""
    with Opened(place_of(store)) as opened:
        rows = opened.store.runs(flow=flow, limit=limit)
    if not plain:
        click.echo(runs_table([run_view(row) for row in rows], now()))
        return
    _json(
        [
            {
                "run": row.run,
                "flow": row.flow,
                "notebook": row.notebook,
                "state": row.state,
                "type": row.type,
                "message": row.message,
                "live": row.live,
                "started_at": row.created_at,
                "ended_at": row.ended_at,
                "parameters": dict(row.parameters),
            }
            for row in rows
        ]
    )


@click.command()
@click.argument("name")
@of_run
@as_json
@in_store
def why(name: str, run: str, plain: bool, store: str) -> None:
    """Explain why the task NAME ran, was reused or was not run: the decision, its key part by part, its states."""
    with Opened(place_of(store)) as opened:
        told = opened.tell(opened.find(run))
        task = opened.task(told, name)
        details = _details(opened, told, task)
    visit = told.run.visit(task) or next((v for v in told.run.visits.values() if str(v.id) == task), None)
    if not plain:
        click.echo(explanation(details, visit, now()))
        return
    found: dict[str, Any] = {"run": told.row.run, "task": task, "state": None, "type": None}
    if visit is not None:
        found |= {
            "state": visit.state.label,
            "type": visit.state.type.value,
            "message": visit.state.message,
            "reason": visit.reason.to_plain() if visit.reason else None,
            "because": visit.reason.sentence if visit.reason else "",
            "decided_at": visit.planned_at,
            "cached_from": visit.cached_from,
            "cached_age_s": visit.cached_age_s,
            "saved_s": visit.saved_s,
            "key": visit.key,
        }
    parts = [asdict(part) for part in details.key]
    _json(found | {"parts": parts, "states": [asdict(line) for line in details.states]})


def _details(opened: Opened, told: Told, task: str) -> Details:
    store = opened.store
    visit = told.run.visit(task)
    entries = store.entries(task=task, flow=told.row.flow, limit=20)
    entry = next((e for e in entries if visit is not None and e.key == visit.key), None)
    earlier = next((e for e in entries if entry is not None and e.created_at < entry.created_at), None)
    return inspect(told.events, store.logs(told.row.run), entry, earlier, task)


@click.command()
@click.argument("names", nargs=-1, metavar="NAME|--all [RUN]")
@click.option("--all", "everything", is_flag=True, help="Every task.")
@as_json
@in_store
def logs(names: tuple[str, ...], everything: bool, plain: bool, store: str) -> None:
    """Print what the task NAME wrote, each attempt by itself; with --all what every task wrote, in order."""
    if len(names) > (1 if everything else 2) or not (names or everything):
        raise UsageError(
            "name one task, or say --all", hint="prefect-nb logs NAME [RUN], or prefect-nb logs --all [RUN]"
        )
    task, run = ("", names[0] if names else "") if everything else (names[0], names[1] if len(names) == 2 else "")
    with Opened(place_of(store)) as opened:
        told = opened.tell(opened.find(run))
        chunks = opened.store.logs(told.row.run, opened.task(told, task) if task else "")
    if plain:
        _json(
            [
                {"task": str(c.visit.task), "visit": c.visit.visit, "attempt": c.attempt, "stream": c.stream}
                | {"text": c.text, "at": c.at}
                for c in chunks
            ]
        )
        return
    several = len({(c.visit, c.attempt) for c in chunks}) > 1
    last: object = None
    ended = True
    for chunk in chunks:
        if several and (chunk.visit, chunk.attempt) != last:
            last = chunk.visit, chunk.attempt
            click.echo(f"{'' if ended else chr(10)}── {chunk.visit} · attempt {chunk.attempt}")
        click.echo(chunk.text, nl=False)
        ended = chunk.text.endswith("\n")
    if not ended:
        click.echo()


@click.command()
@of_run
@click.option("--svg", metavar="FILE", help="Write the picture to FILE; - is the standard output.")
@click.option("--dot", is_flag=True, help="Print it in the DOT language.")
@as_json
@in_store
def graph(run: str, svg: str | None, dot: bool, plain: bool, store: str) -> None:
    """Write the graph of RUN as it is now: as SVG, in the DOT language, or as a list of edges."""
    if sum((svg is not None, dot, plain)) > 1:
        raise UsageError("--svg, --dot and --json exclude one another", hint="choose one")
    with Opened(place_of(store)) as opened:
        model = opened.tell(opened.find(run)).model
    if svg == "-":
        click.echo(to_svg(model))
    elif svg is not None:
        write_text(Path(svg), to_svg(model))
        click.echo(f"wrote {svg}")
    elif dot:
        click.echo(to_dot(model), nl=False)
    elif plain:
        _json(model.to_plain())
    else:
        click.echo(_edges(model.nodes, ((e.source, e.target, e.names) for e in model.edges)))


def _edges(nodes: Iterable[NodeView], edges: Iterable[tuple[str, str, tuple[str, ...]]]) -> str:
    rows: list[tuple[str, str, str]] = [(source, target, ", ".join(names)) for source, target, names in edges]
    joined = {name for row in rows for name in row[:2]}
    rows += [(node.id, "", "") for node in nodes if node.parent is None and node.id not in joined]
    return table(rows, ("from", "to", "names")) if rows else "no tasks yet"
