"""What a durable stream costs: microseconds of CPU and of wall time per event appended, stored and delivered.

    python bench/durable.py [--events N] [--streams N] [--redis URL]

``flat``: one stream, one reader, an event per append, as fast as it goes. ``many``: N streams, each with a reader, one
event each per turn of the loop: how a busy gateway appends. CPU counts all threads of this process, not a Redis server.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvloop

from streamward.durable import Ending, NewStream, Recorder, Streams, new_stream_id, open_store
from streamward.errors import StreamwardError

EVENT = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,' \
        b'"delta":{"content":" token"},"finish_reason":null}]}\n\n'  # fmt: skip


class CountingSink:
    def __init__(self) -> None:
        self.count = 0
        self.over = asyncio.Event()
        self.first_at = 0.0

    def on_frames(self, frames: list[bytes], first: int) -> None:
        if not first:
            self.first_at = time.perf_counter()
        self.count += len(frames)

    def on_end(self, ending: Ending) -> None:
        self.over.set()

    def on_error(self, error: StreamwardError) -> None:
        raise error


async def started(streams: Streams) -> tuple[Recorder, CountingSink]:
    recording = await streams.record(NewStream(id=new_stream_id(), tenant="t", dialect="chat"))
    assert recording.recorder is not None
    sink = CountingSink()
    (await streams.attach(recording.state.id, sink)).resume()
    return recording.recorder, sink


async def many(url: str, streams_n: int, events: int) -> tuple[float, float]:
    """CPU and wall microseconds per event."""
    async with Streams(open_store(url), interrupted=lambda _: []) as streams:
        pairs = [await started(streams) for _ in range(streams_n)]
        rounds = events // streams_n
        wall, cpu = time.perf_counter(), time.process_time()
        for turn in range(rounds):
            for recorder, _ in pairs:
                recorder.append([EVENT])
            if streams_n > 1 or turn % 16 == 0:
                await asyncio.sleep(0)
        for recorder, _ in pairs:
            recorder.close("completed")
        for _, sink in pairs:
            await sink.over.wait()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        assert all(sink.count == rounds for _, sink in pairs)
        return cpu / events * 1e6, wall / events * 1e6


async def paced(url: str, streams_n: int, seconds: float) -> tuple[float, list[float]]:
    """CPU microseconds per event at 50 events a second and stream; milliseconds from append to delivery of first frames."""
    async with Streams(open_store(url), interrupted=lambda _: []) as streams:
        loop = asyncio.get_running_loop()
        pairs = [await started(streams) for _ in range(streams_n)]
        started_at: dict[str, float] = {}
        cpu, end = time.process_time(), loop.time() + seconds
        finished = asyncio.Event()
        left = streams_n

        def tick(recorder: Recorder, at: float) -> None:
            nonlocal left
            started_at.setdefault(recorder.id, time.perf_counter())
            recorder.append([EVENT])
            if at + 0.02 < end:
                loop.call_at(at + 0.02, tick, recorder, at + 0.02)
            else:
                recorder.close("completed")
                left -= 1
                if not left:
                    finished.set()

        for index, (recorder, _) in enumerate(pairs):
            at = loop.time() + 0.02 * index / streams_n
            loop.call_at(at, tick, recorder, at)
        await finished.wait()
        for _, sink in pairs:
            await sink.over.wait()
        cpu = time.process_time() - cpu
        delays = sorted((sink.first_at - started_at[recorder.id]) * 1e3 for recorder, sink in pairs)
        return cpu / sum(sink.count for _, sink in pairs) * 1e6, delays


@contextmanager
def stores(redis: str | None) -> Iterator[list[tuple[str, str]]]:
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="sw-bench-"))
        stack.callback(shutil.rmtree, directory)
        found = [
            ("memory", "memory"),
            ("sqlite process", f"sqlite:{directory}/p.db"),
            ("sqlite disk", f"sqlite:{directory}/d.db?level=disk"),
        ]
        if redis:
            found.append(("redis", redis))
        yield found


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--redis", help="URL of a server to use; its database is written to")
    args = parser.parse_args()
    print("us per event          flat cpu/wall    many cpu/wall    paced cpu    first frame p50/p99 ms")
    with stores(args.redis) as found:
        for name, url in found:
            flat = await many(url, 1, args.events)
            wide = await many(url, args.streams, args.events)
            slow, delays = await paced(url, args.streams, args.seconds)
            p50, p99 = delays[len(delays) // 2], delays[int(len(delays) * 0.99)]
            print(f"{name:20} {flat[0]:7.2f} {flat[1]:7.2f}  {wide[0]:7.2f} {wide[1]:7.2f}  {slow:9.1f}    "
                  f"{p50:10.2f} {p99:8.2f}")  # fmt: skip


if __name__ == "__main__":
    uvloop.run(main())
