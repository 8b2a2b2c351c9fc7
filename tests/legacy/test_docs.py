"""Every Python block of the page on old AI SDK pages runs."""

import subprocess
import sys

import pytest

from support.snippets import python_blocks

BLOCKS = python_blocks("docs/how-to/old-ai-sdk-pages.md")
SAID = ["Hello, world\nwhole: Hello, world", '8:[{"length":5}]']


@pytest.mark.parametrize(("block", "said"), list(zip(BLOCKS, SAID, strict=True)))
def test_block_runs_and_prints(block: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", block], capture_output=True, text=True, timeout=20, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout
