"""Next.js in front: its pages, `/api/*` rewritten to Python, gzip on as Next.js has it. Tokens come one by one.

The upstream says a token only after the one before was seen at the far end: a hop that holds anything back hangs.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from support.browser import browser_page
from support.functions_server import serve
from support.model_upstream import TOKENS, ModelUpstream, example, model_upstream

EXAMPLES = Path(__file__).parents[2] / "examples"
PROJECT = EXAMPLES / "nextjs-rewrite"
ASKED = {"messages": [{"id": "1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}
QUIET = {"NEXT_TELEMETRY_DISABLED": "1", "NODE_ENV": "production"}
PATIENCE_S = 60

pytestmark = [pytest.mark.xdist_group("nextjs"), pytest.mark.node, pytest.mark.browser]


@pytest.fixture(scope="module")
def upstream() -> Iterator[ModelUpstream]:
    with model_upstream() as running:
        yield running


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def next_js(python_url: str, folder: Path) -> Iterator[str]:
    """The project, built for *python_url* (rewrites are fixed then) and served."""
    folder.mkdir()
    for name in ("app", "pages"):
        shutil.copytree(PROJECT / name, folder / name)
    for name in ("package.json", "next.config.mjs"):
        shutil.copy(PROJECT / name, folder)
    (folder / "node_modules").symlink_to(PROJECT / "node_modules")
    program = ["node", str(PROJECT / "node_modules/next/dist/bin/next")]
    environ = {**os.environ, **QUIET, "PYTHON_URL": python_url}
    built = subprocess.run(
        [*program, "build", "--webpack"], cwd=folder, env=environ, capture_output=True, text=True, timeout=110, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [*program, "start", "-H", "127.0.0.1", "-p", str(port)], cwd=folder, env=environ, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not accepts(port):
            assert process.poll() is None and time.monotonic() < deadline, "next start did not come up"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module", params=["fastapi", "functions"])
def site(request: pytest.FixtureRequest, upstream: ModelUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Next.js before a FastAPI application, and before the functions host."""
    if not (PROJECT / "node_modules" / "next").is_dir():
        pytest.skip("the packages of examples/nextjs-rewrite are not installed (scripts/test_services.sh does it)")
    folder = tmp_path_factory.mktemp("nextjs")
    environ = {"MODEL": "stepped", "STREAMWARD_BASE_URL": upstream.base_url, "STREAMWARD_API_KEY": "k"}
    if request.param == "fastapi":
        with example(EXAMPLES / "fastapi_chat.py", **environ) as python, next_js(python, folder / "site") as url:
            yield url
    else:
        shutil.copytree(EXAMPLES / "functions", folder / "functions")
        with serve(folder / "functions", {}, env=environ) as python, next_js(python.url, folder / "site") as url:
            yield url


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser_page() as opened:
        yield opened


def test_pages_are_compressed_and_streams_are_not(site: str, upstream: ModelUpstream) -> None:
    """gzip holds tokens back until its window is full: `no-transform` keeps Next.js from it."""
    with httpx.Client(base_url=site, headers={"accept-encoding": "gzip"}, timeout=PATIENCE_S) as client:
        page = client.get("/")
        with client.stream("POST", "/api/chat", json=ASKED) as answer:
            seen, shown = "", 0
            for data in answer.iter_text():
                seen += data
                for _ in range(seen.count('"type":"text-delta"') - shown):
                    shown += 1
                    upstream.post("/step")

    assert shown == len(TOKENS)
    assert page.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in answer.headers
    assert seen.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("path", ["/", "/completion"], ids=["useChat, App Router", "useCompletion, Pages Router"])
def test_a_page_shows_each_token_as_it_comes(page: Page, site: str, upstream: ModelUpstream, path: str) -> None:
    page.goto(site + path)
    page.fill("input", "hi")

    page.click("text=Send")

    for count in range(1, len(TOKENS) + 1):
        expect(page.locator(".assistant")).to_have_text("".join(TOKENS[:count]).strip())
        upstream.post("/step")
    expect(page.locator("text=Send")).to_be_enabled()
    expect(page.locator("[role=alert]:not(#__next-route-announcer__)")).to_have_count(0)
