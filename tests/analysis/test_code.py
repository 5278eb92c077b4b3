"""Code fingerprints: what counts as the same code, and how far a name reaches."""

# ruff: noqa: E501  (tables read best with one case a line)
from __future__ import annotations

import functools
import importlib
import itertools
import linecache
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prefect_nb.analysis.code import Reach, cell_fingerprint, changed_modules, normalize, reach
from prefect_nb.analysis.values import fingerprint

count = itertools.count()


def run(namespace: dict[str, Any], source: str) -> dict[str, Any]:
    """Run a cell as a kernel does: compiled under a name whose lines are registered."""
    source = textwrap.dedent(source)
    file = f"/tmp/ipykernel_0/{next(count)}.py"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), namespace)
    return namespace


def notebook(*cells: str) -> dict[str, Any]:
    """A namespace after these cells ran."""
    space: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        run(space, cell)
    return space


def follow(names: str, *cells: str) -> Reach:
    return reach(names.split(), notebook(*cells))


SAME = {
    "layout": ("x = 1+ 2", "\n\nx=(1 + 2)"),
    "comment": ("x = 1", "# why\nx = 1  # because"),
    "docstring": ("def f():\n 'a'\n return 1", "def f():\n  return 1"),
    "quotes": ("x = 'a'", 'x = "a"'),
    "class docstring": ("class A:\n 'a'\n x = 1", "class A:\n x = 1"),
    "semicolon before the end": ("x = 1; y = 2", "x = 1\ny = 2"),
    "semicolon after an assignment": ("x = 1;", "x = 1"),
}
DIFFERENT = {
    "constant": ("x = 1", "x = 2"),
    "type of constant": ("x = 1", "x = 1.0"),
    "bool": ("x = 1", "x = True"),
    "trailing semicolon": ("f(x)", "f(x);"),
    "string at the end": ("'a'", "'b'"),
    "decorator": ("@a\ndef f(): return 1", "def f(): return 1"),
    "order": ("x = 1\ny = 2", "y = 2\nx = 1"),
    "default": ("def f(x=1): return x", "def f(x=2): return x"),
    "async": ("async def f(): return 1", "def f(): return 1"),
    "nesting": ("if a:\n x = 1\ny = 2", "if a:\n x = 1\n y = 2"),
    "text in a string": ("x = 'a # b'", "x = 'a # c'"),
    "raw": ("%bad syntax", "%other syntax"),
}


@pytest.mark.parametrize(("one", "two"), SAME.values(), ids=SAME)
def test_same_code(one: str, two: str) -> None:
    """Layout, comments and docstrings do not count."""
    assert normalize(one) == normalize(two)
    assert cell_fingerprint(one) == cell_fingerprint(two)


@pytest.mark.parametrize(("one", "two"), DIFFERENT.values(), ids=DIFFERENT)
def test_different_code(one: str, two: str) -> None:
    """Everything that can change a result or its display counts."""
    assert cell_fingerprint(one) != cell_fingerprint(two)


def test_top_level_await_has_a_normal_form() -> None:
    """A cell with ``await`` is code like any other."""
    assert normalize("x = await f()") == normalize("x=await  f()  # wait")


