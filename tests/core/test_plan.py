"""Run or reuse: one row per cue, and which of two cues wins."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_nb.core.plan import Candidate, Question, decide, first_difference
from prefect_nb.core.policy import Cache
from prefect_nb.core.spec import TaskSpec

HOUR, DAY = 3600.0, 86400.0
NOW = 10 * DAY


def found(hours: float = 1, run: str = "r0", **changes: Any) -> Candidate:
    return Candidate(
        **{"key": "k", "run": run, "result": "res", "created_at": NOW - hours * HOUR, "cost_s": 5.0, **changes}
    )


def asked(cache: str = "pure", **changes: Any) -> Question:
    known = {"key": "k", "pure": True, "same_run": "r1", "now": NOW, "candidates": (found(),), **changes}
    return Question(spec=TaskSpec("clean", cache=Cache(cache)), **known)


IMPURE = {"pure": False, "impure_because": "requests.get"}
FILE = {"manifest_change": "data/x.csv"}
ENV = {"manifest_change": "REGION", "manifest_kind": "environment"}
RNG = {"manifest_change": "numpy", "manifest_kind": "rng"}
PARTS = {"parts": (("code", "", "c2"),), "earlier_parts": (("code", "", "c1"),)}
SAME = {"parts": (("code", "", "c1"),), "earlier_parts": (("code", "", "c1"),)}
NONE: dict[str, Any] = {"candidates": ()}
HERE = found(run="r1")
MET, VOUCHED = "the same code met the same inputs ", "its author vouches for it (--cache) "
EQUAL, OTHER = "what it reads was computed again and is equal ", "in run r0, 1 h ago"
OUTSIDE = "its result may depend on the outside: requests.get"

CUES = [
    ("reused", asked(), False, MET + OTHER),
    ("reused in this run", asked(candidates=(HERE,)), False, MET + "in this run, 1 h ago"),
    (
        "cut off",
        asked(recomputed_upstream=True),
        False,
        EQUAL + OTHER,
    ),
    ("vouched", asked("always", **IMPURE), False, VOUCHED + OTHER),
    ("vouched for an age", asked("1d", **IMPURE), False, VOUCHED + OTHER),
    ("pure within the age", asked("1d"), False, MET + OTHER),
    ("exactly the age", asked("1h"), False, MET + OTHER),
    (
        "a clock ahead",
        asked("1h", candidates=(found(-2),)),
        False,
        MET + "in run r0, 0.0 s ago",
    ),
    ("recovered", asked(recovering=HERE, **NONE), False, "it had finished before the restart in this run, 1 h ago"),
    ("first", asked(**NONE), True, "runs for the first time"),
    ("code", asked(**NONE, **PARTS), True, "its code changed"),
    ("not kept", asked(**NONE, **SAME), True, "its earlier result cannot be read: it was not kept"),
    ("forced", asked(fresh=True), True, "asked to run afresh"),
    ("settings", asked(settings_only=True), True, "it only changes settings, so it always runs"),
    ("uncacheable", asked(key="", uncacheable="reads Out[3]"), True, "its key is incomplete: reads Out[3]"),
    ("never", asked("never"), True, "--cache never"),
    ("impure", asked(**IMPURE), True, OUTSIDE),
    (
        "impure and not kept",
        asked(**NONE, **SAME, **IMPURE),
        True,
        OUTSIDE,
    ),
    ("expired", asked("30m"), True, "its earlier result is older than --cache allows: 1 h old, 30 min allowed"),
    ("unfit", asked(candidates=(found(invalid=True),)), True, "its earlier result was declared unfit"),
    ("file", asked(candidates=(found(**FILE),)), True, "a file it reads changed: data/x.csv"),
    ("variable", asked(candidates=(found(**ENV),)), True, "an environment variable it reads changed: REGION"),
    ("random state", asked(candidates=(found(**RNG),)), True, "the random state it starts from differs: numpy"),
    ("evicted", asked(candidates=(found(available="evicted"),)), True, "its earlier result cannot be read: evicted"),
]


@pytest.mark.parametrize(("question", "run", "sentence"), [c[1:] for c in CUES], ids=[c[0] for c in CUES])
def test_every_cue(question: Question, run: bool, sentence: str) -> None:
    """Each cue alone decides, and says so in words."""
    decision = decide(question)
    assert (decision.run, decision.reason.sentence) == (run, sentence)
    assert (decision.reuse is None) == run


RECOVERY = {"recovering": HERE}
PRIORITY = [
    ("fresh beats recovery", asked(fresh=True, **RECOVERY), "forced"),
    ("fresh beats never", asked("never", fresh=True), "forced"),
    ("settings beat recovery", asked(settings_only=True, **RECOVERY), "settings"),
    ("an incomplete key beats never", asked("never", key=""), "uncacheable"),
    ("recovery beats never", asked("never", **RECOVERY), "recovered"),
    ("recovery beats impurity", asked(**IMPURE, **RECOVERY), "recovered"),
    ("recovery beats age", asked("1m", **RECOVERY), "recovered"),
    ("recovery beats other results", asked(**RECOVERY), "recovered"),
    ("recovery ignores the random state", asked(**NONE, recovering=found(**RNG)), "recovered"),
    ("recovery heeds files", asked(**NONE, recovering=found(**FILE)), "file"),
    ("recovery heeds variables", asked(**NONE, recovering=found(**ENV)), "environment"),
    ("recovery heeds the unfit", asked(**NONE, recovering=found(invalid=True)), "invalidated"),
    ("recovery needs the value", asked(**NONE, recovering=found(available="damaged")), "unavailable"),
    ("recovery needs an equal key", asked(**NONE, recovering=found(key="other")), "first"),
    ("a fitting result beats a failed recovery", asked(recovering=found(available="damaged")), "reused"),
    ("never beats a failed recovery", asked("never", recovering=found(available="damaged")), "never"),
    ("never beats impurity", asked("never", **IMPURE), "never"),
    ("unfit beats impure", asked(**IMPURE, candidates=(found(invalid=True),)), "invalidated"),
    ("impure beats file", asked(**IMPURE, candidates=(found(**FILE),)), "impure"),
    ("file beats age", asked("1m", candidates=(found(**FILE),)), "file"),
    ("age beats unavailable", asked("1m", candidates=(found(available="evicted"),)), "expired"),
    ("vouched results heed files too", asked("always", **IMPURE, candidates=(found(**FILE),)), "file"),
    ("the author's word is told before a cut-off", asked("always", **IMPURE, recomputed_upstream=True), "vouched"),
    ("an older fitting result is used", asked(candidates=(found(**FILE), found(2))), "reused"),
    ("the newest obstacle is told", asked(candidates=(found(**FILE), found(2, invalid=True))), "file"),
    ("an obstacle beats a difference", asked(candidates=(found(**FILE),), **PARTS), "file"),
    ("a difference beats impurity", asked(**NONE, **PARTS, **IMPURE), "code"),
]


@pytest.mark.parametrize(("question", "code"), [c[1:] for c in PRIORITY], ids=[c[0] for c in PRIORITY])
def test_which_cue_wins(question: Question, code: str) -> None:
    """Of two cues the stronger one decides."""
    assert decide(question).reason.code.code == code


def test_the_newest_fitting_result_is_reused() -> None:
    """Among several results that fit, the first given one, the newest, is taken."""
    newest, older = found(1, "r5"), found(2, "r4")
    assert decide(asked(candidates=(newest, older))).reuse is newest


def test_every_rejected_result_is_listed() -> None:
    """A decision to run lists each earlier result with what speaks against it."""
    decision = decide(asked(candidates=(found(**FILE), found(48, invalid=True))))
    assert decision.parts == (
        ("result in run r0, 1 h ago", "a file it reads changed: data/x.csv"),
        ("result in run r0, 2 d ago", "its earlier result was declared unfit"),
    )


EARLIER = (
    ("code", "", "c1"),
    ("helper", "parse", "h1"),
    ("input", "orders", "i1"),
    ("option", "version", "1"),
    ("python", "Python", "3.11"),
    ("package", "pandas", "2.2.0"),
)


def changed(*rows: tuple[str, str, str], without: tuple[str, ...] = ()) -> list[tuple[str, str, str]]:
    kept = {(k, n): d for k, n, d in EARLIER if n not in without}
    kept.update({(k, n): d for k, n, d in rows})
    return [(k, n, d) for (k, n), d in reversed(kept.items())]


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (changed(("code", "", "c2")), "its code changed"),
        (changed(("helper", "parse", "h2")), "code it uses changed: parse"),
        (changed(("input", "orders", "i2")), "its input changed: orders"),
        (changed(("option", "version", "2")), "an option of its key changed: version 1 -> 2"),
        (changed(("python", "Python", "3.12")), "Python or a package changed: Python 3.11 -> 3.12"),
        (changed(("package", "pandas", "3.0.0")), "Python or a package changed: pandas 2.2.0 -> 3.0.0"),
        (changed(("package", "torch", "2.9")), "Python or a package changed: torch is new"),
        (changed(("input", "day", "d1")), "its input changed: day is new"),
        (changed(without=("orders",)), "its input changed: orders is gone"),
        (changed(("shape", "x", "1")), "an option of its key changed: x is new"),
        (changed(("option", "version", "f" * 64)), "an option of its key changed: version"),
        (changed(("python", "Python", "3.12"), ("input", "orders", "i2"), ("code", "", "c2")), "its code changed"),
        (changed(("python", "Python", "3.12"), ("helper", "parse", "h2")), "code it uses changed: parse"),
        (changed(), "its earlier result cannot be read: it was not kept"),
    ],
)
def test_first_difference(now: list[tuple[str, str, str]], sentence: str) -> None:
    """The part that says most is told first, in words, whatever the order of the parts."""
    assert first_difference(now, EARLIER).sentence == sentence


def test_every_difference_is_a_line() -> None:
    """All differing parts are listed, the one that says most first."""
    now = changed(("python", "Python", "3.12"), ("input", "orders", "i2"), ("code", "", "c2"))
    assert first_difference(now, EARLIER).parts == (
        ("code", "changed"),
        ("input orders", "changed"),
        ("python Python", "3.11 -> 3.12"),
    )
