"""Durable streams over several worker processes: any worker serves any resume, stop and poll; ``kill -9`` loses nothing."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.gateway_server import Process, config_text, streamward
from support.raw_http import Answer, ask, chat_request, connected, request
from support.redis_server import RedisServer
from support.scripted_upstream import (
    DONE,
    FINISH,
    LAST,
    ROLE,
    SSE,
    USAGE_CHUNK,
    Fault,
    ScriptedUpstream,
    delta,
    http_chunk,
    scripted_upstream,
)
from support.workers import worker

RESUMABLE = {"x-streamward-resumable": "1"}
HALF = [
    SSE, *map(http_chunk, (ROLE, delta("one "), delta("two "))), Fault.GATE,
    *map(http_chunk, (delta("three"), FINISH, USAGE_CHUNK, DONE)), LAST,
]  # fmt: skip
LEASE_S = 1.0


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/streams.db"
    server: RedisServer = request.getfixturevalue("redis_server")
    server.flush()
    return server.url


def configure(folder: Path, upstream: ScriptedUpstream, store: str, more: str = "") -> None:
    text = config_text(
        upstream.base_url, mock="timeouts = { idle = 60 }\nretries = 0", storage=f'url = "sqlite:{folder}/state.db"',
        streams=f'store = "{store}"\nlease_s = {LEASE_S}\n{more}',
    )  # fmt: skip
    (folder / "streamward.toml").write_text(text)


@asynccontextmanager
async def two_workers(folder: Path, store: str, *scripts) -> AsyncIterator[tuple[ScriptedUpstream, Process, Process]]:
    async with scripted_upstream(*scripts) as upstream:
        configure(folder, upstream, store)
        async with worker(folder) as first, worker(folder) as second:
            yield upstream, first, second


async def begun(port: int, data: bytes, until: bytes = b"two ") -> tuple[str, Answer]:
    """Start a stream, read until the text is there, leave. The stream's id, and what was read."""
    async with connected(port) as connection:
        await connection.send(data)
        answer = await connection.head()
        assert answer.status == 200
        while until not in answer.body:
            answer.chunks.append(await connection.chunk())
    return answer.get("x-streamward-stream-id") or "", answer


def follow(stream_id: str, after: int | None = None) -> bytes:
    return request("GET", f"/v1/streams/{stream_id}" + ("" if after is None else f"?after={after}"))


def last_id(body: bytes) -> int:
    return int(body[body.rindex(b"id: ") + 4 :].split(b"\n")[0])


async def test_a_stream_begun_at_one_worker_is_resumed_live_at_the_other(tmp_path: Path, store: str):
    async with two_workers(tmp_path, store, HALF) as (upstream, first, second):
        stream_id, start = await begun(first.port, chat_request(headers=RESUMABLE))
        async with connected(second.port) as connection:
            await connection.send(follow(stream_id, last_id(start.body)))
            rest = await connection.head()
            upstream.gate.set()
            await connection.body(rest)
        replays = [await ask(process.port, follow(stream_id)) for process in (first, second)]

    assert rest.complete
    assert {replay.body for replay in replays} == {start.body + rest.body}
    assert len(upstream.seen) == 1


async def test_a_stream_is_stopped_from_the_other_worker(tmp_path: Path, store: str):
    async with two_workers(tmp_path, store, HALF) as (upstream, first, second):
        stream_id, _ = await begun(first.port, chat_request(headers=RESUMABLE))
        stopped = await ask(second.port, request("POST", f"/v1/streams/{stream_id}/stop", b""))
        await upstream.seen[0].wait_gone()
        replay = await ask(first.port, follow(stream_id))

    assert stopped.json()["status"] == "cancelled"
    assert b'"code":"cancelled"' in replay.body.split(b"\n\n")[-2]


async def test_a_call_is_stopped_by_its_key_from_the_other_worker(tmp_path: Path, store: str):
    """The client of a whole answer knows nothing but the key it sent."""
    key = {"idempotency-key": "k-1"}
    async with two_workers(tmp_path, store, [Fault.STALL]) as (upstream, first, second), connected(first.port) as connection:
        await connection.send(chat_request(headers=key, stream=False))
        seen = await upstream.request()
        stopped = await ask(second.port, request("POST", "/v1/streams/stop", b"", key))
        answer = await connection.answer()
        await seen.wait_gone()

    assert (stopped.status, stopped.json()["status"]) == (200, "cancelled")
    assert answer.status >= 400



async def test_a_key_used_at_both_workers_at_once_makes_one_call(tmp_path: Path, store: str):
    data = chat_request(headers={"idempotency-key": "k1"})
    async with two_workers(tmp_path, store, HALF) as (upstream, first, second):
        both = [asyncio.create_task(ask(process.port, data)) for process in (first, second)]
        await upstream.request()
        upstream.gate.set()
        answers = [await answer for answer in both]

    assert answers[0].body == answers[1].body
    assert len(upstream.seen) == 1


