"""Hidden inputs and outputs of a body: random generators' states and a short list of library settings.

They are never reseeded or reset by us: a run leaves them as the body did, and a hit puts them where the run had left
them. Libraries are looked at only if the notebook has loaded them.
"""

from __future__ import annotations

import builtins
import random
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prefect_nb.analysis.reads import untouched
from prefect_nb.analysis.values import fingerprint
from prefect_nb.errors import Unhashable

__all__ = ["assumed", "changed", "generators", "holds", "put_back", "settings"]


def generators() -> dict[str, object]:
    """The states of the global random generators."""
    states: dict[str, object] = {"random": random.getstate()}
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        kind, keys, position, has_gauss, gauss = numpy_random.get_state()
        states["numpy.random"] = (kind, keys.tobytes(), int(position), int(has_gauss), float(gauss))
    return states


def settings() -> dict[str, object]:
    """Library settings that change what code computes or shows, as plain data."""
    found: dict[str, object] = {
        "warnings": [
            (f[0], _pattern(f[1]), getattr(f[2], "__name__", "Warning"), _pattern(f[3]), f[4]) for f in warnings.filters
        ]
    }
    matplotlib = sys.modules.get("matplotlib")
    if matplotlib is not None and hasattr(matplotlib, "rcParams"):
        found["matplotlib"] = {k: v for k, v in dict.items(matplotlib.rcParams) if k not in _BACKENDS}
    config = sys.modules.get("pandas._config.config")
    if config is not None and "pandas" in sys.modules:
        found["pandas"] = _flat(getattr(config, "_global_config", {}))
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "get_printoptions"):
        found["numpy"] = {**numpy.get_printoptions(), "errors": numpy.geterr()}
    return found


_BACKENDS = frozenset({"backend", "backend_fallback", "interactive"})


def _pattern(value: Any) -> str | None:
    return None if value is None else str(getattr(value, "pattern", value))


def _flat(tree: Mapping[str, Any], path: str = "") -> dict[str, object]:
    rows: dict[str, object] = {}
    for key, value in tree.items():
        where = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            rows.update(_flat(value, where))
        else:
            rows[where] = value
    return rows


def assumed(before: Mapping[str, object], shown: Collection[str], *, image: bool) -> list[dict[str, Any]]:
    """Rows of a manifest: the settings that a body worked under and that its result may show.

    Only what differs from a library's own defaults counts, so that a session that has not loaded it is no other one.

    Parameters
    ----------
    before : mapping
        :func:`settings` at its start.
    shown : collection of str
        The kinds of its outputs; a body that showed nothing did not depend on how things are shown.
    image : bool
        Whether it showed a picture.
    """
    rows = []
    for name in _RELEVANT:
        if (name == "matplotlib" and not image) or (name in ("pandas display", "numpy") and not shown):
            continue
        rows.append({"kind": "settings", "name": name, "digest": _digest(_special(name, before))})
    return [row for row in rows if row["digest"] != _digest({}) or row["name"].partition(" ")[0] in sys.modules]


_RELEVANT = ("pandas", "pandas display", "numpy", "numpy errors", "matplotlib")


def holds(row: Mapping[str, Any], now: Mapping[str, object]) -> bool:
    """Whether settings as they are `now` are what a row of a manifest says."""
    return bool(_digest(_special(str(row["name"]), now)) == row["digest"])


def _special(name: str, states: Mapping[str, Any]) -> dict[str, Any]:
    """The settings under a row's name that are not a library's defaults."""
    library = name.partition(" ")[0]
    now = states.get(library)
    if not isinstance(now, Mapping):
        return {}
    if library == "pandas":
        registered = getattr(sys.modules["pandas._config.config"], "_registered_options", {})
        shown = name == "pandas display"
        chosen = {k: v for k, v in now.items() if k.startswith(("display.", "styler.", "plotting.")) == shown}
        return {k: v for k, v in chosen.items() if not _equal(getattr(registered.get(k), "defval", v), v)}
    if library == "numpy":
        errors = {k: v for k, v in dict(now["errors"]).items() if v != _NUMPY_ERRORS.get(k)}
        if name == "numpy errors":
            return errors
        return {k: v for k, v in now.items() if k in _NUMPY_PRINT and not _equal(_NUMPY_PRINT[k], v)}
    defaults = getattr(sys.modules.get("matplotlib"), "rcParamsDefault", {})
    return {k: v for k, v in now.items() if k not in defaults or not _equal(dict.get(defaults, k), v)}


_NUMPY_ERRORS = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_NUMPY_PRINT = {
    "edgeitems": 3,
    "threshold": 1000,
    "precision": 8,
    "linewidth": 75,
    "suppress": False,
    "nanstr": "nan",
    "infstr": "inf",
    "sign": "-",
    "floatmode": "maxprec",
    "legacy": False,
    "formatter": None,
}


def _digest(states: Mapping[str, object]) -> str:
    """One fingerprint of states; what has none counts by its type."""
    rows = {}
    for name, value in states.items():
        try:
            rows[name] = fingerprint(value)
        except Unhashable:
            rows[name] = type(value).__qualname__
    return fingerprint(rows)


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, object]:
    """What differs, with its later value."""
    found: dict[str, object] = {}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            inner = {k: v for k, v in value.items() if k not in old or not _equal(old[k], v)}
            if inner:
                found[name] = inner
        elif not _equal(old, value) and not (old is None and _untouched(name, value)):
            found[name] = value
    return found


def _untouched(name: str, state: Any) -> bool:
    """Whether a generator was only loaded: what the operating system seeded it with is nobody's output."""
    if name != "numpy.random" or state[0] != "MT19937":
        return False
    return untouched(int.from_bytes(state[1][:4], sys.byteorder), state[2], state[3])


def _equal(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except Exception:  # an array or a foreign class; different objects count as a change
        return one is other


def put_back(states: Mapping[str, Any]) -> None:
    """Set generators and settings to what a stored outcome recorded."""
    for name, value in states.items():
        match name:
            case "random":
                random.setstate(value)
            case "numpy.random":
                numpy = sys.modules.get("numpy")
                if numpy is not None:
                    kind, keys, *rest = value
                    numpy.random.set_state((kind, numpy.frombuffer(keys, dtype=numpy.uint32), *rest))
            case "matplotlib":
                matplotlib = sys.modules.get("matplotlib")
                if matplotlib is not None:
                    with _quiet():
                        matplotlib.rcParams.update(value)
            case "pandas":
                pandas = sys.modules.get("pandas")
                if pandas is not None:
                    with _quiet():
                        for option, setting in value.items():
                            pandas.set_option(option, setting)
            case "numpy":
                numpy = sys.modules.get("numpy")
                if numpy is not None:
                    errors = value.pop("errors", None) if isinstance(value, dict) else None
                    numpy.set_printoptions(**value)
                    if errors:
                        numpy.seterr(**errors)
            case "warnings":
                _filters(value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings: that an option is deprecated concerns who sets it, not who finds it again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _filters(rows: list[tuple[Any, ...]]) -> None:
    warnings.resetwarnings()
    for action, message, category, module, line in reversed(rows):
        kind = getattr(builtins, category, Warning)
        if isinstance(kind, type) and issubclass(kind, Warning):
            warnings.filterwarnings(action, message or "", kind, module or "", line)
