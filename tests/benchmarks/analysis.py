"""What reading cells and values costs, in CPU time of this process: analysis, graph, fingerprints."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from prefect_nb.analysis.names import analyze
from prefect_nb.analysis.values import fingerprint
from prefect_nb.authoring.document import Document

__all__ = ["analysis"]

_FIVE = (
    "x{i} = df{i}.groupby('k{i}').agg(total=('v', 'sum'), n=('v', 'count')).reset_index()",
    "y{i} = [f(x) * {i} for x in values if x > {i}]",
    "if y{i}:",
    "    z{i} = np.log1p(x{i}['total'].to_numpy() + y{i}[0]) / scale",
    "    total += z{i}.sum()",
)


def analysis() -> None:
    """Print the lines of this part."""
    source = "\n".join(line.format(i=i) for i in range(40) for line in _FIVE)
    count = iter(range(10**9))
    parse = _cpu(lambda: ast.parse(source))
    cell = _cpu(lambda: analyze(f"{source}\nn = {next(count)}"))
    print(f"dense cell of 200 lines    {1e3 * cell:7.2f} ms CPU, {cell / parse:.1f} x parsing it  (bar 5 ms)")
    print(f"graph of 200 after an edit {1e3 * _edited():7.2f} ms CPU  (bar 20 ms)")
    small = {"region": "EU", "day": "2026-11-22", "n": 3, "share": 0.25}
    print(
        f"small dict                 {1e6 * _cpu(lambda: [fingerprint(small) for _ in range(100)]) / 100:7.2f} us CPU"
    )
    frame = pd.DataFrame(np.random.default_rng(0).random((650_000, 10)))
    took = _wall(lambda: fingerprint(frame))
    print(f"frame of 52 MB             {1e3 * took:7.2f} ms  (bar 15 ms)")
    array = np.random.default_rng(0).random(1 << 27)
    rate = array.nbytes / 1e9 / _wall(lambda: fingerprint(array), 3)
    print(f"array of 1 GB              {rate:7.2f} GB/s  (bar 2 GB/s)")


def _edited() -> float:
    rows = [
        {"id": f"c{i}", "source": f"%%task t{i}\na{i} = a{max(i - 1, 0)} + {i}" if i else "a0 = 0"} for i in range(200)
    ]
    document = Document(lambda text: text)
    document.replace(rows)
    document.careful
    best = 1.0
    for number in range(15):
        rows[100] = {"id": "c100", "source": f"%%task t100\na100 = a99 + {number} + 1000"}
        began = time.process_time()
        document.replace(rows)
        document.to_plain()
        document.careful
        best = min(best, time.process_time() - began)
    return best


def _cpu(work: Callable[[], object], rounds: int = 20) -> float:
    """Seconds of CPU, the least of several rounds."""
    best = 1e9
    for _ in range(rounds):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def _wall(work: Callable[[], object], rounds: int = 5) -> float:
    """Seconds on the clock, the least of several rounds: the work may use all processors."""
    best = 1e9
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best
