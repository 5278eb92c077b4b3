"""A run that ended well, as the store knows it: its state, its tasks, the value of its flow. Nothing of it runs here.

The value is kept as the flow's body returned it, with its nodes as references to the visits whose results are stored
anyway. Reads only; knows folded runs and the result storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from prefect_nb.authoring.causes import error_of
from prefect_nb.authoring.footing import Footing
from prefect_nb.authoring.ground import Values, namespace_of
from prefect_nb.authoring.holdings import stored_value
from prefect_nb.authoring.nodes import Node, filled
from prefect_nb.authoring.taskruns import Tasks
from prefect_nb.core.fold import fold
from prefect_nb.core.run import Run as RunState
from prefect_nb.core.spec import VisitId
from prefect_nb.core.states import State, StateName, StateType
from prefect_nb.engine.session import Attachments
from prefect_nb.errors import PrefectNBError, ResultUnavailable, UsageError
from prefect_nb.protocols import RunRow, Store

__all__ = ["FinishedRun", "kept_value"]


class _Of(NamedTuple):
    """In place of a node: the visit whose value it stands for, and where that is stored if it is one value."""

    visit: VisitId
    address: str


def kept_value(ground: Values, run: RunState, value: Any) -> tuple[str, Attachments]:
    """Where the value of a flow is stored, and what the commit of its end has to hold; empty if it cannot be stored."""

    def reference(node: Node) -> _Of:
        visit = run.visits.get(node.visit)
        return _Of(node.visit, visit.result if visit is not None else "")

    try:
        address, row = ground.vault.save({"flow": filled(value, reference)}, namespace=namespace_of(ground))
    except PrefectNBError:
        return "", Attachments()
    return address, Attachments(results=(row,))


class FinishedRun:
    """A run of a flow that ended well, in whichever process.

    Parameters
    ----------
    ground : Footing
        Where its store is.
    row : RunRow
        The run.
    """

    def __init__(self, ground: Footing, row: RunRow) -> None:
        self._ground = ground
        self._row = row
        self._folded: RunState | None = None

    @property
    def id(self) -> str:
        """The run's id."""
        return self._row.run

    @property
    def state(self) -> State:
        """How it ended."""
        row = self._row
        return State(StateName.of(row.state), row.ended_at or row.created_at, row.message)

    @property
    def tasks(self) -> Tasks:
        """Its tasks by name."""
        return Tasks(self)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the flow was called with."""
        return self.run.parameters

    def wait(self, timeout: float | None = None) -> State:
        """Its state, at once."""
        return self.state

    def result(self, timeout: float | None = None) -> Any:
        """What the flow returned.

        Raises
        ------
        ResultUnavailable
            If that could not be stored, or was evicted since.
        """
        address = str(self._row.graph.get("value") or "")
        if not address:
            raise ResultUnavailable(
                f"the value of run {self.id} was not stored", hint="run.tasks has those of its tasks"
            )
        stored = self._ground.vault.load(address, namespace=namespace_of(self._ground))
        if not isinstance(stored, dict) or "flow" not in stored:
            raise ResultUnavailable(f"what is stored for run {self.id} is not the value of a flow")
        return self._whole(stored["flow"])

    def retry(self, task: str) -> Any:
        """Refused: it ended well."""
        hint = "call the flow again: what did not change is reused"
        raise UsageError(f"run {self.id} ended as {self.state.label}; its tasks are not tried again", hint=hint)

    def __repr__(self) -> str:
        return f"<run {self.id} of {self._row.flow}: {self.state.label}>"

    # --- what its tasks ask ------------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """Its store."""
        return self._ground.store

    @property
    def run(self) -> RunState:
        """It, folded when that is asked for first: its value needs none of that."""
        if self._folded is None:
            self._folded = fold(event for _, event in self.store.events(self.id))
        return self._folded

    def outcome(self, visit_id: VisitId) -> Any:
        """The value of a visit; None if it was skipped; what it raised is raised as far as it is on record."""
        visit = self.run.visits[visit_id]
        if visit.state.type is not StateType.COMPLETED:
            raise error_of(self.run, visit_id, {})
        if visit.width is not None:
            return [self.outcome(child) for child in visit.children]
        if visit.state.name is StateName.SKIPPED:
            return None
        if not visit.result:
            raise ResultUnavailable(f"the value of {visit.id} was not stored: {visit.note}", hint="call the flow again")
        return stored_value(self._ground, visit.id, visit.result)

    def _whole(self, value: Any) -> Any:
        kind = type(value)
        if kind is _Of:
            known = bool(value.address)
            return stored_value(self._ground, *value) if known else self.outcome(value.visit)
        if kind is list or kind is tuple or kind is set or kind is frozenset:
            return kind([self._whole(item) for item in value])
        if kind is dict:
            return {self._whole(key): self._whole(item) for key, item in value.items()}
        return value
