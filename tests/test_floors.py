"""The laws of the house hold for `prefect_nb`, and each law catches the fault that it is there for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from floors import LAWS, Tree, check

PACKAGE = Path(__file__).parent.parent / "prefect_nb"

HEAVY = {
    *(
        "anywidget",
        "click",
        "distributed",
        "graphviz",
        "ipywidgets",
        "jsonschema",
        "nbformat",
        "numpy",
        "pandas",
        "papermill",
    ),
    *("pyarrow", "pydantic", "requests", "rich", "sqlalchemy", "matplotlib", "nbclient", "polars", "torch"),
}

LONG = "\n".join(f"    x = {n}" for n in range(60))

FAULTS = {
    "up": ("floors", "imports engine.b", {"core/a.py": "from prefect_nb.engine import b"}),
    "up by a relative import": ("floors", "imports engine.b", {"core/a.py": "from ..engine import b"}),
    "up, for type checkers only": (
        "floors",
        "imports engine.b",
        {"core/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from prefect_nb.engine.b import B"},
    ),
    "up, inside a function": ("floors", "imports engine.b", {"core/a.py": "def f():\n    import prefect_nb.engine.b"}),
    "up, by name": (
        "floors",
        "imports engine.b",
        {"core/a.py": "def f():\n    return import_module('prefect_nb.engine.b')"},
    ),
    "a neighbour": ("floors", "imports results.b", {"stores/a.py": "from prefect_nb.results import b"}),
    "the front door": ("floors", "imports prefect_nb,", {"engine/a.py": "from prefect_nb import task"}),
    "kept apart": ("floors", "kept apart", {"engine/a.py": "from prefect_nb.stores.sqlite import Sqlite"}),
    "one module kept apart": ("floors", "kept apart", {"apps/a.py": "from prefect_nb.core.machine import step"}),
    "a room without a floor": ("floors", "no floor", {"attic.py": ""}),
    "a cycle of two": (
        "cycles",
        "core.b",
        {"core/a.py": "from prefect_nb.core import b", "core/b.py": "from prefect_nb.core import a"},
    ),
    "a cycle hidden in a function": (
        "cycles",
        "core.b",
        {"core/a.py": "from prefect_nb.core.b import f", "core/b.py": "def f():\n    from prefect_nb.core.a import g"},
    ),
    "a clock in core": ("foreign", "time", {"core/a.py": "from time import monotonic"}),
    "a third party in core": ("foreign", "numpy", {"core/a.py": "def f():\n    import numpy"}),
    "a file in core": ("foreign", "open()", {"core/a.py": "def f():\n    return open('x')"}),
    "IPython in analysis": ("foreign", "IPython", {"analysis/a.py": "from IPython.core import magic"}),
    "an import inside a function": (
        "hidden",
        "core.machine",
        {"engine/a.py": "def f():\n    from prefect_nb.core import machine"},
    ),
    "a long module": ("sizes", "at most 350", {"core/a.py": "x = 1\n" * 351}),
    "a long function": ("sizes", "f has 61 lines", {"core/a.py": f"def f():\n{LONG}"}),
    "a long method": (
        "sizes",
        "f has 61 lines",
        {"core/a.py": f"class A:\n  async def f(self):\n{LONG}"},
    ),
    "nine parameters": ("sizes", "9 parameters", {"core/a.py": "def f(a, b, c, d, /, e, f, *g, h, **i): ..."}),
    "a wide class": (
        "sizes",
        "21 public methods",
        {"core/a.py": "class A:\n" + "".join(f"    def f{n}(self): ...\n" for n in range(21))},
    ),
    "no docstring": ("manners", "no docstring", {"core/a.py": "__all__ = []"}),
    "no __all__": ("manners", "no __all__", {"core/a.py": '"""A room."""\nx = 1'}),
    "a busy front door": ("manners", "only re-exports", {"core/__init__.py": '"""A floor."""\nx = 1'}),
    "a wide front door": (
        "manners",
        "21 names",
        {"__init__.py": f'"""A house."""\n__all__ = {["x"] * 21}'},
    ),
    "a call at import": ("work", "core.a:3", {"core/a.py": "register(1)"}),
    "a loop at import": ("work", "core.a:3", {"core/a.py": "for x in range(3):\n    pass"}),
}

HOUSE = (
    *("errors.py", "core/machine.py", "stores/sqlite.py", "results/b.py", "engine/b.py"),
    *("__init__.py", "core/__init__.py", "stores/__init__.py", "results/__init__.py", "engine/__init__.py"),
)


def build(root: Path, files: dict[str, str]) -> Path:
    """A small lawful package but for what `files` bring; a body without a docstring gets the lawful first lines."""
    root = root / "prefect_nb"
    for name, body in (dict.fromkeys(HOUSE, "x = 1") | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if body == "x = 1" and path.name == "__init__.py":
            body = '"""A floor."""\n__all__ = []'
        verbatim = body.startswith(('"""', "__all__"))
        path.write_text(body if verbatim else f'"""A room."""\n__all__ = []\n{body}\n')
    return root


