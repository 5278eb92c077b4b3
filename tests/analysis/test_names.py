"""Names of a cell, form by form, beyond the acceptance catalogue; and laws that hold against real execution."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from prefect_nb.analysis.names import BUILTINS, analyze

# source -> (reads, writes)
FORMS = {
    # branches and paths
    "if c:\n    x = 1\nprint(x)": ("c x", "x"),
    "if c:\n    x = 1\nelse:\n    x = 2\nprint(x)": ("c", "x"),
    "if c:\n    x = 1\nelif d:\n    x = 2\nprint(x)": ("c d x", "x"),
    "if c:\n    x = 1\nelif d:\n    x = 2\nelse:\n    raise E\nprint(x)": ("c d E", "x"),
    "if __name__ == '__main__':\n    x = 1\nprint(x)": ("", "x"),
    "if True:\n    x = 1\nelse:\n    y = z\nprint(x)": ("", "x"),
    "x = 1 if c else y": ("c y", "x"),
    "a and (x := 1)\nprint(x)": ("a x", "x"),
    "(x := a) and x": ("a", "x"),
    "if (x := f()) and (y := x):\n    print(y)": ("f", "x y"),
    "if (x := f()) and (y := x):\n    pass\nprint(y)": ("f y", "x y"),
    "if c:\n    del x\nelse:\n    x = 1\nprint(x)": ("c x", "x"),
    "assert x, msg": ("x msg", ""),
    "assert (y := x), msg": ("x msg", "y"),
    # loops
    "for i in xs:\n    pass\nprint(i)": ("xs i", "i"),
    "for i in range(3):\n    last = i\nprint(last, i)": ("", "i last"),
    "for i in (1, 2):\n    pass\nelse:\n    y = i": ("", "i y"),
    "for i in []:\n    pass\nprint(i)": ("i", "i"),
    "for i in xs:\n    print(y)\n    y = i": ("xs y", "i y"),
    "for i in range(3):\n    if i:\n        print(y)\n    y = i": ("y", "i y"),
    "while True:\n    x = f()\n    if x:\n        break\nprint(x)": ("f", "x"),
    "while True:\n    if f():\n        break\n    x = 1\nprint(x)": ("f x", "x"),
    "while c:\n    x = 1\nelse:\n    y = x": ("c x", "x y"),
    "while (n := f()) > 0:\n    pass\nprint(n)": ("f", "n"),
    "for i in xs:\n    if i:\n        continue\n    z = i\nprint(z)": ("xs z", "i z"),
    "for i in xs:\n    if i:\n        z = 1\n        break\nelse:\n    z = 2\nprint(z)": ("xs", "i z"),
    "for a, (b, *c) in xs:\n    pass": ("xs", "a b c"),
    "for d['k'] in xs:\n    pass": ("xs d", ""),
    "async for i in src:\n    y = i": ("src", "i y"),
    # exceptions and context managers
    "try:\n    x = f()\nexcept ValueError:\n    x = 0\nprint(x)": ("f", "x"),
    "try:\n    x = f()\nexcept ValueError:\n    print(x)": ("f x", "x"),
    "try:\n    x = f()\nexcept ValueError:\n    raise\nprint(x)": ("f", "x"),
    "try:\n    x = f()\nexcept ValueError:\n    pass\nelse:\n    y = x\nprint(y)": ("f y", "x y"),
    "try:\n    x = f()\nfinally:\n    print(x)\nprint(x)": ("f x", "x"),
    "try:\n    f()\nfinally:\n    x = 1\nprint(x)": ("f", "x"),
    "for i in xs:\n    try:\n        break\n    finally:\n        x = 1\nelse:\n    x = 2\nprint(x)": ("xs", "i x"),
    "try:\n    import a\nexcept ImportError:\n    a = None": ("", "a"),
    "try:\n    f()\nexcept* E as g:\n    print(g.exceptions)": ("f E", ""),
    "with open(p) as (a, b.c):\n    x = a": ("p b", "a x"),
    "with suppress(E):\n    x = f()\nprint(x)": ("suppress E f x", "x"),
    "async with s() as t:\n    pass": ("s", "t"),
    "try:\n    f()\nexcept E as x:\n    pass\nprint(x)": ("f E x", ""),
    # binding forms
    "a, *b = c": ("c", "a b"),
    "x[i] = y": ("x i y", ""),
    "x.a.b = y": ("x y", ""),
    "del x[i], y.a": ("x i y", ""),
    "x = y = z": ("z", "x y"),
    "x += y": ("x y", "x"),
    "x.n += 1": ("x", ""),
    "x = 1\nx += 1": ("", "x"),
    "x: int = y": ("y", "x"),
    "x: T": ("T", ""),
    "x.y: T = z": ("x T z", ""),
    "from __future__ import annotations\nx: T = 1\ndef f(a: U): pass": ("", "annotations f x"),
    "import a.b.c as d, e.f": ("", "d e"),
    "match x:\n    case s if t:\n        y = s\n    case _:\n        y = 0\ny": ("x t", "s y"),
    "match x:\n    case C.A:\n        pass\n    case other:\n        pass\nprint(other)": ("x C other", "other"),
    # comprehensions
    "y = [a for a in b for c in a if c]": ("b", "y"),
    "y = {a: k for a in b}": ("b k", "y"),
    "y = [a for a in a]": ("a", "y"),
    "y = [[b for b in a] for a in c]": ("c", "y"),
    "y = [z for x in (1, 2) if (z := x)]": ("", "y z"),
    "y = [(lambda: a)() for a in b]": ("b", "y"),
    "x = 1\ny = [x for _ in b]": ("b", "x y"),
    "y = [await g(a) async for a in b]": ("g b", "y"),
    # functions
    "def f(a, /, b=x, *c: T, d=y, **e) -> R:\n    return a, b, c, d, e, g": ("x T y R", "f"),
    "def f():\n    x = 1\n    return x\nprint(f())": ("", "f"),
    "def f():\n    return x\nx = 1\nf()": ("", "f x"),
    "def f():\n    return x\nf()\nx = 1": ("x", "f x"),
    "def f():\n    def g():\n        return k\n    return g()\nf()": ("k", "f"),
    "def f():\n    def g():\n        return k\n    return g\nh = f()": ("", "f h"),
    "def f():\n    def g():\n        return k\n    return g\nh = f()\nh()": ("k", "f h"),
    "def f():\n    n = 0\n    def g():\n        nonlocal n\n        n += k\n    g()\nf()": ("k", "f"),
    "def g():\n    return k\ndef f():\n    return g()\nf()": ("k", "f g"),
    "def f():\n    return g()\ndef g():\n    return k\nf()": ("k", "f g"),
    "def f(n):\n    return n and f(n - k)\nf(3)": ("k", "f"),
    "def f():\n    return x\ng = f\ng()": ("x", "f g"),
    "def f(n):\n    return n and g(n)\ndef g(n):\n    return f(n - k)\nf(1)\ng(1)": ("k", "f g"),
    "def f(n):\n    return g(n) + k\ndef g(n):\n    return n and f(n - 1)\nf\ng(1)": ("k", "f g"),
    "def f(n):\n    g(n)\n    return k\ndef g(n):\n    f(n)\n    return m\ng(1)": ("k m", "f g"),
    "def f():\n    yield k\nfor i in f():\n    pass": ("k", "f i"),
    "async def f():\n    return k\nr = await f()": ("k", "f r"),
    "def f():\n    global c\n    c = 1\n    del d": ("", "f"),
    "def f():\n    global c\n    c += 1\nf()": ("c", "c f"),
    "def f():\n    global c\n    c = 1\nif z:\n    f()\nprint(c)": ("z c", "c f"),
    "def f():\n    return k\nys = list(map(f, xs))": ("k xs", "f ys"),
    "def f():\n    return k\nagg({'a': f})": ("k agg", "f"),
    "def f():\n    return k\nhs = [f]\nfor h in hs:\n    h()": ("k", "f h hs"),
    "def f():\n    return k\nhs = {'a': f}": ("", "f hs"),
    "hs = {'a': lambda: k}\nhs['a']()": ("k", "hs"),
    "f = lambda: k\nf()": ("k", "f"),
    "f = lambda a=k: a": ("k", "f"),
    "(lambda: k)()": ("k", ""),
    "df.agg({'a': lambda s: s * k})": ("df k", ""),
    "@deco(lambda: k)\ndef f():\n    return m": ("deco k", "f"),
    "@deco\ndef f():\n    return m\nf()": ("deco m", "f"),
    "f()\ndef f():\n    return k": ("f", "f"),
    # classes
    "class C:\n    a = 1\n    b = a\n    c = [x for x in a]": ("", "C"),
    "class C:\n    a = 1\n    c = [a for _ in 'x']": ("a", "C"),
    "class C:\n    x = x": ("x", "C"),
    "class C:\n    x = 1\n    def m(self):\n        return x": ("", "C"),
    "class C:\n    def __init__(self):\n        self.a = k\nC()": ("k", "C"),
    "class C:\n    def m(self):\n        return k\nc = C()": ("", "C c"),
    "class C:\n    def m(self):\n        return k\nc = C().m()": ("k", "C c"),
    "class C(B, metaclass=M):\n    @deco\n    def m(self, a: T = d):\n        return later": ("B M deco T d", "C"),
    "class C:\n    for i in xs:\n        j = i": ("xs", "C"),
    # text
    "f'{x!r:{w}} {y=}'": ("x w y", ""),
    "print(__name__, __file__, get_ipython(), len(x))": ("x", ""),
    "": ("", ""),
    "# only a comment": ("", ""),
    "pass": ("", ""),
    # magics, as IPython's transform leaves them
    "get_ipython().system('awk \\'{{print $1}}\\' $f.txt ${HOME}')": ("HOME f", ""),
    "get_ipython().system('echo {unbalanced')": ("", ""),
    "get_ipython().system(\"echo '$quoted' $bare\")": ("bare", ""),
    "get_ipython().system('ls {d[\"k\"]:>{w}}')": ("d w", ""),
    "get_ipython().run_line_magic('time', 'y = f(x)')": ("f x", "y"),
    "get_ipython().run_line_magic('timeit', '-n 10 -r 3 y = f(x)')": ("f x", ""),
    "get_ipython().run_cell_magic('time', '', 'y = x\\nz = y\\n')": ("x", "y z"),
    "get_ipython().run_cell_magic('capture', 'out --no-stderr', 'y = x\\n')": ("x", "out y"),
    "get_ipython().run_cell_magic('bash', '-s {a}', 'echo {b}\\n')": ("a", ""),
    "x = get_ipython().run_line_magic('sql', 'select {n}')": ("n", "x"),
    "get_ipython().run_line_magic('pinfo', 'a.b')": ("a", ""),
    "get_ipython().run_line_magic('matplotlib', 'inline')": ("", ""),
}


@pytest.mark.parametrize(("source", "expected"), FORMS.items(), ids=FORMS)
def test_reads_and_writes(source: str, expected: tuple[str, str]) -> None:
    """Each form reads and writes what Python's rules say."""
    names = analyze(source, builtins=BUILTINS)
    assert (sorted(names.reads), sorted(names.writes)) == tuple(sorted(words.split()) for words in expected)


