"""The laws of the house, as functions from a source tree to a list of violations.

Knows the floors, the sizes and what each floor must not touch; knows no pytest. A violation is one line of text that
names the place and the law. `tests/test_floors.py` applies the laws to `prefect_nb` and proves each one on small trees.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

__all__ = ["LAWS", "Module", "Tree", "check"]

FLOORS = {
    "errors": 0,
    "core": 1,
    "protocols": 2,
    "analysis": 2,
    "stores": 3,
    "results": 3,
    "executors": 3,
    "notify": 3,
    "engine": 4,
    "wiring": 5,
    "views": 5,
    "authoring": 6,
    "apps": 7,
    "testing": 8,
    "__main__": 8,
    "": 9,  # the package itself, which is the front door to all of it
}
"""Room -> floor; imports go down only, and rooms on one floor do not import each other."""

APART = {"engine": {"stores", "results", "executors", "notify"}, "views": {"engine"}, "apps": {"core.machine"}}
"""Room -> rooms below it that it must not know: adapters are named in `wiring` alone."""

FOREIGN = {
    "core": {
        *(
            "asyncio",
            "datetime",
            "glob",
            "io",
            "logging",
            "multiprocessing",
            "os",
            "pathlib",
            "pickle",
            "queue",
            "random",
        ),
        *("secrets", "select", "shutil", "signal", "socket", "sqlite3", "subprocess", "sys", "tempfile", "threading"),
        *("time", "urllib", "uuid", "concurrent"),
    },
    "analysis": {"IPython", "ipykernel"},
    "engine": {"IPython", "ipykernel", "sqlite3"},
    "views": {"IPython", "ipykernel", "sqlite3"},
}
"""Room -> modules of others that it must not import."""

STDLIB_ONLY = {"errors", "core", "protocols"}
EFFECTS = {"breakpoint", "compile", "eval", "exec", "input", "open", "print"}

MODULE_LINES, FUNCTION_LINES, PARAMETERS, PUBLIC_METHODS, PUBLIC_NAMES = 350, 60, 8, 20, 20

HOOKS = {"load_ipython_extension", "unload_ipython_extension"}
"""Names at the front door that nobody writes: IPython looks for them, so they are none that a person has to know."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name without the package's, and its text."""

    name: str
    package: str
    path: Path
    is_package: bool

    @property
    def room(self) -> str:
        """The first part of the name, which has a floor."""
        return self.name.partition(".")[0]

    @cached_property
    def text(self) -> str:
        """The source."""
        return self.path.read_text("utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed source."""
        return ast.parse(self.text, str(self.path))

    @cached_property
    def imports(self) -> tuple[tuple[str, int, bool], ...]:
        """Every absolute name it imports, its line, and whether that happens at the top of the file."""
        return tuple(self._imports())

    def _imports(self) -> Iterator[tuple[str, int, bool]]:
        nested = {id(n) for f in ast.walk(self.tree) if isinstance(f, Function | ast.Lambda) for n in ast.walk(f)}
        for node in ast.walk(self.tree):
            for name in imported_names(node, self):
                yield name, node.lineno, id(node) not in nested  # type: ignore[attr-defined]


def imported_names(node: ast.AST, module: Module) -> list[str]:
    """What one node imports; `import_module` of a literal counts, an import for type checkers only counts too."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        here = [module.package, *module.name.split(".")] if module.name else [module.package]
        up = node.level - module.is_package
        anchor = ".".join(here[: len(here) - up]) if node.level else ""
        base = ".".join(filter(None, [anchor, node.module]))
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
            return [node.args[0].value]
    return []


class Tree:
    """All modules of one package directory."""

    def __init__(self, root: Path) -> None:
        self.root, self.package = root, root.name
        found = {}
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found[name] = Module(name, self.package, path, is_package)
        self.modules: dict[str, Module] = found

    def own(self, imported: str) -> str | None:
        """The module of this tree that an imported name lives in, None for others' modules."""
        head, _, name = imported.partition(".")
        if head != self.package:
            return None
        while name and name not in self.modules:
            name = name.rpartition(".")[0]
        return name


Law = Callable[[Tree], Iterator[str]]


def floors(tree: Tree) -> Iterator[str]:
    """Imports go down only; neighbours on a floor and rooms kept apart do not know each other."""
    for module in tree.modules.values():
        if module.room not in FLOORS:
            yield f"{module.name}: no floor is drawn for {module.room!r}"
            continue
        for imported, line, _ in module.imports:
            target = tree.own(imported)
            if target is None or not module.name:
                continue
            room = target.partition(".")[0]
            if room == module.room:
                continue
            if FLOORS.get(room, 9) >= FLOORS[module.room]:
                yield f"{module.name}:{line}: imports {target or tree.package}, which is not on a floor below"
            if any(target == far or target.startswith(far + ".") for far in APART.get(module.room, ())):
                yield f"{module.name}:{line}: imports {target}, from which it is kept apart"


def cycles(tree: Tree) -> Iterator[str]:
    """No module reaches itself by imports, wherever they stand."""
    graph = {
        m.name: {t for i, _, _ in m.imports if (t := tree.own(i)) is not None and t != m.name}
        for m in tree.modules.values()
    }
    graph.pop("", None)
    graph = {name: targets - {""} for name, targets in graph.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield "cycle: " + " -> ".join(reversed(error.args[1]))


def foreign(tree: Tree) -> Iterator[str]:
    """The lower floors are free of clocks, files, threads and third parties; core performs nothing."""
    for module in tree.modules.values():
        for imported, line, _ in module.imports:
            head = imported.partition(".")[0]
            if head == tree.package:
                continue
            if head in FOREIGN.get(module.room, ()):
                yield f"{module.name}:{line}: {module.room} must not import {head}"
            elif module.room in STDLIB_ONLY and head not in sys.stdlib_module_names:
                yield f"{module.name}:{line}: {module.room} knows the standard library only, not {head}"
        if module.room == "core":
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in EFFECTS:
                    yield f"{module.name}:{node.lineno}: core must not call {node.func.id}()"


def hidden(tree: Tree) -> Iterator[str]:
    """Our own modules are imported at the top of a file, where everybody sees them."""
    for module in tree.modules.values():
        if not module.name:  # the front door is lazy by design
            continue
        for imported, line, top in module.imports:
            if not top and tree.own(imported) is not None:
                yield f"{module.name}:{line}: {imported} is imported inside a function"


def sizes(tree: Tree) -> Iterator[str]:
    """Modules, functions, parameter lists and classes stay small."""
    for module in tree.modules.values():
        lines = len(module.text.splitlines())
        if lines > MODULE_LINES:
            yield f"{module.name}: {lines} lines, at most {MODULE_LINES}"
        for node in ast.walk(module.tree):
            where = f"{module.name}:{getattr(node, 'lineno', 0)}: {getattr(node, 'name', '')}"
            if isinstance(node, Function):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    yield f"{where} has {length} lines, at most {FUNCTION_LINES}"
                if (count := parameters(node)) > PARAMETERS:
                    yield f"{where} has {count} parameters, at most {PARAMETERS}"
            elif isinstance(node, ast.ClassDef):
                methods = sum(isinstance(n, Function) and not n.name.startswith(("_", "visit_")) for n in node.body)
                if methods > PUBLIC_METHODS:
                    yield f"{where} has {methods} public methods, at most {PUBLIC_METHODS}"


def parameters(function: Function) -> int:
    """How many a caller may give; `self` and `cls` are not the caller's."""
    args = function.args
    names = [a.arg for a in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"])) + (args.vararg is not None) + (args.kwarg is not None)


def manners(tree: Tree) -> Iterator[str]:
    """Every module says what it is and what it offers; packages only re-export; the front door is narrow."""
    for module in tree.modules.values():
        name = module.name or tree.package
        if not ast.get_docstring(module.tree):
            yield f"{name}: has no docstring"
        offered = offers(module.tree)
        imports = any(isinstance(n, ast.Import | ast.ImportFrom) for n in module.tree.body)
        if offered is None and (imports or not module.is_package):
            yield f"{name}: has no __all__"
        if not module.name and (count := sum(n not in HOOKS for n in offered or ())) > PUBLIC_NAMES:
            yield f"{name}: offers {count} names, at most {PUBLIC_NAMES}"
        if module.is_package and module.name:
            for node in module.tree.body[1:]:
                if not isinstance(node, ast.Import | ast.ImportFrom) and not assigns_all(node):
                    yield f"{name}:{node.lineno}: a package's front door only re-exports"


def assigns_all(node: ast.stmt) -> bool:
    """Whether a statement is `__all__ = ...`."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets)


def offers(tree: ast.Module) -> list[str] | None:
    """The names in `__all__`, None where there is none."""
    for node in tree.body:
        if assigns_all(node) and node.value is not None:  # type: ignore[attr-defined]
            return [str(name) for name in ast.literal_eval(node.value)]  # type: ignore[attr-defined]
    return None


def work(tree: Tree) -> Iterator[str]:
    """Importing a module only defines: no bare calls, loops or blocks at its top level."""
    for module in tree.modules.values():
        for node in module.tree.body:
            bare = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
            if bare or isinstance(node, ast.For | ast.While | ast.With):
                yield f"{module.name or tree.package}:{node.lineno}: work at import"


LAWS: tuple[Law, ...] = (floors, cycles, foreign, hidden, sizes, manners, work)


def check(tree: Tree, laws: Iterable[Law] = LAWS) -> list[str]:
    """Every violation of the laws in a tree."""
    return [f"{law.__name__}: {fault}" for law in laws for fault in law(tree)]
