"""Notebooks that others wrote: where each one comes from, what is not comparable in it, and by which rules we compare.

None of them is in this repository. Those of the default environment lie in its packages; the others come with source
archives that ``pip`` downloads. A digest says that it is the notebook that was examined.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

__all__ = ["ALWAYS", "DOWNLOADED", "RULES", "RUNTIME", "Foreign", "cells_of", "shown", "with_first_cell"]


@dataclass(frozen=True, slots=True)
class Foreign:
    """One notebook.

    Parameters
    ----------
    package : str
        Distribution and version.
    path : str
        In the installed distribution, or in the source archive below its top folder.
    licence : str
        Of the distribution.
    sha256 : str
        Of the file.
    again : int
        How many of its tasks another run in a new kernel reuses at least.
    varies : mapping of int to str
        Code cells (from 0) that plain Jupyter itself shows differently every time, and why.
    resumed : mapping of int to str
        Code cells that show something else when what ran before them was put back after a kill, and why.
    """

    package: str
    path: str
    licence: str
    sha256: str
    again: int
    varies: Mapping[int, str] = field(default_factory=dict)
    resumed: Mapping[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Short and unique."""
        return f"{self.package.partition('==')[0]}-{Path(self.path).stem}"


_COUNTS = "control numbers its systems, and warns, once in a process; the first were made in cells that were put back"

ALWAYS: tuple[Foreign, ...] = (
    Foreign(
        "papermill==2.7.0",
        "papermill/tests/notebooks/simple_execute.ipynb",
        "BSD-3-Clause",
        "bee2e3a307ff7956bc376e72cb9f03db0fa82c8aca84ec91285cd460d1547816",
        again=2,
    ),
    Foreign(
        "papermill==2.7.0",
        "papermill/tests/notebooks/report_mode_test.ipynb",
        "BSD-3-Clause",
        "509793c0f746e4814dcf3786bf833c13b3ff0c2e58dccc1acb3c9661a388ef17",
        again=2,
    ),
    Foreign(
        "papermill==2.7.0",
        "papermill/tests/notebooks/line_magic_error.ipynb",
        "BSD-3-Clause",
        "80c17214554c7f1954496265db2bf48539ba0ba39109811f82c527d16c296fca",
        again=0,
    ),
)
"""Those that lie in packages of the default environment, so that every suite runs them."""

DOWNLOADED: tuple[Foreign, ...] = (
    Foreign(
        "nbclient==0.11.0",
        "tests/files/Clear Output.ipynb",
        "BSD-3-Clause",
        "4248aa5b36d9e312b10d2dafe3f59b62a1df3019318c49c89863b75d3b71e00f",
        again=11,
    ),
    Foreign(
        "nbclient==0.11.0",
        "tests/files/Factorials.ipynb",
        "BSD-3-Clause",
        "d480e18f4e4d4297e5c410dc20a1dced77fd75690a24c38425a0d8d2751e53c0",
        again=2,
    ),
    Foreign(
        "nbclient==0.11.0",
        "tests/files/SVG.ipynb",
        "BSD-3-Clause",
        "933bb49c7e9551e37fd696e68ca3d2bcc250cb2165985bd73e29c8bdef673511",
        again=1,
    ),
    Foreign(
        "nbclient==0.11.0",
        "tests/files/update-display-id.ipynb",
        "BSD-3-Clause",
        "967a9a63662a8e4d27b7e5d1c0415b3c0c67c74e9aef1da31b4d37a34fc54cb2",
        again=0,
    ),
    Foreign(
        "nbclient==0.11.0",
        "tests/files/Sleep1s.ipynb",
        "BSD-3-Clause",
        "2e20821e49c2b78519688fd6db9b3d305902ec3c517ab6ea25eaf2665830d729",
        again=0,
        varies={
            1: "from Python 3.12 on its warning names a file of this process",
            2: "prints the clock",
            3: "prints the clock",
        },
    ),
    Foreign(
        "nbclient==0.11.0",
        "tests/files/Empty Cell.ipynb",
        "BSD-3-Clause",
        "e6ed9a640e376a408b26cefb0928137ac860b991a5f20ea78477c319686163ac",
        again=0,
    ),
    Foreign(
        "nbconvert==7.17.2",
        "tests/files/notebook1.ipynb",
        "BSD-3-Clause",
        "dbf285d6967c16bbe40f03ec630bb71b2b2e4dc90de502a88919ad6a34b92cec",
        again=0,
    ),
    Foreign(
        "nbconvert==7.17.2",
        "tests/exporters/files/notebook2.ipynb",
        "BSD-3-Clause",
        "3ea2ac5e1673070cffa4edbd327baecff39a011453dd601e3c7b27d541749812",
        again=0,
        varies={6: "draws from a generator that nobody seeded"},
    ),
    Foreign(
        "nbconvert==7.17.2",
        "tests/exporters/files/rst_output.ipynb",
        "BSD-3-Clause",
        "73f5f1e3e44aaefd0550ec1367771a47e0f2226c84819c5eec0d45b877ec1e6e",
        again=0,
    ),
    Foreign(
        "seaborn==0.13.2",
        "doc/_tutorial/aesthetics.ipynb",
        "BSD-3-Clause",
        "05faa6356729d35468d94f01d6e620bc64410dd16f3446def45f4ac7ace525a1",
        again=12,
    ),
    Foreign(
        "seaborn==0.13.2",
        "doc/_tutorial/properties.ipynb",
        "BSD-3-Clause",
        "b8577f8ab2dc5e78b3d21823d38f708c9115cfd71e5c4669a81b037176ed4543",
        again=20,
    ),
    Foreign(
        "seaborn==0.13.2",
        "doc/_docstrings/color_palette.ipynb",
        "BSD-3-Clause",
        "db641890dfd2924de88dcef9620f99ad4a3e5b90066f471387a90d11e5008c1d",
        again=14,
    ),
    Foreign(
        "seaborn==0.13.2",
        "doc/_docstrings/set_theme.ipynb",
        "BSD-3-Clause",
        "4865bc694a5dca4ec3d6bc5977994dd7eeeb47266aff07fac9b4f1d5401a354c",
        again=6,
    ),
    Foreign(
        "seaborn==0.13.2",
        "doc/_docstrings/axes_style.ipynb",
        "BSD-3-Clause",
        "4b1227379c90ca954103bfc4c378660f49d25bbc5e4da426d1229e346e4e1349",
        again=3,
    ),
    Foreign(
        "seaborn==0.13.2",
        "doc/_docstrings/plotting_context.ipynb",
        "BSD-3-Clause",
        "1a1a69a915411f4f34f88307407b2b988c629242af2dae5729acb009fbdf18eb",
        again=3,
    ),
    Foreign(
        "seaborn==0.13.2",
        "doc/_docstrings/objects.Plot.config.ipynb",
        "BSD-3-Clause",
        "31fecbe094cc87258a94aad69ca8cb0bc9c3df4c0a7940d0163a50795a300d37",
        again=1,
    ),
    Foreign(
        "control==0.10.2",
        "examples/repr_gallery.ipynb",
        "BSD-3-Clause",
        "cf50fa34684727a7f9dd8c2715a2cd892aa19b69a86ee7acda2f34335bd5b7ec",
        again=0,
        resumed={11: "a library warns once in a process; its first warning was in a cell that was put back"},
    ),
    Foreign(
        "control==0.10.2",
        "examples/simulating_discrete_nonlinear.ipynb",
        "BSD-3-Clause",
        "dc24d3ec8a3a58616464a31014cad5a086d4f2502ca616b54f02f5a4f5613923",
        again=0,
        resumed=dict.fromkeys((5, 7, 8, 9, 10), _COUNTS),
    ),
    Foreign(
        "corner==2.3.0",
        "docs/pages/sigmas.ipynb",
        "BSD-2-Clause",
        "daa5e66d153e6287806494d7967f4c1e864e4073290fb8d34dbf28bf05fc70cd",
        again=0,
    ),
    Foreign(
        "lmfit==1.3.4",
        "examples/discuss_model_eval_uncertainty.ipynb",
        "BSD-3-Clause",
        "eea20f33925885c09d5bb605166df8138885be5d4bc06f0e3201a77058aef965",
        again=0,
        varies={
            7: "adds noise from a generator that nobody seeded",
            8: "adds noise from a generator that nobody seeded",
        },
    ),
)
"""Those in source archives; only the slow suite obtains them."""

