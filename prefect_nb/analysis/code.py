"""Fingerprints of code: a cell's text, and everything that the names it uses can reach.

Functions and classes of the notebook and of local modules are followed; installed packages count as name and version;
the standard library counts as the Python version, which the caller puts into the key. Knows no cells and no store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect_nb.analysis.encode import Hasher
from prefect_nb.analysis.forms import choose
from prefect_nb.analysis.origins import changed_modules
from prefect_nb.analysis.sources import cell_fingerprint, normalize
from prefect_nb.analysis.trace import Part, Tracer, global_names, node_of

__all__ = ["Part", "Reach", "cell_fingerprint", "changed_modules", "global_names", "node_of", "normalize", "reach"]


@dataclass(frozen=True, slots=True)
class Reach:
    """Everything that names lead to.

    Parameters
    ----------
    parts : tuple of Part
        Sorted; equal parts mean equal code and data.
    problems : tuple of Unhashable
        What has no fingerprint, each with its path.
    late_names : frozenset of str
        Notebook globals that functions look up when they are called.
    """

    parts: tuple[Part, ...]
    problems: tuple[Exception, ...]
    late_names: frozenset[str]


def reach(
    names: Iterable[str], namespace: Mapping[str, object], *, project_root: Path | None = None, memo: Any = None
) -> Reach:
    """Everything that some names of a namespace lead to.

    Parameters
    ----------
    names : iterable of str
        What a body loads; names that are not in the namespace are passed over.
    namespace : mapping
        The live notebook namespace.
    project_root : Path, optional
        Modules below it are local even where they look installed.
    memo : Memo, optional
        Remembers the digests of immutable values.

    Returns
    -------
    Reach
    """
    tracer = Tracer(project_root)
    hasher = Hasher(tracer, choose, memo)
    for name in names:
        tracer.want(name, namespace)
    problems = [fault.error(label) for label, fault in tracer.drain(hasher)]
    return Reach(tuple(sorted(tracer.parts)), tuple(problems), frozenset(tracer.late))
