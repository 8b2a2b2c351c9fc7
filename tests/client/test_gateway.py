"""The clients against the real gateway, served in this process."""

import asyncio

import pytest

from streamward.client import Client, Retries, Timeouts
from streamward.errors import AuthenticationFailed, ModelNotFound, StreamInterrupted, UpstreamTimeout
from streamward.events import Finish
from streamward.grammar import violations
from support.cutting_proxy import cutting_proxy
from support.gateway_server import config_text, gateway_server, until
from support.raw_http import KEY

QUICK = Retries(attempts=3, pause_s=0.005, max_pause_s=0.02)
DEMO = "demo/lorem?tokens=20&tps=0&ttft_ms=0"


@pytest.mark.parametrize("dialect", ["chat", "responses"])
async def test_streamed_and_whole_answers_are_the_same(dialect: str):
    async with gateway_server(config_text()) as served, Client(f"{served.url}/v1", api_key=KEY) as client:
        async with client.stream(model=DEMO, messages="hi", dialect=dialect) as stream:
            events = [event async for event in stream]
        whole = await client.create(model=DEMO, messages="hi", dialect=dialect)

    assert violations(events) == []
    assert isinstance(events[-1], Finish)
    assert stream.reply.text == whole.text != ""
    assert stream.reply.usage.output_tokens == whole.usage.output_tokens == 20  # type: ignore[union-attr]


@pytest.mark.parametrize("dialect", ["chat", "responses"])
async def test_a_model_that_breaks_off_is_an_interruption_with_the_gateways_code(dialect: str):
    model = "demo/fail?fail_with=truncate&fail_after=5&tps=0&ttft_ms=0"
    async with (
        gateway_server(config_text()) as served,
        Client(f"{served.url}/v1", api_key=KEY) as client,
        client.stream(model=model, messages="hi", dialect=dialect) as stream,
    ):
        with pytest.raises(StreamInterrupted) as raised:
            await stream.collect()

    assert raised.value.info.code == "stream_truncated"
    assert raised.value.partial.text  # type: ignore[attr-defined]
    assert raised.value.partial.finish_reason is None  # type: ignore[attr-defined]


async def test_a_create_whose_answer_was_lost_is_answered_by_the_first_call():
    """The connection breaks while the answer is sent: the second try reads what the first one began."""
    model = "demo/lorem?tokens=400&tps=0&ttft_ms=30"
    async with (
        gateway_server(config_text()) as served,
        cutting_proxy(served.port, [200]) as proxy,
        Client(f"http://127.0.0.1:{proxy.port}/v1", api_key=KEY, retries=QUICK) as client,
    ):
        reply = await client.create(model=model, messages="hi")
        await until(lambda: len(served.records()) == 2)
        first, second = served.records()

    assert reply.finish_reason == "stop"
    assert reply.usage.output_tokens == 400  # type: ignore[union-attr]
    assert (first["output_tokens"], second.get("output_tokens")) == (400, None)


@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_a_create_that_is_given_up_stops_the_model(how: str):
    total = 1 if how == "timeout" else 60
    async with (
        gateway_server(config_text()) as served,
        Client(f"{served.url}/v1", api_key=KEY, timeouts=Timeouts(total=total)) as client,
    ):
        asking = asyncio.ensure_future(client.create(model="demo/lorem?tokens=100&ttft_ms=5000", messages="hi"))
        await until(lambda: served.gateway.active)
        if how == "cancel":
            asking.cancel()
        with pytest.raises((asyncio.CancelledError, UpstreamTimeout)):
            await asking
        async with asyncio.timeout(10):
            record = await served.record()

    assert (record["ending"], record.get("output_tokens")) == ("cancelled", None)


async def test_refusals_are_typed():
    async with gateway_server(config_text()) as served:
        async with Client(f"{served.url}/v1", api_key=KEY) as client:
            with pytest.raises(ModelNotFound):
                await client.create(model="nobody/nothing", messages="hi")
        async with Client(f"{served.url}/v1") as client, client.stream(model=DEMO, messages="hi") as stream:
            with pytest.raises(AuthenticationFailed):
                await stream.collect()
