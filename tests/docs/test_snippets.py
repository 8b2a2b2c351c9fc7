"""The snippets of the pages run against ``streamward dev`` and print what the page says.

A ``python`` block runs in a process of its own; a ``text`` block right behind it is its whole output. In ``console`` blocks
lines with ``$`` are commands and the others their output. ``...`` stands for anything.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.gateway_server import PATIENCE_S, streamward

pytestmark = pytest.mark.xdist_group("docs")

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md", "docs/start/first-stream.md", "docs/start/chat-page.md", "docs/how-to/tools.md", "docs/how-to/objects.md",
    "docs/how-to/moving-from-openai.md", "docs/how-to/moving-from-the-ai-sdk.md", "docs/explain/endings.md",
    "docs/reference/commands.md", "docs/reference/sdk.md",
)  # fmt: skip
PYTHON = re.compile(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL)
CONSOLE = re.compile(r"^```(?:console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?((?:curl|streamward run) (?:[^\n]*\\\n)*[^\n]*)\n((?:(?!\$ )[^\n]*\n)*)", re.MULTILINE)
NEEDS_A_PROVIDER = re.compile(r"streamward run (?!\"?(?:demo|local)/)")
SERVES = re.compile(r"^app = |^async def POST|127\.0\.0\.1:8000", re.MULTILINE)
"""Blocks that are applications, and what asks them: test_page_apps.py runs these."""

URL = "http://127.0.0.1:8787"


def snippets(kind: str) -> list[Any]:
    """(what to run, what it prints) of all pages."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text("utf-8")
        if kind == "python":
            pairs = PYTHON.findall(text)
        else:
            pairs = [pair for block in CONSOLE.findall(text) for pair in COMMAND.findall(block)]
        runnable = [pair for pair in pairs if not NEEDS_A_PROVIDER.match(pair[0]) and not SERVES.search(pair[0])]
        found += [pytest.param(*pair, id=f"{page}-{at}") for at, pair in enumerate(runnable)]
    return found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a development server, as ``make dev`` starts it."""
    with streamward("dev", "--port", "0", "--log-format", "off", cwd=tmp_path_factory.mktemp("dev")) as served:
        yield served.url


def run(command: list[str], folder: Path) -> str:
    """What *command* prints; it must succeed and say nothing on standard error."""
    environ = {key: value for key, value in os.environ.items() if not key.endswith(("_API_KEY", "_BASE_URL"))}
    environ["PATH"] = f"{Path(sys.executable).parent}:{environ['PATH']}"
    done = subprocess.run(command, cwd=folder, env=environ, text=True, capture_output=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def assert_printed(expected: str, output: str) -> None:
    """*output* is as the page says; something at least where the page says nothing."""
    if not expected.strip():
        assert output.strip()
        return
    pattern = re.escape(expected.strip()).replace(re.escape("..."), "(?s:.*?)")
    assert re.fullmatch(pattern, output.strip()), f"the page says:\n{expected}\nit prints:\n{output}"


@pytest.mark.parametrize(("code", "expected"), snippets("python"))
def test_python_prints_what_the_page_says(code: str, expected: str, url: str, tmp_path: Path):
    output = run([sys.executable, "-W", "error", "-c", code.replace(URL, url)], tmp_path)

    assert_printed(expected, output)


@pytest.mark.parametrize(("command", "expected"), snippets("console"))
def test_command_prints_what_the_page_says(command: str, expected: str, url: str, tmp_path: Path):
    script = command.replace("curl ", "curl -sS ", 1).replace(URL, url)

    assert_printed(expected, run(["bash", "-c", script], tmp_path))
