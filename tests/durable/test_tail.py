"""Tails, pushed and pulled, on all stores."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamward.durable import FramesGone, Limits, NewStream, Recorder, Stalled, Streams, Tail, TailReader
from streamward.durable.streams import MAX_READERS
from streamward.errors import Conflict, NotFound, RateLimited
from support.durable import Backend, FakeClock, Sink, frames, interrupted, new, until


async def record(streams: Streams, stream: NewStream | None = None) -> Recorder:
    recorder = (await streams.record(stream or new())).recorder
    assert recorder is not None
    return recorder


async def test_a_tail_yields_what_is_stored_and_then_what_comes(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder, sink = await record(streams), Sink()
        recorder.append(frames(0, 9))
        await recorder.flushed()
        (await streams.attach(recorder.id, sink)).resume()
        recorder.append(frames(10, 10))
        recorder.append(frames(11, 12))
        recorder.close("completed", frames(13, 14))
        await until(lambda: sink.over)

        assert (frames(0, 14), 0, "completed") == (sink.frames, sink.first, sink.ending)


@pytest.mark.parametrize("after", [-1, 0, 4, 8, 9])
async def test_a_cursor_is_exclusive(backend: Backend, after: int):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder, sink = await record(streams), Sink()
        recorder.append(frames(0, 9))
        await recorder.flushed()
        (await streams.attach(recorder.id, sink, after=after)).resume()
        recorder.close("completed", frames(10, 10))
        await until(lambda: sink.over)

        assert (after + 1, frames(after + 1, 10)) == (sink.first, sink.frames)


async def test_a_cursor_ahead_of_a_live_stream_is_refused_and_of_an_ended_one_is_its_end(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder = await record(streams)
        recorder.append(frames(0, 2))
        await recorder.flushed()
        with pytest.raises(Conflict):
            await streams.attach(recorder.id, Sink(), after=3)

        recorder.close("failed")
        await recorder.flushed()
        ahead, at_end = Sink(), Sink()
        (await streams.attach(recorder.id, ahead, after=99)).resume()
        (await streams.attach(recorder.id, at_end, after=2)).resume()
        await until(lambda: ahead.over and at_end.over)

        assert (ahead.frames, ahead.ending) == ([], "failed")
        assert (at_end.frames, at_end.ending) == ([], "failed")


async def test_a_cursor_before_what_is_held_is_gone(backend: Backend):
    async with Streams(backend.open(limits=Limits(stream_bytes=1_000)), interrupted=interrupted) as streams:
        recorder = await record(streams)
        for offset in range(40):
            recorder.append([b"%02d" % offset * 50])
            await recorder.flushed()
        with pytest.raises(FramesGone) as gone:
            await streams.attach(recorder.id, Sink())

        earliest, sink = gone.value.earliest, Sink()
        (await streams.attach(recorder.id, sink, after=earliest - 1)).resume()
        recorder.close("completed")
        await until(lambda: sink.over)

        assert [b"%02d" % offset * 50 for offset in range(earliest, 40)] == sink.frames


async def test_a_paused_tail_that_falls_behind_the_bound_is_told(backend: Backend):
    async with Streams(backend.open(limits=Limits(stream_bytes=1_000)), interrupted=interrupted) as streams:
        recorder, sink = await record(streams), Sink()
        tail = await streams.attach(recorder.id, sink)
        for offset in range(40):
            recorder.append([b"%02d" % offset * 50])
            await recorder.flushed()

        tail.resume()
        await until(lambda: sink.over)

        assert isinstance(sink.error, FramesGone)
        assert sink.frames == []
        assert tail.closed


async def test_a_slow_reader_holds_up_nobody(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder, quick, slow = await record(streams), Sink(), Sink()
        paused = await streams.attach(recorder.id, slow)
        (await streams.attach(recorder.id, quick)).resume()
        for offset in range(2_000):
            recorder.append(frames(offset, offset))
        recorder.close("completed")
        await until(lambda: quick.over)
        assert slow.frames == []

        paused.resume()
        await until(lambda: slow.over)

        assert frames(0, 1_999) == quick.frames == slow.frames


async def test_a_sink_may_pause_and_resume_at_every_frame(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder = await record(streams)
        loop = asyncio.get_running_loop()

        class Choppy(Sink):
            tail: Tail

            def on_frames(self, data: list[bytes], first: int) -> None:
                super().on_frames(data, first)
                self.tail.pause()
                if self.calls % 2:
                    self.tail.resume()
                else:
                    loop.call_soon(self.tail.resume)

        sink = Choppy()
        sink.tail = await streams.attach(recorder.id, sink)
        sink.tail.resume()
        for offset in range(500):
            recorder.append(frames(offset, offset))
            if offset % 7 == 0:
                await asyncio.sleep(0)
        recorder.close("completed", frames(500, 500))
        await until(lambda: sink.over)

        assert frames(0, 500) == sink.frames


async def test_a_sink_may_close_its_tail_from_inside(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder, other = await record(streams), Sink()

        class Leaving(Sink):
            tail: Tail

            def on_frames(self, data: list[bytes], first: int) -> None:
                super().on_frames(data, first)
                self.tail.close()

        leaving = Leaving()
        leaving.tail = await streams.attach(recorder.id, leaving)
        leaving.tail.resume()
        (await streams.attach(recorder.id, other)).resume()
        recorder.append(frames(0, 0))
        await recorder.flushed()
        recorder.append(frames(1, 1))
        recorder.close("completed")
        await until(lambda: other.over)

        assert frames(0, 0) == leaving.frames
        assert not leaving.over
        assert frames(0, 1) == other.frames


async def test_a_faulty_sink_is_dropped_and_hurts_nobody(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder, good = await record(streams), Sink()
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

        class Faulty(Sink):
            def on_frames(self, data: list[bytes], first: int) -> None:
                raise ValueError("a bug in a reader")

        tail = await streams.attach(recorder.id, Faulty())
        tail.resume()
        (await streams.attach(recorder.id, good)).resume()
        recorder.append(frames(0, 3))
        recorder.close("completed")
        await until(lambda: good.over)

        assert frames(0, 3) == good.frames
        assert tail.closed
        assert [str(context["exception"]) for context in reported] == ["a bug in a reader"]


async def test_a_closed_tail_leaves_nothing_behind(backend: Backend):
    store = backend.open()
    async with Streams(store, interrupted=interrupted) as streams:
        recorder = await record(streams)
        tails = [await streams.attach(recorder.id, Sink()) for _ in range(3)]
        for tail in tails:
            tail.close()
            tail.close()

        assert store.feeds == {}  # type: ignore[attr-defined]


async def test_readers_of_one_stream_are_capped_but_a_stop_always_gets_through(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder = await record(streams)
        tails = [await streams.attach(recorder.id, Sink()) for _ in range(MAX_READERS)]

        with pytest.raises(RateLimited):
            await streams.attach(recorder.id, Sink())
        state = await streams.stop(recorder.id, wait_s=0.05)
        assert state is not None
        assert state.stop_requested
        tails[0].close()
        (await streams.attach(recorder.id, Sink())).close()


# -- across workers


async def test_a_reader_on_another_worker_follows_live(shared_backend: Backend):
    async with (
        Streams(shared_backend.open(), interrupted=interrupted) as one,
        Streams(shared_backend.open(), interrupted=interrupted) as two,
    ):
        recorder, early, late = await record(one), Sink(), Sink()
        (await two.attach(recorder.id, early)).resume()
        for offset in range(100):
            recorder.append(frames(offset, offset))
            await until(lambda: len(early.frames) == recorder.next)  # each arrives before the next is written
            if offset == 50:
                (await two.attach(recorder.id, late, after=20)).resume()
        recorder.close("completed", frames(100, 101))
        await until(lambda: early.over and late.over)

        assert frames(0, 101) == early.frames
        assert frames(21, 101) == late.frames
        assert "completed" == early.ending == late.ending


async def test_many_streams_followed_from_another_worker(shared_backend: Backend):
    async with (
        Streams(shared_backend.open(), interrupted=interrupted) as one,
        Streams(shared_backend.open(), interrupted=interrupted) as two,
    ):
        recorders = [await record(one) for _ in range(60)]
        sinks = [Sink() for _ in recorders]
        for recorder, sink in zip(recorders, sinks, strict=True):
            (await two.attach(recorder.id, sink)).resume()
        for offset in range(50):
            for recorder in recorders:
                recorder.append([f"{recorder.id} {offset}".encode()])
            await asyncio.sleep(0)
        for recorder in recorders:
            recorder.close("completed")
        await until(lambda: all(sink.over for sink in sinks))

        for recorder, sink in zip(recorders, sinks, strict=True):
            assert [f"{recorder.id} {offset}".encode() for offset in range(50)] == sink.frames


# -- pulled


async def test_the_iterator_yields_frames_with_offsets_and_ends_with_the_stream(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder = await record(streams)
        recorder.append(frames(0, 4))
        await recorder.flushed()
        reader = await streams.tail(recorder.id, after=1)
        recorder.close("cancelled", frames(5, 5))

        got = [frame async for frame in reader]

        assert list(zip(range(2, 6), frames(2, 5), strict=True)) == [(f.offset, f.data) for f in got]
        assert reader.ending == "cancelled"


async def test_cancelling_the_iterator_loses_nothing(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder = await record(streams)
        reader = await streams.tail(recorder.id)
        got: list[bytes] = []

        async def read() -> None:
            async for frame in reader:
                got.append(frame.data)  # noqa: PERF401 - what came before the cancel must be kept

        for offset in range(30):
            task = asyncio.create_task(read())
            await asyncio.sleep(0)
            recorder.append(frames(offset, offset))
            if offset % 3:
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        recorder.close("completed")
        await read()

        assert frames(0, 29) == got


async def test_the_iterator_holds_a_bounded_number_of_frames(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder = await record(streams)
        reader = await streams.tail(recorder.id)
        for offset in range(5_000):
            recorder.append(frames(offset, offset))
            if offset % 50 == 0:
                await recorder.flushed()
        await recorder.flushed()

        assert len(reader._frames) <= 512
        recorder.close("completed")
        assert frames(0, 4_999) == [frame.data async for frame in reader]


async def test_the_iterator_tells_of_a_stall_and_may_go_on(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder = await record(streams)
        async with await streams.tail(recorder.id, idle_s=0.05) as reader:
            with pytest.raises(Stalled):
                await anext(reader)
            recorder.append(frames(0, 0))
            await recorder.flushed()

            assert frames(0, 0) == [(await anext(reader)).data]


async def test_the_iterator_raises_gone(backend: Backend):
    clock = FakeClock()
    async with Streams(backend.open(clock=clock, limits=Limits(total_bytes=10)), interrupted=interrupted) as streams:
        recorder = await record(streams)
        reader = TailReader()
        tail = await streams.attach(recorder.id, reader)
        recorder.append([b"x" * 8, b"y" * 8])
        recorder.close("completed")
        await recorder.flushed()
        await streams.store.sweep()
        reader.start(tail)

        with pytest.raises(FramesGone) as gone:
            await anext(reader)
        assert gone.value.earliest == 2


async def test_a_closed_iterator_ends(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder = await record(streams)
        async with await streams.tail(recorder.id) as reader:
            pass

        assert [frame async for frame in reader] == []
        assert reader.ending is None


async def test_unknown_streams_and_strangers_get_the_same_404(backend: Backend):
    async with Streams(backend.open(), interrupted=interrupted) as streams:
        recorder = await record(streams)

        assert recorder.id == (await streams.lookup(recorder.id, "t1")).id
        with pytest.raises(NotFound) as stranger:
            await streams.lookup(recorder.id, "t2")
        with pytest.raises(NotFound) as unknown:
            await streams.lookup("st_unknown", "t1")
        with pytest.raises(NotFound):
            await streams.attach("st_unknown", Sink())
        assert str(stranger.value).replace(recorder.id, "ID") == str(unknown.value).replace("st_unknown", "ID")


