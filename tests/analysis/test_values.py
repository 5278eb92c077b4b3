"""Fingerprints: equal values agree everywhere, different values never do, and what has none says where."""

# ruff: noqa: E501  (tables read best with one case a line)
from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import functools
import io
import pathlib
import random
import re
import subprocess
import sys
import threading
import types
import uuid
import zoneinfo
from dataclasses import dataclass
from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from prefect_nb.analysis.values import Memo, fingerprint, is_immutable, register, size_of
from prefect_nb.errors import Unhashable


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Point(NamedTuple):
    x: int


class MyInt(int):
    pass


class MyDict(dict):
    pass


class Slotted:
    __slots__ = ("a",)

    def __init__(self, a: Any) -> None:
        self.a = a


class Plain:
    def __init__(self, a: Any) -> None:
        self.a = a


class Other:
    def __init__(self, a: Any) -> None:
        self.a = a


@dataclass
class Data:
    a: Any


DISTINCT = [
    1, True, 1.0, "1", (1,), [1], b"1", {1}, frozenset({1}), {1: 1}, None, 1j, bytearray(b"1"), memoryview(b"1"),
    np.int64(1), np.float64(1), np.int32(1), np.array([1]), np.array(1), np.array([1.0]), np.array([[1]]),
    pd.Series([1]), pd.Series([1], name="a"), pd.Index([1]), pd.DataFrame([1]), pd.Series(["1"]), pd.Series([1], dtype="Int64"),
    pd.Categorical([1]), pd.Timestamp(1), pd.NaT, pd.NA, pd.RangeIndex(1, 2),
    MyInt(1), Level.LOW, Colour.RED, Point(1), MyDict({1: 1}), Slotted(1), Plain(1), Other(1), Data(1),
    types.SimpleNamespace(a=1), collections.deque([1]), collections.deque([1], 3), collections.OrderedDict({1: 1}),
    collections.Counter({1: 1}), collections.defaultdict(int, {1: 1}), range(1), slice(1), decimal.Decimal("1"),
    decimal.Decimal("1.0"), fractions.Fraction(1), uuid.UUID(int=1), pathlib.PurePosixPath("1"), re.compile("1"),
    re.compile("1", re.I), datetime.date(1, 1, 1), datetime.time(1), datetime.timedelta(1), datetime.datetime(1, 1, 1),
    datetime.datetime(1, 1, 1, tzinfo=datetime.UTC), datetime.datetime(1, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    int, float, Plain, Other, len, print, np, pd, np.sum, np.add, functools.partial(int, 1), functools.partial(int, 2),
    Plain(1).__init__, [].append, random.Random(1), random.Random(2), np.random.default_rng(1), Exception(1), ValueError(1),
    io.BytesIO(b"1"), io.StringIO("1"), ..., NotImplemented, -0.0, 0.0, float("nan"), "nan", "", b"", (), [], {}, set(),
    ["a", "b"], ["ab"], ["a\0b"], "a\0b", [["a"], "b"], [["a", "b"]], 2**70, -(2**70), list[int], int | str,
    ["x"] * 20, ["x"] * 19 + ["x\0"], ["\0"] + ["x"] * 19, [1] * 20, [1.0] * 20, [True] * 20, (1,) * 20, [2**80] * 20,
    np.array(["a", None], dtype=object), np.array(["a", np.nan], dtype=object), np.array(["a", "None"], dtype=object),
    np.array([1, 2], dtype=[("a", "i4")][0][1]), np.zeros(1, dtype=[("a", "i4"), ("b", "f8")]),
    np.ma.array([1, 2], mask=[0, 1]), pd.Series([1.5], dtype="Float64"), pd.Series([True], dtype="boolean"),
]  # fmt: skip


def test_all_different() -> None:
    """No two of these values share a fingerprint."""
    seen: dict[str, Any] = {}
    for value in DISTINCT:
        mark = fingerprint(value)
        assert re.fullmatch(r"b3-[0-9a-f]{40}", mark)
        assert mark not in seen, (value, seen.get(mark))
        seen[mark] = value


nan_array = np.array([1.0, np.nan])
EQUAL = [
    (float("nan"), -float("nan")),
    ([float("nan")], [np.nan]),
    ({"a", "b", "c"}, {"c", "b", "a"}),
    (np.asfortranarray(np.arange(6).reshape(2, 3)), np.arange(6).reshape(2, 3)),
    (np.arange(10)[::2], np.array([0, 2, 4, 6, 8])),
    (nan_array, np.array([1.0, -np.nan])),
    (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 9], mask=[0, 1])),
    (pd.array([1, None], dtype="Int64"), pd.array([1, pd.NA], dtype="Int64")),
    (Plain([1, 2]), Plain([1, 2])),
    (Slotted({"a": 1}), Slotted({"a": 1})),
    (np.random.default_rng(3), np.random.default_rng(3)),
    (random.Random(3), random.Random(3)),
    (pd.MultiIndex.from_product([["a"], [1, 2]]), pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])),
]


