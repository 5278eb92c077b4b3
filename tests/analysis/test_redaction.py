"""Texts and bytes without what must not be written down."""

from __future__ import annotations

import base64
import html
import json
import subprocess
import sys
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_nb.analysis import redaction
from prefect_nb.analysis.redaction import MASK, Held, names_in, redacted, without

VALUE = 'p4ss"w/ö\\rd+&1'
PEM = "-----BEGIN KEY-----\n" + "\n".join(f"MIIE{n:02d}/Qabcdefghij+klmnop" for n in range(40)) + "\n-----END KEY-----"


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """Each test has a registry of its own."""
    for name, empty in (("_values", {}), ("_known", None)):
        monkeypatch.setattr(redaction, name, empty)


RAW = VALUE.encode()
SPELLED = {
    "plain": VALUE,
    "repr": repr(VALUE),
    "bytes": repr(RAW),
    "json": json.dumps(VALUE),
    "json, not ASCII": json.dumps(VALUE, ensure_ascii=False),
    "json in json": json.dumps(json.dumps(VALUE)),
    "address": quote(VALUE),
    "address, all": quote(VALUE, safe=""),
    "form": quote_plus(VALUE),
    "small address": quote(VALUE, safe="").lower(),
    "html": html.escape(VALUE),
    "hex": RAW.hex(),
    **{f"base64 after {n}": base64.b64encode(b"u" * n + RAW + b"x").decode() for n in range(4)},
    "base64 for addresses": base64.urlsafe_b64encode(b"u:" + RAW).decode(),
}


@pytest.mark.parametrize("spelled", SPELLED.values(), ids=SPELLED)
def test_every_spelling_is_masked(spelled):
    """However a value is spelled, also amid other text, the text comes out without it."""
    redaction.register("P", VALUE)
    text = f"before {spelled} after {spelled}"
    shown = without(text)
    assert shown.startswith("before ")
    assert MASK in shown
    for length in range(6, 12):
        assert spelled[4 : 4 + length] not in shown


def test_nothing_else_is_touched():
    """Text without the value stays as it is, before and after anything is registered."""
    text = f"p4ss but not whole, {VALUE[:-1]}"
    assert without(text) == text
    redaction.register("P", VALUE)
    assert without(text) == text
    assert redacted({"a": [1, 2.5, None, True, (text,)]}) == {"a": [1, 2.5, None, True, (text,)]}


def test_data_of_any_shape():
    """Texts in lists, tuples and dicts are masked, keys too; what stands under a name that is kept stays."""
    redaction.register("P", VALUE)
    said = {"m": [VALUE, ("x" + VALUE,)], VALUE: 1, "code": VALUE}
    assert redacted(said, keep=frozenset({"code"})) == {"m": [MASK, ("x" + MASK,)], MASK: 1, "code": VALUE}


def test_the_longer_of_two_values_goes_whole():
    """A value that begins with another one leaves nothing of itself."""
    redaction.register("A", "hunter22")
    redaction.register("B", "hunter22-and-more")
    assert without("<hunter22-and-more> <hunter22>") == "<***> <***>"


def test_each_line_of_a_long_value():
    """The lines of a value with several are masked alone as well."""
    redaction.register("KEY", PEM)
    shown = without("\n".join(f"{n}: {line}" for n, line in enumerate(PEM.splitlines())))
    assert shown == "\n".join(f"{n}: {MASK}" for n in range(len(PEM.splitlines())))
    assert without(json.dumps(PEM)) == f'"{MASK}"'


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 9), max_size=30), st.sampled_from(["", "x", "p4", "p4ss"]), st.integers(0, 2))
def test_a_stream_in_any_pieces(cuts, around, repeats):
    """However a stream is cut, what is shown is what the whole would be without the value."""
    redaction.register("P", VALUE)
    text = around.join([VALUE, f"{VALUE}{VALUE[:5]}", json.dumps(VALUE)] * repeats) + around
    held, shown, at = Held(), "", 0
    for cut in [*cuts, len(text)]:
        shown += held.feed(text[at : at + cut])
        assert VALUE not in shown
        at += cut
    assert shown + held.release() == without(text)


def test_only_what_may_begin_a_value_is_held():
    """Text goes on at once but for an end that may be the beginning of a value."""
    held = Held()
    assert held.feed("p") == "p"
    redaction.register("P", VALUE)
    assert [held.feed("all p4"), held.feed("xx"), held.feed(" p4ss"), held.release()] == ["all ", "p4xx", " ", "p4ss"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-32-le"])
def test_bytes_that_hold_a_value(encoding):
    """Bytes are looked through in the encodings of text and of arrays of text."""
    assert names_in(VALUE.encode(encoding)) == set()
    redaction.register("P", VALUE)
    data = b"\0" * 7 + VALUE.encode(encoding) + b"\1"
    assert names_in(memoryview(b"rest"), data) == {"P"}
    assert names_in(b"nothing") == set()


def test_it_costs_nothing_heavy():
    """The module loads what the standard library has, and no more of ours."""
    code = "import sys, prefect_nb.analysis.redaction; print([m for m in sys.modules if m.startswith('prefect_nb.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['prefect_nb.analysis', 'prefect_nb.analysis.redaction']"
