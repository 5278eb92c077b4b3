"""What a task is before it runs: names, options, places. All frozen, all plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from prefect_nb.core.policy import Cache, Retry

__all__ = ["TaskKind", "TaskSpec", "VisitId"]


class TaskKind(Enum):
    """What a task's body is."""

    CELL = "cell"
    FUNCTION = "function"


@dataclass(frozen=True, slots=True, order=True)
class VisitId:
    """One deliberate execution of a task in a run; with the run's id it is the key of the visit.

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
    index: int = -1

    def __str__(self) -> str:
        where = f"[{self.index}]" if self.index >= 0 else ""
        return f"{self.task}{where}#{self.visit}"


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

    def to_plain(self) -> dict[str, Any]:
        """The spec as JSON-able data; defaults are left out."""
        plain: dict[str, Any] = {"name": self.name, "kind": self.kind.value}
        if self.retry != Retry():
            r = self.retry
            plain["retry"] = {"count": r.count, "delay": list(r.delay), "jitter": r.jitter, "on": list(r.on)}
        if self.cache != Cache():
            plain["cache"] = self.cache.rule
        for name in ("timeout", "version"):
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
            **{name: tuple(plain.get(name, ())) for name in ("files", "env", "after", "tags")},
        )
