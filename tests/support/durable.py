"""What tests of durable streams share: backends that can be opened twice, sinks that remember, writes to await."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from pathlib import Path

from streamward.durable import Ending, Limits, NewStream, Store, StreamState, Write, new_stream_id
from streamward.durable.memory import MemoryStore
from streamward.durable.redis import RedisStore
from streamward.durable.sqlite import SqliteStore
from streamward.durable.store import Batch
from streamward.errors import StreamwardError

Clock = Callable[[], float]


class FakeClock:
    """Wall-clock time that moves when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Backend:
    """One place of storage. Every ``open`` is one more worker on it; for memory they are one and the same."""

    def __init__(self, kind: str, place: str) -> None:
        self.kind = kind
        self.place = place
        self.shared = kind != "memory"
        self._memory: MemoryStore | None = None
        self._count = itertools.count(1)

    def open(self, *, clock: Clock = time.time, limits: Limits | None = None) -> Store:
        """A store that is not entered yet."""
        worker = f"w{next(self._count)}"
        limits = limits or Limits()
        if self.kind == "memory":
            if self._memory is None:
                self._memory = MemoryStore(worker=worker, limits=limits, clock=clock)
            return self._memory
        if self.kind == "sqlite":
            return SqliteStore(self.place, worker=worker, limits=limits, clock=clock)
        if self.kind == "sqlite-settling":
            return SqliteStore(self.place, worker=worker, limits=limits, clock=clock, log_bytes=40)
        if self.kind == "sqlite-disk":
            return SqliteStore(self.place, level="disk", worker=worker, limits=limits, clock=clock)
        return RedisStore(self.place, worker=worker, limits=limits, clock=clock)


def sqlite_place(directory: Path) -> str:
    return str(directory / "streams.db")


def new(**fields: object) -> NewStream:
    """A stream with a fresh id, unless *fields* say otherwise."""
    return NewStream(**{"id": new_stream_id(), "tenant": "t1", "dialect": "chat", **fields})  # type: ignore[arg-type]


def frames(first: int, last: int) -> list[bytes]:
    """Frames *first* to *last*, both included, each saying its own offset."""
    return [f"data: {offset}\n\n".encode() for offset in range(first, last + 1)]


async def write(
    store: Store, state: StreamState, at: int, data: list[bytes], *,
    ending: Ending | None = None, result: bytes = b"", epoch: int | None = None,
) -> None:  # fmt: skip
    """Append and wait until it is stored; raises what the store refused it with."""
    answer: asyncio.Future[StreamwardError | None] = asyncio.get_running_loop().create_future()
    size = sum(map(len, data))
    store.write(Write(state.id, epoch or state.epoch, at, data, size, lambda _, e: answer.set_result(e), ending, result))
    error = await answer
    if error is not None:
        raise error


async def fetch(store: Store, stream_id: str, first: int = 0) -> Batch:
    """One read; raises what the store refused it with."""
    answer: asyncio.Future[Batch | StreamwardError] = asyncio.get_running_loop().create_future()
    store.fetch(stream_id, first, answer.set_result)
    got = await answer
    if not isinstance(got, Batch):
        raise got
    return got


async def read_all(store: Store, stream_id: str, first: int = 0) -> list[bytes]:
    """Everything held from *first* on, batch by batch."""
    out: list[bytes] = []
    while True:
        batch = await fetch(store, stream_id, first + len(out))
        assert batch.first == first + len(out)
        if not batch.frames:
            return out
        out += batch.frames


async def until(condition: Callable[[], object], *, within_s: float = 10.0) -> None:
    """Poll *condition* until it holds."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the condition is anything at all
            await asyncio.sleep(0.002)


class Sink:
    """Remembers what a tail pushed, and that it came in order."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.first: int | None = None
        self.ending: Ending | None = None
        self.error: StreamwardError | None = None
        self.calls = 0

    def on_frames(self, frames: list[bytes], first: int) -> None:
        assert self.ending is None
        assert self.error is None
        if self.first is None:
            self.first = first
        assert first == self.first + len(self.frames), "a frame was skipped or repeated"
        self.frames += frames
        self.calls += 1

    def on_end(self, ending: Ending) -> None:
        assert self.ending is None
        assert self.error is None
        self.ending = ending

    def on_error(self, error: StreamwardError) -> None:
        assert self.ending is None
        assert self.error is None
        self.error = error

    @property
    def over(self) -> bool:
        return self.ending is not None or self.error is not None


class RecordingProducer:
    """A producer that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.lost: StreamwardError | None = None

    def on_stop(self) -> None:
        self.asked.append("stop")

    def on_lost(self, error: StreamwardError) -> None:
        self.asked.append("lost")
        self.lost = error

    def on_refused(self, error: StreamwardError) -> None:
        self.asked.append("refused")
        self.lost = error

    def pause(self) -> None:
        self.asked.append("pause")

    def resume(self) -> None:
        self.asked.append("resume")


def interrupted(state: StreamState) -> list[bytes]:
    """Terminal frames of an interrupted stream, as the tests' only dialect has them."""
    return [f"interrupted at {state.next}".encode()]
