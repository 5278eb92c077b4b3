"""Numbers and nodes in words: durations, ages, sizes, and the sentence that describes a node.

Every renderer says the same; the TypeScript twin is ``labextension/packages/view/src/words.ts``. Rounding is half up
and spelled out, because the two languages round differently by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

from prefect_nb.views.model import NodeView
from prefect_nb.views.palette import TONES, look_of

__all__ = ["age", "duration", "far", "node_line", "shares", "size", "spoken", "tally"]


def _tenths(value: float) -> str:
    return f"{int(value * 10 + 0.5) / 10:.1f}"


def duration(seconds: float | None) -> str:
    """A span of time, for example ``"3.2 s"`` or ``"2 min 5 s"``; empty for None."""
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < 0.0005:
        return "<1 ms"
    if seconds < 0.9995:
        return f"{int(seconds * 1000 + 0.5)} ms"
    if seconds < 9.95:
        return f"{_tenths(seconds)} s"
    whole = int(seconds + 0.5)
    for unit, span, small, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= span:
            rest = whole % span // part
            return f"{whole // span} {unit} {rest} {small}" if rest else f"{whole // span} {unit}"
    return f"{whole} s"


def age(seconds: float | None) -> str:
    """How long ago, in one unit, for example ``"2 h"``; empty for None."""
    if seconds is None:
        return ""
    whole = int(max(0.0, seconds))
    for unit, span in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= span:
            return f"{whole // span} {unit}"
    return f"{whole} s"


def size(count: int) -> str:
    """Bytes in binary units, for example ``"1.5 MiB"``."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{count} B" if unit == "B" else f"{_tenths(value)} {unit}"
        value /= 1024
    return f"{_tenths(value)} TiB"


def node_line(node: NodeView) -> str:
    """The second line of a card: the state and the number that matters most in it."""
    if node.kind == "plain" and node.state == "Pending":
        return "plain cell"
    words = [node.state]
    if node.counts:
        words.append(tally(node.counts))
    if node.state == "Cached":
        words.append(f"{age(node.cached_age_s)} old" if node.cached_age_s is not None else "")
    elif node.duration_s is not None and not node.counts:
        words.append(duration(node.duration_s))
    words.append(far(node))
    return " · ".join(word for word in words if word)


def far(node: NodeView) -> str:
    """How far a running task says that it is, in a word or two; empty if it does not."""
    if not node.progress:
        return ""
    share = node.progress["share"]
    return f"{int(share * 100 + 1e-9)} %" if share is not None else str(node.progress["text"])


def tally(counts: Mapping[str, int]) -> str:
    """Of many children: how many are done, of how many."""
    done = sum(number for label, number in counts.items() if look_of(label).tone in ("done", "cached", "skipped"))
    return f"{done}/{sum(counts.values())}"


def shares(counts: Mapping[str, int]) -> list[tuple[str, float, float]]:
    """Of many children, for a ring: each tone with where its arc begins and how long it is, in hundredths."""
    total, arcs, start = sum(counts.values()), [], 0.0
    for tone in TONES:
        number = sum(count for label, count in counts.items() if look_of(label).tone == tone)
        if number:
            arcs.append((tone, start, 100.0 * number / total))
            start += 100.0 * number / total
    return arcs


def spoken(node: NodeView, upstream: list[str]) -> str:
    """The label of a node for a screen reader: name, state, what it depends on, whether it is out of date."""
    words = look_of(node.state, node.type, node.kind).words
    if node.duration_s is not None and node.state != "Cached":
        words += f", {duration(node.duration_s)}"
    if node.state == "Cached" and node.cached_age_s is not None:
        words += f", {age(node.cached_age_s)} old"
    if node.progress:
        words += f", {node.progress['text']}"
    if node.attempt > 1:
        words += f", attempt {node.attempt} of {node.attempts}"
    if node.message and node.type in ("FAILED", "CRASHED", "PAUSED"):
        words += f", {node.message}"
    if node.freshness.startswith("stale"):
        words += ", out of date: " + ("code changed" if node.freshness == "stale-code" else "inputs changed")
    if upstream:
        words += ", depends on " + ", ".join(upstream)
    return f"{node.label}: {words}"
