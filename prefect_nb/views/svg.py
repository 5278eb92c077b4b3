"""The static picture: one self-contained, accessible SVG of a view model.

Knows the view model and the drawing. No script, no link, no font, nothing fetched: the file shows the same in a
notebook, on a code host, in a mail. Light and dark follow the reader's preference. All text goes through one escape.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping

from prefect_nb.views.cards import (
    BOLD,
    HEAD,
    ROW,
    Card,
    Direction,
    Drawing,
    Link,
    Row,
    arrange,
    fit_text,
    route_path,
    text_width,
)
from prefect_nb.views.fold import fold
from prefect_nb.views.model import NodeView, ViewModel
from prefect_nb.views.palette import BORDERS, FILLED, GLYPHS, LOOKS, TONES, Look, look_of
from prefect_nb.views.words import duration, node_line, shares, spoken, tally

__all__ = ["to_svg"]

_MARGIN = 20.0
_HEAD = 62.0
_LEGEND = 26.0
_LEAST = 460.0
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',sans-serif"


def to_svg(model: ViewModel, direction: Direction = "down") -> str:
    """Draw a model.

    Parameters
    ----------
    model : ViewModel
        What to draw.
    direction : {"down", "right"}
        Where the data flows.

    Returns
    -------
    str
        An ``<svg>`` element, well-formed XML.
    """
    drawn = fold(model)
    drawing = arrange(drawn, direction)
    width = max(_LEAST, drawing.width + 2 * _MARGIN)
    legend, legend_height = _legend(model, width)
    top = _MARGIN + _HEAD
    height = top + drawing.height + legend_height + 2 * _MARGIN
    indent = max(_MARGIN, (width - drawing.width) / 2)
    labels = {node.id: node.label for node in drawn.nodes}
    upstream: dict[str, list[str]] = {}
    for edge in drawn.edges:
        upstream.setdefault(edge.target, []).append(labels.get(edge.source, edge.source))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pnbs" width="{_n(width)}" height="{_n(height)}" '
        f'viewBox="0 0 {_n(width)} {_n(height)}" role="img" aria-label="{_text(_title(model))}">',
        f"<title>{_text(_title(model))}</title>",
        f"<desc>{_text(_description(model, drawn, upstream))}</desc>",
        f"<style>{_style(model)}</style>",
        f'<rect class="pnbs-page" x="0.5" y="0.5" width="{_n(width - 1)}" height="{_n(height - 1)}" rx="10"/>',
        *_header(model, width),
        f'<g transform="translate({_n(indent)} {_n(top)})">',
        *(_link(link, drawing) for link in drawing.links),
        '<g role="list">',
        *(_card(card, upstream) for card in drawing.cards),
        "</g></g>",
        f'<g transform="translate({_n(_MARGIN)} {_n(height - _MARGIN - legend_height + 8)})">{legend}</g>',
        "</svg>",
    ]
    return "".join(parts)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(text: str) -> str:
    """Escaped for text and for attributes; what XML forbids becomes a replacement character."""
    return html.escape(_CONTROL.sub("\ufffd", text), quote=True)


def _title(model: ViewModel) -> str:
    return f"Flow {model.run.flow}: {model.run.state}"


def _description(model: ViewModel, drawn: ViewModel, upstream: dict[str, list[str]]) -> str:
    lines = [spoken(node, upstream.get(node.id, [])) for node in drawn.nodes[:200]]
    if len(drawn.nodes) > 200:
        lines.append(f"and {len(drawn.nodes) - 200} more")
    return _summary(model) + ". " + ". ".join(lines)


def _summary(model: ViewModel) -> str:
    total = sum(model.counts.values())
    words = [f"{model.counts.get('COMPLETED', 0)} of {total} done"]
    for kind, word in (("RUNNING", "running"), ("FAILED", "failed"), ("CRASHED", "crashed"), ("PAUSED", "waiting")):
        if model.counts.get(kind):
            words.append(f"{model.counts[kind]} {word}")
    if model.saved_s >= 0.0005:
        words.append(f"saved {duration(model.saved_s)}")
    if model.run.started_at is not None and model.run.ended_at is not None:
        words.append(f"took {duration(model.run.ended_at - model.run.started_at)}")
    return ", ".join(words)


def _style(model: ViewModel) -> str:
    tones = {look_of(node.state, node.type).tone for node in model.nodes} | {"idle"}
    tones |= {look_of(label).tone for node in model.nodes for label in node.counts or ()}
    tones.add(look_of(model.run.state, model.run.type).tone)
    names = sorted(tones)
    light = ";".join(f"--f-{n}:{TONES[n].fill};--l-{n}:{TONES[n].line}" for n in names)
    dark = ";".join(f"--f-{n}:{TONES[n].fill_dark};--l-{n}:{TONES[n].line_dark}" for n in names)
    return (
        f".pnbs{{--page:#fff;--rim:#d5dae0;--ink:#1b1f23;--dim:#57606a;--wire:#8c96a1;--s:#efe3c8;{light};"
        f"font-family:{_FONT};color-scheme:light dark}}"
        "@media (prefers-color-scheme:dark){.pnbs{--page:#15181b;--rim:#343a41;--ink:#f5f7f9;--dim:#a8b2bd;"
        f"--wire:#6f7a86;--s:#5a4c2b;{dark}}}}}"
        ".pnbs text{fill:var(--ink);font-size:13px}.pnbs .d{fill:var(--dim)}.pnbs .b{font-weight:600}"
        ".pnbs .t{font-size:11.5px}.pnbs-page{fill:var(--page);stroke:var(--rim)}"
        ".pnbs .g{fill:none;stroke:var(--ink);stroke-width:1.7;stroke-linecap:round;stroke-linejoin:round}"
        ".pnbs .k{fill:var(--ink)}.pnbs .w{fill:none;stroke:var(--wire);stroke-width:1.4}"
        ".pnbs .a{fill:var(--wire)}.pnbs .r{stroke:var(--rim)}.pnbs .u{text-decoration:line-through}"
        + "".join(f".pnbs .{n}{{fill:var(--f-{n});stroke:var(--l-{n})}}" for n in names)
    )


def _header(model: ViewModel, width: float) -> Iterable[str]:
    look = look_of(model.run.state, model.run.type)
    chip = 44.0 + text_width(model.run.state, 12.6)
    right = width - _MARGIN - chip
    yield f'<text class="b" x="{_n(_MARGIN)}" y="33" style="font-size:16px">'
    yield f"{_text(fit_text(model.run.flow, right - _MARGIN - 12, 16.0))}</text>"
    yield f'<text class="d t" x="{_n(_MARGIN)}" y="53">{_text(_summary(model))}</text>'
    yield f'<g transform="translate({_n(right)} 18)">{_box(look, chip, 24.0, 12.0)}'
    yield f'{_glyph(look, 9.0, 4.0)}<text class="t b" x="30" y="16">{_text(model.run.state)}</text></g>'


def _box(look: Look, width: float, height: float, radius: float) -> str:
    stroke, dash = BORDERS[look.border]
    pattern = f' stroke-dasharray="{dash}"' if dash else ""
    cap = ' stroke-linecap="round"' if look.border.startswith("dotted") else ""
    box = (
        f'<rect class="{look.tone}" width="{_n(width)}" height="{_n(height)}" rx="{_n(radius)}" '
        f'stroke-width="{_n(stroke)}"{pattern}{cap}/>'
    )
    if look.border == "double":
        box += (
            f'<rect class="{look.tone}" x="3" y="3" width="{_n(width - 6)}" height="{_n(height - 6)}" '
            f'rx="{_n(max(2.0, radius - 3))}" stroke-width="1" style="fill:none"/>'
        )
    return box


def _glyph(look: Look, x: float, y: float, scale: float = 1.0) -> str:
    filled = " k" if look.glyph in FILLED else ""
    size = f" scale({_n(scale)})" if scale != 1.0 else ""
    return f'<path class="g{filled}" transform="translate({_n(x)} {_n(y)}){size}" d="{GLYPHS[look.glyph]}"/>'


def _link(link: Link, drawing: Drawing) -> str:
    path = route_path(link.points, drawing.direction)
    x, y = link.points[-1]
    head = f"M{_n(x)} {_n(y)}l-4 -7h8z" if drawing.direction == "down" else f"M{_n(x)} {_n(y)}l-7 -4v8z"
    dash = ' stroke-dasharray="4 4"' if link.kind == "after" else ""
    names = f"<title>{_text(', '.join(link.names))}</title>" if link.names else ""
    return f'<g>{names}<path class="w"{dash} d="{path}"/><path class="a" d="{head}"/></g>'


def _card(card: Card, upstream: dict[str, list[str]]) -> str:
    node = card.node
    look = look_of(node.state, node.type, node.kind)
    label = spoken(node, upstream.get(node.id, []))
    tip = f"{label}\n{node.reason}" if node.reason else label
    badge = f"{node.attempt}/{node.attempts}" if node.attempt > 1 else ""
    stale = node.freshness.startswith("stale")
    room = card.width - 48 - (len(badge) * 7.5 + 8 if badge else 0) - (20 if stale else 0)
    struck = " u" if node.state == "Skipped" else ""
    radius = 4.0 if node.kind == "plain" else 9.0
    parts = [
        f'<g role="listitem" aria-label="{_text(label)}" transform="translate({_n(card.x)} {_n(card.y)})">',
        f"<title>{_text(tip)}</title>",
        _box(look, card.width, card.height, radius),
        _glyph(look, 12.0, 15.0) if not node.counts else _ring(node.counts) + _glyph(look, 14.0, 17.0, 0.75),
        f'<text class="b{struck}" x="38" y="20">{_text(fit_text(node.label, room, BOLD))}</text>',
        f'<text class="t" x="38" y="36">{_text(fit_text(_second_line(node), card.width - 46, 11.5))}</text>',
    ]
    if stale:
        corner = f"M{_n(card.width - 24)} 0h15a9 9 0 0 1 9 9v15z"
        parts.append(f'<path d="{corner}" style="fill:var(--s);stroke:var(--wire)"/>')
        at = f"translate({_n(card.width - 14.5)} 1) scale(.8)"
        parts.append(f'<path class="g" transform="{at}" d="{GLYPHS["tilde"]}"/>')
    if badge:
        x = card.width - (28 if stale else 12)
        parts.append(f'<text class="t b" text-anchor="end" x="{_n(x)}" y="20">{badge}</text>')
    if node.progress and node.progress["share"] is not None:
        room = card.width - 46
        for width, faint in ((room, ";opacity:.2"), (room * node.progress["share"], "")):
            parts.append(
                f'<rect x="38" y="41" width="{_n(width)}" height="3" rx="1.5" style="fill:var(--ink){faint}"/>'
            )
    parts += [_row(row, index, card.width) for index, row in enumerate(card.rows)]
    if card.more:
        y = HEAD + ROW * len(card.rows) + 14
        parts.append(f'<text class="t" x="38" y="{_n(y)}">and {card.more} more</text>')
    parts.append("</g>")
    return "".join(parts)


def _ring(counts: Mapping[str, int]) -> str:
    """Around the glyph of a map or group: an arc for each kind of state among its members."""
    arcs = "".join(
        f'<circle class="{tone}" cx="20" cy="23" r="11" pathLength="100" style="fill:none;stroke-width:4;'
        f'stroke-dasharray:{_n(share)} {_n(100 - share)};stroke-dashoffset:{_n(-start)}"/>'
        for tone, start, share in shares(counts)
    )
    return f'<g transform="rotate(-90 20 23)">{arcs}</g>'


def _second_line(node: NodeView) -> str:
    if node.type in ("FAILED", "CRASHED") and node.message and not node.counts:
        return f"{node.state} · {node.message}"
    return node_line(node)


def _row(row: Row, index: int, width: float) -> str:
    look = look_of(row.node.state, row.node.type)
    y = HEAD + ROW * index
    if row.counts:
        said = tally(row.counts)
        spoken_row = f"{row.label}, {said}: {look.words}"
    else:
        said = duration(row.node.duration_s) or row.node.state
        spoken_row = spoken(row.node, [])
    return (
        f'<g role="listitem" aria-label="{_text(spoken_row)}" transform="translate(0 {_n(y)})">'
        f'<line class="r" x1="10" x2="{_n(width - 10)}" y1="-2" y2="-2" style="stroke:var(--ink);opacity:.18"/>'
        f'<g transform="translate(13 1.5)">{_box(look, 16.0, 16.0, 5.0)}{_glyph(look, 2.4, 2.4, 0.7)}</g>'
        f'<text class="t" x="38" y="14">{_text(fit_text(row.label, width - 112, 11.5))}</text>'
        f'<text class="t" text-anchor="end" x="{_n(width - 12)}" y="14">{_text(said)}</text></g>'
    )


def _legend(model: ViewModel, width: float) -> tuple[str, float]:
    """One swatch for each state present, in the order of the vocabulary; the markup and its height."""
    present = {node.state for node in model.nodes if not (node.kind == "plain" and node.type == "PENDING")}
    x, y = 0.0, 0.0
    parts: list[str] = []
    for name in LOOKS:
        if name.label not in present:
            continue
        step = 38.0 + text_width(name.label, 11.5)
        if x and x + step > width - 2 * _MARGIN:
            x, y = 0.0, y + 22.0
        parts.append(
            f'<g transform="translate({_n(x)} {_n(y)})">{_box(LOOKS[name], 16.0, 16.0, 5.0)}'
            f'{_glyph(LOOKS[name], 2.4, 2.4, 0.7)}<text class="d t" x="22" y="12">{name.label}</text></g>'
        )
        x += step
    return "".join(parts), (y + _LEGEND if parts else 0.0)
