"""A person's answer to a paused visit, checked and made an event; and what to tell a person who has to answer.

Knows runs and forms; nothing about shells, pages or stores.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prefect_nb.authoring import forms
from prefect_nb.core import events as ev
from prefect_nb.core.run import Run, Visit
from prefect_nb.core.states import State, StateName
from prefect_nb.errors import UsageError

__all__ = ["Answer", "approved", "person", "rejected", "waiting", "words"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Who said what, and when: seconds since the epoch, UTC; `value` answers a form, as texts or typed."""

    actor: str
    at: float
    note: str = ""
    value: Mapping[str, Any] = field(default_factory=dict)


def person(where: str) -> str:
    """Who sits here, as it is recorded: ``ann (cli)``."""
    try:
        return f"{getpass.getuser()} ({where})"
    except (KeyError, OSError):
        return f"somebody ({where})"


def waiting(run: Run, task: str) -> Visit:
    """The visit of a task that waits for a person.

    Raises
    ------
    UsageError
        If it does not.
    """
    visit = run.find(task)
    if visit is not None and visit.state.name is StateName.PAUSED:
        return visit
    paused = [v.id.label for v in run.visits.values() if v.state.name is StateName.PAUSED]
    hint = f"waiting are {', '.join(dict.fromkeys(paused))}" if paused else "nothing waits for anybody"
    state = "has not run yet" if visit is None else f"is {visit.state.label}"
    raise UsageError(f"{task} {state}; it waits for nobody", hint=hint, task=task)


def approved(run: Run, task: str, answer: Answer) -> ev.VisitApproved:
    """The event that lets a paused visit go on.

    Raises
    ------
    UsageError
        If it waits for nobody, or the answer does not fit its form.
    """
    visit = waiting(run, task)
    value = forms.answered(visit.state.data.get("form") or {}, answer.value)
    return ev.VisitApproved(at=answer.at, actor=answer.actor, visit=visit.id, note=answer.note, value=value)


def rejected(run: Run, task: str, answer: Answer) -> ev.CancelRequested:
    """The event that ends a paused visit, naming who did it.

    Raises
    ------
    UsageError
        If it waits for nobody.
    """
    visit = waiting(run, task)
    told = f"rejected by {answer.actor}" + (f": {answer.note}" if answer.note else "")
    return ev.CancelRequested(at=answer.at, actor=answer.actor, visit=visit.id, message=told)


def words(task: str, state: State) -> str:
    """One line for the page of a cell whose visit waits: what for, and what to do."""
    message = f": {state.message}" if state.message else ""
    if state.name is StateName.RESUMING:
        return f"{task} is Resuming{message}; execute its cell to go on"
    fields = " ".join(f"{name}=<{kind}>" for name, kind in (state.data.get("form") or {}).items())
    how = f"%flow approve {task}" + (f" {fields}" if fields else "")
    timed = " (or wait until its time has come)" if state.data.get("until") is not None else ""
    return f"{task} is Paused{message}; {how} lets it go on, then execute its cell again{timed}"
