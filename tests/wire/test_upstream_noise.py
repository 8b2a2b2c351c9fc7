"""Whatever an upstream or a client sends: decoders never raise, parsers raise our errors only."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.errors import StreamwardError
from streamward.events import TERMINAL, Event
from streamward.grammar import violations
from streamward.reply import collect
from streamward.wire import generate_content, messages, ollama
from streamward.wire.sse import Frame
from support.codec import CONTEXT, REFERENCE, encode

BLOCKS = [
    {"type": "text", "text": "a", "citations": [{"type": "x", "url": "u"}]},
    {"type": "thinking", "thinking": "t", "signature": "s"},
    {"type": "redacted_thinking", "data": "d"}, {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}},
    {"type": "web_search_tool_result", "content": []}, {"type": "image", "source": {"type": "base64", "data": "x"}},
]  # fmt: skip
DELTAS = [
    {"type": "text_delta", "text": "b"}, {"type": "thinking_delta", "thinking": "b"},
    {"type": "signature_delta", "signature": "b"},
    {"type": "input_json_delta", "partial_json": "{"}, {"type": "citations_delta", "citation": {"title": "c"}},
    {"type": "new"},
]  # fmt: skip
MESSAGES: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {"id": "m", "model": "x", "usage": {"input_tokens": 1, "output_tokens_details": {}}},
    },
    *({"type": "content_block_start", "index": index, "content_block": block} for index, block in enumerate(BLOCKS)),
    *({"type": "content_block_delta", "index": index, "delta": delta} for index, delta in enumerate(DELTAS)),
    *({"type": "content_block_stop", "index": index} for index in range(6)),
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "container": {}}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]
PARTS = [
    {"text": "a", "thought": True, "thoughtSignature": "s"}, {"text": "b", "thoughtSignature": "c3RyZWFtd2FyZC9z"},
    {"functionCall": {"id": "i", "name": "n", "args": {"a": 1}}}, {"functionCall": {"name": "n", "willContinue": True}},
    {"functionCall": {"partialArgs": [{"jsonPath": "$.a[0]", "stringValue": "x", "willContinue": True}],
        "willContinue": True}},
    {"inlineData": {"mimeType": "image/png", "data": "x"}}, {"fileData": {"fileUri": "u"}}, {"executableCode": {}},
]  # fmt: skip
GEMINI: list[dict[str, Any]] = [
    {"candidates": [{"content": {"parts": [part]}, "groundingMetadata": {"groundingChunks": [{"web": {"uri": "u"}}]},
                     "citationMetadata": {"citations": [{"uri": "v"}]}, "finishReason": "STOP", "index": 0}],
     "usageMetadata": {"promptTokenCount": 1}, "promptFeedback": {"blockReason": "X"}, "responseId": "r",
     "modelVersion": "m"}
    for part in PARTS
]  # fmt: skip
CALL = {"id": "i", "function": {"name": "n", "arguments": {}}}
OLLAMA: list[dict[str, Any]] = [
    {"model": "m", "created_at": "2025-01-01T00:00:00Z", "done": False,
     "message": {"content": "a", "thinking": "b", "tool_calls": [CALL], "images": ["x"]}},
    {"message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 3},
]  # fmt: skip
REQUESTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "messages": (messages, {
        "model": "m", "max_tokens": 5, "system": [{"type": "text", "text": "s"}],
        "thinking": {"type": "enabled", "budget_tokens": 3},
        "messages": [{"role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]},
                                                  {"type": "document", "source": {"type": "text", "data": "x"}},
                                                  *BLOCKS]}],
        "tools": [{"name": "n", "input_schema": {}}], "tool_choice": {"type": "tool", "name": "n"},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
        "metadata": {"user_id": "u"},
    }),
    "generate_content": (generate_content, {
        "model": "m", "contents": [{"role": "model", "parts": [part]} for part in PARTS] + [
            {"parts": [{"functionResponse": {"name": "n", "response": {"output": "x"},
                "parts": [{"inlineData": {}}]}}]}],
        "tools": [{"functionDeclarations": [{"name": "n", "parameters": {"type": "OBJECT", "properties": {}}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["n"]}},
        "generationConfig": {"topK": 1, "responseMimeType": "application/json", "responseSchema": {},
                             "thinkingConfig": {"thinkingLevel": "low"}},
                             "systemInstruction": {"parts": [{"text": "s"}]},
    }),
    "ollama": (ollama, {
        "model": "m", "think": True, "format": "json", "options": {"stop": ["x"], "num_predict": 1},
        "tools": [{"function": {"name": "n"}}],
        "messages": [{"role": "assistant", "content": "a", "tool_calls": [CALL]},
            {"role": "tool", "tool_name": "n", "content": "x"}],
    }),
}  # fmt: skip
WRONG = st.sampled_from([None, 0, -1, 2.5, True, "", "x", [], [3], {}, {"type": "text"}, [{}], [None], 1 << 70])


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, as a path."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


@st.composite
def spoiled(draw: st.DrawFn, value: Any) -> Any:
    """*value* with up to two places replaced by something else."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(0, 2))):
        path = draw(st.sampled_from(list(places(value))))
        inner = value
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = copy.deepcopy(draw(WRONG))
    return value


