"""Messages encoder: bytes for events, and the same events back from the bytes."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streamward.errors import ErrorInfo
from streamward.events import (
    Abort,
    Error,
    Event,
    File,
    Finish,
    ReasoningDelta,
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
from streamward.reply import collect
from streamward.wire import messages
from support.codec import ARGUMENTS, CONTEXT, TOKENS, decode, encode, streams


def frames(raw: bytes) -> list[dict[str, Any]]:
    """The data of every frame; each is named by its type."""
    out = []
    for frame in raw.decode().removesuffix("\n\n").split("\n\n"):
        event, data = frame.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert event == f"event: {value['type']}"
        out.append(value)
    return out


def text(part_id: str, *deltas: str) -> list[Event]:
    return [TextStart(part_id), *(TextDelta(part_id, delta) for delta in deltas), TextEnd(part_id)]


def test_text_bytes():
    """The whole stream, byte for byte; input usage known before the first content stands in message_start."""
    usage = Usage(input_tokens=12, output_tokens=3, cached_input_tokens=4)
    events = [
        Start("up", "up"), UsageUpdate(Usage(input_tokens=12, cached_input_tokens=4)),
        *text("a", "Hi", " \u2028é"), Finish("stop", usage),
    ]  # fmt: skip

    raw = encode(messages, events)

    assert raw == (
        b"event: message_start\n"
        b'data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"model-1",'
        b'"content":[],"stop_reason":null,"stop_sequence":null,'
        b'"usage":{"input_tokens":8,"cache_read_input_tokens":4,"output_tokens":0}}}\n\n'
        b"event: content_block_start\n"
        b'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}\n\n'
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" \\u2028\xc3\xa9"}}\n\n'
        b"event: content_block_stop\n"
        b'data: {"type":"content_block_stop","index":0}\n\n'
        b"event: message_delta\n"
        b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        b'"usage":{"input_tokens":8,"cache_read_input_tokens":4,"output_tokens":3}}\n\n'
        b"event: message_stop\n"
        b'data: {"type":"message_stop"}\n\n'
    )


def test_interleaved_tools_keep_their_index():
    """Fragments of two calls may alternate; each names its block."""
    events = [
        Start(), *text("0", "x"), ToolInputStart("a", "f"), ToolInputStart("b", "g"), ToolInputDelta("a", "{"),
        ToolInputDelta("b", "[]"), ToolInputDelta("a", "}"), ToolInputEnd("b"), ToolInputEnd("a"), Finish("tool-calls"),
    ]  # fmt: skip

    sent = [
        (f["index"], f["delta"].get("partial_json"))
        for f in frames(encode(messages, events))
        if "delta" in f and "index" in f
    ]

    assert sent == [(0, None), (1, "{"), (2, "[]"), (1, "}")]


def test_text_goes_on_after_a_tool_in_a_new_block():
    """Text blocks never overlap another block."""
    events = [
        Start(), TextStart("0"), TextDelta("0", "a"), ToolInputStart("t", "f"), ToolInputEnd("t"), TextDelta("0", "b"),
        TextEnd("0"), Finish("stop"),
    ]  # fmt: skip

    reply = collect(decode(messages, encode(messages, events)))

    assert [getattr(block, "text", getattr(block, "input", None)) for block in reply.blocks] == ["a", "{}", "b"]


def test_text_of_another_part_never_reaches_the_open_block():
    """Two text parts open at once, and a thinking part with the empty id between them."""
    events = [
        Start(), TextStart(""), TextStart("1"), TextDelta("", "a"), ReasoningStart("r"), ReasoningDelta("r", "?"),
        TextDelta("", "b"), TextDelta("1", "c"), ReasoningEnd("r"), TextEnd(""), TextEnd("1"), Finish("stop"),
    ]  # fmt: skip

    reply = collect(decode(messages, encode(messages, events)))

    assert (reply.text, reply.reasoning, len(reply.blocks)) == ("abc", "?", 4)


def test_redacted_and_signed_reasoning():
    events = [
        Start(), ReasoningStart("0"), ReasoningEnd("0", redacted="b3BhcXVl"), ReasoningStart("1"),
        ReasoningEnd("1", "c2ln"),
        ReasoningStart("2"), ReasoningDelta("2", "hm"), ReasoningEnd("2", "s", "r"), ReasoningStart("3"),
        ReasoningEnd("3"),
        Finish("stop"),
    ]  # fmt: skip

    blocks = collect(decode(messages, encode(messages, events))).blocks

    seen = [(block.text, block.signature, block.redacted) for block in blocks]  # type: ignore[union-attr]
    assert seen == [("", None, "b3BhcXVl"), ("", "c2ln", None), ("hm", "s", None), ("", None, "r")]


def test_call_signature_travels_beside_the_call_and_back():
    """Gemini signs calls: the signature goes out as redacted thinking, which clients must return, and is found again."""
    events = [
        Start(), ToolInputStart("c1", "f"), ToolInputDelta("c1", '{"a":1}'), ToolInputEnd("c1", "Z2Vt:aW5p"),
        Finish("tool-calls"),
    ]  # fmt: skip
    answer = messages.render_reply(collect(events), CONTEXT)
    streamed = [frame["content_block"] for frame in frames(encode(messages, events)) if "content_block" in frame]

    call = messages.parse_request(
        {"model": "m", "max_tokens": 9, "messages": [{"role": "assistant", "content": answer["content"]}]}
    )

    assert streamed[1] == answer["content"][1]
    (part,) = call.messages[0].parts
    assert part.signature == "Z2Vt:aW5p"  # type: ignore[union-attr]


def test_refusal_is_said_as_stop_reason():
    events = [Start(), RefusalStart("0"), RefusalDelta("0", "No."), RefusalEnd("0"), Finish("stop")]

    sent = frames(encode(messages, events))

    assert sent[2]["delta"] == {"type": "text_delta", "text": "No."}
    assert sent[-2]["delta"]["stop_reason"] == "refusal"


def test_reasons_without_a_word_are_not_made_up():
    for reason in ("other", "unknown"):
        assert frames(encode(messages, [Start(), Finish(reason)]))[-2]["delta"]["stop_reason"] is None  # type: ignore[arg-type]


def test_sources_are_citations_of_their_text():
    """Inside the open part; beside it when the text is closed; in the provider's own form when it has one."""
    own = {"type": "char_location", "cited_text": "x", "document_index": 0}
    events = [
        Start(), TextStart("0"), Source("s1", url="https://e.org", title="E", part_id="0"), TextDelta("0", "a"),
        Source("s2", "document", part_id="0", extra={"messages": {"citation": own}}), TextEnd("0"),
        Source("s3", url="https://late.org"), Finish("stop"),
    ]  # fmt: skip

    body = messages.render_reply(collect(events), CONTEXT)
    streamed = collect(decode(messages, encode(messages, events)))

    assert [[c.get("url", c["type"]) for c in block["citations"]] for block in body["content"]] == [
        ["https://e.org", "char_location"], ["https://late.org"],
    ]  # fmt: skip
    assert [block.url for block in streamed.blocks if isinstance(block, Source)] == [
        "https://e.org",
        None,
        "https://late.org",
    ]


