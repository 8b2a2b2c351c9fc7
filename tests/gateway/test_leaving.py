"""Clients that leave: the provider learns of it at once, whatever the stage, and nothing stays behind."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator

import pytest

from support.gateway_server import Served, config_text, gateway_server, until
from support.raw_http import ask, chat_request, connected
from support.scripted_upstream import (
    HELLO,
    LAST,
    ROLE,
    SSE,
    ScriptedUpstream,
    Seen,
    delta,
    head,
    http_chunk,
    scripted_upstream,
)

TOLD_WITHIN_S = 0.1
PART = head(200, "content-length: 500", content_type="application/json") + b'{"id"'


async def play(seen: Seen) -> None:
    """Stop where the model's name says, then wait for the caller to leave."""
    model = seen.json()["model"]
    if model == "whole":
        await seen.write(SSE + b"".join(map(http_chunk, HELLO)) + LAST)
        return
    if not seen.json().get("stream"):
        await seen.write(b"" if model == "head" else PART)
        await seen.gone.wait()
        return
    if model in ("body", "role", "mid"):
        await seen.write(SSE)
    if model in ("role", "mid"):
        await seen.write(http_chunk(ROLE))
    while model == "mid" and not seen.gone.is_set():
        await seen.write(http_chunk(delta("x")))
        await asyncio.sleep(0.002)
    await seen.gone.wait()


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Served, ScriptedUpstream]]:
    patient = "timeouts = { connect = 5, first_byte = 60, idle = 60, total = 60 }\nretries = 0"
    async with (
        scripted_upstream(play) as upstream,
        gateway_server(config_text(upstream.base_url, mock=patient)) as served,
    ):
        yield served, upstream


STAGES = ("head", "body", "role", "mid")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("stage", STAGES)
async def test_the_provider_is_told_at_once(pair: tuple[Served, ScriptedUpstream], stage: str, stream: bool):
    """Before the provider's head, before its first token, between tokens, and for answers that are not streamed."""
    served, upstream = pair
    async with connected(served.port) as connection:
        await connection.send(chat_request(f"mock/{stage}", stream=stream))
        seen = await upstream.request()
        if stage == "mid" and stream:
            await connection.head()
        left_at = time.monotonic()
    gone_at = await seen.wait_gone()
    record = await served.record()

    assert gone_at - left_at < TOLD_WITHIN_S
    assert (record["ending"], record["status"]) == ("cancelled", 200 if stage == "mid" and stream else 499)
    assert served.gateway.active == set()
    assert served.gateway.pool.open == set()


async def test_tokens_of_a_cancelled_stream_are_estimated(pair: tuple[Served, ScriptedUpstream]):
    served, _ = pair
    async with connected(served.port) as connection:
        await connection.send(chat_request("mock/mid"))
        await connection.head()
        for _ in range(10):
            await connection.chunk()
    record = await served.record()

    assert record["grade"] == "estimated"
    assert record["output_tokens"] >= 9


async def leave_at_random(
    port: int, upstream: ScriptedUpstream, left: dict[str, float], number: int, rng: random.Random
) -> None:
    """One client that goes away at a stage of its own, with FIN or RST."""
    stage = rng.choice(STAGES)
    name = f"{number}-{stage}"
    async with connected(port) as connection:
        await connection.send(chat_request(f"mock/{stage}", user=name, stream=rng.random() < 0.8))
        await until(lambda: any(name.encode() in seen.body for seen in upstream.seen[-60:]))
        await asyncio.sleep(rng.random() * 0.01)
        left[name] = time.monotonic()


@pytest.mark.slow
async def test_five_hundred_random_departures_leave_nothing_behind(pair: tuple[Served, ScriptedUpstream]):
    served, upstream = pair
    rng = random.Random(7)
    await ask(served.port, chat_request("mock/whole"))
    await until(lambda: not served.server.server_state.connections)
    files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    left: dict[str, float] = {}
    slots = asyncio.Semaphore(20)

    async def one(number: int) -> None:
        async with slots:
            await leave_at_random(served.port, upstream, left, number, rng)

    await asyncio.gather(*(one(number) for number in range(500)))
    told = sorted([await seen.wait_gone() - left[seen.json()["user"]] for seen in upstream.seen[1:]])
    await until(lambda: len(served.records()) == 501)

    assert len(told) == 500
    assert told[490] < TOLD_WITHIN_S, f"median {told[250] * 1000:.1f} ms"
    assert told[-1] < 1.0, "a departure that only a deadline noticed; pauses of a busy test machine are shorter"
    assert {record["ending"] for record in served.records()[1:]} == {"cancelled"}
    assert served.gateway.active == set()
    assert len(served.gateway.ticker.members) <= 3, "deadlines nobody waits for"
    await until(lambda: not served.server.server_state.connections)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    await until(lambda: len(os.listdir("/proc/self/fd")) <= files)
    assert (await ask(served.port, chat_request("mock/whole"))).text == "Hello"


@pytest.mark.parametrize("how", ["drain", "detach"])
async def test_draining_reads_on_for_the_usage(how: str):
    """``on_disconnect = "drain"``: the provider finishes, the record has its exact figures, the client is gone."""

    async def slow(seen: Seen) -> None:
        await seen.write(SSE + http_chunk(ROLE) + http_chunk(delta("Hel")))
        await seen.gate.wait()
        await seen.write(b"".join(map(http_chunk, HELLO[2:])) + LAST)

    config = f'on_disconnect = "{how}"'
    async with scripted_upstream(slow) as upstream, gateway_server(config_text(upstream.base_url, streams=config)) as served:
        async with connected(served.port) as connection:
            await connection.send(chat_request())
            await connection.head()
        await until(lambda: any(exchange.detached for exchange in served.gateway.active))
        upstream.gate.set()
        record = await served.record()

        assert (record["ending"], record["grade"], record["output_tokens"]) == ("finished", "exact", 2)
        assert served.gateway.active == set()


@pytest.mark.parametrize("bound", ["drain_s = 0.2", "drain_s = 30\ndrain_tokens = 20"])
async def test_draining_is_bounded_in_time_and_tokens(bound: str):
    async def endless(seen: Seen) -> None:
        await seen.write(SSE + http_chunk(ROLE))
        while not seen.gone.is_set():
            await seen.write(http_chunk(delta("x")))
            await asyncio.sleep(0.005)

    streams = f'on_disconnect = "drain"\n{bound}'
    async with (
        scripted_upstream(endless) as upstream,
        gateway_server(config_text(upstream.base_url, streams=streams)) as served,
    ):
        async with connected(served.port) as connection:
            await connection.send(chat_request())
            await connection.head()
        record = await served.record()

        assert (record["ending"], record["grade"]) == ("cancelled", "estimated")
        await upstream.seen[0].wait_gone()


async def test_a_half_closed_client_is_a_client_that_left(pair: tuple[Served, ScriptedUpstream]):
    """FIN after the request: HTTP clients that still listen do not do that; proxies that lost theirs do."""
    served, upstream = pair
    async with connected(served.port) as connection:
        await connection.send(chat_request("mock/head"))
        seen = await upstream.request()
        connection.writer.write_eof()

        await seen.wait_gone()
