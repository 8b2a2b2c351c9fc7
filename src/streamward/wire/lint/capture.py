"""Captures: what came over the wire, with arrival times, as readable JSON lines.

Line 1 describes the request (no key, no query, no body unless it was asked for), line 2 the answer's head, every
further line one network read: ``{"t": seconds since the request, "text": ...}``, or ``"base64"`` where the bytes are
not UTF-8. The last line says how the body ended: ``complete``, ``reset`` or ``timeout``.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct

from streamward.errors import InvalidRequest

VERSION = 1
Ending = Literal["complete", "reset", "timeout"]

PUBLIC_FIELDS = frozenset({"accept", "content-type", "user-agent", "x-streamward-resumable", "anthropic-version"})
"""Request headers that a capture keeps; all others may hold secrets."""

PRIVATE_ANSWER_FIELDS = frozenset({"set-cookie", "www-authenticate", "authorization", "cookie"})


class Read(Struct, frozen=True):
    """One network read: when it came, in seconds since the request was sent."""

    at_s: float
    data: bytes


class Capture(Struct, kw_only=True):
    """One request and its answer as it arrived."""

    url: str = ""
    method: str = "POST"
    dialect: str = ""
    request_headers: dict[str, str] = {}
    request: Any = None
    """The request's JSON, when it was kept."""
    status: int = 200
    headers: dict[str, str] = {}
    head_at_s: float = 0.0
    reads: list[Read] = []
    ending: Ending = "complete"
    ended_at_s: float = 0.0
    error: str = ""

    @property
    def body(self) -> bytes:
        return b"".join(read.data for read in self.reads)


def public_url(url: str) -> str:
    """*url* without user name, password and query, which may hold keys."""
    head, _, _ = url.partition("?")
    scheme, mark, rest = head.partition("://")
    authority, slash, path = rest.partition("/")
    return scheme + mark + authority.rpartition("@")[2] + slash + path


def dump(capture: Capture) -> Iterator[str]:
    """The lines of a capture file, line ends included."""
    first = {
        "streamward": "capture", "version": VERSION, "method": capture.method, "url": public_url(capture.url),
        "dialect": capture.dialect,
        "headers": {name: value for name, value in capture.request_headers.items() if name in PUBLIC_FIELDS},
    }  # fmt: skip
    if capture.request is not None:
        first["request"] = capture.request
    yield line(first)
    headers = {name: value for name, value in capture.headers.items() if name not in PRIVATE_ANSWER_FIELDS}
    yield line({"t": round(capture.head_at_s, 6), "status": capture.status, "headers": headers})
    for read in capture.reads:
        try:
            yield line({"t": round(read.at_s, 6), "text": read.data.decode()})
        except UnicodeDecodeError:
            yield line({"t": round(read.at_s, 6), "base64": base64.b64encode(read.data).decode()})
    last = {"t": round(capture.ended_at_s, 6), "end": capture.ending}
    yield line({**last, "error": capture.error} if capture.error else last)


def line(value: Any) -> str:
    return msgspec.json.encode(value).decode() + "\n"


def load(lines: Iterable[str]) -> Capture:
    """The capture in *lines*.

    Raises:
        InvalidRequest: not a capture, with the number of the line that is wrong.
    """
    capture: Capture | None = None
    number = 0
    try:
        for number, text in enumerate(lines, 1):  # noqa: B007 - it is for the message below
            if not text.strip():
                continue
            value = msgspec.json.decode(text)
            if capture is None:
                capture = opened(value)
            else:
                take(capture, value)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as exc:
        raise InvalidRequest(f"line {number} is not a line of a capture: {exc}") from None
    if capture is None:
        raise InvalidRequest("the capture is empty")
    return capture


def opened(value: Any) -> Capture:
    if not isinstance(value, dict) or value.get("streamward") != "capture":
        raise ValueError('the first line must hold {"streamward": "capture"}')
    if value.get("version") != VERSION:
        raise ValueError(f"version {value.get('version')!r} is not known here")
    return Capture(
        url=str(value.get("url", "")), method=str(value.get("method", "POST")), dialect=str(value.get("dialect", "")),
        request_headers=dict(value.get("headers", {})), request=value.get("request"), reads=[],
    )  # fmt: skip


def take(capture: Capture, value: Any) -> None:
    at_s = float(value["t"])
    if "text" in value:
        capture.reads.append(Read(at_s, value["text"].encode()))
    elif "base64" in value:
        capture.reads.append(Read(at_s, base64.b64decode(value["base64"], validate=True)))
    elif "status" in value:
        capture.status, capture.head_at_s = int(value["status"]), at_s
        capture.headers = {str(name).lower(): str(text) for name, text in value.get("headers", {}).items()}
    elif "end" in value:
        if value["end"] not in ("complete", "reset", "timeout"):
            raise ValueError(f"end {value['end']!r} is not known here")
        capture.ending, capture.ended_at_s, capture.error = value["end"], at_s, str(value.get("error", ""))
    else:
        raise ValueError("neither a read, nor a head, nor an end")


def is_capture(text: str) -> bool:
    """True for text that begins like a capture file."""
    return '"streamward":"capture"' in text[:200].replace(" ", "")
