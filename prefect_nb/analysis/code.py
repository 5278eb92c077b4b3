"""Fingerprints of code: a cell's text, and everything that the functions it uses can reach.

Functions and classes of the notebook and of local modules are followed to every global, closure, default, base and
attribute; installed packages count as name and version; the standard library counts as the Python version, which the
caller puts into the key. Knows no cells, no graph and no store.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from opcode import opmap
from pathlib import Path
from typing import Any, Literal

from prefect_nb.analysis.encode import Fault, Hasher, digest
from prefect_nb.analysis.forms import choose
from prefect_nb.analysis.origins import changed_modules, distribution, loaded, place_of
from prefect_nb.analysis.sources import cell_fingerprint, function_node, normalize, shape, tree, trusted_text

__all__ = [
    "Part",
    "Reach",
    "Tracer",
    "cell_fingerprint",
    "changed_modules",
    "global_names",
    "node_of",
    "normalize",
    "reach",
]

Kind = Literal["code", "helper", "global", "closure", "default", "class", "module", "distribution", "builtin"]

_PYTHON = f"python {sys.version_info[0]}.{sys.version_info[1]}"
_CONSTANT = frozenset({"__builtins__", "__name__", "__file__", "__doc__", "get_ipython", "In", "Out", "exit", "quit"})
_UNSEEN = frozenset(
    "__dict__ __weakref__ __doc__ __module__ __qualname__ __firstlineno__ __static_attributes__ _abc_impl "
    "__abstractmethods__ _value2member_map_ _hashable_values_ _unhashable_values_ _unhashable_values_map_ "
    "__annotate_func__ __annotations_cache__ __classdictcell__".split()
)
_NAMED = frozenset(
    opmap[n] for n in ("LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS") if n in opmap
)
_GLOBAL, _EXTENDED, _IMPORT = opmap["LOAD_GLOBAL"], opmap["EXTENDED_ARG"], opmap["IMPORT_NAME"]


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One named ingredient of a key.

    Parameters
    ----------
    kind : str
        What it is.
    name : str
        How people know it: ``"clean"``, ``"clean(limit)"``, ``"helpers.scale"``, ``"pandas"``.
    digest : str
        Its fingerprint.
    source : str
        Its text, or a distribution's version; for explanations only.
    """

    kind: Kind
    name: str
    digest: str
    source: str = ""


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


