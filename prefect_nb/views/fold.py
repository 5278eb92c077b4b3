"""Folding a large graph: tasks of one name and one depth become a group with counts, or else all of one depth.

An edge always leads to a greater depth, so that groups make no cycle. The renderer's twin of this file is
``labextension/packages/view/src/fold.ts``; a person opens groups there, while a picture shows them folded.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from prefect_nb.views.cards import speaker
from prefect_nb.views.model import EdgeView, NodeView, ViewModel

__all__ = ["LARGE", "fold"]

LARGE = 150
"""How many tasks are drawn one by one at most."""
_HEAD = "group:"
_NUMBER = re.compile(r"[-_ ]?[0-9]+$")


def fold(model: ViewModel) -> ViewModel:
    """The model to draw: a small one as it is, a large one with groups in place of their members."""
    known = {node.id for node in model.nodes}
    roots = [node for node in model.nodes if node.parent is None or node.parent not in known]
    if len(roots) <= LARGE:
        return model
    depth = _depths(roots, model.edges)
    groups = _grouped(roots, lambda node: f"{_NUMBER.sub('', node.label) or node.label}@{depth[node.id]}")
    if len(roots) - sum(len(group) - 1 for group in groups.values()) > LARGE:
        groups = _grouped(roots, lambda node: f"depth@{depth[node.id]}")
    home = {node.id: name for name, group in groups.items() for node in group}
    nodes: dict[str, NodeView] = {}
    for node in model.nodes:
        name = home.get(node.id)
        if name is None and node.parent not in home:
            nodes[node.id] = node
        elif name is not None and name not in nodes:
            nodes[name] = _stand_in(name, groups[name])
    apart = [e for e in model.edges if e.source not in home and e.target not in home]
    pairs = [(home.get(e.source, e.source), home.get(e.target, e.target)) for e in model.edges]
    joined = [EdgeView(s, t) for s, t in dict.fromkeys(pairs) if s != t and (s in groups or t in groups)]
    return replace(model, nodes=tuple(nodes.values()), edges=(*apart, *joined))


def _grouped(roots: Iterable[NodeView], name: Callable[[NodeView], str]) -> dict[str, list[NodeView]]:
    groups: dict[str, list[NodeView]] = {}
    for node in roots:
        groups.setdefault(_HEAD + name(node), []).append(node)
    return {name: group for name, group in groups.items() if len(group) > 1}


def _depths(roots: Iterable[NodeView], edges: Iterable[EdgeView]) -> dict[str, int]:
    """The longest way to each node; 0 for what only a cycle reaches."""
    depth = {node.id: 0 for node in roots}
    after: dict[str, list[str]] = {}
    left: Counter[str] = Counter()
    for edge in edges:
        if edge.source in depth and edge.target in depth and edge.source != edge.target:
            after.setdefault(edge.source, []).append(edge.target)
            left[edge.target] += 1
    ready = [name for name in depth if not left[name]]
    for name in ready:
        for target in after.get(name, ()):
            depth[target] = max(depth[target], depth[name] + 1)
            left[target] -= 1
            if not left[target]:
                ready.append(target)
    return depth


def _stand_in(name: str, members: list[NodeView]) -> NodeView:
    worst = speaker(members)
    counts: Counter[str] = Counter()
    for node in members:
        counts.update(node.counts if node.counts else {node.state: 1})
    base, _, level = name.removeprefix(_HEAD).rpartition("@")
    label = f"step {int(level) + 1}" if base == "depth" else base
    return NodeView(
        id=name,
        label=f"{label} ({len(members)})",
        kind="function",
        state=worst.state,
        type=worst.type,
        position=members[0].position,
        counts=dict(counts),
    )
