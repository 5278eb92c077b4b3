"""Purity fails closed, and still lets ordinary analysis through."""

# ruff: noqa: E501  (tables read best with one case a line)
from __future__ import annotations

import importlib
import itertools
import linecache
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from prefect_nb.analysis.purity import env_names, judge, query_names

count = itertools.count()


def run(namespace: dict[str, Any], source: str) -> dict[str, Any]:
    """Run a cell as a kernel does: compiled under a name whose lines are registered."""
    file = f"/tmp/ipykernel_1/{next(count)}.py"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    exec(compile(source, file, "exec"), namespace)
    return namespace


SETUP = """
import asyncio, contextlib, datetime, functools, io, json, math, os, random, re, sqlite3, subprocess, threading, time, uuid, requests
import numpy as np
import pandas as pd
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
from collections import Counter, defaultdict, namedtuple
from dataclasses import dataclass, field
from pathlib import Path

df = pd.DataFrame({"x": [1, 2, 3], "k": ["a", "b", "a"]})
other = df.copy()
base = Path("data")
limit = 2
text = "Some words"
threshold_query = "x > @limit"

def clean(frame, limit=3):
    '''Doc.'''
    out = frame.dropna().assign(z=lambda d: d.x * 2)
    return out[out.x > limit]

def timed(f):
    @functools.wraps(f)
    def inner(*a, **k):
        return f(*a, **k)
    return inner

@timed
def double(x):
    return x * 2

class Model:
    '''A model.'''
    rate = 0.1
    def __init__(self, a): self.a = a
    def fit(self, X):
        self.coef_ = np.linalg.lstsq(X, X[:, 0], rcond=None)[0]
        return self
    @property
    def size(self): return len(self.coef_)
    def execute(self): return self.a

@dataclass
class Row:
    name: str
    tags: list = field(default_factory=list)

Pair = namedtuple("Pair", "a b")
model = Model(2)

async def later(x):
    await asyncio.sleep(0)
    return x

def stamp(): return datetime.datetime.now()
def deep(): return [stamp() for _ in range(2)]
def fetch(u): return requests.get(u).json()
def leak(x, log=open): return x
class Timer:
    def start(self): self.t = time.perf_counter()
timer = Timer()
class Loader(Model):
    def load(self): return requests.get("u")
fns = {"now": datetime.datetime.now, "ok": math.sqrt}
wrapped_now = timed(stamp)
partial_now = functools.partial(stamp)
alias = os.system
conn = sqlite3.connect(":memory:")
session = requests.Session()
lock = threading.Lock()
gen = (i for i in range(3))
holder = {"c": [conn]}
box = Model(conn)
exec("def hidden(): return 1")
rng = np.random.default_rng(1)
state = []
"""


@pytest.fixture(scope="module")
def space() -> dict[str, Any]:
    """A notebook's namespace after its first cells."""
    return run({"__name__": "__main__"}, SETUP)


