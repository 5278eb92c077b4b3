"""The view model: the one shape of JSON that leaves Python for a view, and the differences between two of them.

Knows the state names of the core. Must not know the engine, the store, Jupyter, or how anything is drawn.

What travels
------------
Every message is a JSON object. The kernel opens the *state* comm (target ``prefect_nb.state``); the page opens the
*control* comm (target ``prefect_nb.control``, on the comm's own subshell where the kernel has them), because only then
is a command served while a cell runs. The kernel never sends on the control comm except to answer.

State comm, kernel to page::

    {"op": "full", "model": <ViewModel>}
    {"op": "patch", "patch": <patch>, "run": <run id>}     # "run" may be left out: the run of the last full model

A page that holds sequence number ``patch["base"]`` applies the patch; any other asks for a snapshot. The run of a
flow of functions has a stream of its own beside the notebook's; its messages also tell ``"kind": "function"``.

Control comm, page to kernel (always ``"v": 1`` and a ``nonce``)::

    {"op": "hello", "page": <random id>}                   # on attach; the kernel answers, then sends a full model
    {"op": "snapshot", "run": <run id>}                    # a gap was seen; the kernel sends a full model
    {"op": "document", "path": <notebook path>,            # on attach, when cells change, and before an execution
     "cells": [{"id", "source", "type": "code", "tags": [...]}]}
    {"op": "force", "task": <node id>, "run": <run id>}    # the next execution of this task computes it again
    {"op": "cancel-run" | "resume-run", "task": "", "run": <run id>}   # the buttons of a run, as `RunView.actions` says
    {"op": "children", "task": <a map>, "run": <run id>,   # a window of its children; `prefect_nb.views.children`
     "offset", "limit", "sort", "descending", "states", "text"}
    {"op": "cancel" | "skip" | "invalidate" | "approve" | "reject" | "details", "task": <node id>, "run": <run id>}
                                                           # a skip also tells "queued": the cell was sent already;
                                                           # an approval may tell "note" and "value" (a form's answers)

Control comm, kernel to page, one for each nonce::

    {"nonce": <the same>, "ok": bool, "message": <one sentence>, "data": <optional>}

``data`` of ``details`` is `prefect_nb.views.details.Details`, of ``children`` `prefect_nb.views.children.Children`; the
buttons ``why`` and ``logs`` show parts of the details and send ``details``. A ``document`` is sent when it differs from
the last one sent; ``comm_open`` of the control comm has the data ``{"v": 1}``, and the first message is ``hello``.

``run``, ``run-downstream`` and ``retry`` never reach the kernel from the lab extension: the page forces the task and
executes the cells. From the widget, on pages without the extension, they do (with the same fields), as custom messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from prefect_nb.core.states import StateName, StateType

__all__ = ["VERSION", "EdgeView", "NodeView", "RunView", "ViewModel", "actions_for", "patch", "run_actions"]

VERSION = 1
"""Of the JSON; a view that reads another one says so instead of guessing."""

Kind = Literal["cell", "function", "plain"]
Freshness = Literal["fresh", "stale-code", "stale-input", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """The run as a view sees it; times in seconds since the epoch.

    `kind` tells whether it is of a notebook or of a flow of functions, `actions` what may be done with the whole run.
    """

    id: str
    flow: str
    notebook: str = ""
    state: str = StateName.OPEN.label
    type: str = StateType.RUNNING.value
    message: str = ""
    live: bool = False
    started_at: float | None = None
    ended_at: float | None = None
    order_known: bool = True
    store: str = ""
    kind: Literal["notebook", "function"] = "notebook"
    actions: tuple[str, ...] = ()

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """From JSON; keys of a newer version are dropped."""
        known = {key: value for key, value in plain.items() if key in _RUN_FIELDS}
        return cls(**{**known, "actions": tuple(plain.get("actions", ()))})


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """One task, or one plain cell.

    Parameters
    ----------
    id : str
        The task's name in the run.
    label : str
        What is drawn; of a child, the function's name, by which many children fold into one line.
    kind : {"cell", "function", "plain"}
        What it is.
    parent : str, optional
        The cell that called this function.
    state, type : str
        Label and type of its state.
    attempt, attempts : int
        The current attempt, and how many there may be.
    duration_s, started_at, due_at : float, optional
        How long it took; when it began; when its next attempt is due.
    cached_from, cached_age_s, saved_s : optional
        Of a reused result: the run that made it, its age, the time it saved.
    freshness : str
        Whether running it again would compute something new.
    reason : str
        Why it ran, was reused, was skipped or is stale, in one sentence.
    cell_id, position : optional
        The notebook cell, and its place in the document.
    counts : mapping, optional
        Of a mapped task: how many children are in each state (by label).
    actions : tuple of str
        What a person may do now; see `actions_for`.
    progress : mapping, optional
        Of a running task that tells it: the ``name`` of that artifact, its ``share`` from 0 to 1 or None, its ``text``.
    artifacts : int
        How often its other artifacts have changed.
    """

    id: str
    label: str
    kind: Kind = "cell"
    parent: str | None = None
    state: str = StateName.PENDING.label
    type: str = StateType.PENDING.value
    message: str = ""
    attempt: int = 0
    attempts: int = 1
    duration_s: float | None = None
    started_at: float | None = None
    due_at: float | None = None
    cached_from: str | None = None
    cached_age_s: float | None = None
    saved_s: float | None = None
    freshness: Freshness = "unknown"
    reason: str = ""
    cell_id: str | None = None
    position: int | None = None
    counts: Mapping[str, int] | None = None
    actions: tuple[str, ...] = ()
    progress: Mapping[str, Any] | None = None
    artifacts: int = 0

    def to_plain(self) -> dict[str, Any]:
        """JSON-able form."""
        plain = {name: getattr(self, name) for name in _NODE_FIELDS}
        plain["counts"] = dict(self.counts) if self.counts is not None else None
        plain["actions"] = list(self.actions)
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `to_plain`; keys of a newer version are dropped."""
        known = {key: value for key, value in plain.items() if key in _NODE_FIELDS}
        return cls(**{**known, "actions": tuple(plain.get("actions", ()))})


