"""The context of a body, and what single calls of function tasks do with signals, handlers, limits and approvals."""

from __future__ import annotations

import contextvars
import threading
from typing import Any

import pytest
from cell_parts import Book

from prefect_nb import context
from prefect_nb.errors import NotAvailable, TaskFailed, TaskTimeout, UsageError

ASK = "(context.run_id, context.task_name, context.attempt, context.map_index, dict(context.parameters))"
QUESTIONS = [name for name in dir(type(context)) if not name.startswith("_")]


@pytest.mark.parametrize("question", QUESTIONS)
def test_outside_of_a_body_there_is_no_context(question: str) -> None:
    """Every question asked elsewhere is an error of ours that names it."""
    with pytest.raises(UsageError, match=f"context.{question} was asked outside"):
        getattr(context, question)


def test_a_cell_and_a_function_ask_about_themselves(book: Book) -> None:
    """Each body learns of its own visit: the cell's is not the function's; afterwards nobody is asked."""
    book.execute("p", "from prefect_nb import context, task\nimport threading, contextvars\nhere = []")
    book.execute("f", f"@task(cache='never')\ndef f():\n    return {ASK}, context.idempotency_token")
    assert book.execute("a", f"%%task a\nmine = {ASK}\ntoken = context.idempotency_token\nof_f = f()").error is None
    user, run = book.shell.user_ns, book.run.id
    assert user["mine"] == (run, "a", 1, None, {})
    assert user["of_f"][0] == (run, "f", 1, None, {})
    assert user["token"] != user["of_f"][1]
    assert isinstance(book.execute("x", "context.attempt").error, UsageError)


def test_the_token_is_the_same_for_every_attempt(book: Book) -> None:
    """An API that is given the token twice can tell that it is the same wish; another visit is another wish."""
    book.execute("p", "from prefect_nb import context")
    source = "%%task a --retries 2 --cache never\nprint(context.idempotency_token)\nif context.attempt < 3:\n    1 / 0"
    first, second = (book.execute("a", source).text.split() for _ in range(2))
    assert (len(first), len(second)) == (3, 3)
    assert (len({*first}), len({*first, *second})) == (1, 2)


def test_a_thread_with_the_body_s_context_asks_too(book: Book) -> None:
    """A thread started with a copied context sees the body's answers; one without sees none."""
    book.execute("p", "from prefect_nb import context\nimport threading, contextvars")
    source = (
        "%%task a\nseen = []\nlook = lambda: seen.append(context.attempt)\n"
        "copied = contextvars.copy_context()\n"
        "one = threading.Thread(target=copied.run, args=(look,))\none.start()\none.join()\ndel one, copied, look"
    )
    assert book.execute("a", source).error is None
    assert book.shell.user_ns["seen"] == [1]


def test_what_a_body_logs_is_its_output(book: Book) -> None:
    """The logger's lines appear on the page and in the task's log, from INFO on, with the task's name."""
    source = (
        "%%task a\nfrom prefect_nb import context\n"
        "context.logger.debug('too fine')\ncontext.logger.info('read %d rows', 3)\nx = 1"
    )
    shown = book.execute("a", source).text
    assert "INFO prefect_nb.task.a: read 3 rows" in shown
    assert "too fine" not in shown
    assert "read 3 rows" in book.line("%flow logs a").text


def test_a_body_in_a_thread_sees_that_it_is_to_stop(book: Book) -> None:
    """``cancelled`` turns true when somebody asks, for bodies that no interrupt reaches."""
    begun = threading.Event()
    book.shell.user_ns["begun"] = begun
    body = "begun.set()\n    while not context.cancelled:\n        pass\n    return 'stopped'"
    book.execute("p", f"from prefect_nb import context, task\n@task\ndef wait():\n    {body}")
    caught: list[Any] = []
    call = book.shell.user_ns["wait"]
    thread = threading.Thread(target=contextvars.copy_context().run, args=(lambda: caught.append(call()),))
    thread.start()
    assert begun.wait(10)
    book.shell._prefect_nb.rooms.hub._commands({"op": "cancel", "task": "wait", "run": book.run.id})
    thread.join(10)
    assert caught == ["stopped"]


FUNCTIONS = (
    "from prefect_nb import context, signals, task, State\n"
    "from prefect_nb.core.states import StateName as N\nheard = []\n"
)


def _call(book: Book, body: str, *, options: str = "", call: str = "f()") -> BaseException | None:
    """Define a function task and call it in a cell; what the caller saw."""
    book.execute("p", f"{FUNCTIONS}@task({options})\ndef f():\n    {body}")
    return book.execute("x", f"value = {call}").error


ENDS: dict[str, tuple[str, type[BaseException] | None, str]] = {
    "skip": ("raise signals.skip('no data')", NotAvailable, "Skipped"),
    "fail": ("raise signals.fail('too few')", TaskFailed, "Failed"),
    "pause": ("raise signals.pause('sure?')", NotAvailable, "Paused"),
    "success": ("raise signals.success(7)", None, "Success"),
    "retry": ("return 7 if context.attempt > 1 else (_ for _ in ()).throw(signals.retry(after=0))", None, "Success"),
}


