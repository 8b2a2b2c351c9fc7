"""Readers of a durable stream: a cursor that pushes into a sink, and the same as an async iterator.

A tail yields the frames after its cursor: first those stored, then new ones as they are stored. It holds no frames. At
the head it is handed what was just stored; behind the head, or after a pause, it reads batches of at most
``MAX_TAIL_BYTES`` from the store, one at a time and only when its sink takes them. So a slow reader costs a cursor.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, Self

from msgspec import Struct

from streamward.durable.store import Batch, Ending, Offset
from streamward.errors import StreamwardError

if TYPE_CHECKING:
    from streamward.durable.feed import Feed
    from streamward.durable.store import Store


class Stalled(StreamwardError):
    """No frame and no ending came for as long as the reader was willing to wait."""

    code, status, safe_to_retry = "stream_stalled", 504, True


class Frame(Struct, frozen=True, gc=False):
    """One frame and where it stands."""

    offset: Offset
    data: bytes


class TailSink(Protocol):
    """Where a tail pushes. Called on the event loop; may pause, resume or close its tail from inside any call."""

    def on_frames(self, frames: list[bytes], first: Offset) -> None:
        """Frames *first*, *first* + 1, ...: shared with the other readers, so not to be changed."""

    def on_end(self, ending: Ending) -> None:
        """Everything was delivered and the stream has ended. Nothing comes after this."""

    def on_error(self, error: StreamwardError) -> None:
        """The tail cannot go on: ``FramesGone``, ``NotFound`` (forgotten), ``StoreUnavailable``. Nothing comes after."""


class Tail:
    """A cursor in one stream. Made by ``Streams.attach``; delivers from the first turn of the loop after :meth:`resume`."""

    __slots__ = ("_busy", "_done", "_feed", "_fetching", "_paused", "_sink", "_store", "next")

    def __init__(self, store: Store, feed: Feed, first: Offset, sink: TailSink) -> None:
        self.next = first
        self._store = store
        self._feed = feed
        self._sink = sink
        self._paused = True
        self._fetching = False
        self._busy = False
        self._done = False
        feed.tails.append(self)

    @property
    def closed(self) -> bool:
        return self._done

    def pause(self) -> None:
        """Deliver nothing until :meth:`resume`. Costs nothing: frames stay in the store."""
        self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            self.run()

    def close(self) -> None:
        """Stop reading. Safe at any time, any number of times; the sink is not called again."""
        if not self._done:
            self._done = True
            self._feed.tails.remove(self)
            self._store.unfollow(self._feed)

    def fail(self, error: StreamwardError) -> None:
        """From the store: the stream cannot be read any more."""
        if not self._done:
            self.close()
            self._guard(self._sink.on_error, error)

    def push(self, first: Offset, frames: list[bytes]) -> None:
        """From the feed: these frames were stored just now."""
        if self._paused or self._fetching or self._busy or self._done:
            return  # whoever set the flag looks at the feed's head afterwards
        if first == self.next and frames:
            # As `_deliver`, written out: this is the path of every token.
            self._busy = True
            self.next = first + len(frames)
            try:
                self._sink.on_frames(frames, first)
            except Exception as exc:
                self._drop(exc)
            self._busy = False
        if self.next < self._feed.head or self._feed.ending is not None:
            self.run()

    def run(self) -> None:
        """Deliver until the head is reached, the sink pauses or a read is under way."""
        if self._busy:
            return
        self._busy = True
        while not (self._paused or self._fetching or self._done):
            if self.next < self._feed.head:
                self._fetching = True
                self._store.fetch(self._feed.id, self.next, self._fetched)
            elif self._feed.ending is not None:
                ending = self._feed.ending
                self.close()
                self._guard(self._sink.on_end, ending)
            else:
                break
        self._busy = False

    def _fetched(self, got: Batch | StreamwardError) -> None:
        if self._done:
            return
        if isinstance(got, Batch):
            self._feed.advance(got.next, got.ending)  # news for the other tails too; this one is still fetching
        self._fetching = False
        if self.closed:
            return  # another reader's sink has closed this tail just now
        if not isinstance(got, Batch):
            self.fail(got)
            return
        if not got.frames and self.next < self._feed.head:
            # The log is shorter than it was: storage that lost its last writes (a Redis fail-over). No frame is
            # ever shown under a number it had before; what is left is to wait for the ending.
            self._feed.head = self.next
        if self._paused:
            return  # read again on resume: a paused tail holds nothing
        if self._busy:  # the store answered at once: run() goes on
            self._deliver(got.frames)
        else:
            self._busy = True
            self._deliver(got.frames)
            self._busy = False
            self.run()

    def _deliver(self, frames: list[bytes]) -> None:
        first = self.next
        if frames:
            self.next = first + len(frames)
            self._guard(self._sink.on_frames, frames, first)

    def _guard(self, call: Callable[..., None], *args: object) -> None:
        """A fault in one reader is its own: it must not reach the writer, who calls us, nor the other readers."""
        try:
            call(*args)
        except Exception as exc:
            self._drop(exc)

    def _drop(self, exc: Exception) -> None:
        self.close()
        asyncio.get_running_loop().call_exception_handler(
            {"message": f"a reader of stream {self._feed.id} failed and was dropped", "exception": exc}
        )


class TailReader:
    """A tail as an async iterator of :class:`Frame`. One task reads it; close it, or leave it by ``async with``.

    Offsets grow strictly; none is skipped or repeated. Cancelling is safe at any point: resume with the offset of the
    last frame you kept. Ends normally once the stream is closed; then :attr:`ending` says how. Holds at most
    ``MAX_TAIL_FRAMES`` frames and what was stored in one go.

    Raises:
        FramesGone: the next frame is older than retention or a bound (HTTP 410).
        Stalled: no frame and no ending for *idle_s* seconds.
    """

    def __init__(self, *, idle_s: float | None = None) -> None:
        self.ending: Ending | None = None
        self.idle_s = idle_s
        self._frames: deque[Frame] = deque()
        self._error: StreamwardError | None = None
        self._ready = asyncio.Event()
        self._tail: Tail | None = None

    def start(self, tail: Tail) -> Self:
        self._tail = tail
        tail.resume()
        return self

    # -- the sink

    def on_frames(self, frames: list[bytes], first: Offset) -> None:
        self._frames.extend(map(Frame, range(first, first + len(frames)), frames))
        if self._tail is not None:
            self._tail.pause()
        self._ready.set()

    def on_end(self, ending: Ending) -> None:
        self.ending = ending
        self._ready.set()

    def on_error(self, error: StreamwardError) -> None:
        self._error = error
        self._ready.set()

    # -- the iterator

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        while not self._frames:
            if self._error is not None:
                raise self._error
            if self.ending is not None or self._tail is None or self._tail.closed:
                raise StopAsyncIteration
            self._ready.clear()
            self._tail.resume()
            if not self._ready.is_set():
                await self._wait()
        return self._frames.popleft()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self.idle_s):
                await self._ready.wait()
        except TimeoutError as exc:
            raise Stalled(f"no frame and no ending for {self.idle_s} s") from exc

    async def aclose(self) -> None:
        if self._tail is not None:
            self._tail.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()