PURE = {
    "read and group": """
        raw = pd.read_csv("data/x.csv", parse_dates=["t"])
        m = raw.merge(df, on="k", how="left").pipe(clean, limit=2)
        g = m.groupby("k").agg(n=("x", "sum"), top=("x", lambda s: s.max())).reset_index()
        g = g.assign(r=lambda d: d.n / d.n.sum()).sort_values("r", ascending=False)
        piv = m.pivot_table(index="k", values="x", aggfunc="mean").rename(columns={"x": "y"})
        m.loc[m.x > 2, "x"] = 0
    """,
    "linear algebra": """
        X = np.c_[df.x, np.ones(len(df))]
        coef, *_ = np.linalg.lstsq(X, df.x.to_numpy(), rcond=None)
        z = np.random.default_rng(42).normal(size=3) @ np.eye(3)
    """,
    "drawing": """
        fig, axes = plt.subplots(1, 2, figsize=(8, 3), constrained_layout=True)
        axes[0].plot(df.x, df.x ** 2, label=f"n={len(df):,}")
        axes[0].set(title="x", xlabel="y"); axes[0].legend()
        for ax in axes.flat:
            ax.grid(True, alpha=.3)
        with plt.style.context("ggplot"):
            df.plot(ax=axes[1])
        plt.rcParams["figure.dpi"] = 80
        fig.tight_layout(); plt.show()
    """,
    "plain python": """
        words = sorted({w.strip().lower(): len(w) for w in text.split()}.items(), key=lambda kv: -kv[1])
        n = Counter(w for w, _ in words); dd = defaultdict(list)
        for w, k in words: dd[k].append(w)
        line = ", ".join(f"{w:>10}={k!r}" for w, k in words if k > 1)
        total = sum(k for _, k in words) + math.sqrt(2) + max(map(len, text.split()))
        try:
            value = int(line)
        except ValueError as err:
            print(err)
        match words:
            case [first, *rest]: pass
            case {"a": a, **others}: pass
        s = re.sub(r"\\s+", " ", text).replace("a", "b")
        when = datetime.datetime.strptime("2020-01-01", "%Y-%m-%d") + datetime.timedelta(days=1)
        assert isinstance(s, str) and hasattr(s, "upper") and getattr(s, "upper")()
    """,
    "dates": 'd = pd.to_datetime(df["x"], unit="s").dt.tz_localize("UTC").dt.floor("D"); p = pd.Timestamp("2020")',
    "files read": """
        conf = json.loads(Path("conf.json").read_text())
        with open("x.txt", encoding="utf8") as f:
            lines = [l.rstrip() for l in f]
        more = json.load(open(base / "y.json")); p = base.joinpath("a").with_suffix(".csv")
        frames = pd.concat([pd.read_csv(q) for q in sorted(base.glob("*.csv"))], ignore_index=True)
        names = os.listdir("data"); full = os.path.join("a", "b")
        with (base / "z").open() as h: z = h.read()
        all_ = list(map(pd.read_parquet, ["a", "b"]))
    """,
    "helpers": "y = clean(df, limit); z = double(3); c = model.fit(np.eye(2)).size; r = Row('a', tags=[1]); q = Pair(1, 2)",
    "own method with a suspicious name": "v = model.execute()",
    "definitions": """
        class Local(Model):
            k = 1
            def go(self):
                return [self.k * i for i in range(3)]
        def helper(a, *rest, b=1, **kw):
            nonlocal_ = a
            def inner(): return nonlocal_ + b
            return inner()
        out = Local(1).go() + [helper(1)]
        @functools.cache
        def slow(n): return n if n < 2 else slow(n - 1)
    """,
    "text output": 's = df.to_csv(); j = df.to_json(); d = df.to_dict("records"); b = io.StringIO(); df.to_csv(b); h = df.to_html()',
    "figure in memory": "b = io.BytesIO(); fig = plt.figure(); fig.savefig(b); plt.savefig(b, format='png')",
    "query": 'a = df.query("x > @limit and k == \'@no\'"); b = df.query(threshold_query); c = df.eval("y = x * 2"); d = df.query(f"x > {limit}")',
    "await": "a = await later(1); b, c = await asyncio.gather(later(1), later(2)); await asyncio.sleep(1)",
    "waiting": "time.sleep(1)",
    "magic": 'get_ipython().run_line_magic("matplotlib", "inline")',
    "imports": "import statistics, numpy.linalg as la\nfrom collections import OrderedDict\nm = statistics.mean([1]); n = la.norm([1]); o = OrderedDict()",
    "shadowed name": "conn = 1\ny = conn + 1",
    "live generator object": "z = rng.normal(size=3)",
    "own state": "state.append(1); df.loc[0, 'x'] = 5; model.a = 3; state[0] = 1; del state[0]",
    "warnings": 'import warnings\nwith warnings.catch_warnings():\n    warnings.simplefilter("ignore")\n    y = np.log(df.x)',
    "logging": 'import logging\nlogging.getLogger("x").info("y")',
    "pickled": "import pickle\nb = pickle.dumps(df)",
    "threads": "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(2) as pool:\n    r = list(pool.map(double, [1]))",
    "options": "pd.options.display.max_rows = 5; pd.set_option('display.width', 80)",
    "safe wrappers": "with contextlib.suppress(ValueError):\n    x = int('a')",
}


@pytest.mark.parametrize("source", PURE.values(), ids=PURE)
def test_ordinary_analysis_is_pure(space: dict[str, Any], source: str) -> None:
    """Code as people write it in notebooks is pure."""
    verdict = judge(textwrap.dedent(source).strip(), space)
    assert verdict.causes == ()
    assert verdict.pure


