"""SIGTERM and durable calls that nobody is connected to: they are drained and ended as the others are."""

import asyncio
import signal
from pathlib import Path

from support.gateway_server import config_text
from support.raw_http import ask, chat_request, connected, request
from support.scripted_upstream import DONE, FINISH, LAST, ROLE, SSE, Fault, delta, http_chunk, scripted_upstream
from support.workers import worker

SCRIPT = [SSE, *map(http_chunk, (ROLE, delta("one "))), Fault.GATE, *map(http_chunk, (delta("two"), FINISH, DONE)), LAST]


async def left_then_stopped(folder: Path, drain_s: float, *, goes_on: bool) -> bytes:
    """The stream as another worker shows it, after its client had left and its worker got SIGTERM."""
    async with scripted_upstream(SCRIPT) as upstream:
        text = config_text(
            upstream.base_url, mock="timeouts = { idle = 60 }", server=f"drain_s = {drain_s}",
            storage=f'url = "sqlite:{folder}/state.db"', streams=f'store = "sqlite:{folder}/streams.db"\nlease_s = 2.0',
        )  # fmt: skip
        (folder / "streamward.toml").write_text(text)
        async with worker(folder) as first, worker(folder) as second:
            async with connected(first.port) as connection:
                await connection.send(chat_request(headers={"x-streamward-resumable": "1"}))
                answer = await connection.head()
                while b"one " not in answer.body:
                    answer.chunks.append(await connection.chunk())
            first.signal(signal.SIGTERM)
            if goes_on:
                upstream.gate.set()
            assert await asyncio.to_thread(first.wait) == 0
            return (await ask(second.port, request("GET", f"/v1/streams/{answer.get('x-streamward-stream-id')}"))).body


async def test_a_call_without_a_client_may_finish_while_its_worker_drains(tmp_path: Path):
    body = await left_then_stopped(tmp_path, 10.0, goes_on=True)

    assert b"two" in body
    assert body.endswith(b"data: [DONE]\n\n")


async def test_a_call_without_a_client_is_ended_with_its_worker(tmp_path: Path):
    """Its worker says so itself: nobody has to wait for the lease to find out."""
    body = await left_then_stopped(tmp_path, 0.3, goes_on=False)

    assert b'"code":"server_shutdown"' in body
    assert b"stream_interrupted" not in body
