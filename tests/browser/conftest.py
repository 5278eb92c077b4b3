"""One JupyterLab and one Chromium for all browser tests; a page, a folder and fresh kernels for each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from browser.lab_parts import CHROMIUM, Lab, Notebook, write


@pytest.fixture(scope="package")
def chromium(browser_path: str) -> Iterator[BrowserContext]:
    """A headless Chromium that has to load JupyterLab once only.

    It ends with the last browser test: its driver keeps an event loop running in the main thread, where cells run
    theirs.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=CHROMIUM)
        yield browser.new_context(viewport={"width": 1400, "height": 900})
        browser.close()


@pytest.fixture(scope="package")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The server of all tests."""
    server = Lab(tmp_path_factory.mktemp("lab"))
    yield server
    server.close()


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    """The server, without kernels of other tests."""
    yield shared_lab
    shared_lab.end_kernels()


@pytest.fixture(scope="package")
def shared_page(chromium: BrowserContext) -> Page:
    """The page of all tests that do not ask for another: JupyterLab is loaded once."""
    return chromium.new_page()


@pytest.fixture
def notebook(
    chromium: BrowserContext, shared_page: Page, lab: Lab, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Notebook]]:
    """Open a notebook made of these cells; a fault in the page fails the test."""
    opened: list[Notebook] = []
    folder = re.sub(r"\W+", "-", request.node.name)

    def make(
        cells: Sequence[str] | Path, *, server: Lab = lab, kernel: bool = True, another_page: bool = False
    ) -> Notebook:
        path = cells if isinstance(cells, Path) else write(server.root / folder / "flow.ipynb", cells)
        one = Notebook(chromium.new_page() if another_page else shared_page, server, path)
        opened.append(one)
        return one.open(kernel=kernel)

    yield make
    for one in opened:
        one.close()
        if one.page is not shared_page:
            one.page.close()
    noise = [text for one in opened for text in one.noise if not re.search("Canceled future|disposed", text)]
    assert not noise
