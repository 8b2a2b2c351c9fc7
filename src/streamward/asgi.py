"""The data plane's exchanges as a plain ASGI application, for any other server or framework.

The same streams under uvicorn's stock protocols, Granian, Hypercorn, or mounted in somebody's Starlette. A bounded
buffer lies between the pushing exchange and the pulling server; a client that does not read pauses the producer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from streamward.dataplane.exchange import App, Exchange, Request, frames_in
from streamward.dataplane.head import split_target

HIGH_WATER = 64 << 10
"""Bytes waiting for the server's ``send`` before the producer is paused."""

Scope = MutableMapping[str, Any]
AsgiApp = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class AsgiSink:
    """A sink whose bytes an ASGI server takes with ``send``."""

    def __init__(self) -> None:
        self.head: dict[str, Any] | None = None
        self.by_frame = False
        self.chunks: list[bytes] = []
        self.size = 0
        self.finished = False
        self.aborted = False
        self.paused = False
        self.closed = False
        self.exchange: Exchange | None = None
        self.changed = asyncio.Event()
        self.body_open = asyncio.Event()
        self.body_open.set()

    def start(self, status: int, fields: bytes, *, length: int | None = None, by_frame: bool = False) -> None:
        self.by_frame = by_frame
        headers = [tuple(line.split(b": ", 1)) for line in fields.split(b"\r\n") if line]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        self.head = {"type": "http.response.start", "status": status, "headers": headers}

    def write(self, data: bytes) -> None:
        if self.finished or self.closed or not data:
            return
        self.chunks.append(data)
        self.size += len(data)
        self.changed.set()
        if self.size > HIGH_WATER and not self.paused and self.exchange is not None:
            self.paused = True
            self.exchange.pause()

    def flush_head(self) -> None:
        self.changed.set()

    def finish(self, data: bytes = b"") -> None:
        self.write(data)
        self.finished = True
        self.changed.set()

    def abort(self) -> None:
        self.aborted = self.finished = True
        self.changed.set()

    def pause_body(self) -> None:
        self.body_open.clear()

    def resume_body(self) -> None:
        self.body_open.set()

    async def pump(self, send: Callable[[Any], Awaitable[None]]) -> None:
        """Hand everything to *send* until the response ends. Raises when it is to be broken off."""
        while True:
            await self.changed.wait()
            self.changed.clear()
            if self.head is not None:
                head, self.head = self.head, None
                await send(head)
            chunks, self.chunks = self.chunks, []
            self.size = 0
            if chunks:
                data = b"".join(chunks)
                for body in frames_in(data) if self.by_frame else (data,):
                    await send({"type": "http.response.body", "body": body, "more_body": True})
            if self.paused and self.exchange is not None:
                self.paused = False
                self.exchange.resume()
            if self.aborted:
                raise ConnectionAbortedError("the response was broken off on purpose")
            if self.finished and not self.chunks:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return


async def serve_exchange(
    app: App, fallback: AsgiApp, scope: Scope, receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[None]],
) -> None:  # fmt: skip
    """Serve one HTTP *scope* by *app*; what it does not take goes to *fallback*."""
    sink = AsgiSink()
    exchange = app.open_exchange(request_of(scope), sink)
    sink.exchange = exchange
    if exchange is None and not sink.finished:
        await fallback(scope, receive, send)
        return
    pump = asyncio.ensure_future(sink.pump(send))
    reader = asyncio.ensure_future(read_body(exchange, sink, receive)) if exchange is not None else None
    try:
        await asyncio.wait([task for task in (pump, reader) if task is not None], return_when=asyncio.FIRST_COMPLETED)
        if not pump.done() and reader is not None and reader.done() and not sink.finished:
            reader.result()
            sink.closed = True
            if exchange is not None:
                exchange.disconnected()
        elif not pump.done():
            await pump
    finally:
        for task in (pump, reader):
            if task is not None and not task.done():
                task.cancel()
        if exchange is not None and not sink.finished and not sink.closed:
            sink.closed = True
            exchange.disconnected()
    if pump.done() and not pump.cancelled():
        pump.result()


async def read_body(exchange: Exchange, sink: AsgiSink, receive: Callable[[], Awaitable[Any]]) -> None:
    """Feed the request body, then wait for the client to leave. Returns when it has left."""
    while True:
        await sink.body_open.wait()
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        if message.get("body"):
            exchange.body_received(message["body"])
        if not message.get("more_body", False):
            break
    exchange.body_ended()
    while (await receive())["type"] != "http.disconnect":
        pass


def request_of(scope: Scope) -> Request:
    fields = [(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]
    headers: dict[bytes, bytes] = {}
    for name, value in fields:
        headers[name] = headers[name] + b", " + value if name in headers else value
    stated = headers.get(b"content-length", b"")
    path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
    raw_path = scope.get("raw_path") or path.encode()
    length = int(stated) if stated.isdigit() else None if b"transfer-encoding" in headers else 0
    return Request(
        method=scope["method"], path=path, raw_path=split_target(raw_path)[1], query=scope.get("query_string", b""),
        header_list=fields, headers=headers, content_length=length, http_minor=int(scope.get("http_version", "1.1") != "1.0"),
        client=tuple(scope["client"]) if scope.get("client") else None, server=scope.get("server"),
        scheme=scope.get("scheme", "http"),
    )  # fmt: skip
