"""What is known about live objects, and whether a body may use them and still be pure.

An inquiry collects causes and the functions and classes that remain to be analysed. It looks at objects, never calls
them, and what it cannot place is a cause.
"""

from __future__ import annotations

import functools
import io
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any

from prefect_nb.analysis.known import HANDLE_TYPES, METHODS, NAMES, NO_SEED, OUTSIDE, PURE, READERS, SEEDED
from prefect_nb.analysis.origins import place_of

__all__ = ["CODES", "SPECIAL", "Cause", "Inquiry", "outside", "spellings"]


def _words(text: str) -> list[str]:
    return text.split()


#: Why a body is impure, and the words for it.
CODES: dict[str, str] = {
    "NETWORK": "talks to the network",
    "CLOCK": "reads the clock",
    "RANDOM": "draws random numbers without a seed",
    "SUBPROCESS": "starts a process",
    "UNKNOWN_MODULE": "belongs to a module that is not on the list of known ones",
    "UNKNOWN_CALL": "is a call whose effect is not known",
    "HANDLE": "is a live handle",
    "DYNAMIC": "looks names up in a way that cannot be followed",
    "SHELL": "runs a shell or notebook command",
    "DATABASE": "talks to a database",
    "WRITES_FILE": "writes or changes a file",
    "IMPURE_GLOBAL": "changes something outside the notebook's names",
    "UNANALYSED": "has no source that could be analysed",
}
_SCALARS = (type(None), bool, int, float, complex, str, bytes, bytearray, range, slice, type(Ellipsis))
_RENAMED: tuple[tuple[str, str], ...] = (
    ("posixpath.", "os.path."),
    ("ntpath.", "os.path."),
    ("genericpath.", "os.path."),
    ("posix.", "os."),
)
_RENAMED += (
    ("nt.", "os."),
    ("_io.", "builtins."),
    ("io.open", "builtins.open"),
    ("numpy.random.mtrand.", "numpy.random."),
)
_RENAMED += (("_random.", "random."), ("_datetime.", "datetime."), ("_operator.", "operator."))
_MANY = 20_000
_OURS = ("notebook", "local")
#: Known functions whose effect depends on their arguments, so that passing them around is not understood.
SPECIAL = frozenset(
    _words(
        "builtins.open builtins.getattr builtins.setattr builtins.delattr operator.attrgetter "
        "operator.methodcaller gzip.open bz2.open lzma.open codecs.open tarfile.open zipfile.ZipFile "
        "builtins.FileIO pandas.eval"
    )
)
_LIVE = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, types.FrameType, types.TracebackType)


@dataclass(frozen=True, slots=True, order=True)
class Cause:
    """One thing that takes purity away.

    Parameters
    ----------
    code : str
        The kind, one of :data:`CODES`.
    name : str
        What it is, as written: ``"requests.get"``.
    line : int, optional
        The line in the cell or in the function named by ``inside``.
    inside : str
        The function in which it was found, "" for the body itself.
    """

    code: str
    name: str
    line: int | None = None
    inside: str = ""

    @property
    def wording(self) -> str:
        """The cause as a phrase for people."""
        where = f" (in {self.inside})" if self.inside else ""
        return f"{self.name} {CODES[self.code]}{where}"


@lru_cache(maxsize=8192)
def outside(dotted: str) -> str | None:
    """What a dotted name looks at, None when it belongs to a known pure part."""
    for old, new in _RENAMED:
        if dotted.startswith(old):
            dotted = new + dotted[len(old) :]
            break
    # C accelerators of the standard library live in modules with an underscore.
    steps = dotted.removeprefix("_").split(".") if dotted[:2] != "__" else dotted.split(".")
    for count in range(len(steps), 0, -1):
        head = ".".join(steps[:count])
        code = NAMES.get(head) or OUTSIDE.get(head)
        if code:
            return code
    if steps[0] not in PURE:
        return "UNKNOWN_MODULE"
    if dotted.startswith("sklearn.datasets.fetch_"):
        return "NETWORK"
    return METHODS.get(steps[-1]) if len(steps) > 2 else None


def spellings(value: Any, path: str) -> tuple[str, ...]:
    """The dotted names of an object: as it was reached, where it lives, and where people know it."""
    home = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    home, name = home if isinstance(home, str) else "", name if isinstance(name, str) else ""
    if not home and type(value).__module__ == "numpy":
        home = "numpy"
    return _spelled(path, home, name)


