"""Stop, cancel and time-out reach the running body, whatever it is doing, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

BODIES = {
    "loop": "while True: pass",
    "sleep": "import time\ntime.sleep(60)",
    "lock": "import threading\nthreading.Event().wait(60)",
    "await": "import asyncio\nawait asyncio.sleep(60)",
    "mixed": "import asyncio\nwhile True:\n    await asyncio.sleep(0)\n    sum(range(10_000))",
    "sync after await": "import asyncio\nawait asyncio.sleep(0)\nwhile True: pass",
    "sync inside a coroutine": (
        "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    while True: pass\nawait f()"
    ),
    "sync inside a child task": (
        "import asyncio\nasync def f():\n    while True: pass\nawait asyncio.gather(f(), asyncio.sleep(60))"
    ),
}


def _said(word: str) -> Any:
    return lambda message: message["msg_type"] == "stream" and word in message["content"]["text"]


def _next_cell_is_normal(kernel: Any) -> None:
    after = kernel.run("import asyncio\nawait asyncio.sleep(0.01)\nasyncio.current_task().cancelling()")
    assert after.ok
    assert after.result == "0"
    assert kernel.value("__import__('signal').getsignal(2).__name__") == "'default_int_handler'"


@pytest.mark.parametrize("name", BODIES)
def test_stop_ends_the_body(task_kernel: Any, name: str) -> None:
    """The Stop button ends synchronous, awaiting and mixed bodies with one error, and the next cell runs."""
    request = task_kernel.send(f"%%task 7\nprint('go', flush=True)\n{BODIES[name]}")
    task_kernel.wait(request, until=_said("go"))
    task_kernel.interrupt()
    run = task_kernel.wait(request, limit=15)
    assert len(run.errors) == 1
    assert run.errors[0]["ename"] in {"KeyboardInterrupt", "CancelledError"}
    assert task_kernel.value("last.kind, last.why") == "('interrupted', 'stop')"
    _next_cell_is_normal(task_kernel)


@pytest.mark.parametrize("name", BODIES)
def test_a_request_from_another_thread_ends_only_its_body(task_kernel: Any, tmp_path: Path, name: str) -> None:
    """A request with the body's token interrupts it and says why; one with another token or too late does nothing."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    source = f"""%%task 7
import threading
answers = []
def ask(gate={str(gate)!r}):
    open(gate).read()
    answers.append(interrupts.request(6, "cancel"))
    answers.append(interrupts.request(7, "timeout"))
threading.Thread(target=ask).start()
print("go", flush=True)
"""
    request = task_kernel.send(source + BODIES[name])
    task_kernel.wait(request, until=_said("go"))
    gate.write_text("now")
    assert len(task_kernel.wait(request, limit=15).errors) == 1
    assert task_kernel.value("last.kind, last.why, answers") == "('interrupted', 'timeout', [False, True])"
    assert task_kernel.value("interrupts.request(7, 'cancel')") == "False"
    _next_cell_is_normal(task_kernel)


def test_a_body_may_catch_an_interrupt_and_hears_the_next(task_kernel: Any) -> None:
    """A body that swallows KeyboardInterrupt goes on; a second one ends it."""
    request = task_kernel.send(
        "%%task 7\nimport time\ntry:\n    print('go', flush=True)\n    time.sleep(60)\nexcept KeyboardInterrupt:\n"
        "    print('caught', flush=True)\nwhile True: pass"
    )
    task_kernel.wait(request, until=_said("go"))
    task_kernel.interrupt()
    task_kernel.wait(request, until=_said("caught"))
    task_kernel.interrupt()
    assert len(task_kernel.wait(request, limit=15).errors) == 1
    assert task_kernel.value("last.kind, last.why") == "('interrupted', 'stop')"
    _next_cell_is_normal(task_kernel)


def test_a_body_that_catches_and_returns_has_returned(task_kernel: Any) -> None:
    """An interrupt that the body handles is no failure; the end still tells that somebody asked."""
    request = task_kernel.send(
        "%%task 7\nimport asyncio\nasync def go():\n    print('go', flush=True)\ntry:\n"
        "    await asyncio.gather(go(), asyncio.sleep(60))\nexcept asyncio.CancelledError:\n    pass\nprint('tidy')"
    )
    task_kernel.wait(request, until=_said("go"))
    task_kernel.interrupt()
    run = task_kernel.wait(request, limit=15)
    assert run.ok
    assert "tidy" in run.text()
    assert task_kernel.value("last.kind, last.why") == "('returned', 'stop')"
    _next_cell_is_normal(task_kernel)


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "__import__('asyncio').CancelledError", "SystemExit(2)"])
def test_what_the_user_raises_is_not_an_interrupt(task_kernel: Any, raised: str) -> None:
    """A body that raises such an exception by itself has raised."""
    run = task_kernel.run(f"%%task 7\nraise {raised}")
    assert not run.ok
    assert task_kernel.value("last.kind, last.why") == "('raised', None)"
