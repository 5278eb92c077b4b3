"""Parameters are read from annotations, and every value that does not fit is refused by name, all at once."""

from __future__ import annotations

import ast
from datetime import date, datetime

import pytest
from hostile import HOSTILE

from prefect_nb.apps.inject import prove, written
from prefect_nb.apps.params import Text, declared, plain, settle
from prefect_nb.errors import NotebookError, ParameterError

NONE = object()

TEXTS = [
    # annotation or default, what was typed, what it means (NONE: refused)
    ("x: int = 1", "5", 5),
    ("x: int = 1", "-5", -5),
    ("x: int = 1", "1_000", 1000),
    ("x: int = 1", "5.0", NONE),
    ("x: int = 1", "five", NONE),
    ("x: int = 1", "", NONE),
    ("x: int", "5", 5),
    ("x: float = 1.0", "5", 5.0),
    ("x: float = 1.0", "1e-3", 0.001),
    ("x: float = 1.0", "nan", NONE),
    ("x: float = 1.0", "inf", NONE),
    ("x: bool = True", "false", False),
    ("x: bool = True", "Yes", True),
    ("x: bool = True", "0", False),
    ("x: bool = True", "2", NONE),
    ("x: str = 'a'", "007", "007"),
    ("x: str = 'a'", "None", "None"),
    ("x: str = 'a'", "", ""),
    ("x: list = []", "[1, 2]", [1, 2]),
    ("x: list[int] = []", "[1, 2]", [1, 2]),
    ("x: list[int] = []", "[1, a]", NONE),
    ("x: list[float] = []", "[1]", [1.0]),
    ("x: list[int] = []", "7", NONE),
    ("x: list[int] = []", "[1, 2", NONE),
    ("x: typing.List[str] = []", "- a\n- b", ["a", "b"]),
    ("x: dict = {}", '{"a": 1}', {"a": 1}),
    ("x: dict[str, int] = {}", "a: 1", {"a": 1}),
    ("x: dict[str, int] = {}", "{a: b}", NONE),
    ("x: dict = {}", "{1: 2}", NONE),
    ("x: date = None", "2024-03-01", date(2024, 3, 1)),
    ("x: datetime.date = None", "2024-03-01", date(2024, 3, 1)),
    ("x: date = None", "yesterday", NONE),
    ("x: datetime = None", "2024-03-01T08:30", datetime(2024, 3, 1, 8, 30)),
    ("x: Literal['a', 'b'] = 'a'", "b", "b"),
    ("x: Literal['a', 'b'] = 'a'", "c", NONE),
    ("x: Literal[1, 2] = 1", "2", 2),
    ("x: Optional[int] = None", "None", None),
    ("x: Optional[int] = None", "5", 5),
    ("x: Optional[int] = None", "x", NONE),
    ("x: int | None = None", "null", None),
    ("x: 'int | None' = None", "7", 7),
    ("x: int | str = 1", "7", 7),
    ("x: int | str = 1", "seven", "seven"),
    ("x: bool | int = 1", "1", 1),
    ("x: Union[float, None] = 1", "1", 1.0),
    ("x: Annotated[int, 'unit'] = 1", "2", 2),
    ("x: tuple[int, int] = (1, 2)", "[1, 2]", NONE),
    ("x: bytes = b''", "a", NONE),
    ("x: pd.Timestamp = None", "2024", 2024),
    ("x = 1", "2", 2),
    ("x = 1", "0.5", 0.5),
    ("x = 1", "abc", NONE),
    ("x = -1.5", "2", 2.0),
    ("x = True", "no", False),
    ("x = True", "abc", NONE),
    ("x = 'a'", "2013", "2013"),
    ("x = []", "[1]", [1]),
    ("x = {}", "[1]", NONE),
    ("x = None", "2013", 2013),
    ("x = None", "True", True),
    ("x = None", "abc", "abc"),
    ("x = date(2013, 1, 1)", "2014-02-03", date(2014, 2, 3)),
    ("x = some_call()", "1.5", 1.5),
]


@pytest.mark.parametrize(("line", "text", "value"), TEXTS)
def test_typed_text_means_what_the_parameter_says(line, text, value):
    """A value typed in a shell becomes one of the parameter's type, or is refused by the parameter's name."""
    known = declared(line)
    if value is NONE:
        with pytest.raises(ParameterError, match=r"\bx: "):
            settle(known, {"x": Text(text)}, "n.ipynb")
        return
    found = settle(known, {"x": Text(text)}, "n.ipynb")["x"]
    assert (found, type(found)) == (value, type(value))


