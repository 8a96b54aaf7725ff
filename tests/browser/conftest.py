"""A real Chromium before a real `penstock serve`, whose ledger is made up here; one server for all tests, one browser for each module."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.serving import Serving, serving, write_config
from tests.browser.ledger import TABLES, ZONE, fill
from tests.conftest import service_missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")  # while it is there, an event loop runs in this thread, which tests of other modules want for themselves
def browser() -> "Iterator[Browser]":
    """The browser of this machine, headless."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        service_missing("Playwright", error)
    if CHROMIUM is None:
        service_missing("Chromium", "no chromium on the path")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A Penstock with thirty days behind it."""
    with served(tmp_path_factory.mktemp("console"), filled=True) as running:
        yield running


@contextmanager
def served(directory: Path, *, filled: bool) -> Iterator[Serving]:
    """A Penstock on a ledger of its own."""
    if filled:
        fill(write_config(directory, TABLES, timezone=ZONE, baseline="large"))
    with serving(directory, TABLES, timezone=ZONE, baseline="large") as running:
        yield running
