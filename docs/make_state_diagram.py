"""Write docs/states.md from the tables of ``prefect_nb.core``, so that the picture cannot lie.

Run ``python docs/make_state_diagram.py`` after a change of the tables; a test compares the page with them.
Source: the diagram maker of h11.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from prefect_nb.core.moves import ILLEGAL, MOVES, TASK_EVENTS
from prefect_nb.core.states import EDGES, RUN_EDGES, StateName, StateType

__all__ = ["page"]

N = StateName
_TYPES = {
    StateType.SCHEDULED: "waits for a time",
    StateType.PENDING: "waits for its turn",
    StateType.PAUSED: "waits for a person",
    StateType.RUNNING: "its body runs",
    StateType.CANCELLING: "was asked to stop",
    StateType.COMPLETED: "final: ended well",
    StateType.FAILED: "final: ended badly",
    StateType.CANCELLED: "final: was stopped",
    StateType.CRASHED: "final: vanished",
}
_INTRO = """\
# States

<!-- made by docs/make_state_diagram.py from prefect_nb/core; edit those, not this page -->

A **visit** is one deliberate execution of a task in a run; it moves through the states below, and every move is an
event in the store before anybody is shown it. Logic looks at the *type* only; names refine it for people.

* A final state of a visit is never left. Run an edited or a failed task again and it gets a new visit.
* A failed attempt with retries left becomes Retrying, which is not final and holds no thread.
* A crash is not a failure: the kernel or process vanished. Resuming the run enters the task again as a new visit.
  Where only the worker process of one body vanished, that visit becomes Retrying while its crash budget lasts
  (`Retry(crashes=1)`, apart from its retries), then Crashed. With `once=True` it is Crashed at once.
* Something upstream that failed beats something upstream that was skipped.
"""
_WAY = """\
## A task's way

Not drawn, but in the table: whatever has not ended may also become Skipped, Cancelled, NotRun or Crashed.
"""
_RUNS = """\
## Runs

A run's state is never set: it is rolled up from its visits, first match wins. Cancelled or Cancelling when somebody
asked the run to stop; Crashed when its process vanished; Paused when it was interrupted or only a pause blocks it;
Running while anything is active; Open when a live notebook waits for its next cell; and once it is closed: Failed if
anything failed, Cancelled if anything was stopped, Skipped if everything was skipped, else Success. Where a flow names
reference tasks, that is asked of these alone, and a task with `reference=False` is never asked; the message tells what
else failed. A terminal handler's verdict, Success or Failed, is part of the event that closes the run and stands in
place of Success, Skipped or Failed, with what it was in its message.

When a run is final all its visits are; only a Crashed run keeps what had not begun, for whoever resumes it. A closed
run begins nothing, and a cancelled one only cleanups of resources: they are held until the block of the resource is
left (BlockLeft), wait then for all that was called in it, and the run is Cancelled after them. Taking a run over
(dashed) voids every permission that was given under the former worker.
"""
_EVENTS = """\
## What may happen in which state

● moves or is recorded, · changes nothing (late, or already final), blank cannot happen and is refused with a sentence.
"""


def page() -> str:
    """The whole page, Markdown."""
    visits = _visit_names()
    drawn = {name: EDGES[name] - {N.SKIPPED, N.CANCELLED, N.NOT_RUN, N.CRASHED} for name in visits}
    parts = [_INTRO, _legend(), _WAY, _diagram(drawn, visits), _edges(EDGES, visits)]
    parts += [_RUNS, _diagram(RUN_EDGES, list(RUN_EDGES)), _EVENTS, _matrix()]
    return "\n".join(parts)


def _visit_names() -> list[StateName]:
    return [name for name in N if name is not N.OPEN]


def _legend() -> str:
    rows = ["## The names\n", "| | Name | Type | Meaning |", "|---|---|---|---|"]
    for type_, meaning in _TYPES.items():
        for name in N:
            if name.type is type_:
                rows.append(f"| {name.glyph} | **{name.label}** | {type_.value} ({meaning}) | {name.wording} |")
    return "\n".join(rows) + "\n"


def _diagram(edges: Mapping[StateName, Iterable[StateName]], names: list[StateName]) -> str:
    lines = ["```mermaid", "flowchart LR"]
    linked = {name for name in names if edges[name]} | {after for name in names for after in edges[name]}
    for name in (name for name in names if name in linked):
        shape = f'(["{name.glyph} {name.label}"])' if name.final else f'["{name.glyph} {name.label}"]'
        lines.append(f"  {name.label}{shape}")
    for name in names:
        arrow = "-.->" if name.final else "-->"
        lines += [f"  {name.label} {arrow} {after.label}" for after in N if after in edges[name]]
    return "\n".join([*lines, "```\n"])


def _edges(edges: Mapping[StateName, Iterable[StateName]], names: list[StateName]) -> str:
    rows = ["| From | May become |", "|---|---|"]
    for name in names:
        after = ", ".join(n.label for n in N if n in edges[name])
        rows.append(f"| {name.glyph} {name.label} | {after or 'nothing: final'} |")
    return "\n".join(rows) + "\n"


def _matrix() -> str:
    names = _visit_names()
    finals = [n for n in names if n.final]
    rows = ["| Event | " + " | ".join(n.label for n in names if not n.final) + " | every final |"]
    rows.append("|---" * (len(names) - len(finals) + 2) + "|")
    for event in TASK_EVENTS:
        marks = [_mark(n, event) for n in [*(n for n in names if not n.final), finals[0]]]
        rows.append(f"| {event.__name__} | " + " | ".join(marks) + " |")
    return "\n".join(rows) + "\n"


def _mark(name: StateName, event: type) -> str:
    if (name, event) in ILLEGAL:
        return " "
    return "·" if MOVES[name, event].__name__ in ("_same", "_late") else "●"


if __name__ == "__main__":
    Path(__file__).with_name("states.md").write_text(page(), "utf-8")
