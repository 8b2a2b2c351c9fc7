"""Chat Completions encoder: reference chunks, and that a decoder reads back what went in."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.errors import ErrorInfo
from streamward.events import (
    Abort,
    Data,
    Error,
    Event,
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
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
    UsageUpdate,
    Vendor,
)
from streamward.reply import ReasoningBlock, TextBlock, collect
from streamward.wire import chat_completions
from streamward.wire.dialect import Context
from support.codec import CONTEXT, decode, encode, streams

QUIET = Context(id="chatcmpl-1", model="m", created=7, include_usage=False)
ASKED = Context(id="chatcmpl-1", model="m", created=7)
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "m"}


def sent(events: list[Event], context: Context = QUIET) -> list[Any]:
    raw = encode(chat_completions, events, context).decode()
    assert re.fullmatch(r"(data: [^\n\r]*\n\n)*", raw)
    return [data if data == "[DONE]" else json.loads(data) for data in re.findall(r"data: (.*)\n\n", raw)]


def chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], **fields}


TEXT: list[Event] = [Start("theirs", "their-model"), TextStart("0"), TextDelta("0", "a\u2028\u00e9"), TextEnd("0")]


def test_text():
    """Role first, deltas, finish, ``[DONE]``; our id and model, not the provider's."""
    assert sent([*TEXT, Finish("stop", Usage(1, 2))]) == [
        chunk({"role": "assistant", "content": ""}), chunk({"content": "a\u2028\u00e9"}), chunk({}, "stop"), "[DONE]",
    ]  # fmt: skip


def test_usage_when_asked_for():
    """Null on every chunk, then one chunk with no choices."""
    items = sent([*TEXT, Finish("stop", Usage(1, 2, 1, reasoning_tokens=2))], ASKED)

    assert [item["usage"] for item in items[:3]] == [None] * 3
    assert items[3] == {
        **HEAD, "choices": [],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3,
                  "prompt_tokens_details": {"cached_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 2}},
    }  # fmt: skip
    assert items[4:] == ["[DONE]"]


def test_usage_that_nobody_knows_is_not_made_up():
    assert sent([*TEXT, Finish("stop")], ASKED)[3:] == ["[DONE]"]


def test_vendor_fields_of_usage_are_put_back():
    raw = {"prompt_tokens": 9, "cost": 0.5, "prompt_tokens_details": {"audio_tokens": 1}}

    (usage,) = (i["usage"] for i in sent([*TEXT, Finish("stop", Usage(1, 2, extra={"chat_completions": raw}))], ASKED)[3:4])

    assert usage["cost"] == 0.5
    assert usage["prompt_tokens_details"] == {"audio_tokens": 1, "cached_tokens": 0}
    assert (usage["prompt_tokens"], usage["total_tokens"]) == (1, 3)


def test_fields_of_the_start_are_put_back():
    """On every chunk, and they cannot replace what is ours."""
    start = Start(extra={"chat_completions": {"service_tier": "flex", "id": "theirs"}, "messages": {"x": 1}})

    items = sent([start, *TEXT[1:], Finish("stop")])

    assert all((item["service_tier"], item["id"], "x" in item) == ("flex", "chatcmpl-1", False) for item in items[:-1])


def test_tool_calls():
    """Indexes are contiguous in order of start; id, type and name come once."""
    events: list[Event] = [
        Start(), ToolInputStart("a", "f"), ToolInputDelta("a", '{"x":'), ToolInputStart("b", "g"), ToolInputDelta("b", "{}"),
        ToolInputDelta("a", "1}"), ToolInputEnd("a"), ToolInputEnd("b"), Finish("tool-calls"),
    ]  # fmt: skip

    deltas = [item["choices"][0]["delta"].get("tool_calls") for item in sent(events)[1:-2]]

    assert deltas == [
        [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}],
        [{"index": 0, "function": {"arguments": '{"x":'}}],
        [{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}],
        [{"index": 1, "function": {"arguments": "{}"}}],
        [{"index": 0, "function": {"arguments": "1}"}}],
    ]


def test_tools_the_provider_ran_are_not_the_clients():
    """It would run them again."""
    own = ToolInputStart("a", "search", provider_executed=True)
    events: list[Event] = [Start(), own, ToolInputDelta("a", "{}"), ToolInputEnd("a"), Finish("stop")]

    assert len(sent(events)) == 3


