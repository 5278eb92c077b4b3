"""Artifacts for people: as rows of a store, on the nodes of a model, and as text for a terminal.

Knows the view model and the shape of artifacts. Must not know how they are made or where pictures are stored. Control
characters of data are replaced, so that no artifact can steer a terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from prefect_nb.core.artifacts import Artifact, Gauge, share_done
from prefect_nb.core.run import Run
from prefect_nb.core.spec import VisitId
from prefect_nb.protocols import LogChunk
from prefect_nb.views.model import NodeView, ViewModel
from prefect_nb.views.text import table
from prefect_nb.views.words import size

__all__ = ["artifact_text", "artifacts_of", "far_words", "gauged", "gauges_of", "meter"]

_BAR = 24


def artifacts_of(chunks: Iterable[LogChunk]) -> tuple[Artifact, ...]:
    """The artifacts of one visit in their order; rows that are none are passed over."""
    found = (Artifact.of_text(c.stream, c.text, c.attempt, c.at) for c in chunks)
    return tuple(sorted((a for a in found if a is not None), key=lambda made: (made.number, made.name)))


def gauges_of(chunks: Sequence[LogChunk]) -> dict[VisitId, Gauge]:
    """What a store tells of bodies that may still run."""
    found: dict[VisitId, Gauge] = {}
    for visit in dict.fromkeys(chunk.visit for chunk in chunks):
        made = artifacts_of(chunk for chunk in chunks if chunk.visit == visit)
        newest = max((a for a in made if a.kind == "progress"), key=lambda a: a.at, default=None)
        if newest is not None:
            found[visit] = Gauge(newest.attempt, newest)
    return found


def gauged(model: ViewModel, run: Run, gauges: Mapping[VisitId, Gauge]) -> ViewModel:
    """The model with how far its running tasks say that they are."""
    if not gauges:
        return model
    known = {}
    for visit, gauge in gauges.items():
        if visit.index < 0 and run.latest.get(visit.task) == visit:
            known[visit.task] = gauge
        known[str(visit)] = gauge
    nodes = tuple(_gauged(node, known[node.id]) if node.id in known else node for node in model.nodes)
    return replace(model, nodes=nodes)


def _gauged(node: NodeView, gauge: Gauge) -> NodeView:
    made = gauge.progress
    shown: dict[str, Any] | None = None
    if made is not None and node.type == "RUNNING" and made.attempt == node.attempt:
        shown = {"name": made.name, "share": share_done(made.body), "text": far_words(made.body)}
    return replace(node, progress=shown, artifacts=gauge.changes)


def far_words(body: Mapping[str, Any]) -> str:
    """How far a progress is, in words: ``"45 of 120 · loading"``."""
    value, total, message = body.get("value"), body.get("total"), str(body.get("message") or "")
    share = share_done(body)
    if total is not None:
        told = f"{_amount(value)} of {_amount(total)}"
    else:
        told = f"{int(share * 100)} %" if share is not None else _amount(value)
    return " · ".join(part for part in (told, message) if part)


def meter(share: float | None, width: int = _BAR) -> str:
    """A bar for a terminal; dots where nobody knows the whole."""
    if share is None:
        return "·" * width
    full = int(share * width)
    return "█" * full + "░" * (width - full)


def artifact_text(made: Artifact) -> str:
    """One artifact under its name, for a terminal."""
    body = made.body
    match made.kind:
        case "progress":
            told = f"{meter(share_done(body))} {far_words(body)}"
        case "table":
            told = table(body.get("rows", ()), [_clean(str(head)) for head in body.get("columns", ())] or [""])
        case "link":
            text, url = str(body.get("text", "")), str(body.get("url", ""))
            told = url if text == url else f"{text}: {url}"
        case "image":
            alt = f", {body['alt']}" if body.get("alt") else ""
            told = f"a picture ({body.get('mime', '')}, {size(int(body.get('size', 0)))}){alt}"
        case _:
            told = str(body.get("text", ""))
    cut = f"\n({body['cut']})" if body.get("cut") else ""
    return f"{_clean(made.name)}\n" + "\n".join(f"  {_clean(line)}".rstrip() for line in f"{told}{cut}".splitlines())


def _amount(value: object) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else ""


def _clean(text: str) -> str:
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs", "Cf") else c for c in text)
