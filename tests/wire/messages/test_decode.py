"""Messages decoder: what each frame becomes, and that nothing a stream does breaks the grammar."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamward.events import (
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
    UsageUpdate,
    Vendor,
)
from streamward.reply import collect
from streamward.wire import messages
from streamward.wire.dialect import MAX_PARTS, MAX_TOOL_INPUT_BYTES, Profile
from streamward.wire.sse import Frame
from support.codec import check_cuts, check_truncations, decode

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.name for path in GOLDEN.glob("*.sse"))


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.sse").read_bytes()


def stream(*frames: dict[str, object]) -> bytes:
    return b"".join(f"event: {frame['type']}\ndata: {json.dumps(frame)}\n\n".encode() for frame in frames)


START = {
    "type": "message_start",
    "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
                "usage": {"input_tokens": 5, "output_tokens": 1}},
}  # fmt: skip
DELTA_END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
STOP = {"type": "message_stop"}


def block(index: int, content: dict[str, object], *deltas: dict[str, object]) -> list[dict[str, object]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def test_thinking_text_and_parallel_tools():
    """Signature at the end of its part, empty fragments left out, cached tokens counted into the input."""
    events = decode(messages, golden("thinking_tools"))

    usage = Usage(
        input_tokens=120, output_tokens=64, cached_input_tokens=80, cache_write_tokens=10, reasoning_tokens=21,
        extra={"messages": {"service_tier": "standard"}},
    )  # fmt: skip
    first = Usage(
        input_tokens=120, output_tokens=1, cached_input_tokens=80, cache_write_tokens=10,
        extra={"messages": {"service_tier": "standard"}},
    )  # fmt: skip
    assert events == [
        Start("msg_01ABC", "claude-sonnet-4-5"),
        UsageUpdate(first),
        ReasoningStart("0"),
        ReasoningDelta("0", "Two cities, "),
        ReasoningDelta("0", "two calls."),
        ReasoningEnd("0", "c2lnLTE="),
        ReasoningStart("1"),
        ReasoningEnd("1", redacted="b3BhcXVl"),
        TextStart("2"),
        TextDelta("2", "Let me look — naïve 🙂"),
        TextEnd("2"),
        ToolInputStart("toolu_01A", "weather"),
        ToolInputDelta("toolu_01A", '{"city": "Par'),
        ToolInputDelta("toolu_01A", 'is\\u00e9"}'),
        ToolInputEnd("toolu_01A"),
        ToolInputStart("toolu_01B", "now"),
        ToolInputDelta("toolu_01B", "{}"),
        ToolInputEnd("toolu_01B"),
        Finish("tool-calls", usage),
    ]


def test_server_tool_and_citations():
    """A server tool's call is marked as run by the provider, its result travels whole, citations become sources."""
    events = decode(messages, golden("server_tool"))

    call, *_ = [event for event in events if isinstance(event, ToolInputStart)]
    vendors = [event for event in events if isinstance(event, Vendor)]
    sources = [event for event in events if isinstance(event, Source)]
    assert call.provider_executed
    assert call.extra == {"messages": {"type": "server_tool_use"}}
    assert [vendor.name for vendor in vendors] == ["content_block"]
    assert vendors[0].payload["content_block"]["type"] == "web_search_tool_result"
    assert [(source.url, source.title, source.part_id) for source in sources] == [
        ("https://example.org/a", "A page", "2"),
        (None, "Report", "2"),
    ]
    assert [source.kind for source in sources] == ["url", "document"]
    assert isinstance(events[-1], Finish)
    assert (events[-1].reason, events[-1].raw_reason) == ("other", "pause_turn")


@pytest.mark.parametrize("case", CASES)
def test_cuts(case: str):
    """Where the network cuts a body changes nothing."""
    check_cuts(messages, (GOLDEN / case).read_bytes())


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("error")])
def test_truncations(case: str):
    """A body that ends before message_stop is never a finished one."""
    raw = (GOLDEN / case).read_bytes()
    check_truncations(messages, raw, whole_from=len(raw) - 1)


def test_overloaded_after_200():
    """``event: error`` ends the stream with our words and the usage known so far; open parts are closed first."""
    events = decode(messages, golden("error_overloaded"))

    assert events[-2:] == [
        TextEnd("0"),
        Error(events[-1].error, Usage(input_tokens=5, output_tokens=1)),  # type: ignore[union-attr]
    ]
    error = events[-1].error  # type: ignore[union-attr]
    assert (error.code, error.status, error.safe_to_retry) == ("upstream_error", 502, True)
    assert "sk-secret" not in error.message


