"""The upstream side: HTTP/1.1 connections that call a receiver as bytes arrive.

One :class:`UpstreamCall` is one request and its answer, under four deadlines. Redirects are not followed, bodies are
asked for without compression (and decoded in bounded steps if they come compressed all the same), every bound of the
answer's head is ours. Connections are made and reused by ``pool``.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from typing import TYPE_CHECKING, Protocol

import httptools
from msgspec import Struct

from streamward.errors import ErrorInfo

if TYPE_CHECKING:
    from streamward.dataplane.pool import Pool

MAX_HEAD_BYTES = 64 << 10
MAX_FIELDS = 200
MAX_INTERIM = 20
"""1xx answers before the final one; a server that sends more is broken or hostile."""

INFLATE_STEP = 64 << 10
"""Decompressed bytes handed on at a time, so that a compression bomb meets the event bound before memory."""

LINGER_S = 1.0
"""How long a finished answer's body may take to end before its connection is given up."""

FOREVER = float("inf")
FAILED_READING = ErrorInfo("server_error", "the server failed while reading the provider's answer", 500)

log = logging.getLogger("streamward.upstream")


class Timeouts(Struct, frozen=True):
    """Seconds; 0 is none. ``idle`` does not run while we pause the upstream ourselves."""

    connect: float = 5.0
    first_byte: float = 60.0
    idle: float = 60.0
    total: float = 900.0


class Endpoint(Struct, frozen=True):
    """Where a connection goes; connections are shared between calls with equal endpoints."""

    scheme: str
    host: str
    port: int
    path: str = ""
    """Socket path instead of host and port."""


class AnswerHead(Struct, frozen=True):
    status: int
    headers: dict[str, str]
    """Lower-case names; a repeated field is joined with ``", "``."""


class Receiver(Protocol):
    """Who gets the answer. After ``ended`` or ``failed`` nothing more is called."""

    def head_received(self, head: AnswerHead, /) -> None: ...

    def data_received(self, data: bytes, /) -> None: ...

    def ended(self) -> None:
        """The body is complete as HTTP frames it (what it says is another matter)."""

    def failed(self, error: ErrorInfo, /) -> None:
        """Connect error, reset, deadline, or an answer that is not HTTP."""


