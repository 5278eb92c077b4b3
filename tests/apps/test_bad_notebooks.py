"""What is no notebook, or cannot run as asked, is refused in two lines before anything starts or is written."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from apps_parts import notebook, write
from click.testing import CliRunner

from prefect_nb.apps import notebooks
from prefect_nb.apps.cli import cli
from prefect_nb.apps.inject import inject
from prefect_nb.errors import NotebookError

GOOD = json.dumps(notebook("a = 1"))

BROKEN = {
    "empty": (b"", "empty"),
    "blank": (b" \n", "empty"),
    "truncated": (GOOD[: len(GOOD) // 2].encode(), "only part of it"),
    "binary": (bytes(range(256)), "not JSON"),
    "not JSON": (b"print(1)", "not JSON"),
    "a list": (b"[]", "a list"),
    "a number": (b"4", "an int|a int"),
    "no format": (b"{}", "which format"),
    "no cells": (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "no list of cells"),
    "cells of text": (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": ["a"]}', "cell 1"),
    "cells of nothing": (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{}]}', "valid"),
    "metadata of text": (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": "x", "cells": []}', "metadata"),
    "a format to come": (b'{"nbformat": 9, "nbformat_minor": 0, "metadata": {}, "cells": []}', "format 9"),
    "a format of text": (b'{"nbformat": "4", "metadata": {}, "cells": []}', "which format"),
    "format 3 without sheets": (b'{"nbformat": 3, "metadata": {}}', "no list of cells"),
    "deep": (b"[" * 100_000, "not JSON"),
}


def refused(folder: Path, *arguments: str) -> list[str]:
    """Run a command that must be refused; the lines of its standard error."""
    before = sorted(folder.rglob("*"))
    os.chdir(folder)
    done = CliRunner().invoke(cli, ["run", *arguments])
    assert done.exit_code == 2, (done.output, done.exception)
    assert done.stdout == ""
    assert sorted(folder.rglob("*")) == before
    lines = done.stderr.splitlines()
    assert [line[:12] for line in lines[:1]] == ["prefect-nb: "]
    assert len(lines) == 2
    assert lines[1].startswith("  -> ")
    return lines


@pytest.mark.parametrize(("data", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_no_notebook(tmp_path, data, words):
    """Each kind of damage is one class of error that says what is wrong, with exit status 2 and no output."""
    path = tmp_path / "n.ipynb"
    path.write_bytes(data)
    with pytest.raises(NotebookError, match=words):
        notebooks.read(path)
    refused(tmp_path, "n.ipynb")
    assert path.read_bytes() == data


ASKED = {
    "a missing file": (["nope.ipynb"], "cannot be read"),
    "a folder": (["folder"], "cannot be read"),
    "no kernel": (["bare.ipynb"], "names no kernel"),
    "an unknown kernel": (["good.ipynb", "--kernel", "zzz"], "'zzz'.*not installed"),
    "the input as output": (["good.ipynb", "good.ipynb"], "the input itself"),
    "the input under another name": (["good.ipynb", "./folder/../good.ipynb"], "the input itself"),
    "a link to the input": (["good.ipynb", "link.ipynb"], "the input itself"),
    "a missing output folder": (["good.ipynb", "nowhere/out.ipynb"], "does not exist"),
    "a folder as output": (["good.ipynb", "folder.ipynb"], "is a directory"),
    "an output that is no notebook": (["good.ipynb", "data.csv"], "does not end in .ipynb"),
    "an unknown parameter": (["good.ipynb", "-p", "x", "1"], "'x' is unknown"),
    "an ill-typed parameter": (["good.ipynb", "-p", "n", "x"], "not an int"),
    "a parameter that would break out": (["good.ipynb", "-p", "n\nimport os", "1"], "is not a name"),
    "a missing parameters file": (["good.ipynb", "-f", "nope.yaml"], "cannot be read"),
    "a parameters file with a list": (["good.ipynb", "-f", "list.yaml"], "holds a list"),
    "a parameters file that is no YAML": (["good.ipynb", "-f", "bad.yaml"], "is not YAML"),
    "a parameters file with a bad name": (["good.ipynb", "-f", "names.yaml"], "1 is not a name|'1' is not a name"),
    "a parameters cell that is no Python": (["cell.ipynb"], "parameters cell"),
    "nothing to resume": (["good.ipynb", "--resume"], "no store"),
    "no notebook": ([], "give one notebook"),
    "three notebooks": (["good.ipynb", "b.ipynb", "c.ipynb"], "give one notebook"),
}


@pytest.mark.parametrize(("arguments", "words"), ASKED.values(), ids=ASKED)
def test_what_cannot_run_is_refused_before_it_starts(tmp_path, arguments, words):
    """A wrong path, kernel or parameter ends in two lines and status 2, and leaves the folder as it was."""
    write(tmp_path / "good.ipynb", "# parameters\nn: int = 1", "%%task a\na = n")
    write(tmp_path / "bare.ipynb", "a = 1", kernel=None)
    write(tmp_path / "cell.ipynb", "# parameters\nn: int = (")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "link.ipynb").symlink_to("good.ipynb")
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "bad.yaml").write_text("a: [1\n")
    (tmp_path / "names.yaml").write_text("1: 2\n")
    line = refused(tmp_path, *arguments)[0]
    assert re.search(words, line), line


def test_an_unknown_kernel_names_the_installed_ones(tmp_path):
    """The hint for an unknown kernel lists the kernels that there are."""
    write(tmp_path / "n.ipynb", "a = 1")
    assert "installed: " in refused(tmp_path, "n.ipynb", "--kernel", "zzz")[1]
    assert "python3" in refused(tmp_path, "n.ipynb", "--kernel", "zzz")[1]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that even root cannot write")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    """An output folder without permission to write is found out before the kernel starts."""
    write(tmp_path / "n.ipynb", "a = 1")
    assert "nothing can be written" in refused(tmp_path, "n.ipynb", "/proc/out.ipynb")[0]


def test_a_kernel_of_another_language_is_refused(tmp_path):
    """A kernel that does not run Python is named together with its language."""
    spec = Path(os.environ["JUPYTER_DATA_DIR"]) / "kernels" / "tonic"
    spec.mkdir(parents=True, exist_ok=True)
    (spec / "kernel.json").write_text(json.dumps({"argv": ["tonic"], "display_name": "T", "language": "tonic"}))
    write(tmp_path / "n.ipynb", "a = 1")
    assert "runs tonic, not Python" in refused(tmp_path, "n.ipynb", "--kernel", "tonic")[0]


def test_format_3_runs_as_an_upgraded_copy(tmp_path):
    """A notebook of format 3 is read as format 4, and its file stays as it is."""
    cell = {"cell_type": "code", "input": ["a = 1\n", "b = 2"], "outputs": [], "language": "python", "metadata": {}}
    old = {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}, "worksheets": [{"cells": [cell]}]}
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps(old))
    nb = notebooks.read(path)
    assert (nb.nbformat, nb.cells[0].source) == (4, "a = 1\nb = 2")
    assert json.loads(path.read_text()) == old


def test_cells_without_ids_get_the_same_ones_each_time(tmp_path):
    """Before format 4.5 cells have no ids; ours follow from their text, so a second run knows them again."""
    path = write(tmp_path / "n.ipynb", "a = 1", "b = 2", "a = 1", minor=2)
    first, second = ([cell.id for cell in notebooks.read(path).cells] for _ in range(2))
    assert first == second
    assert len(set(first)) == 3


def test_sources_in_lines_are_joined(tmp_path):
    """A source that the file holds as a list of lines is one text."""
    plain = notebook("a = 1")
    plain["cells"][0]["source"] = ["a = 1\n", "b = 2"]
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps(plain))
    assert notebooks.code_rows(notebooks.read(path)) == [{"id": "c0", "source": "a = 1\nb = 2", "tags": []}]


def test_injection_follows_the_parameters_and_replaces_itself(tmp_path):
    """The injected cell stands after the parameters cell; a second injection replaces the first, none removes it."""
    nb = notebooks.read(write(tmp_path / "n.ipynb", "import os", "# parameters\nn: int = 1", "n"))
    for value in (2, 3):
        inject(nb, {"n": value}, "python3")
        assert [c.id for c in nb.cells] == ["c0", "c1", "injected-parameters", "c2"]
        assert f"n = {value}" in nb.cells[2].source
    inject(nb, {}, "python3")
    assert [c.id for c in nb.cells] == ["c0", "c1", "c2"]


def test_a_written_notebook_is_whole_or_the_old_one(tmp_path):
    """Writing replaces the file at once, keeps the old one when it fails, and leaves nothing beside it."""
    path = tmp_path / "out.ipynb"
    nb = notebooks.read(write(tmp_path / "n.ipynb", "print('\\udc80')"))
    nb.cells[0].outputs = []
    nb.cells[0].source = "x = '\udc80'"
    notebooks.write(nb, path)
    assert json.loads(path.read_text())["cells"][0]["source"] == ["x = '\udc80'"]
    with pytest.raises(NotebookError, match="cannot be written"):
        notebooks.write(nb, tmp_path / "folder" / "out.ipynb")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["n.ipynb", "out.ipynb"]
