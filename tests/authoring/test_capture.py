"""The record of outputs; what only a kernel can show is tested in ``tests/kernel``."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_nb.authoring import taps
from prefect_nb.authoring.capture import Capture, Output, from_plain, replay, to_plain
from prefect_nb.authoring.outputs import fold


@pytest.fixture(autouse=True)
def untapped(shell: Any) -> Iterator[None]:
    """The streams of this process go back to what they were."""
    yield
    taps.uninstall(shell)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ntext", "plain\ntext"),
        ("10%\r20%\r30%", "30%"),
        ("long line\rab", "abng line"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("a\r\r\nb", "a\nb"),
        ("abc\b\bX", "aX"),
        ("\b\bX", "X"),
        ("a\n\bX", "a\nX"),
        ("10%\rdone\nnext", "done\nnext"),
        ("kept\r", "kept\r"),
        ("\x1b[31mred\x1b[0m\r\x1b[32mgreen\x1b[0m", "\x1b[32mgreen\x1b[0m"),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
    ],
)
def test_text_is_folded_as_a_screen_does(text: str, shown: str) -> None:
    """Carriage returns overwrite, backspaces erase, colours stay."""
    assert fold(text, complete=True) == shown


@given(st.lists(st.text("ab\r\n", max_size=8), max_size=6))
def test_folding_in_pieces_is_folding_at_once(pieces: list[str]) -> None:
    """However the text arrives, the screen is the same."""
    screen = ""
    for piece in pieces:
        screen = fold(screen + piece)
    assert fold(screen, complete=True).rstrip("\r") == fold("".join(pieces), complete=True).rstrip("\r")


def test_overflow_is_counted_and_marked(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Text beyond the cap is shown and not kept, and the record says how much."""
    with Capture(shell, cap_bytes=1000) as capture:
        for _ in range(100):
            print("x" * 9_999)
    text = "".join(output.text for output in capture.outputs())
    assert text.startswith("x" * 1000 + "\n… 999,000 more characters")
    assert len(text) < 1_100
    assert len(capsys.readouterr().out) == 1_000_000


def test_a_terminal_shows_and_records_the_same(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """In a terminal results and displays are printed once and recorded as what they are, not as text."""
    with Capture(shell) as capture:
        shell.run_cell("print('a')\nget_ipython().display_pub.publish({'text/plain': 'b'})")
        shell.run_cell("import sys\nsys.stderr.write('c')\n7")
    shown = [(o.kind, o.name, o.text or o.data.get("text/plain")) for o in capture.outputs()]
    assert shown == [
        ("stream", "stdout", "a\n"),
        ("display", "", "b"),
        ("stream", "stderr", "c"),
        ("result", "", "7"),
    ]
    printed = capsys.readouterr()
    assert printed.err == "c"
    assert [printed.out.count(part) for part in ("a\n", "b\n", "7\n")] == [1, 1, 1]


def test_replay_in_a_terminal_sets_out(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A stored result is shown again and its value bound to ``_`` and ``Out``."""
    with Capture(shell) as capture:
        shell.run_cell("[1, 2]", store_history=True)
    capsys.readouterr()
    value = [1, 2]
    replay(capture.outputs(), shell, note="from cache", value=value)
    assert shell.user_ns["_"] is value
    assert shell.user_ns["Out"][shell.displayhook.prompt_count] is value
    assert capsys.readouterr().out.split("\n")[-2:] == ["from cache", ""]


def test_the_note_is_not_recorded(shell: Any) -> None:
    """What surrounds a replay hears the outputs and not the note."""
    outputs = (Output("stream", "stdout", "a\n"), Output("display", data={"text/plain": "b"}))
    with Capture(shell) as around:
        replay(outputs, shell, note="from cache")
    assert around.outputs() == outputs


def test_bytes_and_plain_form(shell: Any) -> None:
    """Binary parts are base64 text, and the plain form reads back as the same record."""
    with Capture(shell) as capture:
        shell.display_pub.publish({"image/png": b"\x89PNG", "application/json": {"a": (1, None)}}, {"w": 1})
    (output,) = capture.outputs()
    assert output.data == {"image/png": "iVBORw==", "application/json": {"a": [1, None]}}
    assert from_plain(to_plain([output])) == (output,)


def test_without_a_shell_the_streams_are_heard(capsys: pytest.CaptureFixture[str]) -> None:
    """A function task in a script has its text recorded, and nested captures feed the innermost callback only."""
    heard: list[tuple[str, str]] = []
    with Capture(None, on_text=lambda *text: heard.append(("outer", *text))) as outer:
        with Capture(None, on_text=lambda *text: heard.append(("inner", *text))) as inner:
            sys.stdout.write("a")
        sys.stderr.write("b")
    assert heard == [("inner", "stdout", "a"), ("outer", "stderr", "b")]
    assert [o.text for o in inner.outputs()] == ["a"]
    assert [o.text for o in outer.outputs()] == ["a", "b"]
    assert tuple(capsys.readouterr()) == ("a", "b")


def test_a_nested_record_follows_where_output_goes_now(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside another record, what is put in the place of the usual streams is heard too."""
    with Capture(shell) as outer:
        with Capture(shell) as usual:
            print("usual")
        with monkeypatch.context() as swapped:
            swapped.setattr(sys, "stdout", io.StringIO())
            with Capture(shell) as elsewhere:
                print("elsewhere")
    assert [o.text for o in usual.outputs()] == ["usual\n"]
    assert [o.text for o in elsewhere.outputs()] == ["elsewhere\n"]
    assert [o.text for o in outer.outputs()] == ["usual\n"]
