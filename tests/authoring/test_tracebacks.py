"""A user's exception as data."""

from __future__ import annotations

import json
import types
from typing import Any

import pytest
from cell_parts import Book

from prefect_nb import errors
from prefect_nb.authoring import tracebacks
from prefect_nb.authoring.outputs import from_plain
from prefect_nb.authoring.tracebacks import error_info, user_frames


class Silent(Exception):
    """Cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Rich(ValueError, LookupError):
    """Has two bases."""


def _caught(source: str, **names: Any) -> BaseException:
    try:
        exec(compile(source, "cell-7", "exec"), names)
    except BaseException as error:
        return error
    raise AssertionError("it did not raise")


def test_types_are_named_plain_and_qualified() -> None:
    """Every base is named twice, nearest first, so a retry rule may name any of them."""
    types = error_info(Rich("x"), None).types
    assert types[:2] == ("Rich", f"{__name__}.Rich")
    assert {"ValueError", "builtins.ValueError", "LookupError", "Exception", "BaseException"} <= set(types)
    assert "object" not in types


@pytest.mark.parametrize(
    ("error", "start"), [(Silent(), "<Silent that cannot be printed"), (ValueError("é" * 5000), "é" * 2000 + "… 3,000")]
)
def test_messages_are_survived_and_cut(error: Exception, start: str) -> None:
    """An exception that cannot print itself and one that prints too much both become a message."""
    info = error_info(error, error.__traceback__)
    assert info.message.startswith(start)
    assert len(info.message) < 2_100
    json.dumps(info.to_plain())


def test_the_traceback_holds_the_users_frames_only() -> None:
    """Frames of this package are left out, files are called what people call them, causes are told."""
    source = "def f():\n    try:\n        {}['a']\n    except KeyError as e:\n        frames('x') or fail() \nf()"
    error = _caught(source, frames=lambda x: None, fail=lambda: errors.PrefectNBError("m").missing)
    text = error_info(
        error, error.__traceback__, label=lambda name: "Cell In[7]" if name == "cell-7" else None
    ).traceback
    assert 'File "Cell In[7]", line 6, in <module>' in text
    assert "KeyError: 'a'" in text
    assert "errors.py" not in text
    assert text.endswith("AttributeError: missing\n")


def test_user_frames_keeps_the_order_and_drops_ours() -> None:
    """The chain without our frames is a traceback with the same lines."""
    error = _caught("def f():\n    g()\nf()", g=lambda: from_plain([{}]))
    tb = user_frames(error.__traceback__)
    assert isinstance(tb, types.TracebackType)
    names = []
    while tb is not None:
        assert not tb.tb_frame.f_code.co_filename.startswith(tracebacks._PACKAGE)
        names.append(tb.tb_frame.f_code.co_name)
        tb = tb.tb_next
    assert names == ["_caught", "<module>", "f", "<lambda>"]
    assert user_frames(None) is None


CALLS = {"a call": "halve(1)", "a flow": "etl()", "a wrong use": "task(retries=1)(halve)"}


@pytest.mark.parametrize("what", CALLS)
def test_an_error_in_a_plain_cell_has_the_users_frames_only(book: Book, what: str) -> None:
    """What a call of a task or a flow raises points at the user's lines, as without us."""
    book.execute(
        "one",
        "from prefect_nb import flow, task\n@task\ndef halve(x):\n    return x / 0\n"
        "@flow\ndef etl():\n    return halve(1)",
    )
    ran = book.execute("two", CALLS[what])
    assert ran.error is not None
    assert f"----> 1 {CALLS[what]}" in ran.text
    assert "prefect_nb/" not in ran.text
    assert "showtraceback" not in book.shell.__dict__
