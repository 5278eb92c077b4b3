"""What a resumed run knows of its earlier life."""

from __future__ import annotations

import pytest

from prefect_nb.authoring.former import Former
from prefect_nb.authoring.takeover import waits_on
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


@pytest.mark.parametrize("lost", [False, True], ids=["left", "lost"])
def test_what_a_person_let_go_on_and_nobody_began_is_let_go_on_again(lost: bool) -> None:
    """The permission that followed the answer was never used; the answer still stands."""
    life: list[ev.Event] = [
        GRANTED[0],
        ev.TaskPlanned(at=1.0, visit=CHARGE, spec=TaskSpec("charge", approve=True)),
        ev.KeyResolved(at=2.0, visit=CHARGE, key="k", reason=Reason(ReasonCode.FIRST)),
        ev.VisitApproved(at=3.0, visit=CHARGE, actor="ann", note="fine"),
        ev.KeyResolved(at=4.0, visit=CHARGE, key="k", reason=Reason(ReasonCode.FIRST)),
        *([ev.WorkerLost(at=5.0, visit=CHARGE)] if lost else []),
    ]
    past = Former(fold(life)).take("charge", "k", AGAIN)
    assert past.waited is not None

    def resolved(ask: str) -> ev.KeyResolved:
        return ev.KeyResolved(at=6.0, visit=AGAIN, key="k", reason=Reason(ReasonCode.FIRST), ask=ask)

    asked, answered = waits_on(past, AGAIN, 6.0, resolved)
    assert isinstance(asked, ev.KeyResolved)
    assert isinstance(answered, ev.VisitApproved)
    assert (answered.actor, answered.note, answered.visit) == ("ann", "fine", AGAIN)


def test_a_finished_call_is_taken_over_once() -> None:
    """Under whichever of its names it is found, its key or what stands for it at its place."""
    done = [*ENTERED, ev.BodyReturned(at=4.0, visit=CHARGE, token=1, result="r")]
    done[2] = ev.KeyResolved(at=2.0, visit=CHARGE, key="k", like="l", reason=Reason(ReasonCode.FIRST))
    former = Former(fold(done))
    assert former.take("charge", "k", CHARGE, "l").done is not None
    assert former.take("charge", "other", CHARGE, "l").done is None
    assert former.take("charge", "k", CHARGE).done is None
