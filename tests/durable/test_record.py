"""The recorder: numbering, closing, back-pressure, loss."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamward.durable import Fenced, Limits, Recorder, Store, StoreUnavailable, Streams, Write
from streamward.durable.memory import MemoryStore
from streamward.durable.record import HIGH_WATER_BYTES, LOW_WATER_BYTES
from streamward.errors import NotFound
from support.durable import Backend, RecordingProducer, Sink, frames, interrupted, new, read_all, until


async def start(streams: Streams, producer: RecordingProducer | None = None) -> Recorder:
    recorder = (await streams.record(new(), producer)).recorder
    assert recorder is not None
    return recorder


async def test_appending_numbers_densely_and_delivers_only_what_is_stored(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder = await start(streams)

        class Checking(Sink):
            def on_frames(self, data: list[bytes], first: int) -> None:
                super().on_frames(data, first)
                assert first + len(data) <= recorder.stored, "delivered before it was stored"

        sink = Checking()
        (await streams.attach(recorder.id, sink)).resume()
        offsets = [recorder.append(frames(offset, offset)) for offset in range(10)]
        offsets.append(recorder.append(frames(10, 12)))
        recorder.close("completed", frames(13, 13), b"usage")
        await recorder.flushed()
        await until(lambda: sink.over)

        assert list(range(11)) == offsets
        assert (recorder.next, recorder.stored, recorder.closed) == (14, 14, True)
        assert frames(0, 13) == sink.frames == await read_all(streams.store, recorder.id)


async def test_memory_delivers_within_the_call():
    async with Streams(MemoryStore(), interrupted=interrupted) as streams:
        recorder, sink = await start(streams), Sink()
        (await streams.attach(recorder.id, sink)).resume()

        recorder.append(frames(0, 0))
        assert frames(0, 0) == sink.frames
        recorder.close("completed", frames(1, 1))
        assert (frames(0, 1), "completed") == (sink.frames, sink.ending)


async def test_the_first_close_wins_and_later_appends_are_dropped(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder = await start(streams)
        recorder.append(frames(0, 0))
        recorder.close("completed", frames(1, 1))
        recorder.close("failed", [b"late"])
        recorder.append([b"later"])
        await recorder.flushed()
        recorder.close("failed", [b"last"])

        state = await streams.store.state(recorder.id)
        assert state is not None
        assert (state.ending, state.next) == ("completed", 2)
        assert recorder.lost is None


async def test_empty_appends_are_nothing(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder = await start(streams)

        assert recorder.append([]) == 0
        assert recorder.next == 0


async def test_a_recorder_whose_stream_was_claimed_is_told_once_and_falls_silent(backend: Backend):
    async with (
        Streams(backend.open(), interrupted=interrupted) as streams,
        Streams(backend.open(), interrupted=interrupted) as heir,
    ):
        producer, sink = RecordingProducer(), Sink()
        recorder = await start(streams, producer)
        (await streams.attach(recorder.id, sink)).resume()
        recorder.append(frames(0, 1))
        await recorder.flushed()
        state = await heir.store.state(recorder.id)
        assert state is not None
        successor = await heir.adopt(state)
        assert successor is not None

        recorder.append([b"zombie"])
        with pytest.raises(Fenced):
            await recorder.flushed()
        recorder.append([b"zombie"])
        recorder.close("completed", [b"zombie"])
        successor.append(frames(2, 2))
        successor.close("completed", frames(3, 3))
        await until(lambda: sink.over)

        assert producer.asked == ["lost"]
        assert isinstance(producer.lost, Fenced)
        assert (frames(0, 3), "completed") == (sink.frames, sink.ending)


class SlowStore(MemoryStore):
    """Answers writes when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.held_back: list[Write] = []

    def write(self, write: Write) -> None:
        self.held_back.append(write)

    def release(self) -> None:
        held, self.held_back = self.held_back, []
        for write in held:
            super().write(write)


