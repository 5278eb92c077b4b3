"""The analyser agrees with every statement about names in the acceptance catalogue."""

from __future__ import annotations

import pytest
from cells.catalogue import Case, cases

FIELDS = ("reads", "writes", "defers", "deletes", "mutates")
STATED = [
    pytest.param(case, cell, field, id=f"{case.id}-{cell['id']}-{field}")
    for case in cases()
    for cell in case.cells
    for field in FIELDS
    if field in cell
]
SEEN_STATICALLY = {
    "STAR_IMPORT": lambda names: names.star_imports,
    "DYNAMIC_READ": lambda names: names.dynamic or names.history,
    "IMPURE_MAGIC": lambda names: names.impure_magics,
}


def test_the_catalogue_is_there() -> None:
    """The catalogue is loaded whole: an empty list of cases would prove nothing."""
    assert len(cases()) == 60
    assert len(STATED) >= 250


@pytest.mark.parametrize(("case", "cell", "field"), STATED)
def test_names_are_as_stated(case: Case, cell: dict[str, object], field: str) -> None:
    """A cell's names are exactly those that the catalogue states."""
    names = case.names()[str(cell["id"])]
    assert getattr(names, field) == set(cell[field])  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("case", "code"),
    [pytest.param(c, d, id=f"{c.id}-{d}") for c in cases() for d in c.data.get("diag", []) if d in SEEN_STATICALLY],
)
def test_what_static_analysis_cannot_see_is_said(case: Case, code: str) -> None:
    """Star imports, dynamic reads and impure magics are reported by at least one cell of the case."""
    assert any(SEEN_STATICALLY[code](names) for names in case.names().values())
