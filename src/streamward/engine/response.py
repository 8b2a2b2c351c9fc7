"""A streaming response that fits everywhere: a Starlette response (FastAPI too), a plain ASGI application, a WSGI
application (``.wsgi``), or just an iterator of bytes.

A client that leaves cancels the body at once. A body that could not finish and whose dialect cannot say so is broken
off: never a clean end for a stream that had none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from starlette.background import BackgroundTask
from starlette.responses import Response

from streamward.dataplane.ticker import ticker_of
from streamward.engine.portal import PORTAL

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from streamward.engine.body import Body

KEEP_ALIVE_S = 15.0
"""Silence after which proxies begin to close connections is 30 to 60 s."""


class StreamResponse(Response):
    """The response over one body. It can be sent once."""

    def __init__(
        self, body: Body, *, headers: Mapping[str, str], status: int = 200, keep_alive: bytes | None = None,
        keep_alive_s: float | None = KEEP_ALIVE_S, first: bytes = b"", background: BackgroundTask | None = None,
    ) -> None:  # fmt: skip
        self.status_code = status
        self.background = background
        self.body_stream = body
        self.keep_alive = keep_alive
        self.keep_alive_s = keep_alive_s
        self.first = first
        self.init_headers(headers)

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """As Starlette does, without a content type or length of its own."""
        fields = (headers or {}).items()
        self.raw_headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = self.body_stream
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        watch = asyncio.ensure_future(watch_client(receive, body))
        silence = Silence(body, self.keep_alive_s) if self.keep_alive and self.keep_alive_s else None
        try:
            if self.first:
                await send({"type": "http.response.body", "body": self.first, "more_body": True})
            await self.pump(send, silence)
        except BaseException:
            body.cancel("the response was cancelled")
            raise
        finally:
            watch.cancel()
            if silence is not None:
                silence.close()
        if watch.done() and not watch.cancelled():
            return  # the client left
        if body.broken:
            raise ConnectionAbortedError("the stream failed and its dialect cannot say so: broken off on purpose")
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if self.background is not None:
            await self.background()

    async def pump(self, send: Send, silence: Silence | None) -> None:
        body = self.body_stream
        while not body.over:
            data = await body.read()
            if not data and not body.over:
                data = self.keep_alive or b""
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})
                if silence is not None:
                    silence.broken()

    @property
    def body_iterator(self) -> BodyIterator:
        """The body as an asynchronous iterator of bytes, for frameworks with a streaming response of their own."""
        return BodyIterator(self)

    def iter_bytes(self) -> Iterator[bytes]:
        """The body as a plain iterator: the stream runs on a background event loop. Close it to stop early."""
        return SyncBody(self)

    @property
    def wsgi(self) -> Callable[[dict[str, Any], Callable[..., Any]], Iterator[bytes]]:
        """The response as a WSGI application: ``return response.wsgi(environ, start_response)``."""
        return self.serve_wsgi

    def serve_wsgi(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        import http

        try:
            phrase = http.HTTPStatus(self.status_code).phrase
        except ValueError:
            phrase = "Unknown"
        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.raw_headers]
        # Hop-by-hop fields are the server's business (PEP 3333).
        own = [(name, value) for name, value in fields if name not in ("connection", "transfer-encoding")]
        start_response(f"{self.status_code} {phrase}", own)
        return self.iter_bytes()


class BodyIterator:
    """A response's body, asynchronously. Raises ConnectionAbortedError where the body must break off."""

    def __init__(self, response: StreamResponse) -> None:
        self.response = response
        self.first = response.first
        self.done = False

    def __aiter__(self) -> BodyIterator:
        return self

    async def __anext__(self) -> bytes:
        first, self.first = self.first, b""
        if first:
            return first
        body = self.response.body_stream
        try:
            data = await body.read()
        except asyncio.CancelledError:
            body.cancel("the response was cancelled")
            raise
        if data:
            return data
        if body.over and body.broken and not self.done:
            self.done = True
            raise ConnectionAbortedError("the stream failed and its dialect cannot say so")
        if body.over:
            raise StopAsyncIteration
        return self.response.keep_alive or b""

    async def aclose(self) -> None:
        self.response.body_stream.cancel("the client left")

    def __del__(self) -> None:
        body = self.response.body_stream
        if not body.over:
            run = getattr(body, "run", None)
            if run is not None:
                run.stop_from_anywhere("the client left")


class SyncBody:
    """A response's body for callers without an event loop; WSGI servers call ``close`` when the client leaves."""

    def __init__(self, response: StreamResponse) -> None:
        self.iterator = BodyIterator(response)
        self.closed = False

    def __iter__(self) -> SyncBody:
        return self

    def __next__(self) -> bytes:
        if self.closed:
            raise StopIteration
        try:
            return PORTAL.call(self.next_data())
        except StopAsyncIteration:
            raise StopIteration from None
        except BaseException:
            self.close()
            raise

    async def next_data(self) -> bytes:
        try:
            return await self.iterator.__anext__()
        except StopAsyncIteration:
            self.closed = True
            return b""

    def close(self) -> None:
        """Stop the stream; the provider learns of it before this returns."""
        if not self.closed:
            self.closed = True
            PORTAL.call(self.iterator.aclose())


class Silence:
    """Watches for silence on one response, on the loop's coarse ticker."""

    def __init__(self, body: Body, limit_s: float) -> None:
        self.body = body
        self.limit_s = limit_s
        self.ticker = ticker_of(asyncio.get_running_loop())
        self.last = self.ticker.loop.time()
        self.ticker.add(self)

    def tick(self, now: float) -> None:
        if now - self.last >= self.limit_s:
            self.last = now
            self.body.nudge()

    def broken(self) -> None:
        self.last = self.ticker.loop.time()

    def close(self) -> None:
        self.ticker.discard(self)


async def watch_client(receive: Receive, body: Body) -> None:
    """Return when the client has left, having cancelled the body."""
    while (await receive())["type"] != "http.disconnect":
        pass
    body.cancel("the client left")


def merged_headers(defaults: Mapping[str, str], own: Mapping[str, str] | None) -> dict[str, str]:
    """The application's headers win, whatever their case."""
    fields = {name.lower(): value for name, value in defaults.items()}
    fields.update({name.lower(): str(value) for name, value in (own or {}).items()})
    return fields
