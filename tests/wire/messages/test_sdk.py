"""The official anthropic SDK reads what the encoder writes."""

from __future__ import annotations

import json

import anthropic
import httpx2
import pytest

from streamward.errors import ErrorInfo
from streamward.events import (
    Error,
    Event,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Source,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
    UsageUpdate,
)
from streamward.reply import collect
from streamward.wire import messages
from support.codec import CONTEXT, encode

EVENTS: list[Event] = [
    Start("up", "up"), UsageUpdate(Usage(input_tokens=20)),
    ReasoningStart("0"), ReasoningDelta("0", "I need "), ReasoningDelta("0", "the weather."), ReasoningEnd("0", "c2ln"),
    ReasoningStart("1"), ReasoningEnd("1", redacted="b3A="),
    TextStart("2"), TextDelta("2", "Looking "), TextDelta("2", "it up \u2028é🙂"),
    Source("s", url="https://example.org", title="E", part_id="2"), TextEnd("2"),
    ToolInputStart("toolu_a", "weather"), ToolInputStart("toolu_b", "weather"),
    ToolInputDelta("toolu_a", '{"city":"Pa'), ToolInputDelta("toolu_b", '{"city":"Rome"}'),
    ToolInputDelta("toolu_a", 'ris"}'),
    ToolInputEnd("toolu_a"), ToolInputEnd("toolu_b"),
    Finish("tool-calls", Usage(input_tokens=20, output_tokens=33, cached_input_tokens=5, reasoning_tokens=8)),
]  # fmt: skip

ASK = {"model": "model-1", "max_tokens": 99, "messages": [{"role": "user", "content": "Weather?"}]}


def client(body: bytes, content_type: str, status: int = 200) -> anthropic.Anthropic:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=body, headers={"content-type": content_type})

    transport = httpx2.Client(transport=httpx2.MockTransport(answer))
    return anthropic.Anthropic(api_key="k", base_url="http://gateway", http_client=transport, max_retries=0)


def check(message: anthropic.types.Message) -> None:
    thinking, redacted, text, first, second = message.content
    assert thinking.type == "thinking"
    assert (thinking.thinking, thinking.signature) == ("I need the weather.", "c2ln")
    assert redacted.type == "redacted_thinking"
    assert redacted.data == "b3A="
    assert text.type == "text"
    assert text.text == "Looking it up \u2028é🙂"
    assert [citation.url for citation in text.citations or []] == ["https://example.org"]  # type: ignore[union-attr]
    assert first.type == second.type == "tool_use"
    assert (first.id, first.name, first.input) == ("toolu_a", "weather", {"city": "Paris"})
    assert second.input == {"city": "Rome"}
    assert message.stop_reason == "tool_use"
    assert (message.id, message.model, message.role) == ("msg_1", "model-1", "assistant")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (15, 33)
    assert message.usage.cache_read_input_tokens == 5


def test_stream_helper():
    """Thinking, redacted thinking, citations and interleaved tool calls come out of ``messages.stream``."""
    sdk = client(encode(messages, EVENTS), "text/event-stream")

    with sdk.messages.stream(**ASK) as stream:  # type: ignore[arg-type]
        kinds = {event.type for event in stream}
        final = stream.get_final_message()

    assert {"thinking", "text", "input_json", "signature", "citation", "message_stop"} <= kinds
    check(final)


def test_raw_stream():
    sdk = client(encode(messages, EVENTS), "text/event-stream")

    events = list(sdk.messages.create(**ASK, stream=True))  # type: ignore[call-overload]

    assert events[0].message.usage.input_tokens == 20
    assert events[-1].type == "message_stop"


def test_not_streamed():
    body = json.dumps(messages.render_reply(collect(EVENTS), CONTEXT)).encode()

    check(client(body, "application/json").messages.create(**ASK))  # type: ignore[call-overload]


def test_error_in_mid_stream_raises():
    """The SDK sees the failure, not a short answer."""
    broken = Error(ErrorInfo("upstream_reset", "broke", 502))
    events: list[Event] = [Start(), TextStart("0"), TextDelta("0", "a"), TextEnd("0"), broken]
    sdk = client(encode(messages, events), "text/event-stream")

    with sdk.messages.stream(**ASK) as stream:  # type: ignore[arg-type]
        with pytest.raises(anthropic.APIStatusError, match="broke"):
            stream.get_final_message()


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, anthropic.RateLimitError), (401, anthropic.AuthenticationError), (400, anthropic.BadRequestError)],
)
def test_http_errors_are_typed(status: int, kind: type[Exception]):
    body = json.dumps(messages.render_error(ErrorInfo("c", "what to do", status))).encode()

    with pytest.raises(kind, match="what to do"):
        client(body, "application/json", status).messages.create(**ASK)  # type: ignore[call-overload]