async def test_a_worker_killed_in_mid_stream_loses_no_token_and_the_stream_ends_truthfully(tmp_path: Path, store: str):
    async with two_workers(tmp_path, store, HALF) as (_, first, second):
        stream_id, start = await begun(first.port, chat_request(headers=RESUMABLE))
        async with connected(second.port) as connection:
            await connection.send(follow(stream_id))
            live = await connection.head()
            while b"two " not in live.body:
                live.chunks.append(await connection.chunk())
            first.signal(signal.SIGKILL)
            await connection.body(live)
        replay = await ask(second.port, follow(stream_id))

    assert live.complete
    assert live.body == replay.body
    assert live.body.startswith(start.body)
    assert json.loads(live.body[live.body.rindex(b"data: ") + 6 :])["error"]["code"] == "stream_interrupted"
    assert b"[DONE]" not in live.body


async def test_a_reader_at_the_other_worker_keeps_a_stream_from_being_orphaned(tmp_path: Path, store: str):
    """Its first client left longer ago than the orphan timeout; once the second one leaves too, it is stopped."""
    async with scripted_upstream(HALF) as upstream:
        configure(tmp_path, upstream, store, "orphan_timeout_s = 0.6")
        async with worker(tmp_path) as first, worker(tmp_path) as second:
            stream_id, _ = await begun(first.port, chat_request(headers=RESUMABLE))
            async with connected(second.port) as connection:
                await connection.send(follow(stream_id))
                await connection.head()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(2.5):
                        await upstream.seen[0].gone.wait()
            await upstream.seen[0].wait_gone()


async def test_background_responses_are_polled_cancelled_and_followed_at_any_worker(tmp_path: Path, store: str):
    body = json.dumps({"model": "mock/m", "input": "hi", "background": True}).encode()
    async with two_workers(tmp_path, store, HALF) as (upstream, first, second):
        made = (await ask(first.port, request("POST", "/v1/responses", body))).json()
        await upstream.request()
        follower = asyncio.create_task(ask(second.port, request("GET", f"/v1/responses/{made['id']}?stream=true")))
        upstream.gate.set()
        followed = await follower
        done = (await ask(second.port, request("GET", f"/v1/responses/{made['id']}"))).json()
        upstream.gate.clear()
        other = (await ask(first.port, request("POST", "/v1/responses", body))).json()
        await upstream.request(1)
        cancelled = (await ask(second.port, request("POST", f"/v1/responses/{other['id']}/cancel", b""))).json()
        await upstream.seen[1].wait_gone()

    assert b"event: response.completed" in followed.body
    assert (done["status"], done["output"][0]["content"][0]["text"]) == ("completed", "one two three")
    assert cancelled["status"] == "cancelled"


async def test_a_background_response_whose_worker_was_killed_is_failed_not_running(tmp_path: Path, store: str):
    body = json.dumps({"model": "mock/m", "input": "hi", "background": True, "stream": True}).encode()
    async with two_workers(tmp_path, store, HALF) as (_, first, second):
        response_id, start = await begun(first.port, request("POST", "/v1/responses", body))
        first.signal(signal.SIGKILL)
        followed = await ask(second.port, request("GET", f"/v1/responses/{response_id}?stream=true"))
        polled = (await ask(second.port, request("GET", f"/v1/responses/{response_id}"))).json()

    numbers = [json.loads(line[6:])["sequence_number"] for line in followed.body.split(b"\n") if line.startswith(b"data: ")]
    assert followed.body.startswith(start.body)
    assert numbers == list(range(len(numbers)))
    assert b"event: error" in followed.body
    assert (polled["status"], polled["error"]["code"]) == ("failed", "stream_interrupted")


async def test_a_restarted_server_serves_what_was_stored_before_the_kill(tmp_path: Path):
    async with scripted_upstream(HALF) as upstream:
        configure(tmp_path, upstream, f"sqlite:{tmp_path}/streams.db")
        async with worker(tmp_path) as first:
            stream_id, start = await begun(first.port, chat_request(headers=RESUMABLE))
            first.signal(signal.SIGKILL)
        async with worker(tmp_path) as second:
            replay = await ask(second.port, follow(stream_id))

    assert replay.complete
    assert replay.body.startswith(start.body)
    assert b'"code":"stream_interrupted"' in replay.body


async def test_workers_without_a_shared_store_get_one(tmp_path: Path):
    """``--workers`` with the default store: the reader's connection may come to either process."""
    async with scripted_upstream(HALF) as upstream:
        (tmp_path / "streamward.toml").write_text(
            config_text(upstream.base_url, mock="timeouts = { idle = 60 }\nretries = 0", storage='url = "sqlite:state.db"')
        )
        manager = streamward("serve", ".", "--port", "0", "--workers", "2", "--log-format", "off", cwd=tmp_path)
        process = await asyncio.to_thread(manager.__enter__)
        try:
            await listening(process.port)
            stream_id, _ = await begun(process.port, chat_request(headers=RESUMABLE))
            upstream.gate.set()
            bodies = {(await ask(process.port, follow(stream_id))).body for _ in range(8)}
        finally:
            await asyncio.to_thread(manager.__exit__, None, None, None)

    assert len(bodies) == 1
    assert b"[DONE]" in bodies.pop()


async def listening(port: int) -> None:
    """The supervisor says the address before its workers accept."""
    async with asyncio.timeout(15):
        while True:
            try:
                if (await ask(port, request("GET", "/healthz"))).status == 200:
                    return
            except (ConnectionError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.02)
