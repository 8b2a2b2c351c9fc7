"""The bytes of a response: whole frames of a UI dialect, pulled from a run."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Protocol

from streamward.engine.run import Run
from streamward.engine.views import Cursor
from streamward.events import Event


class Encoder(Protocol):
    """Stage from events to whole frames."""

    def feed(self, item: Event, /) -> list[bytes]: ...

    def close(self) -> list[bytes]: ...


class Body(Protocol):
    """What a response sends."""

    async def read(self) -> bytes:
        """The next whole frames; empty at the end, or when ``nudge`` was called."""

    @property
    def over(self) -> bool:
        """Everything was read."""

    @property
    def broken(self) -> bool:
        """The response must be broken off instead of ended: the stream did not finish and its dialect cannot say so."""

    def nudge(self) -> None:
        """Make a waiting ``read`` return empty-handed: it is time for a keep-alive."""

    def cancel(self, reason: str) -> None:
        """The client is gone."""


class RunBody:
    """The frames of one run, for one client."""

    def __init__(
        self, run: Run, encoder: Encoder, *, keep: Any = None, at_end: Callable[[bytes, bool], Any] | None = None
    ) -> None:
        self.run = run
        self.encoder = encoder
        self.keep = keep
        self.at_end = at_end
        """Told the whole wire and whether it was cut, once."""
        self.wire: list[bytes] = []
        self.cursor: Cursor | None = None
        self.over = False
        self.nudged = False
        self.told_break = False

    async def read(self) -> bytes:
        if self.over:
            return b""
        cursor = self.cursor
        if cursor is None:
            cursor = self.cursor = Cursor(self.run)
        run, feed = self.run, self.encoder.feed
        while True:
            if cursor.at >= len(run.events) and run.terminal is None:
                await run.news()
                if self.nudged:
                    self.nudged = False
                    return b""
                continue
            events = await cursor.batch()
            if not events:
                return await self.finish()
            data = b"".join([frame for event in events for frame in feed(event)])
            if data:
                self.record(data)
                return data

    def ready(self) -> bytes:
        """What the run has said already and this body has not given yet, without waiting."""
        if self.over:
            return b""
        if self.cursor is None:
            self.cursor = Cursor(self.run)
        events = self.run.events[self.cursor.at :]
        self.cursor.at += len(events)
        data = b"".join([frame for event in events for frame in self.encoder.feed(event)])
        self.record(data)
        return data

    def record(self, data: bytes) -> None:
        if self.at_end is not None:
            self.wire.append(data)

    async def finish(self) -> bytes:
        data = b"".join(self.encoder.close())
        self.over = True
        self.record(data)
        await self.tell_end(cut=not self.run.finished)
        return data

    async def tell_end(self, *, cut: bool) -> None:
        at_end, self.at_end = self.at_end, None
        if at_end is not None:
            told = at_end(b"".join(self.wire), cut)
            if inspect.isawaitable(told):
                await told

    @property
    def broken(self) -> bool:
        return bool(getattr(self.encoder, "breaks_body", False))

    def nudge(self) -> None:
        self.nudged = True
        self.run.wake()

    def cancel(self, reason: str) -> None:
        if self.over:
            return
        self.over = True
        if self.cursor is not None:
            if self.run.cursors <= 1:
                self.run.stop(reason)
            self.cursor.leave()
        else:
            self.run.stop(reason)
        if self.at_end is not None:
            from streamward.engine.run import background

            for event in self.run.events[self.cursor.at if self.cursor is not None else 0 :]:
                self.wire += self.encoder.feed(event)
            self.wire += self.encoder.close()
            background(self.tell_end(cut=True))

    def __aiter__(self) -> RunBody:
        return self

    async def __anext__(self) -> bytes:
        """The next whole frames. Raises ConnectionAbortedError where a response would break off."""
        try:
            data = await self.read()
        except asyncio.CancelledError:
            self.cancel("the reader was cancelled")
            raise
        if data:
            return data
        if self.broken and not self.told_break:
            self.told_break = True
            raise ConnectionAbortedError("the stream failed and its dialect cannot say so")
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.cancel("the reader left")