async def test_a_store_that_lags_pauses_the_producer_and_resumes_it():
    store, producer = SlowStore(), RecordingProducer()
    async with Streams(store, interrupted=interrupted) as streams:
        recorder = await start(streams, producer)
        quarter = HIGH_WATER_BYTES // 4
        for _ in range(4):
            recorder.append([b"x" * quarter])
        assert producer.asked == []
        recorder.append([b"x"])
        recorder.append([b"x"])
        assert producer.asked == ["pause"]

        store.release()

        assert producer.asked == ["pause", "resume"]
        assert LOW_WATER_BYTES < HIGH_WATER_BYTES
        recorder.close("completed")
        store.release()


async def test_while_the_store_has_not_taken_a_write_frames_join_it():
    """No object per token piles up behind a busy store: one write holds them all."""
    store = SlowStore()
    async with Streams(store, interrupted=interrupted) as streams:
        recorder = await start(streams)
        for offset in range(100):
            recorder.append(frames(offset, offset))
        recorder.close("completed", frames(100, 100), b"r")

        assert len(store.held_back) == 1
        store.release()
        assert frames(0, 100) == await read_all(store, recorder.id)
        assert recorder.closed


async def test_a_stream_that_is_gone_from_the_store_is_lost():
    store, producer = MemoryStore(), RecordingProducer()
    async with Streams(store, interrupted=interrupted) as streams:
        recorder = await start(streams, producer)
        store._streams.clear()
        recorder.append(frames(0, 0))

        assert isinstance(producer.lost, NotFound)
        assert streams.recorders == {}


async def test_a_store_that_refuses_for_too_long_loses_the_stream_truthfully(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
):
    """A full disk: writes are repeated, then given up; nothing that was not stored is shown."""
    from streamward.durable import group
    from streamward.durable.sqlite import SqliteStore

    monkeypatch.setattr(group, "GIVE_UP_S", 0.2)
    monkeypatch.setattr(group, "RETRY_S", 0.01)
    store: Store = SqliteStore(str(tmp_path / "s.db"), limits=Limits())
    async with Streams(store, interrupted=interrupted) as streams:
        producer, sink = RecordingProducer(), Sink()
        recorder = await start(streams, producer)
        (await streams.attach(recorder.id, sink)).resume()
        recorder.append(frames(0, 0))
        await recorder.flushed()
        connection = store._frames.con  # type: ignore[attr-defined]
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")

        recorder.append([b"x" * 1_000_000])
        with pytest.raises(StoreUnavailable):
            await recorder.flushed()
        connection.execute("PRAGMA max_page_count=1000000")
        await streams.end_abandoned()
        await until(lambda: sink.over)

        assert producer.asked == ["pause", "lost"]
        assert ([*frames(0, 0), b"interrupted at 1"], "interrupted") == (sink.frames, sink.ending)
        assert sink.frames == await read_all(store, recorder.id)


async def test_a_full_disk_that_is_freed_in_time_loses_nothing(tmp_path: Any):
    from streamward.durable.sqlite import SqliteStore

    store = SqliteStore(str(tmp_path / "s.db"))
    async with Streams(store, interrupted=interrupted) as streams:
        recorder = await start(streams)
        recorder.append(frames(0, 0))
        await recorder.flushed()
        connection = store._frames.con
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")
        recorder.append([b"x" * 1_000_000])
        await until(lambda: store._failing_since is not None)
        recorder.append(frames(2, 2))
        connection.execute("PRAGMA max_page_count=1000000")
        recorder.close("completed")
        await recorder.flushed()

        assert [*frames(0, 0), b"x" * 1_000_000, *frames(2, 2)] == await read_all(store, recorder.id)


async def test_flushed_may_be_awaited_by_many_and_cancelled(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder = await start(streams)
        recorder.append(frames(0, 0))
        waits = [asyncio.ensure_future(recorder.flushed()) for _ in range(3)]
        waits[0].cancel()
        results = await asyncio.gather(*waits, return_exceptions=True)

        assert results[1:] == [None, None]
        assert recorder.stored == 1