IMPURE = {
    "clock in a helper": ("stamp()", "CLOCK"),
    "clock two helpers down": ("deep()", "CLOCK"),
    "clock behind a decorator": ("wrapped_now()", "CLOCK"),
    "clock behind a partial": ("partial_now()", "CLOCK"),
    "clock in a method": ("timer.start()", "CLOCK"),
    "clock as a default": ("(lambda g=datetime.datetime.now: g())()", "CLOCK"),
    "clock from a dict": ('fns["now"]()', "CLOCK"),
    "clock by getattr": ('getattr(datetime.datetime, "now")()', "CLOCK"),
    "clock by attrgetter": ('import operator\noperator.attrgetter("now")(datetime.datetime)()', "CLOCK"),
    "clock on an instance": ("type(pd.Timestamp(0)).today()", "CLOCK"),
    "clock as text": ('pd.to_datetime("today")', "CLOCK"),
    "clock aliased": ("from time import perf_counter as p\np()", "CLOCK"),
    "clock as a callback": ("list(map(time.time, []))", "CLOCK"),
    "network": ('requests.get("u")', "NETWORK"),
    "network in a helper": ('fetch("u")', "NETWORK"),
    "network in a lambda in a dict": ('d = {"a": lambda: requests.get("u")}\nd["a"]()', "NETWORK"),
    "network in another method of a class": ("Loader(1).fit(np.eye(2))", "NETWORK"),
    "network by address": ('pd.read_csv("https://x.org/y.csv")', "NETWORK"),
    "network through pathless s3": ('pd.read_parquet("s3://b/k")', "NETWORK"),
    "network import": ("from urllib.request import urlopen\nurlopen('u')", "NETWORK"),
    "network decorator": ("@requests.get\ndef f(): pass", "NETWORK"),
    "open aliased": ('f = open\nf("x", "w")', "UNKNOWN_CALL"),
    "open as a default": ("leak(1)", "UNKNOWN_CALL"),
    "open passed on": ('list(map(open, ["a"]))', "UNKNOWN_CALL"),
    "open through builtins": ('import builtins\nbuiltins.open("x", "w")', "WRITES_FILE"),
    "open to write": ('open("x", "w")', "WRITES_FILE"),
    "open to append": ('open("x", mode="a")', "WRITES_FILE"),
    "open to update": ('open("x", "r+")', "WRITES_FILE"),
    "open with a computed mode": ('m = "r"\nopen("x", m)', "WRITES_FILE"),
    "path to write": ('base.open("w")', "WRITES_FILE"),
    "path text": ('Path("x").write_text("a")', "WRITES_FILE"),
    "path renamed": ('Path("x").rename("y")', "WRITES_FILE"),
    "frame to a file": ('df.to_csv("x.csv")', "WRITES_FILE"),
    "figure to a file": ('plt.savefig("x.png")', "WRITES_FILE"),
    "array to a file": ('np.save("x", df.x)', "WRITES_FILE"),
    "removed": ('os.remove("x")', "WRITES_FILE"),
    "shell aliased": ('from os import system as s\ns("ls")', "SUBPROCESS"),
    "shell aliased in the namespace": ('alias("ls")', "SUBPROCESS"),
    "shell by getattr": ('getattr(os, "system")("ls")', "SUBPROCESS"),
    "shell by import": ('import subprocess as sp\nsp.run(["ls"])', "SUBPROCESS"),
    "shell magic": ('get_ipython().system("ls")', "SHELL"),
    "shell output": ('x = get_ipython().getoutput("ls")', "SHELL"),
    "magic": ('get_ipython().run_line_magic("run", "x.py")', "SHELL"),
    "computed attribute": ('getattr(os, "sys" + "tem")("ls")', "DYNAMIC"),
    "module as a value": ('o = os\no.getcwd()', "DYNAMIC"),
    "module in a list": ('[os][0].urandom(1)', "DYNAMIC"),
    "module dict": ('os.__dict__["system"]("ls")', "DYNAMIC"),
    "vars": ('vars(os)["system"]', "DYNAMIC"),
    "globals": ('globals()["x"]', "DYNAMIC"),
    "eval": ('eval("1 + 1")', "DYNAMIC"),
    "exec aliased": ("e = exec\ne('x = 1')", "DYNAMIC"),
    "import function": ('__import__("os").getcwd()', "DYNAMIC"),
    "importlib": ('import importlib\nimportlib.import_module("os")', "DYNAMIC"),
    "sys.modules": ('import sys\nsys.modules["os"]', "DYNAMIC"),
    "subclasses": ("().__class__.__base__.__subclasses__()", "DYNAMIC"),
    "function globals": ('clean.__globals__["os"]', "DYNAMIC"),
    "star import": ("from math import *", "DYNAMIC"),
    "computed query": ("q = df.k[0]\ndf.query(q)", "DYNAMIC"),
    "history": ("y = _3", "UNANALYSED"),
    "seedless generator": ("np.random.default_rng().normal()", "RANDOM"),
    "generator seeded with None": ("np.random.default_rng(None)", "RANDOM"),
    "uuid": ("uuid.uuid4()", "RANDOM"),
    "urandom": ("os.urandom(3)", "RANDOM"),
    "secrets": ("import secrets\nsecrets.token_hex()", "RANDOM"),
    "system random": ("random.SystemRandom().random()", "RANDOM"),
    "connection": ('pd.read_sql("select 1", "sqlite://")', "DATABASE"),
    "live connection": ('rows = conn', "HANDLE"),
    "live connection in a container": ('len(holder)', "HANDLE"),
    "live connection in an instance": ('box.a', "HANDLE"),
    "live session": ('s = session', "HANDLE"),
    "lock": ("with lock: pass", "HANDLE"),
    "generator": ("next(gen)", "HANDLE"),
    "database": ('sqlite3.connect("x")', "DATABASE"),
    "cursor of something": ('double(1).execute("select")', "DATABASE"),
    "unknown module": ("import antigravity_of_nobody", None),
    "unknown name": ("mystery(1)", "UNANALYSED"),
    "no source": ("hidden()", "UNANALYSED"),
    "no syntax": ("this is not python", "UNANALYSED"),
    "library patched": ("pd.read_csv = None", "IMPURE_GLOBAL"),
    "library patched by setattr": ('setattr(pd, "x", 1)', "IMPURE_GLOBAL"),
    "class patched": ("Model.rate = 2", "IMPURE_GLOBAL"),
    "environment set": ('os.environ["A"] = "1"', "IMPURE_GLOBAL"),
    "environment computed": ("os.environ[text]", "DYNAMIC"),
    "environment whole": ("dict(os.environ)", "DYNAMIC"),
    "input": ("input()", "UNKNOWN_CALL"),
    "exists": ('Path("x").exists()', "UNKNOWN_CALL"),
    "maybe shadowed": ("if limit:\n    conn = 1\nconn.total_changes", "HANDLE"),
    "in a comprehension": ("[stamp() for _ in range(2)]", "CLOCK"),
    "in an f-string": ('f"{datetime.date.today()}"', "CLOCK"),
    "in a default of a definition": ("def f(x=time.time()): return x", "CLOCK"),
    "in a class body": ("class A:\n    t = time.time()", "CLOCK"),
    "in a definition that is not called": ("def f(): return time.time()", "CLOCK"),
    "in a query": ('df.query("x > @stamp()")', "CLOCK"),
    "in a with": ("with open('x', 'w') as f: pass", "WRITES_FILE"),
    "in a decorator argument": ("@functools.wraps(stamp)\ndef f(): pass", "CLOCK"),
    "in a subscript of a target": ("df.loc[time.time()] = 1", "CLOCK"),
    "in a walrus": ("if (t := time.time()): pass", "CLOCK"),
    "process pool": ("from concurrent.futures import ProcessPoolExecutor as P\nP()", "SUBPROCESS"),
    "made type": ('type("A", (), {})', "DYNAMIC"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "code"), IMPURE.values(), ids=IMPURE)
