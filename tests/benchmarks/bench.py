"""The figures that the project promises, measured in one run and printed as ratios; nothing is asserted.

Run it on a quiet machine::

    python tests/benchmarks/bench.py            # all of it, about three minutes
    python tests/benchmarks/bench.py cells      # one part: analysis, cells, large, calls, demo or views

Each figure is a median over interleaved runs in fresh folders; read ratios, not seconds.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from analysis import analysis
from jupyter_client.manager import start_new_kernel

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "notebooks" / "flights.ipynb"
HEADER = re.compile(r"^(%%task|#\| task:).*\n", re.M)


class Kernel:
    """A real kernel in a folder of its own, which tells how long a request took."""

    def __init__(self, folder: Path) -> None:
        (folder / "pyproject.toml").write_text("")
        self.manager, self.client = start_new_kernel(kernel_name="python3", cwd=str(folder))

    def run(self, code: str, metadata: dict[str, Any] | None = None) -> tuple[float, str]:
        """Seconds from request to idle, and what was printed; `metadata` is what a page adds to its request."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}}
        content |= {"allow_stdin": False, "stop_on_error": True}
        message = self.client.session.msg("execute_request", content, metadata=metadata or {})
        request = message["header"]["msg_id"]
        began = time.perf_counter()
        self.client.shell_channel.send(message)
        said = ""
        while True:
            message = self.client.get_iopub_msg(timeout=120)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                said += content["text"]
            elif message["msg_type"] == "error":
                raise RuntimeError("\n".join(content["traceback"]))
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return time.perf_counter() - began, said

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def milliseconds(times: list[float]) -> str:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(times, n=4)
    return f"{1000 * middle:7.2f} ms  (quartiles {1000 * low:.2f} .. {1000 * high:.2f})"


def cells(folder: Path, count: int = 20) -> None:
    """A trivial cell: plain, as a task that runs, as a task that is reused."""
    kernel = Kernel(folder)
    for number in range(5):
        kernel.run(f"v{number} = {number}")
    # before the extension is loaded, so these cannot be interleaved with the others
    bare = [kernel.run(f"v{number} = {number}")[0] for number in range(count)]
    kernel.run("%load_ext prefect_nb")
    kernel.run("%%task warm\nw = 0")
    plain, runs, hits = [], [], []
    for number in range(count):
        plain.append(kernel.run(f"x{number} = {number}")[0])
        source = f"%%task t{number}\ny{number} = {number} + 1"
        runs.append(kernel.run(source)[0])
        hits.append(kernel.run(source)[0])
    kernel.close()
    print(f"bare kernel cell           {milliseconds(bare)}  measured before the rest")
    _told("plain cell", bare, plain)
    _told("task cell, durable", plain, runs)
    _told("task cell, reused", plain, hits)


def _told(name: str, base: list[float], times: list[float]) -> None:
    more = 1000 * (statistics.median(times) - statistics.median(base))
    print(f"{name:26} {milliseconds(times)}  {more:+.2f} ms")


def large(folder: Path, size: int = 81) -> None:
    """The same cells in a notebook of `size` cells, whose page tells the order with each request."""
    kernel = Kernel(folder)
    kernel.run("%load_ext prefect_nb")
    cells_: list[tuple[str, str]] = [("c0", "a0 = 0")]
    for number in range(1, size):
        source = f"a{number} = a{number - 1} + 1"
        cells_.append((f"c{number}", f"%%task t{number}\n{source}" if number % 4 else source))
    rows = [{"id": cell, "source": source} for cell, source in cells_]

    def run(number: int) -> float:
        cell, source = cells_[number]
        return kernel.run(source, {"cellId": cell, "prefect_nb": {"document": rows}})[0]

    first = [run(number) for number in range(size)]
    plain = [first[n] for n in range(size) if n % 4 == 0 and n]
    runs = [first[n] for n in range(size) if n % 4]
    hits = [run(n) for n in range(size) if n % 4]
    kernel.close()
    print(f"of {size} cells, plain         {milliseconds(plain)}")
    _told(f"of {size} cells, task", plain, runs)
    _told(f"of {size} cells, reused", plain, hits)