#: name -> (names, cells, replacement of one cell, whether it changes)
EDITS: dict[str, tuple[str, tuple[str, ...], tuple[int, str], bool]] = {
    "C02 comments": ("h", ("def h(x):\n    'doc'\n    return x + 1",), (0, "# m\ndef h( x ):\n  'o'\n  return (x+1)"), False),
    "C03 transitive": ("h", ("def g(x): return x * 2", "def h(x): return g(x) + 1"), (0, "def g(x): return x * 5"), True),
    "C04 data global": ("h", ("K = 2", "def h(x): return x * K"), (0, "K = 3"), True),
    "unrelated global": ("h", ("K = 2", "def h(x): return x.K"), (0, "K = 3"), False),
    "closure": ("h", ("def mk(n):\n  def h(x): return x + n\n  return h", "h = mk(1)"), (1, "h = mk(2)"), True),
    "default": ("h", ("D = [1]", "def h(x=D): return x"), (0, "D = [2]"), True),
    "lambda": ("h", ("h = [lambda x: x + 1, lambda x: x + 2][0]",), (0, "h = [lambda x: x + 1, lambda x: x + 2][1]"), True),
    "lambda in dict": ("d", ("def g(): return 1", "d = {'k': lambda: g()}"), (0, "def g(): return 2"), True),
    "partial": ("p", ("import functools\ndef g(x): return x", "p = functools.partial(g, 1)"), (1, "p = functools.partial(g, 2)"), True),
    "bound method": ("m", ("class A:\n  def m(self): return 1", "m = A().m"), (0, "class A:\n  def m(self): return 2"), True),
    "C08 instance": ("a", ("class A:\n  def m(self): return 1", "a = A()"), (0, "class A:\n  def m(self): return 2"), True),
    "base": ("B", ("class A:\n  def m(self): return 1", "class B(A): pass"), (0, "class A:\n  def m(self): return 2"), True),
    "class attribute": ("A", ("class A:\n  k = 1",), (0, "class A:\n  k = 2"), True),
    "class docstring": ("A", ("class A:\n  'one'\n  k = 1",), (0, "class A:\n  'two'\n  k = 1"), False),
    "global of a method": ("A", ("K = 1", "class A:\n  def m(self): return K"), (0, "K = 2"), True),
    "static method": ("A", ("class A:\n  @staticmethod\n  def m(): return 1",), (0, "class A:\n  @staticmethod\n  def m(): return 2"), True),
    "property": ("A", ("class A:\n  @property\n  def m(self): return 1",), (0, "class A:\n  @property\n  def m(self): return 2"), True),
    "wrapped": (
        "f",
        ("import functools\ndef deco(g):\n  @functools.wraps(g)\n  def w(*a): return g(*a)\n  return w", "@deco\ndef f(): return 1"),
        (1, "@deco\ndef f(): return 2"),
        True,
    ),
    "lru_cache": ("f", ("import functools", "@functools.cache\ndef f(): return 1"), (1, "@functools.cache\ndef f(): return 2"), True),
    "dataclass": (
        "D",
        ("import dataclasses", "@dataclasses.dataclass\nclass D:\n  x: int = 1"),
        (1, "@dataclasses.dataclass\nclass D:\n  x: int = 2"),
        True,
    ),
    "swapped": ("a b", ("f = lambda: 1\ng = lambda: 2", "a, b = f, g"), (1, "a, b = g, f"), True),
    "inner function": ("h", ("K = 1", "def h():\n  def inner(): return K\n  return inner()"), (0, "K = 2"), True),
    "comprehension": ("h", ("K = 1", "def h(): return [K for _ in range(3)]"), (0, "K = 2"), True),
}  # fmt: skip


@pytest.mark.parametrize(("names", "cells", "edit", "changes"), EDITS.values(), ids=EDITS)
def test_edits(names: str, cells: tuple[str, ...], edit: tuple[int, str], changes: bool) -> None:
    """An edit changes what a name reaches exactly if it can change a result."""
    edited = [edit[1] if i == edit[0] else c for i, c in enumerate(cells)]
    before, again, after = follow(names, *cells), follow(names, *cells), follow(names, *edited)
    assert not before.problems
    assert before.parts == again.parts
    assert (before.parts != after.parts) == changes
    values = [fingerprint([notebook(*c)[n] for n in names.split()]) for c in (cells, edited)]
    assert (values[0] != values[1]) == changes


def test_mutual_recursion() -> None:
    """Functions that call each other are followed once, each a part of its own (C05)."""
    found = follow(
        "even",
        "def even(n): return True if n == 0 else odd(n - 1)",
        "def odd(n): return False if n == 0 else even(n - 1)",
    )
    assert [(p.kind, p.name) for p in found.parts] == [("helper", "even"), ("helper", "odd")]
    assert found.late_names == {"even", "odd"}


def test_parts_are_named() -> None:
    """Every ingredient is a part with a name that people know, and functions carry their text."""
    found = follow(
        "f",
        "import json, numpy as np\nK = 3",
        "def f(x, seen=[]):\n    return json.dumps(x * K * int(np.pi) * missing)",
    )
    assert {(p.kind, p.name) for p in found.parts} == {
        ("helper", "f"),
        ("default", "f(seen)"),
        ("global", "K"),
        ("module", "json"),
        ("module", "np"),
        ("distribution", "numpy"),
    }
    assert found.late_names >= {"json", "np", "K", "missing"}
    assert next(p for p in found.parts if p.kind == "helper").source.startswith("def f(x")
    assert next(p for p in found.parts if p.kind == "distribution").source == sys.modules["numpy"].__version__


def test_problems_name_their_path() -> None:
    """What has no fingerprint is a problem with a path; everything else is still there."""
    found = follow("f", "import threading\nguard = {'a': threading.Lock()}", "def f(): return guard")
    assert [p.path for p in found.problems] == ["guard['a']"]
    assert ("helper", "f") in {(p.kind, p.name) for p in found.parts}


def test_mutable_default_is_state() -> None:
    """A mutated default changes the function's fingerprint (B11)."""
    space = notebook("def f(x, seen=[]):\n    seen.append(x)")
    before = fingerprint(space["f"])
    space["f"](1)
    assert fingerprint(space["f"]) != before


