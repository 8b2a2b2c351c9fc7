"""Chat Completions decoder: golden streams at every cut and truncation, vendor quirks, and anything at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
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
    ToolInputEnd,
    ToolInputStart,
    Usage,
)
from streamward.reply import ToolBlock, collect
from streamward.wire import chat_completions
from streamward.wire.dialect import MAX_PARTS, MAX_TOOL_INPUT_BYTES, Profile
from streamward.wire.sse import Frame
from support import chat_golden
from support.chat_chunks import chunks
from support.codec import REFERENCE, check_cuts, check_truncations, decode


def chunk(delta: Any, finish: Any = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **fields,
    }  # fmt: skip


def stream(*chunks: Any, done: bool = True) -> bytes:
    lines = [json.dumps(item) for item in chunks] + ["[DONE]"] * done
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def call(fragment: dict[str, Any]) -> dict[str, Any]:
    return chunk({"tool_calls": [fragment]})


@pytest.mark.parametrize("name", chat_golden.NAMES)
def test_golden_streams(name: str):
    """The events written down for each, wherever it is cut."""
    stream, profile = chat_golden.raw(name), chat_golden.profile(name)

    assert decode(chat_completions, stream, profile) == chat_golden.expected(name)
    check_cuts(chat_completions, stream, profile)


@pytest.mark.parametrize("name", chat_golden.NAMES)
def test_truncations(name: str):
    """One terminal event for every prefix: an Error until the stream has said that it is finished."""
    check_truncations(chat_completions, chat_golden.raw(name), chat_golden.finished_from(name), chat_golden.profile(name))


def test_truncated_is_what_the_error_says():
    events = decode(chat_completions, stream(chunk({"content": "a"}), chunk({}, "stop"), done=False))

    assert isinstance(events[-1], Error)
    assert events[-1].error.code == "stream_truncated"


@pytest.mark.parametrize(
    ("ends_with", "chunks", "done", "reason"),
    [
        ("marker", [chunk({}, "stop")], True, "stop"),
        ("marker", [chunk({}, "stop")], False, None),
        ("marker", [chunk({"content": "a"})], True, None),  # [DONE] after no reason is no ending
        ("marker", [], True, None),
        ("finish", [chunk({}, "stop")], False, "stop"),
        ("finish", [chunk({}, "stop")], True, "stop"),
        ("finish", [chunk({"content": "a"})], False, None),
        ("finish", [chunk({"content": "a"})], True, None),
        ("eof", [chunk({"content": "a"})], False, "unknown"),
        ("eof", [chunk({"content": "a"})], True, "unknown"),
        ("eof", [chunk({}, "length")], False, "length"),
        ("eof", [], False, None),
        ("eof", [], True, None),
        ("eof", [{"id": "c", "choices": []}], True, None),
    ],
)
def test_what_counts_as_an_ending(ends_with: Any, chunks: list[Any], done: bool, reason: str | None):
    """By profile; never an ending that nobody announced."""
    profile = Profile(ends_with=ends_with)

    last = decode(chat_completions, stream(*chunks, done=done), profile)[-1]

    assert (last.reason if isinstance(last, Finish) else None) == reason


@pytest.mark.parametrize(
    ("raw_reason", "reason", "kept"),
    [
        ("stop", "stop", None), ("length", "length", None), ("tool_calls", "tool-calls", None),
        ("function_call", "tool-calls", None), ("content_filter", "content-filter", None), ("eos", "other", "eos"),
        ("sensitive", "other", "sensitive"),
    ],
)  # fmt: skip
def test_finish_reasons(raw_reason: str, reason: str, kept: str | None):
    last = decode(chat_completions, stream(chunk({"content": "a"}), chunk({}, raw_reason)))[-1]

    assert last == Finish(reason, None, kept)  # type: ignore[arg-type]


@pytest.mark.parametrize("nothing", [None, "", 0, [], {}, False])
def test_no_finish_reason(nothing: Any):
    """Some send an empty one on every chunk."""
    last = decode(chat_completions, stream(chunk({"content": "a"}, nothing)))[-1]

    assert isinstance(last, Error)


def test_stop_after_tool_calls_means_tool_calls():
    raw = stream(call({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}), chunk({}, "stop"))

    assert collect(decode(chat_completions, raw)).finish_reason == "tool-calls"


@pytest.mark.parametrize(
    "failure",
    [
        {"error": {"message": "sk-secret", "type": "server_error", "code": "boom"}},
        {"error": "sk-secret"},
        {"object": "error", "message": "sk-secret", "code": 500},
        chunk({"content": ""}, "error", error={"code": "502", "message": "sk-secret"}),
        chunk({"content": "sk-secret"}, "error"),
        chunk({}, "abort"),
        chunk({}, "cancelled"),
    ],
)
def test_errors_in_mid_stream(failure: dict[str, Any]):
    """Each vendor's form ends the stream as failed, and none of its text goes into the error."""
    events = decode(chat_completions, stream(chunk({"content": "a"}), failure, chunk({"content": "b"})))

    last = events[-1]
    assert isinstance(last, Error)
    assert (last.error.code, last.error.status, last.error.safe_to_retry) == ("upstream_error", 502, True)
    assert "secret" not in last.error.message
    assert TextDelta("text-0", "b") not in events


