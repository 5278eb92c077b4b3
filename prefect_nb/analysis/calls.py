"""Calls whose effect depends on their arguments: opening, saving, seeding, looking up by name, asking the shell."""

from __future__ import annotations

import ast
import io
import pathlib
import re
import types
from dataclasses import dataclass
from typing import Any

from prefect_nb.analysis.known import CWD, MAGICS, METHODS, READERS, SEEDED, SINKS, WRITERS
from prefect_nb.analysis.witness import SPECIAL, Inquiry, outside, spellings

__all__ = ["DERIVED", "Calls", "Lib", "Live", "Method", "Of", "names_in_query"]


def _words(text: str) -> list[str]:
    return text.split()


_OPENERS = frozenset(_words("builtins.open gzip.open bz2.open lzma.open codecs.open tarfile.open zipfile.ZipFile"))
_LOOKS = frozenset(["builtins.getattr", "builtins.hasattr", "builtins.setattr", "builtins.delattr"])
_FETCHERS = frozenset(["operator.attrgetter", "operator.methodcaller"])
_CLOCKED = frozenset(["pandas.Timestamp", "pandas.to_datetime", "numpy.datetime64", "pandas.Period"])
_REMOTE = re.compile(r"[a-z][a-z0-9+.]*://(?!$)", re.I)
_READING = re.compile(r"r?[btU]*|r:.*|r\|.*|[bt]r")
_WRITING = re.compile(r"[wax][bt+:|a-z0-9]*|r[bt]*\+[bt]*")
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_AT = re.compile(r"@([^\W\d]\w*)")


@dataclass(frozen=True, slots=True)
class Live:
    """An object in memory, and the dotted name it was reached by."""

    value: Any
    path: str = ""


@dataclass(frozen=True, slots=True)
class Lib:
    """A name inside a library that was not looked up."""

    path: str


@dataclass(frozen=True, slots=True)
class Of:
    """An instance of a class."""

    kind: type


@dataclass(frozen=True, slots=True)
class Method:
    """An attribute of something known or derived."""

    base: Any
    name: str


#: What is known of a value that only comes from judged things.
DERIVED = None


def names_in_query(text: str) -> list[str]:
    """The names after ``@`` in a query string, quoted parts left out."""
    return _AT.findall(_QUOTED.sub("''", text))


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _argument(node: ast.Call, index: int, *names: str) -> ast.expr | None:
    if len(node.args) > index:
        return node.args[index]
    return next((k.value for k in node.keywords if k.arg in names), None)


