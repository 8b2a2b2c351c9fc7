"""Requests of a client over the data plane, and their answers to pull.

The data plane pushes; a client waits. Between them lies a bounded buffer: a reader that does not come pauses the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from msgspec.structs import replace

from streamward.client.failure import LOST
from streamward.client.policy import Timeouts
from streamward.dataplane import client as dataplane
from streamward.dataplane.client import AnswerHead, UpstreamCall
from streamward.dataplane.exchange import render_fields
from streamward.dataplane.pool import Pool
from streamward.errors import ErrorInfo, InvalidRequest, TooLarge, to_exception
from streamward.upstream.upstream import parse_base_url
from streamward.version import __version__

HIGH_WATER = 256 << 10
"""Bytes waiting for the reader before the server is paused, as the gateway allows its own clients."""

MAX_BODY_BYTES = 64 << 20
"""Bound of an answer that is collected whole: twice what the gateway takes as a request."""

MAX_ERROR_BYTES = 64 << 10
SAFE_PATH = "/:?=&%+,@-._~"


class Incoming:
    """One answer. A receiver for the data plane; one reader."""

    def __init__(self) -> None:
        self.call: UpstreamCall | None = None
        self.answer: AnswerHead | None = None
        self.chunks: list[bytes] = []
        self.size = 0
        self.paused = False
        self.over = False
        self.error: ErrorInfo | None = None
        self.closed = False
        self.waiter: asyncio.Future[None] | None = None

    # -- from the data plane

    def head_received(self, head: AnswerHead) -> None:
        self.answer = head
        self.wake()

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        self.chunks.append(data)
        self.size += len(data)
        if self.size > HIGH_WATER and not self.paused and self.call is not None:
            self.paused = True
            self.call.pause()
        self.wake()

    def ended(self) -> None:
        self.over = True
        self.wake()

    def failed(self, error: ErrorInfo) -> None:
        self.over = True
        # The data plane was written for the side where the other end is a provider; seen from here it is a server.
        self.error = replace(error, message=error.message.replace("the provider", "the server"))
        self.wake()

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    # -- to the reader

    async def wait(self) -> None:
        self.waiter = asyncio.get_running_loop().create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    async def head(self) -> AnswerHead:
        """Status and headers. Raises the failure that came instead of them."""
        while self.answer is None:
            if self.over or self.closed:
                raise to_exception(self.error or LOST)
            await self.wait()
        return self.answer

    async def read(self) -> bytes:
        """What has arrived, at least one byte; empty at the end of the body. Raises what broke it, after all bytes."""
        while not self.chunks:
            if self.error is not None:
                raise to_exception(self.error)
            if self.over or self.closed:
                return b""
            await self.wait()
        data = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        self.chunks = []
        self.size = 0
        if self.paused and self.call is not None:
            self.paused = False
            self.call.resume()
        return data

    async def body(self, limit: int = MAX_BODY_BYTES) -> bytes:
        """The whole body.

        Raises:
            TooLarge: it is longer than *limit* bytes.
        """
        pieces: list[bytes] = []
        size = 0
        while data := await self.read():
            pieces.append(data)
            size += len(data)
            if size > limit:
                self.close()
                raise TooLarge(f"the server's answer is larger than {limit} bytes")
        return b"".join(pieces)

    async def error_body(self) -> bytes:
        """The start of an error answer's body; what cannot be read is left out."""
        pieces: list[bytes] = []
        size = 0
        while not self.closed:
            if not self.chunks and self.error is not None:
                break
            data = await self.read()
            if not data:
                break
            pieces.append(data)
            size += len(data)
            if size > MAX_ERROR_BYTES:
                self.close()
        return b"".join(pieces)

    def let_go(self) -> None:
        """Nothing more is read; the connection may be used again once the body has ended."""
        self.closed = True
        self.chunks = []
        if self.call is not None:
            self.call.let_go()
        self.wake()

    def close(self) -> None:
        """Close the connection at once, unless the answer is complete."""
        self.closed = True
        self.chunks = []
        if self.call is not None:
            self.call.cancel()
        self.wake()


class Http:
    """Where requests go and what every one of them carries."""

    def __init__(self, base_url: str, *, api_key: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        self.endpoint, self.base_path = parse_base_url(base_url)
        query = urlsplit(base_url).query
        if query:
            raise InvalidRequest("base_url must not have a query", param="base_url")
        self.fields: dict[str, str] = {
            "host": urlsplit(base_url).netloc.rpartition("@")[2],
            "user-agent": f"streamward/{__version__}",
            "accept-encoding": "identity",
        }
        if api_key:
            self.fields["authorization"] = f"Bearer {api_key}"
        self.fields |= {name.lower(): value for name, value in (headers or {}).items()}
        self.pool: Pool | None = None

    def open(
        self, method: str, path: str, body: bytes | None = None, *, headers: Mapping[str, str], timeouts: Timeouts,
        total_s: float | None = None,
    ) -> Incoming:  # fmt: skip
        """Send a request; *total_s* is what is left of ``timeouts.total``."""
        if self.pool is None:
            self.pool = Pool()
        fields = {**self.fields, **{name.lower(): value for name, value in headers.items()}}
        if body is not None:
            fields |= {"content-type": "application/json", "content-length": str(len(body))}
        target = quote(self.base_path + path, safe=SAFE_PATH) or "/"
        data = f"{method} {target} HTTP/1.1\r\n".encode() + render_fields(fields.items()) + b"\r\n" + (body or b"")
        incoming = Incoming()
        deadlines = dataplane.Timeouts(
            connect=timeouts.connect,
            first_byte=timeouts.first_byte,
            idle=timeouts.between_frames,
            total=total_s if total_s is not None else timeouts.total,
        )
        incoming.call = self.pool.call(self.endpoint, data, incoming, deadlines)
        return incoming

    async def aclose(self) -> None:
        pool, self.pool = self.pool, None
        if pool is not None:
            await pool.aclose()
