"""The linter over whole streams: our own encoders hold every rule, and each rule notices what breaks it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.events import (
    Event,
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
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
)
from streamward.wire import data_stream, ui_message
from streamward.wire.dialect import Context, frames_of
from streamward.wire.lint import Capture, Linted, Read, detect, lint
from streamward.wire.table import dialect as dialect_module
from support.aisdk_captures import streams
from support.durable_script import responses_frames

LLM = ("chat_completions", "responses", "messages", "generate_content", "ollama")
CONTEXT = Context(id="x1", model="m", created=1_700_000_000)
PARTS: list[Event] = [
    ReasoningStart("r"), ReasoningDelta("r", "Hm"), ReasoningEnd("r"),
    TextStart("t"), TextDelta("t", "Hel"), TextDelta("t", "lo"), TextEnd("t"),
    ToolInputStart("c1", "weather"), ToolInputDelta("c1", '{"city":'), ToolInputDelta("c1", '"Oslo"}'), ToolInputEnd("c1"),
]  # fmt: skip
USAGE = Usage(3, 9)
MODEL_EVENTS: list[Event] = [Start("id", "m", 1), *PARTS, Finish("tool-calls", USAGE)]
UI_EVENTS: list[Event] = [
    Start("id", "m", 1), StepStart(), *PARTS, ToolCall("c1", "weather", {"city": "Oslo"}),
    StepFinish("tool-calls", USAGE), Finish("tool-calls", USAGE),
]  # fmt: skip
HEADS: dict[str, dict[str, str]] = {"ui_message": dict(ui_message.HEADERS), "data_stream": dict(data_stream.HEADERS)}
PLAIN_HEAD = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}


def wire(name: str) -> bytes:
    """A finished stream as our own encoder writes it."""
    if name == "ui_message":  # its encoder writes what JSON.stringify writes
        encoder: Any = ui_message.Encoder(ui_message.Options(message_id="msg-1"))
        return frames_of(encoder, UI_EVENTS)
    if name == "data_stream":
        return frames_of(data_stream.Encoder(data_stream.Options(message_id="msg-1")), UI_EVENTS)
    return frames_of(dialect_module(name).Encoder(CONTEXT), MODEL_EVENTS)


def captured(body: bytes, name: str, **more: Any) -> Capture:
    kind = dialect_module(name).MEDIA_TYPE if name in LLM else ""
    head = HEADS.get(name) or {**PLAIN_HEAD, "content-type": kind}
    return Capture(headers={key.lower(): value for key, value in head.items()}, reads=[Read(0.1, body)], **more)


def broken(linted: Linted) -> dict[str, str]:
    return {result.name: result.findings[0].message for result in linted.report.broken}


@pytest.mark.parametrize("name", [*LLM, "ui_message", "data_stream"])
def test_what_our_encoders_write_is_recognised_and_holds_every_rule(name: str):
    linted = lint(captured(wire(name), name))

    assert (linted.dialect, broken(linted)) == (name, {})
    assert linted.ending.startswith("finished")


@pytest.mark.parametrize("name", [*LLM, "ui_message", "data_stream"])
def test_every_stream_cut_short_breaks_its_terminal_rule(name: str):
    separator = b"\n" if name in ("ollama", "data_stream") else b"\n\n"
    pieces = wire(name).rstrip(b"\n").split(separator)
    for kept in range(1, len(pieces) - 3):
        linted = lint(captured(separator.join(pieces[:kept]) + separator, name, ending="reset"), name)

        assert any(rule.endswith("-terminal") for rule in broken(linted)), kept
        assert "body-complete" in broken(linted)


@pytest.mark.parametrize("name", [*LLM, "ui_message", "data_stream"])
@given(data=st.data())
def test_no_input_makes_it_raise(name: str, data: st.DataObject):
    body = bytearray(wire(name))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=30))

    lint(captured(bytes(body), name), data.draw(st.sampled_from([name, None])))


def chat(*chunks: Any, done: bool = True) -> bytes:
    frames = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    return b"".join(frames) + (b"data: [DONE]\n\n" if done else b"")


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}


def call(index: int, arguments: str = "", **head: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": head.pop("name")} if "name" in head else {})}
    return {"tool_calls": [{"index": index, **head, "function": function}]}


ROLE, END, USED = chunk({"role": "assistant", "content": ""}), chunk(finish="stop"), {"total_tokens": 1}
HEAD = {"id": "c1", "type": "function", "name": "w"}
ERROR = {"error": {"message": "m", "type": "t", "param": None, "code": "c"}}


@pytest.mark.parametrize(
    ("rule", "body"),
    [
        ("chat-json", chat(ROLE, "text", END)),
        ("chat-chunk", chat(ROLE, {"choices": []}, END)),
        ("chat-choice", chat(ROLE, {**chunk(), "choices": [{"index": 0, "delta": {}}]}, END)),
        ("chat-same-id", chat(ROLE, chunk(id="2"), END)),
        ("chat-role-once", chat(ROLE, chunk({"role": "assistant", "content": "x"}), END)),
        ("chat-role-once", chat(chunk({"content": "x"}), END)),
        ("chat-finish-once", chat(ROLE, END, END)),
        ("chat-finish-once", chat(ROLE, chunk(finish="done"))),
        ("chat-finish-once", chat(ROLE, END, chunk({"content": "more"}))),
        ("chat-tools-finish", chat(ROLE, chunk(call(0, "{}", **HEAD)), END)),
        ("chat-tool-index", chat(ROLE, chunk(call(1, "{}", **HEAD)), chunk(finish="tool_calls"))),
        ("chat-tool-head", chat(ROLE, chunk(call(0, "{}")), chunk(finish="tool_calls"))),
        ("chat-tool-head", chat(ROLE, chunk(call(0, "{", **HEAD)), chunk(call(0, "}", id="c1")), chunk(finish="tool_calls"))),
        ("chat-tool-arguments", chat(ROLE, chunk(call(0, '{"a"', **HEAD)), chunk(finish="tool_calls"))),
        ("chat-usage", chat(ROLE, chunk(finish="stop", usage=USED))),
        ("chat-error", chat(ROLE, {"error": "no"}, done=False)),
        ("chat-terminal", chat(ROLE, ERROR)),
        ("chat-terminal", chat(ROLE)),
        ("chat-terminal", chat(ROLE, END, done=False)),
        ("chat-no-event-names", chat(ROLE).replace(b"data:", b"event: x\ndata:", 1)),
    ],
)  # fmt: skip
def test_chat_rules(rule: str, body: bytes):
    assert rule in broken(lint(captured(body, "chat_completions")))


def responses(change: Callable[[list[dict[str, Any]]], Any] | None = None) -> bytes:
    events = [json.loads(frame.partition(b"data: ")[2]) for frame in responses_frames(["Hel", "lo"])]
    events = (change(events) if change is not None else None) or events
    return b"".join(
        f"event: {event.pop('event', event['type'])}\ndata: {json.dumps(event)}\n\n".encode() for event in events
    )


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("responses-event-name", lambda events: events[1].update(event="other")),
        ("responses-sequence", lambda events: events[3].update(sequence_number=7)),
        ("responses-first", lambda events: events[1:]),
        ("responses-same-id", lambda events: events[-1]["response"].update(id="resp_2")),
        ("responses-item-order", lambda events: events[2].update(output_index=1)),
        ("responses-item-pairs", lambda events: events[:-2] + events[-1:]),
        ("responses-part-pairs", lambda events: events[:-3] + events[-2:]),
        ("responses-delta-open", lambda events: events[4].update(content_index=3)),
        ("responses-delta-open", lambda events: events[4].update(item_id="other")),
        ("responses-text-same", lambda events: events[6].update(text="Hell")),
        ("responses-text-same", lambda events: events[8]["item"]["content"][0].update(text="other")),
        ("responses-incomplete-last", lambda events: events[8]["item"].update(status="incomplete")),
        ("responses-known", lambda events: events[1].update(type="acme:trace")),
        ("responses-terminal", lambda events: events[:-1]),
        ("responses-terminal", lambda events: events[-1]["response"].update(usage=None)),
        ("responses-terminal", lambda events: [*events, dict(events[-1])]),
        ("responses-snapshot", lambda events: None),
        ("responses-end-marker", lambda events: None),
    ],
)
def test_responses_rules(rule: str, change: Callable[[list[dict[str, Any]]], Any]):
    assert rule in broken(lint(captured(responses(change), "responses")))


def replaced(name: str, old: bytes, new: bytes) -> bytes:
    body = wire(name)
    assert old in body
    return body.replace(old, new, 1)


@pytest.mark.parametrize(
    ("rule", "name", "old", "new"),
    [
        ("messages-event-name", "messages", b"event: content_block_start\n", b""),
        ("messages-block-index", "messages", b'"content_block_start","index":1', b'"content_block_start","index":5'),
        ("messages-delta-kind", "messages", b'"text_delta"', b'"thinking_delta"'),
        ("messages-tool-input", "messages", b'\\"Oslo\\"}', b'\\"Oslo\\"'),
        ("messages-stop-reason", "messages", b'"stop_reason":"tool_use"', b'"stop_reason":"done"'),
        ("messages-terminal", "messages", b"event: message_stop\n", b"event: ping\ndata: {\"type\":\"ping\"}\n\n: "),
        ("ui-client-accepts", "ui_message", b'"text-delta","id":"', b'"text-delta","id":"no'),
        ("ui-start", "ui_message", b'data: {"type":"start"', b'data: {"type":"message-metadata"'),
        ("ui-steps", "ui_message", b'data: {"type":"start-step"}\n\n', b""),
        ("ui-part-ids", "ui_message", b'"text-end"', b'"reasoning-end"'),
        ("ui-terminal", "ui_message", b"data: [DONE]\n\n", b""),
        ("data-client-accepts", "data_stream", b'0:"Hel"', b'0:Hel'),
        ("data-steps", "data_stream", b"f:", b"2:[]\n8:"),
        ("data-terminal", "data_stream", b"\nd:", b"\n2:[]\nd:{\"finishReason\":\"stop\"}\nd:"),
        ("gemini-finish", "generate_content", b'"finishReason"', b'"finishReason":"STOP","x"'),
        ("ollama-done", "ollama", b'"done":false', b'"done":true'),
        ("ollama-json", "ollama", b'"created_at"', b'"created"'),
    ],
)  # fmt: skip
def test_other_dialects(rule: str, name: str, old: bytes, new: bytes):
    if rule == "gemini-finish":  # an earlier frame that finishes, too
        body = wire(name)
        first = body.split(b"\n\n")[0].replace(b'"candidates":[{', b'"candidates":[{"finishReason":"STOP",', 1)
        body = first + b"\n\n" + body
    else:
        body = replaced(name, old, new)

    assert rule in broken(lint(captured(body, name), name))


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("head-content-type", {"content-type": "application/json"}),
        ("head-no-encoding", {"content-encoding": "gzip"}),
        ("head-no-length", {"content-length": "7"}),
        ("head-no-buffering", {"cache-control": "no-cache"}),
        ("head-no-buffering", {"x-accel-buffering": "yes"}),
    ],
)
def test_heads(rule: str, change: dict[str, str]):
    capture = captured(wire("chat_completions"), "chat_completions")
    capture.headers |= change

    assert list(broken(lint(capture))) == [rule]


def test_behind_nginx_its_own_header_is_not_missed():
    capture = captured(wire("chat_completions"), "chat_completions")
    del capture.headers["x-accel-buffering"]

    assert list(broken(lint(capture))) == ["head-no-buffering"]
    capture.headers["server"] = "nginx/1.22.1"
    assert broken(lint(capture)) == {}


def test_the_protocol_header_of_the_ai_sdk():
    capture = captured(wire("ui_message"), "ui_message")
    del capture.headers["x-vercel-ai-ui-message-stream"]

    assert list(broken(lint(capture))) == ["head-protocol"]


def test_findings_are_bounded_and_the_rest_is_counted():
    result = lint(captured(chat(ROLE, *["text"] * 500, END), "chat_completions")).report.results["chat-json"]

    assert (result.broken, len(result.findings)) == (500, 5)


SDK_STREAMS = [
    pytest.param(name, *param.values, id=str(param.id))
    for name, versions in (("ui_message", (5, 6, 7)), ("data_stream", (4,)))
    for param in streams(versions, "data")
]
NOT_WHOLE = {"send-start-false": "ui-start", "send-finish-false": "-terminal"}
"""Streams meant for merging into others, which the SDK leaves open on purpose."""


@pytest.mark.parametrize(("name", "version", "capture"), SDK_STREAMS)
def test_streams_of_the_real_ai_sdk_break_no_rule_of_their_protocol(name: str, version: int, capture: dict[str, Any]):
    """Captured from the npm packages. An aborted stream of version 4 ends like one that was cut off."""
    found = broken(lint(Capture(headers={}, reads=[Read(0.0, capture["wire"].encode())]), name))
    rules = [rule for rule in found if rule.startswith(("ui-", "data-"))]

    expected = NOT_WHOLE.get(capture["name"], "-terminal" if version == 4 and capture["name"].startswith("abort") else None)
    if expected is None:
        assert rules == []
    else:
        assert len(rules) == 1
        assert rules[0].endswith(expected)


def test_detection_without_headers():
    found = {name: detect(Capture(headers={}, reads=[Read(0.0, wire(name))])) for name in LLM}

    assert found == {name: name for name in LLM}
    assert detect(Capture(headers={}, reads=[Read(0.0, b"data: hello\n\n")])) == "sse"


@pytest.mark.parametrize("odd", [{}, [], {"a": [1]}, True, None, 1.5, "x"])
@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"response.output_item.added","output_index":ODD,"item":{"id":ODD}}',
        '{"type":"response.output_text.delta","output_index":ODD,"content_index":ODD,"item_id":ODD,"delta":ODD}',
        '{"type":"content_block_start","index":ODD,"content_block":{"type":ODD}}',
        '{"type":"content_block_delta","index":ODD,"delta":{"type":"text_delta","text":ODD}}',
        '{"type":"content_block_stop","index":ODD}', '{"candidates":[{"index":ODD,"finishReason":ODD}]}',
        '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":ODD}]},"finish_reason":ODD}]}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", LLM)
def test_an_odd_value_where_an_index_or_an_id_is_due_is_a_finding(name: str, frame: str, odd: object):
    """Never an exception: objects cannot be looked up."""
    body = f"data: {frame.replace('ODD', json.dumps(odd))}\n\n".encode()

    assert lint(captured(body * 2, name), name).report is not None
