"""Real kernels for tests: started through jupyter_client, always shut down, no waiting without a limit."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[2]
LIMIT = 30.0


class Run:
    """The messages of one executed cell, until the kernel was idle again."""

    def __init__(self, messages: list[dict[str, Any]], reply: dict[str, Any]) -> None:
        self.messages = messages
        self.reply = reply

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """Type and content of what the cell showed, in order."""
        wanted = {"stream", "display_data", "update_display_data", "execute_result", "error", "clear_output"}
        return [{"type": m["msg_type"], **m["content"]} for m in self.messages if m["msg_type"] in wanted]

    def text(self, name: str = "stdout") -> str:
        """All text of one stream."""
        return "".join(o["text"] for o in self.outputs if o["type"] == "stream" and o["name"] == name)

    @property
    def result(self) -> str | None:
        """The plain text of the cell's result."""
        found = [o["data"]["text/plain"] for o in self.outputs if o["type"] == "execute_result"]
        return found[-1] if found else None

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The tracebacks that were shown."""
        return [o for o in self.outputs if o["type"] == "error"]

    @property
    def ok(self) -> bool:
        """Whether the kernel says that the cell succeeded."""
        return bool(self.reply["content"]["status"] == "ok")


class Kernel:
    """One running kernel and a client of it."""

    def __init__(self, cwd: Path, env: dict[str, str]) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        # A kernel that finds pytest's variable does not listen to its own file descriptors, unlike a user's kernel.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        for last in (False, True):  # a port that was free when it was chosen may be taken before the kernel has it
            self.manager = KernelManager(kernel_name="python3")
            self.manager.start_kernel(cwd=str(cwd), env={**inherited, "PYTHONPATH": path, **env})
            self.client = self.manager.client()
            self.client.start_channels()
            try:
                self.client.wait_for_ready(timeout=LIMIT)
                break
            except RuntimeError:
                if last or self.manager.is_alive():
                    raise
                self.client.stop_channels()
                self.manager.cleanup_resources()
        self.others: list[dict[str, Any]] = []

    def send(
        self, code: str, *, cell_id: str | None = None, metadata: dict[str, Any] | None = None, **content: Any
    ) -> str:
        """Send an execute request as a front end does; the message's id.

        Other than front ends do, a failure does not abort what is sent next, unless ``stop_on_error=True`` asks for it.
        """
        usual = {"silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = self.client.session.msg("execute_request", {"code": code, "stop_on_error": False, **usual, **content})
        message["metadata"] = {**(metadata or {}), **({"cellId": cell_id} if cell_id is not None else {})}
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def wait(
        self,
        request: str,
        *,
        until: Callable[[dict[str, Any]], bool] | None = None,
        limit: float = LIMIT,
    ) -> Run:
        """Collect a request's messages until the kernel is idle again, or only until one of them satisfies `until`.

        Messages of other requests are kept in ``others``.
        """
        ends = time.monotonic() + limit
        messages: list[dict[str, Any]] = []
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=max(0.01, ends - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the kernel was not idle after {limit} s; so far: {messages}") from None
            if message["parent_header"].get("msg_id") != request:
                self.others.append(message)
                continue
            messages.append(message)
            if until is not None:
                if until(message):
                    return Run(messages, {})
            elif message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return Run(messages, self._reply(request, ends))

    def run(self, code: str, cell_id: str | None = None, metadata: dict[str, Any] | None = None, **content: Any) -> Run:
        """Execute a cell to its end."""
        return self.wait(self.send(code, cell_id=cell_id, metadata=metadata, **content))

    def value(self, expression: str) -> str:
        """The repr of an expression in the kernel; the expression must not fail."""
        run = self.run("None", user_expressions={"value": expression})
        answer = run.reply["content"]["user_expressions"]["value"]
        assert answer["status"] == "ok", answer
        return str(answer["data"]["text/plain"])

    def interrupt(self) -> None:
        """Press Stop."""
        self.manager.interrupt_kernel()

    def restart(self) -> None:
        """Restart the kernel and wait for it."""
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(timeout=LIMIT)

    def close(self) -> None:
        """End the kernel at once."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()

    def _reply(self, request: str, ends: float) -> dict[str, Any]:
        while True:
            reply: dict[str, Any] = self.client.get_shell_msg(timeout=max(0.01, ends - time.monotonic()))
            if reply["parent_header"].get("msg_id") == request:
                return reply


@pytest.fixture
def make_kernel(tmp_path: Path) -> Iterator[Callable[..., Kernel]]:
    """Start kernels with an environment of their own; all are ended with the test."""
    kernels: list[Kernel] = []

    def make(cwd: Path | None = None, **env: str) -> Kernel:
        kernel = Kernel(cwd or tmp_path, {"PREFECT_NB_HOME": str(tmp_path / "home"), **env})
        kernels.append(kernel)
        return kernel

    yield make
    for kernel in kernels:
        kernel.close()


@pytest.fixture(scope="module")
def shared_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """One plain kernel for a whole module."""
    home = tmp_path_factory.mktemp("kernel")
    kernel = Kernel(home, {"PREFECT_NB_HOME": str(home / "home")})
    yield kernel
    kernel.close()


@pytest.fixture
def kernel(make_kernel: Callable[..., Kernel]) -> Kernel:
    """One plain kernel for one test."""
    return make_kernel()


@pytest.fixture(scope="module")
def task_kernel(shared_kernel: Kernel) -> Kernel:
    """A kernel where task cells run through the smallest possible runner; shared by a module."""
    harness = Path(__file__).with_name("harness.py").read_text()
    assert shared_kernel.run(harness).ok
    return shared_kernel
