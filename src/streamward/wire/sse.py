"""Server-sent events: bytes to frames and frames to bytes.

Follows the WHATWG HTML standard, 9.2 "Server-sent events": one BOM stripped, lines end in CR, LF or CRLF wherever reads
are cut, comments skipped, no event without data. Pure. JSON inside the frames is the business of the dialects.
"""

from __future__ import annotations

import re

from msgspec import Struct

from streamward.errors import ErrorInfo

MAX_EVENT_BYTES = 4 << 20
"""Bound of one frame: the largest real ones (base64 images) stay below 1 MiB."""

KEEP_ALIVE = b": keep-alive\n\n"
KEEP_ALIVE_BESIDE_IDS = b": keep-alive\n"
"""With ``id:`` lines in a stream, a blank line after a comment makes several clients dispatch an empty event."""

DONE = b"[DONE]"
DONE_FRAME = b"data: [DONE]\n\n"

BOM = b"\xef\xbb\xbf"
LINE_END = re.compile(rb"\r\n|\n|\r")
FIELD_VALUE = re.compile(r"[^\r\n\0]*")


class Frame(Struct, frozen=True, gc=False):
    """One dispatched event: ``data`` without its final line feed, as raw UTF-8 bytes; empty after a bare ``data:``."""

    data: bytes
    event: str = ""
    id: str = ""
    """Last event id seen so far, as the standard keeps it."""


