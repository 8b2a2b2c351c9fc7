"""Responses encoder: the event sequence, byte for byte where it matters, and the same events back from the bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.call import Call
from streamward.errors import ErrorInfo
from streamward.events import (
    Abort,
    Data,
    Error,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Start,
    StepFinish,
    StepStart,
    TextDelta,
    TextEnd,
    TextStart,
    ToolCall,
    Usage,
    UsageUpdate,
    Vendor,
)
from streamward.reply import Reply, collect, replay
from streamward.wire import responses
from streamward.wire.responses.encode import payload_of
from support.codec import ARGUMENTS, TOKENS, decode, encode, streams
from support.responses import CALL, MARKER, START, STREAMS, USAGE, context, frames, text, tool

GOLDEN = Path(__file__).parent / "golden"
TERMINALS = {"response.completed", "response.incomplete", "response.failed"}


def run(name: str, call: Call | None = None, **options: Any) -> list[dict[str, Any]]:
    return frames(encode(responses, STREAMS[name], context(call, **options)))


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


@pytest.mark.parametrize("name", ["text", "thinking_tools", "sources", "failed"])
def test_golden_bytes(name: str):
    """The whole stream, byte for byte."""
    assert encode(responses, STREAMS[name], context(CALL)) == (GOLDEN / f"{name}.sse").read_bytes()


def test_the_sequence_of_a_text():
    assert kinds(run("text")) == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_deltas_add_up_to_everything_after_them(name: str):
    """Deltas, done event, part, item and final output all hold the same text under one item id."""
    events = run(name)
    deltas: dict[tuple[Any, ...], str] = {}
    items: dict[int, dict[str, Any]] = {}
    for event in events:
        place = (event.get("item_id"), event.get("content_index"), event.get("summary_index"))
        if event["type"].endswith(".delta"):
            deltas[place] = deltas.get(place, "") + event["delta"]
        elif event["type"] in DONE_TEXT:
            assert event[DONE_TEXT[event["type"]]] == deltas.get(place, "")
        elif event["type"] == "response.output_item.done":
            items[event["output_index"]] = event["item"]

    assert events[-1]["type"] in TERMINALS
    assert events[-1]["response"]["output"] == [items[index] for index in range(len(items))]


DONE_TEXT = {
    "response.output_text.done": "text", "response.refusal.done": "refusal",
    "response.function_call_arguments.done": "arguments", "response.reasoning_summary_text.done": "text",
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_added_and_done_come_in_pairs(name: str):
    """Output indexes ascend from 0 without a gap; each item is done once, after it was added, with the same identity."""
    added: list[dict[str, Any]] = []
    done: set[int] = set()
    for event in run(name):
        if event["type"] == "response.output_item.added":
            assert event["output_index"] == len(added)
            added.append(event["item"])
        elif event["type"] == "response.output_item.done":
            before, after = added[event["output_index"]], event["item"]
            assert event["output_index"] not in done
            done.add(event["output_index"])
            for name in ("id", "type", "call_id", "name", "role"):
                assert before.get(name) == after.get(name)

    assert done == set(range(len(added)))


@pytest.mark.parametrize("name", STREAMS)
def test_snapshots_share_identity(name: str):
    snapshots = [event["response"] for event in run(name) if "response" in event]

    assert {(one["id"], one["created_at"], one["model"]) for one in snapshots} == {
        ("resp_abc", 1_700_000_000, "acme/large")
    }
    assert {len(one) for one in snapshots} == {31}


@pytest.mark.parametrize(
    ("name", "kind", "status", "details"),
    [
        ("text", "response.completed", "completed", None),
        ("thinking_tools", "response.completed", "completed", None),
        ("length", "response.incomplete", "incomplete", {"reason": "max_output_tokens"}),
        ("refusal", "response.incomplete", "incomplete", {"reason": "content_filter"}),
        ("other", "response.incomplete", "incomplete", {"reason": "pause_turn"}),
        ("model_error", "response.failed", "failed", None),
        ("failed", "response.failed", "failed", None),
        ("cancelled", "response.incomplete", "cancelled", {"reason": "cancelled"}),
    ],
)
def test_endings(name: str, kind: str, status: str, details: Any):
    """Exactly one terminal event, the last; only a finished response is completed and has a time of completion."""
    events = run(name)
    response = events[-1]["response"]

    assert [event["type"] for event in events if event["type"] in TERMINALS] == [kind]
    assert (events[-1]["type"], response["status"], response["incomplete_details"]) == (kind, status, details)
    assert (response["completed_at"] is not None) == (status == "completed")


def test_a_failure_is_said_flat_and_nested_before_response_failed():
    *_, error, failed = run("failed")

    flat = {"code": "upstream_reset", "message": "the provider's connection broke", "param": None}
    assert {name: error[name] for name in flat} == flat
    assert error["error"] == {**flat, "type": "model_error"}
    assert failed["response"]["error"] == {"code": flat["code"], "message": flat["message"]}
    assert failed["response"]["usage"]["input_tokens"] == 3


@pytest.mark.parametrize("name", ["failed", "cancelled"])
def test_what_broke_off_is_never_called_complete(name: str):
    """The decoder closed the part, but only because the stream ended: its item is incomplete."""
    assert [item["status"] for item in run(name)[-1]["response"]["output"]] == ["incomplete"]


def test_calls_open_side_by_side_are_all_incomplete_when_the_stream_breaks():
    events = [*STREAMS["parallel"][:-1], Error(ErrorInfo("stream_truncated", "cut", 502))]

    output = frames(encode(responses, events, context()))[-1]["response"]["output"]

    assert [item["status"] for item in output] == ["incomplete", "incomplete"]


def test_only_the_last_item_is_incomplete_at_the_token_limit():
    assert [item["status"] for item in run("length")[-1]["response"]["output"]] == ["completed", "incomplete"]


def test_a_stream_without_an_ending_is_called_truncated():
    """``close`` never lets a caller believe that an open end was an end."""
    events = frames(encode(responses, [START, *text("t", "Hal")], context()))

    assert kinds(events)[-2:] == ["error", "failed"]
    assert events[-1]["response"]["error"]["code"] == "stream_truncated"


def test_nothing_after_the_terminal_event():
    encoder = responses.Encoder(context())
    for event in STREAMS["text"]:
        encoder.feed(event)

    assert [*encoder.feed(TextStart("late")), *encoder.feed(Abort()), *encoder.close()] == []


@pytest.mark.parametrize(
    ("option", "marker"), [("cr", MARKER), ("plain", b"data: [DONE]\n\n"), ("off", b""), ("nonsense", MARKER)]
)
def test_end_markers(option: str, marker: bytes):
    raw = encode(responses, STREAMS["text"], context(responses_done=option))

    body, found, rest = raw.rpartition(b'"type":"response.completed"')
    assert found
    assert rest.partition(b"\n\n")[2] == marker
    assert b"[DONE]" not in body


@pytest.mark.parametrize("name", STREAMS)
def test_a_reader_that_cuts_six_characters_off_every_data_line(name: str):
    """Splits each write on LF, cuts ``data: `` and parses: no exception on any frame, and the text is all there."""
    encoder = responses.Encoder(context())
    said = ""
    for event in STREAMS[name]:
        for write in encoder.feed(event):
            for line in write.decode().split("\n"):
                if line.startswith("data:"):
                    value = json.loads(line[6:])
                    said += value["delta"] if value["type"] == "response.output_text.delta" else ""

    assert said == collect(STREAMS[name]).text


def test_line_separators_are_escaped():
    """U+2028, U+2029 and U+0085 end lines for some readers, in the fast path as in snapshots."""
    odd = "a\u2028b\u2029c\u0085d\U0001f600é"

    raw = encode(responses, [START, *text("t", odd), Finish("stop")], context())

    assert not any(char in raw.decode() for char in "\u2028\u2029\u0085")
    assert frames(raw)[4]["delta"] == odd
    assert frames(raw)[-1]["response"]["output"][0]["content"][0]["text"] == odd


def test_half_a_surrogate_pair_does_not_break_the_stream():
    events = frames(encode(responses, [START, *text("t", "a\ud83d"), Finish("stop")], context()))

    assert events[4]["delta"] == "a?"
    assert events[-1]["type"] == "response.completed"


def test_sources_become_annotations_wherever_they_come():
    """Before any text they wait for it; during and right after it they belong to it."""
    events = run("sources")
    content = events[-1]["response"]["output"][0]["content"][0]

    assert [note["url"] for note in content["annotations"]] == [
        "https://a.example/", "https://b.example/", "https://c.example/",
    ]  # fmt: skip
    added = [event for event in events if event["type"] == "response.output_text.annotation.added"]
    assert [(event["annotation_index"], event["annotation"]) for event in added] == list(
        enumerate(content["annotations"])
    )


def test_sources_without_any_text_are_kept():
    events = [STREAMS["sources"][0], STREAMS["sources"][1], Finish("stop")]

    output = frames(encode(responses, events, context()))[-1]["response"]["output"]

    assert output[0]["content"][0]["annotations"][0]["url"] == "https://a.example/"


def test_signatures_travel_in_encrypted_content():
    """Those of other dialects are wrapped, so that the next request can tell them apart."""
    thinking, redacted = run("thinking_tools")[-1]["response"], run("redacted")[-1]["response"]

    assert thinking["output"][0]["encrypted_content"] == "sw1.signature.c2ln"
    assert redacted["output"][0]["encrypted_content"] == "sw1.redacted.b3BhcXVl"
    assert "encrypted_content" not in run("text")[-1]["response"]["output"][0]


def test_the_signature_of_a_call_follows_it_as_a_reasoning_item():
    call, stash = run("signed_call")[-1]["response"]["output"]

    assert (call["type"], stash["type"]) == ("function_call", "reasoning")
    assert stash["encrypted_content"] == "sw1.call.6.call_1Z2VtaW5p"


def test_reasoning_parts_become_summary_parts():
    break_ = ReasoningDelta("r", "\n\n", {"responses": {"break": True}})
    events = [START, ReasoningStart("r"), ReasoningDelta("r", "One"), break_, ReasoningDelta("r", "Two"),
              ReasoningEnd("r"), Finish("stop")]  # fmt: skip

    item = frames(encode(responses, events, context()))[-1]["response"]["output"][0]

    assert [part["text"] for part in item["summary"]] == ["One", "Two"]


def test_extension_events_only_on_request():
    """Strict clients throw on an event they do not know."""
    events = [START, StepStart(), Data("progress", {"done": 1}), StepFinish("stop"), Finish("stop")]

    assert kinds(frames(encode(responses, events, context()))) == ["created", "in_progress", "completed"]
    asked = frames(encode(responses, events, context(extensions=True)))
    assert asked[2]["type"] == "streamward:data"
    assert asked[2]["event"] == {"type": "data", "name": "progress", "data": {"done": 1}}


def test_vendor_items_keep_their_place_and_get_our_numbers():
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    frames_of_search = [
        {"type": "response.output_item.added", "output_index": 7, "sequence_number": 99, "item": search},
        {"type": "response.web_search_call.searching", "output_index": 7, "sequence_number": 100, "item_id": "ws_1"},
        {"type": "response.output_item.done", "output_index": 7, "sequence_number": 101, "item": search},
    ]
    vendor = [Vendor("responses", frame) for frame in frames_of_search]

    events = frames(encode(responses, [START, *vendor, *text("t", "Hi"), Finish("stop")], context()))

    assert [event.get("output_index") for event in events[2:6]] == [0, 0, 0, 1]
    assert events[-1]["response"]["output"][0] == search


@pytest.mark.parametrize(
    "vendor",
    [
        Vendor("messages", {"type": "ping"}),
        Vendor("responses", {"type": "x\ndata: {}"}),
        Vendor("responses", {"type": 7}),
        Vendor("responses", "no object"),
    ],
)
def test_frames_of_other_dialects_and_forged_names_are_not_sent(vendor: Vendor):
    assert kinds(frames(encode(responses, [START, vendor, Finish("stop")], context())))[2:] == ["completed"]


def test_a_whole_tool_call_is_streamed_as_one():
    events = frames(encode(responses, [START, ToolCall("c", "f", {"a": 1}), Finish("tool-calls")], context()))

    assert events[-1]["response"]["output"][0]["arguments"] == '{"a":1}'


def test_a_streamed_tool_call_is_not_sent_twice():
    events = [START, *tool("c", "f", "{}"), ToolCall("c", "f", {}), Finish("tool-calls")]

    assert len(frames(encode(responses, events, context()))[-1]["response"]["output"]) == 1


def test_the_latest_usage_counts_when_the_end_has_none():
    events = [START, UsageUpdate(Usage(input_tokens=1)), UsageUpdate(USAGE), Finish("stop")]

    assert frames(encode(responses, events, context()))[-1]["response"]["usage"]["output_tokens"] == 7


def test_the_request_is_echoed():
    response = run("text", CALL)[0]["response"]

    assert response["instructions"] == "Be brief."
    assert response["tools"][0]["parameters"] == CALL.tools[0].schema
    assert response["tool_choice"]["tools"] == [{"type": "function", "name": "weather"}]
    assert (response["temperature"], response["max_output_tokens"]) == (0.5, 100)
    assert response["text"] == {"format": {"type": "json_object"}}
    assert response["reasoning"] == {"effort": "low", "summary": "auto"}
    assert response["metadata"] == {"team": "blue"}


def test_the_callers_word_stands_against_the_upstreams():
    """An upstream of the same dialect may add what nobody asked for, and change nothing the caller said."""
    said = {"service_tier": "flex", "temperature": 0.1, "x_cost": 3, "id": "up", "instructions": "secret"}
    start = Start("up", "m", extra={"responses": {"response": said}})

    response = frames(encode(responses, [start, Finish("stop")], context(CALL)))[-1]["response"]

    assert (response["service_tier"], response["temperature"], response["x_cost"]) == ("flex", 0.5, 3)
    assert (response["id"], response["instructions"]) == ("resp_abc", "Be brief.")


def test_time_of_completion_comes_from_outside():
    assert run("text", now=lambda: 1_700_000_042)[-1]["response"]["completed_at"] == 1_700_000_042


def test_queued():
    events = run("text", queued=True)

    assert [(event["type"], event["response"]["status"]) for event in events[:3]] == [
        ("response.created", "queued"), ("response.queued", "queued"), ("response.in_progress", "in_progress"),
    ]  # fmt: skip


def test_payload_of_a_frame():
    """What a WebSocket message holds: the event's JSON, and nothing for the end marker."""
    encoder = responses.Encoder(context())
    written = [frame for event in STREAMS["text"] for frame in encoder.feed(event)]

    payloads = [payload_of(frame) for frame in written]

    assert payloads[-1] is None
    assert [json.loads(payload)["sequence_number"] for payload in payloads[:-1] if payload] == list(range(10))


