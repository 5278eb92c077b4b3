"""The tasks of a run as its caller sees them: their states, values, logs and reasons. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from prefect_nb.core.run import Run, Visit
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State
from prefect_nb.errors import NotAvailable
from prefect_nb.protocols import Store

__all__ = ["TaskRun", "Tasks"]


class _Asked(Protocol):
    """The run that tasks belong to, under way or ended."""

    @property
    def store(self) -> Store: ...
    @property
    def run(self) -> Run: ...
    def outcome(self, visit_id: VisitId) -> Any: ...


class TaskRun:
    """One task of a run, or one child of a map."""

    def __init__(self, work: _Asked, visit: VisitId) -> None:
        self._work = work
        self._id = visit

    @property
    def name(self) -> str:
        """Its name in the run; of a child with its index."""
        return self._id.label

    @property
    def state(self) -> State:
        """How it stands."""
        return self._visit.state

    @property
    def attempts(self) -> int:
        """How often its body was entered."""
        return self._visit.attempt

    @property
    def children(self) -> list[TaskRun]:
        """The children of a map, in order; empty for everything else."""
        return [TaskRun(self._work, VisitId(self._id.task, self._id.visit, i)) for i in range(self._visit.width or 0)]

    def result(self) -> Any:
        """Its value, None if it was skipped; raises what its body raised, and NotAvailable while it has not ended."""
        if not self._visit.state.final:
            raise NotAvailable(f"{self.name} is {self.state.label}; it has no result yet", task=self.name)
        return self._work.outcome(self._id)

    def logs(self) -> str:
        """What its body printed and logged, all attempts in order."""
        chunks = self._work.store.logs(self._work.run.id, self._id.task)
        children = self._visit.width is not None
        mine = [c for c in chunks if c.visit == self._id or (children and c.visit[:2] == self._id[:2])]
        return "".join(chunk.text for chunk in mine)

    def why(self) -> str:
        """Why it ran, was reused, was skipped or did not run."""
        visit = self._visit
        lines = [f"{self.name} is {visit.state.label}" + (f": {visit.state.message}" if visit.state.message else "")]
        if visit.reason is not None:
            lines.append(visit.reason.sentence)
            lines += [f"  {what}: {words}" for what, words in visit.reason.parts]
        return "\n".join(dict.fromkeys(lines))

    def __repr__(self) -> str:
        return f"<{self.name}: {self.state.label}>"

    @property
    def _visit(self) -> Visit:
        return self._work.run.visits[self._id]


class Tasks(Mapping[str, TaskRun]):
    """The tasks of a run by name; the second call of a task is ``name-2``. Children are asked of their map."""

    def __init__(self, work: _Asked) -> None:
        self._work = work

    def __getitem__(self, name: str) -> TaskRun:
        found = self._work.run.latest.get(name)
        if found is None:
            raise KeyError(f"{name}; this run has {', '.join(self) or 'no tasks yet'}")
        return TaskRun(self._work, found)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._work.run.latest))

    def __len__(self) -> int:
        return len(self._work.run.latest)
