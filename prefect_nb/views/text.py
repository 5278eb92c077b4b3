"""Plain-text tables: what a terminal, a log file and `%flow status` show.

Knows the view model and words. Must not know terminals; no colour, no width of its own. Control characters of data are
replaced, so that a task's message can neither break a table nor steer a terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from prefect_nb.views.cards import Row, listed
from prefect_nb.views.model import RunView, ViewModel
from prefect_nb.views.words import age, duration, tally

__all__ = ["runs_table", "status_table", "table"]

_WIDEST = 72


def table(rows: Iterable[Sequence[object]], headers: Sequence[str]) -> str:
    """Columns under headers, numbers to the right, the last column cut at 72 characters.

    Parameters
    ----------
    rows : iterable of sequences
        One value for each header; None is shown empty.
    headers : sequence of str
        Column names.
    """
    rows = [list(row) for row in rows]
    cells = [["" if value is None else _clean(str(value)) for value in row] for row in rows]
    for row in cells:
        row[-1] = _cut(row[-1])
    lines = [list(headers), *cells]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(headers))]
    right = [
        bool(rows) and all(isinstance(row[column], (int, float)) or row[column] is None for row in rows)
        for column in range(len(headers))
    ]
    ruled = [lines[0], ["─" * width for width in widths], *lines[1:]]
    return "\n".join(
        "  ".join(
            _padded(value, width, to_right) for value, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in ruled
    )


def status_table(model: ViewModel) -> str:
    """A line about the run, then a line for each task and, indented, each function that it called."""
    run = model.run
    total = sum(model.counts.values())
    facts = [f"{model.counts.get('COMPLETED', 0)} of {total} done"]
    facts += [
        f"{model.counts[kind]} {kind.lower()}"
        for kind in ("RUNNING", "PAUSED", "FAILED", "CRASHED", "CANCELLED")
        if model.counts.get(kind)
    ]
    if model.saved_s >= 0.0005:
        facts.append(f"saved {duration(model.saved_s)}")
    head = f"{_clean(run.flow)} · {run.state} · {', '.join(facts)} · run {_clean(run.id)}"
    if run.message:
        head += f"\n{_clean(run.message)}"
    if not run.order_known:
        head += "\norder: first execution (the page has not told the order of the cells)"
    rows = [
        _task_row(row, depth) for row, depth in listed(model) if row.node.kind != "plain" or row.node.state != "Pending"
    ]
    if not rows:
        return f"{head}\nno tasks yet: begin a cell with %%task"
    return f"{head}\n\n{table(rows, ('task', 'state', 'attempt', 'time', 'reason'))}"


def _task_row(row: Row, depth: int) -> tuple[str, str, str, str, str]:
    node = row.node
    state = node.state
    if row.counts:
        state += f" {tally(row.counts)}"
    if row.id != node.id:
        return "  " * depth + row.label, state, "", "", node.message if node.type in ("FAILED", "CRASHED") else ""
    if node.freshness.startswith("stale"):
        state += " (stale)"
    attempt = f"{node.attempt}/{node.attempts}" if node.attempt else ""
    time = f"saved {duration(node.saved_s)}" if node.saved_s else duration(node.duration_s)
    reason = node.message if node.message and node.type in ("FAILED", "CRASHED", "PAUSED", "SCHEDULED") else node.reason
    return "  " * depth + node.label, state, attempt, time, reason or node.message


def runs_table(runs: Iterable[RunView], now: float) -> str:
    """One line for each run, as given.

    Parameters
    ----------
    runs : iterable of RunView
        The runs.
    now : float
        Seconds since the epoch, for the ages.
    """
    rows = []
    for run in runs:
        began = ended = ""
        if run.started_at is not None:
            began = datetime.fromtimestamp(run.started_at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
            began += f" ({age(now - run.started_at)} ago)"
            ended = duration((run.ended_at or now) - run.started_at)
        rows.append((run.id, run.flow, run.state, began, ended, run.message))
    if not rows:
        return "no runs yet"
    return table(rows, ("run", "flow", "state", "started", "time", "message"))


def _clean(text: str) -> str:
    """One line, without control characters."""
    depth = len(text) - len(text.lstrip(" "))
    flat = " " * depth + " ".join(text.split())
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") else c for c in flat)


def _cut(text: str) -> str:
    if _width(text) <= _WIDEST:
        return text
    while _width(text) > _WIDEST - 1:
        text = text[:-1]
    return text + "…"


def _width(text: str) -> int:
    """Columns in a terminal: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )


def _padded(text: str, width: int, to_right: bool) -> str:
    blank = " " * (width - _width(text))
    return blank + text if to_right else text + blank
