"""The server's protocol on its own: what happens to connections when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from uvicorn.server import ServerState

from streamward.dataplane import downstream
from streamward.dataplane.downstream import Downstream
from streamward.dataplane.exchange import Request, Sink

ASK = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


class App:
    """Answers everything at once."""

    def open_exchange(self, request: Request, sink: Sink) -> None:
        sink.start(200, b"", length=2)
        sink.finish(b"ok")

    def begin_drain(self) -> None: ...

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Served:
    def __init__(self) -> None:
        self.state = ServerState()
        self.config = uvicorn.Config(App(), interface="asgi3", proxy_headers=False, lifespan="off", log_config=None)
        self.made = asyncio.Event()

    def protocol(self) -> Downstream:
        self.made.set()
        return Downstream(self.config, self.state, {})

    async def stop(self) -> None:
        """As uvicorn does: every connection is told."""
        await self.made.wait()
        while not self.state.connections:  # noqa: ASYNC110 (made, and in this turn of the loop connected)
            await asyncio.sleep(0)
        for connection in list(self.state.connections):
            connection.shutdown()


@pytest_asyncio.fixture
async def served() -> AsyncIterator[tuple[Served, asyncio.StreamReader, asyncio.StreamWriter]]:
    it = Served()
    listening = await asyncio.get_running_loop().create_server(it.protocol, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    yield it, reader, writer
    writer.close()
    listening.close()
    while it.state.connections:  # noqa: ASYNC110 (the peer's end of it)
        await asyncio.sleep(0)


async def test_a_connection_just_accepted_still_gets_its_answer(served: Any):
    """Its request was on its way when the server stopped listening: without this it meets a reset."""
    server, reader, writer = served
    await server.stop()
    writer.write(ASK)

    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in head
    assert body == b"ok"


async def test_one_that_asks_for_nothing_is_closed_soon(served: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(downstream, "LAST_CALL_S", 0.01)
    server, reader, _ = served
    await server.stop()

    async with asyncio.timeout(10):
        assert await reader.read() == b""


async def test_one_that_is_idle_between_requests_is_closed_at_once(served: Any):
    server, reader, writer = served
    writer.write(ASK)
    await reader.readuntil(b"ok")
    await server.stop()

    assert await reader.read() == b""
