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


@pytest.fixture
def bare_tree(tmp_path: Path) -> Path:
    """A checkout whose page was never built, on a machine without npm (what the script needs else is there)."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/build_web.sh", tmp_path / "scripts")
    shutil.copytree(ROOT / "web", tmp_path / "web", ignore=shutil.ignore_patterns("node_modules"))
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "find", "head"):
        (tools / name).symlink_to(shutil.which(name) or name)
    return tmp_path


@pytest.mark.parametrize(("arguments", "status"), [((), 1), (("--if-possible",), 0)], ids=["make web", "make setup"])
def test_without_npm_the_set_up_goes_on_and_says_so(bare_tree: Path, arguments: tuple[str, ...], status: int):
    done = subprocess.run(
        ["/bin/sh", "scripts/build_web.sh", *arguments], cwd=bare_tree, env={"PATH": str(bare_tree / "bin")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == status
    assert "npm was not found" in done.stderr
    assert ("simpler" in done.stderr) == (status == 0)
