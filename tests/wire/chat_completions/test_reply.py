"""Chat Completions without streaming, and its errors."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from msgspec.structs import replace

from streamward.errors import ErrorInfo
from streamward.events import Source, Usage
from streamward.reply import ReasoningBlock, RefusalBlock, Reply, TextBlock, ToolBlock
from streamward.wire import chat_completions
from streamward.wire.chat_completions import parse_error, parse_reply, render_error, render_reply
from streamward.wire.chat_completions.reply import look_at_reply
from streamward.wire.dialect import Context, Profile

REFERENCE = Profile()
CONTEXT = Context(id="chatcmpl-1", model="m", created=7)


def body(message: Any, finish: Any = "stop", **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion", "created": 5, "model": "m", "choices": [choice], **fields}


COUNTS = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
REPLIES: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "text": ({"content": "a"}, (TextBlock("text-0", "a"),)),
    "nothing": ({"content": None}, ()),
    "parts": ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "r"}]}, {"type": "text", "text": "a"}]},
              (ReasoningBlock("reasoning-0", "r"), TextBlock("text-0", "a"))),
    "refusal": ({"content": None, "refusal": "n"}, (RefusalBlock("refusal-0", "n"),)),
    "reasoning": ({"content": "a", "reasoning": "r"}, (ReasoningBlock("reasoning-0", "r"), TextBlock("text-0", "a"))),
    "signed": ({"content": "a", "reasoning_content": "r", "reasoning_details": [
        {"type": "reasoning.text", "text": "r", "signature": "s"}, {"type": "reasoning.encrypted", "data": "d"}]},
        (ReasoningBlock("reasoning-0", "r", "s", "d"), TextBlock("text-0", "a"))),
    "told in details": ({"content": "a", "reasoning_details": [{"type": "reasoning.text", "text": "r", "signature": "s"},
                                                               {"type": "reasoning.summary", "summary": "t"}]},
                        (ReasoningBlock("reasoning-0", "rt", "s"), TextBlock("text-0", "a"))),
    "cited": ({"content": "a", "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t"}}, 5]},
              (TextBlock("text-0", "a"), Source("source-0", url="u", title="t"))),
}  # fmt: skip


@pytest.mark.parametrize(("message", "blocks"), REPLIES.values(), ids=REPLIES)
def test_replies(message: dict[str, Any], blocks: tuple[Any, ...]):
    reply = parse_reply(body({"role": "assistant", **message}, usage=COUNTS), REFERENCE)

    usage = Usage(1, 2, extra={"chat_completions": COUNTS})
    assert reply == Reply("c", "m", 5, blocks, "stop", usage=usage)


@pytest.mark.parametrize(
    "calls",
    [
        [{"id": "a", "function": {"name": "f", "arguments": '{"x":1}'}},
         {"id": "b", "function": {"name": "g", "arguments": "{}"}}],
        [{"id": "a", "index": 0, "function": {"name": "f", "arguments": {"x": 1}}},
         {"id": "b", "index": 0, "function": {"name": "g", "arguments": {}}}],
    ],
)  # fmt: skip
def test_tool_calls(calls: list[Any]):
    """And the word that follows from them."""
    reply = parse_reply(body({"tool_calls": calls}, "stop"), REFERENCE)

    assert reply.blocks == (ToolBlock("a", "f", '{"x":1}'), ToolBlock("b", "g", "{}"))
    assert reply.finish_reason == "tool-calls"


@pytest.mark.parametrize("call_id", ["same", "", None, 5])
def test_each_call_has_an_id_of_its_own(call_id: Any):
    call = {"id": call_id, "function": {"name": "f", "arguments": "{}"}}

    reply = parse_reply(body({"tool_calls": [call, call]}, "tool_calls"), REFERENCE)

    assert len({block.id for block in reply.tool_calls}) == 2  # type: ignore[union-attr]


def test_the_form_before_tool_calls():
    reply = parse_reply(body({"function_call": {"name": "f", "arguments": "{}"}}, "function_call"), REFERENCE)

    assert (reply.blocks, reply.finish_reason) == ((ToolBlock("call_c_0", "f", "{}"),), "tool-calls")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"error": {"message": "sk-secret"}}, "upstream_error"), (body({"content": "sk-secret"}, "error"), "upstream_error"),
        (body({"content": "sk-secret"}, None), "stream_truncated"), (body({"content": "a"}, []), "stream_truncated"),
        ({}, "upstream_invalid"), ({"choices": []}, "upstream_invalid"), ({"choices": 5}, "upstream_invalid"),
        ({"choices": [{"finish_reason": "stop"}]}, "upstream_invalid"), (body("text"), "upstream_invalid"),
    ],
)  # fmt: skip
def test_answers_that_are_none(answer: dict[str, Any], code: str):
    """An answer with no finish reason is not a finished one; no upstream text in any error."""
    for reply in (parse_reply(answer, REFERENCE), look_at_reply(json.dumps(answer).encode(), REFERENCE)):
        assert reply.error is not None
        assert (reply.error.code, reply.finished) == (code, False)
        assert "secret" not in reply.error.message


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b"\xff", b"[" * 10_000, b'"a"'])
def test_bytes_that_are_no_answer(raw: bytes):
    assert look_at_reply(raw, REFERENCE).error is not None


DETAILED = {
    **COUNTS, "prompt_tokens_details": {"cached_tokens": 1, "audio_tokens": 0, "cache_write_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 1, "accepted_prediction_tokens": 0}, "queue_time": 0.5,
}  # fmt: skip


@pytest.mark.parametrize(
    "usage",
    [
        COUNTS, DETAILED, {**COUNTS, "total_tokens": 9}, {"prompt_tokens": 4}, {"completion_tokens": 4}, {}, None, "none",
        {**DETAILED, "prompt_cache_hit_tokens": 3}, {**COUNTS, "prompt_cache_hit_tokens": 3}, {**COUNTS, "prompt_tokens": -1},
        {**COUNTS, "prompt_tokens": 1.5}, {**COUNTS, "completion_tokens_details": 5}, {"prompt_tokens": True},
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("where", ["usage", "x_groq"])
@pytest.mark.parametrize("excludes", [False, True])
def test_a_passed_answer_is_accounted(where: str, usage: Any, excludes: bool):
    """Usage from where the profile has it, the ending as parsing says; what the provider says beside it is not kept."""
    profile = Profile(usage_path=("x_groq", "usage") if where == "x_groq" else ("usage",), output_excludes_reasoning=excludes)
    answer = body({"content": "a"}, "length", **{where: {"usage": usage} if where == "x_groq" else usage})

    reply = look_at_reply(json.dumps(answer).encode(), profile)
    parsed = parse_reply(answer, profile).usage

    assert bare(reply.usage) == bare(parsed)
    assert reply.finish_reason == "length"


def bare(usage: Usage | None) -> Usage | None:
    return usage if usage is None else replace(usage, extra=None)


def test_usage_of_a_groq_answer_in_the_plain_place():
    """Not streamed, Groq has both: an id under ``x_groq`` and usage where it belongs."""
    answer = body({"content": "a"}, usage=COUNTS, x_groq={"id": "req"})
    profile = Profile(usage_path=("x_groq", "usage"))

    assert look_at_reply(json.dumps(answer).encode(), profile).usage == parse_reply(answer, profile).usage
    assert parse_reply(answer, profile).usage is not None


WHOLE = body(
    {
        "role": "assistant", "content": [{"type": "thinking", "thinking": [{"text": "a"}]}, {"type": "text", "text": "b"}],
        "refusal": "n", "reasoning": "r", "reasoning_details": [{"signature": "s", "data": "d"}],
        "tool_calls": [{"id": "a", "index": 0, "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        "function_call": {"name": "f", "arguments": "{}"},
        "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0}}],
    },
    usage={**COUNTS, "prompt_tokens_details": {"cached_tokens": 1}}, x_groq={"usage": COUNTS}, error=None,
)  # fmt: skip
WRONG = [None, 0, -1, 2.5, True, "", "x", [], [3], {}, {"text": 5}, [{}], [None], [[]]]


def places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_spoiled_answer_never_raises(wrong: Any):
    """Anything anywhere: an answer that can be rendered, or an error; both looks agree on which."""
    for path in places(WHOLE):
        answer = copy.deepcopy(WHOLE)
        inner: Any = answer
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = wrong

        for profile in (REFERENCE, Profile(ends_with="eof"), Profile(usage_path=("x_groq", "usage"))):
            reply = parse_reply(answer, profile)
            assert reply.finished == (reply.error is None)
            json.dumps(render_reply(reply, CONTEXT))
            assert look_at_reply(json.dumps(answer).encode(), profile).finished == reply.finished


FULL = Reply(
    "theirs", "theirs", 5,
    (ReasoningBlock("reasoning-0", "r", "s"), TextBlock("text-0", "a", [{"token": "a"}]),
     ToolBlock("a", "f", '{"x":1}'), Source("source-0", url="u", title="t")),
    "tool-calls", usage=Usage(1, 2, 0, reasoning_tokens=0),
)  # fmt: skip


def test_render():
    """The reference's keys, with our id, model and time."""
    assert render_reply(FULL, CONTEXT) == {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "m",
        "choices": [{
            "index": 0, "logprobs": {"content": [{"token": "a"}], "refusal": None}, "finish_reason": "tool_calls",
            "message": {
                "role": "assistant", "content": "a", "refusal": None, "reasoning_content": "r",
                "reasoning_details": [{"type": "reasoning.text", "text": "r", "signature": "s"}],
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}],
                "annotations": [{"type": "url_citation",
                                 "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 0}}],
            },
        }],
        "usage": {**COUNTS, "prompt_tokens_details": {"cached_tokens": 0},
                  "completion_tokens_details": {"reasoning_tokens": 0}},
    }  # fmt: skip


