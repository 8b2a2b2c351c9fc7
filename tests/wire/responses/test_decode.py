"""Responses decoder: what providers really send, cut anywhere, ends as events that say the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.errors import ErrorInfo
from streamward.events import (
    TERMINAL,
    Error,
    Event,
    File,
    Finish,
    Source,
    Start,
    TextDelta,
    ToolInputDelta,
    ToolInputStart,
    Usage,
    Vendor,
)
from streamward.reply import collect
from streamward.wire import responses
from streamward.wire.dialect import MAX_PARTS, MAX_TOOL_INPUT_BYTES, Profile
from streamward.wire.sse import Frame
from support.codec import check_cuts, check_truncations, decode, encode
from support.responses import STREAMS, context, frames

GOLDEN = Path(__file__).parent / "golden"
REFERENCE = Profile()

CREATED = {"type": "response.created", "response": {"id": "resp_1", "model": "m-1", "created_at": 5, "output": []}}
MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": ""}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": []}


def wire(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def added(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def delta(text: Any, kind: str = "output_text", **place: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": 0, "content_index": 0, "delta": text, **place}


def completed(**fields: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", **fields}}


def read(*events: dict[str, Any], profile: Profile = REFERENCE) -> Any:
    """The reply that these events add up to."""
    return collect(decode(responses, wire(*events), profile))


@pytest.mark.parametrize("name", ["text", "thinking_tools", "sources", "failed"])
def test_cuts(name: str):
    """Wherever the network cuts, the events are the same."""
    check_cuts(responses, (GOLDEN / f"{name}.sse").read_bytes())


@pytest.mark.parametrize("name", ["text", "thinking_tools", "sources"])
def test_truncations(name: str):
    """A prefix is finished only once the line of ``response.completed`` is whole."""
    raw = (GOLDEN / f"{name}.sse").read_bytes()

    check_truncations(responses, raw, raw.index(b"\n", raw.index(b'data: {"type":"response.completed"')) + 1)


def test_a_failed_stream_never_finishes_however_short():
    raw = (GOLDEN / "failed.sse").read_bytes()

    check_truncations(responses, raw, len(raw) + 1)


@pytest.mark.parametrize("kind", ["reasoning_text", "reasoning", "reasoning_summary_text"])
def test_every_spelling_of_reasoning(kind: str):
    place = "summary_index" if "summary" in kind else "content_index"
    events = [CREATED, added(THOUGHT), delta("Let me", kind, **{place: 0}), delta(" see", kind, **{place: 0})]
    full = {"type": f"response.{kind}.done", "output_index": 0, place: 0, "text": "Let me see"}

    assert read(*events, full, done(THOUGHT), completed()).reasoning == "Let me see"


def test_reasoning_parts_are_parted_by_a_blank_line():
    """One item with two summary parts, streamed and then only in its done event."""
    parts = [delta("One", "reasoning_summary_text", summary_index=0),
             delta("Two", "reasoning_summary_text", summary_index=1)]  # fmt: skip
    item = {**THOUGHT, "summary": [{"type": "summary_text", "text": "One"}, {"type": "summary_text", "text": "Two"}]}

    streamed = read(CREATED, added(THOUGHT), *parts, done(item), completed())
    whole = read(CREATED, done(item), completed())

    assert streamed.reasoning == whole.reasoning == "One\n\nTwo"
    rendered = responses.render_reply(streamed, context())["output"][0]
    assert [part["text"] for part in rendered["summary"]] == ["One", "Two"]


def test_encrypted_content_comes_back_as_it_was():
    """Through the waist and out again: the provider's own bytes, under the provider's own id."""
    item = {**THOUGHT, "encrypted_content": "gAAAAB+/=="}

    events = decode(responses, wire(CREATED, added(THOUGHT), done(item), completed()))
    back = frames(encode(responses, events, context()))[-1]["response"]["output"][0]

    assert (back["id"], back["encrypted_content"]) == ("rs_1", "gAAAAB+/==")


def test_ids_that_rotate():
    """Some providers give every event another item id; the output index holds."""
    item = {**MESSAGE, "id": "other", "content": [{"type": "output_text", "text": "Hello"}]}
    events = [CREATED, added(MESSAGE), delta("Hel", item_id="a"), delta("lo", item_id="b"), done(item), completed()]

    reply = read(*events)

    assert [block.text for block in reply.blocks] == ["Hello"]


def test_without_output_index_the_item_id_leads():
    def plain(text: str, item_id: str) -> dict[str, Any]:
        return {"type": "response.output_text.delta", "item_id": item_id, "delta": text}

    reply = read(CREATED, plain("a", "one"), plain("b", "two"), plain("c", "two"), completed())

    assert [block.text for block in reply.blocks] == ["a", "bc"]


def test_without_index_and_id_deltas_belong_together():
    text = {"type": "response.output_text.delta", "delta": "x"}

    assert [block.text for block in read(CREATED, text, text, completed()).blocks] == ["xx"]


def test_only_the_four_events_of_a_minimal_server():
    text = {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Hi you"}

    assert read(CREATED, delta("Hi "), delta("you"), text, completed()).text == "Hi you"


def test_gaps_in_output_index():
    reply = read(CREATED, added(MESSAGE, 3), delta("a", output_index=3), added(CALL, 9), done(CALL, 9), completed())

    assert [type(block).__name__ for block in reply.blocks] == ["TextBlock", "ToolBlock"]


def test_arguments_only_in_the_done_event():
    args = {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": '{"a":1}'}

    assert read(CREATED, added(CALL), args, completed()).tool_calls[0].input == '{"a":1}'


def test_arguments_before_the_name():
    """They wait for it, whether the item's done event or the final response brings it."""
    args = delta('{"a":1}', "function_call_arguments")
    item = {**CALL, "arguments": '{"a":1}'}

    for ending in ([done(item), completed()], [completed(output=[item])]):
        call = read(CREATED, args, *ending).tool_calls[0]
        assert (call.id, call.name, call.input) == ("call_1", "weather", '{"a":1}')