@pytest.fixture(scope="module")
def tree() -> Tree:
    """The package as it is, parsed once."""
    return Tree(PACKAGE)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_package_keeps_the_law(tree, law):
    """No module of `prefect_nb` breaks this law."""
    assert check(tree, [law]) == []


def test_a_lawful_tree_has_no_faults(tmp_path):
    """Downward imports, eight parameters and `self`, and front doors that re-export are all lawful."""
    files = {
        "engine/a.py": "from prefect_nb.core.machine import f\nfrom . import b",
        "engine/c.py": "class A(NodeVisitor):\n    def f(self, a, b, c, d, e, f, g, h): ...",
        "core/__init__.py": '"""A floor."""\nfrom prefect_nb.core.machine import f\n__all__ = ["f"]',
        "wiring.py": "from prefect_nb.stores.sqlite import S\nfrom prefect_nb.engine import a",
        "stores/b.py": "import sqlite3\nfrom prefect_nb.stores import sqlite",
        "analysis/a.py": "class A:\n" + "".join(f"    def visit_{n}(self): ...\n" for n in range(20)),
    }
    assert check(Tree(build(tmp_path, files))) == []


@pytest.mark.parametrize(("law", "words", "files"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_caught(tmp_path, law, words, files):
    """One deliberate fault in a lawful tree is reported once by the law that forbids it, in words that name it."""
    faults = [fault for fault in check(Tree(build(tmp_path, files))) if fault.startswith(f"{law}: ")]
    assert [words in fault for fault in faults] == [True], faults


KERNEL = """
import json, os, sys
import ipykernel.kernelapp, ipykernel.zmqshell
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before, files = set(sys.modules), set(os.listdir("."))
shell.run_line_magic("load_ext", "prefect_nb")
new = {name.partition(".")[0] for name in set(sys.modules) - before}
loaded = "prefect_nb" in shell.extension_manager.loaded
print(json.dumps({"new": sorted(new), "files": sorted(set(os.listdir(".")) - files), "loaded": loaded}))
"""


def test_loading_the_extension_is_light_and_silent(tmp_path):
    """`%load_ext prefect_nb` in a process that is a kernel already loads no heavy module, prints and writes nothing."""
    path = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    own = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}  # IPython warns of another's
    done = subprocess.run(
        [sys.executable, "-c", KERNEL],
        cwd=tmp_path,
        env={**own, "PYTHONPATH": path, "IPYTHONDIR": str(tmp_path / "ipython")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *printed, last = done.stdout.splitlines()
    found = json.loads(last)
    assert (printed, done.stderr, found["files"], found["loaded"]) == ([], "", [], True)
    assert HEAVY.isdisjoint(found["new"]), HEAVY & set(found["new"])
