"""What a task is before it runs: names, options, places. All frozen, all plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from prefect_nb.core.policy import Cache, Retry, Trigger

__all__ = ["TaskKind", "TaskSpec", "VisitId"]


_ONCE, _PURE = Retry(), Cache()


class TaskKind(Enum):
    """What a task's body is."""

    CELL = "cell"
    FUNCTION = "function"


class VisitId(NamedTuple):
    """One deliberate execution of a task in a run; with the run's id it is the key of the visit.

    A tuple, because it is looked up dozens of times for every visit and a tuple is hashed without a line of Python.

    Parameters
    ----------
    task : str
        The task's name, unique in its run.
    visit : int
        From 1; an edited or deliberately repeated task is a new visit.
    index : int
        The element of a mapped task, -1 when it is not mapped.
    """

    task: str
    visit: int = 1
    index: int = -1  # type: ignore[assignment]  # it hides tuple.index, which nobody asks of an id

    @property
    def label(self) -> str:
        """What people call it in its run: the task, and of a child of a map which."""
        return f"{self.task}[{self.index}]" if self.index >= 0 else self.task

    def __str__(self) -> str:
        return f"{self.label}#{self.visit}"


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task's name and options.

    Parameters
    ----------
    name : str
        Unique in its flow.
    kind : TaskKind
        A cell or a function.
    retry : Retry
        Attempts and waits.
    timeout : float, optional
        Seconds one attempt may take.
    cache : Cache
        When an earlier result may be reused.
    version : str
        Part of the key; change it to make earlier results unfit.
    files, env : tuple of str
        Paths (globs) and environment variables that the body reads; part of the manifest.
    after : tuple of str
        Tasks that must be final first, though no name is read from them.
    tags : tuple of str
        Words for people; never part of the key.
    trigger : Trigger
        How everything upstream must have ended for it to run.
    skip_with_upstream : bool
        Whether it is skipped when something upstream was.
    approve : bool
        Whether a person has to agree before the body is entered.
    once : bool
        Whether a body whose outcome is unknown waits for a person instead of being entered again.
    target : str
        The file that a call of it makes, as a template.
    reference : bool
        Whether its end counts for that of its run; else it neither fails the run nor answers for a failure.
    resource : str
        ``"setup"`` or ``"cleanup"`` of a resource; empty for every other task.
    """

    name: str
    kind: TaskKind = TaskKind.CELL
    retry: Retry = field(default_factory=Retry)
    timeout: float | None = None
    cache: Cache = field(default_factory=Cache)
    version: str = ""
    files: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    trigger: Trigger = field(default_factory=Trigger)
    skip_with_upstream: bool = True
    approve: bool = False
    once: bool = False
    target: str = ""
    reference: bool = True
    resource: str = ""

    def to_plain(self) -> dict[str, Any]:
        """The spec as JSON-able data; defaults are left out."""
        plain: dict[str, Any] = {"name": self.name, "kind": self.kind.value}
        if self.retry != _ONCE:
            r = self.retry
            plain["retry"] = {"count": r.count, "delay": list(r.delay), "jitter": r.jitter, "on": list(r.on)}
            if r.crashes != _ONCE.crashes:
                plain["retry"]["crashes"] = r.crashes
        if self.cache != _PURE:
            plain["cache"] = self.cache.rule
        if self.trigger != Trigger():
            t = self.trigger
            plain["trigger"] = {"name": t.name, "at_least": t.at_least, "at_most": t.at_most, "custom": t.custom}
        if not self.skip_with_upstream:
            plain["skip_with_upstream"] = False
        if not self.reference:
            plain["reference"] = False
        for name in ("timeout", "version", "approve", "once", "target", "resource"):
            if getattr(self, name):
                plain[name] = getattr(self, name)
        for name in ("files", "env", "after", "tags"):
            if getattr(self, name):
                plain[name] = list(getattr(self, name))
        return plain

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> TaskSpec:
        """The spec that :meth:`to_plain` wrote."""
        return cls(
            name=plain["name"],
            kind=TaskKind(plain.get("kind", "cell")),
            retry=Retry(**plain["retry"]) if "retry" in plain else Retry(),
            timeout=plain.get("timeout"),
            cache=Cache(plain["cache"]) if "cache" in plain else Cache(),
            version=plain.get("version", ""),
            trigger=Trigger(**plain["trigger"]) if "trigger" in plain else Trigger(),
            skip_with_upstream=plain.get("skip_with_upstream", True),
            approve=plain.get("approve", False),
            once=plain.get("once", False),
            target=plain.get("target", ""),
            reference=plain.get("reference", True),
            resource=plain.get("resource", ""),
            **{name: tuple(plain.get(name, ())) for name in ("files", "env", "after", "tags")},
        )
