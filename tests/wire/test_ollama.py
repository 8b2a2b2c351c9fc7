"""Ollama's chat dialect, both directions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.call import (
    Audio,
    Call,
    Document,
    Image,
    Message,
    Output,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolOutput,
    ToolUse,
)
from streamward.errors import ErrorInfo, InvalidRequest, Unsupported
from streamward.events import (
    Abort,
    Error,
    Event,
    File,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolCall,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
)
from streamward.reply import Reply, ToolBlock, collect
from streamward.wire import ollama
from streamward.wire.dialect import MAX_PARTS, MAX_TOOL_INPUT_BYTES, Profile
from support.codec import ARGUMENTS, CONTEXT, REFERENCE, TOKENS, check_cuts, check_truncations, decode, encode, streams

AT = "2025-08-15T22:55:08.508208329Z"


def line(message: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": ""} | (message or {})
    return {"model": "qwen3", "created_at": AT, "message": said, "done": False} | fields


def stream(*lines: Any) -> bytes:
    return b"".join(json.dumps(item, ensure_ascii=False).encode() + b"\n" for item in lines)


DONE = line(done=True, done_reason="stop", total_duration=9, prompt_eval_count=12, eval_count=7)
THINKING_TOOLS = stream(
    line({"thinking": "I need "}), line({"thinking": "tools."}), line({"content": "So — "}),
    line({"content": "naïve 🙂"}),
    line({"tool_calls": [{"function": {"index": 0, "name": "weather", "arguments": {"city": "Paris é"}}},
                         {"id": "own", "function": {"name": "now", "arguments": {}}}]}),
    line({"tool_calls": [{"function": {"name": "weather"}}]}), DONE,
)  # fmt: skip


# -- decoding


def test_thinking_text_and_tools():
    """Missing ids are made from the stream's time and the place; a stop after calls means that tools are wanted."""
    first, third = "call_20250815225508508208329_0", "call_20250815225508508208329_2"

    assert decode(ollama, THINKING_TOOLS) == [
        Start(model="qwen3", created=1755298508),
        ReasoningStart("0"),
        ReasoningDelta("0", "I need "),
        ReasoningDelta("0", "tools."),
        ReasoningEnd("0"),
        TextStart("1"),
        TextDelta("1", "So — "),
        TextDelta("1", "naïve 🙂"),
        TextEnd("1"),
        ToolInputStart(first, "weather"),
        ToolInputDelta(first, '{"city":"Paris é"}'),
        ToolInputEnd(first),
        ToolInputStart("own", "now"),
        ToolInputDelta("own", "{}"),
        ToolInputEnd("own"),
        ToolInputStart(third, "weather"),
        ToolInputDelta(third, "{}"),
        ToolInputEnd(third),
        Finish("tool-calls", Usage(input_tokens=12, output_tokens=7, extra={"ollama": {"total_duration": 9}})),
    ]


def test_cuts():
    check_cuts(ollama, THINKING_TOOLS)


def test_truncations():
    """A body without its done line is never a finished one; the line end after it is not needed."""
    check_truncations(ollama, THINKING_TOOLS, whole_from=len(THINKING_TOOLS) - 1)


@pytest.mark.parametrize(
    ("raw", "reason", "word"),
    [
        ("stop", "stop", None), ("length", "length", None), ("load", "other", "load"), ("novel", "other", "novel"),
        (None, "unknown", None), ("content-filter", "content-filter", None),
    ],
)  # fmt: skip
def test_done_reasons(raw: str | None, reason: str, word: str | None):
    finish = decode(ollama, stream(line(done=True, done_reason=raw)))[-1]

    assert isinstance(finish, Finish)
    assert (finish.reason, finish.raw_reason, finish.usage) == (reason, word, None)


def test_error_line_under_200():
    """The sentence is the server's and may name paths: ours goes out."""
    events = decode(ollama, stream(line({"content": "a"}), {"error": "/root/.ollama: model runner stopped"}, DONE))

    assert isinstance(events[-1], Error)
    assert events[-1].error.code == "upstream_error"
    assert "/root" not in events[-1].error.message
    assert events[-2] == TextEnd("0")


@pytest.mark.parametrize("raw", [b"{x\n", b"[]\n", b"{}\n", b'{"choices":[]}\n', b"\xff\n"])
def test_what_is_not_the_dialect(raw: bytes):
    for body in (raw, stream(line({"content": "a"})) + raw + stream(DONE)):
        error = decode(ollama, body)[-1]

        assert isinstance(error, Error)
        assert error.error.code == "upstream_invalid"


