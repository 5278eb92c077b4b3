"""Parsing in several threads."""

from __future__ import annotations

import ast
import gc
import sys
import threading
from collections.abc import Iterator

import pytest

from prefect_nb.analysis.parsing import parse

SOURCE = "\n".join(f"def f{i}(a, b):\n    return [(a + {i}, [a, {{1: b}}]) for a in b if a]" for i in range(30))


@pytest.fixture
def _restless() -> Iterator[None]:
    """Threads change places, and garbage is looked for, as often as can be."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*thresholds)


class Loop:
    """Garbage whose end runs Python, where another thread may take over."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        sum(range(20))


@pytest.mark.usefixtures("_restless")
def test_threads_that_parse_at_once_do_not_fail() -> None:
    """As the interpreter's own parser does: SystemError, AST constructor recursion depth mismatch."""
    failed: list[BaseException] = []
    wanted = ast.dump(parse(SOURCE))

    def many() -> None:
        for _ in range(12):
            Loop()
            try:
                assert ast.dump(parse(SOURCE)) == wanted
            except BaseException as error:
                failed.append(error)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_it_parses_as_the_interpreter_does() -> None:
    """Modules, expressions, and what has no syntax."""
    assert ast.dump(parse("a = 1")) == ast.dump(ast.parse("a = 1"))
    assert ast.dump(parse("a + 1", mode="eval")) == ast.dump(ast.parse("a + 1", mode="eval"))
    with pytest.raises(SyntaxError):
        parse("a =")