def test_an_error_event_with_flat_data():
    """``event: error`` as in other dialects."""
    raw = b'event: error\ndata: {"message":"sk-secret","code":"x"}\n\n'

    assert isinstance(decode(chat_completions, stream(chunk({"content": "a"}), done=False) + raw)[-1], Error)


@pytest.mark.parametrize(
    "junk", [b"data: <html>\n\n", b"data: {\n\n", b"data: []\n\n", b"data: 5\n\n", b'data: {"choices":5}\n\n',
             b'data: {"choices":[5]}\n\n', b"data: \xff\n\n", b"data: " + b"[" * 10_000 + b"\n\n"]
)  # fmt: skip
def test_junk(junk: bytes):
    """What came before stays; the stream ends as invalid."""
    events = decode(chat_completions, stream(chunk({"content": "a"}), done=False) + junk)

    assert TextDelta("text-0", "a") in events
    assert isinstance(events[-1], Error)
    assert events[-1].error.code == "upstream_invalid"


def test_html_with_200():
    """No frame at all is a stream that never finished."""
    assert isinstance(decode(chat_completions, b"<html><body>It works</body></html>\n")[-1], Error)


def test_text_of_other_choices_is_not_mixed_in():
    """Only choice 0 is decoded."""
    other = chunk({"content": "blue"})
    other["choices"][0]["index"] = 1
    both = chunk({"content": "!"})
    both["choices"].append(other["choices"][0])

    reply = collect(decode(chat_completions, stream(chunk({"content": "red"}), other, both, chunk({}, "stop"))))

    assert reply.text == "red!"


def test_the_start_waits_for_a_chunk_that_says_something():
    """Azure's first chunk has empty id and model."""
    filter_results = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": []}

    events = decode(chat_completions, stream(filter_results, chunk({"content": "a"}), chunk({}, "stop")))

    assert events[0] == Start("c", "m", 1)