def check(dialect: Any, frames: list[bytes]) -> None:
    decoder = dialect.Decoder(REFERENCE)
    events: list[Event] = [event for frame in frames for event in decoder.feed(Frame(frame))]
    events.extend(decoder.close())

    assert violations(events) == []
    assert sum(isinstance(event, TERMINAL) for event in events) == 1
    encode(dialect, events)
    dialect.render_reply(collect(events), CONTEXT)


DIALECTS = [(messages, MESSAGES), (generate_content, GEMINI), (ollama, OLLAMA)]


@pytest.mark.parametrize(("dialect", "frames"), DIALECTS)
@given(data=st.data())
def test_decoders_never_raise(dialect: Any, frames: list[dict[str, Any]], data: st.DataObject):
    """Frames in any order, some of them spoiled: one terminal event, a well-formed stream that can be encoded."""
    picked = data.draw(st.lists(st.sampled_from(frames).flatmap(spoiled), max_size=8))

    check(dialect, [json.dumps(frame).encode() for frame in picked])


@pytest.mark.parametrize(("dialect", "frames"), DIALECTS)
@given(data=st.data())
def test_spoiled_streams(dialect: Any, frames: list[dict[str, Any]], data: st.DataObject):
    """A whole stream with up to two places spoiled."""
    check(dialect, [json.dumps(frame).encode() for frame in data.draw(spoiled(frames)) if isinstance(frame, dict)])


@pytest.mark.parametrize("dialect", [messages, generate_content, ollama])
@given(frames=st.lists(st.binary(max_size=20) | st.sampled_from([b"{" * 5000, b"[" * 5000, b'"\\ud83d"', b"1e999", b"NaN"])))
def test_bytes_that_are_no_json(dialect: Any, frames: list[bytes]):
    check(dialect, frames)


@pytest.mark.parametrize(("dialect", "body"), REQUESTS.values(), ids=REQUESTS)
@given(data=st.data())
def test_requests_fail_with_our_errors_only(dialect: Any, body: dict[str, Any], data: st.DataObject):
    """Parsed and rendered again, or refused as the caller's fault."""
    status = 400
    try:
        call = dialect.parse_request(data.draw(spoiled(body)))
        dialect.render_request(call, model="m", profile=REFERENCE)
    except StreamwardError as error:
        status = error.info.status

    assert status == 400


@pytest.mark.parametrize(("dialect", "frames"), DIALECTS)
@given(data=st.data())
def test_replies_never_raise(dialect: Any, frames: list[dict[str, Any]], data: st.DataObject):
    whole = {
        "id": "m",
        "type": "message",
        "model": "x",
        "content": BLOCKS,
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1},
    }
    body = data.draw(st.sampled_from([*frames, whole]).flatmap(spoiled))

    reply = dialect.parse_reply(body, REFERENCE)

    assert reply.finished != (reply.error is not None)
    dialect.render_reply(reply, CONTEXT)
