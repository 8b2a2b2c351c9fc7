"""Server-sent events for anybody: a conforming reader to use alone.

Follows the WHATWG HTML standard, 9.2 "Server-sent events" (``streamward.wire.sse`` has the details): lines end in CR, LF
or CRLF wherever reads are cut, text is never split inside a character, no event without data.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Protocol

from msgspec import Struct

from streamward.errors import TooLarge
from streamward.wire.sse import MAX_EVENT_BYTES, Frame, Reader, encode

__all__ = ["MAX_EVENT_BYTES", "Event", "aiter_sse", "decode", "encode", "iter_sse"]


class Event(Struct, frozen=True):
    """One event as ``EventSource`` would dispatch it."""

    data: str
    event: str = "message"
    id: str = ""
    """Last event id seen so far: what ``Last-Event-ID`` says when reconnecting."""


class Bytes(Protocol):
    """The part of ``httpx.Response`` (sync) that is used; ``requests`` fits with ``iter_content`` instead."""

    def iter_bytes(self) -> Iterator[bytes]: ...


class AsyncBytes(Protocol):
    """The part of ``httpx.Response`` (async) that is used."""

    def aiter_bytes(self) -> AsyncIterator[bytes]: ...


def decode(*chunks: bytes | Iterable[bytes], max_event_bytes: int = MAX_EVENT_BYTES) -> Iterator[Event]:
    """The events in *chunks*, bytes or iterables of bytes, which may be cut anywhere.

    An event that the end cuts off is dropped, as browsers do.

    Raises:
        TooLarge: one event is larger than *max_event_bytes*.
    """
    reader = Reader(max_event_bytes=max_event_bytes)
    for given in chunks:
        for chunk in (given,) if isinstance(given, (bytes, bytearray, memoryview)) else given:
            for frame in reader.feed(bytes(chunk)):
                yield event_of(frame)
            check(reader)


def iter_sse(response: Bytes, *, max_event_bytes: int = MAX_EVENT_BYTES) -> Iterator[Event]:
    """The events of a synchronous ``httpx`` response, as they arrive. Raises as :func:`decode`."""
    return decode(response.iter_bytes(), max_event_bytes=max_event_bytes)


class AsyncEvents:
    """Asynchronous iterator over the events of a response. Not a generator: leaving it leaves nothing half open."""

    def __init__(self, chunks: AsyncIterator[bytes], max_event_bytes: int) -> None:
        self.chunks = chunks
        self.reader = Reader(max_event_bytes=max_event_bytes)
        self.frames: list[Frame] = []  # decoded and not yet handed out, the next one last

    def __aiter__(self) -> AsyncEvents:
        return self

    async def __anext__(self) -> Event:
        while not self.frames:
            check(self.reader)
            self.frames = self.reader.feed(await anext(self.chunks))[::-1]
        return event_of(self.frames.pop())


def aiter_sse(response: AsyncBytes, *, max_event_bytes: int = MAX_EVENT_BYTES) -> AsyncEvents:
    """The events of an asynchronous ``httpx`` response, as they arrive. Raises as :func:`decode`."""
    return AsyncEvents(aiter(response.aiter_bytes()), max_event_bytes)


def event_of(frame: Frame) -> Event:
    return Event(frame.data.decode("utf-8", "replace"), frame.event or "message", frame.id)


def check(reader: Reader) -> None:
    if reader.error is not None:
        raise TooLarge(reader.error.message)
