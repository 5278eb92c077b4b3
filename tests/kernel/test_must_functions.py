"""Must 8: functions as tasks run through the same engine, as children of the cell that calls them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from must_parts import Notebook, said, states

pytestmark = pytest.mark.kernel

DEFINED = """import os, threading, time
from prefect_nb import task, Retry
calls = {}
@task
def square(x, power=2):
    print('squaring', x)
    return x ** power
@task(retry=Retry(2))
def flaky(path):
    with open(path, 'a') as file:
        file.write('x')
    if os.path.getsize(path) < 3:
        raise ValueError('not yet')
    return 'at last'
@task
def outer(n):
    return sum(square(i) for i in range(n))
@task
def down(n):
    return 0 if n == 0 else 1 + down(n - 1)
@task
def broken(x):
    return 1 / x
@task
def endless():
    print('go', flush=True)
    while True:
        pass
class Box:
    @task
    def get(self, y):
        return y + 1"""


@pytest.fixture(scope="module")
def notebook(shared_kernel: Any, tmp_path_factory: pytest.TempPathFactory) -> Notebook:
    """A loaded notebook with function tasks, shared by the module."""
    made = Notebook(shared_kernel, tmp_path_factory.mktemp("ledger"))
    made.load()
    assert made.run("defined", DEFINED).ok
    return made


def _status(notebook: Notebook) -> str:
    return str(notebook.kernel.run("%flow status").text())


def test_calls_are_children_with_states_logs_and_cache(notebook: Notebook) -> None:
    """Calls in a cell return values, are counted below it, keep their logs, and the second cell reuses them."""
    notebook.kernel.run(DEFINED.replace("** power", "** int(power)"), "defined")  # no test before this one called it
    run = notebook.run("many", "%%task many\nmade = [square(i) for i in range(4)]\nmade")
    assert run.result == "[0, 1, 4, 9]"
    assert run.text() == "".join(f"squaring {i}\n" for i in range(4))
    assert notebook.why("many.square").startswith("many.square is Success")
    assert sum("square" in line and "Success" in line for line in _status(notebook).splitlines()) in (1, 4)
    assert "squaring 3" in notebook.kernel.run("%flow logs many.square").text()
    again = notebook.run("more", "%%task more\nmore = [square(i) for i in range(5)]\nmore")
    assert again.result == "[0, 1, 4, 9, 16]"
    assert again.text().count("squaring") == 5
    assert "Cached" in _status(notebook)


def test_default_and_named_arguments_are_one_key(notebook: Notebook) -> None:
    """Spelling an argument differently is the same call; another value is another one."""
    notebook.run("one", "%%task one\none = square(7)")
    notebook.run("two", "%%task two\ntwo = square(x=7, power=2), square(7, 3)\ntwo")
    assert notebook.kernel.value("two") == "(49, 343)"
    assert "Cached" in notebook.why("two.square[0]") or "Cached" in _status(notebook)


def test_a_function_is_retried_with_each_attempts_log(notebook: Notebook, tmp_path: Path) -> None:
    """A function that fails twice succeeds at its third attempt; the cell sees no error."""
    run = notebook.run("f", f"%%task f\ngot = flaky({str(tmp_path / 'tries')!r})\ngot")
    assert (run.ok, run.result) == (True, "'at last'")
    assert "3/3" in _status(notebook)


def test_errors_are_the_users(notebook: Notebook) -> None:
    """What a function raises passes through the cell once, with the user's lines only, and can be caught."""
    run = notebook.run("e", "%%task e\nvalue = broken(0)")
    shown = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(run.errors[0]["traceback"]))
    assert [e["ename"] for e in run.errors] == ["ZeroDivisionError"]
    assert "1 / x" in shown
    assert "/prefect_nb/" not in shown
    caught = "%%task caught\ntry:\n    broken(0)\nexcept ZeroDivisionError as error:\n    kept = repr(error)\nkept"
    assert "division" in str(notebook.run("caught", caught).result)


def test_nested_recursive_and_method_calls(notebook: Notebook) -> None:
    """A task that calls a task, itself, or is a method, returns what the plain function would."""
    run = notebook.run("n", "%%task n\nn = outer(4), down(5), Box().get(1)\nn")
    assert run.ok, run.errors
    assert run.result == "(14, 5, 2)"


def test_calls_from_threads_belong_to_the_cell(notebook: Notebook) -> None:
    """Threads of a cell call tasks as the cell does; all of them are its children."""
    source = (
        "%%task threads\nfrom concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(4) as pool:\n    found = list(pool.map(square, range(100, 120)))\nsum(found)"
    )
    run = notebook.run("threads", source)
    assert run.ok, run.errors
    assert run.result == str(sum(i * i for i in range(100, 120)))
    line = next(line for line in _status(notebook).splitlines() if "20/20" in line)
    assert "square" in line


