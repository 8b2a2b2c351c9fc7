"""The clients against the real gateway, served in this process."""

import pytest

from streamward.client import Client
from streamward.errors import AuthenticationFailed, ModelNotFound, StreamInterrupted
from streamward.events import Finish
from streamward.grammar import violations
from support.gateway_server import config_text, gateway_server
from support.raw_http import KEY

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


async def test_refusals_are_typed():
    async with gateway_server(config_text()) as served:
        async with Client(f"{served.url}/v1", api_key=KEY) as client:
            with pytest.raises(ModelNotFound):
                await client.create(model="nobody/nothing", messages="hi")
        async with Client(f"{served.url}/v1") as client, client.stream(model=DEMO, messages="hi") as stream:
            with pytest.raises(AuthenticationFailed):
                await stream.collect()