@pytest.mark.parametrize("choices", [[], None, "absent"])
def test_chunks_without_choices(choices: Any):
    hollow = {"id": "c", "choices": choices}
    if choices == "absent":
        del hollow["choices"]

    reply = collect(decode(chat_completions, stream(hollow, chunk({"content": "a"}), hollow, chunk({}, "stop"), hollow)))

    assert (reply.text, reply.finish_reason) == ("a", "stop")


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        ({"reasoning_content": "x"}, "x"), ({"reasoning": "x"}, "x"), ({"reasoning": "x", "reasoning_content": "x"}, "x"),
        ({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "x"}]}]}, "x"),
        ({"content": [{"type": "thinking", "thinking": "x"}]}, "x"),
        ({"reasoning": None, "reasoning_details": [{"type": "reasoning.text", "text": "x"}]}, "x"),
        ({"reasoning_details": [{"type": "reasoning.summary", "summary": "x"}, {"text": 5}]}, "x"),
        ({"reasoning": "x", "reasoning_details": [{"type": "reasoning.text", "text": "x"}]}, "x"),
        ({"content": [{"type": "thinking", "thinking": 5}, {"type": "thinking"}, {"type": "thinking", "thinking": [5]},
                      {"type": "thinking", "thinking": [{"text": None}]}]}, ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("opened", [True, False])
def test_reasoning_in_every_spelling(delta: dict[str, Any], text: str, opened: bool):
    """Also in the first chunk, where nothing is open yet."""
    first = [chunk({"role": "assistant", "content": ""})] if opened else []

    reply = collect(decode(chat_completions, stream(*first, chunk(delta), chunk({"content": "y"}), chunk({}, "stop"))))

    assert (reply.reasoning, reply.text) == (text, "y")


def test_reasoning_and_text_by_turns():
    """Each change of kind is a part of its own, in order."""
    chunks = [chunk({"reasoning": "a"}), chunk({"content": "b", "reasoning": "c"}), chunk({"content": "d"})]

    events = decode(chat_completions, stream(*chunks, chunk({"reasoning": "e"}), chunk({}, "stop")))

    assert events[1:-1] == [
        ReasoningStart("reasoning-0"), ReasoningDelta("reasoning-0", "a"), ReasoningDelta("reasoning-0", "c"),
        ReasoningEnd("reasoning-0"), TextStart("text-1"), TextDelta("text-1", "b"), TextDelta("text-1", "d"),
        TextEnd("text-1"), ReasoningStart("reasoning-2"), ReasoningDelta("reasoning-2", "e"), ReasoningEnd("reasoning-2"),
    ]  # fmt: skip


def test_opaque_reasoning_goes_into_its_end():
    details = [{"type": "reasoning.encrypted", "data": "opaque"}, {"type": "reasoning.text", "signature": "signed"}]

    events = decode(chat_completions, stream(chunk({"reasoning_details": details}), chunk({}, "stop")))

    assert ReasoningEnd("reasoning-0", "signed", "opaque") in events


def test_citations_beside_plain_text():
    """Cumulative on every chunk; each source comes once."""
    one, two = "https://example.org/1", "https://example.org/2"
    chunks = [chunk({"content": "a"}, citations=[one]), chunk({"content": "b"}, citations=[one, two])]

    events = decode(chat_completions, stream(*chunks, chunk({}, "stop", citations=[one, two])))

    sources = [event for event in events if isinstance(event, Source)]
    assert sources == [Source("source-0", url=one), Source("source-1", url=two)]


# -- usage


def usage_of(raw: bytes, profile: Profile = REFERENCE) -> Usage | None:
    return decode(chat_completions, raw, profile)[-1].usage  # type: ignore[union-attr]


COUNTS = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk({"content": "a"}), chunk({}, "stop"), {"choices": [], "usage": COUNTS}],
        [chunk({"content": "a"}), chunk({}, "stop", usage=COUNTS)],
        [chunk({"content": "a"}, usage={**COUNTS, "completion_tokens": 1}), chunk({}, "stop", usage=COUNTS)],
        [{"choices": [], "usage": COUNTS}, chunk({"content": "a"}, usage=None), chunk({}, "stop", usage={})],
    ],
)
def test_usage_wherever_it_stands(chunks: list[Any]):
    """The last figures win; null and empty ones are none."""
    assert usage_of(stream(*chunks)) == Usage(10, 5, extra={"chat_completions": COUNTS})


def test_usage_survives_a_failure():
    raw = stream(chunk({"content": "a"}, usage=COUNTS), {"error": {"message": "x"}})

    assert usage_of(raw) == Usage(10, 5, extra={"chat_completions": COUNTS})


