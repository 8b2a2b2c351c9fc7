"""The kinds of objects that ``stream_to_response`` can write to."""

from __future__ import annotations

import asyncio
import http
import inspect
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from msgspec import Struct

from streamward.engine.portal import PORTAL
from streamward.legacy.data import first_of
from streamward.legacy.stream import Readable, SyncReader

Headers = dict[str, str]


class Done(Struct):
    """What the call returns."""

    result: Any


def write_to(res: Any, stream: Readable, status: int, headers: Headers) -> Done | None:
    """None when *res* is of no known kind."""
    write_head = getattr(res, "write_head", None) or getattr(res, "writeHead", None)
    if write_head is not None and hasattr(res, "write") and hasattr(res, "end"):
        write_head(status, headers)
        return Done(node_like(res, stream))
    if hasattr(res, "wfile") and hasattr(res, "send_response"):
        return Done(run(handler(res, stream, status, headers)))
    if callable(res) and not hasattr(res, "write"):
        return Done(wsgi(res, stream, status, headers))
    return None


def in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def run(work: Coroutine[Any, Any, None]) -> Any:
    """A task inside a running loop, else done when this returns."""
    if in_loop():
        return asyncio.ensure_future(work)
    return PORTAL.call(work)


# -- Node-like


def node_like(res: Any, stream: Readable) -> Any:
    if in_loop():
        return asyncio.ensure_future(node_like_async(res, stream))
    reader = SyncReader(stream)
    on = getattr(res, "on", None)
    if callable(on):
        on("close", reader.close)
    try:
        for data in reader:
            res.write(data)
        res.end()
    finally:
        reader.close()
    return None


async def node_like_async(res: Any, stream: Readable) -> None:
    pull: asyncio.Task[bytes | None] | None = None
    gone = asyncio.get_running_loop().create_future()

    def left() -> None:
        if not gone.done():
            gone.set_result(None)

    on = getattr(res, "on", None)
    if callable(on):
        on("close", left)
    try:
        while True:
            pull = asyncio.ensure_future(stream.read())
            await first_of(pull, gone)
            if gone.done():
                return
            data = pull.result()
            if data is None:
                break
            room = res.write(data)
            if inspect.isawaitable(room):
                room = await room
            if room is False and hasattr(res, "drain"):
                await res.drain()
        ended = res.end()
        if inspect.isawaitable(ended):
            await ended
    finally:
        if pull is not None and not pull.done():
            pull.cancel()
        await stream.aclose()


# -- http.server


async def handler(res: Any, stream: Readable, status: int, headers: Headers) -> None:
    """Chunked for HTTP/1.1 clients of an HTTP/1.1 handler; else the connection's end is the body's end."""
    chunked = res.protocol_version >= "HTTP/1.1" and res.request_version >= "HTTP/1.1"
    loop, gone = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
    connection: socket.socket = res.connection

    def readable() -> None:
        try:
            left = not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            left = True
        loop.remove_reader(connection)  # left, or the next request: both are no business of this watch any more
        if left and not gone.done():
            gone.set_result(None)

    def head() -> None:
        res.send_response(status)
        for name, value in headers.items():
            res.send_header(name, value)
        res.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
        res.end_headers()

    def write(data: bytes) -> None:
        res.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        res.wfile.flush()

    if not hasattr(connection, "pending"):  # TLS sockets cannot be peeked into
        loop.add_reader(connection, readable)
    pull: asyncio.Task[bytes | None] | None = None
    try:
        await asyncio.to_thread(head)
        while True:
            pull = asyncio.ensure_future(stream.read())
            await first_of(pull, gone)
            if gone.done():
                res.close_connection = True
                return
            data = pull.result()
            if data is None:
                break
            await asyncio.to_thread(write, data)
        if chunked:
            await asyncio.to_thread(res.wfile.write, b"0\r\n\r\n")
        else:
            res.close_connection = True
    except (BrokenPipeError, ConnectionResetError):
        res.close_connection = True
    except BaseException:
        res.close_connection = True  # without the last chunk: broken off
        raise
    finally:
        loop.remove_reader(connection)
        if pull is not None and not pull.done():
            pull.cancel()
        await stream.aclose()


# -- WSGI


def wsgi(start_response: Callable[..., Any], stream: Readable, status: int, headers: Headers) -> Iterator[bytes]:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    start_response(f"{status} {phrase}", list(headers.items()))
    return SyncReader(stream)