# (source, field) -> value
FIELDS = {
    ("x = 1\nif c:\n    y = 2", "must_write"): "x",
    ("for i in xs:\n    y = 1", "must_write"): "",
    ("try:\n    x = f()\nexcept E:\n    pass", "must_write"): "",
    ("def f():\n    global c\n    c = 1\nf()", "must_write"): "c f",
    ("del x", "deletes"): "x",
    ("if c:\n    del x", "deletes"): "x",
    ("del x\nx = 1", "deletes"): "",
    ("x = 1\ndel x", "deletes"): "",
    ("x = 1\ndel x", "temporaries"): "x",
    ("try:\n    f()\nexcept E as e:\n    pass", "temporaries"): "e",
    ("def f():\n    global x\n    del x\nf()", "deletes"): "x",
    ("def f(n):\n    return n * f(n - 1) + k", "defers"): "k",
    ("k = 1\ndef f():\n    return k", "defers"): "",
    ("if c:\n    k = 1\ndef f():\n    return k", "defers"): "k",
    ("def f():\n    return k\nf()\ndef g():\n    return m", "defers"): "m",
    ("def f():\n    def g():\n        return k\n    return g", "defers"): "k",
    ("class C:\n    def m(self):\n        return [k for _ in n]", "defers"): "k n",
    ("hs = [lambda: k]", "defers"): "k",
    ("def f(x: 'T') -> 'R':\n    y: U = 1\n    return y", "defers"): "",
    ("a.append(1)", "mutates"): "a",
    ("b = a.pop()", "mutates"): "a",
    ("a.x.y['k'].append(1)", "mutates"): "a",
    ("b = df.add(1)", "mutates"): "",
    ("s.add(1)", "mutates"): "s",
    ("b = df.sort_values('x')", "mutates"): "",
    ("df.sort_values('x', inplace=True)", "mutates"): "df",
    ("df.sort_values('x', inplace=False)", "mutates"): "",
    ("df['y'] = df['x'] * 2", "mutates"): "df",
    ("df.loc[m, 'y'] = 0", "mutates"): "df",
    ("del d['k']", "mutates"): "d",
    ("random.shuffle(xs)", "mutates"): "xs",
    ("np.add(a, b, out=c)", "mutates"): "c",
    ("x = []\nx.append(1)", "mutates"): "",
    ("if c:\n    x = []\nx.append(1)", "mutates"): "x",
    ("def f():\n    log.append(1)\nf()", "mutates"): "log",
    ("def f():\n    log.append(1)", "mutates"): "",
    ("def f(log):\n    log.append(1)\nf(xs)", "mutates"): "",
    ("def f(log):\n    log.append(1)\nf(xs)", "touches"): "xs",
    ("for d['k'] in xs:\n    pass", "mutates"): "d",
    ("f(a, *b, c=d, **e)", "touches"): "a b d e",
    ("n = len(a) + sum(b) + a.mean()", "touches"): "a",
    ("a.groupby('x').apply(g)", "touches"): "a g",
    ("xs += [1]", "touches"): "xs",
    ("xs += [1]", "mutates"): "",
    ("import os\nfrom a import b as c\nd = 1", "imports"): "c os",
    ("try:\n    import a\nexcept ImportError:\n    a = None", "imports"): "",
    ("def f(): pass\nclass C: pass\nx = 1", "defines"): "C f",
    ("def f(): pass\nf = deco(f)", "defines"): "",
    ("print(f(g(1)), h.i())", "calls"): "f g print",
    ("@deco\ndef f():\n    return inner()", "calls"): "deco inner",
    ("def f():\n    return inner()\nf()", "calls"): "f inner",
    ("eval('x')", "dynamic"): "eval",
    ("exec(code)\nglobals()['x'] = 1\nlocals()\nvars()\ndir()", "dynamic"): "dir exec globals locals vars",
    ("vars(x)\ndir(x)", "dynamic"): "",
    ("eval = f\neval('x')", "dynamic"): "",
    ("df.query('a > @t')", "dynamic"): ".query",
    ("df.query(f'a > {t}')", "dynamic"): ".query",
    ("df.query('a > 1')\nmodel.eval()", "dynamic"): "",
    ("get_ipython().user_ns['x']", "dynamic"): ".user_ns",
    ("import __main__", "dynamic"): "__main__",
    ("get_ipython().run_cell_magic('bash', '', 'ls')", "dynamic"): "%%bash",
    ("get_ipython().run_line_magic('run', 'x.py')", "dynamic"): "%run",
    ("get_ipython().run_line_magic('time', '1 +')", "dynamic"): "%time",
    ("y = _ + _3 + Out[2] + len(In) + __ + _i", "history"): "In Out _ _3 __ _i",
    ("_, x = p\nprint(_)", "history"): "",
    ("if c:\n    x = 1\nprint(x, y)", "soft"): "x",
    ("get_ipython().system('echo $x {y}')", "soft"): "x y",
    ("register(lambda: x)\nprint(y)", "soft"): "x",
    ("try:\n    x\nexcept NameError:\n    x = 1", "soft"): "x",
    ("def f():\n    return x\nf()", "soft"): "",
    ("print(x)\nif c:\n    x = 1\nprint(x)", "soft"): "",
}


