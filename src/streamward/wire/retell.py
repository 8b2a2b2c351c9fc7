"""A stored stream told in another dialect than it was recorded in, frame numbers kept.

    stored frames 0, 1, 2, ... -> events -> frames of the other dialect, the last of each stored frame's under its number

So a reader may change the dialect at any number, and come back in either. What it has seen already is told without its
text: the opening frames of the stream and of its parts, which a reader of the new dialect needs to make sense of the
rest. Pure; the frames come from ``streamward.durable``.
"""

from __future__ import annotations

from collections.abc import Iterable

from streamward.events import PART_DELTA, TERMINAL, Event
from streamward.wire.dialect import Context, Profile
from streamward.wire.table import decoded, dialect

TOLD = ("chat_completions", "responses", "messages")
"""Dialects a stream can be told in: those that clients read and that have frames of their own."""


class Retelling:
    """Stage: stored frames of dialect *stored*, from the first one on, to frames of dialect *wanted* after *after*.

    With *opening*, what came up to *after* is told without its deltas; without it, nothing of it is: the reader has
    seen it in this dialect.
    """

    def __init__(self, stored: str, wanted: str, context: Context, *, after: int, opening: bool) -> None:
        self.decoded = decoded(stored, Profile())
        self.encoder = dialect(wanted).Encoder(context)
        self.dialect = wanted
        self.after = after
        self.opening = opening
        self.last = -1
        self.over = False

    def feed(self, frames: Iterable[bytes], first: int) -> bytes:
        """What the stored *frames*, the first of which has number *first*, are told as."""
        return b"".join(self.told(self.decoded.feed(frame), number) for number, frame in enumerate(frames, first))

    def close(self) -> bytes:
        """The stored stream has ended: what is still to tell, an ending that nothing stored has told included."""
        return self.told(self.decoded.close(), self.last)

    def told(self, events: list[Event], number: int) -> bytes:
        seen = number <= self.after
        out: list[bytes] = []
        for event in events:
            if self.over:
                break
            frames = list(self.encoder.feed(event))
            if isinstance(event, TERMINAL):
                self.over = True
                frames.extend(self.encoder.close())
            if not seen:
                out.extend(frames)
            elif self.opening:  # a part may open with its first delta, which is the last of those frames
                out.extend(frames[:-1] if isinstance(event, PART_DELTA) else frames)
        self.last = number
        if out and not seen:
            out[-1] = b"id: %d\n%b" % (number, out[-1])
        return b"".join(out)
