"""The vocabulary, the two tables of edges, and the page that is made from them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from prefect_nb.core.states import EDGES, RUN_EDGES, State, StateName, StateType

N = StateName
DOCS = Path(__file__).parents[2] / "docs"


def test_four_types_are_final() -> None:
    """Completed, failed, cancelled and crashed are final; nothing else is."""
    assert [t.value for t in StateType if t.final] == ["COMPLETED", "FAILED", "CANCELLED", "CRASHED"]


@pytest.mark.parametrize("name", N, ids=lambda n: n.label)
def test_every_name_is_complete(name: StateName) -> None:
    """Each state has a label that finds it again, a glyph of one character, wording, and a row in the table."""
    assert StateName.of(name.label) is name
    assert len(name.glyph) == 1
    assert name.wording
    assert name.final == name.type.final
    assert (name.final or name is N.OPEN) == (not EDGES[name])


def test_labels_are_unique() -> None:
    """No two states share a label."""
    assert len({name.label for name in N}) == len(N)


def test_every_state_of_a_visit_can_be_reached_and_can_end() -> None:
    """From Pending every state of a visit is reachable, and from each of those some final one is."""
    reached, todo = {N.PENDING}, [N.PENDING]
    while todo:
        new = EDGES[todo.pop()] - reached
        reached |= new
        todo += new
    assert set(N) - reached == {N.OPEN}
    assert all(name.final or any(follower.final for follower in EDGES[name]) for name in reached)


def test_runs_leave_a_final_state_only_when_somebody_may_resume() -> None:
    """Failed and Crashed runs may go on; Success, Skipped and Cancelled ones never do."""
    assert {name for name, after in RUN_EDGES.items() if name.final and after} == {N.FAILED, N.CRASHED}
    assert all(name in RUN_EDGES for after in RUN_EDGES.values() for name in after)


def test_a_state_knows_its_type() -> None:
    """A state's type, label and finality follow from its name."""
    state = State(N.TIMED_OUT, 4.0)
    assert (state.type, state.label, state.final) == (StateType.FAILED, "TimedOut", True)


def test_the_page_is_up_to_date() -> None:
    """docs/states.md is what docs/make_state_diagram.py makes from the tables."""
    spec = importlib.util.spec_from_file_location("make_state_diagram", DOCS / "make_state_diagram.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert (DOCS / "states.md").read_text("utf-8") == maker.page(), "run: python docs/make_state_diagram.py"
