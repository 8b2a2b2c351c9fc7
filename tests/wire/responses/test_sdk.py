"""The official ``openai`` SDK reads what the encoder writes, and its requests are understood."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import APIError, OpenAI

from streamward.call import Call, ToolOutput
from streamward.reply import collect
from streamward.wire import responses
from support.codec import encode
from support.responses import STREAMS, context


class Server:
    """Answers every call with one stream, or its whole reply, and keeps the request bodies."""

    def __init__(self, name: str, **options: Any) -> None:
        self.name = name
        self.options = options
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        ctx = context(responses.parse_request(body), **self.options)
        if not body.get("stream"):
            return httpx.Response(200, json=responses.render_reply(collect(STREAMS[self.name]), ctx))
        raw = encode(responses, STREAMS[self.name], ctx)
        return httpx.Response(200, content=raw, headers={"content-type": "text/event-stream; charset=utf-8"})


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[OpenAI]:
    """A client of a server that answers with the stream named by the test's parameter."""
    server = request.param if isinstance(request.param, Server) else Server(request.param)
    with (
        httpx.Client(transport=httpx.MockTransport(server)) as http,
        OpenAI(api_key="k", base_url="http://gateway.test/v1", http_client=http, max_retries=0) as sdk,
    ):
        yield sdk


@pytest.mark.parametrize("client", ["text", Server("text", responses_done="plain"), Server("text", responses_done="off")],
                         indirect=True)  # fmt: skip
def test_text(client: OpenAI):
    """The strict helper that checks every event against those before it, with each form of the end marker."""
    with client.responses.stream(model="acme/large", input="Hi") as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()

    assert deltas == ["Hel", "lo"]
    assert (final.output_text, final.status) == ("Hello", "completed")
    assert final.usage is not None
    assert (final.usage.input_tokens, final.usage.output_tokens_details.reasoning_tokens) == (12, 2)


@pytest.mark.parametrize("client", ["thinking_tools"], indirect=True)
def test_thinking_and_tools(client: OpenAI):
    with client.responses.stream(model="acme/large", input="Weather?") as stream:
        final = (list(stream), stream.get_final_response())[1]

    assert [item.type for item in final.output] == ["reasoning", "message", "function_call", "function_call"]
    assert [item.arguments for item in final.output if item.type == "function_call"] == ['{"city":"Paris"}', "{}"]
    assert [part.text for item in final.output if item.type == "reasoning" for part in item.summary] == ["Let me see."]


@pytest.mark.parametrize("client", ["parallel", "signed_call", "redacted", "sources", "logprobs", "image"], indirect=True)
def test_every_finished_stream_is_accepted(client: OpenAI):
    with client.responses.stream(model="acme/large", input="Hi") as stream:
        final = (list(stream), stream.get_final_response())[1]

    assert final.status == "completed"


@pytest.mark.parametrize("client", ["text"], indirect=True)
def test_without_stream(client: OpenAI):
    assert client.responses.create(model="acme/large", input="Hi").output_text == "Hello"


@pytest.mark.parametrize("client", ["length", "refusal", "cancelled"], indirect=True)
def test_incomplete(client: OpenAI):
    with client.responses.create(model="acme/large", input="Hi", stream=True) as stream:
        last = list(stream)[-1]

    assert last.type == "response.incomplete"


@pytest.mark.parametrize("client", ["failed"], indirect=True)
def test_a_failure_raises_in_users_code(client: OpenAI):
    """A loop over the stream cannot mistake a broken answer for a whole one."""
    with client.responses.create(model="acme/large", input="Hi", stream=True) as stream:
        kinds = [event.type for event in (next(stream) for _ in range(5))]
        with pytest.raises(APIError) as caught:
            list(stream)

    assert kinds[-1] == "response.output_text.delta"
    assert caught.value.code == "upstream_reset"


def test_output_of_one_turn_is_input_of_the_next():
    """As the SDK's users write it: append ``response.output`` and the tools' outputs, send all of it again."""
    server = Server("thinking_tools")
    with (
        httpx.Client(transport=httpx.MockTransport(server)) as http,
        OpenAI(api_key="k", base_url="http://gateway.test/v1", http_client=http, max_retries=0) as sdk,
    ):
        turn: list[Any] = [{"role": "user", "content": "Weather?"}]
        first = sdk.responses.create(model="acme/large", input=turn)
        turn += first.output
        turn += [
            {"type": "function_call_output", "call_id": item.call_id, "output": "sunny"}
            for item in first.output if item.type == "function_call"
        ]  # fmt: skip
        sdk.responses.create(model="acme/large", input=turn)

    call: Call = responses.parse_request(server.bodies[1])
    assert [message.role for message in call.messages] == ["user", "assistant", "tool"]
    assert call.messages[1].parts[0].signature == "c2ln"  # type: ignore[union-attr]
    assert [part.id for part in call.messages[2].parts if isinstance(part, ToolOutput)] == ["call_1", "call_2"]