def test_a_call_that_never_gets_a_name_is_an_error():
    """Better no call than one nobody can run, and no false finish."""
    reply = read(CREATED, delta("{}", "function_call_arguments"), completed())

    assert reply.error is not None
    assert reply.error.code == "upstream_invalid"


def test_done_text_beyond_the_deltas_is_handed_on():
    text = {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Hello"}

    assert read(CREATED, added(MESSAGE), delta("Hel"), text, completed()).text == "Hello"


def test_done_text_that_contradicts_the_deltas_is_not():
    text = {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Good morning"}

    assert read(CREATED, added(MESSAGE), delta("Hel"), text, completed()).text == "Hel"


def test_everything_in_the_final_event():
    """A server that streams nothing but its ending loses nothing."""
    output = [
        {**THOUGHT, "summary": [{"type": "summary_text", "text": "Hm"}]},
        {**MESSAGE, "content": [{"type": "output_text", "text": "Hi"}, {"type": "refusal", "refusal": "No"}]},
        {**CALL, "arguments": "{}"},
    ]

    reply = read(completed(output=output))

    assert (reply.reasoning, reply.text, reply.tool_calls[0].input) == ("Hm", "Hi", "{}")
    assert reply.finish_reason == "tool-calls"


def test_parallel_calls_interleaved():
    reply = collect(decode(responses, encode(responses, STREAMS["parallel"], context())))

    assert [(call.id, call.input) for call in reply.tool_calls] == [("call_1", "{}"), ("call_2", "{}")]


def test_the_same_call_id_twice_stays_two_calls():
    reply = read(CREATED, added(CALL), done(CALL), added(CALL, 1), done({**CALL, "arguments": "{}"}, 1), completed())

    assert len({call.id for call in reply.tool_calls}) == 2


def test_two_texts_of_one_message_stay_one_message():
    """Same dialect in and out: the parts of an item are not torn apart."""
    content = [{"type": "output_text", "text": "a"}, {"type": "output_text", "text": "b"}]
    over = {"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": content[0]}
    whole = done({**MESSAGE, "content": content})

    for events in ([added(MESSAGE), delta("a"), over, delta("b", content_index=1), whole], [whole]):
        out = frames(encode(responses, decode(responses, wire(CREATED, *events, completed())), context()))
        output = out[-1]["response"]["output"]
        assert [[part["text"] for part in item["content"]] for item in output] == [["a", "b"]]


def test_annotations():
    """A URL becomes a source, a citation of a file keeps its own form for its own dialect."""
    url = {"type": "url_citation", "url": "https://a.example/", "title": "A", "start_index": 0, "end_index": 2}
    file = {"type": "file_citation", "file_id": "file_1", "filename": "a.pdf", "index": 7}
    note = {"type": "response.output_text.annotation.added", "output_index": 0, "content_index": 0}
    events = [CREATED, added(MESSAGE), delta("Hi"), {**note, "annotation": url}, {**note, "annotation": file}]

    decoded = decode(responses, wire(*events, done(MESSAGE), completed()))

    first, second = (event for event in decoded if isinstance(event, Source))
    assert (first.url, first.title, first.start, first.end, first.part_id) == ("https://a.example/", "A", 0, 2, "msg_1")
    assert (second.kind, second.filename) == ("document", "a.pdf")
    part = frames(encode(responses, decoded, context()))[-1]["response"]["output"][0]["content"][0]
    assert part["annotations"] == [url, file]


def test_hosted_tools_pass_through():
    """Items and events of tools the provider runs are for clients of this dialect, in their place."""
    search = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    events = [CREATED, added(search), {"type": "response.web_search_call.searching", "output_index": 0}, done(search),
              added(MESSAGE, 1), delta("Hi", output_index=1), done(MESSAGE, 1), completed()]  # fmt: skip

    decoded = decode(responses, wire(*events))

    assert sum(isinstance(event, Vendor) for event in decoded) == 3
    assert collect(decoded).finish_reason == "stop"
    streamed = frames(encode(responses, decoded, context()))[-1]["response"]["output"]
    assert [item["type"] for item in streamed] == ["web_search_call", "message"]
    assert responses.render_reply(collect(decoded), context())["output"] == streamed


def test_a_generated_picture_is_a_file():
    picture = {"id": "ig_1", "type": "image_generation_call", "status": "completed", "result": "aGk=",
               "output_format": "webp"}  # fmt: skip

    decoded = decode(responses, wire(CREATED, done(picture), completed()))

    file = next(event for event in decoded if isinstance(event, File))
    assert (file.media_type, file.data) == ("image/webp", "aGk=")
    assert frames(encode(responses, decoded, context()))[-1]["response"]["output"] == [picture]


@pytest.mark.parametrize("kind", ["keepalive", "ping", "response.keepalive"])
def test_keep_alives_are_nothing(kind: str):
    assert decode(responses, wire(CREATED, {"type": kind}, completed())) == decode(responses, wire(CREATED, completed()))


@pytest.mark.parametrize(
    ("ending", "reason", "raw"),
    [
        (completed(), "stop", None),
        ({"type": "response.done", "response": {"status": "completed"}}, "stop", None),
        ({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}},
         "length", None),
        ({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "content_filter"}}},
         "content-filter", None),
        ({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "paused"}}}, "other", "paused"),
        ({"type": "response.incomplete", "response": {}}, "other", None),
        ({"type": "response.completed", "response": {"status": "incomplete"}}, "other", None),
    ],
)  # fmt: skip
def test_finish_reasons(ending: dict[str, Any], reason: str, raw: str | None):
    reply = read(CREATED, delta("x"), ending)

    assert (reply.finish_reason, reply.raw_reason) == (reason, raw)


