"""The producing side: a recorder takes encoded frames from a relay and hands them to the store.

Push-driven: ``append`` never waits, makes no task and costs about a microsecond. Frames reach readers once the store
has them at its level; the client that started the stream is a reader like any other. When the store is slower than the
producer, unstored frames pile up here, and past a bound the producer is asked to pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from streamward.durable.store import Ending, Offset, StreamState, Write
from streamward.errors import StreamwardError

if TYPE_CHECKING:
    from streamward.durable.store import Store
    from streamward.durable.streams import Streams

HIGH_WATER_BYTES = 256 * 1024  # unstored bytes of one stream at which its producer is paused: as for a slow client
LOW_WATER_BYTES = 64 * 1024  # and those at which it may go on


class Producer(Protocol):
    """What a recorder asks of the relay that feeds it. Called on the event loop."""

    def on_stop(self) -> None:
        """Somebody asked this stream to stop: cancel the upstream, then close the recorder (``cancelled``). Once."""

    def on_lost(self, error: StreamwardError) -> None:
        """The stream is no longer ours (``Fenced``) or cannot be stored: cancel the upstream, nothing else. Once."""

    def on_refused(self, error: StreamwardError) -> None:
        """The stream could not be created after all; nothing of it was delivered. Instead of ``on_lost``. Once."""

    def pause(self) -> None:
        """The store lags: read no more from the upstream until :meth:`resume`."""

    def resume(self) -> None: ...


class Recorder:
    """The one writer of a live stream. Made by ``Streams.record``."""

    __slots__ = (
        "_done", "_flushed", "_paused", "_pending", "_producer", "_stopping", "_store", "_streams", "_write",
        "closed", "ending", "epoch", "id", "lost", "next", "stored",
    )  # fmt: skip

    def __init__(self, streams: Streams, store: Store, state: StreamState, producer: Producer | None) -> None:
        self.id = state.id
        self.epoch = state.epoch
        self.next: Offset = state.next
        """Offset the next appended frame will get."""
        self.stored: Offset = state.next
        """Frames before this offset are stored and were delivered."""
        self.ending: Ending | None = None
        self.closed = False
        """The ending is stored."""
        self.lost: StreamwardError | None = None
        self._streams = streams
        self._store = store
        self._producer = producer
        self._pending = 0  # bytes appended and not yet stored
        self._write: Write | None = None  # the last write, as long as the store has not taken it
        self._paused = False
        self._stopping = False
        self._flushed: asyncio.Future[None] | None = None
        self._done: Callable[[Write, StreamwardError | None], None] = self._stored  # bound once, not per token

    def append(self, frames: list[bytes]) -> Offset:
        """Store and deliver *frames*; the list becomes the recorder's. Returns the offset of the first.

        After :meth:`close`, or once the stream is lost, frames are dropped: the producer was told.
        """
        first = self.next
        if self.ending is not None or self.lost is not None or not frames:
            return first
        count = len(frames)
        size = len(frames[0]) if count == 1 else sum(map(len, frames))
        self.next = first + count
        self._pending += size
        write = self._write
        if write is not None and not write.taken:
            write.frames += frames
            write.size += size
        else:
            self._write = write = Write(self.id, self.epoch, first, frames, size, self._done)
            self._store.write(write)
        if self._pending > HIGH_WATER_BYTES and not self._paused and self._producer is not None:
            self._paused = True
            self._tell(self._producer.pause)
        return first

    def close(self, ending: Ending, frames: Sequence[bytes] = (), result: bytes = b"") -> None:
        """End the stream: its terminal *frames*, its ending and its *result* become visible together.

        The first call wins; later ones do nothing, so that a failure path may close what may already be closed.
        """
        if self.ending is not None or self.lost is not None:
            return
        self.ending = ending
        first = self.next
        self.next = first + len(frames)
        size = sum(map(len, frames))
        self._pending += size
        write = self._write
        if write is not None and not write.taken:
            write.frames += frames
            write.size += size
            write.ending, write.result = ending, result
        else:
            self._store.write(Write(self.id, self.epoch, first, list(frames), size, self._done, ending, result))

    async def flushed(self) -> None:
        """Wait until everything appended so far, and the ending, is stored.

        Raises:
            Fenced, StoreUnavailable, ...: it will never be; the stream is lost.
        """
        while self.lost is None and (self.stored < self.next or (self.ending is not None and not self.closed)):
            if self._flushed is None:
                self._flushed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._flushed)
        if self.lost is not None:
            raise self.lost

    def stop_requested(self) -> None:
        """From ``Streams``: a stop request for this stream has arrived."""
        if self.ending is None and self.lost is None and not self._stopping and self._producer is not None:
            self._stopping = True  # a store may tell us more than once
            self._tell(self._producer.on_stop)

    def refused(self, error: StreamwardError) -> None:
        """From the store: there is no such stream. What was written to it so far is lost."""
        if self.lost is None:
            self._give_up(error)
            if self._producer is not None:
                self._tell(self._producer.on_refused, error)

    def _stored(self, write: Write, error: StreamwardError | None) -> None:
        if error is not None:
            self._lose(error)
            return
        self.stored = write.at + len(write.frames)
        self._pending -= write.size
        if write.ending is not None:
            self.closed = True
            self._release()
        if self._paused and self._pending <= LOW_WATER_BYTES and self._producer is not None:
            self._paused = False
            self._tell(self._producer.resume)
        if self._flushed is not None:
            self._flushed.set_result(None)
            self._flushed = None

    def _lose(self, error: StreamwardError) -> None:
        if self.lost is None:
            self._give_up(error)
            if self._producer is not None:
                self._tell(self._producer.on_lost, error)

    def _give_up(self, error: StreamwardError) -> None:
        self.lost = error
        self._release()
        if self._flushed is not None:
            self._flushed.set_result(None)
            self._flushed = None

    def _tell(self, call: Callable[..., None], *args: object) -> None:
        """A fault of one producer must not reach the store, which serves them all."""
        try:
            call(*args)
        except Exception as exc:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"the producer of stream {self.id} failed", "exception": exc}
            )

    def _release(self) -> None:
        self._streams.released(self)
        self._done = _nothing  # a bound method of ours is a cycle: without it no recorder waits for the collector


def _nothing(write: Write, error: StreamwardError | None) -> None:
    """A late answer to a write of a stream that was lost."""
