"""Messages without streaming, and errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamward.errors import ErrorInfo
from streamward.reply import RefusalBlock, Reply, TextBlock, ToolBlock, collect
from streamward.wire import messages
from support.codec import CONTEXT, REFERENCE, decode

GOLDEN = Path(__file__).parent / "golden"

BODY = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "model-1",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "b3A="},
        {"type": "text", "text": "Hello", "citations": [{"type": "page_location", "document_title": "D"}]},
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "a"}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": [1, {"y": "é"}]}},
    ],
    "stop_reason": "stop_sequence", "stop_sequence": "END", "container": {"id": "c"},
    "usage": {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 9, "service_tier": "standard"},
}  # fmt: skip


def test_body_round_trip():
    """Nothing of a whole message is lost: not the blocks the waist has no word for, nor their place."""
    reply = messages.parse_reply(BODY, REFERENCE)

    assert messages.render_reply(reply, CONTEXT) == BODY
    assert (reply.finish_reason, reply.raw_reason) == ("stop", "stop_sequence")
    assert reply.usage is not None
    assert reply.usage.input_tokens == 5


@pytest.mark.parametrize("case", ["thinking_tools", "server_tool"])
def test_whole_and_streamed_agree(case: str):
    """A stream collects to the reply that its final message parses to."""
    streamed = collect(decode(messages, (GOLDEN / f"{case}.sse").read_bytes()))

    whole = messages.parse_reply(messages.render_reply(streamed, CONTEXT), REFERENCE)

    assert [type(block) for block in whole.blocks] == [type(block) for block in streamed.blocks]
    assert whole.text == streamed.text
    assert [json.loads(call.input) for call in whole.tool_calls] == [json.loads(call.input) for call in streamed.tool_calls]
    assert (whole.usage, whole.finish_reason, whole.reasoning) == (
        streamed.usage, streamed.finish_reason, streamed.reasoning,
    )  # fmt: skip


@pytest.mark.parametrize("body", [{}, {"type": "message"}, {"type": "message", "content": "x"}, {"choices": []}])
def test_a_body_of_another_dialect_is_an_error(body: dict[str, object]):
    reply = messages.parse_reply(body, REFERENCE)

    assert reply.error is not None
    assert reply.error.code == "upstream_invalid"
    assert not reply.finished


def test_error_body_under_200():
    reply = messages.parse_reply({"type": "error", "error": {"type": "overloaded_error"}}, REFERENCE)

    assert reply.error is not None
    assert reply.error.status == 502


def test_an_unfinished_reply_renders_as_an_error():
    """Never a message with a made-up stop reason."""
    failed = Reply(blocks=(TextBlock("0", "half"),), error=ErrorInfo("stream_truncated", "cut", 502))

    assert messages.render_reply(failed, CONTEXT)["error"]["code"] == "stream_truncated"
    assert messages.render_reply(Reply(aborted=True), CONTEXT)["type"] == "error"


def test_arguments_that_are_no_object():
    """Cut off by the length limit: shown as they are, not as an empty call."""
    reply = Reply(blocks=(ToolBlock("t", "f", '{"a": "b'),), finish_reason="length")

    content = messages.render_reply(reply, CONTEXT)["content"]

    assert content[0]["input"] == {"invalid_json": '{"a": "b'}


def test_refusal_reply():
    body = messages.render_reply(Reply(blocks=(RefusalBlock("0", "No."),), finish_reason="stop"), CONTEXT)

    assert (body["content"], body["stop_reason"]) == ([{"type": "text", "text": "No."}], "refusal")


@pytest.mark.parametrize(
    ("status", "kind", "code", "ours", "again"),
    [
        (400, "invalid_request_error", "upstream_rejected", 400, False),
        (401, "authentication_error", "upstream_auth", 502, False),
        (402, "billing_error", "insufficient_quota", 429, False),
        (403, "permission_error", "upstream_auth", 502, False),
        (404, "not_found_error", "model_not_found", 404, False),
        (413, "request_too_large", "content_too_large", 413, False),
        (429, "rate_limit_error", "rate_limit_exceeded", 429, True),
        (500, "api_error", "upstream_error", 502, True),
        (504, "timeout_error", "upstream_timeout", 504, True),
        (529, "overloaded_error", "upstream_error", 502, True),
    ],
)
def test_parse_error(status: int, kind: str, code: str, ours: int, again: bool):
    body = json.dumps({"type": "error", "error": {"type": kind, "message": "key sk-ant-secret"}}).encode()

    error = messages.parse_error(status, body)

    assert (error.code, error.status, error.safe_to_retry) == (code, ours, again)
    assert "secret" not in error.message


def test_parse_error_context_length():
    body = b'{"error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"}}'

    assert messages.parse_error(400, body).code == "context_length_exceeded"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":"x"}', b'{"error":{"type":7}}', b"{" * 70_000])
def test_parse_error_of_anything(body: bytes):
    assert messages.parse_error(503, body).status == 502


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"), (429, "rate_limit_error"), (500, "api_error"), (502, "api_error"),
        (503, "overloaded_error"), (504, "timeout_error"), (422, "invalid_request_error"), (599, "api_error"),
    ],
)  # fmt: skip
def test_render_error(status: int, kind: str):
    assert messages.render_error(ErrorInfo("c", "m", status)) == {
        "type": "error", "error": {"type": kind, "message": "m", "code": "c"},
    }  # fmt: skip


def test_count_shapes():
    assert messages.parse_count(messages.render_count(17)) == 17
    assert messages.parse_count({"input_tokens": "x"}) is None