def test_odd_shapes_are_passed_over():
    odd = [
        line({"content": None}), line({"tool_calls": {}}), line({"tool_calls": [3]}), line({"images": [3]}),
        {"message": None, "done": False}, {"message": {"content": "ok", "x": 1}, "done": False, "created_at": "now"},
    ]  # fmt: skip

    reply = collect(decode(ollama, stream(*odd, DONE)))

    assert (reply.text, reply.finish_reason) == ("ok", "stop")


def test_arguments_as_text_are_taken_as_they_are():
    call = {"function": {"name": "f", "arguments": '{"a": 1}'}}

    assert collect(decode(ollama, stream(line({"tool_calls": [call]}), DONE))).tool_calls[0].input == '{"a": 1}'


def test_ends_with_eof():
    raw = stream(line({"content": "a"}))

    assert isinstance(decode(ollama, raw)[-1], Error)
    assert decode(ollama, raw, Profile(ends_with="eof"))[-1] == Finish("unknown")
    assert isinstance(decode(ollama, b"", Profile(ends_with="eof"))[-1], Error)


def test_bounds():
    """Too many parts and too long arguments end the stream."""
    call = {"function": {"name": "f", "arguments": {}}}
    calls = line({"tool_calls": [call] * (MAX_PARTS + 1)}, done=True)
    huge = {"function": {"name": "f", "arguments": "x" * (MAX_TOOL_INPUT_BYTES + 1)}}

    for item in (calls, line({"tool_calls": [huge]}, done=True)):
        reply = ollama.parse_reply(item, REFERENCE)
        assert reply.error is not None
        assert reply.error.code == "content_too_large"


# -- encoding


def test_bytes():
    """The whole stream, byte for byte."""
    events = [
        Start(), ReasoningStart("0"), ReasoningDelta("0", "hm"), ReasoningEnd("0", "sig"), TextStart("1"),
        TextDelta("1", "\u2028é"),
        TextEnd("1"), ToolInputStart("t", "f"), ToolInputDelta("t", '{"a"'), ToolInputDelta("t", ":1}"),
        ToolInputEnd("t"),
        Finish("tool-calls", Usage(input_tokens=3, output_tokens=4)),
    ]  # fmt: skip
    head = b'{"model":"model-1","created_at":"2023-11-14T22:13:20Z","message":{"role":"assistant",'

    assert encode(ollama, events) == b"".join(
        [
            head + b'"content":"","thinking":"hm"},"done":false}\n',
            head + b'"content":"\\u2028\xc3\xa9"},"done":false}\n',
            head + b'"content":"","tool_calls":[{"id":"t","function":{"name":"f","arguments":{"a":1}}}]},"done":false}\n',
            head + b'"content":""},"done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":4}\n',
        ]
    )


def test_failures_are_an_error_line():
    """No done line: nothing that reads as a finished answer."""
    for terminal in (Error(ErrorInfo("stream_truncated", "cut", 502)), Abort("shutdown"), Finish("error")):
        sent = [json.loads(item) for item in encode(ollama, [Start(), terminal]).splitlines()]

        assert list(sent[-1]) == ["error", "code"]
        assert len(sent) == 1


def test_whole_calls_files_and_reasons():
    events = [
        Start(), ToolCall("t", "f", {"a": 1}), File("image/png", data="aWNv"), File("image/png", url="https://e"),
        Finish("content-filter"),
    ]  # fmt: skip

    reply = collect(decode(ollama, encode(ollama, events)))

    assert [block for block in reply.blocks if isinstance(block, File)] == [File("image/png", data="aWNv")]
    assert (reply.tool_calls[0].id, reply.tool_calls[0].input, reply.finish_reason) == ("t", '{"a":1}', "content-filter")


def test_calls_the_provider_runs_are_not_shown():
    """A client would take them for its own to answer."""
    events = [
        Start(), ToolInputStart("s", "web_search", provider_executed=True), ToolInputDelta("s", "{}"), ToolInputEnd("s"),
        ToolCall("s2", "code", {}, provider_executed=True), Finish("stop"),
    ]  # fmt: skip

    for reply in (
        collect(decode(ollama, encode(ollama, events))),
        ollama.parse_reply(ollama.render_reply(collect(events), CONTEXT), REFERENCE),
    ):
        assert (reply.tool_calls, reply.finish_reason) == ((), "stop")


USAGES = st.builds(lambda given, written: Usage(input_tokens=given, output_tokens=written), TOKENS, TOKENS)
FINISHES = st.sampled_from([
    Finish("stop"), Finish("length"), Finish("content-filter"), Finish("other", raw_reason="load"), Finish("other"),
    Finish("unknown"),
])  # fmt: skip


