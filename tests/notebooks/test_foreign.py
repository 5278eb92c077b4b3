"""Notebooks that others wrote show with tasks what plain Jupyter shows: first, again, cached, killed and resumed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from dataclasses import dataclass
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import nbformat
import pytest
from filelock import FileLock
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from notebooks.foreign import ALWAYS, DOWNLOADED, RUNTIME, Foreign, cells_of, shown, with_first_cell

from prefect_nb.wiring import open_store

ROOT = Path(__file__).parents[2]
SHELF = Path(tempfile.gettempdir()) / f"prefect-nb-foreign-{os.getuid()}"
LOAD = "%load_ext prefect_nb"
DEATH = "__import__('os').kill(__import__('os').getpid(), 9)"

pytestmark = pytest.mark.kernel


@dataclass(slots=True)
class Place:
    """Where notebooks are executed: a copy of the folder that they came in, and a store."""

    folder: Path
    kernel: str = "python3"

    def copy(self, name: str) -> Place:
        """The same files elsewhere, with no store."""
        made = Place(self.folder.parent / name, self.kernel)
        shutil.copytree(self.folder, made.folder, ignore=shutil.ignore_patterns(".prefect_nb", ".ipynb_checkpoints"))
        return made

    def execute(self, notebook: nbformat.NotebookNode, *, ids: bool = False) -> list[nbformat.NotebookNode]:
        """The notebook's cells after plain nbclient has executed them, but for the first one of ours.

        With `ids` the front end says which cell it executes.
        """
        resources = {"metadata": {"path": str(self.folder)}}
        client = NotebookClient(
            notebook,
            timeout=120,
            allow_errors=True,
            kernel_name=self.kernel,
            resources=resources,
            shutdown_kernel="immediate",
        )

        def tell(cell: nbformat.NotebookNode, **_: Any) -> None:
            client.kc.session.metadata = {"cellId": cell.id} if ids else {}

        client.on_cell_execute = tell
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        inherited = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
        env = {**inherited, "PYTHONPATH": path, "PREFECT_NB_HOME": str(self.folder.parent / f"home-{self.folder.name}")}
        client.execute(env=env)
        return list(notebook.cells[1:])

    def states(self) -> dict[str, str]:
        """The state of each task in the newest run."""
        os.environ["PREFECT_NB_HOME"] = str(self.folder.parent / f"home-{self.folder.name}")
        store = open_store(self.folder, readonly=True)
        try:
            return {v.visit.task: v.state for v in store.visits(store.runs(limit=1)[0].run) if v.parent is None}
        finally:
            store.close()


def differences(
    wanted: list[nbformat.NotebookNode],
    found: list[nbformat.NotebookNode],
    case: Foreign,
    also: list[Any] | None = None,
) -> dict[str, tuple[list[str], list[str]]]:
    """Cells that show something else, but for those of which that is known; `also` holds another right answer."""
    also = wanted if also is None else also
    return {
        one.id: (shown(one), shown(two))
        for number, (one, two, three) in enumerate(zip(wanted, found, also, strict=True))
        if number not in case.varies and shown(two) not in (shown(one), shown(three))
    }


def examine(case: Foreign, notebook: Path, place: Place) -> None:
    """Everything that is asked of one notebook."""
    assert hashlib.sha256(notebook.read_bytes()).hexdigest() == case.sha256, "not the notebook that was examined"
    cells = cells_of(notebook)
    count = len(cells.cells)
    plain = with_first_cell(cells, "None", marked=False)
    twice = with_first_cell(cells, "None", marked=False)
    twice.cells += with_first_cell(cells, "None", marked=False).cells[1:]
    executed = place.copy("plain").execute(twice)
    first, second = executed[:count], executed[count:]
    assert not differences(first, place.copy("plain-again").execute(plain), case), "varies by itself"

    marked, ours = with_first_cell(cells, LOAD, marked=True), place.copy("tasks")
    marked.cells += with_first_cell(cells, LOAD, marked=True).cells[1:]
    executed = ours.execute(marked, ids=True)
    assert not differences(first, executed[:count], case), "the first time"
    assert not differences(first, executed[count:], case, second), "executed again in the same kernel"

    other = ours.execute(with_first_cell(cells, f"{LOAD}\n%flow new", marked=True))
    assert not differences(first, other, case), "another run"
    states = ours.states()
    assert sum(state == "Cached" for state in states.values()) >= case.again, states

    killed, middle = place.copy("killed"), (count + 1) // 2
    deadly = with_first_cell(cells, LOAD, marked=True)
    header, _, body = deadly.cells[middle].source.partition("\n")
    deadly.cells[middle].source = f"{header}\n{DEATH}\n{body}"
    with pytest.raises(DeadKernelError):
        killed.execute(deadly)
    resumed = killed.execute(with_first_cell(cells, LOAD, marked=True))
    found = differences(first, resumed, case)
    assert not {cell for cell in found if int(cell[1:]) not in case.resumed}, ("killed and resumed", found)


# --- those of the default environment --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ALWAYS, ids=lambda case: case.name)
def test_notebooks_of_installed_packages(case: Foreign, tmp_path: Path) -> None:
    """Each shows the same as in plain Jupyter, whenever and however often it is executed."""
    package = case.package.partition("==")[0]
    notebook = Path(str(distribution(package).locate_file(case.path)))
    if not notebook.is_file() or hashlib.sha256(notebook.read_bytes()).hexdigest() != case.sha256:
        pytest.skip(f"{case.package} was examined, and {version(package)} has another notebook")
    (tmp_path / "given").mkdir()
    examine(case, notebook, Place(tmp_path / "given"))


def test_chance_is_not_served_to_another_run(tmp_path: Path) -> None:
    """A number that nobody seeded differs in another kernel, though NumPy loads its generator only when it is asked."""
    (tmp_path / "given").mkdir()
    place, cells = Place(tmp_path / "given"), nbformat.v4.new_notebook()
    cells.cells = [nbformat.v4.new_code_cell(s) for s in ("import numpy as np", "x = np.random.rand()\nx")]
    runs = [place.execute(with_first_cell(cells, f"{LOAD}\n%flow new", marked=True)) for _ in range(2)]
    assert shown(runs[0][1]) != shown(runs[1][1])


# --- those that are downloaded ---------------------------------------------------------------------------------------


def pip(*words: str, python: str = sys.executable) -> None:
    """Run pip, or skip with what it said."""
    command = [python, "-m", "pip", "--disable-pip-version-check", "-q", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        pytest.skip(f"NOT EXAMINED, pip {words[0]} failed (offline?): {done.stderr.strip()[-300:]}")


@pytest.fixture(scope="module")
def shelf() -> Path:
    """A folder that outlives the tests, with an environment that has what the notebooks import."""
    SHELF.mkdir(exist_ok=True)
    with FileLock(SHELF / "lock"):
        python = SHELF / "env" / "bin" / "python"
        ready = SHELF / "ready"
        wanted = "\n".join((sys.prefix, *RUNTIME))
        if not ready.is_file() or ready.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(SHELF / "env")], check=True)
            (site,) = (SHELF / "env" / "lib").glob("python*/site-packages")
            (site / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
            pip("install", "--no-deps", *RUNTIME, python=str(python))
            ready.write_text(wanted)
        spec = SHELF / "jupyter" / "kernels" / "foreign"
        spec.mkdir(parents=True, exist_ok=True)
        argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        text = {"argv": argv, "display_name": "foreign", "language": "python"}
        (spec / "kernel.json").write_text(json.dumps(text))
    return SHELF


def archive(shelf: Path, package: str) -> Path:
    """The unpacked source archive of a distribution."""
    name = package.partition("==")[0]
    folder = shelf / "sources" / package
    with FileLock(shelf / "lock"):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=shelf) as got:
                pip("download", "--no-deps", "--no-binary", name, "-d", got, package)
                (file,) = Path(got).glob("*.tar.gz")
                with tarfile.open(file) as tar:
                    tar.extractall(Path(got) / "all", filter="data")
                (top,) = (Path(got) / "all").iterdir()
                folder.parent.mkdir(exist_ok=True)
                shutil.move(top, folder)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("case", DOWNLOADED, ids=lambda case: case.name)
def test_published_notebooks(case: Foreign, shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shows the same as in plain Jupyter, whenever and however often it is executed."""
    monkeypatch.setenv("JUPYTER_PATH", str(shelf / "jupyter"))
    notebook = archive(shelf, case.package) / case.path
    shutil.copytree(notebook.parent, tmp_path / "given")
    examine(case, notebook, Place(tmp_path / "given", "foreign"))
