"""Run or reuse: the decision as a value, with its reason. It knows what was found, and must not look for anything.

Rules of this room, in the order in which they win:

1. asked to run afresh, or a body that only changes settings: it runs;
2. recovery: the same visit had finished under an equal key before a restart, so it stands, pure or not, whatever
   ``--cache`` says, unless its result was declared unfit, cannot be read, or a file or variable that it read changed (a
   random state does not count: a new process never starts from the old one);
3. an incomplete key or ``--cache never``: it runs;
4. the newest earlier result under an equal key that nothing speaks against stands. Against it speaks, in this order:
   somebody declared it unfit, the body is not pure and nobody vouches for it, something that it read changed, it is
   older than ``--cache`` allows, it cannot be read;
5. otherwise it runs, because of what speaks against the newest one, or else because of the first part of its key that
   differs from its nearest earlier key.

Wrong answers are worse than slow ones: what is not known to be pure is not.

Source: one predicate and one reason per cue, after the cue classes of targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prefect_nb.core.policy import CacheMode
from prefect_nb.core.reasons import Reason, ReasonCode
from prefect_nb.core.spec import TaskSpec

__all__ = ["Candidate", "Decision", "Part", "Question", "decide", "first_difference"]

Part = tuple[str, str, str]
"""One ingredient of a key: its kind, its name and its digest (or a short word that says it)."""

_KINDS = {
    "code": ReasonCode.CODE,
    "helper": ReasonCode.HELPER,
    "input": ReasonCode.INPUT,
    "option": ReasonCode.OPTION,
    "python": ReasonCode.PYTHON,
    "package": ReasonCode.PYTHON,
}
_MANIFEST = {
    "file": ReasonCode.FILE,
    "environment": ReasonCode.ENVIRONMENT,
    "rng": ReasonCode.RNG,
}
_MOST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """An earlier result under a key equal to the one in question.

    Parameters
    ----------
    key, run, result : str
        The key, the run that computed it, the address of the stored value.
    created_at : float
        Seconds since the epoch, UTC.
    cost_s : float
        Seconds that computing it took.
    invalid : bool
        Whether somebody declared it unfit.
    manifest_change : str
        Empty when everything the body read is as it was; else what changed, for example ``"data/x.csv"``.
    available : str
        Empty when its value can be read; else why not.
    manifest_kind : str
        What sort of thing changed: ``"file"``, ``"environment"`` or ``"rng"``.
    """

    key: str
    run: str
    result: str
    created_at: float
    cost_s: float
    invalid: bool = False
    manifest_change: str = ""
    available: str = ""
    manifest_kind: str = "file"


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that the decision depends on.

    Parameters
    ----------
    spec : TaskSpec
        The task and its options.
    key : str
        Its key now; empty when it is incomplete, and then `uncacheable` says why.
    pure : bool
        Whether everything the body can reach is known; if not, `impure_because` says what.
    fresh : bool
        Whether somebody asked to run it afresh.
    recovering : Candidate, optional
        What this very visit had finished with before a restart.
    candidates : tuple of Candidate
        Earlier results under an equal key, newest first.
    same_run : str
        This run's id.
    now : float
        Seconds since the epoch, UTC.
    parts, earlier_parts : tuple of Part
        The ingredients of this key, and of the nearest earlier key of this task (None: it never ran).
    settings_only : bool
        Whether the body binds nothing and only changes settings.
    recomputed_upstream : bool
        Whether something that it reads was computed again in this run.
    """

    spec: TaskSpec
    key: str = ""
    uncacheable: str = ""
    pure: bool = False
    impure_because: str = ""
    fresh: bool = False
    recovering: Candidate | None = None
    candidates: tuple[Candidate, ...] = ()
    same_run: str = ""
    now: float = 0.0
    parts: tuple[Part, ...] = ()
    earlier_parts: tuple[Part, ...] | None = None
    settings_only: bool = False
    recomputed_upstream: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """Run, or reuse `reuse`; `reason` says why, and its parts what was compared."""

    run: bool
    reason: Reason
    reuse: Candidate | None = None

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """The lines for people who ask further: (what, words)."""
        return self.reason.parts