@given(streams(ids=str, arguments=st.sampled_from(ARGUMENTS).map(lambda text: [text]), usages=USAGES, finishes=FINISHES))
def test_round_trip(events: list[Event]):
    """Events to bytes to events: the same answer; the dialect has no borders between parts and no signatures."""
    again, given = collect(decode(ollama, encode(ollama, events))), collect(events)

    assert (again.text, again.reasoning, again.usage) == (given.text, given.reasoning, given.usage)
    assert [(call.id, call.name, json.loads(call.input)) for call in again.tool_calls] == [
        (call.id, call.name, json.loads(call.input)) for call in given.tool_calls
    ]
    stopped = given.finish_reason == "stop" and given.tool_calls
    assert (again.finish_reason, again.raw_reason) == ("tool-calls" if stopped else given.finish_reason, given.raw_reason)


def test_whole_answers():
    """A reply renders to one object that parses to the same reply."""
    streamed = collect(decode(ollama, THINKING_TOOLS))

    body = ollama.render_reply(streamed, CONTEXT)
    again = ollama.parse_reply(body, REFERENCE)

    assert (again.text, again.reasoning, again.tool_calls) == (streamed.text, streamed.reasoning, streamed.tool_calls)
    assert (again.usage, again.finish_reason) == (streamed.usage, "tool-calls")
    assert ollama.render_reply(again, CONTEXT) == body


def test_replies_that_did_not_finish():
    cut = Reply(error=ErrorInfo("stream_truncated", "cut", 502))

    assert ollama.render_reply(cut, CONTEXT) == {"error": "cut", "code": "stream_truncated"}
    assert "error" in ollama.render_reply(Reply(aborted=True), CONTEXT)
    assert ollama.parse_reply({"error": "x"}, REFERENCE).error is not None
    assert ollama.parse_reply(line({"content": "half"}), REFERENCE).error is not None


def test_arguments_that_are_no_object():
    body = ollama.render_reply(Reply(blocks=(ToolBlock("t", "f", '{"a": "b'),), finish_reason="length"), CONTEXT)

    assert body["message"]["tool_calls"][0]["function"]["arguments"] == {"invalid_json": '{"a": "b'}


@pytest.mark.parametrize(("status", "code"), [(404, "model_not_found"), (500, "upstream_error"), (503, "upstream_error")])
def test_parse_error(status: int, code: str):
    error = ollama.parse_error(status, b'{"error":"model \'x\' not found in /root"}')

    assert error.code == code
    assert "/root" not in error.message


# -- requests

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FULL: dict[str, Any] = {
    "model": "qwen3", "stream": False, "think": "low", "format": SCHEMA, "keep_alive": "5m",
    "options": {"num_predict": 50, "temperature": 0.5, "top_p": 0.9, "top_k": 4, "presence_penalty": 0.5,
                "frequency_penalty": 0.25, "seed": 3, "stop": ["END"], "num_ctx": 8192},
    "tools": [{"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}],
    "messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Look:", "images": ["iVBORw0="]},
        {"role": "assistant", "content": "I call.", "thinking": "hm", "tool_calls": [
            {"id": "c1", "function": {"name": "weather", "arguments": {"city": "Paris"}}},
        ]},
        {"role": "tool", "content": "sunny", "tool_name": "weather", "tool_call_id": "c1"},
    ],
}  # fmt: skip


def render(call: Call, profile: Profile = REFERENCE) -> dict[str, Any]:
    return ollama.render_request(call, model="qwen3", profile=profile)


def ask(*turns: Message, **settings: Any) -> Call:
    return Call(model="m", messages=turns or (Message("user", (Text("Hi"),)),), **settings)


def test_full_request_round_trip():
    """Everything of a request comes back, options the call has no word for included."""
    assert render(ollama.parse_request(FULL)) == FULL


def test_full_request_parsed():
    call = ollama.parse_request(FULL)

    assert call.messages[1].parts == (Text("Look:"), Image(data="iVBORw0=", media_type="image/png"))
    assert call.messages[2].parts == (Reasoning("hm"), Text("I call."), ToolUse("c1", "weather", '{"city":"Paris"}'))
    assert call.messages[3].parts == (ToolOutput("c1", "sunny", "weather"),)
    assert (call.output, call.thinking) == (Output("json-schema", schema=SCHEMA), Thinking(effort="low"))
    assert (call.max_output_tokens, call.stop, call.seed, call.top_k) == (50, ("END",), 3, 4)


def test_streaming_is_the_default():
    assert ollama.parse_request({"model": "m", "messages": [{"role": "user", "content": "x"}]}).stream


