"""Newline-delimited JSON: bytes to frames, one per line.

Frames are ``sse.Frame`` without event or id, so that decoders read both framings alike. Lines end in LF or CRLF; blank
lines, which some servers send as keep-alive, are skipped. Pure; the JSON itself is the business of the dialects.
"""

from __future__ import annotations

from streamward.errors import ErrorInfo
from streamward.wire import json_text
from streamward.wire.sse import MAX_EVENT_BYTES, Frame

KEEP_ALIVE = b"\n"


class Reader:
    """Stage: bytes in reads of any size to frames.

    A line past *max_event_bytes* sets ``error``; nothing is decoded after it. A last line without its end counts when
    it is whole JSON; half a line is dropped, and the stream is then truncated.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.max_event_bytes = max_event_bytes
        self.error: ErrorInfo | None = None
        self.tail: list[bytes] = []  # pieces of the line that has no end yet
        self.tail_bytes = 0

    def feed(self, item: bytes) -> list[Frame]:
        if self.error is not None:
            return []
        lines = item.split(b"\n")
        rest = lines.pop()
        frames: list[Frame] = []
        if lines:
            if self.tail:
                lines[0] = b"".join((*self.tail, lines[0]))
                self.tail = []
                self.tail_bytes = 0
            for raw in lines:
                line = raw.removesuffix(b"\r")
                if len(line) > self.max_event_bytes:
                    self.too_large()
                    return frames
                if line and not line.isspace():
                    frames.append(Frame(line))
        if rest:
            self.tail.append(rest)
            self.tail_bytes += len(rest)
            if self.tail_bytes > self.max_event_bytes:
                self.too_large()
        return frames

    def close(self) -> list[Frame]:
        line = b"".join(self.tail).strip()
        self.tail = []
        if self.error is not None or not line:
            return []
        try:
            json_text.decode_any(line)
        except (ValueError, RecursionError):
            return []
        return [Frame(line)]

    def too_large(self) -> None:
        self.error = ErrorInfo(
            code="content_too_large",
            message=f"one line of the stream is larger than {self.max_event_bytes} bytes (limits.max_event_bytes)",
            status=502,
        )
        self.tail = []


def encode(data: bytes) -> bytes:
    """One line. A line end inside *data* is a ``ValueError``: it would let content forge frames."""
    if b"\n" in data or b"\r" in data:
        raise ValueError("an NDJSON line must be a single line: encode it as JSON first")
    return data + b"\n"
