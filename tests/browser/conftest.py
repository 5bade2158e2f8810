"""The browser of the tests of the console: a real Chromium, started once for each file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Until it ends, its event loop runs in this thread, so that no asynchronous test of another file could."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        pytest.skip("no Chromium on PATH: install the system's package `chromium`")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """It, for one test: a page that stays where it is follows the platform, and costs both their time."""
    yield chromium
    for context in chromium.contexts:
        for page in context.pages:
            page.goto("about:blank")
