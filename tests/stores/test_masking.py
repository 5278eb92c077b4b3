"""Text enters the record through one border, which lets no secret's value pass, whoever hands it over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prefect_nb.analysis import redaction
from prefect_nb.core import events as ev
from prefect_nb.core.events import ErrorInfo
from prefect_nb.core.spec import VisitId
from prefect_nb.protocols import Commit, LogChunk, Signal
from prefect_nb.testing.stores import entry, opening, run_row, visit_row

VALUE = "correct-horse"
A = VisitId("a")


@pytest.fixture(autouse=True)
def revealed(monkeypatch):
    """The value is known as a secret's."""
    monkeypatch.setattr(redaction, "_values", {})
    monkeypatch.setattr(redaction, "_known", None)
    redaction.register("S", VALUE)


def commits():
    """The same value in each text that a commit can hold."""
    error = ErrorInfo("ValueError", VALUE, traceback=f"line\n{VALUE}")
    raised = ev.BodyRaised(at=1.0, visit=A, token=1, error=error)
    row = replace(visit_row(A), message=VALUE, reason={"code": "first", "detail": VALUE}, error={"message": VALUE})
    found = replace(entry(), parts=(("input", VALUE, "x"),), manifest=({"kind": "file", "name": VALUE, "digest": "1"},))
    return {
        "event": Commit("r1", events=(raised,)),
        "note": Commit("r1", events=(ev.BodyReturned(at=1.0, visit=A, token=1, note=VALUE),)),
        "answer": Commit("r1", events=(ev.VisitApproved(at=1.0, visit=A, note=VALUE, value={"f": VALUE}),)),
        "run": Commit("r1", run_row=replace(run_row(), message=VALUE, parameters={"p": [VALUE]})),
        "visit": Commit("r1", visit_rows=(row,)),
        "entry": Commit("r1", entries=(found,)),
        "log": Commit("r1", logs=(LogChunk(A, 1, "stdout", f"says {VALUE}\n", 1.0),)),
    }


@pytest.mark.parametrize("which", commits())
def test_no_text_of_a_commit_holds_it(open_here, folder, which):
    """Whatever holds the value, the store's files hold a mask in its place, and names and numbers as they were."""
    store = open_here()
    store.append(opening()).result()
    assert store.append(commits()[which]).result().accepted
    data = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert VALUE.encode() not in data
    assert b"***" in data
    assert store.run("r1").flow == "flow"


def test_nor_does_a_wish(open_here, folder):
    """What a person writes to a waiting task is looked at as well."""
    store = open_here()
    store.append(opening()).result()
    store.signal(Signal("r1", "approve", "a", detail={"note": VALUE}))
    data = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert VALUE.encode() not in data


def test_names_stay_what_they_are(open_here):
    """A task or a flow that is called as a secret's value is written is still found by its name."""
    store, named = open_here(), VisitId(VALUE)
    store.append(opening(flow=VALUE)).result()
    assert store.append(Commit("r1", visit_rows=(visit_row(named),))).result().accepted
    assert [row.visit for row in store.visits("r1")] == [named]
    assert [row.run for row in store.runs(flow=VALUE)] == ["r1"]