@pytest.mark.parametrize(("one", "two"), EQUAL, ids=lambda v: type(v).__name__)
def test_equal(one: Any, two: Any) -> None:
    """What means the same has the same fingerprint."""
    assert fingerprint(one) == fingerprint(two)


def test_sharing_does_not_count() -> None:
    """A list that holds one object twice equals a list that holds two equal objects."""
    inner = [1]
    assert fingerprint([inner, inner]) == fingerprint([[1], [1]])


def test_order_of_dicts_counts() -> None:
    """Dictionaries in another order differ; an instance's attributes in another order do not."""
    assert fingerprint({"a": 1, "b": 2}) != fingerprint({"b": 2, "a": 1})
    one, two = types.SimpleNamespace(a=1, b=2), types.SimpleNamespace(b=2, a=1)
    assert fingerprint(one) == fingerprint(two)


def test_cycles() -> None:
    """Values that contain themselves have a fingerprint that depends on their content."""

    def loop(n: int) -> list[Any]:
        out: list[Any] = [n]
        out.append(out)
        return out

    assert fingerprint(loop(1)) == fingerprint(loop(1))
    assert fingerprint(loop(1)) != fingerprint(loop(2))
    a, b = Plain(1), Plain(2)
    a.peer, b.peer = b, a  # type: ignore[attr-defined]
    assert fingerprint([a, b]) != fingerprint([b, a])


def test_shared_structure_is_walked_once() -> None:
    """Forty levels of doubled sharing finish at once."""
    value: list[Any] = []
    for _ in range(40):
        value = [value, value]
    assert fingerprint(value)


def test_block_layout_does_not_count() -> None:
    """Equal frames have equal fingerprints however pandas stores their columns."""
    whole = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "s": ["x", None]})
    pieces = pd.DataFrame({"a": [1.0, 2.0]})
    pieces["b"] = [3.0, 4.0]
    pieces["s"] = ["x", None]
    joined = pd.concat([whole[["a"]], whole[["b", "s"]]], axis=1)
    assert fingerprint(whole) == fingerprint(pieces) == fingerprint(joined)


FRAME_CHANGES = {
    "value": lambda d: d.assign(a=[1.0, 9.0]),
    "column name": lambda d: d.rename(columns={"a": "z"}),
    "column order": lambda d: d[["b", "a"]],
    "index": lambda d: d.set_axis([5, 6]),
    "index name": lambda d: d.rename_axis("i"),
    "dtype": lambda d: d.astype({"a": "float32"}),
    "string": lambda d: d.assign(b=["x", "z"]),
    "string dtype": lambda d: d.astype({"b": object}),
    "category": lambda d: d.astype({"b": "category"}),
    "row order": lambda d: d.iloc[::-1],
    "missing": lambda d: d.assign(b=["x", None]),
    "text of missing": lambda d: d.assign(b=["x", "nan"]),
}


