"""Calls that are known to change an object in place, and calls that are known not to. A hint, never a proof.

What really changed is decided at run time by comparing fingerprints; these lists only order tasks before they ever ran.
"""

from __future__ import annotations

__all__ = ["ARGUMENT", "HARMLESS", "METHODS", "STATEMENTS"]

METHODS = frozenset(
    ["append", "extend", "pop", "popitem", "popleft", "appendleft", "extendleft", "setdefault", "rotate"]
)
"""Methods that change their object, however their value is used."""

STATEMENTS = frozenset(
    [
        "update",
        "sort",
        "add",
        "insert",
        "remove",
        "reverse",
        "clear",
        "discard",
        "fit",
        "partial_fit",
        "fill",
        "resize",
        "put",
        "itemset",
        "intersection_update",
        "difference_update",
        "symmetric_difference_update",
        "move_to_end",
        "subtract",
    ]
)
"""Methods that change their object if nobody uses their value (``df.add(1)`` as a value is pure)."""

ARGUMENT = frozenset(
    [
        "shuffle",
        "heappush",
        "heappop",
        "heapify",
        "heapreplace",
        "heappushpop",
        "insort",
        "insort_left",
        "insort_right",
        "setattr",
        "delattr",
        "next",
        "fill_diagonal",
        "copyto",
        "put_along_axis",
        "place",
        "putmask",
    ]
)
"""Functions that change their first argument."""

HARMLESS = frozenset(
    [
        "abs",
        "all",
        "any",
        "ascii",
        "bin",
        "bool",
        "bytes",
        "callable",
        "chr",
        "complex",
        "dict",
        "divmod",
        "enumerate",
        "float",
        "format",
        "frozenset",
        "getattr",
        "hasattr",
        "hash",
        "hex",
        "id",
        "int",
        "isinstance",
        "issubclass",
        "iter",
        "len",
        "list",
        "max",
        "memoryview",
        "min",
        "oct",
        "ord",
        "pow",
        "print",
        "range",
        "repr",
        "reversed",
        "round",
        "set",
        "slice",
        "sorted",
        "str",
        "sum",
        "tuple",
        "type",
        "zip",
    ]
)
"""Builtins that leave their arguments as they are (an iterator apart, whose position is not compared)."""
