"""Fixtures of the playground tests: the built page, servers, a browser."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from playground.mock_gateway import LOCKED_KEY, mock_gateway, served
from streamward.playground.page import DIST

ROOT = Path(__file__).parents[2]

CHROMIUM_ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def built_page() -> Path:
    """The folder of the built page; built now when it is older than its sources."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    subprocess.run(["sh", str(ROOT / "scripts/build_web.sh")], check=True, timeout=110)
    if not (ROOT / "web/node_modules/vitest").is_dir():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=ROOT / "web", check=True, timeout=110)
    return DIST


@pytest.fixture(scope="module")
def server_url(built_page: Path) -> Iterator[str]:
    """A server with the page and the demo models. STREAMWARD_TEST_SERVER points the tests at a running one instead."""
    given = os.environ.get("STREAMWARD_TEST_SERVER")
    if given:
        yield given
        return
    with served(mock_gateway()) as url:
        yield url


@pytest.fixture(scope="module")
def locked_url(built_page: Path) -> Iterator[str]:
    """The same, for those who have LOCKED_KEY."""
    with served(mock_gateway(key=LOCKED_KEY)) as url:
        yield url


@pytest.fixture(scope="module")
def unbuilt_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same, where the page was never built."""
    with served(mock_gateway(dist=tmp_path_factory.mktemp("no-dist"))) as url:
        yield url


# Per module: the synchronous playwright keeps an event loop running in this thread, which asyncio tests could not bear.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that must not log an error or ask another host for anything."""
    page = context.new_page()
    complaints: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        # The browser itself logs each HTTP error status; those are part of some tests.
        if message.type == "error" and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    def on_request(request: Request) -> None:
        if urlsplit(request.url).hostname not in {"127.0.0.1", "localhost"}:
            complaints.append(request.url)

    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", on_console)
    page.on("request", on_request)
    yield page
    assert complaints == []