@pytest.mark.parametrize("change", FRAME_CHANGES.values(), ids=FRAME_CHANGES)
def test_frame_changes(change: Any) -> None:
    """Every visible change of a frame changes its fingerprint."""
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    assert fingerprint(frame) == fingerprint(frame.copy())
    assert fingerprint(change(frame)) != fingerprint(frame)


def test_attrs_and_zones_count() -> None:
    """Attributes of a frame and the zone of its times belong to it."""
    frame = pd.DataFrame({"t": pd.to_datetime(["2020-01-01"])})
    marked = frame.copy()
    marked.attrs["unit"] = "s"
    zoned = frame.assign(t=frame.t.dt.tz_localize("UTC"))
    berlin = frame.assign(t=zoned.t.dt.tz_convert("Europe/Berlin"))
    assert len({fingerprint(f) for f in (frame, marked, zoned, berlin)}) == 4


def test_long_object_columns() -> None:
    """Strings in object columns are told apart, with holes of each kind in them."""
    base = [f"s{i}" for i in range(100)]
    variants = [base, [*base[:-1], None], [*base[:-1], float("nan")], [*base[:-1], ""], [*base[:-1], "a\0b"]]
    marks = {fingerprint(np.array(v, dtype=object)) for v in variants}
    assert len(marks) == len(variants)


HANDLES = {
    "lock": (lambda: Plain({"k": [1, threading.Lock()]}), "value.a['k'][1]"),
    "generator": (lambda: [(i for i in ())], "value[0]"),
    "iterator": (lambda: {"it": iter([])}, "value['it']"),
    "file": (lambda: (1, sys.__stdin__), "value[1]"),
    "object": (lambda: Data(object()), "value.a"),
    "frame column": (lambda: pd.DataFrame({"c": [threading.Lock()]}), "value['c'][0]"),
}


@pytest.mark.parametrize(("make", "path"), HANDLES.values(), ids=HANDLES)
def test_unhashable_names_the_path(make: Any, path: str) -> None:
    """What has no fingerprint is refused with the path to the part at fault."""
    with pytest.raises(Unhashable) as caught:
        fingerprint(make())
    assert caught.value.path == path
    assert caught.value.hint


def test_deep_values_do_not_crash() -> None:
    """A value nested deeper than the interpreter allows is refused, not fatal."""
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Unhashable, match="deep"):
        fingerprint(value)
    while value:  # taken apart by hand, because freeing it recursively is as deep
        value = value.pop()


SCRIPT = """
import collections, datetime, enum, decimal
import numpy as np, pandas as pd
from prefect_nb.analysis.values import fingerprint
class E(enum.Enum):
    A = "a"
class P:
    tags = {"x", "y", "z"}
    def __init__(self): self.s = {"one", "two", "three"}
    def m(self): return len(self.s)
def f(x, y={"p", "q", "r"}): return x in {"a", "b", "c"} and y
values = [{"a", "b", "c", "d"}, frozenset("xyz"), P(), P, f, {"k": {1, "1", 1.0}}, E.A, np.arange(5), collections.Counter("aab"),
          pd.DataFrame({"a": ["x", None], "b": [1.0, 2.0]}), datetime.timedelta(3), decimal.Decimal("1.10"), len, np.mean]
print(*[fingerprint(v) for v in values])
"""


def test_equal_in_every_process() -> None:
    """Three hash seeds give the same fingerprints, for sets and for what holds them too."""
    root = pathlib.Path(__file__).parents[2]
    marks = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(marks) == 1


atoms = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals() | st.dates()
hashable = st.none() | st.booleans() | st.integers() | st.text() | st.binary()
nested = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(hashable, inner) | st.frozensets(hashable)
    ),
    max_leaves=20,
)


