"""A visit of a resumed run is put where an equal one waited in its earlier life. Pure: events out of what was left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from prefect_nb.authoring.former import Past
from prefect_nb.core import events as ev
from prefect_nb.core.spec import VisitId

__all__ = ["waits_on"]


def waits_on(past: Past, visit: VisitId, at: float, resolved: Callable[[str], ev.KeyResolved]) -> list[ev.TaskEvent]:
    """The events after which it waits as before: for its next attempt, a time or a person.

    Parameters
    ----------
    resolved : callable
        That its key is known; with a text, that a person is to be asked first.
    """
    waited = past.waited
    entered = [replace(resolved(""), limits=()), ev.BodyEntered(at=at, visit=visit, token=1)]
    if waited is None:
        assert past.due is not None
        told = "waits on, as before the run was resumed"
        return [*entered, ev.BodyDeferred(at=at, visit=visit, token=1, due=past.due, message=told)]
    if past.asked_by_body:
        told, data = waited.state.message, waited.state.data
        until, limit, form = data.get("until"), data.get("limit"), data.get("form") or {}
        pause = ev.BodyPaused(at=at, visit=visit, token=1, message=told, until=until, limit=limit, form=form)
        return [*entered, pause]
    asks = resolved(waited.state.message or "waits for approval")
    if waited.approval is None:
        return [asks]
    given = waited.approval
    return [asks, ev.VisitApproved(at=at, visit=visit, actor=given["by"], note=given["note"], value=given["value"])]