class UpstreamCall:
    """One request to an upstream. ``cancel`` may be called at any time, and closes the connection at once."""

    __slots__ = (
        "connecting", "connection", "data", "done", "endpoint", "got_bytes", "heard", "paused", "pool", "quiet_at",
        "receiver", "reused", "timeouts", "total_at",
    )  # fmt: skip

    def __init__(self, pool: Pool, endpoint: Endpoint, data: bytes, receiver: Receiver, timeouts: Timeouts) -> None:
        self.pool = pool
        self.endpoint = endpoint
        self.data = data
        self.receiver = receiver
        self.timeouts = timeouts
        self.connection: Connection | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.done = False
        self.paused = False
        self.reused = False
        self.got_bytes = False
        self.heard = False
        now = pool.loop.time()
        self.total_at = now + timeouts.total if timeouts.total else FOREVER
        self.quiet_at = now + timeouts.first_byte if timeouts.first_byte else FOREVER
        pool.ticker.add(self)

    def pause(self) -> None:
        """Stop reading: the client does not keep up."""
        self.paused = True
        if self.connection is not None:
            self.connection.transport.pause_reading()

    def resume(self) -> None:
        self.paused = False
        if self.connection is not None:
            self.heard = self.heard or self.got_bytes  # the deadline begins anew
            self.connection.transport.resume_reading()

    def let_go(self) -> None:
        """The answer is known to be over: take the body's last bytes, so that the connection can be used again."""
        if self.done:
            return
        if self.paused:
            self.resume()
        self.total_at = self.pool.loop.time() + LINGER_S

    def cancel(self) -> None:
        if self.done:
            return
        self.finish()
        if self.connecting is not None:
            self.connecting.cancel()
        if self.connection is not None:
            self.connection.drop()

    def finish(self) -> None:
        self.done = True
        self.pool.ticker.discard(self)

    def tick(self, now: float) -> None:
        if self.heard:
            self.heard = False
            self.got_bytes = True
            self.quiet_at = now + self.timeouts.idle if self.timeouts.idle else FOREVER
        if now >= self.total_at:
            self.fail_with("upstream_timeout", f"the provider took longer than {self.timeouts.total:g} s", 504)
        elif now >= self.quiet_at and not self.paused:
            if self.connection is None and self.connecting is not None:
                return  # the connect deadline is its own
            if self.got_bytes:
                message = f"the provider fell silent for {self.timeouts.idle:g} s"
            else:
                message = f"the provider sent nothing for {self.timeouts.first_byte:g} s"
            self.fail_with("upstream_timeout", message, 504)

    def fail_with(self, code: str, message: str, status: int = 502) -> None:
        self.fail(ErrorInfo(code, message, status, safe_to_retry=True))

    def fail(self, error: ErrorInfo) -> None:
        if self.done:
            return
        self.cancel()
        self.receiver.failed(error)

    # -- from the connection

    def attach(self, connection: Connection, *, reused: bool) -> None:
        self.connecting = None
        self.connection = connection
        self.reused = reused
        if self.timeouts.first_byte:
            self.quiet_at = self.pool.loop.time() + self.timeouts.first_byte
        connection.send(self)
        if self.paused:
            connection.transport.pause_reading()

    def body(self, data: bytes) -> None:
        self.heard = True  # the next tick moves the deadline: no clock is read per token
        if not self.done:
            self.receiver.data_received(data)

    def complete(self) -> None:
        if self.done:
            return
        self.finish()
        try:
            self.receiver.ended()
        except Exception:
            log.exception("receiver_failed")  # a bug of ours; whoever waits for the answer must not wait for ever
            self.receiver.failed(FAILED_READING)

    def lost(self, connection: Connection, message: str) -> None:
        """The connection ended before the answer was complete."""
        if self.done:
            return
        self.connection = None
        if self.reused and not connection.answered:
            # The server closed an idle connection just as we used it: nothing was processed, so send again.
            self.pool.connect(self)
            return
        self.fail_with("upstream_reset", message)


