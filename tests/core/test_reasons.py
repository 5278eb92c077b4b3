"""Reasons as values."""

from __future__ import annotations

import json

import pytest

from prefect_nb.core.reasons import Reason, ReasonCode


@pytest.mark.parametrize("code", ReasonCode, ids=lambda c: c.code)
def test_every_reason_has_a_sentence_and_survives_the_wire(code: ReasonCode) -> None:
    """Each cue has wording, puts its detail where it belongs, and is itself again after JSON."""
    reason = Reason(code, "orders", (("input orders", "changed"),))
    assert ("orders" in reason.sentence) == ("{}" in code.wording)
    assert "{" not in Reason(code).sentence
    for one in (reason, Reason(code)):
        assert Reason.from_plain(json.loads(json.dumps(one.to_plain()))) == one


def test_codes_are_unique() -> None:
    """No two cues share a code, for codes are what the store keeps."""
    assert len({c.code for c in ReasonCode}) == len(ReasonCode)


def test_braces_in_a_detail_are_harmless() -> None:
    """A path or name with braces is shown as it is."""
    assert Reason(ReasonCode.FILE, "data/{day}.csv").sentence.endswith("data/{day}.csv")
