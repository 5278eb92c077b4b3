"""The arguments of a call whose upstream has ended: copies of what nodes stand for, bound to the function's parameters.

A resource is first seen as what stands for it, so that no key depends on a handle, and opened when its task is entered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prefect_nb.authoring.callkeys import Arguments
from prefect_nb.authoring.copies import own
from prefect_nb.authoring.house import House
from prefect_nb.authoring.nodes import Broken, Live, Node, Skip

if TYPE_CHECKING:
    from prefect_nb.authoring.functions import Task

__all__ = ["bound_now"]


def bound_now(
    house: House,
    task: Task[..., Any],
    arguments: tuple[tuple[Any, ...], Mapping[str, Any]],
    lives: list[Live] | None = None,
) -> Arguments:
    """The arguments of a call, which nobody else holds.

    Parameters
    ----------
    lives : list of Live, optional
        Where to add what stands for resources; then they are not opened.

    Raises
    ------
    TypeError
        If the function cannot be called so; else what stands in place of the arguments.
    """
    args, kwargs = arguments
    if args and type(args[0]) is Broken:
        raise args[0].error
    skipped = Skip.SKIPPED if task.tells_skips else None

    def give(node: Node) -> Any:
        value = house.given(node, skipped)
        if type(value) is Live and lives is not None:
            lives.append(value)
            return value
        return Live.opened(value)

    args, kwargs = own((args, dict(kwargs)), give)
    return task.bind(args, kwargs)