@pytest.mark.parametrize(
    ("raw", "profile", "usage"),
    [
        ({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 9}, REFERENCE, Usage(1, 2, stated_total=9)),
        ({"prompt_tokens": 1}, REFERENCE, Usage(1)),
        ({**COUNTS, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3}}, REFERENCE, Usage(10, 5, 4, 3)),
        ({**COUNTS, "prompt_cache_hit_tokens": 6}, REFERENCE, Usage(10, 5, 6)),
        ({**COUNTS, "completion_tokens_details": {"reasoning_tokens": 2}}, REFERENCE, Usage(10, 5, reasoning_tokens=2)),
        ({**COUNTS, "total_tokens": 22, "completion_tokens_details": {"reasoning_tokens": 7}},
         Profile(output_excludes_reasoning=True), Usage(10, 12, reasoning_tokens=7)),
        ({**COUNTS, "prompt_tokens_details": None, "completion_tokens_details": []}, REFERENCE, Usage(10, 5)),
        ({"prompt_tokens": -1, "completion_tokens": 5}, REFERENCE, Usage(None, 5)),
        ({"prompt_tokens": True, "completion_tokens": 1 << 60}, REFERENCE, None),
        ({"prompt_tokens": "10", "completion_tokens": 1.5}, REFERENCE, None),
        ([1], REFERENCE, None),
    ],
)  # fmt: skip
def test_usage_forms(raw: Any, profile: Profile, usage: Usage | None):
    """Totals include their details; what is no count is unknown, never guessed."""
    found = usage_of(stream(chunk({}, "stop", usage=raw)), profile)

    assert (found and Usage(*(getattr(found, name) for name in Usage.__struct_fields__[:-1]))) == usage


def test_usage_elsewhere():
    """Where the profile says; the plain place still counts."""
    profile = Profile(usage_path=("x_groq", "usage"))
    ours = Usage(10, 5, extra={"chat_completions": COUNTS})

    assert usage_of(stream(chunk({}, "stop", x_groq={"usage": COUNTS})), profile) == ours
    assert usage_of(stream(chunk({}, "stop", usage=COUNTS)), profile) == ours
    assert usage_of(stream(chunk({}, "stop", x_groq=5)), profile) is None


# -- tool calls


def tools_of(*fragments: dict[str, Any]) -> list[tuple[str, str, str]]:
    reply = collect(decode(chat_completions, stream(*map(call, fragments), chunk({}, "tool_calls"))))
    return [(block.id, block.name, block.input) for block in reply.blocks if isinstance(block, ToolBlock)]


def named(index: int | None, call_id: str | None, name: str | None, arguments: Any) -> dict[str, Any]:
    fragment = {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
    function = {key: value for key, value in fragment["function"].items() if value is not None}  # type: ignore[union-attr]
    return {key: value for key, value in {**fragment, "function": function}.items() if value is not None}


@pytest.mark.parametrize(
    "fragments",
    [
        [named(0, "a", "f", '{"x":'), named(0, None, None, "1}"), named(1, "b", "g", "{}")],
        [named(0, "a", "f", ""), named(0, "a", "f", '{"x":'), named(0, "a", None, "1}"), named(1, "b", "g", "{}")],
        [named(0, "a", "f", '{"x":'), named(0, "", "", "1}"), named(1, "b", "g", "{}")],
        [named(None, "a", "f", '{"x":'), named(None, None, None, "1}"), named(None, "b", "g", "{}")],
        [named(None, "a", "f", '{"x":'), named(None, "a", "f", "1}"), named(None, "b", "g", "{}")],
        [named(0, "a", "f", '{"x":'), named(0, None, None, "1}"), named(0, "b", "g", "{}")],
        [named(0, "a", "f", ""), named(0, "b", "g", ""), named(0, "a", None, '{"x":1}'), named(0, "b", None, "{}")],
        [named(3, "a", "f", '{"x":'), named(7, "b", "g", "{}"), named(3, None, None, "1}")],
        [named(0, "a", "f", '{"x":1}'), named(1, "b", "g", "{}"), named(0, None, None, " \n"), named(0, None, None, "")],
        [named(0, "a", "f", {"x": 1}), named(1, "b", "g", {})],
    ],
)
def test_tool_call_fragments(fragments: list[dict[str, Any]]):
    """Whatever a vendor does to index and id, each call gets its own arguments."""
    assert tools_of(*fragments) == [("a", "f", '{"x":1}'), ("b", "g", "{}")]


@pytest.mark.parametrize(
    ("fragments", "ids"),
    [
        ([named(0, None, "f", "{}"), named(1, "", "g", "{}")], ["call_c_0", "call_c_1"]),
        ([named(0, "f", "f", "{}"), named(1, "f", "f", "{}")], ["f", "call_c_1"]),
        ([named(0, "call_c_1", "f", "{}"), named(1, None, "f", "{}")], ["call_c_1", "call_c_1_"]),
    ],
)
def test_ids_are_made_and_unique(fragments: list[dict[str, Any]], ids: list[str]):
    """The same stream always gives the same ids, and no two calls share one."""
    assert [call_id for call_id, _, _ in tools_of(*fragments)] == ids


def test_text_closes_tool_calls():
    a = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}

    events = decode(chat_completions, stream(call(a), chunk({"content": "then"}), chunk({}, "stop")))

    assert events[1:] == [
        ToolInputStart("a", "f"), events[2], ToolInputEnd("a"), TextStart("text-0"), TextDelta("text-0", "then"),
        TextEnd("text-0"), Finish("tool-calls"),
    ]  # fmt: skip


