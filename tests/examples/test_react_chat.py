"""The React pages on the FastAPI example, built with Vite, in a real browser: tokens one by one."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from support.browser import browser_page
from support.model_upstream import TOKENS, ModelUpstream, example, model_upstream

EXAMPLES = Path(__file__).parents[2] / "examples"
PROJECT = EXAMPLES / "react-chat"

pytestmark = pytest.mark.xdist_group("react-chat")


@pytest.fixture(scope="module")
def built() -> Path:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    sources = [*PROJECT.glob("*.*"), *PROJECT.glob("src/*")]
    page = PROJECT / "dist" / "index.html"
    with open(Path(tempfile.gettempdir()) / "streamward-react-chat.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not (PROJECT / "node_modules" / "vite").is_dir():
            subprocess.run(["npm", "ci"], cwd=PROJECT, check=True, capture_output=True, timeout=110)
        if not page.exists() or page.stat().st_mtime < max(source.stat().st_mtime for source in sources):
            subprocess.run(["npm", "run", "build"], cwd=PROJECT, check=True, capture_output=True, timeout=60)
    return PROJECT / "dist"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ModelUpstream]:
    with model_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def site(built: Path, upstream: ModelUpstream) -> Iterator[str]:
    assert (built / "index.html").exists()
    environ = {"MODEL": "stepped", "STREAMWARD_BASE_URL": upstream.base_url, "STREAMWARD_API_KEY": "k"}
    with example(EXAMPLES / "fastapi_chat.py", **environ) as url:
        yield url


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser_page() as opened:
        yield opened


@pytest.mark.browser
@pytest.mark.node
@pytest.mark.parametrize("name", ["index", "completion", "v4"])
def test_a_page_shows_each_token_as_it_comes(page: Page, site: str, upstream: ModelUpstream, name: str) -> None:
    page.goto(f"{site}/{name}.html")
    page.fill("input", "hi")

    page.click("text=Send")

    for count in range(1, len(TOKENS) + 1):
        expect(page.locator(".assistant")).to_have_text("".join(TOKENS[:count]).strip())
        upstream.post("/step")
    expect(page.locator("text=Send")).to_be_enabled()
    expect(page.locator("[role=alert]")).to_have_count(0)