RUNTIME: tuple[str, ...] = (
    "scipy",
    "sympy",
    "mpmath",
    "seaborn==0.13.2",
    "control==0.10.2",
    "corner==2.3.0",
    "lmfit==1.3.4",
    "uncertainties",
    "asteval",
    "dill",
)
"""What they import beyond the default environment."""

RULES: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("addresses in the memory", re.compile(r"\b0x[0-9a-f]{6,}\b"), "0x0"),
    ("colours of a traceback", re.compile(r"\x1b\[[0-9;]*m"), ""),
    ("the number of a cell in a traceback", re.compile(r"\bIn ?\[\d+\]"), "In[n]"),
)
"""What plain Jupyter itself varies; also, execution counts are left out, and neighbouring texts of a stream are one."""

_NOTE = re.compile(r"c\d+: (from cache|finished before the restart), |ran upstream: c\d+$")


def cells_of(path: Path) -> NotebookNode:
    """Its code cells that have code, as a notebook of the present format without outputs."""
    notebook = nbformat.v4.upgrade(nbformat.read(path, as_version=4))
    notebook.cells = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.outputs, cell.execution_count = f"c{number}", [], None
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    return notebook


def with_first_cell(notebook: NotebookNode, first: str, *, marked: bool) -> NotebookNode:
    """The notebook after a cell of ours; every cell has a header, which is a comment to plain Jupyter.

    Without `marked` a cell that begins with a magic has none: plain Jupyter wants the magic in its first line.
    """
    made = copy.deepcopy(notebook)
    for number, cell in enumerate(made.cells):
        if marked or not cell.source.lstrip().startswith("%%"):
            cell.source = f"#| task: c{number}\n{cell.source}"
    made.cells.insert(0, nbformat.v4.new_code_cell(first, id="first"))
    return made


def shown(cell: NotebookNode) -> list[str]:
    """What a cell shows, by the rules; our own notes are left out."""
    found: list[dict[str, Any]] = []
    for output in cell.outputs:
        plain = json.loads(json.dumps(output))
        plain.pop("execution_count", None)
        if _NOTE.match(str(plain.get("data", {}).get("text/plain", ""))):
            continue
        last = found[-1] if found else {}
        if plain["output_type"] == "stream" and last.get("name") == plain["name"]:
            last["text"] += plain["text"]
        else:
            found.append(plain)
    return [
        _normal(json.dumps(output, sort_keys=True, ensure_ascii=False).replace("\\u001b", "\x1b")) for output in found
    ]


def _normal(text: str) -> str:
    for _, pattern, instead in RULES:
        text = pattern.sub(instead, text)
    return text
