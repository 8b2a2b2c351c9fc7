"""Gateways in processes of their own, for tests that run an event loop beside them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.gateway_server import Process, streamward


@asynccontextmanager
async def worker(folder: Path) -> AsyncIterator[Process]:
    """``streamward serve`` in *folder*, which holds its configuration; may be killed meanwhile."""
    manager = streamward("serve", ".", "--port", "0", "--log-format", "off", cwd=folder)
    process = await asyncio.to_thread(manager.__enter__)
    try:
        yield process
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)