@pytest.mark.parametrize(("given", "expected"), FIELDS.items(), ids=[f"{f}: {s}" for s, f in FIELDS])
def test_fields(given: tuple[str, str], expected: str) -> None:
    """Each of the other sets of names is right."""
    source, field = given
    assert sorted(getattr(analyze(source), field)) == sorted(expected.split())


FLAGS = {
    ("import os\n'doc'\ndef f(): pass\nclass C: pass", "definition_only"): True,
    ("", "definition_only"): True,
    ("'shown'", "definition_only"): False,
    ("import os\nx = 1", "definition_only"): False,
    ("x = await f()", "awaits"): True,
    ("async for i in s: pass", "awaits"): True,
    ("y = [i async for i in s]", "awaits"): True,
    ("async def f():\n    await g()\nf()", "awaits"): False,
    ("from a.b import *\nfrom . import *", "star_imports"): ("a.b", "."),
    ("get_ipython().system('ls')\nget_ipython().run_line_magic('cd', '..')", "impure_magics"): ("!", "%cd"),
    ("get_ipython().run_cell_magic('bash', '', 'ls')", "impure_magics"): ("%%bash",),
    ("z = 1\na = 2\nz = 3\ndel a", "order"): ("z",),
    ("import os\nb, a = 1, 2\nfor i in a: c = i", "order"): ("os", "b", "a", "i", "c"),
}


