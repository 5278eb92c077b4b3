"""A runner as small as can be, for kernels under test: every task cell simply runs, with everything that surrounds it.

Executed inside a kernel as a cell; leaves ``record`` (the last capture's outputs), ``last`` (the last end) and
``interrupts`` in the user's namespace.
"""

from __future__ import annotations

from typing import Any

from IPython import get_ipython

from prefect_nb.authoring import transform
from prefect_nb.authoring.body import Body
from prefect_nb.authoring.capture import Capture
from prefect_nb.authoring.interrupts import Interrupts
from prefect_nb.authoring.tracebacks import present

interrupts = Interrupts()
texts: list[tuple[str, str]] = []


async def runner(line: str, cell: str) -> None:
    shell: Any = get_ipython()
    try:
        body = Body(shell, cell, 1)
    except SyntaxError as error:
        failure, tb, before = error, None, True
    else:
        texts.clear()
        with Capture(shell, on_text=lambda name, text: texts.append((name, text))) as capture:
            end = await body.run(shell.user_ns, interrupts, token=int(line) if line.isdigit() else 1)
        shell.user_ns |= {"record": capture.outputs(), "last": end, "capture": capture, "texts": texts}
        failure, tb, before = end.error, end.traceback, False
    if failure is not None:
        raise present(shell, failure, tb, before_run=before)


def line_of_misplaced(source: str) -> int | None:
    lines = source.splitlines()
    return next((number for number, text in enumerate(lines, 1) if number > 1 and text.startswith("%%task")), None)


transform.install(get_ipython(), runner, line_of_misplaced)