@lru_cache(maxsize=4096)
def _lookups(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The global names and the modules that code, and the code inside it, looks up."""
    names: set[str] = set()
    imports: set[str] = set()
    raw, high = code.co_code, 0
    for at in range(0, len(raw), 2):
        op, arg = raw[at], raw[at + 1] | high
        high = arg << 8 if op == _EXTENDED else 0
        if op == _GLOBAL:
            names.add(code.co_names[arg >> 1])
        elif op in _NAMED:
            names.add(code.co_names[arg])
        elif op == _IMPORT:
            imports.add(code.co_names[arg])
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            inner = _lookups(const)
            names |= inner[0]
            imports |= inner[1]
    return frozenset(names), frozenset(imports)


def global_names(function: types.FunctionType) -> frozenset[str]:
    """The global names that a function looks up, in functions inside it too."""
    return _lookups(function.__code__)[0] - _CONSTANT


def _structure(code: types.CodeType) -> str:
    """What a code object does, for code without a source."""
    consts = [
        _structure(c) if isinstance(c, types.CodeType) else (type(c).__name__, _stable(c)) for c in code.co_consts
    ]
    fixed = (code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_flags, code.co_exceptiontable)
    return f"{_PYTHON} {fixed!r} {consts!r}"


def _stable(const: object) -> object:
    return sorted(map(repr, const)) if isinstance(const, frozenset) else const


def node_of(function: types.FunctionType) -> ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | None:
    """The syntax of a notebook or local function as it is in memory, None when nobody can tell."""
    code = function.__code__
    module = sys.modules.get(function.__globals__.get("__name__") or "")
    if module is not None and place_of(module.__name__) == "local":
        record = loaded(module)
        if code.co_filename == record.file:
            if code not in record.codes:
                return None
            trusted_text(record.file, record.text)
    return function_node(code)


def _source(function: types.FunctionType) -> tuple[str, str]:
    """A function's normal form and the text that people read."""
    node = node_of(function)
    if node is None:
        return _structure(function.__code__), ""
    return shape(node), ast.unparse(node)


class Tracer:
    """Follows code to the globals it looks up; one per walk. It is the walk's ``CodeEncoder``."""

    def __init__(self, project_root: Path | None = None) -> None:
        self.root = str(project_root) + "/" if project_root else ""
        self.parts: set[Part] = set()
        self.late: set[str] = set()
        self._wanted: list[tuple[str, str, Any]] = []
        self._seen: set[tuple[int, str]] = set()
        self._inside: set[int] = set()

    # -- what the walk asks --------------------------------------------------------------------------------------

    def token(self, module: str, name: str) -> bytes:
        """Something known by where it lives; its distribution becomes a part."""
        place = place_of(module) if module else "stdlib"
        if place == "installed":
            self._distribution(module)
        return b"k" + digest(f"{module}.{name}".encode())

    def function(self, hasher: Hasher, value: types.FunctionType) -> bytes:
        """Source, defaults and closure; the globals it looks up are followed later."""
        if not self._analysed(value.__globals__.get("__name__"), value.__globals__):
            return self._foreign(hasher, value)
        self._follow(value)
        out = [b"U", digest(_source(value)[0].encode("utf-8", "surrogatepass"))]
        for label, content in self._captured("", value):
            try:
                out.append(hasher.encode(label) + hasher.encode(content))
            except Fault as fault:
                raise fault.at(label) from None
        return b"".join(out)

    def klass(self, hasher: Hasher, value: type) -> bytes:
        """Name, bases and everything the class body bound."""
        home = value.__module__ if isinstance(value.__module__, str) else "builtins"
        if not self._analysed(home, None):
            return self.token(home, value.__qualname__)
        out = [b"C", hasher.encode(value.__qualname__), hasher.items(value.__bases__), hasher.encode(type(value))]
        for name in sorted(k for k in vars(value) if k not in _UNSEEN):
            try:
                out.append(hasher.encode(name) + hasher.encode(vars(value)[name]))
            except Fault as fault:
                raise fault.at(f".{name}") from None
        return b"".join(out)

    def module(self, hasher: Hasher, value: types.ModuleType) -> bytes:
        """A module by name; a local one is followed later."""
        if self._analysed(value.__name__, None):
            self._want(value.__name__, "", value)
            return b"O" + hasher.encode(value.__name__)
        return self.token(value.__name__, "")

    # -- following -----------------------------------------------------------------------------------------------

    def want(self, name: str, namespace: Mapping[str, Any]) -> None:
        """Follow a name of the notebook."""
        if name in namespace and (id(namespace), name) not in self._seen:
            self._seen.add((id(namespace), name))
            self._wanted.append(("", name, namespace[name]))

    def drain(self, hasher: Hasher) -> list[tuple[str, Fault]]:
        """Follow everything that is wanted until nothing is; what cannot be followed is returned by name."""
        faults = []
        while self._wanted:
            owner, name, value = self._wanted.pop()
            label = f"{owner}.{name}" if owner and name else owner or name
            try:
                if owner and not name:
                    self._local_module(hasher, value)
                else:
                    self._describe(hasher, label, value, "global")
            except Fault as fault:
                faults.append((label, fault))
        return faults

    def _analysed(self, module: str | None, namespace: dict[str, Any] | None) -> bool:
        place = place_of(module, namespace)
        if place == "installed" and self.root:
            file = getattr(sys.modules.get(module or ""), "__file__", None) or ""
            return file.startswith(self.root) and "/site-packages/" not in file and "/dist-packages/" not in file
        return place in ("notebook", "local")

    def _want(self, owner: str, name: str, value: Any) -> None:
        key = (id(value) if not name else hash(owner), name)
        if key not in self._seen:
            self._seen.add(key)
            self._wanted.append((owner, name, value))

    def _follow(self, function: types.FunctionType) -> None:
        names, imports = _lookups(function.__code__)
        space = function.__globals__
        module = str(space.get("__name__") or "")
        owner = "" if place_of(module, space) == "notebook" else module
        for name in names - _CONSTANT:
            if not owner:
                self.late.add(name)
            key = (id(space), name)
            if name in space and key not in self._seen:
                self._seen.add(key)
                self._wanted.append((owner, name, space[name]))
        for name in imports:
            self._import(name)

    def _import(self, name: str) -> None:
        """A module that code imports when it runs."""
        module = sys.modules.get(name)
        if module is not None:
            if self._analysed(name, None):
                self._want(name, "", module)
            else:
                self.token(name, "")
            return
        text = _unloaded(name)
        if text:
            self.parts.add(Part("module", name, "b3-" + digest(normalize(text).encode("utf-8", "replace")).hex()))

    def _foreign(self, hasher: Hasher, value: types.FunctionType) -> bytes:
        """An installed function: its address, and what it captured if it was made at run time."""
        module = value.__globals__.get("__name__") or value.__module__ or ""
        out = b"k" + self.token(str(module), value.__qualname__)
        found: Any = sys.modules.get(str(module))
        for step in value.__qualname__.split("."):
            found = getattr(found, step, None) if step != "<locals>" else None
        if found is value:
            return out
        if hasattr(value, "registry") and module == "functools":
            return out + hasher.encode(dict(value.registry))
        for label, content in self._captured("", value):
            try:
                out += hasher.encode(label) + hasher.encode(content)
            except Fault as fault:
                raise fault.at(label) from None
        return out

    @staticmethod
    def _captured(label: str, f: types.FunctionType) -> list[tuple[str, Any]]:
        """Defaults, closure and attributes by name."""
        code, out = f.__code__, []
        if f.__defaults__:
            first = code.co_argcount - len(f.__defaults__)
            out += [
                (f"{label}({n})", v)
                for n, v in zip(code.co_varnames[first : code.co_argcount], f.__defaults__, strict=True)
            ]
        out += [(f"{label}({n})", v) for n, v in sorted((f.__kwdefaults__ or {}).items())]
        for name, cell in zip(code.co_freevars, f.__closure__ or (), strict=True):
            try:
                out.append((f"{label}.{name}", cell.cell_contents))
            except ValueError:
                out.append((f"{label}.{name}", NotImplemented))
        out += [(f"{label}.{n}", v) for n, v in sorted(f.__dict__.items())]
        return out

    def _describe(self, hasher: Hasher, label: str, value: Any, kind: Kind) -> None:
        """Parts of one named thing; a function's captures are parts of their own."""
        if isinstance(value, types.FunctionType) and self._analysed(
            value.__globals__.get("__name__"), value.__globals__
        ):
            if id(value) in self._inside:
                self.parts.add(Part(kind, label, "again"))
                return
            self._inside.add(id(value))
            self._follow(value)
            normal, text = _source(value)
            self.parts.add(Part("helper", label, "b3-" + digest(normal.encode("utf-8", "surrogatepass")).hex(), text))
            for inner, content in self._captured(label, value):
                self._describe(hasher, inner, content, "default" if inner.endswith(")") else "closure")
            self._inside.discard(id(value))
            return
        if isinstance(value, type):
            kind = "class"
        elif isinstance(value, types.BuiltinFunctionType) and kind == "global":
            kind = "builtin"
        elif isinstance(value, types.ModuleType):
            hasher.encode(value)
            kind = "module"
        self.parts.add(Part(kind, label, "b3-" + digest(hasher.encode(value)).hex()))

    def _distribution(self, module: str) -> None:
        name, version = distribution(module.partition(".")[0])
        self.parts.add(Part("distribution", name, "b3-" + digest(version.encode()).hex(), version))

    def _local_module(self, hasher: Hasher, module: types.ModuleType) -> None:
        """Source as loaded, data as it is now, and the local modules it imports."""
        record = loaded(module)
        out = [normalize(record.text).encode("utf-8", "surrogatepass")] if record.true else []
        for name, value in sorted(vars(module).items()):
            if name.startswith("__"):
                continue
            home = getattr(value, "__module__", None) if isinstance(value, types.FunctionType | type) else None
            if isinstance(value, types.ModuleType):
                self._import(value.__name__)
            elif home is not None and home != module.__name__:
                self._import(home)
            elif home is None or not record.true:
                out.append(_data(hasher, name, value))
        text = tree(record.text) if record.true else None
        for name in _imports(text, module) if text is not None else ():
            self._import(name)
        self.parts.add(Part("module", module.__name__, "b3-" + digest(b"\0".join(out)).hex()))


def _data(hasher: Hasher, name: str, value: Any) -> bytes:
    """A module's global; what has no fingerprint counts by its type, and whoever touches it is judged impure."""
    try:
        return hasher.encode(name) + hasher.encode(value)
    except Fault:
        return hasher.encode(name) + type(value).__qualname__.encode()


@lru_cache(maxsize=512)
def _imports_of(module: ast.Module, package: str) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{above}.{base}" if base else above
            names.add(base)
            names.update(f"{base}.{a.name}" for a in node.names if f"{base}.{a.name}" in sys.modules)
    return frozenset(n for n in names if n)


def _imports(text: ast.Module, module: types.ModuleType) -> frozenset[str]:
    return _imports_of(text, module.__package__ or "")


def _unloaded(name: str) -> str:
    """The source on disk of a local module that is not loaded yet."""
    parent = name.rpartition(".")[0]
    if name.partition(".")[0] in sys.stdlib_module_names or (parent and parent not in sys.modules):
        return ""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return ""
    file = spec.origin if spec is not None else None
    if not file or not file.endswith(".py") or place_of(name, {"__file__": file}) != "local":
        return ""
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


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
