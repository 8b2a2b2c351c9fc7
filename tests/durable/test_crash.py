"""kill -9 of the writer, kill -9 and SIGSTOP of Redis: what a client has seen stays, and every stream ends truthfully."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streamward.durable import Streams
from support import durable_writer
from support.durable import Backend, RecordingProducer, Sink, frames, interrupted, new, read_all, sqlite_place, until
from support.redis_server import RedisServer

TESTS = Path(durable_writer.__file__).parents[1]


def kill_a_writer(kind: str, place: str, after_lines: int) -> dict[str, int]:
    """Run a writer, kill it -9 once it has reported *after_lines* deliveries; how much of each stream was seen."""
    process = subprocess.Popen(
        [sys.executable, durable_writer.__file__, kind, place, "5"], stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )  # fmt: skip
    assert process.stdout is not None
    seen: dict[str, int] = {}
    with process.stdout as lines:
        for count, line in enumerate(lines):
            if count == after_lines:
                process.kill()
            if line.endswith(b"\n"):  # the last one may be cut
                stream_id, end = line.split()
                seen[stream_id.decode()] = int(end)
    assert process.wait() == -signal.SIGKILL
    assert len(seen) == 5
    return seen


@pytest.mark.parametrize("kind", ["sqlite", "sqlite-settling", "sqlite-disk", "redis"])
async def test_after_kill_9_nothing_seen_is_lost_and_the_streams_end_interrupted(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
):
    place = request.getfixturevalue("redis_server").url if kind == "redis" else sqlite_place(tmp_path)
    chance = random.Random(7)
    for _ in range(3):
        after = chance.randrange(20, 400)
        seen = await asyncio.to_thread(kill_a_writer, kind, place, after)

        async with Streams(Backend(kind, place).open(), interrupted=interrupted, lease_s=0.5) as streams:
            for stream_id, end in seen.items():
                sink = Sink()
                (await streams.attach(stream_id, sink)).resume()
                await until(lambda s=sink: s.over)

                stored = len(sink.frames) - 1
                assert stored >= end, "a frame that a client has seen was lost"
                assert [*frames(0, stored - 1), f"interrupted at {stored}".encode()] == sink.frames
                assert sink.ending == "interrupted"
                assert sink.frames == await read_all(streams.store, stream_id)


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_redis_goes_away_and_comes_back(how: str):
    """Killed -9 and restarted on its append-only file, or frozen: the streams go on; nothing lost, nothing twice."""
    server = RedisServer(fsync="always").start()
    try:
        backend = Backend("redis", server.url)
        async with (
            Streams(backend.open(), interrupted=interrupted, lease_s=30) as one,
            Streams(backend.open(), interrupted=interrupted, lease_s=30) as two,
        ):
            producer = RecordingProducer()
            recorder = (await one.record(new(), producer)).recorder
            assert recorder is not None
            here, there = Sink(), Sink()
            (await one.attach(recorder.id, here)).resume()
            (await two.attach(recorder.id, there)).resume()
            recorder.append(frames(0, 9))
            # Both: a server stopped between its two answers would keep the other one.
            await until(lambda: len(here.frames) == len(there.frames) == 10)

            await asyncio.to_thread(server.kill) if how == "kill" else server.signal(signal.SIGSTOP)
            try:
                for offset in range(10, 500):
                    recorder.append(frames(offset, offset))
                    if offset % 50 == 0:
                        await asyncio.sleep(0.01)
                assert len(here.frames) == 10, "nothing is shown before it is stored"
                late = asyncio.ensure_future(two.tail(recorder.id, after=4))
            finally:  # else the streams wait for it at their end, and their error hides the one of this test
                await asyncio.to_thread(server.start) if how == "kill" else server.signal(signal.SIGCONT)

            recorder.append(frames(500, 500))
            recorder.close("completed", frames(501, 501))
            await recorder.flushed()
            await until(lambda: here.over and there.over)

            assert frames(0, 501) == here.frames == there.frames
            assert frames(5, 501) == [frame.data async for frame in await late]
            assert producer.asked == []
    finally:
        server.close()


async def test_a_redis_that_forgot_its_last_writes_ends_the_stream_and_rewrites_no_number():
    """A fail-over to a replica that was behind: the writer stops, the ending comes, shown offsets keep their frames."""
    server = RedisServer().start()
    try:
        async with Streams(Backend("redis", server.url).open(), interrupted=interrupted, lease_s=1.0) as streams:
            producer, sink = RecordingProducer(), Sink()
            recorder = (await streams.record(new(), producer)).recorder
            assert recorder is not None
            (await streams.attach(recorder.id, sink)).resume()
            recorder.append(frames(0, 9))
            await recorder.flushed()
            key = f"streamward:{{{recorder.id}}}"
            await streams.store._ask(  # type: ignore[attr-defined]
                ("XDEL", f"{key}:f", "0-7", "0-8", "0-9", "0-10"), ("XSETID", f"{key}:f", "0-6"),
                ("HSET", f"{key}:s", "next", 6),
            )

            recorder.append(frames(10, 10))
            await until(lambda: sink.over)

            assert producer.asked == ["lost"]
            assert (frames(0, 9), "interrupted") == (sink.frames, sink.ending)
    finally:
        server.close()