class Reader:
    """Stage: bytes in reads of any size to frames.

    A frame past *max_event_bytes* sets ``error``; nothing is decoded after it. With *flush_at_end*, ``close`` also
    dispatches a last block whose lines are complete but whose blank line is missing (the standard discards it; some
    upstreams end that way). With *single_newline*, every data line is a frame of its own (sloppy upstreams).
    """

    __slots__ = (
        "at_start", "between", "comments", "data", "data_bytes", "error", "event", "flush_at_end", "id_buffer", "last_id",
        "max_event_bytes", "retry_ms", "single_newline", "skip_lf", "tail", "tail_bytes",
    )  # fmt: skip

    def __init__(
        self, *, max_event_bytes: int = MAX_EVENT_BYTES, flush_at_end: bool = False, single_newline: bool = False
    ) -> None:
        self.max_event_bytes = max_event_bytes
        self.flush_at_end = flush_at_end
        self.single_newline = single_newline
        self.error: ErrorInfo | None = None
        self.retry_ms: int | None = None
        self.comments = 0
        self.tail: list[bytes] = []  # pieces of the line that has no end yet
        self.tail_bytes = 0
        self.at_start = True
        self.between = False  # no block is open, and nothing else is carried over to the next read
        self.skip_lf = False  # the last read ended in CR: a LF that begins the next one belongs to it
        self.data: list[bytes] = []
        self.data_bytes = 0
        self.event = ""
        self.id_buffer = ""
        self.last_id = ""
        """The id of the last complete block: what ``Last-Event-ID`` sends when reconnecting."""

    def feed(self, item: bytes) -> list[Frame]:
        # One whole line of data, as most reads of a live stream are: nothing of it needs to be split.
        if (
            self.between and item[:6] == b"data: " and item.find(b"\n") == len(item) - 2 and item[-1] == 10
            and b"\r" not in item and len(item) <= self.max_event_bytes
        ):  # fmt: skip
            self.last_id = self.id_buffer
            return [Frame(item[6:-2], "", self.last_id)]
        frames = self.read(item)
        self.between = not (
            self.tail or self.data or self.event or self.at_start or self.skip_lf or self.single_newline or self.error
        )
        return frames

    def read(self, item: bytes) -> list[Frame]:
        if self.error is not None or not item:
            return []
        if self.at_start:
            item = self.strip_bom(item)
        if self.skip_lf and item:
            self.skip_lf = False
            if item[0] == 10:
                item = item[1:]
        if not item:
            return []
        if not (self.tail or self.data or self.event or self.single_newline) and item.endswith(b"\n\n") and b"\r" not in item:
            return self.blocks(item)
        if b"\r" in item:
            lines = LINE_END.split(item)
            self.skip_lf = item[-1] == 13
        else:
            lines = item.split(b"\n")
        rest = lines.pop()
        frames: list[Frame] = []
        if lines:
            if self.tail:
                self.tail.append(lines[0])
                lines[0] = b"".join(self.tail)
                self.tail = []
                self.tail_bytes = 0
            for line in lines:
                if not self.line(line, frames):
                    return frames
        if rest:
            self.tail.append(rest)
            self.tail_bytes += len(rest)
            if self.tail_bytes > self.max_event_bytes:
                self.too_large()
        return frames

    def close(self) -> list[Frame]:
        frames: list[Frame] = []
        if self.flush_at_end and self.error is None:
            self.dispatch(frames)
        return frames

    def blocks(self, item: bytes) -> list[Frame]:
        """Whole blocks with LF line ends, as nearly all reads are: no line of theirs needs to be looked at alone."""
        frames: list[Frame] = []
        for block in item[:-2].split(b"\n\n"):
            if block[:6] == b"data: " and b"\n" not in block and len(block) <= self.max_event_bytes:
                self.last_id = self.id_buffer
                frames.append(Frame(block[6:], "", self.last_id))
                continue
            for line in (*block.split(b"\n"), b""):
                if not self.line(line, frames):
                    return frames
        return frames

    def strip_bom(self, item: bytes) -> bytes:
        """Drop one leading BOM, which may arrive in pieces."""
        item = b"".join((*self.tail, item))
        self.tail, self.tail_bytes = [], 0
        if len(item) < len(BOM) and BOM.startswith(item):
            self.tail, self.tail_bytes = [item], len(item)
            return b""
        self.at_start = False
        return item.removeprefix(BOM)

    def line(self, line: bytes, frames: list[Frame]) -> bool:
        """Take one whole line; False once a bound is broken."""
        if not line:
            self.dispatch(frames)
            return True
        if len(line) > self.max_event_bytes:  # of any kind: a bound must not depend on how reads were cut
            self.too_large()
            return False
        if line[0] == 58:  # ":" comment
            self.comments += 1
            return True
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self.data.append(value)
            self.data_bytes += len(value) + 1
            if self.data_bytes > self.max_event_bytes:
                self.too_large()
                return False
            if self.single_newline:
                self.dispatch(frames)
        elif name == b"event":
            self.event = value.decode("utf-8", "replace")
        elif name == b"id":
            if b"\0" not in value:
                self.id_buffer = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():
            self.retry_ms = int(value[:12])
        return True

    def dispatch(self, frames: list[Frame]) -> None:
        # No data lines, no event: HTML 9.2.6 step "if the data buffer is empty". Several well-known readers
        # dispatch here anyway and hand applications empty events after every id.
        self.last_id = self.id_buffer
        if self.data:
            data = self.data[0] if len(self.data) == 1 else b"\n".join(self.data)
            frames.append(Frame(data, self.event, self.last_id))
            self.data = []
            self.data_bytes = 0
        self.event = ""

    def too_large(self) -> None:
        self.error = ErrorInfo(
            code="content_too_large",
            message=f"one event of the stream is larger than {self.max_event_bytes} bytes (limits.max_event_bytes)",
            status=502,
        )
        self.tail, self.data = [], []


def encode(data: bytes, *, event: str | None = None, id: str | None = None) -> bytes:  # noqa: A002 - the field's name
    """One frame as bytes, LF line ends, ``event:`` and ``id:`` before ``data:``.

    *data* must be one line (JSON without raw line ends); a CR or LF in any field is a ``ValueError``, because it would
    let content forge frames.
    """
    if b"\n" in data or b"\r" in data:
        raise ValueError("SSE data must be a single line: encode it as JSON first")
    head = ""
    if event is not None:
        if not FIELD_VALUE.fullmatch(event):
            raise ValueError("SSE event name holds a line end or NUL")
        head = f"event: {event}\n"
    if id is not None:
        if not FIELD_VALUE.fullmatch(id):
            raise ValueError("SSE id holds a line end or NUL")
        head += f"id: {id}\n"
    return b"%bdata: %b\n\n" % (head.encode(), data)