@pytest.mark.parametrize("name", ENDS)
def test_a_call_ends_as_its_body_says(book: Book, name: str) -> None:
    """Each signal ends a call in its state; its caller gets a value, or an ordinary exception."""
    body, error, state = ENDS[name]
    seen = _call(book, body)
    assert type(seen) is (type(None) if error is None else error)
    assert book.state("f") == state
    if error is None:
        assert book.shell.user_ns["value"] == 7


def test_a_call_that_asks_a_person_is_taken_up_by_the_next(book: Book) -> None:
    """Called again after the approval, the very visit goes on; while it waits, a second call waits with it."""
    told = "return context.approval.note"
    assert isinstance(_call(book, told, options="approve=True"), NotAvailable)
    assert isinstance(book.execute("x").error, NotAvailable)
    assert [v.state.label for v in book.run.visits.values()] == ["Paused"]
    assert book.line("%flow approve f 'go on'").error is None
    assert book.execute("x").error is None
    assert book.shell.user_ns["value"] == "go on"
    assert [str(v.id) for v in book.run.visits.values()] == ["f#1"]


def test_a_limit_in_the_main_thread_stops_the_body(book: Book) -> None:
    """A call that takes too long is interrupted and TimedOut, hard; its caller sees TaskTimeout."""
    assert isinstance(_call(book, "while True: pass", options="timeout=0.2"), TaskTimeout)
    assert (book.state("f"), book.visit("f").state.data["hard"]) == ("TimedOut", True)


def test_a_limit_in_another_thread_is_soft_and_says_so(book: Book) -> None:
    """Where no interrupt reaches, the visit is TimedOut in time, soft, and what the body gives later is refused."""
    go_on = threading.Event()
    book.shell.user_ns["go_on"] = go_on
    book.execute("p", f"{FUNCTIONS}@task(timeout=0.2)\ndef f():\n    go_on.wait(10)\n    return 7")
    caught: list[Any] = []
    call = book.shell.user_ns["f"]

    def ask() -> None:
        try:
            caught.append(call())
        except TaskTimeout as error:
            caught.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(ask,))
    thread.start()
    while (found := book.run.find("f")) is None or not found.state.final:
        pass
    go_on.set()
    thread.join(10)
    assert (book.state("f"), book.visit("f").state.data["hard"]) == ("TimedOut", False)
    assert isinstance(caught[0], TaskTimeout)


HEARD = "lambda task, old, new: heard.append((task, old.label, new.label))"


def test_handlers_hear_of_each_move(book: Book) -> None:
    """``on_state`` hears of entries, retries and ends, ``on_failure`` only of the failure at the end."""
    options = f"retry=1, on_state={HEARD}, on_failure=[{HEARD}], on_success={HEARD}"
    assert isinstance(_call(book, "return 1 / 0", options=options), ZeroDivisionError)
    assert book.shell.user_ns["heard"] == [
        ("f", "Submitted", "Running"),
        ("f", "Running", "Retrying"),
        ("f", "Submitted", "Running"),
        ("f", "Running", "Failed"),
        ("f", "Running", "Failed"),
    ]


PROPOSALS: dict[str, tuple[str, str, str, object]] = {
    "success for a failure": (
        "1 / 0",
        "on_failure=lambda t, o, n: State(N.SUCCESS, n.at, data={'result': 7})",
        "Success",
        7,
    ),
    "skipped for a failure": (
        "1 / 0",
        "on_failure=lambda t, o, n: State(N.SKIPPED, n.at, 'no need')",
        "Skipped",
        NotAvailable,
    ),
    "failed for a success": (
        "return 1",
        "on_success=lambda t, o, n: State(N.FAILED, n.at, 'too good')",
        "Failed",
        TaskFailed,
    ),
    "skipped before it runs": (
        "heard.append('ran')",
        "on_state=lambda t, o, n: State(N.SKIPPED, n.at) if n.name is N.RUNNING else None",
        "Skipped",
        NotAvailable,
    ),
    "nothing a body can end in": (
        "return 1",
        "on_success=lambda t, o, n: State(N.PENDING, n.at)",
        "Failed",
        TaskFailed,
    ),
    "a handler that raises": ("return 7", "on_success=lambda t, o, n: 1 / 0", "Success", 7),
    "a strict one that raises": (
        "return 7",
        "on_success=lambda t, o, n: 1 / 0, strict_handlers=True",
        "Failed",
        TaskFailed,
    ),
    "the first of two": (
        "1 / 0",
        "on_failure=[lambda t, o, n: State(N.SKIPPED, n.at), lambda t, o, n: State(N.SUCCESS, n.at)]",
        "Skipped",
        NotAvailable,
    ),
}


@pytest.mark.parametrize("name", PROPOSALS)
def test_a_handler_may_propose_another_end(book: Book, name: str) -> None:
    """What a handler returns takes the place of the end, within what a body can end in; else the task fails by name."""
    body, options, state, seen = PROPOSALS[name]
    error = _call(book, body, options=options)
    assert book.state("f") == state
    assert book.shell.user_ns["heard"] == []
    if isinstance(seen, type):
        assert type(error) is seen
    else:
        assert (error, book.shell.user_ns["value"]) == (None, seen)
    if state == "Failed" and "good" not in options:
        assert "its handler <lambda>" in book.visit("f").state.message