def decide(q: Question) -> Decision:
    """Whether the body has to run, by the rules at the head of this module.

    Examples
    --------
    >>> decide(Question(spec=TaskSpec("clean"), key="k", pure=True)).reason.sentence
    'runs for the first time'
    """
    if q.fresh:
        return Decision(True, Reason(ReasonCode.FORCED))
    if q.settings_only:
        return Decision(True, Reason(ReasonCode.SETTINGS))
    if not q.key:
        return Decision(True, Reason(ReasonCode.UNCACHEABLE, q.uncacheable))
    against: list[tuple[Candidate, Reason]] = []
    if q.recovering is not None and q.recovering.key == q.key:
        obstacle = _against_recovery(q.recovering)
        if obstacle is None:
            return Decision(False, Reason(ReasonCode.RECOVERED, _when(q, q.recovering)), q.recovering)
        against.append((q.recovering, obstacle))
    if q.spec.cache.mode is CacheMode.NEVER:
        return Decision(True, Reason(ReasonCode.NEVER))
    for candidate in q.candidates:
        obstacle = _against(q, candidate)
        if obstacle is None:
            return Decision(False, Reason(_trust(q), _when(q, candidate)), candidate)
        against.append((candidate, obstacle))
    if against:
        rows = tuple((f"result {_when(q, c)}", why.sentence) for c, why in against[:_MOST_ROWS])
        return Decision(True, Reason(against[0][1].code, against[0][1].detail, rows))
    return Decision(True, _without_candidate(q))


def _against_recovery(found: Candidate) -> Reason | None:
    if found.invalid:
        return Reason(ReasonCode.INVALIDATED)
    if found.manifest_change and found.manifest_kind != "rng":
        return _read_changed(found)
    return Reason(ReasonCode.UNAVAILABLE, found.available) if found.available else None


def _against(q: Question, found: Candidate) -> Reason | None:
    cache, age = q.spec.cache, _age(q, found)
    if found.invalid:
        return Reason(ReasonCode.INVALIDATED)
    if not q.pure and cache.mode is CacheMode.PURE:
        return Reason(ReasonCode.IMPURE, q.impure_because)
    if found.manifest_change:
        return _read_changed(found)
    if cache.max_age is not None and age > cache.max_age:
        return Reason(ReasonCode.EXPIRED, f"{_words(age)} old, {_words(cache.max_age)} allowed")
    return Reason(ReasonCode.UNAVAILABLE, found.available) if found.available else None


def _read_changed(found: Candidate) -> Reason:
    return Reason(_MANIFEST.get(found.manifest_kind, ReasonCode.FILE), found.manifest_change)


def _trust(q: Question) -> ReasonCode:
    """On whose word an earlier result stands; the author's is told before anything else."""
    if not q.pure:
        return ReasonCode.VOUCHED
    return ReasonCode.CUT_OFF if q.recomputed_upstream else ReasonCode.REUSED


def _without_candidate(q: Question) -> Reason:
    if q.earlier_parts is None:
        return Reason(ReasonCode.FIRST)
    found = first_difference(q.parts, q.earlier_parts)
    if found.code is ReasonCode.UNAVAILABLE and not q.pure and q.spec.cache.mode is CacheMode.PURE:
        return Reason(ReasonCode.IMPURE, q.impure_because)
    return found


def first_difference(now_parts: Sequence[Part], earlier_parts: Sequence[Part]) -> Reason:
    """Why two keys of one task differ: the part that says most, and every differing part as a line.

    Its own code says most, then code that it uses, its inputs, its options, Python and packages. Equal parts mean that
    the earlier result was not kept.

    Examples
    --------
    >>> first_difference([("input", "orders", "b2")], [("input", "orders", "a1")]).sentence
    'its input changed: orders'
    >>> first_difference([("python", "Python", "3.12")], [("python", "Python", "3.11")]).sentence
    'Python or a package changed: Python 3.11 -> 3.12'
    """
    now = {(kind, name): digest for kind, name, digest in now_parts}
    earlier = {(kind, name): digest for kind, name, digest in earlier_parts}
    changed = [part for part in {**now, **earlier} if now.get(part) != earlier.get(part)]
    if not changed:
        return Reason(ReasonCode.UNAVAILABLE, "it was not kept")
    ranks = {kind: rank for rank, kind in enumerate(_KINDS)}
    changed.sort(key=lambda part: ranks.get(part[0], ranks["option"]))
    kind, name = changed[0]
    words = [_difference(part, now.get(part), earlier.get(part)) for part in changed]
    rows = tuple((f"{k} {n}".strip(), said) for (k, n), said in zip(changed[:_MOST_ROWS], words, strict=False))
    code = _KINDS.get(kind, ReasonCode.OPTION)
    detail = "" if code is ReasonCode.CODE else name if words[0] == "changed" else f"{name} {words[0]}"
    return Reason(code, detail, rows)


def _difference(part: tuple[str, str], now: str | None, earlier: str | None) -> str:
    if earlier is None:
        return "is new"
    if now is None:
        return "is gone"
    sayable = part[0] not in ("code", "helper", "input") and max(len(now), len(earlier)) < 16
    return f"{earlier} -> {now}" if sayable else "changed"


def _age(q: Question, found: Candidate) -> float:
    return max(0.0, q.now - found.created_at)  # another machine's clock may be ahead


def _when(q: Question, found: Candidate) -> str:
    where = "in this run" if found.run == q.same_run else f"in run {found.run}"
    return f"{where}, {_words(_age(q, found))} ago"


def _words(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.1f} s"
