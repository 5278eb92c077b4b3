"""What every test stands on: a home of its own, a fixed signing key, and a browser when one is asked for.

No test may read or write the user's Jupyter, IPython or prefect_nb directories, and none may depend on them.
"""

from __future__ import annotations

import compileall
import fcntl
import gc
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PACKAGES = ("chromium", "fonts-dejavu-core")
KEY = "5f" * 32
"""The signing key of every store that tests make: 32 bytes in hex."""

LONGEST = ("browser", "notebooks", "apps", "kernel", "cells")
"""The folders whose tests take longest, in the order in which they begin."""

FOREIGN = ("PREFECT_NB_", "JUPYTER_", "IPYTHON", "JPY_", "MPLBACKEND", "MPLCONFIGDIR", "PYTHONWARNINGS")
"""What a developer's shell may have set and a test must not see."""


HOME: pytest.StashKey[Path] = pytest.StashKey()
BROWSER: pytest.StashKey[tuple[str | None, str]] = pytest.StashKey()

settings.register_profile("house", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("house")


def pytest_configure(config: pytest.Config) -> None:
    """Before anything is imported, give Jupyter, IPython and ourselves directories of this session's own."""
    if not hasattr(config, "workerinput"):  # kernels compile us again at each start where bytecode is not to be written
        compileall.compile_dir(Path(__file__).parents[1] / "prefect_nb", quiet=2)
    home = Path(tempfile.mkdtemp(prefix="prefect-nb-tests-"))
    config.stash[HOME] = home
    demanded = in_ci()
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        del os.environ[name]
    os.environ.update(
        IPYTHONDIR=str(home / "ipython"),
        JUPYTER_CONFIG_DIR=str(home / "config"),
        JUPYTER_DATA_DIR=str(home / "data"),
        JUPYTER_PREFER_ENV_PATH="1",
        JUPYTER_RUNTIME_DIR=str(home / "runtime"),
        JUPYTERLAB_SETTINGS_DIR=str(home / "lab" / "settings"),
        JUPYTERLAB_WORKSPACES_DIR=str(home / "lab" / "workspaces"),
        MPLCONFIGDIR=str(home / "matplotlib"),
        PREFECT_NB_KEY=KEY,
        XDG_CACHE_HOME=str(home / "xdg" / "cache"),
        XDG_CONFIG_HOME=str(home / "xdg" / "config"),
        XDG_DATA_HOME=str(home / "xdg" / "data"),
    )
    if demanded:
        os.environ["PREFECT_NB_CI"] = "1"


def pytest_unconfigure(config: pytest.Config) -> None:
    """The session's directories go with it."""
    if HOME in config.stash:
        shutil.rmtree(config.stash[HOME], ignore_errors=True)


def pytest_xdist_auto_num_workers() -> int:
    """How many tests ``-n auto`` runs at a time: real kernels and a browser want a core each, and some memory."""
    return max(1, min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that all workers end together; tests that share a part stay with one worker."""
    items.sort(key=_turn)
    for item in items if config.pluginmanager.hasplugin("xdist") else ():
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.xdist_group("browser"))
        elif "shared_kernel" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def _turn(item: pytest.Item) -> int:
    room = item.path.relative_to(Path(__file__).parent).parts[0]
    return LONGEST.index(room) if room in LONGEST else len(LONGEST)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Look for a browser, and install one where we may, if a test drives one; no test's timeout pays for it.

    What was loaded until now stays: the collector need not look through it, after each shell of each test, again.
    """
    gc.collect()
    gc.freeze()
    if session.config.option.collectonly or not any(item.get_closest_marker("browser") for item in session.items):
        return
    why = ""
    with (Path(tempfile.gettempdir()) / "prefect-nb-tests-browser.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several workers one installs it
        path = find_browser()
        if path is None:
            why = install_browser()
            path = find_browser()
    session.config.stash[BROWSER] = path, why


def in_ci() -> bool:
    """Whether a missing part is a failure rather than a skip."""
    return bool(os.environ.get("PREFECT_NB_CI") or os.environ.get("CI"))


@pytest.fixture(scope="session")
def home(pytestconfig: pytest.Config) -> Path:
    """The directory that holds this session's Jupyter, IPython and matplotlib directories."""
    return pytestconfig.stash[HOME]


@pytest.fixture(autouse=True)
def own_surroundings() -> Iterator[None]:
    """What a test does to the environment or the working directory ends with it."""
    environ, where = dict(os.environ), Path.cwd()
    yield
    os.chdir(where)
    if os.environ != environ:
        os.environ.clear()
        os.environ.update(environ)


@pytest.fixture(scope="session")
def browser_path(pytestconfig: pytest.Config) -> str:
    """A Chromium to drive: the one on this machine, else Debian's, else a loud skip (in CI a failure).

    Only tests marked ``browser`` may ask for it.
    """
    path, why = pytestconfig.stash[BROWSER]
    if path is not None:
        return path
    message = f"no Chromium: {why}. Install one of {', '.join(BROWSERS)}, or set CHROMIUM to its path."
    if in_ci():
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def find_browser() -> str | None:
    """The path of a Chromium, if this machine has one."""
    named = os.environ.get("CHROMIUM")
    return next((path for name in filter(None, (named, *BROWSERS)) if (path := shutil.which(name))), None)


def install_browser() -> str:
    """Install Debian's Chromium where we may; why it is still missing otherwise."""
    if shutil.which("apt-get") is None:
        return "there is no apt-get to install it with"
    if os.geteuid() != 0:
        return "only root may install it"
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(
            ["apt-get", *command],
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            timeout=900,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return f"apt-get {command[0]} failed: {(done.stderr or done.stdout).strip()[-300:]}"
    return "apt-get installed no browser of a known name"
