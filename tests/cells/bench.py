"""Where cells are examined: a shell of this process, or a real kernel. Both are told and asked the same."""

from __future__ import annotations

import asyncio
import atexit
import builtins
import gc
import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cells import probe
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Type
from traitlets.config import Config

__all__ = ["Bench", "KernelBench", "ShellBench", "Shown"]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SHOWN_FIRST = ("image/png", "image/svg+xml", "text/html", "text/plain")


@dataclass
class Shown:
    """What executing one cell showed: lines as a catalogue writes them, and the name of the exception."""

    lines: list[str] = field(default_factory=list)
    error: str = ""
    errors: int = 0

    def stream(self, name: str, text: str) -> None:
        """Text of a stream; pieces without anything between them are one."""
        if self.lines and self.lines[-1].startswith(f"{name}:"):
            self.lines[-1] += text
        else:
            self.lines.append(f"{name}:{text}")

    def display(self, data: dict[str, Any]) -> None:
        """A display; text is shown, the rest by its type. Our own small notes about a hit are not the user's."""
        if "opacity:.7" in str(data.get("text/html", "")) or "application/vnd.prefect-nb.flow+json" in data:
            return
        kind = next((k for k in SHOWN_FIRST if k in data), next(iter(data), ""))
        self.lines.append(f"display:{data[kind]}" if kind == "text/plain" else f"display:{kind}")


class Bench:
    """One notebook's session; the notebook itself is passed with every call."""

    folder: Path

    def execute(self, cell_id: str, source: str, document: list[dict[str, str]]) -> Shown:
        """Execute a cell as the page does."""
        raise NotImplementedError

    def tell(self, document: list[dict[str, str]]) -> None:
        """The page changed."""
        raise NotImplementedError

    def report(self) -> dict[str, Any]:
        """What the kernel knows, see :mod:`cells.probe`."""
        raise NotImplementedError

    def value(self, expression: str) -> str:
        """The repr of an expression in the user's namespace."""
        raise NotImplementedError

    def force(self, cell_id: str) -> None:
        """Have the next execution of a cell computed again."""
        raise NotImplementedError

    def setenv(self, name: str, value: str) -> None:
        """Set a variable of the session's process."""
        raise NotImplementedError

    def restart(self) -> None:
        """A new session on the same store."""
        raise NotImplementedError

    def close(self) -> None:
        """End the session."""
        raise NotImplementedError


# --- in this process -------------------------------------------------------------------------------------------------


class _Hook(DisplayHook):
    def write_format_data(self, format_dict: dict[str, Any], md_dict: Any = None) -> None:
        self.shell.shown.lines.append(f"result:{format_dict.get('text/plain', next(iter(format_dict), ''))}")

    def write_output_prompt(self) -> None: ...

    def finish_displayhook(self) -> None: ...


class _Publisher(DisplayPublisher):
    def publish(self, data: dict[str, Any], metadata: Any = None, **more: Any) -> None:
        if not more.get("update"):
            self.shell.shown.display(data)


class _Shell(InteractiveShell):
    displayhook_class = Type(_Hook)
    display_pub_class = Type(_Publisher)
    shown: Any = None

    def showtraceback(self, *args: Any, **more: Any) -> None: ...

    def enable_gui(self, gui: Any = None) -> None: ...


class _Stream(io.StringIO):
    def __init__(self, shell: _Shell, name: str) -> None:
        super().__init__()
        self._shell, self._name = shell, name

    def write(self, text: str) -> int:
        self._shell.shown.stream(self._name, text)
        return len(text)


