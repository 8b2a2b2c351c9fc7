"""Durable streams in the memory of one process: survive their clients, not the process.

The default store and the yardstick of the others. A write is checked, stored and delivered before it returns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from streamward.durable.feed import Feed, FeedTable
from streamward.durable.store import (
    DEFAULT_LIMITS,
    LEASE_S,
    MAX_TAIL_BYTES,
    MAX_TAIL_FRAMES,
    Batch,
    Created,
    Ending,
    Fetched,
    Held,
    KeyReused,
    Level,
    Limits,
    NewStream,
    Offset,
    Refused,
    StreamState,
    Write,
    check_write,
    frames_gone,
    not_found,
)
from streamward.errors import Conflict, Overloaded

TRIM_TO = 0.75  # of the bound: trimming a quarter at a time keeps the cost of a long stream linear


class MemoryStream:
    """One stream: its frames from offset ``earliest`` on."""

    __slots__ = ("created", "earliest", "ended", "ending", "epoch", "feed", "frames", "new", "owner", "result", "size", "stop")

    def __init__(self, new: NewStream, created: float, owner: str) -> None:
        self.new = new
        self.created = created
        self.owner = owner
        self.epoch = 1
        self.frames: list[bytes] = []
        self.earliest: Offset = 0
        self.size = 0
        self.stop = False
        self.feed: Feed | None = None
        """Whom to tell, while somebody reads and the stream is live."""
        self.ending: Ending | None = None
        self.ended: float | None = None
        self.result = b""

    @property
    def next(self) -> Offset:
        return self.earliest + len(self.frames)

    def state(self) -> StreamState:
        new = self.new
        return StreamState(
            id=new.id, tenant=new.tenant, dialect=new.dialect, meta=new.meta, chat=new.chat,
            retention_s=new.retention_s, created=self.created, owner=self.owner, epoch=self.epoch,
            earliest=self.earliest, next=self.next, stop_requested=self.stop, ending=self.ending, ended=self.ended,
            result=self.result,
        )  # fmt: skip

    def due(self, now: float) -> bool:
        return self.ended is not None and self.ended + self.new.retention_s <= now

    def trim(self, to_bytes: float) -> int:
        """Drop the oldest frames until at most *to_bytes* are held; the number of bytes dropped."""
        dropped = count = 0
        for frame in self.frames:
            if self.size - dropped <= to_bytes:
                break
            dropped += len(frame)
            count += 1
        del self.frames[:count]
        self.earliest += count
        self.size -= dropped
        return dropped


class MemoryStore(FeedTable):
    """Streams in a dictionary. See :class:`streamward.durable.store.Store`."""

    level: Level = "memory"

    def __init__(
        self, *, worker: str = "local", limits: Limits = DEFAULT_LIMITS, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__()
        self.worker = worker
        self.limits = limits
        self.clock = clock
        self.on_stop: Callable[[str], None] = _ignore
        self._streams: dict[str, MemoryStream] = {}
        self._keys: dict[tuple[str, str], tuple[str, str]] = {}
        self._chats: dict[tuple[str, str], str] = {}
        self._ended: dict[str, MemoryStream] = {}  # in the order of their endings
        self._full: dict[str, MemoryStream] = {}  # those of them that still have content
        self._leases: dict[str, float] = {}
        self._bytes = 0
        self._ended_bytes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._streams.clear()

    async def create(self, new: NewStream) -> Created:
        return self._create(new)

    def begin(self, new: NewStream, refused: Refused) -> StreamState:
        return self._create(new).state

    def _create(self, new: NewStream) -> Created:
        if new.idempotency_key is not None:
            known = self._keys.get((new.tenant, new.idempotency_key))
            if known is not None and known[0] in self._streams:
                if known[1] != new.body_hash:
                    raise KeyReused("this idempotency key was used with another body: use a new key")
                return Created(self._streams[known[0]].state(), fresh=False)
        if new.id in self._streams:
            raise Conflict(f"stream {new.id} exists already")
        if self._bytes - self._ended_bytes >= self.limits.total_bytes:
            raise Overloaded("live streams fill the store: try again later", retry_after_s=5)
        stream = self._streams[new.id] = MemoryStream(new, self.clock(), self.worker)
        if new.idempotency_key is not None:
            self._keys[new.tenant, new.idempotency_key] = (new.id, new.body_hash)
        if new.chat is not None:
            self._chats[new.tenant, new.chat] = new.id
        return Created(stream.state(), fresh=True)

    def write(self, write: Write) -> None:
        write.taken = True
        stream = self._streams.get(write.id)
        if stream is None:
            write.done(write, not_found(write.id))
            return
        held = stream.frames
        at, frames = write.at, write.frames
        if stream.ending is not None or write.epoch != stream.epoch or at != stream.earliest + len(held):
            verdict = check_write(write, stream.epoch, stream.next, stream.ending)
            write.done(write, verdict if isinstance(verdict, Exception) else None)
            return
        size = write.size
        held += frames
        stream.size += size
        self._bytes += size
        if stream.size > self.limits.stream_bytes:
            self._bytes -= stream.trim(self.limits.stream_bytes * TRIM_TO)
        if write.ending is not None:
            self._end(stream, write.ending, write.result)
        if self._bytes > self.limits.total_bytes and self._full:
            self._evict()
        feed = stream.feed
        write.done(write, None)
        if feed is not None:
            feed.push(at, frames, write.ending)

    def follow_new(self, state: StreamState) -> Feed:
        return super().follow_new(self._streams[state.id].state())  # a stream may have ended before this returns

    def following(self, feed: Feed) -> None:
        self._streams[feed.id].feed = feed

    def not_following(self, feed: Feed) -> None:
        stream = self._streams.get(feed.id)
        if stream is not None:
            stream.feed = None

    def _end(self, stream: MemoryStream, ending: Ending, result: bytes) -> None:
        stream.ending, stream.result, stream.ended = ending, result, self.clock()
        self._ended[stream.new.id] = self._full[stream.new.id] = stream
        self._ended_bytes += stream.size
        self._unpoint(stream)

    def _unpoint(self, stream: MemoryStream) -> None:
        chat = stream.new.chat
        if chat is not None and self._chats.get((stream.new.tenant, chat)) == stream.new.id:
            del self._chats[stream.new.tenant, chat]

    def fetch(self, stream_id: str, first: Offset, done: Fetched) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            done(not_found(stream_id))
            return
        if first < stream.earliest:
            done(frames_gone(first, stream.earliest))
            return
        start = first - stream.earliest
        frames = stream.frames[start : start + MAX_TAIL_FRAMES]
        room = MAX_TAIL_BYTES
        for index, frame in enumerate(frames):
            room -= len(frame)
            if room < 0 and index:
                del frames[index:]
                break
        done(Batch(first, frames, stream.next, stream.ending))

    async def state(self, stream_id: str) -> StreamState | None:
        stream = self._streams.get(stream_id)
        return stream.state() if stream else None

    async def active(self, tenant: str, chat: str) -> StreamState | None:
        stream_id = self._chats.get((tenant, chat))
        return self._streams[stream_id].state() if stream_id is not None else None

    async def request_stop(self, stream_id: str) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and stream.ending is None:
            stream.stop = True
            self.on_stop(stream_id)

    async def heartbeat(self, lease_s: float = LEASE_S) -> None:
        self._leases[self.worker] = self.clock() + lease_s

    async def orphans(self) -> list[StreamState]:
        now = self.clock()
        return [
            stream.state()
            for stream in self._streams.values()
            if stream.ending is None and self._leases.get(stream.owner, 0.0) <= now
        ][:1000]

    async def claim(self, stream_id: str, epoch: int) -> StreamState | None:
        stream = self._streams.get(stream_id)
        if stream is None or stream.ending is not None or stream.epoch != epoch:
            return None
        stream.epoch += 1
        stream.owner = self.worker
        return stream.state()

    async def sweep(self) -> int:
        now = self.clock()
        due = [stream for stream in self._ended.values() if stream.due(now)]
        for stream in due:
            self._forget(stream)
        return len(due) + self._evict()

    def _forget(self, stream: MemoryStream) -> None:
        new = stream.new
        del self._streams[new.id], self._ended[new.id]
        self._full.pop(new.id, None)
        self._bytes -= stream.size
        self._ended_bytes -= stream.size
        if new.idempotency_key is not None:
            key = (new.tenant, new.idempotency_key)
            if self._keys.get(key, ("",))[0] == new.id:
                del self._keys[key]

    def _evict(self) -> int:
        """Drop the content of ended streams, the longest ended first, until the store is within its bound."""
        evicted = 0
        while self._full and self._bytes > self.limits.total_bytes:
            stream = self._full.pop(next(iter(self._full)))
            dropped = stream.trim(0)
            self._bytes -= dropped
            self._ended_bytes -= dropped
            evicted += 1
        return evicted

    async def held(self) -> Held:
        return Held(len(self._streams), len(self._streams) - len(self._ended), self._bytes)


def _ignore(stream_id: str) -> None:
    """No ``Streams`` listens to this store yet."""
