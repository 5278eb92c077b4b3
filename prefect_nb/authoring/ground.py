"""What function tasks stand on: a kernel's notebook, or one run of a flow of functions.

A protocol, so that a call of a task does not care which of the two it belongs to.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from prefect_nb.authoring.interrupts import Interrupts
from prefect_nb.engine.session import Session
from prefect_nb.protocols import Store
from prefect_nb.results.vault import Vault
from prefect_nb.wiring import Place

__all__ = ["Ground", "Values", "namespace_of"]


class Values(Protocol):
    """Where values go, and where what they need is found."""

    @property
    def shell(self) -> Any:
        """The shell whose displays are recorded; None in a plain script."""

    @property
    def vault(self) -> Vault:
        """Where values go."""


class Ground(Values, Protocol):
    """The parts that calls of function tasks use."""

    interrupts: Interrupts
    where: str
    """The executor of tasks that do not name one."""

    @property
    def session(self) -> Session:
        """The engine of the run."""

    @property
    def store(self) -> Store:
        """Where events and rows go."""

    @property
    def place(self) -> Place:
        """Where the store lies."""

    @property
    def name(self) -> str:
        """The flow's name."""

    @property
    def notebook(self) -> Path:
        """The notebook or script; declared files are looked for beside it."""

    def cell_label(self, filename: str) -> str | None:
        """What people call the code in a file of the shell's."""

    def number_call(self, name: str) -> int:
        """The visit number of a call that no visit makes."""

    def permit(self) -> int:
        """A number for one entry of one body in this process."""


def namespace_of(ground: Values) -> Mapping[str, Any]:
    """Where definitions of the notebook, or of the script, are found by name."""
    shell = ground.shell
    space: Mapping[str, Any] = vars(sys.modules["__main__"]) if shell is None else shell.user_ns
    return space