@pytest.mark.parametrize(
    ("ending", "code", "status"),
    [
        ({"type": "error", "code": "server_error", "message": "k3y"}, "upstream_error", 502),
        ({"type": "error", "error": {"type": "too_many_requests", "code": None}}, "rate_limit_exceeded", 429),
        ({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "k3y"}}},
         "rate_limit_exceeded", 429),
        ({"type": "response.completed", "response": {"status": "failed"}}, "upstream_error", 502),
        ({"type": "response.completed", "response": {"status": "in_progress"}}, "upstream_invalid", 502),
        ({"type": "response.incomplete", "response": {"status": "cancelled"}}, "upstream_error", 502),
        ({"error": {"message": "k3y", "code": "context_length_exceeded"}}, "context_length_exceeded", 400),
    ],
)  # fmt: skip
def test_errors(ending: dict[str, Any], code: str, status: int):
    """Every way to say so ends in one Error, without a word of the upstream's own text."""
    reply = read(CREATED, delta("x"), ending, {"type": "response.failed", "response": {}})

    assert reply.error is not None
    assert (reply.error.code, reply.error.status) == (code, status)
    assert "k3y" not in reply.error.message
    assert reply.text == "x"


@pytest.mark.parametrize("data", [b"{", b"[1]", b'"text"', b"null", b"{}{}", b'{"type":"response.output_text.delta"',
                                  b'{"type":"x","y":NaN}', b'{"type":"x","y":"\xff"}'])  # fmt: skip
def test_what_is_not_json_ends_the_stream_and_keeps_what_came(data: bytes):
    reply = collect(decode(responses, wire(CREATED, delta("x")) + b"data: " + data + b"\n\n" + wire(completed())))

    assert reply.error is not None
    assert (reply.error.code, reply.text) == ("upstream_invalid", "x")


