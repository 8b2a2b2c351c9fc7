"""The text stream: only the text of the answer, as raw UTF-8, concatenated.

What ``streamProtocol: 'text'``, ``useObject`` and ``curl`` read. Tools, reasoning and errors are invisible in it, so
a stream that failed or was aborted must not end like a finished one: ``breaks_body`` tells the response to break it.
"""

from __future__ import annotations

from streamward.events import Abort, Error, Event, Finish, RefusalDelta, TextDelta

NAME = "text"

HEADERS: dict[str, str] = {
    "content-type": "text/plain; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}
"""The first as the AI SDK sends it; the others keep proxies from buffering."""


class Encoder:
    """Stage from events to text. There is no keep-alive: every byte would be text."""

    def __init__(self) -> None:
        self.terminal: Event | None = None

    def feed(self, item: Event) -> list[bytes]:
        if type(item) is TextDelta or type(item) is RefusalDelta:
            return [item.delta.encode("utf-8", "replace")] if item.delta else []
        if isinstance(item, (Finish, Error, Abort)):
            self.terminal = item
        return []

    def close(self) -> list[bytes]:
        return []

    @property
    def breaks_body(self) -> bool:
        """True unless the stream said that it was finished."""
        return not isinstance(self.terminal, Finish)
