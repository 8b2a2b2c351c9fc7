"""Fixtures of the playground tests: the built page, servers, a browser."""

import contextlib
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from streamward.gateway.app import Gateway
from streamward.gateway.config import parse
from streamward.gateway.serve import HTTP_PROTOCOL
from streamward.playground.page import DIST, playground_routes
from support.browser import chromium
from support.gateway_server import streamward
from support.raw_http import KEY as LOCKED_KEY

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


@contextlib.contextmanager
def served(config: str, dist: Path, *, open_access: bool) -> Iterator[str]:
    """A gateway with the page of *dist* in a thread of this process; yields its URL."""
    config += '[logging]\nformat = "off"\n[storage]\nurl = "sqlite::memory:"\n'
    gateway = Gateway(parse(config, "test", {}), environ={}, open_access=open_access, extra_routes=playground_routes(dist))
    settings = uvicorn.Config(gateway, http=HTTP_PROTOCOL, log_config=None, interface="asgi3", timeout_graceful_shutdown=1)
    server = uvicorn.Server(settings)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="playground server")
        thread.start()
        try:
            # The socket listens already: a request sent now waits in the kernel until the server accepts it.
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def server_url(built_page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``streamward dev``, as people start it. STREAMWARD_TEST_SERVER points the tests at a running one instead."""
    given = os.environ.get("STREAMWARD_TEST_SERVER")
    if given:
        yield given
        return
    with streamward("dev", ".", "--port", "0", "--log-format", "off", cwd=tmp_path_factory.mktemp("project")) as process:
        yield process.url


@pytest.fixture(scope="module")
def locked_url(built_page: Path) -> Iterator[str]:
    """The page of a server that wants LOCKED_KEY."""
    with served(f'[auth]\nkeys = ["{LOCKED_KEY}"]\n', built_page, open_access=False) as url:
        yield url


@pytest.fixture(scope="module")
def unbuilt_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose page was never built."""
    with served("", tmp_path_factory.mktemp("no-dist"), open_access=True) as url:
        yield url


# Per module: the synchronous playwright keeps an event loop running in this thread, which asyncio tests could not bear.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGS)
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
