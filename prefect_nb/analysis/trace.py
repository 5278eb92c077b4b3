"""Follows code to what it looks up: the ``CodeEncoder`` of the walk, and the named parts it leaves behind.

Functions, classes and local modules are followed through the globals, closures, defaults, bases and imports they use;
installed code counts as name and version. It must not know cells, nor decide what a part is for.
"""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from prefect_nb.analysis.encode import Fault, Hasher, digest
from prefect_nb.analysis.lookups import CONSTANT, global_names, imports, lookups, structure, unloaded
from prefect_nb.analysis.origins import distribution, loaded, place_of
from prefect_nb.analysis.sources import function_node, normalize, shape, tree, trusted_text

__all__ = ["Part", "Tracer", "global_names", "node_of"]


def _words(text: str) -> list[str]:
    return text.split()


Kind = Literal["code", "helper", "global", "closure", "default", "class", "module", "distribution", "builtin"]

_UNSEEN = frozenset(
    _words(
        "__dict__ __weakref__ __doc__ __module__ __qualname__ __firstlineno__ __static_attributes__ _abc_impl "
        "__slotnames__ "
        "__abstractmethods__ _value2member_map_ _hashable_values_ _unhashable_values_ _unhashable_values_map_ "
        "__annotate_func__ __annotations_cache__ __classdictcell__"
    )
)


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
    source: str = field(default="", compare=False)


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
        return structure(function.__code__), ""
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

    def drain(self, hasher: Hasher, *, notebook: bool = True) -> list[tuple[str, Fault]]:
        """Follow everything that is wanted until nothing is; what cannot be followed is returned by name.

        Without `notebook`, globals of the notebook are left out: they are not the value's own.
        """
        faults = []
        while self._wanted:
            owner, name, value = self._wanted.pop()
            if not owner and not notebook:
                continue
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
        names, imports = lookups(function.__code__)
        space = function.__globals__
        module = str(space.get("__name__") or "")
        owner = "" if place_of(module, space) == "notebook" else module
        for name in names - CONSTANT:
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
        text = unloaded(name)
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
        for name in imports(text, module) if text is not None else ():
            self._import(name)
        self.parts.add(Part("module", module.__name__, "b3-" + digest(b"\0".join(out)).hex()))


def _data(hasher: Hasher, name: str, value: Any) -> bytes:
    """A module's global; what has no fingerprint counts by its type, and whoever touches it is judged impure."""
    try:
        return hasher.encode(name) + hasher.encode(value)
    except Fault:
        return hasher.encode(name) + type(value).__qualname__.encode()
