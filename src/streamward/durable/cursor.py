"""Where a reader wants to go on: cursors as clients write them, and what they mean for a stream's state.

A cursor is the offset of the last frame the reader has, so reading goes on with the next one; ``START`` has none yet.
"""

from __future__ import annotations

from streamward.durable.store import Offset, StreamState, frames_gone
from streamward.errors import Conflict, InvalidRequest

START: Offset = -1
MAX_DIGITS = 15  # ten million years of tokens; keeps offsets exact in JavaScript and hostile integers cheap


def parse_cursor(text: str, *, param: str = "after") -> Offset:
    """An offset from a query parameter or header.

    Raises:
        InvalidRequest: not a plain non-negative decimal number, nor "-1" for the start.
    """
    if text == "-1":
        return START
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise InvalidRequest(f"{param} must be the number of the last event received, got {text[:40]!r}", param=param)
    return int(text)


def parse_last_event_id(text: str) -> tuple[str, Offset]:
    """Stream id and offset from ``Last-Event-ID: {id}:{N}``.

    Raises:
        InvalidRequest: another form.
    """
    stream_id, colon, offset = text.rpartition(":")
    if not (colon and stream_id and stream_id.isascii() and stream_id.replace("_", "").isalnum()):
        raise InvalidRequest(f"Last-Event-ID must be STREAM_ID:NUMBER, got {text[:80]!r}", param="Last-Event-ID")
    return stream_id, parse_cursor(offset, param="Last-Event-ID")


def first_after(after: Offset, state: StreamState) -> Offset:
    """The offset at which a reader that has everything up to *after* goes on.

    Ahead of a stream that has ended this is the end: the reader may have seen frames that a failed-over store lost, and
    all that is left to say is how the stream ended.

    Raises:
        Conflict: *after* is ahead of a live stream (409).
        FramesGone: the next frame is no longer held (410).
    """
    first = after + 1
    if first > state.next:
        if state.live:
            raise Conflict(f"offset {after} is ahead of this stream, whose last event is {state.next - 1}")
        return state.next
    if first < state.earliest:
        raise frames_gone(first, state.earliest)
    return first