VALUES = [
    ("x: int = 1", 5, 5),
    ("x: int = 1", True, NONE),
    ("x: int = 1", "5", NONE),
    ("x: float = 1.0", 5, 5.0),
    ("x: str = ''", 5, NONE),
    ("x: date = None", "2024-03-01", date(2024, 3, 1)),
    ("x: Literal[1] = 1", True, NONE),
    ("x: Optional[list[int]] = None", [1], [1]),
    ("x: Optional[list[int]] = None", ["a"], NONE),
    ("x = None", b"a", NONE),
    ("x = None", {1, 2}, NONE),
    ("x = None", (1, 2), NONE),
    ("x = None", {1: 2}, NONE),
    ("x = None", [float("inf")], NONE),
    ("x = None", object(), NONE),
]


@pytest.mark.parametrize(("line", "given", "value"), VALUES)
def test_values_from_a_file_are_checked_too(line, given, value):
    """A value that was not typed but read must have the parameter's type already, and be something JSON can hold."""
    known = declared(line)
    if value is NONE:
        with pytest.raises(ParameterError, match=r"\bx: "):
            settle(known, {"x": given}, "n.ipynb")
        return
    found = settle(known, {"x": given}, "n.ipynb")["x"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("name", ["class", "None", "a b", "a\nimport os", "__name__", "1x", "", "x.y", "x;y"])
def test_only_names_may_be_set(name):
    """Keywords, dunders and everything that is no identifier are refused, even if somebody declared it."""
    known = declared("x = 1") | {name: declared("x = 1")["x"]}
    with pytest.raises(ParameterError):
        settle(known, {name: 1}, "n.ipynb")


def test_all_problems_are_told_at_once():
    """Unknown, ill-typed and missing parameters come in one error that proposes the nearest name and lists all."""
    known = declared("region: str = 'EU'\nn: int = 3\nday: date")
    with pytest.raises(ParameterError) as caught:
        settle(known, {"regoin": Text("US"), "n": Text("x")}, "n.ipynb")
    assert "'regoin' is unknown (did you mean 'region'?)" in caught.value.message
    assert "n: 'x' is not an int" in caught.value.message
    assert "day: has no default" in caught.value.message
    assert caught.value.hint == "its parameters: region: str = 'EU', n: int = 3, day: date"


def test_a_notebook_without_parameters_takes_none():
    """Where no cell is tagged, every parameter is unknown and the hint says how to declare one."""
    with pytest.raises(ParameterError, match="tag a cell"):
        settle(declared(""), {"x": Text("1")}, "n.ipynb")


def test_the_cell_may_hold_more_than_parameters():
    """Magics, imports, comments and calls in the parameters cell are passed over; broken Python is named."""
    known = declared("%matplotlib inline\nimport os  # x\n# y = 1\na = b = 1\nprint(a)\n!ls\nc: int = 2")
    assert list(known) == ["a", "b", "c"]
    with pytest.raises(NotebookError, match=r"parameters cell of n\.ipynb is not Python"):
        declared("x = (", "n.ipynb")


@pytest.mark.parametrize("value", HOSTILE)
def test_what_is_injected_only_assigns_the_value(value):
    """Whatever the text, the injected cell is one assignment of a literal that reads back as the same value."""
    source = written({"x": value}, "python3")
    tree = ast.parse(source)
    assert [type(node) for node in tree.body] == [ast.Assign]
    assert ast.literal_eval(tree.body[0].value) == value


def test_dates_become_dates():
    """A date is injected as a date, and recorded as text."""
    values = {"day": date(2024, 3, 1), "at": datetime(2024, 3, 1, 8), "n": 1}
    space: dict[str, object] = {}
    exec(written(values, "python3"), space)
    assert {name: space[name] for name in values} == values
    assert plain(values) == {"day": "2024-03-01", "at": "2024-03-01T08:00:00", "n": 1}


@pytest.mark.parametrize(
    "source",
    [
        "x = 2",
        "x = 1\ny = 1",
        "x = print(1)",
        "x = 1; import os",
        "x: int = 1",
        "x = __import__('os').system('ls')",
        "x = (",
    ],
)
def test_a_cell_that_does_anything_else_is_refused(source):
    """The proof accepts exactly one literal assignment for each value."""
    with pytest.raises(ParameterError, match="safely"):
        prove(source, {"x": 1})


def test_nothing_unproven_is_written():
    """Even a name that nobody checked cannot carry code into the injected cell."""
    with pytest.raises(ParameterError, match="safely"):
        written({"import os\nx": 1}, "python3")