def test_the_end_of_the_body_is_not_an_ending():
    """Not even after ``[DONE]``: the dialect's own ending never came."""
    reply = collect(decode(responses, wire(CREATED, delta("x")) + b"data: [DONE]\n\n"))

    assert reply.error is not None
    assert reply.error.code == "stream_truncated"


def test_a_profile_may_count_the_end_of_the_body():
    reply = read(CREATED, delta("x"), profile=Profile(ends_with="eof"))

    assert (reply.finish_reason, reply.text) == ("unknown", "x")


def test_an_empty_body_is_truncated_even_then():
    assert isinstance(decode(responses, b"", Profile(ends_with="eof"))[-1], Error)


def test_a_failure_from_outside_closes_what_is_open():
    decoder = responses.Decoder(REFERENCE)
    for event in (CREATED, added(MESSAGE), delta("x")):
        decoder.feed(Frame(json.dumps(event).encode()))

    events = decoder.fail(ErrorInfo("upstream_timeout", "too slow", 504))

    assert [type(event).__name__ for event in events] == ["TextEnd", "Error"]
    assert decoder.fail(ErrorInfo("upstream_reset", "late")) == decoder.close() == []


def test_type_from_the_event_name():
    """Some servers leave ``type`` to the ``event:`` line."""
    raw = wire(CREATED) + b'event: response.output_text.delta\ndata: {"delta":"x","output_index":0}\n\n'
    raw += b'event: response.completed\ndata: {"response":{"status":"completed"}}\n\n'

    reply = collect(decode(responses, raw))

    assert (reply.text, reply.finish_reason) == ("x", "stop")


def test_a_surrogate_pair_split_over_two_deltas():
    raw = wire(CREATED) + b'data: {"type":"response.output_text.delta","output_index":0,"delta":"a\\ud83d"}\n\n'
    raw += b'data: {"type":"response.output_text.delta","output_index":0,"delta":"\\ude00b"}\n\n' + wire(completed())

    assert collect(decode(responses, raw)).text == "a\U0001f600b"


def test_half_a_pair_at_the_end_is_replaced():
    raw = wire(CREATED) + b'data: {"type":"response.output_text.delta","output_index":0,"delta":"a\\ud83d"}\n\n'

    assert collect(decode(responses, raw + wire(completed()))).text == "a?"


def test_usage():
    usage = {
        "input_tokens": 10, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2}, "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 15, "num_sources_used": 1,
    }  # fmt: skip

    assert read(CREATED, completed(usage=usage)).usage == Usage(
        10, 5, 4, 2, 3, extra={"responses": {"num_sources_used": 1}}
    )


def test_usage_of_profiles():
    usage = {"input_tokens": 1, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 3}}
    odd = Profile(usage_path=("meta", "tokens"), output_excludes_reasoning=True)

    reply = read(CREATED, completed(meta={"tokens": usage}), profile=odd)

    assert reply.usage == Usage(1, 8, reasoning_tokens=3)


def test_numbers_nobody_can_hold():
    """Infinite, negative and false numbers are unknown, not an exception."""
    raw = wire(CREATED, delta("x")) + b'data: {"type":"response.completed","response":{"completed_at":1e999}}\n\n'
    odd = {"input_tokens": -1, "output_tokens": True, "total_tokens": 1 << 70}

    assert collect(decode(responses, raw)).text == "x"
    assert read(CREATED, completed(usage=odd, completed_at=1 << 70)).usage == Usage()


@pytest.mark.parametrize("depth", [100, 700, 850, 950, 990, 5000])
@pytest.mark.parametrize("leaf", [b"1", b"1e999"])
def test_nesting_too_deep_to_send_on_is_refused(depth: int, leaf: bytes):
    """Whatever can be read can be written: what cannot ends as a failure, not as an exception in the encoder."""
    deep = b"[" * depth + leaf + b"]" * depth
    raw = wire(CREATED) + b'data: {"type":"response.output_item.done","output_index":0,"item":{"v":%b}}\n\n' % deep

    out = frames(encode(responses, decode(responses, raw + wire(completed())), context()))

    allowed = {"response.completed"} if depth == 100 else {"response.completed", "response.failed"}
    assert out[-1]["type"] in allowed  # where the limit lies depends on the interpreter


def test_items_without_ids_get_ours():
    """An id made up while reading never reaches a client: it would be the same in every response."""
    events = decode(responses, wire(CREATED, delta("x"), completed()))

    assert frames(encode(responses, events, context()))[-1]["response"]["output"][0]["id"] == "msg_abc_0"


