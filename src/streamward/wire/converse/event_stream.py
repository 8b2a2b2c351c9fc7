"""AWS event-stream framing: bytes to frames.

A message is: total length and header length (32 bit, big-endian), CRC-32 of those eight bytes, headers, payload, CRC-32
of everything before it. Source: AWS SDK specification, "Event Stream encoding" (``application/vnd.amazon.eventstream``).
Pure.
"""

from __future__ import annotations

import struct
import zlib

from streamward.errors import ErrorInfo
from streamward.wire.dialect import Profile
from streamward.wire.sse import MAX_EVENT_BYTES, Frame
from streamward.wire.upstream_status import invalid

PRELUDE = struct.Struct(">III")
CRC_BYTES = 4
MIN_BYTES = PRELUDE.size + CRC_BYTES
MAX_HEADER_BYTES = 128 << 10
"""The specification's bound."""

FIXED_BYTES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Size of header values by type: true, false, byte, short, integer, long, timestamp, UUID."""
BYTES, STRING = 6, 7

EXCEPTION = "exception:"
"""Begins the ``event`` of a frame that reports a failure; the exception's name follows."""

INVALID = invalid("an AWS event stream")


class Reader:
    """Stage: bytes in reads of any size to frames, whose ``event`` is the message's ``:event-type``.

    A message past *max_event_bytes*, a wrong checksum or broken headers set ``error``; nothing is decoded after that.
    Half a message at the end of the body is dropped: the stream is then truncated.
    """

    def __init__(self, profile: Profile, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.max_event_bytes = max_event_bytes
        self.error: ErrorInfo | None = None
        self.buffer = bytearray()

    def feed(self, item: bytes) -> list[Frame]:
        if self.error is not None:
            return []
        self.buffer += item
        data, at, frames = self.buffer, 0, list[Frame]()
        while len(data) - at >= PRELUDE.size:
            total, header_bytes, crc = PRELUDE.unpack_from(data, at)
            if zlib.crc32(data[at : at + 8]) != crc or header_bytes > min(MAX_HEADER_BYTES, total - MIN_BYTES):
                return self.broken(INVALID, frames)
            if total > self.max_event_bytes:
                return self.broken(too_large(self.max_event_bytes), frames)
            if len(data) - at < total:
                break
            message = bytes(data[at : at + total])
            at += total
            frame = read_message(message, header_bytes)
            if frame is None:
                return self.broken(INVALID, frames)
            frames.append(frame)
        del data[:at]
        return frames

    def close(self) -> list[Frame]:
        self.buffer.clear()
        return []

    def broken(self, error: ErrorInfo, frames: list[Frame]) -> list[Frame]:
        self.error = error
        self.buffer.clear()
        return frames


def read_message(message: bytes, header_bytes: int) -> Frame | None:
    """The frame of one whole *message* with a sound prelude; None when the rest of it is not sound."""
    end = len(message) - CRC_BYTES
    if zlib.crc32(message[:end]) != int.from_bytes(message[end:]):
        return None
    headers = read_headers(message[PRELUDE.size : PRELUDE.size + header_bytes])
    if headers is None:
        return None
    kind = headers.get(":message-type", "event")
    if kind == "event":
        name = headers.get(":event-type", "")
    else:
        name = EXCEPTION + (headers.get(":exception-type") or headers.get(":error-code") or kind)
    return Frame(message[PRELUDE.size + header_bytes : end], name)


def read_headers(data: bytes) -> dict[str, str] | None:
    """The headers with text for a value; None when *data* is no sequence of headers."""
    headers: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            name_end = at + 1 + data[at]
            kind = data[name_end]
            start = name_end + 1
            if kind in (BYTES, STRING):
                size, start = int.from_bytes(data[start : start + 2]), start + 2
            else:
                size = FIXED_BYTES[kind]
            if start + size > len(data):
                return None
            if kind == STRING:
                headers[data[at + 1 : name_end].decode()] = data[start : start + size].decode()
            at = start + size
    except (IndexError, KeyError, UnicodeDecodeError):
        return None
    return headers


def too_large(limit: int) -> ErrorInfo:
    return ErrorInfo(
        "content_too_large", f"one message of the stream is larger than {limit} bytes (limits.max_event_bytes)", 502
    )