class Connection(asyncio.Protocol):
    """One connection to an endpoint, with at most one call on it."""

    __slots__ = (
        "answered", "answered_call", "call", "closed", "endpoint", "fields", "head_bytes", "headers", "idle_since", "in_head",
        "inflate", "interim", "keeps_alive", "parser", "pieces", "pool", "raw_head_bytes", "transport", "until_close",
    )  # fmt: skip

    def __init__(self, pool: Pool, endpoint: Endpoint) -> None:
        self.pool = pool
        self.endpoint = endpoint
        self.transport: asyncio.Transport = None  # type: ignore[assignment] # set by connection_made
        self.parser = httptools.HttpResponseParser(self)
        self.call: UpstreamCall | None = None
        self.answered_call: UpstreamCall | None = None  # its answer ended within the read being parsed
        self.keeps_alive = False
        self.closed = False
        self.idle_since = 0.0
        self.pieces: list[bytes] = []
        self.reset()

    def reset(self) -> None:
        self.headers: dict[str, str] = {}
        self.fields = 0
        self.head_bytes = 0
        self.interim = 0
        self.answered = False  # a byte of the answer has come
        self.in_head = True
        self.raw_head_bytes = 0
        self.until_close = False
        self.inflate: Inflate | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def send(self, call: UpstreamCall) -> None:
        self.call = call
        self.reset()
        self.pool.outbox.send(self.transport, call.data)

    def drop(self) -> None:
        """Close at once; the peer learns of it now, not when a buffer empties."""
        self.closed = True
        self.call = None
        self.pool.forget(self)
        self.transport.abort()

    # -- from the transport

    def data_received(self, data: bytes) -> None:
        call = self.call
        if call is None:
            self.drop()  # bytes nobody asked for: this connection is out of step
            return
        self.answered = True
        try:
            self.parser.feed_data(data)
            pieces = self.pieces
            if pieces:
                # The rule is one HTTP chunk in one read of an answer that goes on: no further call, no list made anew.
                if len(pieces) == 1 and self.inflate is None and self.call is call and not call.done:
                    call.heard = True
                    call.receiver.data_received(pieces.pop())
                else:
                    self.deliver()
        except httptools.HttpParserCallbackError:
            log.exception("receiver_failed")  # a bug of ours, not of the provider
            self.drop()
            call.fail(FAILED_READING)
        except httptools.HttpParserError:
            if self.answered_call is not None:
                self.drop()  # what follows the answer is none of ours
            elif self.call is call and not self.closed:
                self.drop()
                call.fail_with("upstream_invalid", "the provider's answer is not valid HTTP/1.1")
        if self.in_head and self.call is call:
            self.raw_head_bytes += len(data)
            if self.raw_head_bytes > MAX_HEAD_BYTES:  # a field that does not end is not seen by on_header
                self.refuse("the provider's answer has too large a head")
        if self.answered_call is not None:
            self.release()

    def release(self) -> None:
        """The answer is complete, and so is the read that held its end: only now may another call use the connection."""
        call, self.answered_call = self.answered_call, None
        assert call is not None
        if self.keeps_alive and not self.closed:
            if call.paused:
                self.transport.resume_reading()
            self.pool.give_back(self)
        else:
            self.drop()
        call.complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.pool.forget(self)
        call, self.call = self.call, None
        if call is None:
            return
        if self.until_close and exc is None:
            call.complete()
        else:
            call.lost(self, "the provider closed the connection before its answer was complete")

    # -- from the parser

    def on_message_begin(self) -> None:
        if self.answered_call is not None:
            self.drop()  # a second answer: it would be taken for the next call's

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields += 1
        self.head_bytes += len(name) + len(value)
        if self.fields > MAX_FIELDS or self.head_bytes > MAX_HEAD_BYTES:
            self.refuse("the provider's answer has too large a head")
            return
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        call = self.call
        if call is None:
            return
        status = self.parser.get_status_code()
        if status < 200:
            return
        self.in_head = False
        headers = self.headers
        encoding = headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", ""):
            if encoding not in ("gzip", "deflate"):
                self.refuse("the provider's answer uses a compression that was not asked for")
                return
            self.inflate = Inflate()
        call.data = b""  # answered: it will not be sent again, and an idle stream need not hold it
        no_body = status in (204, 304)
        self.until_close = not no_body and "content-length" not in headers and "transfer-encoding" not in headers
        call.receiver.head_received(AnswerHead(status, headers))

    def on_body(self, body: bytes) -> None:
        # One read may hold many HTTP chunks: they are handed on together, so that one read makes one write.
        self.pieces.append(body)

    def deliver(self) -> None:
        pieces, self.pieces = self.pieces, []
        call = self.call
        if call is None:
            return
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self.inflate is None:
            call.body(body)
            return
        try:
            for piece in self.inflate.feed(body):
                call.body(piece)
                if call.done:
                    return
        except zlib.error:
            self.refuse("the provider's compressed answer is broken")

    def on_message_complete(self) -> None:
        if self.pieces:
            self.deliver()
        call = self.call
        if call is None:
            return
        if self.parser.get_status_code() < 200:
            self.interim += 1
            self.headers = {}
            if self.interim > MAX_INTERIM:
                self.refuse("the provider sent too many interim answers")
            return
        self.call, self.answered_call = None, call
        self.keeps_alive = self.parser.should_keep_alive() and not self.until_close

    def refuse(self, message: str) -> None:
        call = self.call
        if call is not None:
            self.drop()
            call.fail_with("upstream_invalid", message)


class Inflate:
    """Bounded decoding of gzip and zlib bodies."""

    def __init__(self) -> None:
        self.decoder = zlib.decompressobj(wbits=47)  # 32 + 15: gzip or zlib, told apart by the header

    def feed(self, data: bytes) -> list[bytes]:
        """At most a few steps' worth is held at once; the caller stops when its own bound is met."""
        pieces = []
        while data:
            pieces.append(self.decoder.decompress(data, INFLATE_STEP))
            data = self.decoder.unconsumed_tail
            if len(pieces) > MAX_STEPS:
                raise zlib.error("decompressed data is out of proportion")
        return pieces


MAX_STEPS = 256  # 16 MiB out of one network read of at most 256 KiB
