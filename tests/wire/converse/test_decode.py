"""Converse streams and whole answers to events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.events import (
    TERMINAL,
    Error,
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
)
from streamward.reply import ReasoningBlock, TextBlock, ToolBlock, collect
from streamward.wire import converse
from streamward.wire.dialect import MAX_PARTS, MAX_TOOL_INPUT_BYTES
from support.codec import REFERENCE, check_cuts, check_truncations, decode
from support.event_stream import delta, exception, message, stop, stream, tool

START = {"messageStart": {"role": "assistant"}}
USAGE = {"metadata": {"usage": {"inputTokens": 5, "outputTokens": 7, "totalTokens": 22, "cacheReadInputTokens": 10},
                      "metrics": {"latencyMs": 9}}}  # fmt: skip
END = {"messageStop": {"stopReason": "end_turn"}}
ANSWER = stream(
    START, delta(0, reasoningContent={"text": "Hm — "}), delta(0, reasoningContent={"text": "so"}),
    delta(0, reasoningContent={"signature": "c2ln"}), stop(0), delta(1, text="Two 🙂 "), delta(1, text="tools."), stop(1),
    tool(2, "t1", "weather"), delta(2, toolUse={"input": '{"city":'}), delta(2, toolUse={"input": '"Oslo"}'}), stop(2),
    tool(3, "t2", "now"), stop(3), {"messageStop": {"stopReason": "tool_use"}}, USAGE,
)  # fmt: skip


def test_thinking_text_and_tools():
    """Blocks open with their first delta; a tool without arguments takes the empty object."""
    usage = Usage(input_tokens=15, output_tokens=7, cached_input_tokens=10)

    assert decode(converse, ANSWER) == [
        Start("", ""),
        ReasoningStart("0"),
        ReasoningDelta("0", "Hm — "),
        ReasoningDelta("0", "so"),
        ReasoningEnd("0", "c2ln"),
        TextStart("1"),
        TextDelta("1", "Two 🙂 "),
        TextDelta("1", "tools."),
        TextEnd("1"),
        ToolInputStart("t1", "weather"),
        ToolInputDelta("t1", '{"city":'),
        ToolInputDelta("t1", '"Oslo"}'),
        ToolInputEnd("t1"),
        ToolInputStart("t2", "now"),
        ToolInputDelta("t2", "{}"),
        ToolInputEnd("t2"),
        Finish("tool-calls", usage, "tool_use", {"converse": {"metrics": {"latencyMs": 9}}}),
    ]


def test_cuts():
    check_cuts(converse, ANSWER)


def test_truncations():
    """Finished is what said so: the message with the stop reason; the usage behind it may be lost."""
    check_truncations(converse, ANSWER, len(ANSWER) - len(stream(USAGE)))


def test_usage_before_the_end():
    """Some models measure first; a block that is never closed ends with the answer."""
    reply = collect(decode(converse, stream(START, delta(0, text="Hi"), USAGE, END)))

    assert (reply.text, reply.finish_reason, reply.usage and reply.usage.total) == ("Hi", "stop", 22)


def test_redacted_thinking_and_citations():
    web = {"title": "A", "location": {"web": {"url": "https://a.example"}}}
    raw = stream(START, delta(0, reasoningContent={"redactedContent": "b3Bh"}), stop(0), delta(1, text="x"),
                 delta(1, citation=web), delta(1, citation={"title": "B", "source": "doc"}), stop(1), END, USAGE)  # fmt: skip
    blocks = collect(decode(converse, raw)).blocks

    assert isinstance(blocks[0], ReasoningBlock)
    assert blocks[0].redacted == "b3Bh"
    sources = [block for block in blocks if isinstance(block, Source)]
    assert [(source.kind, source.url, source.title) for source in sources] == [
        ("url", "https://a.example", "A"), ("document", None, "B")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("throttlingException", "rate_limit_exceeded"), ("internalServerException", "upstream_error"),
        ("modelStreamErrorException", "upstream_error"), ("serviceUnavailableException", "upstream_error"),
        ("validationException", "upstream_rejected"), ("modelTimeoutException", "upstream_timeout"),
        ("somethingNewException", "upstream_error"),
    ],
)  # fmt: skip
def test_an_exception_under_a_200(kind: str, code: str):
    """In mid-stream and as the first message; the provider's own words stay there."""
    for before in (stream(START, delta(0, text="Hal")), b""):
        events = decode(converse, before + exception(kind, "arn:aws:secret") + ANSWER)

        assert isinstance(events[-1], Error)
        assert events[-1].error.code == code
        assert "arn:aws" not in events[-1].error.message


