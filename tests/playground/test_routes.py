"""The routes of the page: caching, content security policy, and nothing outside its folder."""

import base64
import hashlib
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from streamward.playground import playground_routes
from streamward.playground.page import FALLBACK, content_security_policy

INLINE_SCRIPT = b"console.log(1)"
INDEX = b"<!doctype html><script>" + INLINE_SCRIPT + b'</script><script type="module" src="./assets/a-1.js"></script>'


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    (tmp_path / "dist/assets").mkdir(parents=True)
    (tmp_path / "dist/index.html").write_bytes(INDEX)
    (tmp_path / "dist/assets/a-1.js").write_text("export {}")
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path / "dist"


def client(dist: Path) -> TestClient:
    return TestClient(Starlette(routes=playground_routes(dist)))


def test_the_page_is_asked_for_each_time(dist: Path):
    """Its name never changes, so a browser must not keep an old one."""
    answer = client(dist).get("/")

    assert (answer.status_code, answer.content) == (200, INDEX)
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_assets_are_kept_for_ever(dist: Path):
    """Their names carry a hash of their content."""
    answer = client(dist).get("/assets/a-1.js")

    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "path",
    ["/assets/nope.js", "/assets/", "/assets/..%2findex.html", "/assets/%2e%2e%2f%2e%2e%2fsecret.txt", "/assets/.hidden"],
)
def test_nothing_else_is_served(dist: Path, path: str):
    assert client(dist).get(path).status_code == 404


def test_the_policy_allows_inline_scripts_by_hash_only(dist: Path):
    """No unsafe-inline; the page's own inline script by its digest."""
    policy = client(dist).get("/").headers["content-security-policy"]

    digest = base64.b64encode(hashlib.sha256(INLINE_SCRIPT).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}'" in policy
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_without_a_build_the_one_file_page_comes(tmp_path: Path):
    """And once it is built, the same server serves the real one."""
    server = client(tmp_path)

    before = server.get("/")
    (tmp_path / "index.html").write_bytes(INDEX)
    after = server.get("/")

    assert FALLBACK.read_bytes() == before.content
    assert after.content == INDEX


def test_the_fallback_needs_no_other_file():
    """One file: its script and style are inline, and their hashes are in the policy."""
    html = FALLBACK.read_bytes()

    policy = content_security_policy(html)

    assert policy.count("'sha256-") == 2
    assert b"src=" not in html
    assert b"http:" not in html
    assert b"https:" not in html


def test_every_inline_block_of_the_built_page_is_covered(built_page: Path):
    """An inline script that the policy's reader does not recognise would be blocked in browsers."""
    html = (built_page / "index.html").read_text()

    inline = html.count("<script>") + html.count("<style>")
    all_blocks = html.count("<script") + html.count("<style")
    external = html.count("<script type=")
    assert all_blocks == inline + external
