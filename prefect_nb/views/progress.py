"""Tells a run line by line: from the states that a kernel publishes, or from models.

Knows the view model's JSON; must not know kernels or stores. A line for each change that matters: what began, ended,
waits, was reused, was not run and why. Works the same in a terminal, a pipe and a log file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prefect_nb.core.states import StateName
from prefect_nb.views.artifacts import meter
from prefect_nb.views.model import NodeView, RunView, ViewModel
from prefect_nb.views.words import age, duration

__all__ = ["Progress", "ended", "told"]

_STARTS = frozenset({"Running", "Mapped"})
_QUIET = frozenset({"Pending", "Scheduled", "Queued", "Submitted", "Resuming", "Looped"})
_GLYPHS = {name.label: name.glyph for name in StateName}


class Progress:
    """Listens to states and writes lines.

    Parameters
    ----------
    say : callable
        Writes one line.
    resumed : bool
        Whether an earlier process already told what is final when we begin to listen.
    """

    def __init__(self, say: Callable[[str], None], *, resumed: bool = False) -> None:
        self._say = say
        self._resumed = resumed
        self._run = ""
        self._nodes: dict[str, NodeView] = {}

    def state(self, message: Mapping[str, Any]) -> None:
        """Take one message of the state comm; what does not fit is passed over."""
        match message:
            case {"op": "full", "model": {"run": {"id": run}, "nodes": list(rows)}}:
                first, self._run = run != self._run, run
                self._change(map(NodeView.from_plain, rows), silent=first and self._resumed)
            case {"op": "patch", "patch": {"nodes": list(rows)}}:
                self._change(map(NodeView.from_plain, rows), silent=False)

    def model(self, model: ViewModel) -> None:
        """Take a whole model; what is final in the first one was told before."""
        first, self._run = model.run.id != self._run, model.run.id
        self._change(model.nodes, silent=first)

    def _change(self, nodes: Iterable[NodeView], *, silent: bool) -> None:
        for node in nodes:
            before = self._nodes.get(node.id)
            self._nodes[node.id] = node
            line = told(node, before)
            if line and not (silent and StateName.of(node.state).final):
                self._say(line)


def told(node: NodeView, before: NodeView | None) -> str:
    """The line for a change of one node; empty when it is not worth one."""
    same = before is not None and (before.state, before.attempt) == (node.state, node.attempt)
    if same and not _further(node, before):
        return ""
    if node.kind == "plain" or node.state in _QUIET:
        return ""
    if node.parent is not None and node.type not in ("FAILED", "CRASHED"):
        return ""
    name = node.label if node.parent is None else f"{node.parent} / {node.label}"
    return f"{_GLYPHS.get(node.state, ' ')} {_one_line(name):<16} {_one_line(_words(node))}".rstrip()


def _further(node: NodeView, before: NodeView | None) -> bool:
    """Whether a running task came a tenth of its way further."""
    return _tenths(node) > (_tenths(before) if before is not None else 0)


def _tenths(node: NodeView) -> int:
    share = node.progress["share"] if node.progress else None
    return 0 if share is None else int(share * 10 + 1e-9)


def ended(run: RunView) -> str:
    """The line for the end of a run, or for where it stopped."""
    took = "" if run.started_at is None or run.ended_at is None else f" after {duration(run.ended_at - run.started_at)}"
    message = f": {run.message}" if run.message else ""
    told = f"{run.flow} {run.state.lower()}{took}{message} (run {run.id})"
    return f"{_GLYPHS.get(run.state, ' ')} {_one_line(told)}"


def _words(node: NodeView) -> str:
    attempt = f" (attempt {node.attempt}/{node.attempts})" if node.attempts > 1 else ""
    took = f" after {duration(node.duration_s)}" if node.duration_s is not None else ""
    message = f": {node.message}" if node.message else ""
    match node.state:
        case state if state in _STARTS and node.progress and _tenths(node):
            return f"{meter(node.progress['share'])} {node.progress['text']}"
        case state if state in _STARTS:
            return f"started{attempt}"
        case "Success":
            return duration(node.duration_s) + (attempt if node.attempt > 1 else "")
        case "Cached":
            old = f", {age(node.cached_age_s)} old" if node.cached_age_s is not None else ""
            saved = f", {duration(node.saved_s)} saved" if node.saved_s is not None else ""
            return f"cached{old}{saved}"
        case "Retrying":
            return f"attempt {node.attempt}/{node.attempts} failed{message}"
        case "TriggerFailed" | "NotRun":
            return node.message if node.message.startswith("not run") else f"not run{message}"
        case "TimedOut":
            return f"timed out{took}{message}"
    return f"{node.state.lower()}{took}{message}"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))