@pytest.mark.parametrize(
    "raw",
    [
        stream(START, START), stream(tool(0, "t", "n"), tool(0, "t", "n")), stream(delta(0, toolUse={"input": "{"})),
        stream(delta(0, text="a"), delta(0, reasoningContent={"text": "b"})), message("messageStart", []),
        stream(tool(0, "t", "n"), delta(0, text="a")), stream({"contentBlockStart": {"start": {}}}),
        message("contentBlockDelta", {"contentBlockIndex": "0", "delta": {"text": "a"}}),
    ],
)  # fmt: skip
def test_what_is_no_converse_stream(raw: bytes):
    events = decode(converse, raw)

    assert isinstance(events[-1], Error)
    assert events[-1].error.code == "upstream_invalid"


def test_unknown_messages_and_deltas_are_passed_over():
    raw = stream(START, {"novelty": {"a": 1}}, delta(0, image={"source": {}}), delta(0, text="x"), stop(7), END, USAGE)

    assert collect(decode(converse, raw)).text == "x"


def test_bounds():
    """Arguments of one call, and parts."""
    half = "x" * (MAX_TOOL_INPUT_BYTES // 2 + 1)
    large = converse.Decoder(REFERENCE)
    parts = converse.Decoder(REFERENCE)
    reader = converse.Reader(REFERENCE, max_event_bytes=MAX_TOOL_INPUT_BYTES)
    frames = reader.feed(stream(tool(0, "t", "n"), *[delta(0, toolUse={"input": half})] * 2))
    many = converse.Reader(REFERENCE).feed(stream(*(delta(index, text="x") for index in range(MAX_PARTS + 1))))

    for decoder, given_frames in ((large, frames), (parts, many)):
        events = [event for frame in given_frames for event in decoder.feed(frame)]
        assert isinstance(events[-1], Error)
        assert events[-1].error.code == "content_too_large"


def test_stop_reasons():
    for raw, reason in (("end_turn", "stop"), ("max_tokens", "length"), ("guardrail_intervened", "content-filter"),
                        ("malformed_tool_use", "error"), ("brand_new", "other"), (None, "unknown")):  # fmt: skip
        events = decode(converse, stream(START, {"messageStop": {"stopReason": raw}}, USAGE))
        assert isinstance(events[-1], Finish)
        assert (events[-1].reason, events[-1].raw_reason) == (reason, raw)


# -- whole answers


WHOLE: dict[str, Any] = {
    "output": {"message": {"role": "assistant", "content": [
        {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "c2ln"}}},
        {"text": "Two"}, {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Oslo"}}},
        {"citationsContent": {"content": [{"text": "cited"}], "citations": [{"title": "A"}]}}, {"novelty": 1},
    ]}},
    "stopReason": "tool_use", "usage": USAGE["metadata"]["usage"], "metrics": {"latencyMs": 9},
}  # fmt: skip


def test_a_whole_answer():
    reply = converse.parse_reply(WHOLE, REFERENCE)

    kinds = [type(block) for block in reply.blocks]
    assert kinds == [ReasoningBlock, TextBlock, ToolBlock, TextBlock, Source]
    assert (reply.reasoning, reply.text, reply.finish_reason) == ("Hm", "Twocited", "tool-calls")
    assert reply.usage is not None
    assert reply.usage.input_tokens == 15
    assert [block.input for block in reply.blocks if isinstance(block, ToolBlock)] == ['{"city":"Oslo"}']


@pytest.mark.parametrize("body", [{}, {"output": {}}, WHOLE | {"stopReason": None}, {"message": "no"}])
def test_what_is_no_answer(body: dict[str, Any]):
    reply = converse.parse_reply(body, REFERENCE)

    assert reply.error is not None
    assert reply.error.code == "upstream_invalid"


def test_error_answers():
    def code(status: int, text: str = "") -> str:
        return converse.parse_error(status, json.dumps({"message": text}).encode()).code

    assert code(403, "arn") == "upstream_auth"
    assert code(424) == "upstream_error"
    assert code(429) == "rate_limit_exceeded"
    assert code(400, "Input is too long for requested model.") == "context_length_exceeded"
    assert code(400) == "upstream_rejected"
    assert converse.parse_error(400, b"<html>").code == "upstream_rejected"


WRONG = st.sampled_from([None, 0, -1, True, "", "x", [], {}, [{}], {"a": 1}])
KINDS = ("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata")


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(
    st.sampled_from(["contentBlockIndex", "delta", "start", "stopReason", "usage", "metrics"]), WRONG | st.fixed_dictionaries(
        {"text": WRONG, "toolUse": WRONG, "reasoningContent": WRONG, "inputTokens": WRONG})), ), max_size=6))  # fmt: skip
def test_noise(items: list[tuple[str, dict[str, Any]]]):
    """Whatever comes, the events obey the grammar and end once."""
    events = decode(converse, b"".join(message(kind, payload) for kind, payload in items))

    assert sum(isinstance(event, TERMINAL) for event in events) == 1
