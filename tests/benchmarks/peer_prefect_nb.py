"""prefect_nb: flows of functions, every state durable; copy this file into the harness's ``peers`` as prefect_nb.py."""

import benchlib
from benchlib import w1_expected, w2_expected, w4_deps, w4_expected, w4_shape

PEER = {
    "name": "prefect_nb",
    "requirements": ["-e $PREFECT_NB_SRC", "numpy"],
    "packages": ["prefect_nb"],
    "import": "prefect_nb",
    "env": {"PREFECT_NB_STORE": "{work}/state"},
    "variants": {
        "default": {
            "workloads": ["W1", "W2", "W3", "W4", "W5", "W6", "W7", "W9"],
            "durable": "every state and result, fsynced in groups, before it is told",
            "note": "all defaults; W5 async tasks",
        },
        "finished_run": {
            "workloads": ["W2", "W3"],
            "durable": "every state and result, fsynced in groups, before it is told",
            "note": "W3: the value of the finished run by its id",
        },
    },
}


def engine():
    """Open the store with a first, empty flow, outside the measured part."""
    import prefect_nb

    @prefect_nb.flow
    def warm():
        return 0

    warm()
    return prefect_nb


def w1(ctx):
    """A chain."""
    p = engine()

    @p.task
    def inc(x):
        return x + 1

    @p.flow
    def chain(n):
        x = 0
        for _ in range(n):
            x = inc(x)
        return x

    with ctx.measure():
        got = chain(ctx.n)
    ctx.check(got, w1_expected(ctx.n))


def w2(ctx):
    """A map and a sum."""
    p = engine()

    @p.task
    def inc(x):
        return x + 1

    @p.task
    def total(xs):
        return sum(xs)

    @p.flow
    def mapped(n):
        return total(inc.map(range(n)))

    finished = ctx.variant == "finished_run" and _last(p, mapped.name, "Success")
    with ctx.measure():
        got = p.resume(finished).result() if finished else mapped(ctx.n)
    ctx.check(got, w2_expected(ctx.n))


def _last(p, name, *states):
    """The id of a flow's newest run in one of these states."""
    store = p.open_store(readonly=True)
    found = [r.run for r in store.runs(flow=name, limit=1) if r.state in states]
    store.close()
    return found[0] if found else ""


def w4(ctx):
    """Layers."""
    p = engine()
    layers, width = w4_shape(ctx.n)

    @p.task
    def add3(a, b, c):
        return benchlib.add3(a, b, c)

    @p.task
    def total(xs):
        return sum(xs)

    @p.flow
    def deep():
        row = list(range(width))
        for layer in range(1, layers):
            row = [add3(*(row[d] for d in w4_deps(layer, j, width))) for j in range(width)]
        return total(row)

    with ctx.measure():
        got = deep()
    ctx.check(got, w4_expected(layers, width))


def w5(ctx):
    """Many that only wait."""
    import asyncio

    p = engine()

    @p.task
    async def nap(i):
        await asyncio.sleep(benchlib.W5_SLEEP)
        return 1

    @p.task
    def total(xs):
        return sum(xs)

    @p.flow
    def naps(n):
        return total([nap(i) for i in range(n)])

    with ctx.measure():
        got = naps(ctx.n)
    ctx.check(got, ctx.n)


def w6(ctx):
    """One task."""
    import prefect_nb as p

    @p.task
    def inc(x):
        return x + 1

    @p.flow
    def one():
        return inc(0)

    with ctx.measure():
        got = one()
    ctx.check(got, 1)


def w7(ctx):
    """A large result."""
    p = engine()

    @p.task(cache="always")
    def big(nbytes):
        return benchlib.big_array(nbytes)

    @p.flow
    def f():
        array = big(benchlib.W7_BYTES).result()
        ctx.ok = float(array[-1]) == float(len(array) - 1)

    with ctx.measure():
        f()


def w9(ctx):
    """A map that is killed half way; the second process goes on with the run that it finds."""
    p = engine()

    @p.task
    def body(x):
        return benchlib.w9_body(x)

    @p.task
    def total(xs):
        return sum(xs)

    @p.flow
    def mapped(n):
        return total(body.map(range(n)))

    store = p.open_store(readonly=True)
    left = [r for r in store.runs(flow=mapped.name, limit=1) if r.state not in ("Success", "Cancelled")]
    store.close()
    with ctx.measure():
        got = p.resume(left[0].run).result() if left else mapped(ctx.n)
    ctx.check(got, w2_expected(ctx.n))


if __name__ == "__main__":
    benchlib.main(globals())
