"""The acceptance catalogue as data: every case of ``cell-cases.md``, its cells transformed as IPython would."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

from prefect_nb.analysis.names import BUILTINS, Names, analyze

__all__ = ["Case", "cases"]

_FILE = Path(__file__).with_name("cell-cases.md")
_BLOCK = re.compile(r"^```toml\n(.*?)^```", re.S | re.M)


@dataclass(frozen=True)
class Case:
    """One small notebook with what is expected of it."""

    id: str
    name: str
    data: dict[str, Any]

    @property
    def cells(self) -> list[dict[str, Any]]:
        return list(self.data["cells"])

    def names(self) -> dict[str, Names]:
        """Cell id -> its names; builtins that some cell of the case binds are ordinary names."""
        transform = TransformerManager().transform_cell
        sources = {cell["id"]: transform(cell["src"]) for cell in self.cells}
        bound = frozenset[str]().union(*(analyze(source).writes for source in sources.values()))
        return {key: analyze(source, builtins=BUILTINS - bound) for key, source in sources.items()}


def cases() -> list[Case]:
    """Every case of the catalogue, in its order."""
    blocks = [tomllib.loads(block) for block in _BLOCK.findall(_FILE.read_text(encoding="utf-8"))]
    return [Case(block["id"], block["name"], block) for block in blocks]
