"""Whole response objects: read as their streams would be, and back; errors in both directions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamward.errors import ErrorInfo
from streamward.reply import Reply, collect
from streamward.wire import responses
from streamward.wire.dialect import Profile
from support.codec import decode, encode
from support.responses import CALL, STREAMS, context, frames

REFERENCE = Profile()


@pytest.mark.parametrize("name", STREAMS)
def test_a_body_means_what_its_stream_means(name: str):
    """The final snapshot of a stream, read as a whole answer, gives the reply the stream gives."""
    raw = encode(responses, STREAMS[name], context())
    streamed = collect(decode(responses, raw))

    whole = responses.parse_reply(frames(raw)[-1]["response"], REFERENCE)

    assert whole.finish_reason == streamed.finish_reason
    assert [(type(block), getattr(block, "text", None)) for block in whole.blocks] == [
        (type(block), getattr(block, "text", None)) for block in streamed.blocks
    ]
    if streamed.error is None:  # in a stream, the ``error`` event comes before the usage
        assert whole.usage == streamed.usage


@pytest.mark.parametrize("name", ["text", "thinking_tools", "refusal", "length", "logprobs", "image", "redacted"])
def test_reply_round_trip(name: str):
    first = responses.render_reply(collect(STREAMS[name]), context(CALL))

    again = responses.render_reply(responses.parse_reply(first, REFERENCE), context(CALL))

    assert again == first


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "upstream_invalid"),
        ({"choices": []}, "upstream_invalid"),
        ({"output": "x"}, "upstream_invalid"),
        ({"output": [], "status": "in_progress"}, "upstream_invalid"),
        ({"output": [], "status": "queued"}, "upstream_invalid"),
        ({"output": [], "status": "failed", "error": {"code": "server_error", "message": "k3y"}}, "upstream_error"),
        ({"error": {"code": "rate_limit_exceeded", "message": "k3y"}}, "rate_limit_exceeded"),
    ],
)
def test_bodies_that_are_no_answer(body: dict[str, Any], code: str):
    reply = responses.parse_reply(body, REFERENCE)

    assert (reply.finish_reason, reply.error and reply.error.code) == (None, code)
    assert "k3y" not in str(reply)


def test_a_reply_that_never_ended_is_failed():
    assert responses.render_reply(Reply(), context())["status"] == "failed"


@pytest.mark.parametrize(
    ("status", "body", "code", "seen", "retry"),
    [
        (400, b'{"error":{"code":"context_length_exceeded"}}', "context_length_exceeded", 400, False),
        (400, b'{"error":{"code":"previous_response_not_found"}}', "previous_response_not_found", 400, False),
        (401, b'{"error":{"code":"invalid_api_key"}}', "upstream_auth", 502, False),
        (403, b"", "upstream_auth", 502, False),
        (404, b'{"error":{"code":"model_not_found"}}', "model_not_found", 404, False),
        (429, b"not json", "rate_limit_exceeded", 429, True),
        (429, b'{"error":{"code":"insufficient_quota"}}', "insufficient_quota", 429, False),
        (500, b'{"error":{"code":"model_not_found"}}', "upstream_error", 502, True),
        (503, b"\xff", "upstream_error", 502, True),
        (504, b'{"error":"x"}', "upstream_timeout", 504, True),
    ],
)
def test_errors_of_upstreams(status: int, body: bytes, code: str, seen: int, retry: bool):
    info = responses.parse_error(status, body)

    assert (info.code, info.status, info.safe_to_retry) == (code, seen, retry)


def test_the_upstreams_text_stays_with_us():
    body = json.dumps({"error": {"message": "key sk-1 at 10.0.0.1", "code": "sk-1", "type": "sk-1"}}).encode()

    assert "sk-1" not in str(responses.parse_error(400, body))


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request"), (401, "invalid_request"), (404, "not_found"), (413, "invalid_request"),
     (429, "too_many_requests"), (500, "server_error"), (502, "model_error"), (503, "server_error"), (504, "model_error")],
)  # fmt: skip
def test_error_bodies(status: int, kind: str):
    assert responses.render_error(ErrorInfo("c", "m", status, "p")) == {
        "error": {"type": kind, "code": "c", "message": "m", "param": "p"}
    }
