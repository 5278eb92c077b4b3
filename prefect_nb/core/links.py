"""The parts of the graph: a cell's names, an edge and why it is there, and what is wrong with a cell.

Plain data; the rules that make edges from names are in :mod:`prefect_nb.core.reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Edge", "Node", "Problem"]

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Node:
    """A cell as the graph sees it.

    Parameters
    ----------
    id : str
        Unique in its graph; for a task cell its name.
    kind : str
        A plain cell always runs and is never an obstacle to its readers.
    reads, writes, deletes, defers, mutates : frozenset of str
        As static analysis says, or as the last run showed; `mutates` should leave out modules.
    after : tuple of str
        Tasks that must be final first.
    late : mapping of str to frozenset of str
        For each written name that leads to functions, what those look up; without it every written name counts as
        leading to all of `defers`.
    keeps : frozenset of str
        Writes that may leave the name as it was (bound on some paths only): readers may see the version before.
    soft : frozenset of str
        Reads that may find nothing without an error; they make edges but no problems.
    looks_up : frozenset of str
        What functions inside its inputs were found to look up; where no cell above makes it, nothing is missing.
    opaque : bool
        Whether it may bind names that nobody can see (a star import, ``exec``): what is missing below it is not sure.
    """

    id: str
    kind: Literal["task", "plain"] = "task"
    reads: frozenset[str] = _NONE
    writes: frozenset[str] = _NONE
    deletes: frozenset[str] = _NONE
    defers: frozenset[str] = _NONE
    mutates: frozenset[str] = _NONE
    after: tuple[str, ...] = ()
    late: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    keeps: frozenset[str] = _NONE
    soft: frozenset[str] = _NONE
    looks_up: frozenset[str] = _NONE
    opaque: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """`source` comes before `target` because of `name`.

    ``data``: the target reads the source's version. ``after``: asked for. ``anti``: the target replaces a version that
    the source reads. ``output``: the target replaces the source's version.
    """

    source: str
    target: str
    name: str
    kind: Literal["data", "after", "anti", "output"] = "data"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about the cells that a person should know, with the cell and the name at fault.

    `sure` is False for hints, and for a missing name that may never be looked up: such are told, not refused.
    """

    code: Literal["MULTI_DEF", "FORWARD_READ", "UNDEF_READ", "MUTATES_INPUT", "UNKNOWN_AFTER", "CYCLE"]
    node: str
    name: str
    wording: str
    sure: bool = True
