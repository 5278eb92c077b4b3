"""What cells do with signals, triggers, pauses and approvals; a real shell, a real store."""

from __future__ import annotations

import pytest
from cell_parts import Book

from prefect_nb.core import events as ev
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.spec import TaskSpec, VisitId
from prefect_nb.errors import NotAvailable, TaskFailed
from prefect_nb.wiring import now

SIGNALS = "from prefect_nb import signals"


def test_a_skip_goes_down_unless_told_otherwise(book: Book) -> None:
    """A cell that skips shows one line and no error; its readers are skipped with the reason, others go on."""
    ran = book.all(
        {
            "s": SIGNALS,
            "a": "%%task a\nrows = []\nif not rows:\n    raise signals.skip('no new data')\nx = 1",
            "b": "%%task b\ny = x + 1",
            "c": "%%task c --after a --on-upstream-skip run\nz = 3",
            "d": "%%task d --on-upstream-skip run\nw = x",
            "e": "print(x)",
        }
    )
    assert [book.state(task) for task in "abcd"] == ["Skipped", "Skipped", "Success", "Failed"]
    assert (ran["a"].error, ran["b"].error) == (None, None)
    assert ran["a"].text.strip() == "a: Skipped, no new data"
    assert ran["b"].text.strip() == "b: Skipped, skipped because a was skipped"
    for cell in ("d", "e"):
        error = ran[cell].error
        assert isinstance(error, NotAvailable)
        assert (error.task, error.state) == ("a", "Skipped")
        assert "x is not available: task a is Skipped: no new data" in str(error)


def test_a_body_says_that_it_failed(book: Book) -> None:
    """``fail`` is retried as the task allows and shown as an ordinary error; ``except Exception`` does not hold it."""
    source = (
        f"%%task a --retries 1\n{SIGNALS}\ntry:\n    raise signals.fail('too few rows')\nexcept Exception:\n    pass"
    )
    ran = book.execute("a", source)
    assert isinstance(ran.error, TaskFailed)
    assert "too few rows" in str(ran.error)
    assert (book.state("a"), book.visit("a").attempt) == ("Failed", 2)


def test_a_body_asks_for_another_attempt(book: Book) -> None:
    """``retry`` enters the body again though the task has no retries; the context says which attempt it is."""
    source = (
        f"%%task a\n{SIGNALS}\nfrom prefect_nb import context\n"
        "if context.attempt < 3:\n    raise signals.retry('not yet', after=0)\ntries = context.attempt"
    )
    assert book.execute("a", source).error is None
    assert book.shell.user_ns["tries"] == 3
    assert (book.state("a"), book.visit("a").attempt) == ("Success", 3)


def test_a_body_is_done_early(book: Book) -> None:
    """``success`` keeps what was bound so far, and shows its result as the cell's."""
    ran = book.execute("a", f"%%task a\n{SIGNALS}\nx = 1\nif x:\n    raise signals.success(41 + x)\nx = 2")
    assert ran.error is None
    assert "42" in ran.text
    assert (book.state("a"), book.shell.user_ns["x"]) == ("Success", 1)


TRIGGERS = {
    "any_failed": ("Success", "TriggerFailed"),
    "all_failed": ("Success", "TriggerFailed"),
    "all_finished": ("Success", "Success"),
    "some_failed:1:1": ("Success", "TriggerFailed"),
    "any_successful": ("TriggerFailed", "Success"),
    "all_successful": ("TriggerFailed", "Success"),
}


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("fails", [True, False], ids=["after a failure", "after a success"])
def test_a_trigger_decides(book: Book, trigger: str, fails: bool) -> None:
    """By hand and under ``%flow run``, a cell runs when its trigger agrees with how the cell above ended."""
    book.all({"a": f"%%task a\n1 / {0 if fails else 1}", "b": f"%%task b --after a --trigger {trigger}\ny = 1"})
    assert book.state("b") == TRIGGERS[trigger][not fails]
    book.line("%flow new")
    book.line("%flow run")
    assert book.state("b") == TRIGGERS[trigger][not fails].replace("Success", "Cached")


def test_what_runs_after_a_failure_does_not_see_its_names(book: Book) -> None:
    """A cell that runs in spite of a failure reads NotAvailable, not a value of an earlier time; nothing is retried."""
    book.all({"a": "%%task a\nx = 1", "b": "%%task b --trigger all_finished\ny = x"})
    assert book.shell.user_ns["y"] == 1
    book.execute("a", "%%task a\nx = 1 / 0")
    ran = book.execute("b")
    assert isinstance(ran.error, NotAvailable)
    assert "x is not available: task a is Failed" in str(ran.error)
    assert book.visit("a").id.visit == 2