@pytest.mark.parametrize(("given", "expected"), FLAGS.items(), ids=[f"{f}: {s}" for s, f in FLAGS])
def test_flags(given: tuple[str, str], expected: object) -> None:
    """Flags and ordered fields are right."""
    source, field = given
    assert getattr(analyze(source), field) == expected


LATE = {
    "def f():\n    return k\ndef g():\n    return m": {"f": {"k"}, "g": {"m"}},
    "base = 2\ndef lift(x):\n    return x * base": {"lift": {"base"}},
    "def f():\n    return k\nh = f\nhs = [f]\nx = f()": {"f": {"k"}, "h": {"k"}, "hs": {"k"}, "x": set()},
    "class C:\n    def m(self):\n        return k\n    def __init__(self):\n        self.n = n": {"C": {"k", "n"}},
    "def f():\n    return k\ndel f": {},
}


@pytest.mark.parametrize(("source", "expected"), LATE.items(), ids=LATE)
def test_late_names_belong_to_the_name_that_leads_to_them(source: str, expected: dict[str, set[str]]) -> None:
    """Each written name carries what its own definitions look up, also when they were called already."""
    late = analyze(source).late
    assert {key: set(names) for key, names in late.items() if names} == {k: v for k, v in expected.items() if v}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters came with Python 3.12")
