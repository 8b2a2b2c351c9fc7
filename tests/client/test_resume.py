"""Reconnection against the real gateway, through a hop that resets connections in mid-stream."""

import asyncio
import random

import pytest

from streamward.client import Chat, Client, Retries
from streamward.client.sync import SyncClient
from streamward.events import TextDelta
from streamward.grammar import violations
from support.cutting_proxy import cutting_proxy
from support.gateway_server import Served, config_text, gateway_server, until
from support.raw_http import KEY

QUICK = Retries(attempts=3, reconnects=8, pause_s=0.005, max_pause_s=0.02)
MODEL = "demo/lorem?tokens=60&tps=400&ttft_ms=0&seed=3"


async def whole_text(served: Served) -> str:
    async with Client(f"{served.url}/v1", api_key=KEY, resumable=False) as client:
        return (await client.create(model=MODEL, messages="hi")).text


@pytest.mark.parametrize("dialect", ["chat", "responses"])
@pytest.mark.parametrize("seed", range(4))
async def test_no_token_is_lost_or_repeated_over_any_number_of_cuts(dialect: str, seed: int):
    rng = random.Random(seed)
    cuts = [rng.randint(600, 4000) for _ in range(6)]
    async with (
        gateway_server(config_text()) as served,
        cutting_proxy(served.port, cuts) as proxy,
        Client(f"http://127.0.0.1:{proxy.port}/v1", api_key=KEY, retries=QUICK) as client,
    ):
        expected = await whole_text(served)
        async with client.stream(model=MODEL, messages="hi", dialect=dialect) as stream:
            events = [event async for event in stream]
        calls = ("/v1/chat/completions", "/v1/responses")
        await until(lambda: served.records())
        generations = [record for record in served.records() if record["route"] in calls and record.get("stream")]

    assert "".join(event.delta for event in events if isinstance(event, TextDelta)) == expected
    assert violations(events) == []
    assert stream.reply.finish_reason == "stop"
    assert stream.reply.usage is not None
    assert stream.reconnections >= 2
    assert [record["model"] for record in generations] == [MODEL]  # asked for once, resumed afterwards


async def test_the_synchronous_client_reconnects_as_well():
    def work(port: int) -> tuple[str, int]:
        with (
            SyncClient(f"http://127.0.0.1:{port}/v1", api_key=KEY, retries=QUICK) as client,
            client.stream(model=MODEL, messages="hi") as stream,
        ):
            return "".join(stream.text), stream.stream.reconnections

    async with gateway_server(config_text()) as served, cutting_proxy(served.port, [3000, 2000]) as proxy:
        text, reconnections = await asyncio.to_thread(work, proxy.port)

        assert text == await whole_text(served)
    assert reconnections == 2


async def test_a_chat_goes_on_over_a_cut():
    heard: list[str] = []
    async with (
        gateway_server(config_text()) as served,
        cutting_proxy(served.port, [3000]) as proxy,
        Client(f"http://127.0.0.1:{proxy.port}/v1", api_key=KEY, retries=QUICK) as client,
    ):
        message = await Chat.over(client, MODEL, on_text=heard.append).append("hi")

        assert message is not None
        assert message["parts"][-1]["text"] == "".join(heard) == await whole_text(served)


async def test_another_client_follows_a_detached_stream_to_its_end():
    async with gateway_server(config_text()) as served:
        async with Client(f"{served.url}/v1", api_key=KEY) as client, client.stream(model=MODEL, messages="hi") as stream:
            await anext(stream.text)
            stream_id, offset = stream.detach(), stream.offset
        async with Client(f"{served.url}/v1", api_key=KEY) as later, later.follow(stream_id) as again:
            reply = await again.collect()

        assert reply.text == await whole_text(served)
        assert 0 < offset < again.offset


async def test_leaving_early_stops_the_generation_on_the_gateway():
    slow = "demo/lorem?tokens=2000&tps=50&ttft_ms=0"
    async with gateway_server(config_text()) as served:
        async with Client(f"{served.url}/v1", api_key=KEY) as client, client.stream(model=slow, messages="hi") as stream:
            await anext(stream.text)
            assert stream.id

        await until(lambda: not served.gateway.active, 3)