_NODE_FIELDS: tuple[str, ...] = tuple(NodeView.__dataclass_fields__)
_RUN_FIELDS: frozenset[str] = frozenset(RunView.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class EdgeView:
    """That one node waits for another: for the named values, or only for its end."""

    source: str
    target: str
    names: tuple[str, ...] = ()
    kind: Literal["data", "after"] = "data"

    def to_plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"source": self.source, "target": self.target, "names": list(self.names), "kind": self.kind}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `to_plain`."""
        return cls(plain["source"], plain["target"], tuple(plain.get("names", ())), plain.get("kind", "data"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewModel:
    """All that a view draws, at one sequence number. Build it with `ViewModel.of`."""

    seq: int
    run: RunView
    nodes: tuple[NodeView, ...] = ()
    edges: tuple[EdgeView, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    saved_s: float = 0.0

    @classmethod
    def of(cls, seq: int, run: RunView, nodes: Iterable[NodeView], edges: Iterable[EdgeView]) -> Self:
        """A model whose totals are counted: each task that is not another's child counts once, under its type."""
        nodes = tuple(nodes)
        tasks = [node for node in nodes if node.kind != "plain" and node.parent is None]
        counts = dict(sorted(Counter(node.type for node in tasks).items()))
        saved = sum(node.saved_s or 0.0 for node in tasks)
        return cls(seq=seq, run=run, nodes=nodes, edges=tuple(edges), counts=counts, saved_s=saved)

    def to_plain(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "version": VERSION,
            "seq": self.seq,
            "run": asdict(self.run),
            "nodes": [node.to_plain() for node in self.nodes],
            "edges": [edge.to_plain() for edge in self.edges],
            "counts": dict(self.counts),
            "saved_s": self.saved_s,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `to_plain`."""
        return cls(
            seq=plain["seq"],
            run=RunView.from_plain(plain["run"]),
            nodes=tuple(NodeView.from_plain(node) for node in plain["nodes"]),
            edges=tuple(EdgeView.from_plain(edge) for edge in plain["edges"]),
            counts=dict(plain.get("counts", {})),
            saved_s=plain.get("saved_s", 0.0),
        )


def patch(old: ViewModel, new: ViewModel) -> dict[str, Any]:
    """What turns `old` into `new`, as JSON.

    Returns
    -------
    dict
        ``run`` and ``edges`` are None where nothing changed; ``nodes`` holds whole nodes, the changed and the new.
    """
    before = {node.id: node for node in old.nodes}
    after = {node.id for node in new.nodes}
    return {
        "version": VERSION,
        "seq": new.seq,
        "base": old.seq,
        "run": asdict(new.run) if new.run != old.run else None,
        "nodes": [node.to_plain() for node in new.nodes if before.get(node.id) != node],
        "removed": [node.id for node in old.nodes if node.id not in after],
        "edges": [edge.to_plain() for edge in new.edges] if new.edges != old.edges else None,
        "counts": dict(new.counts),
        "saved_s": new.saved_s,
    }


_N = StateName
_ACTIVE = frozenset({StateType.RUNNING, StateType.CANCELLING})
_RETRY = frozenset({StateType.FAILED, StateType.CANCELLED, StateType.CRASHED})
_CANCEL = frozenset({StateType.SCHEDULED, StateType.RUNNING, StateType.PAUSED})
_STUCK = frozenset({StateType.FAILED, StateType.CANCELLED, StateType.CRASHED, StateType.PAUSED})
_WAITING = frozenset({_N.QUEUED, _N.SUBMITTED})
_SKIP = frozenset({StateType.SCHEDULED, StateType.PENDING, StateType.FAILED})
_NO_LOGS = frozenset({_N.PENDING, _N.SCHEDULED, _N.LATE, _N.QUEUED, _N.TRIGGER_FAILED, _N.SKIPPED, _N.NOT_RUN})


def actions_for(state: StateName, kind: Kind) -> tuple[str, ...]:
    """What a person may do with a node of this kind in this state, in the order of the buttons.

    A function runs when its cell or flow calls it, so it has no button that runs it; a plain cell is only ever run.
    """
    idle = state.type not in _ACTIVE
    if kind == "plain":
        return ("run",) if idle else ()
    allowed = {
        "run": kind == "cell" and idle,
        "run-downstream": kind == "cell" and idle,
        "retry": kind == "cell" and state.type in _RETRY,
        "approve": state is _N.PAUSED,
        "reject": state is _N.PAUSED,
        "cancel": state.type in _CANCEL or state in _WAITING,
        "skip": state.type in _SKIP and (kind == "cell" or not state.final),
        "invalidate": state in (_N.SUCCESS, _N.CACHED),
        "why": True,
        "logs": state not in _NO_LOGS,
    }
    return tuple(name for name, allow in allowed.items() if allow)


def run_actions(state: StateName, *, here: bool) -> tuple[str, ...]:
    """What a person may do with the run of a flow of functions.

    Parameters
    ----------
    state : StateName
        The run's state.
    here : bool
        Whether this process drives it now; a run that nobody drives can be gone on with if it did not end well.
    """
    if here:
        return () if state.final else ("cancel-run",)
    return ("resume-run",) if state.type in _STUCK else ()