@pytest.mark.parametrize(
    ("source", "reads", "defers", "writes"),
    [
        ("def f[T: B](a: T, b: U) -> T:\n    return later", "" if sys.version_info >= (3, 14) else "U", "B later", "f"),
        ("class C[T](Base[T]):\n    x: T", "Base", "", "C"),
        ("type A[T] = dict[T, V]", "", "V", "A"),
    ],
)
def test_type_parameters(source: str, reads: str, defers: str, writes: str) -> None:
    """Type parameters are names of their own; bounds and aliases are evaluated late."""
    names = analyze(source)
    assert (set(names.reads), set(names.defers), set(names.writes)) == (
        set(reads.split()),
        set(defers.split()),
        set(writes.split()),
    )


def test_a_rebound_builtin_is_an_ordinary_name() -> None:
    """A builtin that some cell binds is read like any other name."""
    assert analyze("t = sum(xs)").reads == {"xs"}
    assert analyze("t = sum(xs)", builtins=BUILTINS - {"sum"}).reads == {"sum", "xs"}


def test_syntax_errors_come_through_unchanged() -> None:
    """What Python cannot parse is Python's own error."""
    with pytest.raises(SyntaxError) as caught:
        analyze("x = 1\ny = = 2")
    assert caught.value.lineno == 2


@pytest.mark.parametrize(
    "source",
    [
        " + ".join(["x"] * 900),
        "if a == 0: y = 0\n" + "".join(f"elif a == {i}: y = {i}\n" for i in range(900)),
        "\n".join(f"{' ' * i}for i{i} in xs:" for i in range(18)) + "\n" + " " * 18 + "y = z",
        "\n".join(f"def f{i}():\n    f{i - 1}()\n    f{i - 1}()" for i in range(1, 60)) + "\nf59()",
        "\n".join(f"def f{i}():\n    f{(i + 1) % 40}()\n    f{(i + 7) % 40}()" for i in range(40)) + "\nf0(xs)",
    ],
    ids=["long sum", "long elif", "deep loops", "call tree", "call cycle"],
)
def test_large_cells_are_no_trouble(source: str) -> None:
    """Neither deep trees nor many paths cost more than a glance."""
    assert analyze(source).reads


NAMES = st.sampled_from(["a", "b", "c"])


def indent(lines: list[str]) -> list[str]:
    """Lines as a block."""
    return [f"    {line}" for line in lines or ["pass"]]


