"""The server side: a uvicorn HTTP protocol class that speaks strict HTTP/1.1.

It reads requests, asks the application to take each (``App.open_exchange``) and hands the others to the ASGI app. The
exchange writes to this object directly (it is the :class:`Sink`): no task, queue or await lies between a token and the
socket. uvicorn owns the listening socket, TLS, workers, signals and lifespan.

    receiving head -> [body ->] serving -> idle (keep-alive) -> receiving head ...
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from streamward.dataplane.bridge import AsgiExchange
from streamward.dataplane.exchange import App, Exchange, Request, frames_in, render_fields, status_line
from streamward.dataplane.head import BadRequest, ChunkedBody, Head, LastHead, Limits, parse_head, split_target
from streamward.dataplane.outbox import outbox_of
from streamward.dataplane.ticker import ticker_of

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

MAX_PIPELINED_BYTES = 64 << 10
"""Bytes of later requests we hold while one is being served; beyond, reading stops."""

MAX_KEPT_HEAD = 2048
"""Bytes of a head that is kept to compare the next one with: what SDKs send is a third of it, and idle connections are many."""

LINGER_S = 5.0
"""How long a closing connection may take to send its last bytes, and to drop what the client still sends."""

LAST_CALL_S = 0.25
"""How long a connection that has not asked for anything yet may still do so when the server stops."""

FOREVER = float("inf")
LAST_CHUNK = b"0\r\n\r\n"

log = logging.getLogger("streamward.server")


class Downstream(asyncio.Protocol):
    """One client connection; also the sink of the response being served on it."""

    __slots__ = (
        "app", "app_state", "asgi_app", "asked", "body_done", "body_left", "buffer", "by_frame", "chunked_in", "chunked_out",
        "client", "closing", "config", "deadline", "exchange", "finished", "head", "http_minor", "is_head", "last_call",
        "last_head", "length_left", "limits", "loop", "lost", "outbox", "parsing", "read_paused", "scheme", "server",
        "server_state", "serving", "started", "ticker", "transport", "write_paused",
    )  # fmt: skip

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:  # fmt: skip
        if not config.loaded:
            config.load()
        self.config = config
        self.asgi_app = config.loaded_app
        self.app: App | None = self.asgi_app if hasattr(self.asgi_app, "open_exchange") else None
        self.limits: Limits = getattr(self.asgi_app, "limits", None) or Limits()
        self.server_state = server_state
        self.app_state = app_state
        self.loop = _loop or asyncio.get_running_loop()
        self.ticker = ticker_of(self.loop)
        self.outbox = outbox_of(self.loop)
        self.transport: asyncio.Transport = None  # type: ignore[assignment] # set by connection_made
        self.client: tuple[str, int] | None = None
        self.server: tuple[str, int | None] | None = None
        self.scheme = "http"
        self.buffer = b""
        self.deadline = FOREVER
        self.closing = False  # no further request on this connection
        self.lost = False
        self.asked = False  # a request has come
        self.last_call = False  # the server stops: one request more, if it comes soon
        self.write_paused = False
        self.read_paused = False
        self.last_head: LastHead | None = None
        # of the request being served
        self.exchange: Exchange | None = None
        self.serving = False
        self.parsing = False
        self.body_left = 0
        self.chunked_in: ChunkedBody | None = None
        self.body_done = True
        self.is_head = False
        self.http_minor = 1
        # of its response
        self.head: bytes | None = None  # not sent yet
        self.started = False
        self.finished = False
        self.chunked_out = False
        self.by_frame = False
        self.length_left: int | None = None

    # -- the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.server_state.connections.add(self)  # type: ignore[arg-type]
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self.client = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None
        self.server = (str(local[0]), int(local[1])) if isinstance(local, tuple) else None
        self.scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self.deadline = self.loop.time() + self.limits.head_timeout_s
        self.ticker.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.ticker.discard(self)
        self.server_state.connections.discard(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None and not self.finished:
            exchange.disconnected()

    def tick(self, now: float) -> None:
        if now < self.deadline:
            return
        self.deadline = FOREVER
        if self.closing:
            self.transport.abort()
        elif self.serving:
            self.refuse(408, "request_timeout", "the request body did not arrive in time")
        elif self.buffer:
            self.refuse(408, "request_timeout", "the request head did not arrive in time")
        else:
            self.close()

    def shutdown(self) -> None:
        """uvicorn's signal that the server stops: no new request on this connection."""
        if self.app is not None:
            self.app.begin_drain()
        if self.serving:
            self.closing = True
        elif not self.asked:  # accepted a moment ago: its first request may be on its way, and would meet a reset
            self.last_call = True
            self.deadline = min(self.deadline, self.loop.time() + LAST_CALL_S)
        else:
            self.close()

    def close(self, *, linger: bool = False) -> None:
        """Close once what was written is sent. *linger* when the client may still be sending.

        Closing with bytes unread makes the kernel send RST, which takes our answer from clients that send everything
        before they read. So: FIN first, then read and drop until theirs comes (RFC 9112 9.6).
        """
        self.closing = True
        self.outbox.flush()
        self.deadline = self.loop.time() + LINGER_S
        if not linger or not self.transport.can_write_eof() or self.transport.is_closing():
            self.transport.close()
            return
        self.resume_body()
        self.transport.write_eof()

    # -- reading

    def data_received(self, data: bytes) -> None:
        if self.closing and not self.serving:
            return
        if self.serving or self.write_paused:
            if self.serving and not self.body_done:
                self.body_data(data)
                return
            self.buffer += data
            if len(self.buffer) > MAX_PIPELINED_BYTES and not self.read_paused:
                self.read_paused = True
                self.transport.pause_reading()
            return
        self.buffer = self.buffer + data if self.buffer else data
        self.next_requests()

    def next_requests(self) -> None:
        """Serve what the buffer holds, one request after the other (a loop, not recursion: clients pipeline)."""
        if self.parsing:
            return
        self.parsing = True
        try:
            while self.buffer and not self.serving and not self.closing and not self.write_paused:
                if not self.next_request():
                    break
        finally:
            self.parsing = False

    def next_request(self) -> bool:
        """Take one head off the buffer; False when it is not complete yet."""
        buffer = self.buffer
        if buffer[:2] == b"\r\n":  # RFC 9112 2.2: one empty line before the request line is ignored
            buffer = self.buffer = buffer[2:]
        end = buffer.find(b"\r\n\r\n")
        limit = self.limits.max_head_bytes
        if end < 0 or end > limit:
            if len(buffer) > limit:
                self.refuse(431, "header_too_large", f"the request head is larger than {limit} bytes")
            elif b"\n\n" in buffer or b"\0" in buffer:
                self.refuse(400, "malformed_request", "the request head is not valid HTTP/1.1")
            elif self.deadline > (soon := self.loop.time() + self.limits.head_timeout_s):
                self.deadline = soon
            return False
        self.buffer = buffer[end + 4 :]
        raw = buffer[: end + 4]
        head = self.last_head.again(raw) if self.last_head is not None else None
        if head is None:
            try:
                head = parse_head(raw, self.limits)
            except BadRequest as bad:
                self.refuse(bad.status, bad.code, bad.message)
                return False
            self.last_head = LastHead(raw, head) if len(raw) <= MAX_KEPT_HEAD else None
        self.begin(head)
        return True

    def begin(self, head: Head) -> None:
        self.server_state.total_requests += 1
        last = self.last_head
        if last is not None and last.head is head and last.request is not None:
            request = last.request
        else:
            request = self.request_of(head)
            if head.by_name.get(b"upgrade", b"").lower() == b"websocket" and self.config.ws_protocol_class is not None:
                self.upgrade(request)
                return
            if last is not None and last.head is head:
                last.request = request
        self.deadline = FOREVER
        self.serving = True
        self.is_head = head.method == "HEAD"
        self.http_minor = head.minor
        self.asked = True
        self.closing = self.closing or self.last_call or not head.keep_alive
        self.head = None
        self.started = self.finished = self.chunked_out = self.by_frame = False
        self.length_left = None
        self.chunked_in = ChunkedBody() if head.content_length is None else None
        self.body_left = head.content_length or 0
        self.body_done = head.content_length == 0
        exchange = self.app.open_exchange(request, self) if self.app is not None else None
        if exchange is None and not self.finished and not self.lost:
            exchange = AsgiExchange(self.asgi_app, request, self, self.loop, self.app_state, self.server_state.tasks)
        if self.finished or self.lost:
            return
        assert exchange is not None
        self.exchange = exchange
        if self.body_done:
            exchange.body_ended()
            return
        if exchange.body_timeout_s:
            self.deadline = self.loop.time() + exchange.body_timeout_s
        if head.by_name.get(b"expect", b"").lower() == b"100-continue" and not self.started:
            self.outbox.send(self.transport, b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.write_paused:
            exchange.pause()
        early, self.buffer = self.buffer, b""
        if early:
            self.body_data(early)

    def request_of(self, head: Head) -> Request:
        path, raw_path, query = split_target(head.target)
        return Request(
            method=head.method, path=path, raw_path=raw_path, query=query, header_list=head.fields, headers=head.by_name,
            content_length=head.content_length, http_minor=head.minor, client=self.client, server=self.server,
            scheme=self.scheme, memo=self.last_head.memo if self.last_head is not None else None,
        )  # fmt: skip

    def body_data(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            return
        if self.chunked_in is not None:
            try:
                pieces = self.chunked_in.feed(data)
            except BadRequest as bad:
                self.refuse(bad.status, bad.code, bad.message)
                return
            self.body_done = self.chunked_in.ended
            self.buffer = self.chunked_in.rest
        else:
            pieces = [data[: self.body_left]]
            self.buffer = data[self.body_left :]
            self.body_left -= len(pieces[0])
            self.body_done = self.body_left == 0
        for piece in pieces:
            exchange.body_received(piece)
            if self.exchange is not exchange:  # it has answered, or the client is gone
                return
        if self.body_done:
            self.deadline = FOREVER
            exchange.body_ended()

    def upgrade(self, request: Request) -> None:
        """Hand the connection to uvicorn's WebSocket protocol, as its own HTTP protocols do."""
        self.ticker.discard(self)
        self.server_state.connections.discard(self)
        ws_class: Any = self.config.ws_protocol_class
        self.outbox.flush()
        protocol = ws_class(config=self.config, server_state=self.server_state, app_state=self.app_state)
        protocol.connection_made(self.transport)
        protocol.data_received(head_bytes(request) + self.buffer)
        self.closing = True
        self.transport.set_protocol(protocol)

    def detach(self, request: Request) -> tuple[socket.socket, bytes] | None:
        """Give the connection up instead of answering *request*, which has just been opened: its socket, and what was
        read from it, *request* first. None, and the connection closed, when earlier answers still wait for the client to
        read them (it has pipelined, and asks again, RFC 9112 9.3.2).
        """
        self.outbox.flush()
        if self.transport.get_write_buffer_size():
            self.serving = False
            self.finished = True
            self.close()
            return None
        connection = socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno()))
        early, self.buffer = head_bytes(request) + self.buffer, b""
        self.lost = True
        self.transport.abort()  # closes our descriptor of it; the peer sees nothing
        return connection, early

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer bytes that are no request we serve, and close."""
        self.closing = True
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.disconnected()
        if self.started and self.head is None:
            self.close()
            return
        render = getattr(self.app, "render_refusal", None)  # an application may word it in its own way
        if render is not None:
            fields, body = render(status, code, message)
        else:
            body = b'{"error":{"message":"%b","type":"invalid_request_error","param":null,"code":"%b"}}' % (
                message.encode(), code.encode(),
            )  # fmt: skip
            fields = b"content-type: application/json\r\nx-content-type-options: nosniff\r\n"
        head = b"%b%bcontent-length: %d\r\nconnection: close\r\n\r\n" % (status_line(status), fields, len(body))
        self.outbox.send(self.transport, head + body)
        self.serving = False
        self.finished = True
        self.close(linger=True)

    # -- the sink

    def start(self, status: int, fields: bytes, *, length: int | None = None, by_frame: bool = False) -> None:
        assert not self.started, "a response was started twice"
        self.started = True
        self.by_frame = by_frame
        if not self.body_done:
            self.closing = True  # answered before the body was read: what follows cannot be told from a request
        bodiless = self.is_head or status in (204, 304)
        if bodiless:
            self.length_left = 0
            framing = b"content-length: %d\r\n" % length if length is not None and status not in (204, 304) else b""
            if length is None and status not in (204, 304) and self.http_minor:
                framing = b"transfer-encoding: chunked\r\n"
        elif length is not None:
            self.length_left = length
            framing = b"content-length: %d\r\n" % length
        elif self.http_minor:
            self.chunked_out = True
            framing = b"transfer-encoding: chunked\r\n"
        else:
            self.closing = True
            framing = b""
        if self.closing:
            framing += b"connection: close\r\n"
        elif not self.http_minor:
            framing += b"connection: keep-alive\r\n"
        self.head = b"".join((status_line(status), date_line(), fields, framing, b"\r\n"))

    def write(self, data: bytes) -> None:
        if self.finished or self.lost or not data:
            return
        if self.length_left is not None:
            data = data[: self.length_left]
            self.length_left -= len(data)
        elif self.chunked_out:
            data = self.chunked(data)
        if self.head is not None:
            data = self.head + data
            self.head = None
        if data:
            self.outbox.send(self.transport, data)

    def chunked(self, data: bytes) -> bytes:
        if self.by_frame and data.count(b"\n\n") > 1:
            return b"".join([b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames_in(data)])
        return b"%x\r\n%b\r\n" % (len(data), data)

    def flush_head(self) -> None:
        if self.head is not None and not self.lost:
            self.outbox.send(self.transport, self.head)
            self.head = None

    def finish(self, data: bytes = b"") -> None:
        if self.finished or self.lost:
            self.finished = True
            return
        if self.chunked_out:
            data = self.chunked(data) + LAST_CHUNK if data else LAST_CHUNK
        elif self.length_left is not None:
            data = data[: self.length_left]
            self.length_left -= len(data)
            if self.length_left:  # the handler promised more than it wrote: nothing may look complete
                log.error("response_too_short", extra={"missing_bytes": self.length_left})
                self.write(data)
                self.abort()
                return
        if self.head is not None:
            data = self.head + data
            self.head = None
        if data:
            self.outbox.send(self.transport, data)
        self.end()

    def end(self) -> None:
        self.finished = True
        self.serving = False
        self.exchange = None
        if self.closing or not self.body_done:
            self.close(linger=not self.body_done)
            return
        self.deadline = self.loop.time() + self.limits.keep_alive_s
        self.go_on()

    def go_on(self) -> None:
        """Take up the requests that waited; not while the client leaves earlier answers unread."""
        if self.write_paused:
            return
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.buffer:
            self.next_requests()

    def abort(self) -> None:
        if self.finished or self.lost:
            return
        self.flush_head()
        self.finished = True
        self.serving = False
        self.exchange = None
        self.close()

    def pause_body(self) -> None:
        if not self.read_paused and not self.lost:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_body(self) -> None:
        if self.read_paused and not self.lost:
            self.read_paused = False
            self.transport.resume_reading()

    # -- flow control (called by the transport)

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.exchange is not None:
            self.exchange.pause()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.exchange is not None:
            self.exchange.resume()
        elif not self.serving and not self.closing:
            self.go_on()


def head_bytes(request: Request) -> bytes:
    """The head of *request* as it may have been sent."""
    lines = [b"%b %b%b HTTP/1.%d\r\n" % (
        request.method.encode(), request.raw_path, b"?" + request.query if request.query else b"", request.http_minor,
    )]  # fmt: skip
    lines += [b"%b: %b\r\n" % field for field in request.header_list]
    return b"".join([*lines, b"\r\n"])


class DateLine:
    """The Date header, rendered once a second."""

    second = 0
    line = b""


def date_line() -> bytes:
    now = int(time.time())
    if now != DateLine.second:
        DateLine.second = now
        DateLine.line = render_fields([("date", formatdate(now, usegmt=True))])
    return DateLine.line
