"""How a map takes the children of the map above it while that one still grows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from prefect_nb.authoring import mapping
from prefect_nb.authoring.mapping import Brood, Elements
from prefect_nb.authoring.nodes import Node
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State, StateName

ABOVE, MINE = VisitId("above"), VisitId("mine")
PENDING = State(StateName.PENDING, 0.0)


class Growing:
    """A map above that bears its last children and ends just after somebody counted them."""

    def __init__(self, visits: dict[VisitId, Any]) -> None:
        self.visit = ABOVE
        self.listeners: list[Brood] = []
        self.closed = False
        self._born = 0
        self._visits = visits

    @property
    def born(self) -> int:
        before, self._born, self.closed = self._born, 3, True
        self._visits[ABOVE].state.final = True
        return before


def test_children_that_are_born_while_it_looks_are_not_lost() -> None:
    """A map that grew and ended between two looks has not ended for whoever counted before."""
    visits = {ABOVE: SimpleNamespace(state=SimpleNamespace(final=False))}
    broods = {ABOVE: Growing(visits)}
    session = SimpleNamespace(run=SimpleNamespace(visits=visits))
    nursery: Any = SimpleNamespace(broods=broods, session=session, window=4)
    source = Node(SimpleNamespace(), ABOVE, mapped=True)  # type: ignore[arg-type]
    brood = Brood(nursery, MINE, ((source,), {}), [Elements(source, False)])
    with pytest.raises(mapping._Wait):
        brood._next_child(source)
    assert brood._next_child(source).visit == VisitId("above", 1, 0)


def test_a_map_plans_nothing_before_its_turn() -> None:
    """Told of children above before the engine knows of it, it waits until it is opened."""
    posted: list[Any] = []
    visits = {ABOVE: SimpleNamespace(state=SimpleNamespace(final=False)), MINE: SimpleNamespace(state=PENDING)}
    above = SimpleNamespace(visit=ABOVE, listeners=[], opened=True, born=2, closed=False)
    session = SimpleNamespace(run=SimpleNamespace(visits=visits), post=lambda *events: posted.extend(events))
    born: list[Any] = []
    nursery: Any = SimpleNamespace(
        broods={ABOVE: above},
        session=session,
        window=4,
        stopping=False,
        soon=lambda job: job(),
        bear=lambda brood, children: born.extend(children),
    )
    source = Node(SimpleNamespace(), ABOVE, mapped=True)  # type: ignore[arg-type]
    brood = Brood(nursery, MINE, ((source,), {}), [Elements(source, False)])
    brood.nudge()
    assert (posted, born) == ([], [])
    brood.open()
    assert [type(event).__name__ for event in posted] == ["MapOpened"]
    assert [visit.index for visit, _, _ in born] == [0, 1]
