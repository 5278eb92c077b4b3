"""What a cell gets to see: names that functions in its inputs look up, and none that only it or later cells bound.

Knows the document and the namespace; not versions, not outcomes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prefect_nb.analysis.names import Names
from prefect_nb.authoring.document import CellInfo
from prefect_nb.authoring.footprint import bound_late, looked_up
from prefect_nb.authoring.liveflow import LiveFlow

__all__ = ["follow", "hide", "unhide", "without_own"]


def follow(flow: LiveFlow, cell: CellInfo, producers: Mapping[str, str]) -> bool:
    """Take over what functions inside the cell's inputs look up above it; whether the graph shows more now."""
    document, names = flow.document, cell.names or Names()
    own = names.reads | names.must_write
    wanted = looked_up(flow.ns.kin.code(n for n in producers if n in own)) - own
    if not wanted:
        return document.expect(cell, frozenset())
    below = document.after(cell.id)
    above = [c.names.writes for c in document.cells if c.id not in below and c.names is not None]
    return document.expect(cell, frozenset(wanted).intersection(frozenset[str]().union(*above)))


def hide(flow: LiveFlow, cell: CellInfo, producers: Mapping[str, str], made: Collection[str]) -> dict[str, Any]:
    """Take away what the cell must not see: names that only this cell or later ones bound.

    What the cell itself bound last time is gone for good; the rest comes back with :func:`unhide`.

    Parameters
    ----------
    made : collection of str
        What it bound last time.
    """
    ns, names = flow.ns, cell.names
    if names is None:
        return {}
    hidden: dict[str, Any] = {}
    below = flow.document.after(cell.id)
    said = names.reads | names.writes | names.defers
    for name in frozenset(made) - said:
        if ns.writer(name) == cell.id:
            ns.drop(name)
    late = {n for n in names.defers - names.reads - names.writes if ns.writer(n) not in below}
    for name in said - set(producers) - late:
        writer = ns.writer(name)
        if writer is None:
            continue
        if writer == cell.id:
            if name not in names.must_write or name in names.reads:
                ns.drop(name)  # as in a new kernel, where it is not there before the cell made it
        elif name in names.reads or name not in names.must_write:
            _take(flow, name, hidden)
    code = ns.kin.code(n for n in names.reads if n in ns)
    for name in (looked_up(code) | bound_late(code)) - set(producers):
        if ns.writer(name) == cell.id:
            ns.drop(name)
        elif ns.writer(name) in below:
            _take(flow, name, hidden)
    return hidden


def _take(flow: LiveFlow, name: str, hidden: dict[str, Any]) -> None:
    flow.ns.materialize((name,))
    if name in flow.shell.user_ns:
        hidden[name] = flow.shell.user_ns.pop(name)


def unhide(flow: LiveFlow, hidden: Mapping[str, Any]) -> None:
    """Bring back what was hidden, unless the cell has bound it now."""
    flow.shell.user_ns.update({n: v for n, v in hidden.items() if n not in flow.ns})


@contextmanager
def without_own(flow: LiveFlow, cell: CellInfo) -> Iterator[None]:
    """For a moment, the names as the cell found them: what it bound itself, and may not bind again, is away."""
    ns, names, user = flow.ns, cell.names or Names(), flow.shell.user_ns
    said = names.reads | names.writes | names.defers
    own = {n for n in said if ns.writer(n) == cell.id and (n not in names.must_write or n in names.reads)}
    ns.materialize(own)
    away = {n: user.pop(n) for n in own if n in user}
    try:
        yield
    finally:
        user.update(away)
