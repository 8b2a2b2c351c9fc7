"""The page's own tests: the SSE reader, the reply builder, the reducer, in Node."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.node
def test_the_page_passes_its_unit_tests(built_page: Path):
    """`npm test` in ``web/``."""
    npm = shutil.which("npm")
    assert npm is not None

    done = subprocess.run([npm, "test", "--silent"], cwd=ROOT / "web", capture_output=True, text=True, timeout=100)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lock_file_names_no_registry():
    """Whoever installs decides where packages come from."""
    lock = (ROOT / "web/package-lock.json").read_text()

    assert '"resolved"' not in lock
    assert lock.count('"integrity"') > 100
