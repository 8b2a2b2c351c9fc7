"""The same clients for code without an event loop: plain iterators and properties.

The work is done by ``streamward.client.Client`` on one background loop that all synchronous clients share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from streamward.client.background import SHARED
from streamward.client.client import Client
from streamward.client.cursor import START
from streamward.client.policy import Retries, Timeouts
from streamward.client.request import Messages
from streamward.client.stream import Stream
from streamward.events import Event, TextDelta
from streamward.reply import Reply
from streamward.wire.dialect import Profile


class SyncStream:
    """The twin of :class:`streamward.client.Stream`: ``with``, ``for``, and the same exceptions."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.background = SHARED.get()
        self.ready: Iterator[Event] = iter(())

    @property
    def id(self) -> str:
        """The durable stream's id; empty when the server does not keep this stream."""
        return self.stream.id

    @property
    def offset(self) -> int:
        """Number of the last frame received; -1 before the first."""
        return self.stream.offset

    @property
    def reply(self) -> Reply:
        """The answer so far; ``finish_reason`` is ``None`` until the server said that it was finished."""
        return self.stream.reply

    def __enter__(self) -> Self:
        self.background.call(self.stream.__aenter__())
        return self

    def __exit__(self, *exc: object) -> None:
        self.background.call(self.stream.__aexit__())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        for event in self.ready:
            return event
        events = self.background.call(self.stream.read())
        if not events:
            raise StopIteration
        self.ready = iter(events)
        return next(self.ready)

    @property
    def text(self) -> Iterator[str]:
        """The text deltas alone."""
        return (event.delta for event in self if isinstance(event, TextDelta) and event.delta)

    def collect(self) -> Reply:
        """Read to the end; the complete reply. Raises as iterating does."""
        return self.background.call(self.stream.collect())

    def stop(self) -> None:
        """Stop the generation on the server, and reading here. ``reply`` keeps what had arrived."""
        self.background.call(self.stream.stop())

    def detach(self) -> str:
        """Leave a durable stream running when this block ends; its id, for ``client.follow``."""
        return self.stream.detach()


class SyncClient:
    """The twin of :class:`streamward.Client`, with the same arguments. May be used by several threads."""

    def __init__(
        self, base_url: str, *, api_key: str | None = None, timeouts: Timeouts | None = None,
        retries: Retries | None = None, headers: Mapping[str, str] | None = None, resumable: bool = True,
        profile: Profile | None = None,
    ) -> None:  # fmt: skip
        self.client = Client(
            base_url, api_key=api_key, timeouts=timeouts, retries=retries, headers=headers, resumable=resumable,
            profile=profile,
        )  # fmt: skip
        self.background = SHARED.get()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.background.call(self.client.aclose())

    def stream(
        self, *, model: str, messages: Messages | None = None, dialect: str = "chat",
        headers: Mapping[str, str] | None = None, **settings: Any,
    ) -> SyncStream:  # fmt: skip
        """A streamed answer, to be entered with ``with``; see :meth:`streamward.Client.stream`."""
        return SyncStream(
            self.client.stream(model=model, messages=messages, dialect=dialect, headers=headers, **settings)
        )

    def follow(self, stream_id: str, *, after: int = START, dialect: str = "chat") -> SyncStream:
        """A durable stream that is there already; see :meth:`streamward.Client.follow`."""
        return SyncStream(self.client.follow(stream_id, after=after, dialect=dialect))

    def create(
        self, *, model: str, messages: Messages | None = None, dialect: str = "chat",
        headers: Mapping[str, str] | None = None, **settings: Any,
    ) -> Reply:  # fmt: skip
        """A whole answer in one piece; see :meth:`streamward.Client.create`."""
        return self.background.call(
            self.client.create(model=model, messages=messages, dialect=dialect, headers=headers, **settings)
        )