def test_functions_without_source() -> None:
    """Functions made by ``exec`` are told apart by what they do."""
    spaces: list[dict[str, Any]] = [{"__name__": "__main__"} for _ in range(3)]
    for space, body in zip(spaces, ("x + 1", "x + 1", "x + 2"), strict=True):
        exec(f"def f(x): return {body}", space)
    one, same, other = (fingerprint(s["f"]) for s in spaces)
    assert one == same != other


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Writes local modules, forgets them afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    written: list[str] = []

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        written.append(name)
        importlib.invalidate_caches()

    yield write
    for name in written:
        sys.modules.pop(name, None)


def fresh(names: str, *cells: str) -> Reach:
    """What names reach in a new process, as far as local modules go."""
    for name in [n for n in sys.modules if n.startswith("nbcase_")]:
        del sys.modules[name]
    return follow(names, *cells)


def test_loaded_code_counts_not_the_disk(module: Callable[[str, str], None]) -> None:
    """An edit on disk is reported, and counts from the next import on (C06)."""
    module("nbcase_mod", "def k():\n    return 1\n")
    space = notebook("import nbcase_mod")
    before = reach(["nbcase_mod"], space)
    assert ("module", "nbcase_mod") in {(p.kind, p.name) for p in before.parts}
    assert "nbcase_mod" not in changed_modules()
    module("nbcase_mod", "def k():\n    return 2\n")
    assert reach(["nbcase_mod"], space).parts == before.parts
    assert "nbcase_mod" in changed_modules()
    importlib.reload(space["nbcase_mod"])
    assert reach(["nbcase_mod"], space).parts != before.parts
    assert "nbcase_mod" not in changed_modules()


def test_edited_before_first_sight(module: Callable[[str, str], None]) -> None:
    """A module whose file was edited after its import is taken as it is in memory."""
    module("nbcase_mod", "def k():\n    return 1\n")
    space = notebook("import nbcase_mod")
    module("nbcase_mod", "def k():\n    return 2\n")
    found = reach(["nbcase_mod"], space)
    assert "nbcase_mod" in changed_modules()
    assert fresh("nbcase_mod", "import nbcase_mod").parts != found.parts


LOCAL = {
    "code": ("nbcase_a", "def k(): return 1", "def k(): return 2", True),
    "comment": ("nbcase_a", "def k(): return 1", "# note\ndef k(): return 1", False),
    "constant": ("nbcase_a", "K = 1\ndef k(): return K", "K = 2\ndef k(): return K", True),
}


@pytest.mark.parametrize(("name", "one", "two", "changes"), LOCAL.values(), ids=LOCAL)
@pytest.mark.parametrize("cell", ["import nbcase_a as f", "from nbcase_a import k as f", "import nbcase_a\ndef f(): return nbcase_a.k()",
                                  "import nbcase_b as f", "def f():\n    import nbcase_b\n    return nbcase_b.j()"])  # fmt: skip
def test_local_modules(
    module: Callable[[str, str], None], cell: str, name: str, one: str, two: str, changes: bool
) -> None:
    """A local module counts however the code gets at it, through other local modules too."""
    module("nbcase_b", "import nbcase_a\ndef j(): return nbcase_a.k()")
    module(name, one)
    if "def f():\n    import" in cell:
        cell = f"import nbcase_b\n{cell}"
    before = fresh("f", cell)
    module(name, two)
    assert (fresh("f", cell).parts != before.parts) == changes


def test_module_state_counts(module: Callable[[str, str], None]) -> None:
    """A value that was set on a local module is part of what it reaches."""
    module("nbcase_a", "LIMIT = 1\ndef k(): return LIMIT")
    space = notebook("import nbcase_a")
    before = reach(["nbcase_a"], space)
    space["nbcase_a"].LIMIT = 2
    assert reach(["nbcase_a"], space).parts != before.parts


def test_not_yet_imported_module_counts(module: Callable[[str, str], None]) -> None:
    """A local module that a function will import counts before it is loaded."""
    cell = "def f():\n    import nbcase_a\n    return nbcase_a.k()"
    module("nbcase_a", "def k(): return 1")
    before = fresh("f", cell)
    module("nbcase_a", "def k(): return 2")
    assert fresh("f", cell).parts != before.parts


def test_installed_code_is_name_and_version() -> None:
    """Functions and classes of an installed package are not followed into it."""
    found = follow("pd f", "import pandas as pd, functools\nf = functools.partial(pd.concat, axis=1)")
    assert {p.kind for p in found.parts} == {"module", "global", "distribution"}
    assert len([p for p in found.parts if p.kind == "distribution"]) == 1


def test_in_memory_module() -> None:
    """Functions of a module without a file are followed like those of a notebook."""
    made = types.ModuleType("nbcase_made")
    exec("K = 1\ndef k(): return K", made.__dict__)
    before = fingerprint(functools.partial(made.k))
    made.K = 2  # type: ignore[attr-defined]
    assert fingerprint(functools.partial(made.k)) != before
