"""The gateway on both databases: what one instance stored, another one, started later, continues."""

from __future__ import annotations

import openai

from support.gateway_server import config_text, gateway_server, until
from support.raw_http import KEY
from support.scripted_upstream import COMPLETION, HELLO, document, scripted_upstream, stream


async def test_conversations_outlive_the_process_that_began_them(url: str):
    async with scripted_upstream(document(COMPLETION), stream(*HELLO), document(COMPLETION)) as upstream:
        text = config_text(upstream.base_url, storage=f'url = "{url}"')
        async with gateway_server(text) as served, openai.AsyncOpenAI(api_key=KEY, base_url=served.url + "/v1") as client:
            first = await client.responses.create(model="mock/m", input="first")
            running = await client.responses.create(model="mock/m", input="b", background=True)
            await until(lambda: not served.gateway.durable.calls)
        async with gateway_server(text) as served, openai.AsyncOpenAI(api_key=KEY, base_url=served.url + "/v1") as client:
            found = await client.responses.retrieve(first.id)
            done = await client.responses.retrieve(running.id)
            await client.responses.create(model="mock/m", input="second", previous_response_id=first.id)
            items = await client.responses.input_items.list(first.id)
            await client.responses.delete(first.id)

    assert found.to_dict() == first.to_dict()
    assert (done.status, done.output_text) == ("completed", "Hello")
    assert [item.content[0].text for item in items.data] == ["first"]
    assert [message["content"] for message in upstream.seen[2].json()["messages"]] == ["first", "Hello", "second"]
