"""The graph in the DOT language, for people who have Graphviz and want to go on with it.

Knows the view model. Uses the `graphviz` package only to quote and to join; needs no ``dot`` program. Nothing of the
data becomes a URL, a file name or markup: labels are escaped, node names are our own numbers.
"""

from __future__ import annotations

from prefect_nb.views.model import ViewModel
from prefect_nb.views.palette import TONES, look_of
from prefect_nb.views.words import node_line

__all__ = ["to_dot"]

_STYLES = {
    "thin": "",
    "double": "",
    "thick": ",bold",
    "dashed": ",dashed",
    "dotted": ",dotted",
    "dotted-thick": ",dotted",
}


def to_dot(model: ViewModel) -> str:
    """The DOT source of a model: cells as boxes, a cell's functions in a cluster with it."""
    import graphviz

    dot = graphviz.Digraph("flow", node_attr={"shape": "box", "fontname": "sans-serif", "fontsize": "11"})
    dot.attr(label=graphviz.escape(f"{model.run.flow}: {model.run.state}"), labelloc="t", fontname="sans-serif")
    names = {node.id: f"n{index}" for index, node in enumerate(model.nodes)}
    clusters: dict[str, list[str]] = {}
    for node in model.nodes:
        look = look_of(node.state, node.type, node.kind)
        tone = TONES[look.tone]
        dot.node(
            names[node.id],
            label=graphviz.escape(node.label) + r"\n" + graphviz.escape(node_line(node)),
            style=f"rounded,filled{_STYLES[look.border]}",
            fillcolor=tone.fill,
            color=tone.line,
            peripheries="2" if look.border == "double" else "1",
            tooltip=graphviz.escape(node.reason or node.label),
        )
        if node.parent in names:
            clusters.setdefault(node.parent, []).append(names[node.id])
    for index, (parent, children) in enumerate(clusters.items()):
        with dot.subgraph(name=f"cluster_{index}") as box:
            box.attr(style="rounded", color="#8c96a1", label="")
            for name in (names[parent], *children):
                box.node(name)
    for edge in model.edges:
        if edge.source in names and edge.target in names:
            label = graphviz.escape(", ".join(edge.names))
            style = "dashed" if edge.kind == "after" else "solid"
            dot.edge(names[edge.source], names[edge.target], label=label, style=style, fontsize="9")
    return str(dot.source)