def test_files_vendor_frames_and_whole_calls():
    block = {"type": "compaction", "content": ""}
    delta = {"type": "compaction_delta", "content": "sum"}
    events = [
        Start(), File("image/png", data="aWNv"),
        Vendor("messages", {"content_block": block, "deltas": [delta]}, "content_block"),
        Vendor("messages", {"type": "novel", "x": 1}, "novel"), Vendor("responses", {"type": "x"}, "x"),
        ToolCall("t", "f", {"a": 1}), Finish("stop"),
    ]  # fmt: skip

    again = decode(messages, encode(messages, events))

    assert [event for event in again if isinstance(event, File)] == [File("image/png", data="aWNv")]
    assert [event.payload for event in again if isinstance(event, Vendor)] == [
        {"content_block": block, "deltas": [delta]}, {"type": "novel", "x": 1},
    ]  # fmt: skip
    assert collect(again).tool_calls[0].input == '{"a":1}'


def test_a_call_whose_input_was_streamed_goes_out_once():
    events = [Start(), ToolInputStart("t", "f"), ToolInputEnd("t"), ToolCall("t", "f", {}), Finish("tool-calls")]

    assert len(collect(decode(messages, encode(messages, events))).tool_calls) == 1


def test_failures_end_with_an_error_event_only():
    """No message_stop, no message_delta: nothing that reads as a finished answer."""
    for terminal in (Error(ErrorInfo("stream_truncated", "cut", 502)), Abort("shutdown"), Finish("error")):
        sent = frames(encode(messages, [Start(), TextStart("0"), TextDelta("0", "a"), TextEnd("0"), terminal]))

        assert [frame["type"] for frame in sent[3:]] == ["content_block_stop", "error"]
        assert sent[-1]["error"]["type"] == "api_error"


def test_every_frame_is_one_item():
    """A network write may hold several frames, but never part of one."""
    encoder = messages.Encoder(CONTEXT)
    items = [frame for event in [Start(), *text("0", "a\r\nb"), Finish("stop")] for frame in encoder.feed(event)]

    assert all(item.endswith(b"\n\n") and item.count(b"\n") == 3 for item in items)


USAGES = st.builds(
    lambda plain, read, write, output, reasoning: Usage(
        input_tokens=plain + (read or 0) + (write or 0), output_tokens=output, cached_input_tokens=read,
        cache_write_tokens=write, reasoning_tokens=reasoning,
    ),
    TOKENS, st.none() | TOKENS, st.none() | TOKENS, TOKENS, st.none() | TOKENS,
)  # fmt: skip
FINISHES = st.sampled_from([
    Finish("stop"), Finish("length"), Finish("tool-calls"), Finish("content-filter"), Finish("unknown"),
    Finish("other", raw_reason="pause_turn"), Finish("stop", raw_reason="stop_sequence"),
])  # fmt: skip
FRAGMENTS = st.sampled_from(ARGUMENTS).flatmap(
    lambda whole: st.integers(1, len(whole)).map(lambda at: [part for part in (whole[:at], whole[at:]) if part])
)


@given(streams(ids=str, arguments=FRAGMENTS, usages=USAGES, finishes=FINISHES))
def test_round_trip(events: list[Event]):
    """Events to bytes to events: the same, except for the usage that message_start repeats."""
    again = decode(messages, encode(messages, events))

    assert [event for event in again if not isinstance(event, UsageUpdate)] == events