@pytest.mark.parametrize("name", STREAMS)
def test_a_reply_renders_as_its_stream_ended(name: str):
    """Streamed or not, the response object is the same."""
    reply = collect(STREAMS[name])

    assert responses.render_reply(reply, context(CALL)) == run(name, CALL)[-1]["response"]


@pytest.mark.parametrize("name", STREAMS)
def test_a_replayed_reply_gives_the_same_output(name: str):
    replayed = frames(encode(responses, replay(collect(STREAMS[name])), context(CALL)))

    assert replayed[-1]["response"]["output"] == run(name, CALL)[-1]["response"]["output"]


FINISHES = st.sampled_from([Finish("stop"), Finish("length"), Finish("content-filter")])
USAGES = st.builds(
    Usage, input_tokens=TOKENS, output_tokens=TOKENS, cached_input_tokens=TOKENS, cache_write_tokens=TOKENS,
    reasoning_tokens=TOKENS,
)  # fmt: skip


def bare(reply: Reply) -> Any:
    """*reply* without what only names things: ids and the echo of the request."""
    blocks = [(type(block).__name__, getattr(block, "text", None) or getattr(block, "input", None),
               getattr(block, "signature", None), getattr(block, "name", None)) for block in reply.blocks]  # fmt: skip
    return blocks, reply.usage


