"""Calls that a plain cell submitted and a task cell reads: the task sees the value, for as long as its visit takes.

The key is then computed over the value, not over the promise of one. Knows promises and the namespace; no keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from prefect_nb.authoring.nodes import Node
from prefect_nb.authoring.promises import resolved
from prefect_nb.errors import NotAvailable

__all__ = ["Kept"]


@dataclass(slots=True)
class Kept:
    """What stands in for promises in a namespace, and the promises, to be put back."""

    user: dict[str, Any]
    nodes: dict[str, tuple[Node, Any]] = field(default_factory=dict)

    async def settle(self, names: Iterable[str]) -> None:
        """Wait for every call that one of these names holds, and put its value in the place.

        Raises
        ------
        NotAvailable
            If the call raised: there is no value.
        """
        for name in sorted(names):
            node = self.user.get(name)
            if type(node) is not Node:
                continue
            try:
                value = await asyncio.to_thread(resolved, node)
            except Exception as error:  # the call's own: it is the answer
                told = f"{name} is not available: the call that it stands for raised {type(error).__name__}: {error}"
                raise NotAvailable(told, hint="call it again", name=name) from error
            if value is not node:
                self.nodes[name] = (node, value)
                self.user[name] = value

    def put_back(self) -> None:
        """The names hold their promises again, unless the cell bound them anew."""
        for name, (node, value) in self.nodes.items():
            if self.user.get(name) is value:
                self.user[name] = node
        self.nodes.clear()