def test_a_pause_asks_and_goes_on_with_the_answer(book: Book) -> None:
    """A body pauses with a form, the cell ends, the answer is checked, and the body finds it in the context."""
    source = (
        f"%%task a\n{SIGNALS}\nfrom prefect_nb import context\n"
        "if context.approval is None:\n    raise signals.pause('how many?', form={'n': int})\n"
        "n = context.approval['n']\nby = context.approval.by"
    )
    ran = book.execute("a", source)
    assert ran.error is None
    assert "a is Paused: how many?; %flow approve a n=<int> lets it go on" in ran.text
    assert "n is missing (int)" in str(book.line("%flow approve a").error)
    assert book.line("%flow approve a n=7 'as agreed'").error is None
    assert book.state("a") == "Resuming"
    assert book.execute("a").error is None
    assert book.shell.user_ns["n"] == 7
    approval = book.visit("a").approval
    assert approval is not None
    assert (approval["note"], approval["value"], approval["by"]) == ("as agreed", {"n": 7}, book.shell.user_ns["by"])
    assert (book.visit("a").id.visit, book.visit("a").attempt) == (1, 1)


def test_a_pause_can_end_by_itself(book: Book) -> None:
    """When its time has come the visit is let go on without anybody, and its cell goes on when it is executed."""
    source = (
        f"%%task a\n{SIGNALS}\nfrom prefect_nb import context\n"
        "if context.approval is None:\n    raise signals.pause(after=0)\nx = 1"
    )
    assert book.execute("a", source).error is None
    while book.state("a") == "Paused":
        book.flow.session.ask()
    assert book.execute("a").error is None
    assert (book.state("a"), book.shell.user_ns["x"]) == ("Success", 1)


def test_changed_code_asks_again(book: Book) -> None:
    """An approval holds for what was shown: an edited cell, or one that reads something else, is a new question."""
    book.all({"a": "%%task a\nx = 1", "b": "%%task b --approve\ny = x"})
    book.line("%flow approve b")
    book.execute("a", "%%task a\nx = 2")
    assert "b is Paused" in book.execute("b").text
    states = {str(v.id): v.state.label for v in book.run.visits.values() if v.id.task == "b"}
    assert states == {"b#1": "Cancelled", "b#2": "Paused"}
    assert "y" not in book.shell.user_ns


def test_flow_run_leaves_what_waits(book: Book) -> None:
    """``%flow run`` runs what it can, says what waits, and is no error because of it; run again it goes on."""
    cells = {"a": "%%task a --approve\nx = 1", "b": "%%task b\ny = x", "c": "%%task c\nz = 1"}
    book.cells |= cells
    book.flow.set_document([{"id": i, "source": s} for i, s in cells.items()])
    ran = book.line("%flow run")
    assert ran.error is None
    assert "a is Paused: waits for approval" in ran.text
    assert "b needs a, which is Paused" in ran.text
    assert (book.state("a"), book.state("c")) == ("Paused", "Success")
    book.line("%flow approve a")
    assert book.line("%flow run").error is None
    assert [book.state(task) for task in "ab"] == ["Success", "Success"]


def test_an_unknown_outcome_waits_for_a_person(book: Book) -> None:
    """A task that may run once only, and was running when its kernel vanished, asks before it is entered again."""
    book.execute("a", "%%task a --once\nx = 1")
    assert book.state("a") == "Success"  # an outcome that is known asks nobody
    session, visit = book.flow.session, VisitId("a", 2)
    reason = Reason(ReasonCode.FIRST)
    session.ask(
        ev.TaskPlanned(at=now(), visit=visit, spec=TaskSpec("a", once=True), cell="a"),
        ev.KeyResolved(at=now(), visit=visit, key="k", reason=reason),
        ev.BodyEntered(at=now(), visit=visit, token=1),
        ev.WorkerLost(at=now(), visit=visit),
    )
    assert (
        "a is Paused: its body was running when its kernel vanished" in book.execute("a", "%%task a --once\nx = 2").text
    )
    assert book.shell.user_ns["x"] == 1
    book.line("%flow approve a")
    book.execute("a")
    assert (book.state("a"), book.shell.user_ns["x"]) == ("Success", 2)


@pytest.mark.parametrize("op", ["approve", "reject"])
def test_a_page_answers(book: Book, op: str) -> None:
    """A page's button does the same, with the person on record; a second press is told that nothing waits."""
    book.execute("a", "%%task a --approve\nx = 1")
    commands = book.shell._prefect_nb.rooms.hub._commands
    press = {"op": op, "task": "a", "note": "fine", "run": book.run.id}
    assert commands(press)["ok"]
    assert book.state("a") == ("Resuming" if op == "approve" else "Cancelled")
    assert "(page): fine" in book.visit("a").state.message
    again = commands(press)
    assert not again["ok"]
    assert "waits for nobody" in again["message"]


def test_a_paused_cell_outlives_a_restart(book: Book) -> None:
    """After a restart the cell is still Paused; approved then it runs, and nothing above it runs again."""
    book.all({"a": "%%task a --cache never\nx = 1", "b": "%%task b --approve\ny = x"})
    book.restart()
    assert book.all()["b"].error is None
    assert book.state("b") == "Paused"
    book.line("%flow approve b")
    book.execute("b")
    assert (book.state("b"), book.visit("b").id.visit, book.visit("a").id.visit) == ("Success", 1, 1)
