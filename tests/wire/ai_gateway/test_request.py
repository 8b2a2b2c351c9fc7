"""Call options of the AI SDK's gateway protocol to the canonical call."""

from __future__ import annotations

from typing import Any

import pytest

from streamward.call import (
    Audio,
    Document,
    Image,
    Message,
    Output,
    Reasoning,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolOutput,
    ToolUse,
)
from streamward.errors import InvalidRequest, Unsupported
from streamward.wire.ai_gateway import parse_request

USER = {"role": "user", "content": [{"type": "text", "text": "hi"}]}


def body(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "stream": True, "prompt": list(messages) or [USER], **more}


def only(part: dict[str, Any], role: str = "user") -> Any:
    [message] = parse_request(body({"role": role, "content": [part]})).messages
    return message.parts[0] if message.parts else None


def test_settings():
    call = parse_request(
        body(maxOutputTokens=5, temperature=0.5, topP=1, topK=3, presencePenalty=0.1, frequencyPenalty=0.2,
             stopSequences=["a"], seed=7, toolChoice={"type": "tool", "toolName": "f"},
             tools=[{"type": "function", "name": "f", "description": "d", "inputSchema": {"type": "object"}}],
             responseFormat={"type": "json", "schema": {"type": "object"}, "name": "n"})
    )  # fmt: skip

    assert (call.model, call.stream, call.messages) == ("m", True, (Message("user", (Text("hi"),)),))
    assert (call.max_output_tokens, call.temperature, call.top_p, call.top_k, call.seed) == (5, 0.5, 1, 3, 7)
    assert (call.presence_penalty, call.frequency_penalty, call.stop) == (0.1, 0.2, ("a",))
    assert call.tools == (Tool("f", "d", {"type": "object"}),)
    assert call.tool_choice == ToolChoice("tool", "f")
    assert call.output == Output("json-schema", "n", {"type": "object"})


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "file", "mediaType": "image/png", "data": "AAAA"}, Image(data="AAAA", media_type="image/png")),
        ({"type": "file", "mediaType": "image/*", "data": "https://a.test/x"}, Image(url="https://a.test/x")),
        ({"type": "file", "mediaType": "image/png", "data": "data:image/png;base64,AAAA"},
         Image(data="AAAA", media_type="image/png")),
        ({"type": "file", "mediaType": "image/png", "data": {"type": "data", "data": "AAAA"}},
         Image(data="AAAA", media_type="image/png")),
        ({"type": "file", "mediaType": "image/png", "data": {"type": "url", "url": "https://a.test/x"}},
         Image(url="https://a.test/x", media_type="image/png")),
        ({"type": "file", "mediaType": "text/plain", "data": {"type": "text", "text": "inline"}}, Text("inline")),
        ({"type": "file", "mediaType": "audio/mpeg", "data": "AAAA"}, Audio("AAAA", "mp3")),
        ({"type": "file", "mediaType": "application/pdf", "data": "AAAA", "filename": "a.pdf"},
         Document(data="AAAA", media_type="application/pdf", filename="a.pdf")),
    ],
)  # fmt: skip
def test_files_of_every_version(part: dict[str, Any], expected: Any):
    assert only(part) == expected


def test_what_the_model_said_before():
    """Reasoning and calls come back with the signatures our answers gave them."""
    own = {"streamward": {"signature": "c2ln"}}

    assert only({"type": "reasoning", "text": "hm", "providerOptions": own}, "assistant") == Reasoning("hm", "c2ln")
    call = {"type": "tool-call", "toolCallId": "c", "toolName": "f", "input": {"a": 1}, "providerOptions": own}
    assert only(call, "assistant") == ToolUse("c", "f", '{"a":1}', "c2ln")
    assert only({**call, "input": '{"a": 1}'}, "assistant") == ToolUse("c", "f", '{"a": 1}', "c2ln")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({"type": "text", "value": "x"}, ToolOutput("c", "x", "f")),
        ({"type": "json", "value": {"a": 1}}, ToolOutput("c", '{"a":1}', "f")),
        ({"type": "error-text", "value": "x"}, ToolOutput("c", "x", "f", is_error=True)),
        ({"type": "error-json", "value": [1]}, ToolOutput("c", "[1]", "f", is_error=True)),
        ({"type": "execution-denied", "reason": "no"}, ToolOutput("c", "no", "f", is_error=True)),
        ({"type": "content", "value": [
            {"type": "text", "text": "x"}, {"type": "media", "mediaType": "image/png", "data": "AA"},
        ]},
         ToolOutput("c", (Text("x"), Image(data="AA", media_type="image/png")), "f")),
    ],
)  # fmt: skip
def test_results_of_tools(output: dict[str, Any], expected: ToolOutput):
    assert only({"type": "tool-result", "toolCallId": "c", "toolName": "f", "output": output}, "tool") == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"reasoning": "low"}, Thinking(effort="low")),
        ({"reasoning": "provider-default"}, None),
        ({"providerOptions": {"openai": {"reasoningEffort": "high"}}}, Thinking(effort="high")),
        ({"providerOptions": {"anthropic": {"thinking": {"type": "enabled", "budgetTokens": 900}}}},
         Thinking(max_tokens=900, enabled=True)),
        ({"providerOptions": {"openai": "x", "anthropic": []}}, None),
    ],
)  # fmt: skip
def test_how_much_to_reason(more: dict[str, Any], expected: Thinking | None):
    assert parse_request(body(**more)).thinking == expected


def test_approvals_are_between_the_application_and_its_user():
    assert only({"type": "tool-approval-response", "approvalId": "a", "approved": True}, "tool") is None


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"prompt": []}, "prompt"), ({"prompt": "hi"}, "prompt"), ({"prompt": [5]}, "prompt[0]"),
        ({"prompt": [{"role": "user", "content": "hi"}]}, "prompt[0].content"),
        ({"prompt": [{"role": "boss", "content": []}]}, "prompt[0].role"),
        ({"prompt": [{"role": "user", "content": [{"type": "text"}]}]}, "prompt[0].content[0].text"),
        ({"prompt": [{"role": "user", "content": [{"type": "file", "mediaType": "image/png", "data": 5}]}]},
         "prompt[0].content[0].data"),
        ({"temperature": "hot"}, "temperature"), ({"temperature": True}, "temperature"), ({"seed": 1.5}, "seed"),
        ({"stopSequences": "a"}, "stopSequences"), ({"tools": {}}, "tools"), ({"tools": [5]}, "tools[0]"),
        ({"toolChoice": {"type": "maybe"}}, "toolChoice.type"), ({"responseFormat": {"type": "xml"}}, "responseFormat"),
    ],
)  # fmt: skip
def test_wrong_requests_name_the_field(wrong: dict[str, Any], param: str):
    with pytest.raises(InvalidRequest) as caught:
        parse_request(body(**wrong))

    assert (caught.value.info.status, caught.value.info.param) == (400, param)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tools": [{"type": "provider", "id": "openai.web_search", "name": "web_search", "args": {}}]},
        {"prompt": [{"role": "user", "content": [{"type": "hologram"}]}]},
        {"prompt": [{"role": "user", "content": [{"type": "file", "mediaType": "a/b", "data": {"type": "reference"}}]}]},
    ],
)
def test_what_cannot_be_sent_on_is_said(wrong: dict[str, Any]):
    with pytest.raises(Unsupported):
        parse_request(body(**wrong))