def test_round_trip():
    back = parse_reply(render_reply(FULL, CONTEXT), REFERENCE)

    assert back.blocks == FULL.blocks
    assert (back.finish_reason, back.usage and back.usage.total) == ("tool-calls", 3)


def test_an_answer_that_did_not_finish_says_null():
    assert render_reply(Reply(error=ErrorInfo("c", "m")), CONTEXT)["choices"][0]["finish_reason"] is None


def test_tools_the_provider_ran_are_left_out():
    reply = Reply(blocks=(ToolBlock("a", "search", "{}", provider_executed=True),), finish_reason="stop")

    message = render_reply(reply, CONTEXT)["choices"][0]["message"]

    assert message == {"role": "assistant", "content": "", "refusal": None}


# -- errors


@pytest.mark.parametrize(
    ("status", "answer", "code", "ours"),
    [
        (400, {"error": {"code": "context_length_exceeded", "message": "sk-secret"}}, "context_length_exceeded", 400),
        (404, {"error": {"code": "model_not_found", "message": "sk-secret"}}, "model_not_found", 404),
        (400, {"error": {"code": "sk-secret", "message": "sk-secret"}}, "upstream_rejected", 400),
        (400, {"error": "sk-secret"}, "upstream_rejected", 400),
        (400, {"code": "unsupported_value", "message": "sk-secret"}, "unsupported_value", 400),
        (401, {"error": {"code": "invalid_api_key", "message": "sk-secret"}}, "upstream_auth", 502),
        (429, {"error": {"code": "insufficient_quota", "message": "sk-secret"}}, "insufficient_quota", 429),
        (429, {"error": {"type": "rate_limit", "code": None}}, "rate_limit_exceeded", 429),
        (500, {"error": {"code": {"sk-secret": 1}}}, "upstream_error", 502),
        (500, ["sk-secret"], "upstream_error", 502),
        (503, {"error": {"code": "model_not_found"}}, "upstream_error", 502),
    ],
)  # fmt: skip
def test_upstream_errors(status: int, answer: Any, code: str, ours: int):
    """What the caller can act on keeps its code; none of the upstream's text is repeated."""
    info = parse_error(status, json.dumps(answer).encode())

    assert (info.code, info.status) == (code, ours)
    assert "secret" not in repr(info)


@pytest.mark.parametrize(
    "raw", [b"", b"<html>sk-secret</html>", b"\xff", b"[" * 60_000, b'{"error":{"code":"' + b"x" * 70_000]
)
def test_error_bodies_that_are_no_json(raw: bytes):
    assert parse_error(500, raw).code == "upstream_error"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"),
        (404, "invalid_request_error"), (409, "invalid_request_error"), (413, "invalid_request_error"),
        (429, "rate_limit_error"), (500, "server_error"), (502, "server_error"), (503, "server_error"), (504, "timeout"),
    ],
)  # fmt: skip
def test_rendered_errors(status: int, kind: str):
    """The four keys both official SDKs read."""
    error = render_error(ErrorInfo("some_code", "what and why", status, param="messages[0].role"))

    assert error == {"error": {"message": "what and why", "type": kind, "param": "messages[0].role", "code": "some_code"}}
    assert set(error) == set(render_error(ErrorInfo("c", "m")))


def test_the_dialect_offers_its_names():
    assert (
        chat_completions.path("any/model?x", stream=True) == chat_completions.path("m", stream=False) == "/chat/completions"
    )
    assert chat_completions.MEDIA_TYPE == "text/event-stream"
