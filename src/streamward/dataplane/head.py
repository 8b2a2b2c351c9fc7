"""Strict reading of HTTP/1.1 request heads and chunked bodies. Pure.

Follows RFC 9112. Everything a proxy in front of us could read differently is refused: both lengths, repeated lengths,
bare CR, NUL, a space before the colon, folded lines, other transfer codings. Nothing here is lenient.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from streamward.dataplane.exchange import Memo, Request

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
VALUE = rb"[\t\x20-\x7e\x80-\xff]*"
HEAD = re.compile(
    rb"(" + TOKEN + rb") ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])\r\n((?:" + TOKEN + rb":" + VALUE + rb"\r\n)*)\r\n"
)
FIELD = re.compile(rb"(" + TOKEN + rb"):(" + VALUE + rb")\r\n")
VERSION = re.compile(rb"[^ \r\n]+ [^ \r\n]+ HTTP/(?!1\.[01]\r)\S+\r\n")
ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[\t ]*([0-9]+)[\t ]*\r\n", re.IGNORECASE)
HOST = re.compile(rb"[0-9A-Za-z.\-_~%!$&'()*+,;=\[\]:]*")

MAX_CHUNK_LINE = 4096  # chunk extensions are allowed and ignored; nobody needs long ones
MAX_TRAILER_BYTES = 8192
MAX_KEPT_TARGETS = 256  # the routes of a server, many times over
MAX_LENGTH_DIGITS = 18  # of Content-Length: far beyond any body, and no reader overflows


class BadRequest(Exception):
    """The bytes are not a request we serve; the connection is closed after the answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Limits(Struct, frozen=True):
    """Bounds of one request head."""

    max_head_bytes: int = 32768
    max_fields: int = 100
    max_target_bytes: int = 8192
    head_timeout_s: float = 10.0
    keep_alive_s: float = 75.0


class Head(Struct, frozen=True):
    """A parsed head. ``content_length`` is None for a chunked body, 0 without one."""

    method: str
    target: bytes
    minor: int
    fields: list[tuple[bytes, bytes]]
    by_name: dict[bytes, bytes]
    content_length: int | None
    keep_alive: bool


def parse_head(data: bytes, limits: Limits) -> Head:
    """The head that *data* (up to and including the blank line) is.

    Raises:
        BadRequest: 400, 414, 431, 501 or 505, with a sentence for the client.
    """
    match = HEAD.fullmatch(data)
    if match is None:
        raise malformed(data)
    method, target, minor, block = match.groups()
    if len(target) > limits.max_target_bytes:
        raise BadRequest(414, "uri_too_long", f"the request target is longer than {limits.max_target_bytes} bytes")
    fields = [(name.lower(), value.strip(b" \t")) for name, value in FIELD.findall(block)]
    if len(fields) > limits.max_fields:
        raise BadRequest(431, "header_too_large", f"the request has more than {limits.max_fields} header fields")
    by_name = dict(fields)
    if len(by_name) != len(fields):
        by_name = joined(fields)
    host = by_name.get(b"host")
    if (host is None and minor == b"1") or (host is not None and not HOST.fullmatch(host)):
        raise BadRequest(400, "bad_host", "a valid Host header is required")
    connection = by_name.get(b"connection")
    version = int(minor)
    keep = version == 1 if connection is None else keeps_alive(connection.lower(), version)
    return Head(method.decode(), target, version, fields, by_name, body_length(by_name, version), keep)


class LastHead:
    """The last head of a connection. A client sends the same again and again, but for the length of the body.

    What differs in nothing else needs no second reading: the strictness of ``parse_head`` is in the bytes that are equal.
    """

    __slots__ = ("after", "before", "head", "memo", "place", "request", "size")

    def __init__(self, raw: bytes, head: Head) -> None:
        self.head = head
        self.memo = Memo()
        self.request: Request | None = None
        """As last made from :attr:`head`; nobody changes a request."""
        found = CONTENT_LENGTH.search(raw) if head.content_length is not None else None
        start, end = found.span(1) if found is not None else (len(raw), len(raw))
        self.before, self.after, self.size = raw[:start], raw[end:], len(raw) - (end - start)
        self.place = next((at for at, (name, _) in enumerate(head.fields) if name == b"content-length"), -1)

    def again(self, raw: bytes) -> Head | None:
        """The head that *raw* is, if it is the last one but for the length."""
        if len(raw) < self.size or not raw.startswith(self.before) or not raw.endswith(self.after):
            return None
        last, length = self.head, raw[len(self.before) : len(raw) - len(self.after)]
        if not length:
            return last if self.place < 0 else None
        if self.place < 0 or not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
            return None
        if length == last.fields[self.place][1]:
            return last
        fields = last.fields.copy()
        fields[self.place] = (b"content-length", length)
        by_name = last.by_name | {b"content-length": length}
        return Head(last.method, last.target, last.minor, fields, by_name, int(length), last.keep_alive)


