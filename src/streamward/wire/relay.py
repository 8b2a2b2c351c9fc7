"""Upstream bytes to client bytes, with the truth about the stream kept beside them.

A relay is the stage the data plane feeds: whole frames come out, and its attributes say whether the caller has been
shown anything (``content``), how the stream ended (``ended``, ``error``, ``finish_reason``) and what it cost
(``usage``, ``events``). ``Transcode`` joins any two dialects; a dialect with its own ``Passthrough`` is cheaper.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from streamward.errors import ErrorInfo
from streamward.events import PART_DELTA, Abort, Error, Event, Finish, Start, Usage, UsageUpdate, is_content
from streamward.wire.dialect import Decoded, Encode


class Relay(Protocol):
    """One stream from upstream bytes to client bytes."""

    content: bool
    """The caller has been shown something, or the stream finished: no other target may be tried."""
    ended: bool
    error: ErrorInfo | None
    """Why the stream failed; None while it runs and when it finished."""
    finish_reason: str | None
    usage: Usage | None
    events: int
    """Deltas so far: an estimate of output tokens when the provider states none."""

    def feed(self, data: bytes, /) -> bytes:
        """Whole frames to send for this read; may be empty."""

    def close(self) -> bytes:
        """The upstream body ended: what is still to send, its terminal frames included."""

    def fail(self, error: ErrorInfo, /) -> bytes:
        """The stream broke: the terminal frames that say so. Empty if it had ended."""


class Transcode:
    """Relay through the waist: decode one dialect, encode another."""

    __slots__ = (
        "content", "decoded", "encoder", "ended", "error", "events", "finish_reason", "upstream_model", "usage",
    )  # fmt: skip

    def __init__(self, decoded: Decoded, encoder: Encode) -> None:
        self.decoded = decoded
        self.encoder = encoder
        self.content = False
        self.ended = False
        self.error: ErrorInfo | None = None
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.events = 0
        self.upstream_model = ""

    def feed(self, data: bytes) -> bytes:
        return self.encode(self.decoded.feed(data))

    def close(self) -> bytes:
        return self.encode(self.decoded.close())

    def fail(self, error: ErrorInfo) -> bytes:
        return self.encode(self.decoded.fail(error))

    def encode(self, events: Iterable[Event]) -> bytes:
        feed = self.encoder.feed
        out: list[bytes] = []
        for event in events:
            out.extend(feed(event))
            if isinstance(event, PART_DELTA):
                self.events += 1
                self.content = True
            else:
                self.note(event)
        if self.ended:
            out.extend(self.encoder.close())
        return b"".join(out)

    def note(self, event: Event) -> None:
        if isinstance(event, Finish):
            self.ended = self.content = True
            self.finish_reason = event.reason
            self.usage = event.usage or self.usage
        elif isinstance(event, Error):
            self.ended = True
            self.error = event.error
            self.usage = event.usage or self.usage
        elif isinstance(event, Abort):
            self.ended = True
            self.usage = event.usage or self.usage
        elif isinstance(event, UsageUpdate):
            self.usage = event.usage
        elif isinstance(event, Start):
            self.upstream_model = event.model
        elif is_content(event):
            self.content = True


def stop_relay(relay: Relay, error: ErrorInfo) -> bytes:
    """End *relay* because somebody on our side wants it; its terminal frames. *error* says so, code ``cancelled``."""
    if relay.ended:
        return b""
    if not isinstance(relay, Transcode):
        return relay.fail(error)
    out = relay.encode([Abort(error.message, relay.usage)])
    relay.error = error
    return out
