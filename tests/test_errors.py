"""The exception tree."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from prefect_nb import errors
from prefect_nb.errors import PrefectNBError, StoreFull, TaskTimeout, UsageError


def tree(cls: type[PrefectNBError], depth: int = 0) -> list[tuple[int, str]]:
    """The class and everything below it, indented, as the docstring draws it."""
    ours = [c for c in cls.__subclasses__() if c.__module__ == errors.__name__]
    return [(depth, cls.__name__), *(row for child in ours for row in tree(child, depth + 1))]


def drawn() -> list[tuple[int, str]]:
    rows = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ((?:│   |    )*)(├── |└── )?([A-Z]\w+)", line)
        if found:
            rows.append((len(found[1]) // 4 + bool(found[2]), found[3]))
    return rows


def test_the_drawn_tree_is_the_real_one() -> None:
    """The picture in the docstring shows each class under its parent, and every class is public."""
    assert sorted(drawn()) == sorted(tree(PrefectNBError))
    parents = {}
    path: list[str] = []
    for depth, name in drawn():
        path[depth:] = [name]
        parents[name] = path[depth - 1] if depth else "Exception"
    assert parents == {name: getattr(errors, name).__bases__[0].__name__ for _, name in tree(PrefectNBError)}
    assert sorted(errors.__all__) == sorted(name for _, name in drawn())


def test_the_hint_is_shown() -> None:
    """What happened, then what to do next on a line of its own."""
    assert str(UsageError("--retrys is unknown", hint="did you mean --retries?")) == (
        "--retrys is unknown\n  -> did you mean --retries?"
    )
    assert str(UsageError("--retrys is unknown")) == "--retrys is unknown"


CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
@pytest.mark.parametrize("twin", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))], ids=["copy", "pickle"])
def test_errors_travel(cls: type[PrefectNBError], twin: object) -> None:
    """Class, message, hint and parts survive a copy and a pickle, so that errors cross processes whole."""
    error = cls("the disk is full", hint="free some space", path="/tmp/x", need=7)
    back = twin(error)  # type: ignore[operator]
    assert type(back) is cls
    assert (str(back), back.path, back.need) == (str(error), "/tmp/x", 7)


def test_parts_are_attributes() -> None:
    """The parts of a message can be read by programs; others do not exist."""
    assert TaskTimeout("too long", limit=5.0).limit == 5.0
    with pytest.raises(AttributeError, match="place"):
        StoreFull("full").place