def joined(fields: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Fields by name, repeated ones joined as RFC 9110 5.3 (and 6265 for cookies) say; some must not repeat."""
    by_name: dict[bytes, bytes] = {}
    for name, value in fields:
        if name not in by_name:
            by_name[name] = value
        elif name in SINGLE:
            raise BadRequest(400, "bad_framing", f"the header {name.decode()} stands twice")
        else:
            by_name[name] = by_name[name] + (b"; " if name == b"cookie" else b", ") + value
    return by_name


def malformed(data: bytes) -> BadRequest:
    if VERSION.match(data):
        return BadRequest(505, "http_version", "only HTTP/1.0 and HTTP/1.1 are served here")
    return BadRequest(400, "malformed_request", "the request head is not valid HTTP/1.1")


def body_length(by_name: dict[bytes, bytes], minor: int) -> int | None:
    """Length of the body: RFC 9112 section 6.3, with every ambiguity refused."""
    coding = by_name.get(b"transfer-encoding")
    stated = by_name.get(b"content-length")
    if coding is not None:
        if stated is not None:
            raise BadRequest(400, "bad_framing", "both Content-Length and Transfer-Encoding were sent; send one")
        if minor == 0:
            raise BadRequest(400, "bad_framing", "Transfer-Encoding is not part of HTTP/1.0")
        if coding.lower() != b"chunked":
            raise BadRequest(501, "bad_framing", "the only transfer coding served here is chunked")
        return None
    if stated is None:
        return 0
    if not stated.isdigit() or len(stated) > MAX_LENGTH_DIGITS:
        raise BadRequest(400, "bad_framing", "Content-Length is not a whole number")
    return int(stated)


def keeps_alive(connection: bytes, minor: int) -> bool:
    options = {option.strip() for option in connection.split(b",")}
    return b"close" not in options if minor else b"keep-alive" in options


@lru_cache(MAX_KEPT_TARGETS)
def split_target(target: bytes) -> tuple[str, bytes, bytes]:
    """(decoded path, raw path, query) of a request target in origin, absolute or asterisk form."""
    if target[:1] != b"/":
        target = ABSOLUTE.sub(b"", target, count=1)
        if target[:1] != b"/":
            target = b"/" + target if target[:1] in (b"?", b"") else target
    raw_path, _, query = target.partition(b"?")
    path = raw_path if b"%" not in raw_path else unquote_to_bytes(raw_path)
    return path.decode("utf-8", "replace"), raw_path, query


class ChunkedBody:
    """Decoder of the chunked transfer coding (RFC 9112 7.1); feed bytes, get body bytes.

    ``rest`` holds what came after the body once ``ended``. Raises BadRequest on anything irregular.
    """

    __slots__ = ("buffer", "ended", "left", "rest", "state", "trailer_bytes")

    def __init__(self) -> None:
        self.buffer = b""
        self.left = 0
        self.state = "size"
        self.ended = False
        self.rest = b""
        self.trailer_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        out: list[bytes] = []
        data = self.buffer + data if self.buffer else data
        self.buffer = b""
        at = 0
        while not self.ended:
            if self.state == "data":
                piece = data[at : at + self.left]
                if piece:
                    out.append(piece)
                at += len(piece)
                self.left -= len(piece)
                if self.left:
                    return out
                self.state = "crlf"
            end = data.find(b"\n", at)
            if end < 0:
                if len(data) - at > MAX_CHUNK_LINE:
                    raise BadRequest(400, "bad_chunk", "a chunk line is too long")
                self.buffer = data[at:]
                return out
            line = data[at : end + 1]
            at = end + 1
            self.line(line)
        self.rest = data[at:]
        return out

    def line(self, line: bytes) -> None:
        if line[-2:] != b"\r\n":
            raise BadRequest(400, "bad_chunk", "a chunk line does not end in CRLF")
        body = line[:-2]
        if self.state == "crlf":
            if body:
                raise BadRequest(400, "bad_chunk", "chunk data is longer than its stated size")
            self.state = "size"
        elif self.state == "size":
            match = CHUNK_SIZE.fullmatch(body)
            if match is None:
                raise BadRequest(400, "bad_chunk", "a chunk size is not a hexadecimal number")
            self.left = int(match.group(1), 16)
            self.state = "data" if self.left else "trailer"
        else:  # trailer fields are read and dropped
            self.trailer_bytes += len(line)
            if self.trailer_bytes > MAX_TRAILER_BYTES:
                raise BadRequest(431, "header_too_large", "the trailer section is too large")
            self.ended = not body


SINGLE = frozenset((b"content-length", b"transfer-encoding", b"host", b"authorization", b"content-type"))
"""Fields that must not stand twice: each has decided a request smuggling or an identity mix-up somewhere."""
