"""The persistent mapping, against a dict."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_nb.core.table import Table


@given(st.lists(st.tuples(st.integers(-2000, 2000) | st.text(max_size=3), st.integers()), max_size=80))
def test_it_is_a_dict_that_keeps_its_past(puts: list[tuple[object, int]]) -> None:
    """After every put it equals the dict, in order and size, and every earlier table is as it was."""
    table: Table[object, int] = Table()
    model: dict[object, int] = {}
    past = []
    for key, value in puts:
        past.append((table, dict(model)))
        table, model = table.put(key, value), {**model, key: value}
        assert table[key] == value
    assert (list(table.items()), len(table)) == (list(model.items()), len(model))
    for old, then in past:
        assert list(old.items()) == list(then.items())
        assert all((key in old) == (key in then) and old.get(key) == then.get(key) for key in model)


def test_what_is_missing() -> None:
    """A missing key is a KeyError, or the default."""
    table: Table[str, int] = Table()
    with pytest.raises(KeyError):
        table["a"]
    assert (table.get("a"), table.get("a", 3), "a" in table) == (None, 3, False)


def test_equality_is_by_content() -> None:
    """Two tables with the same pairs are equal, whatever their order; nothing else is equal to a table."""
    a, b = Table[str, int]().put("x", 1).put("y", 2), Table[str, int]().put("y", 2).put("x", 1)
    assert a == b
    assert a != b.put("y", 3)
    assert a != {"x": 1, "y": 2}


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies(twin: object) -> None:
    """Copies and pickles are equal and keep the order."""
    table = Table[str, int]().put("b", 1).put("a", 2)
    assert list(twin(table).items()) == [("b", 1), ("a", 2)]  # type: ignore[operator]


def test_two_futures_of_one_table() -> None:
    """Both of two tables made from one are right, whichever is continued, and the common past knows neither's keys."""
    past = Table[int, int]()
    for key in range(70):
        past = past.put(key, key)
    one, two = past.put(100, 1), past.put(200, 2)
    one, two = one.put(101, 3).put(5, 50), two.put(201, 4)
    assert list(past.items()) == [(k, k) for k in range(70)]
    assert list(one)[70:] == [100, 101]
    assert list(two.items())[70:] == [(200, 2), (201, 4)]
    assert (one[5], two[5], 200 in one, 100 in two, past.get(100)) == (50, 5, False, False, None)
    with pytest.raises(KeyError):
        past[100]


@given(st.lists(st.tuples(st.integers(0, 300), st.integers()), max_size=200), st.integers(0, 200))
def test_what_is_unlike(puts: list[tuple[int, int]], at: int) -> None:
    """Between two versions exactly the values differ that were put since; between strangers all of them do."""
    table = old = Table[int, list[int]]()
    for number, (key, value) in enumerate(puts):
        old = table if number == min(at, len(puts) - 1) else old
        table = table.put(key, [value])
    since = {key for key, value in table.items() if old.get(key) is not value}
    assert [id(v) for v in table.unlike(old)] == [id(v) for k, v in table.items() if k in since]
    strange = Table[int, list[int]]()
    for key, value in table.items():
        strange = strange.put(key, value)
    assert table.unlike(strange) == list(table.values())
