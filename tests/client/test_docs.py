"""Every Python block of the client pages runs, in a process of its own, against a real gateway.

Applications among them are served by ``tests/docs/test_page_apps.py``.
"""

import asyncio
import sys

import pytest

from support.gateway_server import PATIENCE_S, gateway_server
from support.snippets import python_blocks

PAGES = ("docs/reference/clients.md", "docs/how-to/resume.md")
BLOCKS = [
    pytest.param(block, id=f"{page}-{at}")
    for page in PAGES for at, block in enumerate(python_blocks(page)) if "app = FastAPI()" not in block
]  # fmt: skip


@pytest.mark.parametrize("block", BLOCKS)
async def test_block_runs_and_prints(block: str):
    async with gateway_server("[auth]\nrequired = false") as served:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", block.replace("http://127.0.0.1:8787", served.url),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate()

    assert (process.returncode, err.decode()) == (0, "")
    assert out.strip()