def test_start():
    assert decode(responses, wire(CREATED, completed()))[0] == Start("resp_1", "m-1", 5)


def test_too_many_parts():
    """A flood of parts is a bounded error, not growing memory."""
    events = (done({**MESSAGE, "content": [{"type": "output_text", "text": "x"}]}, n) for n in range(MAX_PARTS + 2))

    reply = read(CREATED, *events, completed())

    assert reply.error is not None
    assert reply.error.code == "content_too_large"
    assert len(reply.blocks) <= MAX_PARTS + 1


def test_too_many_empty_items():
    reply = read(CREATED, *(added(MESSAGE, n) for n in range(MAX_PARTS + 2)), completed())

    assert reply.error is not None
    assert reply.error.code == "content_too_large"


def test_too_long_arguments():
    decoder = responses.Decoder(REFERENCE)
    frame = Frame(json.dumps(delta("x" * (1 << 20), "function_call_arguments")).encode())

    events = [event for _ in range((MAX_TOOL_INPUT_BYTES >> 20) + 1) for event in decoder.feed(frame)]

    assert isinstance(events[-1], Error)
    assert events[-1].error.code == "content_too_large"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["", "a", "msg_1", "call_1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(
        ["type", "id", "text", "content", "summary", "arguments", "name", "call_id", "result", "status", "output",
         "usage", "error", "encrypted_content", "annotations", "reason", "incomplete_details"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
TYPES = st.sampled_from([
    "response.created", "response.in_progress", "response.output_item.added", "response.output_item.done",
    "response.content_part.added", "response.content_part.done", "response.output_text.delta",
    "response.output_text.done", "response.output_text.annotation.added", "response.refusal.delta",
    "response.refusal.done", "response.reasoning_summary_text.delta", "response.reasoning_summary_text.done",
    "response.reasoning_text.delta", "response.reasoning.done", "response.function_call_arguments.delta",
    "response.function_call_arguments.done", "response.image_generation_call.partial_image", "acme:trace", "error",
    "response.completed", "response.incomplete", "response.failed",
])  # fmt: skip
KINDS = st.sampled_from(["message", "reasoning", "function_call", "image_generation_call", "web_search_call"])
ITEMS = st.builds(lambda kind, rest: {**rest, "type": kind}, KINDS, st.dictionaries(
    st.sampled_from(["id", "content", "summary", "arguments", "name", "call_id", "result", "encrypted_content"]),
    VALUES, max_size=5))  # fmt: skip
FIELDS = st.dictionaries(
    st.sampled_from(["delta", "text", "output_index", "content_index", "summary_index", "item_id", "logprobs", "part",
                     "annotation", "response", "error", "arguments", "refusal"]), VALUES, max_size=6)  # fmt: skip


@given(st.lists(st.builds(lambda kind, item, rest: {**rest, "item": item, "type": kind}, TYPES, ITEMS | VALUES, FIELDS),
                max_size=12))  # fmt: skip
def test_any_json_gives_a_well_formed_stream(events: list[dict[str, Any]]):
    """Wrong types, wrong order, nothing missing that could be: one terminal event, and it encodes again."""
    decoded: list[Event] = decode(responses, wire(*events))

    assert sum(isinstance(event, TERMINAL) for event in decoded) == 1
    frames(encode(responses, decoded, context()))


def test_one_event_for_one_delta():
    """Nothing is held back: each delta comes out of the read that brought it."""
    decoder = responses.Decoder(REFERENCE)
    decoder.feed(Frame(json.dumps(added(MESSAGE)).encode()))
    decoder.feed(Frame(json.dumps(added(CALL, 1)).encode()))

    text = decoder.feed(Frame(json.dumps(delta("x")).encode()))
    args = decoder.feed(Frame(json.dumps(delta("{", "function_call_arguments", output_index=1)).encode()))

    assert [event.delta for event in text if isinstance(event, TextDelta)] == ["x"]
    assert args == [ToolInputDelta("call_1", "{")]


def test_extra_fields_of_a_call_survive():
    """Same dialect on both sides: what the waist has no word for is put back."""
    item = {**CALL, "arguments": "{}", "namespace": "crm"}

    decoded = decode(responses, wire(CREATED, added(item), done(item), completed(service_tier="flex")))

    assert any(isinstance(event, ToolInputStart) for event in decoded)
    assert isinstance(decoded[-1], Finish)
    final = frames(encode(responses, decoded, context()))[-1]["response"]
    assert (final["output"][0]["namespace"], final["service_tier"]) == ("crm", "flex")