def calls(folder: Path) -> None:
    """A thousand trivial function tasks in one cell, and what each commit costs here."""
    kernel = Kernel(folder)
    kernel.run("%load_ext prefect_nb")
    kernel.run("from prefect_nb import task\n\n@task\ndef square(x):\n    return x * x")
    kernel.run("%%task warm\nw = square(-1)")
    timer = "import time\nt = time.perf_counter()\n{}\nprint(time.perf_counter() - t)"
    fresh, again = [], []
    for round_ in range(3):
        body = f"r = [square(i) for i in range({round_ * 1000}, {round_ * 1000 + 1000})]"
        took, said = kernel.run(f"%%task many{round_}\n" + timer.format(body))
        fresh.append((float(said), took))
        took, said = kernel.run(f"%%task again{round_}\n" + timer.format(body))
        again.append((float(said), took))
    kernel.close()
    inside, whole = (statistics.median(column) for column in zip(*fresh, strict=True))
    print(
        f"function task, computed    {1000 * inside:7.1f} us a call; whole cell {1000 * whole:.1f} us a call, durable"
    )
    inside, whole = (statistics.median(column) for column in zip(*again, strict=True))
    print(
        f"function task, reused      {1000 * inside:7.1f} us a call; whole cell {1000 * whole:.1f} us a call, durable"
    )
    print(f"one fdatasync of 4 KiB     {1e6 * statistics.median(_syncs(folder)):7.1f} us")


def _syncs(folder: Path) -> list[float]:
    times = []
    with open(folder / "sync", "wb", buffering=0) as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(b"\0" * 4096)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return times


def demo(folder: Path, rounds: int = 3) -> None:
    """The demo notebook headless: plain papermill, ours with nothing cached, ours with everything cached."""
    plain = folder / "plain.ipynb"
    plain.write_text(json.dumps(_stripped(json.loads(DEMO.read_text()))))
    script = Path(sys.executable).with_name("papermill")
    ours = Path(sys.executable).with_name("prefect-nb")
    times: dict[str, list[float]] = {"papermill": [], "nothing cached": [], "everything cached": [], "bare kernel": []}
    for number in range(rounds):
        place = folder / f"round{number}"
        place.mkdir()
        (place / "pyproject.toml").write_text("")
        notebook = place / "flights.ipynb"
        notebook.write_text(DEMO.read_text())
        times["papermill"].append(
            _timed([str(script), str(plain), str(place / "plain.out.ipynb"), "--no-progress-bar"])
        )
        run = [str(ours), "run", str(notebook), str(place / "out.ipynb")]
        times["nothing cached"].append(_timed(run))
        times["everything cached"].append(_timed(run))
        times["bare kernel"].append(_timed_kernel(place))
    base = statistics.median(times["papermill"])
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"demo, {name:20} {middle:7.2f} s   {middle / base:5.2f} x papermill")


def views(folder: Path) -> None:
    """Layout, pictures, paint and patches; see `views.py` beside this file."""
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import views; from pathlib import Path"
    subprocess.run([sys.executable, "-c", f"{script}; views.measure(Path({str(folder)!r}))"], check=True)


def _stripped(notebook: dict[str, Any]) -> dict[str, Any]:
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            source = HEADER.sub("", source)
            if source.startswith(("%load_ext prefect_nb", "%flow")):
                source = ""
        cell["source"] = source
    return notebook


def _timed(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def _timed_kernel(folder: Path) -> float:
    began = time.perf_counter()
    Kernel(folder).close()
    return time.perf_counter() - began


PARTS: dict[str, Callable[[Path], None]] = {
    "analysis": lambda folder: analysis(),
    "cells": cells,
    "large": large,
    "calls": calls,
    "demo": demo,
    "views": views,
}


def main() -> None:
    """Run the parts that the command line names, or all of them."""
    for name in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            print(f"== {name}")
            PARTS[name](Path(folder))


if __name__ == "__main__":
    main()