@given(streams(ids="p{}".format, arguments=st.sampled_from([[text] for text in ARGUMENTS]), usages=USAGES,
               finishes=FINISHES))  # fmt: skip
def test_events_survive_the_wire(events: list[Any]):
    """Bytes read back give the events they were made from."""
    back = decode(responses, encode(responses, events, context()))

    assert bare(collect(back)) == bare(collect(events))
    reason = collect(events).finish_reason
    calls = bool(collect(events).tool_calls)
    assert collect(back).finish_reason == ("tool-calls" if reason == "stop" and calls else reason)


@given(st.lists(st.sampled_from([event for events in STREAMS.values() for event in events]), max_size=30))
def test_any_order_of_events_gives_a_well_formed_stream(events: list[Any]):
    """Whatever comes in, in whatever order, what goes out is one numbered stream with one ending."""
    out = frames(encode(responses, events, context()))

    assert sum(event["type"] in TERMINALS for event in out) == 1
    assert out[-1]["type"] in TERMINALS
    assert decode(responses, encode(responses, events, context()))


def test_deltas_of_parts_nobody_opened_are_dropped():
    events = [START, TextDelta("x", "a"), ReasoningDelta("y", "b"), TextEnd("x"), ReasoningEnd("y"), Finish("stop")]

    assert frames(encode(responses, events, context()))[-1]["response"]["output"] == []
