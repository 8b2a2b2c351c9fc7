"""Gemini encoder and whole responses: bytes for events, and the same events back."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.errors import ErrorInfo
from streamward.events import (
    Abort,
    Error,
    Event,
    File,
    Finish,
    ReasoningEnd,
    ReasoningStart,
    RefusalDelta,
    RefusalEnd,
    RefusalStart,
    Source,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolCall,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
    UsageUpdate,
    Vendor,
)
from streamward.reply import Reply, ToolBlock, collect
from streamward.wire import generate_content
from support.codec import ARGUMENTS, CONTEXT, REFERENCE, TOKENS, decode, encode, streams

GOLDEN = Path(__file__).parent / "golden"


def chunks(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(frame.removeprefix("data: ")) for frame in raw.decode().removesuffix("\n\n").split("\n\n")]


def test_text_bytes():
    """The whole stream, byte for byte."""
    events = [
        Start("up", "up"), TextStart("0"), TextDelta("0", "Hi"), TextDelta("0", " \u2028é"), TextEnd("0"),
        Finish("stop", Usage(input_tokens=12, output_tokens=3, reasoning_tokens=1)),
    ]  # fmt: skip

    assert encode(generate_content, events) == (
        b'data: {"candidates":[{"content":{"parts":[{"text":"Hi"}],"role":"model"},"index":0}],'
        b'"modelVersion":"model-1","responseId":"msg_1"}\n\n'
        b'data: {"candidates":[{"content":{"parts":[{"text":" \\u2028\xc3\xa9"}],"role":"model"},"index":0}],'
        b'"modelVersion":"model-1","responseId":"msg_1"}\n\n'
        b'data: {"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}],'
        b'"usageMetadata":{"promptTokenCount":12,"candidatesTokenCount":2,"thoughtsTokenCount":1,"totalTokenCount":15},'
        b'"modelVersion":"model-1","responseId":"msg_1"}\n\n'
    )


def test_interleaved_calls_go_out_whole():
    events = [
        Start(), ToolInputStart("a", "f"), ToolInputStart("b", "g"), ToolInputDelta("a", "{"),
        ToolInputDelta("b", '{"x":'),
        ToolInputDelta("a", "}"), ToolInputEnd("a"), ToolInputDelta("b", "1}"), ToolInputEnd("b"), Finish("tool-calls"),
    ]  # fmt: skip

    reply = collect(decode(generate_content, encode(generate_content, events)))

    assert reply.tool_calls == (ToolBlock("a", "f", "{}"), ToolBlock("b", "g", '{"x":1}'))
    assert reply.finish_reason == "tool-calls"


def test_signatures_of_any_provider_survive_clients_that_hold_bytes():
    """Clients decode and encode base64, in whichever alphabet; what comes back is what the provider signed."""
    for signature, redacted in ((None, "not base64!"), ("gAAA-B_c=", None), ("a+/b==", "op")):
        events = [Start(), ReasoningStart("0"), ReasoningEnd("0", signature, redacted), Finish("stop")]
        parts = generate_content.render_reply(collect(events), CONTEXT)["candidates"][0]["content"]["parts"]
        for part in parts:
            held = base64.b64decode(part["thoughtSignature"], validate=True)
            part["thoughtSignature"] = base64.urlsafe_b64encode(held).decode()

        call = generate_content.parse_request({"model": "m", "contents": [{"role": "model", "parts": parts}]})
        streamed = collect(decode(generate_content, encode(generate_content, events))).blocks

        seen = {(part.signature, part.redacted) for part in call.messages[0].parts}  # type: ignore[union-attr]
        wanted = {pair for pair in ((signature, None), (None, redacted)) if pair != (None, None)}
        assert seen == wanted
        assert {(block.signature, block.redacted) for block in streamed} == wanted  # type: ignore[union-attr]


def test_refusal_sources_files_and_parts():
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    events = [
        Start(), UsageUpdate(Usage(input_tokens=1)), RefusalStart("0"), RefusalDelta("0", "No."), RefusalEnd("0"),
        Source("s", url="https://e.org", title="E"), Source("d", "document"), File("image/png", data="aWNv"),
        Vendor("generate_content", code, "part"), Vendor("messages", {}, "x"), ToolCall("t", "f", {"a": 1}),
        Finish("stop"),
    ]  # fmt: skip

    sent = chunks(encode(generate_content, events))

    parts = [part for chunk in sent for part in chunk["candidates"][0]["content"]["parts"]]
    assert parts == [
        {"text": "No."}, {"inlineData": {"mimeType": "image/png", "data": "aWNv"}}, code,
        {"functionCall": {"id": "t", "name": "f", "args": {"a": 1}}}, {"text": ""},
    ]  # fmt: skip
    last = sent[-1]["candidates"][0]
    assert last["finishReason"] == "SAFETY"
    assert last["groundingMetadata"] == {"groundingChunks": [{"web": {"uri": "https://e.org", "title": "E"}}]}
    assert sent[-1]["usageMetadata"]["promptTokenCount"] == 1


def test_failures_are_an_error_frame():
    """No finish reason: nothing that reads as a finished answer."""
    for terminal in (Error(ErrorInfo("stream_truncated", "cut", 502)), Abort("shutdown"), Finish("error")):
        sent = chunks(encode(generate_content, [Start(), TextStart("0"), TextDelta("0", "a"), TextEnd("0"), terminal]))

        assert "error" in sent[-1]
        assert not any("finishReason" in json.dumps(chunk) for chunk in sent)
        assert isinstance(decode(generate_content, encode(generate_content, [Start(), terminal]))[-1], Error)


def test_calls_the_provider_runs_are_not_shown():
    """A client would take them for its own to answer."""
    events = [
        Start(), ToolInputStart("s", "web_search", provider_executed=True), ToolInputDelta("s", "{}"), ToolInputEnd("s"),
        ToolCall("s2", "code", {}, provider_executed=True), Finish("stop"),
    ]  # fmt: skip

    for reply in (
        collect(decode(generate_content, encode(generate_content, events))),
        generate_content.parse_reply(generate_content.render_reply(collect(events), CONTEXT), REFERENCE),
    ):
        assert (reply.tool_calls, reply.finish_reason) == ((), "stop")


USAGES = st.builds(
    lambda given, answer, thoughts, cached: Usage(
        input_tokens=given, output_tokens=answer + (thoughts or 0), reasoning_tokens=thoughts,
        cached_input_tokens=cached
    ),
    TOKENS, TOKENS, st.none() | TOKENS, st.none() | TOKENS,
)  # fmt: skip
FINISHES = st.sampled_from([
    Finish("stop"), Finish("length"), Finish("content-filter"), Finish("content-filter", raw_reason="RECITATION"),
    Finish("other"),
    Finish("unknown"),
])  # fmt: skip


@given(streams(ids=str, arguments=st.sampled_from(ARGUMENTS).map(lambda text: [text]), usages=USAGES, finishes=FINISHES))
def test_round_trip(events: list[Event]):
    """Events to bytes to events: the same answer.

    The dialect has no borders between text parts, and no word for "wants tools" but a stop after a call.
    """
    again = collect(decode(generate_content, encode(generate_content, events)))
    given = collect(events)

    assert (again.text, again.reasoning) == (given.text, given.reasoning)
    assert [(call.id, call.name, call.input) for call in again.tool_calls] == [
        (call.id, call.name, json.dumps(json.loads(call.input), ensure_ascii=False, separators=(",", ":")))
        for call in given.tool_calls
    ]
    stopped = given.finish_reason == "stop" and given.tool_calls
    assert again.finish_reason == ("tool-calls" if stopped else given.finish_reason)
    assert (again.usage, again.raw_reason) == (given.usage, given.raw_reason)


@pytest.mark.parametrize("case", ["thinking_text", "calls", "partial_args"])
def test_whole_and_streamed_agree(case: str):
    """A response object holds what its stream added up to, and comes back from a reply unchanged."""
    streamed = collect(decode(generate_content, (GOLDEN / f"{case}.sse").read_bytes()))

    body = generate_content.render_reply(streamed, CONTEXT)
    again = generate_content.parse_reply(body, REFERENCE)

    assert again.usage == streamed.usage
    assert (again.text, again.reasoning, again.finish_reason) == (streamed.text, streamed.reasoning, streamed.finish_reason)
    assert [(c.name, c.input, c.signature) for c in again.tool_calls] == [
        (c.name, json.dumps(json.loads(c.input), ensure_ascii=False, separators=(",", ":")), c.signature)
        for c in streamed.tool_calls
    ]
    assert generate_content.render_reply(again, CONTEXT) == body


def test_parts_without_a_word_keep_their_place():
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    parts = [{"text": "a"}, code, {"text": "b", "thoughtSignature": "MQ=="}]
    body = {
        "candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0,
            "avgLogprobs": -0.5}],
        "modelVersion": "model-1", "responseId": "msg_1",
    }  # fmt: skip

    assert generate_content.render_reply(generate_content.parse_reply(body, REFERENCE), CONTEXT) == body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "upstream_invalid"), ({"choices": []}, "upstream_invalid"), ({"candidates": []}, "stream_truncated"),
        ({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, "rate_limit_exceeded"),
    ],
)  # fmt: skip
def test_bodies_that_are_no_answer(body: dict[str, Any], code: str):
    reply = generate_content.parse_reply(body, REFERENCE)

    assert reply.error is not None
    assert reply.error.code == code
    assert "error" in generate_content.render_reply(reply, CONTEXT)


def test_arguments_that_are_no_object():
    body = generate_content.render_reply(Reply(blocks=(ToolBlock("t", "f", '{"a": "b'),), finish_reason="length"), CONTEXT)

    call = body["candidates"][0]["content"]["parts"][0]["functionCall"]
    assert call["args"] == {"invalid_json": '{"a": "b'}


@pytest.mark.parametrize(
    ("status", "error", "code", "ours"),
    [
        (400, {"status": "INVALID_ARGUMENT"}, "upstream_rejected", 400),
        (400, {"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}, "upstream_auth", 502),
        (400, {"message": "The input token count (9) exceeds the maximum number of tokens allowed (5)."},
         "context_length_exceeded", 400),
        (403, {"status": "PERMISSION_DENIED"}, "upstream_auth", 502),
        (404, {"status": "NOT_FOUND"}, "model_not_found", 404),
        (500, {"status": "INTERNAL"}, "upstream_error", 502), (503, {"status": "UNAVAILABLE"}, "upstream_error", 502),
        (504, {"status": "DEADLINE_EXCEEDED"}, "upstream_timeout", 504), (418, 3, "upstream_rejected", 400),
    ],
)  # fmt: skip
def test_parse_error(status: int, error: Any, code: str, ours: int):
    for body in ({"error": error}, [{"error": error}]):
        info = generate_content.parse_error(status, json.dumps(body).encode())

        assert (info.code, info.status) == (code, ours)


def test_parse_error_says_when_to_come_back():
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    body = json.dumps({"error": {"status": "RESOURCE_EXHAUSTED", "message": "AIza-secret", "details": details}}).encode()

    info = generate_content.parse_error(429, body)

    assert (info.code, info.retry_after_s, info.safe_to_retry) == ("rate_limit_exceeded", 34.5, True)
    assert "secret" not in info.message


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":{"details":[{"retryDelay":3}]}}', b"[" * 70_000])
def test_parse_error_of_anything(body: bytes):
    assert generate_content.parse_error(503, body).status == 502


@pytest.mark.parametrize(("status", "word"),
    [(400, "INVALID_ARGUMENT"), (429, "RESOURCE_EXHAUSTED"), (502, "INTERNAL"), (422, "INVALID_ARGUMENT")])  # fmt: skip
def test_render_error(status: int, word: str):
    error = generate_content.render_error(ErrorInfo("c", "m", status))["error"]

    assert (error["code"], error["message"], error["status"]) == (status, "m", word)
    assert error["details"][0]["reason"] == "c"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-3-pro", "/models/gemini-3-pro:streamGenerateContent?alt=sse"),
        ("tunedModels/my", "/tunedModels/my:streamGenerateContent?alt=sse"),
        ("a?b=c#d", "/models/a%3Fb%3Dc%23d:streamGenerateContent?alt=sse"),
    ],
)  # fmt: skip
def test_path(model: str, expected: str):
    assert generate_content.path(model, stream=True) == expected
    assert generate_content.path(model, stream=False) == expected.replace("streamGenerateContent?alt=sse", "generateContent")