def test_what_looks_outside_is_impure(space: dict[str, Any], source: str, code: str | None) -> None:
    """Whatever looks outside is found, however it is spelled."""
    verdict = judge(source, space)
    assert not verdict.pure
    assert code is None or code in {c.code for c in verdict.causes}
    assert all(c.wording.startswith(c.name) for c in verdict.causes)


def test_causes_say_where(space: dict[str, Any]) -> None:
    """A cause names the thing, its line, and the function in which it stands."""
    (cause,) = judge("x = 1\ny = time.time()", space).causes
    assert (cause.name, cause.line, cause.inside) == ("time.time", 2, "")
    (cause,) = judge("deep()", space).causes
    assert (cause.code, cause.inside) == ("CLOCK", "stamp")


def test_understood_reads(space: dict[str, Any]) -> None:
    """Files and hidden generators do not take purity away, but they are reported."""
    for source in ("pd.read_csv('a')", "open('a').read()", "base.read_bytes()", "os.listdir('.')", "np.load('a')"):
        verdict = judge(source, space)
        assert (verdict.pure, verdict.reads_files, verdict.uses_random) == (True, True, False), source
    for source in (
        "random.random()",
        "np.random.normal()",
        "np.random.seed(1)",
        "df.sample(2)",
        "from random import choice\nchoice([1])",
    ):
        verdict = judge(source, space)
        assert (verdict.pure, verdict.reads_files, verdict.uses_random) == (True, False, True), source
    assert judge("x = 1", space) == judge("y = limit", space)


