"""A client that does not read: bounded memory, a paused provider, and no deadline that runs meanwhile."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from support.gateway_server import Served, config_text, gateway_server, until
from support.raw_http import Connection, ask, chat_request, request
from support.scripted_upstream import (
    DONE,
    FINISH,
    HELLO,
    LAST,
    ROLE,
    SSE,
    Seen,
    delta,
    http_chunk,
    scripted_upstream,
)

PIECE = "x" * 8000
MAX_HELD_BYTES = 256 << 10
"""What one stream may hold beyond kernel buffers: the contract's figure, and one network read on top."""

MAX_KERNEL_BYTES = 24 << 20
"""Two loopback connections with automatic buffers: 4 MiB to send and 6 MiB to receive each, at most."""


@asynccontextmanager
async def lazy_client(port: int, data: bytes) -> AsyncIterator[socket.socket]:
    """A client with a small receive buffer that sends *data* and reads nothing."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        await asyncio.get_running_loop().sock_sendall(sock, data)
        yield sock
    finally:
        sock.close()


async def settled(seen: Seen) -> int:
    """Bytes the provider could write once it can write no more (half a second without progress)."""
    last, since = -1, time.monotonic()
    async with asyncio.timeout(20):
        while time.monotonic() - since < 0.5:
            if seen.written != last:
                last, since = seen.written, time.monotonic()
            await asyncio.sleep(0.01)
    return last


def held(served: Served) -> int:
    """Bytes waiting in this process for clients."""
    return sum(connection.transport.get_write_buffer_size() for connection in served.server.server_state.connections)  # type: ignore[union-attr]


async def test_a_client_that_never_reads_pauses_the_provider():
    async def flood(seen: Seen) -> None:
        if seen.json()["model"] == "quick":
            await seen.write(SSE + b"".join(map(http_chunk, HELLO)) + LAST)
            return
        await seen.write(SSE + http_chunk(ROLE))
        while not seen.gone.is_set():
            await seen.write(http_chunk(delta(PIECE)))

    async with scripted_upstream(flood) as upstream, gateway_server(config_text(upstream.base_url)) as served:
        async with lazy_client(served.port, chat_request("mock/flood")):
            seen = await upstream.request()
            written = await settled(seen)
            waiting = held(served)
            [exchange] = served.gateway.active
            paused = exchange.attempts.paused
            other = await ask(served.port, chat_request("mock/quick"))

            assert written < MAX_KERNEL_BYTES
            assert waiting <= MAX_HELD_BYTES + (256 << 10)
            assert paused
            assert other.text == "Hello", "others are served meanwhile"
        await seen.wait_gone()
        record = next(r for r in [await served.record(0), await served.record(1)] if r["model"] == "mock/flood")
        assert record["ending"] == "cancelled"


async def test_nothing_is_lost_when_the_reader_comes_back():
    """The idle deadline (0.4 s here) does not run while we pause; order and ending are as sent."""
    count = 2500

    async def much(seen: Seen) -> None:
        await seen.write(SSE + http_chunk(ROLE))
        for number in range(count):
            await seen.write(http_chunk(delta(f"{number:06d}{PIECE}")))
        await seen.write(http_chunk(FINISH + DONE) + LAST)

    async with scripted_upstream(much) as upstream, gateway_server(config_text(upstream.base_url)) as served:
        async with lazy_client(served.port, chat_request()) as sock:
            await settled(await upstream.request())
            paused_for = time.monotonic()
            await until(lambda: time.monotonic() - paused_for > 0.7)
            reader, writer = await asyncio.open_connection(sock=sock.dup(), limit=1 << 20)
            answer = await Connection(reader, writer).answer()
            writer.transport.abort()
        record = await served.record()

    numbers = [int(item["choices"][0]["delta"]["content"][:6]) for item in answer.frames[1:-2]]
    assert numbers == list(range(count))
    assert answer.frames[-1] == "[DONE]"
    assert record["ending"] == "finished"


async def test_pipelined_requests_wait_while_their_answers_are_not_read():
    """Cheap requests by the thousand on one connection: their answers must not pile up here."""
    one = request("GET", "/v1/models")

    async with gateway_server(config_text()) as served:
        served.server.servers[0].sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 << 10)  # kernel's share
        async with lazy_client(served.port, one) as sock:
            largest, last_at = 0, time.monotonic()
            while time.monotonic() - last_at < 0.3:  # until the server has taken nothing for a while
                try:
                    sock.send(one * 400)
                    last_at = time.monotonic()
                except BlockingIOError:
                    await asyncio.sleep(0.001)
                largest = max(largest, held(served))
                assert largest <= 2 * MAX_HELD_BYTES, "answers nobody reads pile up"

    assert largest <= MAX_HELD_BYTES
