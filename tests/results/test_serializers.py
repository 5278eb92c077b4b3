"""Values as buffers: what comes back is equal, what cannot be written is named, what does not fit is refused."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import io
import math
import pathlib
import socket
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pandas as pd
import pytest

from prefect_nb.errors import ResultUnavailable, Unstorable
from prefect_nb.results.references import fingerprint
from prefect_nb.results.serializers import PickleSerializer, PlainSerializer


def back(value, namespace=None):
    """The value after a round trip through pickle."""
    serializer = PickleSerializer(namespace or {})
    return serializer.load([memoryview(bytearray(buffer)) for buffer in serializer.dump(value)])


def notebook(code):
    """The variables of a notebook after executing that code in it."""
    namespace = {"__name__": "__main__"}
    exec(textwrap.dedent(code), namespace)
    return namespace


SHARED = [1]
CYCLE: list[object] = []
CYCLE.append(CYCLE)


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**70),
        1.5,
        -0.0,
        math.inf,
        "",
        "é\0\n",
        [],
        {},
        {"a": [1, {"b": None}]},
        [[[]]],
        [1, 1.0, True],
    ],
    ids=repr,
)
def test_plain_values_come_back(value):
    """What plain accepts comes back equal and of the same types."""
    plain = PlainSerializer()
    assert plain.can(value)
    again = plain.load([memoryview(part) for part in plain.dump(value)])
    assert repr(again) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        (1, 2), {1: 2}, {"a": (1,)}, {"a"}, b"x", Colour.RED, Text("x"), "\ud83d\ude00", {"\ud800": 1}, 2**5000,
        1j, object(), [SHARED, SHARED], CYCLE, {Text("k"): 1}, list(range(6000)), np.float64(1.0),
        collections.OrderedDict(),
    ],
    ids=lambda value: f"{type(value).__name__}",
)  # fmt: skip
def test_plain_refuses_what_would_change(value):
    """What JSON would change, or share no more, is left to pickle."""
    assert not PlainSerializer().can(value)


@pytest.mark.parametrize(
    "value",
    [
        (1, (2,)), {1, 2}, b"x" * 5000, bytearray(b"y" * 5000), 2**5000, "\ud800", Colour.RED, decimal.Decimal("1.10"),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), pathlib.PurePosixPath("/a"), range(3), slice(1, 2), ...,
        collections.deque([1], 3), array.array("d", [1.0]), math.sin, len, int,
    ],
    ids=lambda value: f"{type(value).__name__}",
)  # fmt: skip
def test_other_values_come_back(value):
    """Pickle gives equal values of equal types."""
    again = back(value)
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    "made",
    [
        np.arange(100_000.0),
        np.arange(3),
        np.asfortranarray(np.ones((50, 60))),
        np.arange(10_000)[::3],
        np.array(["a", None, {}], dtype=object),
        np.zeros((0, 3)),
        np.array([1 + 2j] * 2000),
        np.array(["2020"], dtype="M8[D]"),
    ],
    ids=lambda made: f"{made.dtype}{made.shape}",
)
def test_arrays_come_back_writable(made):
    """Arrays keep values, type, shape and order, and can be written to."""
    again = back({"a": made})["a"]
    np.testing.assert_array_equal(again, made)
    assert (again.dtype, again.shape) == (made.dtype, made.shape)
    assert again.flags.f_contiguous >= made.flags.f_contiguous
    assert again.flags.writeable


def test_large_arrays_are_not_copied():
    """The buffer handed out is the array's own memory."""
    made = np.zeros(100_000)
    _, view = PickleSerializer({}).dump({"a": made})
    assert np.shares_memory(np.frombuffer(view), made)


def test_frames_come_back():
    """Frames keep index, types and text."""
    index = pd.date_range("2020", periods=3, tz="Europe/Berlin")
    frame = pd.DataFrame(
        {"n": [1.5, None, 2], "s": ["é", None, "x"], "c": pd.Categorical(["a", "b", "a"])}, index=index
    )
    pd.testing.assert_frame_equal(back(frame), frame)


def test_aliases_stay_aliases():
    """Names that share an object share one again, also through containers and arrays."""
    shared, data = [1], np.zeros(5000)
    again = back({"a": shared, "b": [shared, data], "c": data, "cycle": CYCLE})
    assert again["a"] is again["b"][0]
    assert again["c"] is again["b"][1]
    assert again["cycle"] is again["cycle"][0]


class Model:
    """A thing with parts."""

    def __init__(self, **parts):
        self.__dict__.update(parts)


class Slotted:
    """A thing with parts in slots."""

    __slots__ = ("inner",)

    def __init__(self, inner):
        self.inner = inner


class Stubborn:
    """A thing whose own code refuses."""

    def __reduce__(self):
        raise RuntimeError("not me")