def blocks(inner: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    """Compound statements over `inner` ones."""
    body = st.lists(inner, min_size=1, max_size=3).map(lambda parts: [line for part in parts for line in part])
    return st.one_of(
        st.builds(lambda n, x, y: [f"if {n}:", *indent(x), "else:", *indent(y)], NAMES, body, body),
        st.builds(lambda n, x: [f"if T({n}):", *indent(x)], NAMES, body),
        st.builds(lambda n, m, x: [f"for {n} in R({m}):", *indent(x)], NAMES, NAMES, body),
        st.builds(lambda n, x, y: [f"for {n} in range(2):", *indent(x), "else:", *indent(y)], NAMES, body, body),
        st.builds(lambda n, x: ["while True:", *indent([*x, f"if T({n}): break"])], NAMES, body),
        st.builds(
            lambda x, y, z: ["try:", *indent(x), "except Boom:", *indent(y), "finally:", *indent(z)], body, body, body
        ),
        st.builds(lambda x, y: ["try:", *indent(x), "except Boom as c:", *indent(y)], body, body),
        st.builds(lambda n, x: [f"def f{n}():", *indent(["global a, b", "T(0)", *x])], NAMES, body),
        st.builds(lambda n, x: [f"class K{n}:", *indent(x)], NAMES, body),
        st.builds(
            lambda n, x: [f"match {n}:", "    case 1:", *indent(indent(x)), "    case b if T(b):", "        pass"],
            NAMES,
            body,
        ),
    )


SIMPLE = st.one_of(
    st.builds(lambda n, m: [f"{n} = {m}"], NAMES, NAMES),
    st.builds(lambda n: [f"{n} = 1"], NAMES),
    st.builds(lambda n: [f"{n} += 1"], NAMES),
    st.builds(lambda n: [f"del {n}"], NAMES),
    st.builds(lambda n: [f"if T({n}): raise Boom"], NAMES),
    st.builds(lambda n: [f"f{n}()"], NAMES),
    st.builds(lambda n, m: [f"L = lambda: {n}", f"{m} = L()"], NAMES, NAMES),
    st.builds(lambda n, m: [f"T({n}) and (c := {m})"], NAMES, NAMES),
    st.builds(lambda n, m: [f"[(b := {n}) for {n} in R({m})]"], NAMES, NAMES),
)
PROGRAMS = st.lists(st.recursive(SIMPLE, blocks, max_leaves=6), min_size=1, max_size=6).map(
    lambda parts: "\n".join(line for part in parts for line in part)
)


class Boom(Exception):
    """What programs raise."""


class Entry(int):
    """The value of a name at entry."""


class Watched(dict):  # type: ignore[type-arg]
    """A namespace that notes which entry values are looked up or deleted."""

    def __init__(self, choices: list[bool]) -> None:
        turns = iter(choices * 30)
        self.seen: set[str] = set()
        super().__init__(
            {name: Entry(1) for name in "abc"},
            T=lambda value: next(turns),
            R=lambda value: range(next(turns) + next(turns)),
            Boom=Boom,
            __name__="__main__",
        )
        self.entry = {name: self[name] for name in "abc"}
        self.seen.clear()

    def __getitem__(self, name: str) -> object:
        value = super().__getitem__(name)
        if value is self.__dict__.get("entry", {}).get(name):
            self.seen.add(name)
        return value

    def __delitem__(self, name: str) -> None:
        if name in self and super().__getitem__(name) is self.entry.get(name):
            self.seen.add(name)
        super().__delitem__(name)


@settings(max_examples=60)
@given(source=PROGRAMS, choices=st.lists(st.booleans(), min_size=1, max_size=12))
def test_what_really_happens_was_foreseen(source: str, choices: list[bool]) -> None:
    """Run for real: entry values looked up are reads, names bound are writes, and certain writes are there."""
    helpers = {"T", "R", "Boom"}
    names = analyze(source, builtins=BUILTINS | helpers)
    space = Watched(choices)
    try:
        code = compile(source, "<cell>", "exec")
    except SyntaxError:  # found after parsing, for example a walrus over a comprehension's own variable
        reject()
    try:
        exec(code, space)
        ended = True
    except (Boom, NameError, AttributeError, TypeError, StopIteration, RecursionError):
        ended = False
    assert space.seen <= names.reads
    if ended:
        known = space.keys() - helpers - {"__name__", "__builtins__", "__annotations__"}
        changed = {name for name in known if space.entry.get(name) is not dict.__getitem__(space, name)}
        assert changed <= names.writes
        assert names.must_write <= known
        assert {name for name in "abc" if name not in space} <= names.deletes | names.temporaries | (
            names.writes - names.must_write
        )