class Calls:
    """The part of a body's judge that knows calls."""

    inquiry: Inquiry

    visit: Any
    reach: Any
    refer: Any
    attribute: Any
    lookup: Any
    live: Any
    instance: Any
    written: Any
    mutated: Any
    path_method: Any
    as_path: Any

    def _on_Call(self, node: ast.Call) -> Any:
        """Judge a call by what is called, then its arguments."""
        known = self.reach(node.func)
        if isinstance(known, Live | Lib):
            value = known.value if isinstance(known, Live) else None
            names = spellings(value, known.path) if isinstance(known, Live) else (known.path,)
            if names and self._special(node, names):
                return Lib("IPython.get_ipython") if names[0] == "IPython.get_ipython" else None
            label = ast.unparse(node.func)
            if isinstance(known, Live):
                self._live_call(value, label, known.path, names)
            else:
                self.inquiry.named(names, label)
            self._arguments(node)
            self._location(node, names)
            return self.instance(value) if isinstance(value, type) else None
        result = self._method(node, known) if isinstance(known, Method) else None
        self._arguments(node)
        return result

    def _live_call(self, value: Any, label: str, path: str, names: tuple[str, ...]) -> None:
        """Judge a live callable that is called with known arguments."""
        if any(n in SPECIAL or n in SEEDED for n in names):
            self.inquiry.named(names, label)
        elif isinstance(value, types.ModuleType):
            self.inquiry.blame("UNKNOWN_CALL", label)
        else:
            self.inquiry.see(value, label, path)

    def _arguments(self, node: ast.Call) -> None:
        for part in (*node.args, *(k.value for k in node.keywords)):
            self.visit(part.value if isinstance(part, ast.Starred) else part)

    def _location(self, node: ast.Call, names: tuple[str, ...]) -> None:
        """Addresses and times hidden in literal arguments."""
        first = _text(_argument(node, 0, "filepath_or_buffer", "path", "io", "source", "fname", "file"))
        if any(n in READERS for n in names) and first is not None and _REMOTE.match(first):
            self.inquiry.blame("NETWORK", first)
        if any(n in _CLOCKED for n in names) and first is not None and first.lower() in ("now", "today"):
            self.inquiry.blame("CLOCK", f"{names[0]}({first!r})")

    # -- by dotted name ------------------------------------------------------------------------------------------

    def _special(self, node: ast.Call, names: tuple[str, ...]) -> bool:
        """Calls with rules of their own; True when the call is judged completely."""
        found = set(names)
        if found & _LOOKS:
            self._lookup_by_name(node)
            return True
        if found & {"os.getenv", "os.environ.get", "os.environ.__getitem__"}:
            self.environment(_argument(node, 0, "key"))
            self.each_argument(node, 1)
            return True
        if names[0].startswith("os.environ"):
            self.inquiry.blame("DYNAMIC", names[0])
            return True
        if names[0].startswith("IPython.get_ipython"):
            self._shell(node, names[0])
            return True
        if found & _OPENERS:
            self._mode(node, 1, names[0])
        elif found & _FETCHERS:
            self._fetcher(node, names[0])
        elif found & SEEDED:
            seed = _argument(node, 0, "seed", "x", "entropy", "bit_generator")
            if seed is None or (isinstance(seed, ast.Constant) and seed.value is None):
                self.inquiry.blame("RANDOM", names[0])
        elif found & WRITERS:
            self._sink(node, names[0])
        elif found & CWD.keys():
            self.inquiry.environment |= {CWD[n] for n in found & CWD.keys()}
        elif "pandas.eval" in found:
            self._query(node, "pandas.eval")
        elif "builtins.type" in found and len(node.args) != 1:
            self.inquiry.blame("DYNAMIC", "type(…)")
        elif "logging.basicConfig" in found and _argument(node, 99, "filename") is not None:
            self.inquiry.blame("WRITES_FILE", "logging.basicConfig")
        elif "io.FileIO" in found:
            self.inquiry.blame("WRITES_FILE", "io.FileIO")
        return False

    def each_argument(self, node: ast.Call, start: int) -> None:
        """Visit the arguments from one on."""
        for part in (*node.args[start:], *(k.value for k in node.keywords)):
            self.visit(part)

    def environment(self, node: ast.AST | None) -> None:
        """An environment variable; its name must be written out to be part of the manifest."""
        name = _text(node)
        if name is None:
            self.inquiry.blame("DYNAMIC", "os.environ with a computed name")
            if node is not None:
                self.visit(node)
        else:
            self.inquiry.environment.add(name)

    def _lookup_by_name(self, node: ast.Call) -> None:
        verb = node.func.id if isinstance(node.func, ast.Name) else "getattr"
        name = _text(_argument(node, 1))
        if name is None or not node.args:
            self.inquiry.blame("DYNAMIC", f"{verb} with a computed name")
            self._arguments(node)
            return
        base = self.reach(node.args[0])
        if verb in ("setattr", "delattr"):
            self.written(node.args[0], f"{ast.unparse(node.args[0])}.{name}")
        else:
            known = self.attribute(base, name, node.args[0])
            self.refer(known, f"{ast.unparse(node.args[0])}.{name}")
        self.each_argument(node, 2)

    def _fetcher(self, node: ast.Call, shown: str) -> None:
        for part in node.args if shown.endswith("attrgetter") else node.args[:1]:
            name = _text(part)
            if name is None:
                self.inquiry.blame("DYNAMIC", f"{shown} with a computed name")
                continue
            for step in name.split("."):
                self.attribute(None, step)

    def _mode(self, node: ast.Call, index: int, shown: str) -> None:
        place = _argument(node, index, "mode")
        mode = _text(place)
        if place is not None and (mode is None or not _READING.fullmatch(mode)):
            self.inquiry.blame("WRITES_FILE", f"{shown}(mode={mode!r})" if mode else f"{shown} with a computed mode")
        else:
            self.inquiry.reads_files = True

    def _shell(self, node: ast.Call, path: str) -> None:
        verb = path.rpartition(".")[2]
        if verb == "get_ipython":
            return
        if verb == "run_line_magic":
            name = _text(_argument(node, 0)) or "?"
            if name not in MAGICS:
                self.inquiry.blame("SHELL", f"%{name}")
            return
        self.inquiry.blame("SHELL" if verb in ("system", "getoutput", "run_cell_magic") else "DYNAMIC", verb)

    # -- by method name ------------------------------------------------------------------------------------------

    def _method(self, node: ast.Call, known: Method) -> Any:
        """Methods of derived values and instances."""
        name = known.name
        kind = known.base.kind if isinstance(known.base, Of) else None
        if isinstance(node.func, ast.Attribute):
            self.mutated(node.func.value, name)
        if name in SINKS:
            self._sink(node, f".{name}")
        elif name in ("query", "eval"):
            self._query(node, f".{name}")
        elif name == "open":
            mode = _text(_argument(node, 0, "mode"))
            if (mode is not None and _WRITING.fullmatch(mode)) or (
                mode is None and _argument(node, 0, "mode") is not None
            ):
                self.inquiry.blame("WRITES_FILE", ".open")
            self.inquiry.reads_files = True
        elif name in ("read_text", "read_bytes", "glob", "rglob", "iterdir"):
            self.inquiry.reads_files = True
        elif name in ("rename", "replace") and isinstance(kind, type) and issubclass(kind, pathlib.Path):
            self.inquiry.blame("WRITES_FILE", f".{name}")
        elif name in ("absolute", "resolve", "cwd"):
            self.inquiry.environment.add("<cwd>")
        elif name in ("sample", "shuffle", "rvs", "permutation"):
            self.inquiry.uses_random = True
        stays = isinstance(kind, type) and issubclass(kind, pathlib.PurePath) and self.path_method(name)
        return known.base if stays else None

    def _sink(self, node: ast.Call, shown: str) -> None:
        """A method that writes if it is given a place; a buffer in memory is not a place."""
        place = _argument(
            node, 0, *["path", "path_or_buf", "buf", "excel_writer", "fname", "filename", "fp", "path_or_buffer"]
        )
        if place is None and not node.keywords and shown in (".to_string", ".to_html", ".to_latex", ".to_markdown"):
            return
        if place is None or (isinstance(place, ast.Constant) and place.value is None):
            return
        known = self.reach(place) if isinstance(place, ast.Name) else None
        kind = getattr(known, "kind", None) or type(getattr(known, "value", None))
        if not issubclass(kind, io.BytesIO | io.StringIO):
            self.inquiry.blame("WRITES_FILE", shown)

    def _query(self, node: ast.Call, shown: str) -> None:
        """Names behind ``@`` in a query string are read like any other name."""
        text = _argument(node, 0, "expr")
        parts: list[str] = []
        if isinstance(text, ast.JoinedStr):
            parts = [t for p in text.values if (t := _text(p)) is not None]
        elif isinstance(text, ast.Name) and isinstance(value := getattr(self.lookup(text.id), "value", None), str):
            parts = [value]
        elif (literal := _text(text)) is not None:
            parts = [literal]
        elif text is not None:
            self.inquiry.blame("DYNAMIC", f"{shown} with a computed expression")
        for part in parts:
            for name in names_in_query(part):
                self.refer(self.lookup(name), name)
            for attribute in re.findall(r"\.(\w+)", part):
                code = METHODS.get(attribute) or (outside(attribute) if attribute.startswith("__") else None)
                if code:
                    self.inquiry.blame(code, f".{attribute}")