@pytest.mark.parametrize(
    ("raw", "reason", "word"),
    [
        ("end_turn", "stop", None), ("stop_sequence", "stop", "stop_sequence"), ("max_tokens", "length", None),
        ("tool_use", "tool-calls", None), ("refusal", "content-filter", None), ("pause_turn", "other", "pause_turn"),
        ("model_context_window_exceeded", "length", "model_context_window_exceeded"), ("novel", "other", "novel"),
        (None, "unknown", None),
    ],
)  # fmt: skip
def test_stop_reasons(raw: str | None, reason: str, word: str | None):
    end = DELTA_END | {"delta": {"stop_reason": raw}}

    finish = decode(messages, stream(START, end, STOP))[-1]

    assert isinstance(finish, Finish)
    assert (finish.reason, finish.raw_reason) == (reason, word)


@pytest.mark.parametrize(
    "raw",
    [
        b"data: {nonsense\n\n", b"data: [1]\n\n", b'data: {"no":"type"}\n\n', b'data: {"type":3}\n\n',
        b"data: \xff\n\n",
        stream(START, START),
        stream(START, {"type": "content_block_start", "index": "x", "content_block": {}}),
        stream(START, {"type": "content_block_start", "index": 0}),
        stream(START, {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "a"}}),
        b'data: {"type":"content_block_delta","index":0}\n\n',
    ],
)  # fmt: skip
def test_what_is_not_the_dialect(raw: bytes):
    """It ends the stream, also when a proper message_stop follows."""
    error = decode(messages, raw + stream(STOP))[-1]

    assert isinstance(error, Error)
    assert error.error.code == "upstream_invalid"


def test_error_object_without_type():
    """Compatible servers send an OpenAI error object in the middle."""
    error = decode(messages, stream(START) + b'data: {"error":{"type":"rate_limit_error"}}\n\n')[-1]

    assert isinstance(error, Error)
    assert error.error.code == "rate_limit_exceeded"


def test_unknown_frames_and_blocks_pass_on():
    events = decode(
        messages,
        stream(START, {"type": "novel", "x": 1}, *block(0, {"type": "new_block", "a": 1}, {"type": "d", "b": 2}), STOP),
    )

    vendors = [event for event in events if isinstance(event, Vendor)]
    assert [(vendor.name, vendor.payload) for vendor in vendors] == [
        ("novel", {"type": "novel", "x": 1}),
        ("content_block", {"content_block": {"type": "new_block", "a": 1}, "deltas": [{"type": "d", "b": 2}]}),
    ]


def test_whole_input_without_deltas():
    """Some servers put the arguments into content_block_start."""
    whole = {"type": "tool_use", "id": "t", "name": "n", "input": {"a": [1]}}

    reply = collect(decode(messages, stream(START, *block(0, whole), DELTA_END, STOP)))

    assert reply.tool_calls[0].input == '{"a":[1]}'


def test_repeated_and_missing_tool_ids():
    """Ids stay unique, and the same on every run."""
    call = {"type": "tool_use", "id": "t", "name": "n", "input": {}}
    nameless = {"type": "tool_use", "name": "n", "input": {}}

    raw = stream(START, *block(0, call), *block(1, call), *block(2, nameless), STOP)

    assert [call.id for call in collect(decode(messages, raw)).tool_calls] == ["t", "t_1", "toolu_2"]


def test_usage_only_at_the_end():
    start = {"type": "message_start", "message": {"id": "x", "model": "m"}}
    end = DELTA_END | {"usage": {"input_tokens": 9, "output_tokens": 4}}

    finish = decode(messages, stream(start, end, STOP))[-1]

    assert finish == Finish("stop", Usage(input_tokens=9, output_tokens=4))


def test_ends_with():
    """A profile may take a stop reason, or the end of the body, for an ending; the reference takes neither."""
    unmarked = stream(START, DELTA_END)
    bare = stream(START, *block(0, {"type": "text", "text": "a"}))

    assert isinstance(decode(messages, unmarked)[-1], Error)
    assert isinstance(decode(messages, unmarked, Profile(ends_with="finish"))[-1], Finish)
    assert isinstance(decode(messages, bare, Profile(ends_with="finish"))[-1], Error)
    assert isinstance(decode(messages, bare, Profile(ends_with="eof"))[-1], Finish)


def test_nothing_after_the_end():
    decoder = messages.Decoder(Profile())
    for item in (START, DELTA_END, STOP):
        decoder.feed(Frame(json.dumps(item).encode()))

    assert decoder.feed(Frame(json.dumps(START).encode())) == []
    assert decoder.close() == []


def test_bounds():
    """Too many parts and too long arguments end the stream."""
    flood = stream(START, *(frame for index in range(MAX_PARTS + 1) for frame in block(index, {"type": "text"})))
    half = "x" * (MAX_TOOL_INPUT_BYTES // 2 + 1)
    deltas = [{"type": "input_json_delta", "partial_json": half}] * 2
    long = stream(START, *block(0, {"type": "tool_use", "id": "t", "name": "n", "input": {}}, *deltas), STOP)

    for raw in (flood, long):
        error = decode(messages, raw)[-1]
        assert isinstance(error, Error)
        assert error.error.code == "content_too_large"
