"""Where code comes from: the notebook, a local module, an installed distribution, or the standard library.

Distribution names and versions are looked up once per top-level name. Local modules are remembered as they were when
first seen, so that an edit on disk is never taken for the code in memory.
"""

from __future__ import annotations

import json
import linecache
import site
import sys
import sysconfig
import types
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

__all__ = ["Loaded", "Place", "changed_modules", "distribution", "loaded", "place_of"]

Place = Literal["notebook", "local", "installed", "stdlib"]

_PLACES: dict[str, tuple[object, Place]] = {}
_LOADED: dict[str, tuple[object, Loaded]] = {}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A local module's source as it was when the module was first seen.

    Parameters
    ----------
    name, file : str
        The module and its source file ("" when it has none).
    text : str
        Its source; "" when what is on disk is not what is in memory.
    true : bool
        Whether ``text`` is the source of the code in memory.
    codes : frozenset of code
        The code objects that ``text`` compiles to; a function is from this text only if its code is among them.
    """

    name: str
    file: str
    text: str
    true: bool
    codes: frozenset[types.CodeType] = frozenset()


@cache
def _roots() -> tuple[tuple[str, ...], tuple[str, ...]]:
    paths = sysconfig.get_paths()
    site_dirs = {paths["purelib"], paths["platlib"], *site.getsitepackages(), site.getusersitepackages()}
    std = {paths["stdlib"], paths["platstdlib"]}
    return tuple(str(Path(p)) + "/" for p in site_dirs), tuple(str(Path(p)) + "/" for p in std)


def _by_file(file: str) -> Place:
    sites, std = _roots()
    if "/site-packages/" in file or "/dist-packages/" in file or file.startswith(sites):
        return "installed"
    return "stdlib" if file.startswith(std) else "local"


def place_of(module: str | None, namespace: dict[str, object] | None = None) -> Place:
    """Where the code of a module comes from.

    Parameters
    ----------
    module : str or None
        The module's name.
    namespace : dict, optional
        The globals of a function, used when its module is not in ``sys.modules``.
    """
    if not module or module in ("__main__", "__mp_main__"):
        return "notebook"
    if module == "builtins":
        return "stdlib"
    top = module.partition(".")[0]
    if top == "prefect_nb" or top.startswith("_cython_"):
        return "installed"
    found = sys.modules.get(module)
    spec = getattr(found, "__spec__", None) or found
    known = _PLACES.get(module)
    if known is not None and known[0] is spec and found is not None:
        return known[1]
    file = getattr(found, "__file__", None) or (namespace or {}).get("__file__")
    place: Place
    if isinstance(file, str):
        place = _by_file(str(Path(file).absolute()))
    elif top in sys.stdlib_module_names or top in sys.builtin_module_names:
        place = "stdlib"
    elif found is not None and getattr(found, "__path__", None):
        place = _by_file(str(next(iter(found.__path__))) + "/")
    elif "/" in module or found is None or getattr(spec, "origin", None) is None:
        outer = sys.modules.get(top)
        inside = outer is not None and outer is not found and top != module
        place = place_of(top) if inside else "local"
    else:
        place = "installed"
    if found is not None:
        _PLACES[module] = (spec, place)
    return place


@cache
def distribution(top: str) -> tuple[str, str]:
    """The distribution that installed a top-level module, and its version with the commit of a direct install."""
    from importlib import metadata  # 25 ms that a script of its own functions never needs

    for name in (top, *_owners().get(top, ())) if top not in _quick() else (top,):
        try:
            found = metadata.distribution(name)
        except (metadata.PackageNotFoundError, ValueError):
            continue
        version = found.version
        direct = found.read_text("direct_url.json")
        if direct:
            commit = json.loads(direct).get("vcs_info", {}).get("commit_id", "")
            version += f"+{commit}" if commit else ""
        return found.metadata["Name"] or name, version
    module = sys.modules.get(top)
    return top, str(getattr(module, "__version__", ""))


@cache
def _quick() -> frozenset[str]:
    """Names that are their own distribution, so that the slow map of all packages is not needed for them."""
    return frozenset(
        {"numpy", "pandas", "scipy", "matplotlib", "polars", "pyarrow", "torch", "statsmodels", "networkx"}
    )


@cache
def _owners() -> dict[str, list[str]]:
    from importlib import metadata

    return dict(metadata.packages_distributions())


def _codes(code: types.CodeType, into: set[types.CodeType]) -> set[types.CodeType]:
    into.add(code)
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            _codes(const, into)
    return into


def _functions(module: types.ModuleType) -> list[types.FunctionType]:
    found: list[types.FunctionType] = []
    for value in list(vars(module).values()):
        inner = (
            list(vars(value).values()) if isinstance(value, type) and value.__module__ == module.__name__ else [value]
        )
        for item in inner:
            plain = getattr(item, "__func__", item)
            if isinstance(plain, types.FunctionType) and plain.__globals__ is vars(module):
                found.append(plain)
    return found


def loaded(module: types.ModuleType) -> Loaded:
    """A local module as it was first seen in memory; a reload is seen anew."""
    name = module.__name__
    spec = getattr(module, "__spec__", None) or module
    known = _LOADED.get(name)
    if known is not None and known[0] is spec:
        return known[1]
    file = getattr(module, "__file__", None) or ""
    text = _read(file)
    codes = _compiled(text, file)
    same = bool(codes) and all(f.__code__ in codes for f in _functions(module) if f.__code__.co_filename == file)
    record = Loaded(name, file, text, True, codes) if same else Loaded(name, file, "", False)
    _LOADED[name] = (spec, record)
    return record


def _compiled(text: str, file: str) -> frozenset[types.CodeType]:
    try:
        return frozenset(_codes(compile(text, file, "exec", dont_inherit=True), set())) if text else frozenset()
    except (SyntaxError, ValueError):
        return frozenset()


def _read(file: str) -> str:
    if not file.endswith(".py"):
        return ""
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return "".join(linecache.getlines(file))


def changed_modules() -> list[str]:
    """Local modules whose file on disk is no longer what is in memory, by name."""
    out = []
    for name, (_, record) in sorted(_LOADED.items()):
        if record.file and name in sys.modules and (not record.true or _read(record.file) != record.text):
            out.append(name)
    return out