def test_plain_cells_call_tasks_too(notebook: Notebook) -> None:
    """Outside of task cells a call runs through the engine, and is reused the second time."""
    assert notebook.run("plain", "square(31)").result == "961"
    assert notebook.run("plain2", "square(31)").result == "961"
    assert "Cached" in notebook.why("square")


def test_stop_ends_a_function(notebook: Notebook) -> None:
    """Stop while a function runs ends it and its cell; both are Cancelled and nothing is left running."""
    kernel = notebook.kernel
    request = kernel.send("%%task stopped\nendless()", cell_id="stopped")
    kernel.wait(request, until=said("go"))
    kernel.interrupt()
    run = kernel.wait(request, limit=15)
    assert [e["ename"] for e in run.errors] == ["KeyboardInterrupt"]
    assert "Cancelled" in notebook.why("stopped")
    assert "Cancelled" in notebook.why("stopped.endless")
    assert "Open" in _status(notebook).splitlines()[0]
    assert notebook.run("next", "square(2)").result == "4"


def test_cancelling_a_child_stops_its_body(notebook: Notebook) -> None:
    """A cancel of one call, from another thread, stops that body; the cell gets an error of ours that it may catch."""
    source = (
        "%%task parent --cache never\nimport time\nfrom prefect_nb.errors import TaskCancelled\n"
        "flow = get_ipython()._prefect_nb.rooms.flow\n"
        "def cancel():\n"
        "    while not (found := [v for v in flow.session.run.visits.values()\n"
        "                         if v.id.task == 'parent.endless' and v.state.label == 'Running']):\n"
        "        time.sleep(0.01)\n"
        "    from prefect_nb.core.events import CancelRequested\n"
        "    flow.session.post(CancelRequested(at=time.time(), visit=found[0].id, actor='test'))\n"
        "helper = threading.Thread(target=cancel)\nhelper.start()\n"
        "try:\n    endless()\nexcept TaskCancelled as error:\n    print('caught', error.message)\n"
        "helper.join()\ndel helper, flow"
    )
    run = notebook.run("parent", source)
    assert run.ok, run.errors
    assert "caught parent.endless was cancelled" in run.text()
    assert "Cancelled" in notebook.why("parent.endless")


def test_a_forked_child_calls_plain_functions(notebook: Notebook) -> None:
    """In a child made by fork a task is its function; the parent goes on as if nothing had been."""
    source = (
        "%%task forked --cache never\nreceiver, sender = os.pipe()\nchild = os.fork()\nif not child:\n"
        "    try:\n        os.write(sender, str(square(6)).encode())\n    finally:\n        os._exit(0)\n"
        "answer = os.read(receiver, 10)\nos.waitpid(child, 0)\nanswer"
    )
    run = notebook.run("forked", source)
    assert run.ok, run.errors
    assert run.result == "b'36'"
    assert notebook.run("after", "%%task after_fork\nsquare(8)").result == "64"


def test_tasks_are_pickled_as_functions(notebook: Notebook) -> None:
    """A task survives cloudpickle, and the copy computes the same."""
    run = notebook.run("p", "import cloudpickle\ncloudpickle.loads(cloudpickle.dumps(square))(5)")
    assert run.result == "25", run.errors


REFUSED = {
    "generator": "@task\ndef f():\n    yield 1",
    "async generator": "@task\nasync def f():\n    yield 1",
    "class": "@task\nclass F: ...",
    "number": "task(5)",
    "bad retry": "@task(retry=-1)\ndef f(): ...",
    "bad cache": "@task(cache='sometimes')\ndef f(): ...",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_task_is_refused(notebook: Notebook, name: str) -> None:
    """Generators, classes and senseless options are refused where they are written."""
    run = notebook.kernel.run(REFUSED[name])
    assert [e["ename"] for e in run.errors] == ["UsageError"]


def test_without_the_extension_a_task_is_its_function(tmp_path: Path) -> None:
    """In a plain Python process nothing is opened or written."""
    code = (
        "from prefect_nb import task\n@task\ndef f(x, *more, y=1, **rest):\n    return x, more, y, rest\n"
        "print(f(1, 2, y=3, z=4))\nfrom pathlib import Path\nprint(list(Path('.').iterdir()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["(1, (2,), 3, {'z': 4})", "[]"], done.stderr


def test_the_status_of_functions_is_in_the_graph(notebook: Notebook) -> None:
    """The children's states stand under their cell's name."""
    notebook.run("below", "%%task below\nbelow = [square(i, 5) for i in range(2)]")
    assert states(notebook.kernel)["below"] == "Success"
    rows = _status(notebook).splitlines()
    cell = next(n for n, row in enumerate(rows) if row.startswith("below "))
    child = rows[cell + 1].split()
    assert "square" in child
    assert "Success" in child