def twin(value: Any) -> Any:
    """An equal value made of new objects."""
    if isinstance(value, dict):
        return {twin(k): twin(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([twin(v) for v in value])
    if isinstance(value, frozenset):
        return frozenset(sorted(value, key=repr, reverse=True))
    if isinstance(value, str):
        return "".join(list(value))
    return value


@settings(max_examples=150, deadline=None)
@given(nested)
def test_equal_values_agree(value: Any) -> None:
    """A value and its twin of new objects have the same fingerprint."""
    assert fingerprint(value) == fingerprint(twin(value))


def key(value: Any) -> Any:
    """What distinguishes a value, types included."""
    if isinstance(value, dict):
        return ("dict", tuple((key(k), key(v)) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return (type(value).__name__, tuple(map(key, value)))
    if isinstance(value, frozenset):
        return ("frozenset", tuple(sorted(map(repr, map(key, value)))))
    return (type(value).__name__, repr(value))


@settings(max_examples=150, deadline=None)
@given(nested, nested)
def test_different_values_differ(one: Any, two: Any) -> None:
    """Two values have one fingerprint exactly if type and content agree all the way down."""
    same = re.sub("-nan|sNaN", "nan", repr(key(one))) == re.sub("-nan|sNaN", "nan", repr(key(two)))
    assert (fingerprint(one) == fingerprint(two)) == same


def test_memo_is_sound() -> None:
    """A memo remembers what cannot change and never what can."""
    memo = Memo(size=4)
    frozen = tuple(range(1000))
    assert fingerprint(frozen, memo) == fingerprint(frozen, memo) == fingerprint(frozen)
    assert len(memo) == 1
    array = np.zeros(10_000)
    before = fingerprint(array, memo)
    array.flags.writeable = False
    assert fingerprint(array, memo) == before
    array.flags.writeable = True
    array[0] = 1
    assert fingerprint(array, memo) != before
    base = np.zeros(10_000)
    view = base[:]
    view.flags.writeable = False
    before = fingerprint(view, memo)
    base[0] = 1
    assert fingerprint(view, memo) != before
    sealed = np.frombuffer(bytes(80_000))
    assert fingerprint(sealed, memo) == fingerprint(sealed, memo) == fingerprint(np.zeros(10_000))
    for i in range(10):
        fingerprint(tuple(range(i, i + 1000)), memo)
    assert len(memo) == 4


def test_user_encoder() -> None:
    """A registered encoder speaks for a type that shows no state."""
    with pytest.raises(Unhashable):
        fingerprint(threading.Semaphore())
    register("threading.Semaphore", lambda h, v: b"semaphore" + h.encode(v._value))
    assert fingerprint(threading.Semaphore(1)) != fingerprint(threading.Semaphore(2))


IMMUTABLE = [1, "a", b"a", 1.5, True, None, (1, ("a", b"b")), frozenset({1}), datetime.date(1, 1, 1), int, len, np, range(3), Colour.RED,
             decimal.Decimal(1), np.float64(1), lambda: 1, pathlib.PurePosixPath("a")]  # fmt: skip
MUTABLE = [[1], {}, set(), ([1],), np.zeros(1), pd.Series([1]), bytearray(b""), Plain(1), Plain, lambda x=[]: x,
           [].append, MyInt(1), Point(1), functools.partial(int), types.SimpleNamespace(), io.StringIO()]  # fmt: skip


@pytest.mark.parametrize("value", IMMUTABLE, ids=lambda v: "function" if callable(v) else repr(v))
def test_immutable(value: Any) -> None:
    """What running code cannot change need not be hashed again."""
    assert is_immutable(value)


@pytest.mark.parametrize("value", MUTABLE, ids=lambda v: type(v).__name__)
def test_mutable(value: Any) -> None:
    """Whatever could have changed is hashed again."""
    assert not is_immutable(value)


def test_sizes() -> None:
    """Arrays, frames and containers weigh about what they hold."""
    assert size_of(np.zeros(1000)) == 8000
    assert 16_000 <= size_of(pd.DataFrame(np.zeros((1000, 2)))) < 20_000
    assert 8_000_000 < size_of({"a": [np.zeros(1_000_000)]}) < 8_100_000
    assert size_of(["x" * 1000] * 1000) > 1_000_000
    assert size_of(pd.DataFrame({"s": ["x" * 1000] * 1000})) > 1_000_000
    assert size_of(Plain(np.zeros(1000))) > 8000