@lru_cache(maxsize=8192)
def _spelled(path: str, home: str, name: str) -> tuple[str, ...]:
    out = [path] if path else []
    if home and name and "<locals>" not in name:
        out += [f"{home}.{name}", f"{home.partition('.')[0]}.{name}"]
    for index, dotted in enumerate(out):
        for old, new in _RENAMED:
            if dotted.startswith(old):
                out[index] = new + dotted[len(old) :]
                break
    return tuple(dict.fromkeys(out))


@dataclass(slots=True)
class Inquiry:
    """What one judgement has found so far, and what is left to look at."""

    causes: dict[tuple[str, str], Cause] = field(default_factory=dict)
    environment: set[str] = field(default_factory=set)
    reads_files: bool = False
    uses_random: bool = False
    waiting: list[types.FunctionType] = field(default_factory=list)
    line: int | None = None
    inside: str = ""
    _seen: dict[int, object] = field(default_factory=dict)

    def blame(self, code: str, name: str) -> None:
        """Add a cause at the current place."""
        self.causes.setdefault((code, name), Cause(code, name, self.line, self.inside))

    def named(self, names: tuple[str, ...], shown: str) -> bool:
        """Judge dotted names of a library; True when they are pure."""
        for dotted in names:
            code = outside(dotted)
            if code is not None:
                self.blame(code, shown or dotted)
                return False
        self.reads_files |= any(n in READERS for n in names)
        self.uses_random |= any(n.startswith(NO_SEED) and n not in SEEDED for n in names)
        return True

    def see(self, value: Any, label: str, path: str = "") -> None:
        """Judge a live object that a body can get hold of."""
        kind = type(value)
        if kind in _SCALARS or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, types.ModuleType):
            self.blame("DYNAMIC", f"the module {value.__name__} as a value")
        elif isinstance(value, types.FunctionType):
            self._function(value, label, path)
        elif isinstance(value, type):
            self._class(value, label, path)
        elif isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType):
            self._builtin(value, label, path)
        elif isinstance(value, types.MethodType):
            self._method(value, label, path)
        elif isinstance(value, functools.partial):
            for part in (value.func, *value.args, *value.keywords.values()):
                self.see(part, label)
        elif isinstance(value, dict | list | tuple | set | frozenset | types.MappingProxyType):
            self._container(value, label)
        elif kind.__name__ == "cython_function_or_method":
            self._judged(spellings(value, path) or (f"{label}.",), label)
        elif not path or self._judged(spellings(value, path) if callable(value) else (path,), label):
            self._instance(value, label)

    def _function(self, value: types.FunctionType, label: str, path: str) -> None:
        home = value.__globals__.get("__name__")
        if place_of(home, value.__globals__) in _OURS:
            self.waiting.append(value)
            return
        names = (path,) if path else ()
        place = value.__code__.co_qualname  # unlike __qualname__ it survives functools.wraps
        if "<locals>" in place:
            # A wrapper that a library made: what it captured is what it runs.
            self.named((*names, f"{home}.wrapper"), label)
            self.captured(value, label)
            return
        top = str(home).partition(".")[0]
        self._judged(tuple(dict.fromkeys((*names, f"{home}.{place}", f"{top}.{place}"))), label)

    def captured(self, value: types.FunctionType, label: str) -> None:
        """Judge defaults and closure of a function."""
        for part in (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()):
            self.see(part, label)
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:
                continue
            if not isinstance(content, types.ModuleType):
                self.see(content, name)

    def _judged(self, names: tuple[str, ...], label: str) -> bool:
        if not self.named(names, label):
            return False
        if any(n in SPECIAL for n in names):
            self.blame("UNKNOWN_CALL", f"{label or names[0]} passed on as a value")
        elif any(n in SEEDED for n in names):
            self.blame("RANDOM", label or names[0])
        return True

    def _class(self, value: type, label: str, path: str) -> None:
        home = value.__module__ if isinstance(value.__module__, str) else "builtins"
        if place_of(home) not in _OURS:
            if not issubclass(value, BaseException) or path:
                self._judged(spellings(value, path), label)
            return
        for base in (*value.__bases__, *((type(value),) if type(value) is not type else ())):
            if base is not object:
                self.see(base, base.__name__)
        made = "__dataclass_params__" in vars(value) or "__attrs_attrs__" in vars(value) or "_fields" in vars(value)
        for name, part in list(vars(value).items()):
            if name in ("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "_abc_impl"):
                continue
            self._member(part, f"{value.__qualname__}.{name}", made)

    def _member(self, part: Any, label: str, made: bool) -> None:
        if isinstance(part, staticmethod | classmethod):
            part = part.__func__
        if isinstance(part, property):
            for accessor in (part.fget, part.fset, part.fdel):
                if accessor is not None:
                    self.see(accessor, label)
        elif isinstance(part, functools.cached_property):
            self.see(part.func, label)
        elif isinstance(part, types.FunctionType):
            generated = part.__code__.co_filename.startswith("<") and not part.__code__.co_filename.startswith(
                "<ipython"
            )
            wrapped = part.__globals__.get("__name__") in ("dataclasses", "attr._make")
            if not (made and (generated or wrapped)):
                self.see(part, label)
        elif not isinstance(part, types.GetSetDescriptorType | types.MemberDescriptorType | types.ModuleType):
            self.see(part, label)

    def _builtin(self, value: Any, label: str, path: str) -> None:
        owner = value.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            self._judged(spellings(value, path), label)
            return
        if path:
            self.named((path,), label)
        if value.__name__ in METHODS:
            self.blame(METHODS[value.__name__], label)
        self.uses_random |= type(owner).__module__ in ("random", "numpy.random.mtrand", "numpy.random")
        self.see(owner, label)

    def _method(self, value: types.MethodType, label: str, path: str) -> None:
        if path:
            self.named((path,), label)
        home = getattr(value.__func__, "__module__", None)
        if value.__name__ in METHODS and place_of(home if isinstance(home, str) else "builtins") not in _OURS:
            self.blame(METHODS[value.__name__], label)
        self.uses_random |= type(value.__self__).__module__ in ("random", "numpy.random")
        self.see(value.__self__, label)
        self.see(value.__func__, label)

    def _container(self, value: Any, label: str) -> None:
        parts: Any = value
        if isinstance(value, Mapping):
            parts = list(value.values())
        if set(map(type, parts)) <= set(_SCALARS):
            return
        if len(parts) > _MANY:
            kinds = {type(p): p for p in parts}
            parts = list(kinds.values()) if not any(_may_call(k) for k in kinds) else list(parts)
        for part in list(parts):
            self.see(part, label)

    def _instance(self, value: Any, label: str) -> None:
        kind = type(value)
        home = kind.__module__
        top = home.partition(".")[0]
        if isinstance(value, io.BytesIO | io.StringIO | Enum) and place_of(home) not in _OURS:
            return
        if isinstance(value, _LIVE) or (isinstance(value, io.IOBase) and value is not None) or top in HANDLE_TYPES:
            self.blame("HANDLE", label)
            return
        wrapped = getattr(value, "__wrapped__", None) if top in ("functools", "prefect_nb") else None
        if wrapped is not None:
            self.see(wrapped, label)
            return
        if place_of(home) in _OURS:
            self.see(kind, label)
            self._state(value, label)
            return
        code = outside(f"{home}.{kind.__qualname__}")
        if code is not None:
            self.blame("HANDLE" if code in ("NETWORK", "DATABASE", "SUBPROCESS") else code, label)
        elif hasattr(kind, "__next__") and not isinstance(value, io.IOBase):
            self.blame("HANDLE", label)
        elif top in ("sklearn", "collections", "types", "functools") or isinstance(value, list | dict | set):
            self._state(value, label)

    def _state(self, value: Any, label: str) -> None:
        """Judge what an instance holds."""
        for name, part in list(getattr(value, "__dict__", {}).items()):
            self.see(part, f"{label}.{name}")
        for base in type(value).__mro__:
            slots = vars(base).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else tuple(slots):
                mangled = f"_{base.__name__.lstrip('_')}{name}" if name[:2] == "__" and name[-2:] != "__" else name
                self.see(getattr(value, mangled, None), f"{label}.{name}")
        if isinstance(value, list | tuple | set | frozenset):
            self._container(list(value), label)
        elif isinstance(value, dict):
            self._container(dict(value), label)
        elif type(value).__name__ == "deque":
            self._container(list(value), label)


def _may_call(kind: type) -> bool:
    own = any("__call__" in vars(c) for c in kind.__mro__)
    return own or place_of(kind.__module__) in _OURS
