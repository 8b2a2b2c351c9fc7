"""The durable streams of one worker: record, attach, tail, stop, and the upkeep that keeps them truthful.

Products use this class. It owns the store it is given: ``async with Streams(store, ...)`` opens both, renews the
worker's lease, gives every stream whose producer died a truthful ending, and forgets what is past its retention.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Self

import msgspec
from msgspec import Struct

from streamward.durable.cursor import START, first_after
from streamward.durable.record import Producer, Recorder
from streamward.durable.store import (
    HEARTBEAT_S,
    LEASE_S,
    Ending,
    Fenced,
    NewStream,
    Offset,
    Store,
    StreamState,
    Write,
    not_found,
)
from streamward.durable.tail import Tail, TailReader, TailSink
from streamward.errors import NotFound, RateLimited, StreamwardError

SWEEP_S = 30.0  # how late retention and the total bound may act
STOP_WAIT_S = 2.0  # a provider is to be cancelled within two seconds of a stop
MAX_READERS = 100  # of one stream in one worker: past it somebody is using a stream as a broadcast

Interrupted = Callable[[StreamState], list[bytes]]
"""Renders the terminal frames of a stream whose producer died, in its dialect. Must not raise; [] when there are none."""


class Recording(Struct, frozen=True):
    """A stream to write; or, with ``recorder=None``, the one that its idempotency key stood for: just read it."""

    state: StreamState
    recorder: Recorder | None


def new_stream_id(prefix: str = "st_") -> str:
    """128 random bits: unguessable, and still no credential (reading checks the tenant)."""
    return prefix + secrets.token_hex(16)


class Streams:
    """Durable streams as one worker sees them. Belongs to one event loop."""

    def __init__(self, store: Store, *, interrupted: Interrupted, lease_s: float = LEASE_S) -> None:
        self.store = store
        self.recorders: dict[str, Recorder] = {}
        self._interrupted = interrupted
        self._lease_s = lease_s
        self._abandoned: set[str] = set()
        self._upkeep: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.store.__aenter__()
        self.store.on_stop = self._on_stop
        try:
            await self.store.heartbeat(self._lease_s)
            await self.end_orphans()  # before the first request: nobody shall meet a stream that only looks alive
        except BaseException:
            await self.store.__aexit__(None, None, None)
            raise
        every = self._lease_s * HEARTBEAT_S / LEASE_S
        self._upkeep = [
            asyncio.create_task(self._forever(every, self._beat), name="streamward-durable-lease"),
            asyncio.create_task(self._forever(SWEEP_S, self._sweep), name="streamward-durable-sweep"),
        ]
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close what is still being written as ``interrupted``, flush, and close the store."""
        for task in self._upkeep:
            task.cancel()
        await asyncio.gather(*self._upkeep, return_exceptions=True)
        left = list(self.recorders.values())
        for recorder in left:
            state = await self.store.state(recorder.id)
            if state is not None:  # what is still being stored counts: the terminal frame comes after it
                state = msgspec.structs.replace(state, next=recorder.next)
            recorder.close("interrupted", self._interrupted(state) if state is not None else [])
        await asyncio.gather(*(recorder.flushed() for recorder in left), return_exceptions=True)
        await self.store.__aexit__(*exc)

    # -- writing

    async def record(self, new: NewStream, producer: Producer | None = None) -> Recording:
        """Create a stream and the recorder that writes it.

        The writer must call ``recorder.close`` on every path; a recorder left open when the worker stops, or whose
        worker dies, ends ``interrupted``.

        Raises:
            KeyReused: the idempotency key was used with another body (422).
            Overloaded, StoreUnavailable: not now (503).
        """
        created = await self.store.create(new)
        if not created.fresh:
            return Recording(created.state, None)
        return Recording(created.state, self._adopt(created.state, producer))

    def begin(self, new: NewStream, producer: Producer | None = None) -> tuple[StreamState, Recorder]:
        """As :meth:`record` for a stream without an idempotency key, at once: creation and first frames share a commit.

        Should the store refuse it later, the producer's ``on_refused`` is called.

        Raises:
            Overloaded, Conflict: refused at once.
        """

        def refused(error: StreamwardError) -> None:
            recorder.refused(error)

        state = self.store.begin(new, refused)
        recorder = self._adopt(state, producer)
        return state, recorder

    async def adopt(self, state: StreamState, producer: Producer | None = None) -> Recorder | None:
        """Take over a live stream whose producer is gone, to continue it; None when somebody else was faster."""
        claimed = await self.store.claim(state.id, state.epoch)
        return self._adopt(claimed, producer) if claimed is not None else None

    def _adopt(self, state: StreamState, producer: Producer | None) -> Recorder:
        recorder = self.recorders[state.id] = Recorder(self, self.store, state, producer)
        return recorder

    def released(self, recorder: Recorder) -> None:
        """From a recorder: closed or lost."""
        if self.recorders.get(recorder.id) is recorder:
            del self.recorders[recorder.id]
        if recorder.lost is not None and not isinstance(recorder.lost, Fenced | NotFound):
            self._abandoned.add(recorder.id)  # live and ours, but written no more: the next beat ends it

    # -- reading

    async def lookup(self, stream_id: str, tenant: str) -> StreamState:
        """The state of a stream, for its own tenant.

        Raises:
            NotFound: unknown, forgotten, or another tenant's: all in the same words (404).
        """
        state = await self.store.state(stream_id)
        if state is None or state.tenant != tenant:
            raise not_found(stream_id)
        return state

    async def active(self, tenant: str, chat: str) -> StreamState | None:
        """The live stream this chat points at, if any: never one that has ended."""
        return await self.store.active(tenant, chat)

    async def attach(self, stream_id: str, sink: TailSink, *, after: Offset = START) -> Tail:
        """A tail that pushes into *sink* everything after *after*. It starts paused: call ``resume`` to begin.

        Raises:
            NotFound, Conflict (ahead of a live stream, 409), FramesGone (410), RateLimited (too many readers, 429).
        """
        feed, state = await self.store.follow(stream_id)
        try:
            first = first_after(after, state)
            if len(feed.tails) >= MAX_READERS:
                raise RateLimited(f"this stream has {MAX_READERS} readers already", retry_after_s=5)
            return Tail(self.store, feed, first, sink)
        except BaseException:
            self.store.unfollow(feed)
            raise

    def attach_new(self, state: StreamState, sink: TailSink) -> Tail:
        """The first reader of the stream that :meth:`record` has just created: a tail from its start, at no cost.

        Attach before the first append, and the first frame is delivered the moment it is stored.
        """
        return Tail(self.store, self.store.follow_new(state), START + 1, sink)

    async def tail(self, stream_id: str, *, after: Offset = START, idle_s: float | None = None) -> TailReader:
        """The same as an async iterator of frames; errors as for :meth:`attach` and :class:`TailReader`."""
        reader = TailReader(idle_s=idle_s)
        return reader.start(await self.attach(stream_id, reader, after=after))

    # -- stopping

    async def stop(self, stream_id: str, *, wait_s: float = STOP_WAIT_S) -> StreamState | None:
        """Ask whoever writes this stream to end it, and wait for the ending. The state, None when forgotten meanwhile.

        Idempotent: an ended stream is returned as it is. Still live after *wait_s* means that its producer is slow, or
        dead and about to be noticed.
        """
        state = await self.store.state(stream_id)
        if state is None or not state.live:
            return state
        waiter = EndWaiter()
        feed, state = await self.store.follow(stream_id)
        tail = Tail(self.store, feed, state.next, waiter)  # not by attach: a stop is never refused for its readers
        tail.resume()
        try:
            await self.store.request_stop(stream_id)
            async with asyncio.timeout(wait_s):
                await waiter.over.wait()
        except TimeoutError:
            pass  # the state says that it is live
        finally:
            tail.close()
        return await self.store.state(stream_id)

    def _on_stop(self, stream_id: str) -> None:
        recorder = self.recorders.get(stream_id)
        if recorder is not None:
            recorder.stop_requested()

    # -- upkeep

    async def _forever(self, every_s: float, step: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await step()
            except (StreamwardError, OSError) as exc:  # storage is away: the next round may succeed, and must be tried
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "upkeep of durable streams failed and will be repeated", "exception": exc}
                )

    async def _beat(self) -> None:
        await self.store.heartbeat(self._lease_s)
        await self.end_orphans()
        await self.end_abandoned()

    async def _sweep(self) -> None:
        await self.store.sweep()

    async def end_orphans(self) -> int:
        """Give live streams without an owner the ending ``interrupted``; how many there were."""
        ended = 0
        for orphan in await self.store.orphans():
            claimed = await self.store.claim(orphan.id, orphan.epoch)
            if claimed is None:
                continue  # another worker was faster, or the producer closed it after all
            if await self._end(claimed, "interrupted", self._interrupted(claimed)):
                ended += 1
        return ended

    async def end_abandoned(self) -> None:
        """End the streams whose recorder lost them to the storage's faults: our lease is alive, so nobody else will."""
        for stream_id in list(self._abandoned):
            state = await self.store.state(stream_id)
            if state is not None and state.live and state.owner == self.store.worker:
                claimed = await self.store.claim(stream_id, state.epoch)
                if claimed is not None:
                    await self._end(claimed, "interrupted", self._interrupted(claimed))
            self._abandoned.discard(stream_id)

    async def _end(self, state: StreamState, ending: Ending, frames: list[bytes]) -> bool:
        answer: asyncio.Future[StreamwardError | None] = asyncio.get_running_loop().create_future()

        def done(_: Write, error: StreamwardError | None) -> None:
            if not answer.done():  # else nobody waits any more
                answer.set_result(error)

        self.store.write(Write(state.id, state.epoch, state.next, frames, sum(map(len, frames)), done, ending))
        return await answer is None


class EndWaiter:
    """A sink that only waits for the end."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    def on_frames(self, frames: list[bytes], first: Offset) -> None:
        pass

    def on_end(self, ending: Ending) -> None:
        self.over.set()

    def on_error(self, error: StreamwardError) -> None:
        self.over.set()
