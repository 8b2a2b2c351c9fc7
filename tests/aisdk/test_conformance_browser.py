"""AI SDK 4 and 7 in a real browser, straight and through nginx as it comes: tokens one by one, stop reaches the provider."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from support.browser import chromium
from support.model_upstream import TOKENS, ModelUpstream, conformance_app, model_upstream

HOOKS = Path(__file__).parent / "hooks"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
CONFIG = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{ }}
http {{
  access_log off; gzip on;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {app}; }} }}
}}
"""
HTML = '<!doctype html><meta charset="utf-8"><div id="root"></div><script>{script}</script>'

pytestmark = pytest.mark.xdist_group("conformance-browser")


@pytest.fixture(scope="module")
def upstream() -> Iterator[ModelUpstream]:
    with model_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def straight(upstream: ModelUpstream) -> Iterator[str]:
    with conformance_app(upstream) as url:
        yield url


@pytest.fixture(scope="module")
def proxied(straight: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not shutil.which(NGINX):
        pytest.skip("nginx is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=port, app=straight))
    nginx = subprocess.Popen([NGINX, "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")])
    deadline = time.monotonic() + 10
    while True:
        assert time.monotonic() < deadline, "nginx did not start"
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    nginx.terminate()
    nginx.wait()


@pytest.fixture(scope="module")
def html() -> str:
    if not (HOOKS / "node_modules" / "react").is_dir():
        subprocess.run(["npm", "ci"], cwd=HOOKS, check=True, capture_output=True, timeout=110)
    command = [
        "node", "node_modules/esbuild/bin/esbuild", "page.mjs", "--bundle", "--minify", "--format=iife", "--log-level=error",
        '--define:process.env.NODE_ENV="production"',
    ]  # fmt: skip
    script = subprocess.run(command, cwd=HOOKS, check=True, capture_output=True, text=True, timeout=60).stdout
    return HTML.format(script=script.replace("</script", "<\\/script"))


@pytest.fixture(scope="module")
def page(html: str) -> Iterator[Page]:
    program = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.route("**/page?*", lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"))
        yield page
        browser.close()


@pytest.fixture(params=["straight", "proxied"])
def base(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.mark.browser
@pytest.mark.node
@pytest.mark.parametrize("version", [4, 7])
def test_tokens_arrive_one_by_one(page: Page, base: str, upstream: ModelUpstream, version: int) -> None:
    page.goto(f"{base}/page?version={version}&model=stepped")

    page.click("#send")

    for count in range(1, len(TOKENS) + 1):
        # The provider says the next token only after this one was on the screen.
        expect(page.locator("#answer")).to_have_text("".join(TOKENS[:count]).strip())
        upstream.post("/step")
    expect(page.locator("#status")).to_have_text("ready")


@pytest.mark.browser
@pytest.mark.node
@pytest.mark.parametrize("version", [4, 7])
def test_stop_reaches_the_provider(page: Page, base: str, upstream: ModelUpstream, version: int) -> None:
    upstream.post("/forget")
    page.goto(f"{base}/page?version={version}&model=stall")
    page.click("#send")
    expect(page.locator("#answer")).to_have_text("Hel")

    page.click("#stop")

    expect(page.locator("#status")).to_have_text("ready")
    deadline = time.monotonic() + 5
    while not upstream.seen()[0]["gone"]:
        assert time.monotonic() < deadline, "the provider still sends"
        time.sleep(0.01)
    expect(page.locator("#answer")).to_have_text("Hel")