@pytest.mark.parametrize(
    ("value", "path", "kind"),
    [
        (lambda: {"x": 1, "lock": threading.Lock()}, "lock", "lock"),
        (lambda: {"model": Model(n=1, session=Model(lock=threading.Lock()))}, "model.session.lock", "lock"),
        (lambda: {"rows": [1, ({"k": (n for n in ())},)]}, "rows[1][0]['k']", "generator"),
        (lambda: {"s": Slotted(threading.RLock())}, "s.inner", "RLock"),
        (lambda: {"s": socket.socket()}, "s", "socket"),
        (lambda: {"file": open(__file__)}, "file", "TextIOWrapper"),  # noqa: SIM115 - it is the fault
        (lambda: {"out": sys.stdout}, "out", None),
        (lambda: {"view": memoryview(b"x")}, "view", "memoryview"),
        (lambda: {"odd": [Stubborn()]}, "odd[0]", "Stubborn"),
        (lambda: {"q": collections.deque([threading.Lock()])}, "q[0]", "lock"),
        (lambda: {"d": collections.defaultdict(threading.Lock, {1: Model(f=Stubborn())})}, "d[1].f", "Stubborn"),
        (lambda: threading.Lock(), "", "lock"),
    ],
    ids=lambda part: "" if callable(part) else str(part),
)  # fmt: skip
def test_the_part_at_fault_is_named(value, path, kind):
    """What cannot be written down is named by its path in the user's words, with its type and what to do."""
    made = value()
    with pytest.raises(Unstorable) as caught:
        PickleSerializer({}).dump(made)
    assert caught.value.path == path
    assert path in caught.value.message
    assert kind is None or kind in caught.value.message
    assert "plain cell" in caught.value.hint
    for item in made.values() if isinstance(made, dict) else ():
        if isinstance(item, io.IOBase | socket.socket) and item is not sys.stdout:
            item.close()


def test_deep_values_do_not_crash():
    """A value nested too deeply is an error of ours."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Unstorable):
        PickleSerializer({}).dump({"deep": deep})


CLASSES = """
    import dataclasses
    @dataclasses.dataclass
    class Point:
        x: int
        def double(self): return [self.x * 2 for _ in range(2)]
    class Outer:
        class Inner:
            pass
    def helper(n): return n + 1
    value = {"p": Point(3), "i": Outer.Inner(), "f": helper, "c": Point}
"""


def test_notebook_definitions_are_references():
    """Instances load as the notebook's own classes; classes and functions load as themselves."""
    first, second = notebook(CLASSES), notebook(CLASSES)
    serializer = PickleSerializer(first)
    again = PickleSerializer(second).load([memoryview(b) for b in serializer.dump(first["value"])])
    assert type(again["p"]) is second["Point"]
    assert type(again["i"]) is second["Outer"].Inner
    assert again["f"] is second["helper"]
    assert again["c"] is second["Point"]
    assert again["p"].x == 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda ns: ns.pop("Point"), "needs Point"),
        (lambda ns: delattr(ns["Outer"], "Inner"), r"needs Outer\.Inner"),
        (lambda ns: ns.update(notebook(CLASSES.replace("self.x * 2", "self.x * 3"))), "another Point"),
        (lambda ns: ns.update(notebook(CLASSES.replace("n + 1", "n + 2"))), "another helper"),
        (lambda ns: ns.update(Point=int), "another Point"),
    ],
)
def test_a_reference_that_no_longer_fits_is_unavailable(change, told):
    """A missing or changed definition makes the value unavailable and is named; never a wrong object."""
    first, second = notebook(CLASSES), notebook(CLASSES)
    change(second)
    with pytest.raises(ResultUnavailable, match=told) as caught:
        PickleSerializer(second).load([memoryview(b) for b in PickleSerializer(first).dump(first["value"])])
    assert "again" in caught.value.hint


def test_lambdas_and_closures_go_by_value():
    """What has no name of its own is written down with what it closes over."""
    ns = notebook("def outer(k):\n    def inner(n): return n + k\n    return inner\nf, g = outer(5), lambda n: n * 2")
    again = back({"f": ns["f"], "g": ns["g"]}, ns)
    assert (again["f"](1), again["g"](4)) == (6, 8)


def test_missing_modules_are_reported():
    """A value of a package that is gone is unavailable, with the package named."""
    sys.modules["gone"] = module = type(sys)("gone")
    module.Thing = type("Thing", (), {"__module__": "gone"})
    parts = PickleSerializer({}).dump(module.Thing())
    del sys.modules["gone"]
    with pytest.raises(ResultUnavailable, match="gone"):
        PickleSerializer({}).load([memoryview(part) for part in parts])


def test_fingerprints_hold_across_processes():
    """Equal definitions have equal fingerprints under any hash seed; comments and lines do not matter."""
    source = 'def f(x, *, y={"b", "a"}):\n    # note\n    return x in {"p", "q", "r"} or [n for n in y]\n'
    code = (
        "from prefect_nb.results.references import fingerprint as p\n"
        "ns = {}; import sys; exec(sys.argv[1], ns); print(p(ns['f']))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, text], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed, text in (("1", source), ("2", source), ("3", "\n\n" + source.replace("# note", "# another")))
    }  # fmt: skip
    assert len(found) == 1
    ns = notebook(source)
    other = notebook(source.replace('"p"', '"P"'))
    assert fingerprint(ns["f"]) + "\n" in found
    assert fingerprint(other["f"]) + "\n" not in found
