"""Whose turn it is to take the slots of limits. Pure; asked by a store in the transaction that lets somebody in.

Tickets are served in the order in which they were drawn, and one that needs several slots takes all of them or none.
Whoever waits keeps later tickets with a tag in common behind it, so that nobody starves. It imports nothing of ours:
the process that owns a store starts with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

__all__ = ["serve"]

T = TypeVar("T")


def serve(
    limits: Mapping[str, int], held: Iterable[Iterable[str]], waiting: Iterable[tuple[T, Iterable[str]]]
) -> tuple[list[T], dict[str, int]]:
    """Those of the queue whose turn it is, and the slots that are used once they are in.

    Parameters
    ----------
    limits : mapping
        The number of slots by tag; a tag that is not in it has no limit.
    held : iterable
        The tags of each ticket that holds its slots.
    waiting : iterable
        Who waits, in order, and the tags of each; read only as far as somebody could be let in.
    """
    used = dict.fromkeys(limits, 0)
    for tags in held:
        for tag in tags:
            if tag in used:
                used[tag] += 1
    shut = {tag for tag, slots in limits.items() if used[tag] >= slots}
    found: list[T] = []
    for who, tags in waiting:
        needs = [tag for tag in tags if tag in limits]
        if shut.isdisjoint(needs):
            found.append(who)
            for tag in needs:
                used[tag] += 1
            shut.update(tag for tag in needs if used[tag] >= limits[tag])
        else:
            shut.update(needs)
    return found, used
