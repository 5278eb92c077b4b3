"""Iterations of a body: what one hands on to the next is stored, so that a retry or a resumed run goes on with it.

Knows the result storage and signals; not how a body is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect_nb.authoring.ground import Ground, namespace_of
from prefect_nb.authoring.signals import Loop
from prefect_nb.core.spec import VisitId
from prefect_nb.engine.session import Attachments
from prefect_nb.errors import ResultUnavailable

__all__ = ["Iteration", "iteration", "kept"]


@dataclass(frozen=True, slots=True)
class Iteration:
    """Which iteration of a body this is, from 1, and what the one before handed on."""

    number: int = 1
    handed_on: Any = None


_FIRST = Iteration()


def iteration(ground: Ground, visit: VisitId) -> Iteration:
    """The iteration that a body of this visit is about to begin.

    Raises
    ------
    ResultUnavailable
        If what the one before handed on is gone.
    """
    known = ground.session.run.visits.get(visit)
    if known is None or not known.loop:
        return _FIRST
    stored = ground.vault.load(known.loop_result, namespace=namespace_of(ground))
    if not isinstance(stored, dict) or "loop" not in stored:
        raise ResultUnavailable(f"what is stored for iteration {known.loop} of {visit} is none")
    return Iteration(known.loop + 1, stored["loop"])


def kept(ground: Ground, signal: Loop) -> Attachments:
    """What has to be in the commit of the signal, which knows its address then.

    Raises
    ------
    Unstorable
        If what it hands on cannot be stored.
    """
    signal.address, row = ground.vault.save({"loop": signal.result}, namespace=namespace_of(ground))
    return Attachments(results=(row,))
