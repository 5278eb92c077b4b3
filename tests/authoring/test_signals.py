"""Signals: what bodies raise, and the events that they become."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from prefect_nb import signals
from prefect_nb.authoring import forms
from prefect_nb.core import events as ev
from prefect_nb.core.spec import VisitId
from prefect_nb.errors import NotAvailable, ParameterError, TaskFailed, UsageError

A = VisitId("a")
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ABOUT: dict[str, Any] = {"at": 100.0, "visit": A, "token": 3}

EVENTS = {
    "skip": (signals.skip("no data"), ev.BodySkipped(**ABOUT, message="no data")),
    "retry": (signals.retry("busy", after="5m"), ev.BodyDeferred(**ABOUT, due=400.0, message="busy")),
    "retry by itself": (signals.retry(), ev.BodyDeferred(**ABOUT, due=110.0)),
    "pause": (signals.pause("ok?"), ev.BodyPaused(**ABOUT, message="ok?")),
    "pause for a while": (signals.pause(after="1m"), ev.BodyPaused(**ABOUT, until=160.0)),
    "pause until a time": (signals.pause(until=NOON), ev.BodyPaused(**ABOUT, until=NOON.timestamp())),
    "pause with a limit": (signals.pause(timeout="1h"), ev.BodyPaused(**ABOUT, limit=3700.0)),
    "pause with a form": (
        signals.pause(form={"n": int, "day": "date"}),
        ev.BodyPaused(**ABOUT, form={"n": "int", "day": "date"}),
    ),
    "loop": (signals.Loop("page 1", result=1, address="abc"), ev.BodyLooped(**ABOUT, result="abc", message="page 1")),
    "success": (signals.success(3), None),
    "what is no signal": (ValueError("x"), None),
}


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("travelled", [False, True], ids=["here", "pickled"])
def test_a_signal_becomes_its_event(name: str, travelled: bool) -> None:
    """Each signal is one end of a body, with everything that it carries, also after a pickle."""
    signal, event = EVENTS[name]
    if travelled:
        signal = pickle.loads(pickle.dumps(signal))
    assert signals.ended(signal, A, 3, 100.0) == event


@pytest.mark.parametrize("retryable", [True, False])
def test_a_failure_is_an_error_of_the_body(retryable: bool) -> None:
    """``fail`` ends the attempt as an exception would, with its message, and counts against the retries."""
    end = signals.ended(signals.Fail("too few rows", retryable=retryable), A, 3, 100.0)
    assert isinstance(end, ev.BodyRaised)
    assert (end.error.type, end.error.message, end.retryable) == ("Fail", "too few rows", retryable)


def test_a_body_cannot_swallow_a_signal_by_accident() -> None:
    """``except Exception`` lets every signal pass."""
    for signal in (signals.skip(), signals.fail(), signals.retry(), signals.pause(), signals.loop(), signals.success()):
        assert not isinstance(signal, Exception)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "both ends": ({"until": NOON, "after": 3}, "not both"),
    "no time": ({"until": "noon"}, "takes a datetime"),
    "no duration": ({"after": "soon"}, "not a duration"),
    "no limit": ({"timeout": "soon"}, "not a duration"),
    "no type": ({"form": {"x": list}}, "the field x cannot be a list"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_pause_that_makes_no_sense_is_refused(name: str) -> None:
    """Times and types are checked where they are written."""
    given, words = WRONG[name]
    with pytest.raises(UsageError, match=words):
        signals.pause("ok?", **given)


OUTSIDE: dict[str, tuple[BaseException, type[Exception], str]] = {
    "fail": (signals.fail("too few rows"), TaskFailed, "too few rows"),
    "skip": (signals.skip("no data"), NotAvailable, "load is Skipped: no data"),
    "pause": (signals.pause("ok?"), NotAvailable, "load is Paused: ok?"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_caller_sees_an_ordinary_exception(name: str) -> None:
    """Outside of the body a signal is an exception of ours that ``except Exception`` catches."""
    signal, kind, words = OUTSIDE[name]
    seen = signals.outside(signal, "load")
    assert type(seen) is kind
    assert words in str(seen)
    error = ValueError("the body's own")
    assert signals.outside(error, "load") is error


FORM = {"n": "int", "share": "float", "sure": "bool", "day": "date", "who": "str"}
FITS: dict[str, tuple[Any, Any]] = {
    "n": ("12", 12),
    "share": ("0.5", 0.5),
    "sure": ("yes", True),
    "day": ("2030-01-31", "2030-01-31"),
    "who": ("ann", "ann"),
}


@pytest.mark.parametrize("name", FITS)
def test_an_answer_is_read_as_its_type(name: str) -> None:
    """What a person typed, and what a page sends as JSON, become the field's type."""
    text, value = FITS[name]
    form = {name: FORM[name]}
    assert forms.answered(form, {name: text}) == {name: value}
    assert forms.answered(form, {name: value}) == {name: value}


def test_an_answer_names_all_its_faults() -> None:
    """Missing, unknown and ill-typed fields are told at once, with what was asked."""
    with pytest.raises(ParameterError) as caught:
        forms.answered(FORM, {"n": "many", "sure": 1, "day": "tomorrow", "who": "ann", "colour": "red"})
    told = str(caught.value)
    for words in ("share is missing (float)", "no field colour", "n is no int", "sure is no bool", "day is no date"):
        assert words in told
