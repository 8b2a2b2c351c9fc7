"""``StreamData``: values and message annotations that travel beside the text, and their merging into a stream."""

from __future__ import annotations

import asyncio
from typing import Any

from streamward.errors import StreamwardError
from streamward.legacy.stream import Readable, Version
from streamward.wire.legacy import format_line


class StreamData:
    """Append at any time, from any thread, until it is closed; the response waits for that.

    AI SDK 2 sends what has gathered before the next piece of text, as one line of data and one of annotations; AI SDK 3
    sends each value as a line of its own, at once.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[str, Any]] = []
        self.closed = False
        self.waiter: asyncio.Future[None] | None = None

    def append(self, value: Any) -> None:
        self.add("data", value)

    def append_message_annotation(self, value: Any) -> None:
        self.add("message_annotations", value)

    appendMessageAnnotation = append_message_annotation  # noqa: N815 - the AI SDK's name

    def close(self) -> None:
        """Raises StreamwardError when it was closed before."""
        self.check()
        self.closed = True
        self.wake()

    def add(self, name: str, value: Any) -> None:
        self.check()
        self.waiting.append((name, value))
        self.wake()

    def check(self) -> None:
        if self.closed:
            raise StreamwardError("Data Stream has already been closed.")

    def wake(self) -> None:
        waiter = self.waiter
        if waiter is not None:
            waiter.get_loop().call_soon_threadsafe(settle, waiter)

    def watch(self) -> asyncio.Future[None]:
        """Done once something is appended, or it is closed, from now on. One watcher at a time."""
        self.waiter = asyncio.get_running_loop().create_future()
        return self.waiter

    def take(self, version: Version) -> bytes:
        """The lines of what waits."""
        waiting, self.waiting = self.waiting, []
        if version == 3:
            return b"".join([format_line(name, [value]) for name, value in waiting])
        lines = []
        for name in ("data", "message_annotations"):
            values = [value for kind, value in waiting if kind == name]
            if values:
                lines.append(format_line(name, values))
        return b"".join(lines)


async def first_of(*futures: asyncio.Future[Any]) -> None:
    """Return when one is done; none is cancelled."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class WithData:
    """A stream with a StreamData beside it; ends when both have ended."""

    def __init__(self, stream: Readable, data: StreamData, version: Version) -> None:
        self.stream = stream
        self.data = data
        self.version = version
        self.pull: asyncio.Task[bytes | None] | None = None
        self.ended = False

    async def read(self) -> bytes | None:
        while True:
            if self.version == 3 and self.data.waiting:
                return self.data.take(3)
            if self.ended:
                if self.data.closed:
                    return self.data.take(self.version) or None
                await self.data.watch()
                continue
            if self.pull is None:
                self.pull = asyncio.ensure_future(self.stream.read())
            if self.version == 3:
                await first_of(self.pull, self.data.watch())
                if not self.pull.done():
                    continue
            pull, self.pull = self.pull, None
            piece = await pull
            self.ended = piece is None
            if piece is not None:
                # What callbacks appended while this piece was made comes before it, as in the AI SDK.
                return self.data.take(self.version) + piece

    async def aclose(self) -> None:
        if self.pull is not None:
            self.pull.cancel()
        await self.stream.aclose()
