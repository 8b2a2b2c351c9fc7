"""The committed captures are what the real packages say today."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CAPTURE = Path(__file__).parent / "capture"
CAPTURES = Path(__file__).parent / "captures"


@pytest.mark.node
def test_a_new_capture_writes_the_same_bytes(packages: Path, tmp_path: Path) -> None:
    """Otherwise a package or a scenario changed: run `npm run capture` there and look at the difference."""
    assert packages.is_dir()

    subprocess.run(["node", "capture.mjs", str(tmp_path)], cwd=CAPTURE, check=True, timeout=100)

    written = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    committed = {path.name: path.read_text("utf-8") for path in CAPTURES.iterdir()}
    assert sorted(written) == sorted(committed)
    for name, text in written.items():
        assert text == committed[name], f"{name} differs"