def test_environment(space: dict[str, Any]) -> None:
    """Environment variables that are read by a written name are understood, in helpers too."""
    run(space, "def mode(): return os.getenv('DEEP')")
    source = "a = os.environ['A']; b = os.environ.get('B', 'x'); c = os.getenv('C'); d = 'D' in os.environ; mode(); os.getcwd()"
    assert judge(source, space).pure
    assert env_names(source, space) == {"A", "B", "C", "D", "DEEP", "<cwd>"}


def test_functions_are_judged(space: dict[str, Any]) -> None:
    """A function is judged like the body that calls it."""
    assert judge(space["clean"], {}).pure
    assert judge(space["double"], {}).pure
    assert not judge(space["fetch"], {}).pure
    assert not judge(space["leak"], {}).pure


QUERIES = {
    'df.query("x > @a and y < @b.c")': {"a", "b"},
    "df.query('k == \"@no\" and x in @yes')": {"yes"},
    'df.eval("z = x * @k")': {"k"},
    'df.query(f"x > @a and y < {b}")': {"a"},
    'df.query(expr="x > @a")': {"a"},
    'mail.send("a@b")': set(),
}


@pytest.mark.parametrize(("source", "names"), QUERIES.items())
def test_query_names(source: str, names: set[str]) -> None:
    """Names behind ``@`` in query strings are reads."""
    assert query_names(source) == names


MODULES = {
    "pure": ("K = 2\ndef k(x): return x * K", True),
    "network": ("import requests\ndef k(x): return requests.get(x)", False),
    "through its own helper": ("import time\ndef _h(): return time.time()\ndef k(x): return _h()", False),
    "global state": ("n = 0\ndef k(x):\n    global n\n    n += 1\n    return n", False),
    "container state": ("seen = []\ndef k(x):\n    seen.append(x)\n    return len(seen)", False),
    "item state": ("memo = {}\ndef k(x):\n    memo[x] = 1\n    return x", False),
    "local state": (
        "def k(x):\n    seen = []\n    seen.append(x)\n    d = {}\n    d[x] = 1\n    return len(seen)",
        True,
    ),
    "import inside": ("def k(x):\n    import subprocess\n    return subprocess.run(x)", False),
    "relative to nothing": ("def k(x):\n    from math import sqrt\n    return sqrt(x)", True),
}


@pytest.mark.parametrize(("text", "pure"), MODULES.values(), ids=MODULES)
@pytest.mark.parametrize("cell", ["y = nbpure.k(1)", "from nbpure import k\nk(1)", "import nbpure as n\nn.k(2)"])
def test_local_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str, text: str, pure: bool) -> None:
    """Functions of local modules are analysed like those of the notebook."""
    (tmp_path / "nbpure.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    module = importlib.import_module("nbpure")
    try:
        assert judge(cell, {"__name__": "__main__", "nbpure": module}).pure == pure
    finally:
        del sys.modules["nbpure"]
    if "import" in cell:
        assert not judge(cell, {"__name__": "__main__"}).pure
