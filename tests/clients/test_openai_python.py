"""The official ``openai`` package for Python: every way it has of asking, against every kind of target."""

from collections.abc import Iterator
from typing import Literal

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from clients.conftest import MODELS
from support.gateway_server import Process

ASK = [{"role": "user", "content": "What is server-sent events?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Zürich", "Bern"]}}, "required": ["city"],
                       "additionalProperties": False},
        "strict": True,
    },
}  # fmt: skip
FAST = "?tps=0&ttft_ms=0"


@pytest.fixture
def client(gateway: Process) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0, timeout=20) as client:
        yield client


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_with_usage(client: OpenAI, model: str):
    stream = client.chat.completions.create(
        model=model, messages=ASK, stream=True, stream_options={"include_usage": True}, max_completion_tokens=40
    )
    chunks = list(stream)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert text
    assert reasons in (["stop"], ["length"])
    assert chunks[-1].choices == []
    usage = chunks[-1].usage
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_in_one_piece(client: OpenAI, model: str):
    answer = client.chat.completions.create(model=model, messages=ASK, max_completion_tokens=40)

    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.completion_tokens > 0


@pytest.mark.parametrize("model", MODELS)
async def test_the_async_client(gateway: Process, model: str):
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0, timeout=20) as client:
        stream = await client.chat.completions.create(model=model, messages=ASK, stream=True, max_completion_tokens=40)
        chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert all(chunk.choices and chunk.usage is None for chunk in chunks), "usage nobody asked for"


@pytest.mark.parametrize("model", MODELS)
def test_the_stream_helper(client: OpenAI, model: str):
    """``.stream()`` concatenates every string of a delta: a repeated role or id would show."""
    with client.chat.completions.stream(model=model, messages=ASK) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "content.delta")
        final = stream.get_final_completion() if deltas else None

    assert final is not None
    assert ("assistant", deltas) == (final.choices[0].message.role, final.choices[0].message.content)


@pytest.mark.parametrize("model", [f"demo/tools{FAST}", "mock/tools"])
def test_tool_calls_through_the_helper(client: OpenAI, model: str):
    with client.chat.completions.stream(model=model, messages=ASK, tools=[WEATHER], tool_choice="required") as stream:
        events = [event.type for event in stream]
        message = stream.get_final_completion().choices[0].message

    call = message.tool_calls[0]
    assert "tool_calls.function.arguments.delta" in events
    assert (call.function.name, list(call.function.parsed_arguments)) == ("get_weather", ["city"])
    assert call.id.count("call_") <= 1, "an id that came twice"


@pytest.mark.parametrize("model", [f"demo/tools{FAST}", "mock/tools"])
def test_a_tool_round_trip(client: OpenAI, model: str):
    first = client.chat.completions.create(model=model, messages=ASK, tools=[WEATHER])
    call = first.choices[0].message.tool_calls[0]
    messages = [*ASK, first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"}]

    second = client.chat.completions.create(model=model.replace("mock/tools", "mock/hello"), messages=messages)

    assert first.choices[0].finish_reason == "tool_calls"
    assert second.choices[0].finish_reason == "stop"
    assert second.choices[0].message.content in ("The tool answered: 18 degrees", "Hello")


class City(BaseModel):
    city: Literal["Zürich", "Bern"]


@pytest.mark.parametrize("model", [f"demo/json{FAST}", "local/tiny"])
def test_structured_output(client: OpenAI, model: str):
    completion = client.chat.completions.parse(
        model=model, messages=ASK, response_format=City, max_completion_tokens=100, temperature=0
    )

    assert isinstance(completion.choices[0].message.parsed, City)


def test_reasoning_comes_apart_from_the_text(client: OpenAI):
    stream = client.chat.completions.create(model=f"demo/reasoning{FAST}", messages=ASK, stream=True)
    deltas = [chunk.choices[0].delta for chunk in stream if chunk.choices]

    reasoning = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert reasoning
    assert "".join(delta.content or "" for delta in deltas)


ERRORS = [
    ("nobody/x", openai.NotFoundError, "model_not_found"),
    ("mock/http-429", openai.RateLimitError, "rate_limit_exceeded"),
    ("mock/http-401", openai.InternalServerError, "upstream_auth"),
    ("mock/http-500", openai.InternalServerError, "upstream_error"),
    ("mock/http-400", openai.BadRequestError, "upstream_rejected"),
    ("demo/chat?fail_after=0&ttft_ms=0", openai.InternalServerError, "upstream_error"),
    ("demo/chat?nonsense=1", openai.BadRequestError, "invalid_request"),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("model", "kind", "code"), ERRORS, ids=[row[0] for row in ERRORS])
def test_errors_before_the_first_token_are_typed(client: OpenAI, model: str, kind: type, code: str, stream: bool):
    with pytest.raises(kind) as caught:
        client.chat.completions.create(model=model, messages=ASK, stream=stream)

    assert code == caught.value.code


def test_a_wrong_field_is_a_bad_request_that_names_it(client: OpenAI):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="demo/chat", messages=ASK, temperature=9)

    assert caught.value.param == "temperature"


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("demo/chat?fail_after=3&tps=200&ttft_ms=0", "upstream_error"),
        ("demo/chat?fail_after=3&fail_with=reset&tps=200&ttft_ms=0", "upstream_reset"),
        ("demo/chat?fail_after=3&fail_with=truncate&tps=200&ttft_ms=0", "stream_truncated"),
    ],
)
def test_an_error_in_mid_stream_is_raised_after_the_tokens(client: OpenAI, model: str, code: str):
    stream = client.chat.completions.create(model=model, messages=ASK, stream=True)
    pieces: list[str] = []

    with pytest.raises(openai.APIError) as caught:
        pieces.extend(chunk.choices[0].delta.content or "" for chunk in stream)

    assert "".join(pieces)
    assert code == caught.value.code


def test_models_are_listed_and_found(client: OpenAI):
    names = [model.id for model in client.models.list()]

    assert {"demo/chat", "local/tiny"} <= set(names)
    assert client.models.retrieve("demo/chat").id == "demo/chat"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody/none")


def test_leaving_a_stream_early_is_clean(client: OpenAI):
    stream = client.chat.completions.create(model="demo/lorem?tps=100&ttft_ms=0&tokens=5000", messages=ASK, stream=True)

    next(iter(stream))
    stream.close()

    assert client.chat.completions.create(model=f"demo/chat{FAST}", messages=ASK).choices[0].message.content
