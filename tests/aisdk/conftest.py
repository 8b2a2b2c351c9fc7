"""The npm packages that the tests here drive."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CAPTURE = Path(__file__).parent / "capture"


@pytest.fixture(scope="session")
def packages() -> Path:
    """The npm packages of the lock file, installed once."""
    if not (CAPTURE / "node_modules" / ".package-lock.json").exists():
        command = ["npm", "ci"]
        subprocess.run(command, cwd=CAPTURE, check=True, capture_output=True, timeout=100)
    return CAPTURE / "node_modules"