@pytest.mark.parametrize(
    ("finish", "word"),
    [
        (Finish("stop"), "stop"), (Finish("length"), "length"), (Finish("tool-calls"), "tool_calls"),
        (Finish("content-filter"), "content_filter"), (Finish("other", raw_reason="eos"), "eos"), (Finish("other"), "other"),
        (Finish("unknown"), "unknown"),
    ],
)  # fmt: skip
def test_finish_reasons(finish: Finish, word: str):
    """Never a ``stop`` that nobody said."""
    items = sent([*TEXT, finish])

    assert items[-2]["choices"][0]["finish_reason"] == word


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (Error(ErrorInfo("stream_truncated", "it broke off", 502)), "stream_truncated"),
        (Abort("stopped"), "cancelled"),
        (Finish("error"), "upstream_error"),
    ],
)
def test_failures(last: Event, code: str):
    """One error frame, no finish chunk, no usage, no ``[DONE]``."""
    items = sent([*TEXT, last], ASKED)

    assert len(items) == 3
    assert items[-1]["error"]["code"] == code
    assert set(items[-1]["error"]) == {"message", "type", "param", "code"}


def test_nothing_after_the_end():
    encoder = chat_completions.Encoder(QUIET)
    encoder.feed(Finish("stop"))

    assert [encoder.feed(event) for event in (TextDelta("0", "late"), Finish("stop"), Error(ErrorInfo("c", "m")))] == [[]] * 3


def test_vendor_frames_of_the_same_dialect_only():
    payload = {"object": "chat.completion.chunk", "x": 1}

    assert sent([Start(), Vendor("chat_completions", payload), Vendor("messages", {"y": 2})])[1:] == [payload]


@pytest.mark.parametrize("event", [UsageUpdate(Usage(1)), Data("x"), Source("s", kind="document"), ReasoningStart("r")])
def test_what_has_no_chunk(event: Event):
    assert sent([Start(), event])[1:] == []


def test_line_separators_never_leave_raw():
    """In the short way and in the long one."""
    events: list[Event] = [
        Start(),
        TextDelta("0", "\u2028\u2029\u0085"),
        TextDelta("0", "\u2028", []),
        ToolInputStart("\u2029", "\u0085"),
    ]

    assert len(encode(chat_completions, events).decode().splitlines()) == 4 * 2


STREAMS = streams(
    ids=str,
    arguments=st.sampled_from([["{}"], ['{"city":', '"Paris"}'], [""], []]),
    usages=st.none() | st.builds(Usage, st.integers(0, 99), st.integers(0, 99), st.just(0), reasoning_tokens=st.just(0)),
    finishes=st.sampled_from(
        [Finish("stop"), Finish("length"), Finish("content-filter"), Finish("tool-calls"), Finish("other", raw_reason="eos")]
    ),
)


def meaning(events: list[Event]) -> Any:
    """What a stream says, whatever its parts are called; neighbours of one kind are one part on this wire."""
    reply = collect(events)
    blocks: list[Any] = []
    for block in reply.blocks:
        last = blocks[-1] if blocks else None
        if isinstance(block, (TextBlock, ReasoningBlock)):
            signature = block.signature if isinstance(block, ReasoningBlock) else None
            if last and last[0] is type(block) and not last[2]:
                blocks[-1] = (type(block), last[1] + block.text, signature)
            else:
                blocks.append((type(block), block.text, signature))
        else:
            blocks.append((block.id, getattr(block, "name", ""), getattr(block, "input", "")))
    return blocks, reply.raw_reason, reply.usage and (reply.usage.input_tokens, reply.usage.output_tokens)


@given(events=STREAMS)
def test_round_trip(events: list[Event]):
    """Parts, order, signatures, arguments, usage and ending survive."""
    back = decode(chat_completions, encode(chat_completions, events, CONTEXT))

    blocks, raw_reason, usage = meaning(back)
    expected, expected_raw, expected_usage = meaning(events)
    signed = [block for block in expected if block[0] is ReasoningBlock and block[2]]
    if not signed:
        assert blocks == expected
    assert "".join(b[1] for b in blocks if b[0] is TextBlock) == "".join(b[1] for b in expected if b[0] is TextBlock)
    assert (raw_reason, usage) == (expected_raw, expected_usage)
    reason = events[-1].reason  # type: ignore[union-attr]
    called = any(isinstance(event, ToolInputStart) for event in events)
    assert back[-1].reason == ("tool-calls" if called and reason == "stop" else reason)  # type: ignore[union-attr]


def test_round_trip_of_everything_else():
    """Logprobs, refusals, sources, opaque reasoning."""
    logprobs = [{"token": "a", "logprob": -0.5}]
    events: list[Event] = [
        Start(), ReasoningStart("reasoning-0"), ReasoningEnd("reasoning-0", None, "opaque"), TextStart("text-1"),
        TextDelta("text-1", "a", logprobs), Source("source-0", url="u", title="t", part_id="text-1", start=0, end=1),
        TextEnd("text-1"), RefusalStart("refusal-2"), RefusalDelta("refusal-2", "no"), RefusalEnd("refusal-2"),
        Finish("stop"),
    ]  # fmt: skip

    assert decode(chat_completions, encode(chat_completions, events))[1:] == events[1:]
