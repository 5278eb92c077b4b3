"""The key of a body: its code, what it reaches, and its inputs by content.

A key names its parts, so that a miss can say which of them changed. Knows analysis and namespaces; not the store.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from prefect_nb.analysis.code import Part, cell_fingerprint, reach
from prefect_nb.analysis.names import Names
from prefect_nb.analysis.values import FOLLOWS
from prefect_nb.authoring.footprint import bound_late, late_names
from prefect_nb.authoring.namespace import Namespace
from prefect_nb.authoring.sharing import is_code
from prefect_nb.core.spec import TaskSpec
from prefect_nb.errors import Unhashable

__all__ = ["Keyed", "Place", "cell_key", "combine", "framed", "is_code", "own_key", "part_rows"]

SCHEMA = "1"
_KINDS = {"distribution": "package", "code": "code"}
_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


@dataclass(frozen=True, slots=True)
class Keyed:
    """A body's identity.

    Parameters
    ----------
    key : str
        Empty when it is incomplete; `uncacheable` says why.
    code_key : str
        The part that is the same for all inputs.
    parts : tuple of (kind, name, digest)
        What the key was made of, code first.
    """

    key: str
    code_key: str
    parts: tuple[tuple[str, str, str], ...]
    uncacheable: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cell stands, as far as its key depends on it.

    Parameters
    ----------
    root : Path, optional
        Modules under this folder are followed as source.
    learned : frozenset of str
        Names that an earlier execution of the cell was seen to look up.
    mutating : bool
        Whether an earlier execution changed something through another name.
    later : frozenset of str
        The cell and those below it; what they made is not there yet at its place.
    """

    root: Path | None = None
    learned: frozenset[str] = frozenset()
    mutating: bool = False
    later: frozenset[str] = frozenset()


def combine(parts: Iterable[tuple[str, str, str]]) -> str:
    """One digest over named parts; every text is length-prefixed, so no two lists collide."""
    return "b3-" + blake3(b"".join(map(framed, parts))).hexdigest(length=20)


def framed(part: tuple[str, str, str]) -> bytes:
    """A named part as bytes that end where they say."""
    pieces: list[bytes] = []
    for text in part:
        raw = text.encode("utf-8", "surrogatepass")
        pieces += len(raw).to_bytes(4, "big"), raw
    return b"".join(pieces)


def part_rows(parts: Iterable[Part]) -> tuple[tuple[str, str, str], ...]:
    """What code reaches as rows of a key, in the words that reasons use."""
    return tuple((_KINDS.get(p.kind, "helper"), p.name, p.digest) for p in parts)


def own_key(code: str) -> str:
    """The code key of a cell that calls nothing of the notebook's: all that can be said before its inputs are there."""
    return combine(_own_parts(code))


def _own_parts(code: str) -> list[tuple[str, str, str]]:
    return [("code", "", cell_fingerprint(code)), ("python", _PYTHON, SCHEMA)]


def cell_key(code: str, names: Names, spec: TaskSpec, ns: Namespace, place: Place) -> Keyed:
    """The key of a cell whose inputs are in place.

    Parameters
    ----------
    code : str
        The body as plain Python.
    names : Names
        Its analysis.
    place : Place
        Where the cell stands.
    """
    # a name that is bound on some paths only may keep the value before, which is then a part of what the cell leaves
    reads = names.reads | (names.writes - names.must_write) | place.learned
    reached_code = ns.kin.code(reads)
    reads |= bound_late(reached_code)
    ns.materialize(late_names(reached_code))
    parts = _own_parts(code)
    if spec.version:
        parts.append(("option", "--version", spec.version))
    problems: list[str] = []
    code_names = {n for n in reads if n in ns.user and is_code(ns.user[n])}
    shared = {
        n for n in ns.kin.linked(reads if place.mutating else names.touches & reads) if ns.writer(n) not in place.later
    }
    follow = set(code_names)
    for name in sorted((reads | shared) - code_names):
        if name in ns and not (name in ns.user and is_code(ns.user[name])):
            try:
                digest = ns.fingerprint(name)
            except Unhashable as error:
                problems.append(error.message)
                continue
            parts.append(("input", name, digest))
            if digest.startswith(FOLLOWS):
                follow.add(name)
    ns.materialize(follow)
    reached = reach(sorted(follow), ns.user, project_root=place.root)
    parts += part_rows(reached.parts)
    problems += [str(getattr(p, "message", p)) for p in reached.problems]
    if names.dynamic:
        problems.append(f"{', '.join(sorted(names.dynamic))} may read names that nobody can foresee")
    if names.history:
        problems.append(f"{', '.join(sorted(names.history))} is history, not data; assign it to a name")
    code_key = combine(p for p in parts if p[0] in ("code", "python"))
    return Keyed("" if problems else combine(parts), code_key, tuple(parts), "; ".join(problems))
