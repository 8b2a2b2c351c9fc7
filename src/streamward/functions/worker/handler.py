"""``BaseHTTPRequestHandler`` classes on a link: the class writes HTTP by itself, its answer is read and re-framed."""

from __future__ import annotations

import io
from http.server import BaseHTTPRequestHandler
from typing import Any

from streamward.dataplane.head import BadRequest, ChunkedBody
from streamward.functions.worker.channel import Channel
from streamward.functions.worker.context import Invocation
from streamward.functions.worker.threads import run_in_own_thread

MAX_ANSWER_HEAD = 256 << 10  # a head longer than this is not a head


class BadAnswer(RuntimeError):
    """What the class wrote is not an HTTP response."""


async def run_handler(invocation: Invocation, handler: type[BaseHTTPRequestHandler]) -> None:
    body = await invocation.channel.read_all()
    served = served_class(handler)

    def run() -> None:
        answer = Answer(invocation.channel)
        connection = Connection(request_bytes(invocation, body), answer)
        try:
            served(connection, tuple(invocation.call.client or ("", 0)), Server(invocation.call.server))  # type: ignore[arg-type]
            answer.finish()
        except (BrokenPipeError, ConnectionResetError):
            if not invocation.channel.closed:
                raise

    await run_in_own_thread(invocation, run)


def served_class(handler: type[BaseHTTPRequestHandler]) -> type[BaseHTTPRequestHandler]:
    """*handler* without its access log (the host writes one); user overrides stay."""
    if handler.log_request is not BaseHTTPRequestHandler.log_request:
        return handler
    return type(handler.__name__, (handler,), {"log_request": lambda self, code="-", size="-": None})


def request_bytes(invocation: Invocation, body: bytes) -> bytes:
    call = invocation.call
    target = call.raw_path + (b"?" + call.query if call.query else b"")
    lines = [b"%b %b HTTP/1.%d" % (call.call.encode(), target, call.http_minor)]
    skipped = frozenset((b"transfer-encoding", b"content-length", b"connection", b"expect"))
    lines += [name + b": " + value for name, value in call.headers if name not in skipped]
    if call.has_body:
        lines.append(b"content-length: %d" % len(body))
    lines.append(b"connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Server:
    """What handlers look up on ``self.server``."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.server_address = tuple(address)
        self.server_name, self.server_port = address


class Connection:
    """The socket a handler believes it has."""

    def __init__(self, request: bytes, answer: Answer) -> None:
        self.request = request
        self.answer = answer

    def makefile(self, mode: str, buffering: int = -1) -> Any:
        return io.BytesIO(self.request) if "r" in mode else io.BufferedWriter(RawAnswer(self.answer))

    def sendall(self, data: Any) -> None:
        self.answer.feed(bytes(data))

    send = sendall

    def settimeout(self, _: object) -> None:
        """The host owns time."""

    def setsockopt(self, *_: object) -> None:
        """Options of a socket that does not exist."""

    def fileno(self) -> int:
        return self.answer.channel.sock.fileno()


class RawAnswer(io.RawIOBase):
    """What ``makefile("wb")`` gives to handlers that ask for a buffered ``wfile``."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.answer.feed(bytes(data))
        return len(data)


class Answer:
    """Reads the HTTP response a handler writes and sends it on, each write at once."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.start = b""
        self.chunked: ChunkedBody | None = None
        self.in_body = False

    def feed(self, data: bytes) -> None:
        """Raises BrokenPipeError when the client has left, BadAnswer for what is no HTTP."""
        if self.channel.closed:
            raise BrokenPipeError("the client has gone")
        if self.in_body:
            self.body(data)
            return
        self.start += data
        while not self.in_body and (end := self.start.find(b"\r\n\r\n")) >= 0:
            head, self.start = self.start[: end + 2], self.start[end + 4 :]
            self.head(head)
        self.body_after_head()
        if len(self.start) > MAX_ANSWER_HEAD:
            raise BadAnswer("the handler wrote a response head without an end")

    def body_after_head(self) -> None:
        if self.in_body and self.start:
            rest, self.start = self.start, b""
            self.body(rest)

    def head(self, head: bytes) -> None:
        first, *lines = head[:-2].split(b"\r\n")
        parts = first.split(b" ", 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
            raise BadAnswer(f"the handler wrote {first[:60]!r} where a status line was expected")
        status = int(parts[1])
        if 100 <= status < 200:  # an interim response (send_response_only(100)): the real head follows
            return
        headers: list[tuple[bytes, bytes]] = []
        length: int | None = None
        for line in lines:
            name, _, value = line.partition(b":")
            name, value = name.strip().lower(), value.strip()
            if name == b"transfer-encoding" and value.lower() == b"chunked":
                self.chunked = ChunkedBody()
            elif name == b"content-length" and value.isdigit():
                length = int(value)
            headers.append((name, value))
        self.in_body = True
        self.channel.write_blocking(self.channel.head(status, headers, length))

    def body(self, data: bytes) -> None:
        if self.chunked is None:
            if data:
                self.channel.write_blocking(self.channel.body(data))
            return
        if self.chunked.ended:
            return
        try:
            pieces = self.chunked.feed(data)
        except BadRequest as bad:
            raise BadAnswer(f"the handler's chunked body is broken: {bad.message}") from bad
        for piece in pieces:
            self.channel.write_blocking(self.channel.body(piece))

    def finish(self) -> None:
        if not self.in_body:
            if self.start:
                raise BadAnswer("the handler stopped in the middle of the response head")
            return  # nothing at all: the front says NO_RESPONSE_FROM_FUNCTION
        if self.chunked is not None and not self.chunked.ended:
            raise BadAnswer("the handler stopped in the middle of its chunked body")
        self.channel.write_blocking(self.channel.end())
