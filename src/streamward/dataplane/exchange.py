"""The seam of the data plane: one request, the sink its response goes to, and who handles it.

Everything here runs on the event loop, synchronously, and must not block. The same seam is served by our uvicorn
protocol (``downstream``) and by any ASGI server (``streamward.asgi``).
"""

from __future__ import annotations

import http
import re
from collections.abc import Iterable
from typing import Any, Protocol

FIELD_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


FRAME_END = re.compile(rb"(?<=\n\n)")


def frames_in(data: bytes) -> list[bytes]:
    """The SSE frames of *data*, which are ours: they end in an empty line, and LF is the line end. A rest stays whole."""
    return [frame for frame in FRAME_END.split(data) if frame]


class Memo:
    """What an application has worked out from a head, kept for requests on the same connection whose heads are equal but
    for their content-length."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = None


class Request:
    """The head of one HTTP request.

    ``headers`` holds lower-case names; repeated fields are joined with ``", "`` (RFC 9110 5.3), and kept apart and in
    order in ``header_list``. Not to be changed: requests with the same head share one.
    """

    __slots__ = (
        "client", "content_length", "header_list", "headers", "http_minor", "memo", "method", "path", "query", "raw_path",
        "scheme", "server",
    )  # fmt: skip

    def __init__(
        self, *, method: str, path: str, raw_path: bytes, query: bytes, header_list: list[tuple[bytes, bytes]],
        headers: dict[bytes, bytes], content_length: int | None, http_minor: int, client: tuple[str, int] | None,
        server: tuple[str, int | None] | None, scheme: str, memo: Memo | None = None,
    ) -> None:  # fmt: skip
        self.method = method
        self.path = path
        """Percent-decoded; ``raw_path`` is as sent."""
        self.raw_path = raw_path
        self.query = query
        self.header_list = header_list
        self.headers = headers
        self.content_length = content_length
        """Stated length; 0 when there is no body; None when it is chunked."""
        self.http_minor = http_minor
        self.client = client
        self.server = server
        self.scheme = scheme
        self.memo = memo


class Sink(Protocol):
    """Where a response goes. Calls after the client is gone do nothing."""

    def start(self, status: int, fields: bytes, *, length: int | None = None, by_frame: bool = False) -> None:
        """Set status line and header *fields* (from :func:`render_fields`); sent with the first write.

        *length* states the body's size; None streams it (chunked, or close-delimited for HTTP/1.0). With *by_frame* each
        SSE frame is a chunk of its own, also where several leave in one network write: clients that see chunks see frames.
        """

    def write(self, data: bytes) -> None:
        """Send *data* as one network write where the transport allows; buffered while the client does not read."""

    def flush_head(self) -> None:
        """Send the head now, before the first byte of the body."""

    def finish(self, data: bytes = b"") -> None:
        """Send *data* and end the response properly."""

    def abort(self) -> None:
        """Break the response off: what was written is sent, the body's end is not."""

    def pause_body(self) -> None:
        """Stop reading the request's body."""

    def resume_body(self) -> None: ...


class Exchange(Protocol):
    """Who handles one request. Called on the event loop; ``disconnected`` is the last call, if it comes."""

    body_timeout_s: float
    """Bound for receiving the whole request body; 0 is none."""

    def body_received(self, data: bytes, /) -> None: ...

    def body_ended(self) -> None: ...

    def disconnected(self) -> None:
        """The client left before the response was finished."""

    def pause(self) -> None:
        """The client does not read: stop producing."""

    def resume(self) -> None: ...

    def drain(self) -> None:
        """The server's grace is over: end the stream now, truthfully."""


class App(Protocol):
    """What a server is built around."""

    def open_exchange(self, request: Request, sink: Sink, /) -> Exchange | None:
        """Take the request; None hands it to the ASGI application. A complete early answer is allowed."""

    def begin_drain(self) -> None:
        """The server stops: end open streams within the grace. May be called more than once."""


def render_fields(fields: Iterable[tuple[str | bytes, str | bytes]]) -> bytes:
    """Header lines as bytes.

    Raises:
        ValueError: a name that is no token, or a value with CR, LF or NUL (it could forge a response).
    """
    out = bytearray()
    for name, value in fields:
        name_bytes = name.encode("latin-1") if isinstance(name, str) else name
        value_bytes = value.encode("latin-1") if isinstance(value, str) else value
        if not TOKEN.fullmatch(name_bytes) or not FIELD_VALUE.fullmatch(value_bytes):
            raise ValueError(f"header {name_bytes[:40]!r} cannot be sent: not a token, or a control character in its value")
        out += b"%b: %b\r\n" % (name_bytes, value_bytes)
    return bytes(out)


def status_line(status: int) -> bytes:
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


STATUS_LINES = {int(s): b"HTTP/1.1 %d %b\r\n" % (s, s.phrase.encode()) for s in http.HTTPStatus}
