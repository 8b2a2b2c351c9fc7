"""One worker's durable streams: stop, orphans, shutdown, idempotency, adoption."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from streamward.durable import Limits, Recorder, Streams, open_store
from streamward.durable.memory import MemoryStore
from streamward.durable.redis import RedisStore
from streamward.durable.sqlite import SqliteStore
from streamward.errors import InvalidRequest, Overloaded
from support.durable import Backend, RecordingProducer, Sink, frames, interrupted, new, read_all, until, write


class StoppingProducer(RecordingProducer):
    """Ends its stream as cancelled when asked to."""

    recorder: Recorder

    def on_stop(self) -> None:
        super().on_stop()
        self.recorder.close("cancelled", [b"stopped"], b"usage")


async def test_a_stop_from_any_worker_ends_the_stream_and_a_second_one_returns_the_same(shared_backend: Backend):
    async with (
        Streams(shared_backend.open(), interrupted=interrupted) as one,
        Streams(shared_backend.open(), interrupted=interrupted) as two,
    ):
        producer = StoppingProducer()
        recording = await one.record(new(), producer)
        assert recording.recorder is not None
        producer.recorder = recording.recorder
        producer.recorder.append(frames(0, 1))

        first = await two.stop(recording.state.id)
        second = await one.stop(recording.state.id)

        assert first is not None
        assert (first.ending, first.result, first.next) == ("cancelled", b"usage", 3)
        assert first == second
        assert producer.asked == ["stop"]
        assert [*frames(0, 1), b"stopped"] == await read_all(two.store, recording.state.id)


async def test_a_stop_in_the_same_process_ends_the_stream():
    async with Streams(MemoryStore(), interrupted=interrupted) as streams:
        producer = StoppingProducer()
        recording = await streams.record(new(), producer)
        assert recording.recorder is not None
        producer.recorder = recording.recorder

        first, second = await streams.stop(recording.state.id), await streams.stop(recording.state.id)

        assert first is not None
        assert first.ending == "cancelled"
        assert first == second


async def test_a_stop_that_nobody_follows_returns_the_live_state(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recording = await streams.record(new(), RecordingProducer())

        state = await streams.stop(recording.state.id, wait_s=0.05)

        assert state is not None
        assert state.live
        assert state.stop_requested
        assert await streams.stop("st_unknown") is None


async def test_a_producer_hears_that_its_stream_was_refused_after_all(tmp_path: Path):
    async with Streams(SqliteStore(str(tmp_path / "s.db"), limits=Limits(total_bytes=10)), interrupted=interrupted) as streams:
        full = await streams.record(new())
        assert full.recorder is not None
        full.recorder.append([b"more than ten bytes"])
        await full.recorder.flushed()
        await streams.store.sweep()
        producer = RecordingProducer()

        state, recorder = streams.begin(new(), producer)
        recorder.append(frames(0, 0))
        with pytest.raises(Overloaded):
            await recorder.flushed()

        assert producer.asked == ["refused"]
        assert isinstance(producer.lost, Overloaded)
        assert await streams.store.state(state.id) is None
        assert state.id not in streams.recorders


async def test_a_known_idempotency_key_leads_to_a_stream_to_read(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        stream = new(idempotency_key="k", body_hash="h")
        first = await streams.record(stream)
        again = await streams.record(new(idempotency_key="k", body_hash="h"))

        assert first.recorder is not None
        assert again.recorder is None
        assert stream.id == again.state.id


async def test_the_stream_of_a_dead_worker_gets_one_truthful_ending(shared_backend: Backend):
    """Readers on other workers, attached before and after, see its frames and then the ending."""
    dead = shared_backend.open()
    async with (
        Streams(shared_backend.open(), interrupted=interrupted, lease_s=0.2) as two,
        Streams(shared_backend.open(), interrupted=interrupted, lease_s=0.2) as three,
    ):
        await dead.__aenter__()
        await dead.heartbeat(0.2)
        state = (await dead.create(new(chat="c"))).state
        await write(dead, state, 0, frames(0, 2))
        sinks = [Sink() for _ in range(2)]
        for streams, sink in zip((two, three), sinks, strict=True):
            (await streams.attach(state.id, sink)).resume()

        await until(lambda: all(sink.over for sink in sinks))
        late = Sink()
        (await three.attach(state.id, late, after=0)).resume()
        await until(lambda: late.over)

        whole = [*frames(0, 2), b"interrupted at 3"]
        assert [whole, whole] == [sink.frames for sink in sinks]
        assert whole[1:] == late.frames
        assert {"interrupted"} == {sink.ending for sink in (*sinks, late)}
        assert await two.active("t1", "c") is None
        await dead.__aexit__(None, None, None)


async def test_orphans_are_ended_before_a_worker_serves(shared_backend: Backend):
    async with shared_backend.open() as dead:
        await dead.heartbeat(0.001)
        state = (await dead.create(new())).state
        async with asyncio.timeout(5):
            while not await dead.orphans():
                pass

        async with Streams(shared_backend.open(), interrupted=interrupted) as streams:
            after = await streams.store.state(state.id)

        assert after is not None
        assert after.ending == "interrupted"


async def test_a_live_worker_keeps_its_streams(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted, lease_s=0.3) as streams:
        recorder = (await streams.record(new())).recorder
        assert recorder is not None
        for offset in range(20):
            await asyncio.sleep(0.03)  # longer than a lease altogether: this is about time passing
            recorder.append(frames(offset, offset))
        recorder.close("completed")
        await recorder.flushed()

        assert frames(0, 19) == await read_all(streams.store, recorder.id)


async def test_an_adopted_stream_goes_on_where_it_stood(shared_backend: Backend):
    dead = shared_backend.open()
    async with Streams(shared_backend.open(), interrupted=interrupted) as streams:
        async with dead:
            state = (await dead.create(new())).state
            await write(dead, state, 0, frames(0, 2))
        sink = Sink()
        (await streams.attach(state.id, sink)).resume()

        recorder = await streams.adopt(state)
        assert recorder is not None
        assert await streams.adopt(state) is None
        recorder.append(frames(3, 3))
        recorder.close("completed", frames(4, 4))
        await until(lambda: sink.over)

        assert (frames(0, 4), "completed") == (sink.frames, sink.ending)


async def test_shutdown_ends_what_is_still_written(shared_backend: Backend):
    async with Streams(shared_backend.open(), interrupted=interrupted) as other:
        async with Streams(shared_backend.open(), interrupted=interrupted) as streams:
            recorder = (await streams.record(new())).recorder
            assert recorder is not None
            recorder.append(frames(0, 1))
            sink = Sink()
            (await other.attach(recorder.id, sink)).resume()
        await until(lambda: sink.over)

        assert ([*frames(0, 1), b"interrupted at 2"], "interrupted") == (sink.frames, sink.ending)


async def test_upkeep_survives_a_failing_store(monkeypatch: pytest.MonkeyPatch):
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    store = MemoryStore()
    async with Streams(store, interrupted=interrupted, lease_s=0.02):
        beats: list[float] = []

        async def beat(lease_s: float = 0.0) -> None:
            beats.append(lease_s)
            if len(beats) == 1:
                raise OSError("storage is away")

        monkeypatch.setattr(store, "heartbeat", beat)
        await until(lambda: len(beats) >= 3)

    assert [str(context["exception"]) for context in reported] == ["storage is away"]


@pytest.mark.parametrize(
    ("url", "kind", "level"),
    [
        ("memory", MemoryStore, "memory"),
        ("sqlite:a/b.db", SqliteStore, "process"),
        ("sqlite:/tmp/b.db?level=disk", SqliteStore, "disk"),
        ("redis://localhost:6379/0", RedisStore, "redis"),
        ("valkey://localhost:6379/0", RedisStore, "redis"),
    ],
)
def test_urls_name_stores(url: str, kind: type, level: str):
    store = open_store(url)

    assert (kind, level) == (type(store), store.level)


@pytest.mark.parametrize("url", ["", "postgres://u:secret@h/d", "sqlite:", "sqlite:x?level=none", "sqlite:x?mode=ro"])
def test_other_urls_are_refused_without_showing_a_password(url: str):
    with pytest.raises(InvalidRequest) as refusal:
        open_store(url)

    assert "secret" not in str(refusal.value)
