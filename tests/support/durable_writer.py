"""A process of its own that writes durable streams until it is killed: python durable_writer.py KIND PLACE COUNT.

Prints a line for every frame its own tail was given, before anything else happens: what a client has seen.
"""

from __future__ import annotations

import asyncio
import os
import sys

import uvloop

from streamward.durable import Recorder, Streams
from support.durable import Backend, Sink, frames, interrupted, new


class Reporting(Sink):
    def __init__(self, stream_id: str) -> None:
        super().__init__()
        self.stream_id = stream_id

    def on_frames(self, data: list[bytes], first: int) -> None:
        super().on_frames(data, first)
        os.write(1, f"{self.stream_id} {first + len(data)}\n".encode())


async def main(kind: str, place: str, count: int) -> None:
    store = Backend(kind, place).open()
    store.worker = f"writer-{os.getpid()}"
    async with Streams(store, interrupted=interrupted, lease_s=1.0) as streams:
        recorders: list[Recorder] = []
        for _ in range(count):
            recorder = (await streams.record(new())).recorder
            assert recorder is not None
            recorders.append(recorder)
            (await streams.attach(recorder.id, Reporting(recorder.id))).resume()
            os.write(1, f"{recorder.id} 0\n".encode())
        while True:
            for index, recorder in enumerate(recorders):
                recorder.append(frames(recorder.next, recorder.next + index % 3))
            await asyncio.sleep(0.001)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
