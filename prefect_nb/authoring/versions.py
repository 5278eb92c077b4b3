"""A version: what one cell bound to one name. Knows nothing else."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Version"]


@dataclass(frozen=True, slots=True)
class Version:
    """One cell's binding of a name: its fingerprint, and the address of the values that hold it.

    Parameters
    ----------
    fingerprint : str
        Empty if the value has none.
    address : str
        Empty if it is not stored; then the object itself is held, if it is not large.
    group : tuple of (str, str, str)
        Cell, name and fingerprint of the other values at that address that share memory with it.
    """

    cell: str
    name: str
    fingerprint: str
    address: str = ""
    group: tuple[tuple[str, str, str], ...] = ()