def test_results_without_ids_find_their_calls():
    calls = [{"function": {"name": name, "arguments": {}}} for name in ("f", "g")]
    turns = [
        {"role": "assistant", "tool_calls": calls}, {"role": "tool", "content": "2", "tool_name": "g"},
        {"role": "tool", "content": "1"},
    ]  # fmt: skip

    call = ollama.parse_request({"model": "m", "messages": turns})

    assert [part.id for part in call.messages[0].parts] == ["call_0_0", "call_0_1"]  # type: ignore[union-attr]
    assert [message.parts[0].id for message in call.messages[1:]] == ["call_0_1", "call_0_0"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"), ({"model": ""}, "model"), ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "model"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "images": [3]}]}, "messages[0].images[0]"), ({"format": "xml"}, "format"),
        ({"format": 3}, "format"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function"),
        ({"think": "much"}, "think"),
        ({"tools": [{}]}, "tools[0].function"), ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"stream": "yes"}, "stream"),
    ],
)  # fmt: skip
def test_wrong_fields_are_named(change: dict[str, Any], param: str):
    with pytest.raises(InvalidRequest) as caught:
        ollama.parse_request({"model": "m", "messages": [{"role": "user", "content": "x"}]} | change)

    assert caught.value.info.param == param
    assert param in str(caught.value)


def test_chat_history():
    """One message for each result, under the name of its call; a failed tool says so in words."""
    results = (ToolOutput("a", "1"), ToolOutput("b", (Text("2"), Image(data="aWNv", media_type="image/png")), is_error=True))
    call = ask(
        Message("developer", (Text("A"),)), Message("user", (Text("1"), Text("2"))),
        Message("assistant",
            (Reasoning("t", "sig"), Reasoning(redacted="r"), Refusal("no"), ToolUse("a", "f"), ToolUse("b", "g"))),
        Message("tool", results),
    )  # fmt: skip

    assert render(call)["messages"] == [
        {"role": "system", "content": "A"},
        {"role": "user", "content": "1\n2"},
        {"role": "assistant", "content": "no", "thinking": "t", "tool_calls": [
            {"id": "a", "function": {"name": "f", "arguments": {}}},
            {"id": "b", "function": {"name": "g", "arguments": {}}},
        ]},
        {"role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "a"},
        {"role": "tool", "content": "Error: 2", "images": ["aWNv"], "tool_name": "g", "tool_call_id": "b"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("thinking", "form", "expected"),
    [
        (Thinking(effort="xhigh"), "adaptive", "high"), (Thinking(effort="none"), "adaptive", False),
        (Thinking(enabled=False), "budget", False),
        (Thinking(max_tokens=2000, enabled=True), "budget", True),
        (Thinking(effort="low", enabled=True), "budget", True),
        (Thinking(effort="low", enabled=True), "adaptive", "low"),
    ],
)  # fmt: skip
def test_thinking(thinking: Thinking, form: Any, expected: bool | str):
    assert render(ask(thinking=thinking), Profile(effort_form=form))["think"] == expected


def test_tools_and_choices():
    tools = (Tool("a", "d", SCHEMA), Tool("b"))

    narrowed = render(ask(tools=tools, tool_choice=ToolChoice("auto", allowed=("b",))))

    assert narrowed["tools"] == [
        {"type": "function", "function": {"name": "b", "parameters": {"type": "object", "properties": {}}}}
    ]
    assert "tools" not in render(ask(tools=tools, tool_choice=ToolChoice("none")))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"choices": 2}, "choice"), ({"logprobs": True}, "logprobs"), ({"verbosity": "high"}, "verbosity"),
        ({"tools": (Tool("f"),), "tool_choice": ToolChoice("required")}, "tool_choice"),
        ({"tools": (Tool("f"),), "parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"messages": (Message("user", (Image(url="https://e.org/i"),)),)}, "by URL"),
        ({"messages": (Message("user", (Document(data="eA=="),)),)}, "a file"),
        ({"messages": (Message("user", (Audio("eA==", "wav"),)),)}, "audio"),
        ({"messages": (Message("tool", (ToolOutput("t", (Document(data="eA=="),)),)),)}, "a file"),
        ({"extra": {"generate_content": {"cachedContent": "c"}}}, "cachedContent"),
    ],
)  # fmt: skip
def test_what_ollama_cannot_do_is_named(settings: dict[str, Any], named: str):
    with pytest.raises(Unsupported, match=named):
        render(Call(**({"model": "m", "messages": (Message("user", (Text("Hi"),)),)} | settings)))


def test_profile_says_what_a_provider_cannot():
    with pytest.raises(Unsupported, match="tools"):
        render(ask(tools=(Tool("f"),)), Profile(unsupported=frozenset({"tools"})))


def test_broken_arguments_of_an_earlier_call():
    with pytest.raises(InvalidRequest, match="JSON object"):
        render(ask(Message("assistant", (ToolUse("t", "f", "[1]"),))))


def test_path_and_media_type():
    assert (ollama.path("m", stream=True), ollama.MEDIA_TYPE) == ("/api/chat", "application/x-ndjson")