@pytest.mark.parametrize("fragments", [[5], [named(0, "a", "f", "{}"), "x"], [None]])
def test_what_is_no_fragment(fragments: list[Any]):
    """Nothing follows the error, whatever else stands in that chunk."""
    delta = {"tool_calls": fragments, "function_call": {"name": "g", "arguments": "{}"},
             "annotations": [{"url_citation": {"url": "u"}}]}  # fmt: skip

    events = decode(chat_completions, stream(chunk(delta, "stop", citations=["u"]), chunk({}, "stop")))

    assert isinstance(events[-1], Error)
    assert events[-1].error.code == "upstream_invalid"


def test_tool_bounds():
    """Neither endless calls nor endless arguments are kept."""
    many = [named(i, f"c{i}", "f", "") for i in range(MAX_PARTS + 1)]
    assert isinstance(decode(chat_completions, stream(chunk({"tool_calls": many}), chunk({}, "stop")))[-1], Error)

    decoder = chat_completions.Decoder(REFERENCE)
    piece = json.dumps(call(named(0, None, None, "x" * (1 << 20)))).encode()
    decoder.feed(Frame(json.dumps(call(named(0, "a", "f", ""))).encode()))
    fed = 0
    while not any(isinstance(event, TERMINAL) for event in decoder.feed(Frame(piece))):
        fed += 1
    assert fed == MAX_TOOL_INPUT_BYTES >> 20


def test_arguments_are_looked_at_once(monkeypatch: pytest.MonkeyPatch):
    """One call without an end and many after it: its text is not parsed anew for each of them."""
    parsed: list[int] = []
    real = chat_completions.decode.json_text.decode_any
    monkeypatch.setattr(
        chat_completions.decode.json_text, "decode_any",
        lambda text: parsed.append(len(text)) or real(text) if isinstance(text, str) else real(text),
    )  # fmt: skip
    long = '{"x":"' + "y" * 100_000

    tools_of(named(0, "a", "f", long), *(named(i, f"c{i}", "f", "{}") for i in range(1, 50)))

    assert sum(parsed) < 2 * len(long)


# -- anything at all

PROFILES = st.sampled_from(
    [REFERENCE, Profile(ends_with="finish"), Profile(ends_with="eof"), Profile(usage_path=("x_groq", "usage"))]
)


@settings(max_examples=300)
@given(frames=st.lists(chunks(), max_size=6), profile=PROFILES)
def test_decoders_never_raise(frames: list[bytes], profile: Profile):
    """Any chunks: a well-formed stream with one terminal event (``decode`` checks the grammar)."""
    raw = b"".join(b"data: " + frame + b"\n\n" for frame in frames)

    events = decode(chat_completions, raw, profile)

    assert sum(isinstance(event, TERMINAL) for event in events) == 1