class ShellBench(Bench):
    """A shell of this process with the extension loaded.

    Parameters
    ----------
    folder : Path
        The notebook's folder; the store lies there, local modules are found there.
    pull : bool
        Bring tasks up to date as ``%flow run`` does instead of executing them as the user does.
    """

    def __init__(self, folder: Path, *, pull: bool = False) -> None:
        self.folder = folder
        self.pull = pull
        self._bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        self._main = sys.modules["__main__"]
        self._builtins = dict(vars(builtins))
        self._hook = sys.displayhook
        sys.path.insert(0, str(folder))
        (folder / "pyproject.toml").touch()
        os.chdir(folder)
        gc.freeze()  # what other tests loaded is not looked through again each time a shell ends
        self._start()

    def _start(self) -> None:
        InteractiveShell.clear_instance()
        config = Config()
        config.HistoryManager.enabled = False
        self.shell: Any = _Shell.instance(config=config)
        self.shell.shown = Shown()
        self._streams = {name: _Stream(self.shell, name) for name in ("stdout", "stderr")}
        self.shell.extension_manager.load_extension("prefect_nb")

    def _stop(self) -> None:
        self.shell.extension_manager.unload_extension("prefect_nb")
        atexit.unregister(self.shell.atexit_operations)
        self.shell.user_ns.clear()
        _Shell.clear_instance()
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(self.folder)):
                del sys.modules[name]
        gc.collect()

    def execute(self, cell_id: str, source: str, document: list[dict[str, str]]) -> Shown:
        self.tell(document)
        shown = self.shell.shown = Shown()
        with redirect_stdout(self._streams["stdout"]), redirect_stderr(self._streams["stderr"]):
            if self.pull and source.startswith("%%task"):
                runner = probe.extension(self.shell).runner
                runner.flow._forget_gone()  # as the cell with %flow run does when it arrives
                cell = runner.flow.document.cell(cell_id)
                asyncio.run(runner.bring(cell))
                return shown
            result = self.shell.run_cell(source, store_history=True, cell_id=cell_id)
        error = result.error_before_exec or result.error_in_exec
        shown.error = type(error).__name__ if error is not None else ""
        shown.errors = int(error is not None)
        return shown

    def tell(self, document: list[dict[str, str]]) -> None:
        probe.extension(self.shell).flow.set_document(document)

    def report(self) -> dict[str, Any]:
        return probe.report(self.shell)

    def value(self, expression: str) -> str:
        ours = probe.extension(self.shell)
        ours.flow.ns.materialize_all()
        return repr(eval(expression, self.shell.user_ns))

    def force(self, cell_id: str) -> None:
        probe.force(cell_id, self.shell)

    def setenv(self, name: str, value: str) -> None:
        os.environ[name] = value

    def restart(self) -> None:
        self._stop()
        self._start()

    def close(self) -> None:
        self._stop()
        sys.path.remove(str(self.folder))
        sys.modules["__main__"] = self._main
        sys.displayhook = self._hook
        sys.dont_write_bytecode = self._bytecode
        for name in set(vars(builtins)) - set(self._builtins):
            delattr(builtins, name)


# --- a real kernel ---------------------------------------------------------------------------------------------------


class KernelBench(Bench):
    """A real kernel that is told the document with every request, as JupyterLab's extension does."""

    def __init__(self, folder: Path, make: Any) -> None:
        self.folder = folder
        (folder / "pyproject.toml").touch()
        path = os.pathsep.join([str(HERE.parent), str(ROOT)])
        self.kernel = make(folder, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1")
        self._load()

    def _load(self) -> None:
        assert self.kernel.run("%load_ext prefect_nb").ok

    def _ask(self, expression: str) -> Any:
        request = self.kernel.send("", silent=True, store_history=False, user_expressions={"answer": expression})
        answer = self.kernel.wait(request).reply["content"]["user_expressions"]["answer"]
        assert answer["status"] == "ok", answer
        return answer["data"]["text/plain"]

    def _probe(self, call: str) -> Any:
        return json.loads(eval(self._ask(f"__import__('json').dumps(__import__('cells.probe').probe.{call})")))

    def execute(self, cell_id: str, source: str, document: list[dict[str, str]]) -> Shown:
        metadata = {"prefect_nb": {"document": document}}
        run = self.kernel.run(source, cell_id=cell_id, metadata=metadata)
        shown = Shown()
        for output in run.outputs:
            if output["type"] == "stream":
                shown.stream(output["name"], output["text"])
            elif output["type"] == "display_data":
                shown.display(output["data"])
            elif output["type"] == "execute_result":
                shown.lines.append(f"result:{output['data'].get('text/plain')}")
            elif output["type"] == "error":
                shown.error, shown.errors = output["ename"], shown.errors + 1
        return shown

    def tell(self, document: list[dict[str, str]]) -> None:
        self._probe(f"extension().flow.set_document({document!r})")

    def report(self) -> dict[str, Any]:
        return dict(self._probe("report()"))

    def value(self, expression: str) -> str:
        self._probe("extension().flow.ns.materialize_all()")
        return str(eval(self._ask(f"repr({expression})")))

    def force(self, cell_id: str) -> None:
        self._probe(f"force({cell_id!r})")

    def setenv(self, name: str, value: str) -> None:
        self._ask(f"__import__('os').environ.__setitem__({name!r}, {value!r})")

    def restart(self) -> None:
        self.kernel.restart()
        self._load()

    def close(self) -> None: ...
