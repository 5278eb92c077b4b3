"""What a resumed run knows of its earlier life."""

from __future__ import annotations

import pytest

from prefect_nb.authoring.former import Former
from prefect_nb.core import events as ev
from prefect_nb.core.fold import fold
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.spec import TaskSpec, VisitId

CHARGE, AGAIN = VisitId("charge"), VisitId("charge", 2)
GRANTED = [
    ev.RunOpened(at=0.0, run="r", flow="f", live=False, worker="w"),
    ev.TaskPlanned(at=1.0, visit=CHARGE, spec=TaskSpec("charge", once=True)),
    ev.KeyResolved(at=2.0, visit=CHARGE, key="k", reason=Reason(ReasonCode.FIRST)),
]
ENTERED = [*GRANTED, ev.BodyEntered(at=3.0, visit=CHARGE, token=1)]
LOST = ev.WorkerLost(at=4.0, visit=CHARGE)


@pytest.mark.parametrize(
    ("events", "unknown"),
    [(GRANTED, False), ([*GRANTED, LOST], False), (ENTERED, True), ([*ENTERED, LOST], True)],
    ids=["granted", "granted, then lost", "entered", "entered, then lost"],
)
def test_only_a_body_that_began_has_an_unknown_outcome(events: list[ev.Event], unknown: bool) -> None:
    """A permission that nobody used leaves nothing to ask a person about."""
    past = Former(fold(events)).take("charge", "k", AGAIN)
    assert (past.unknown is not None) is unknown
