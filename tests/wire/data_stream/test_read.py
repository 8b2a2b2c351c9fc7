"""Lines are read as AI SDK 4's client reads them, wherever the bytes are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamward.wire.data_stream import Assembler, Lines, Part, PartError, parse_part, read
from support.aisdk_captures import document, streams


@pytest.mark.parametrize("case", document("tables")["parse_part"], ids=lambda case: case["line"][:40])
def test_a_line_is_parsed_like_the_ai_sdk_does(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(PartError) as caught:
            parse_part(case["line"])
        assert str(caught.value) == case["error"]
    else:
        part = parse_part(case["line"])
        assert json.dumps({"type": part.type, "value": part.value}).replace("NaN", "null") == json.dumps(case["part"])


@pytest.mark.parametrize(("version", "capture"), [p for p in streams((4,), "data") if "client" in p.values[1]])
def test_a_captured_stream_builds_the_captured_message(version: int, capture: dict[str, Any]) -> None:
    assembler = read(capture["wire"].encode())

    assert version == 4
    assert assembler.message == capture["client"]["message"]
    assert assembler.error == capture["client"]["error"]


def test_every_cut_gives_the_same_lines() -> None:
    wire = '0:"ż\u2028👋"\n\n2:[1]\n0:"\\n"\n'.encode()
    whole = Lines().feed(wire)

    assert whole == ['0:"ż\u2028👋"', "2:[1]", '0:"\\n"']
    for at in range(len(wire)):
        lines = Lines()
        assert [*lines.feed(wire[:at]), *lines.feed(wire[at:])] == whole
        assert lines.close() == []


def test_a_last_line_without_its_line_feed_counts_if_it_is_whole() -> None:
    assert Lines().feed(b'0:"a"\n0:"b') == ['0:"a"']
    whole, half = read(b'0:"a"\n0:"b"'), read(b'0:"a"\n0:"b')

    assert whole.message is not None
    assert half.message is not None
    assert (whole.message["content"], whole.error) == ("ab", None)
    assert half.message["content"] == "a"
    assert half.error is not None


def test_a_line_past_its_bound_stops_the_reading() -> None:
    lines = Lines(max_line_bytes=8)

    assert lines.feed(b'0:"0123456789') == []
    assert lines.too_long
    assert lines.feed(b'"\n0:"a"\n') == []


def assembled(*parts: tuple[str, Any], message: dict[str, Any] | None = None) -> Assembler:
    assembler = Assembler(message)
    for name, value in parts:
        assembler.feed(Part(name, value))
    return assembler


CALL = {"toolCallId": "c", "toolName": "f", "args": {"x": 1}}


def test_a_continued_message_keeps_its_id_and_counts_steps_on() -> None:
    invocation = {**CALL, "state": "result", "step": 0, "result": 1}
    start = {
        "id": "m", "role": "assistant", "content": "", "toolInvocations": [invocation],
        "parts": [{"type": "tool-invocation", "toolInvocation": invocation}],
    }  # fmt: skip
    assembler = assembled(("start_step", {"messageId": "new"}), ("tool_call", {**CALL, "toolCallId": "d"}), message=start)

    assert assembler.message is not None
    assert assembler.message["id"] == "m"
    assert [i["step"] for i in assembler.message["toolInvocations"]] == [0, 1]
    assert start["toolInvocations"] == [invocation]


def test_streamed_arguments_are_shown_as_far_as_they_go() -> None:
    assembler = assembled(
        ("tool_call_streaming_start", {"toolCallId": "c", "toolName": "f"}),
        ("tool_call_delta", {"toolCallId": "c", "argsTextDelta": '{"x":[1'}),
    )

    assert assembler.message is not None
    assert assembler.message["toolInvocations"][0]["args"] == {"x": [1]}
    assert assembler.message["toolInvocations"][0]["state"] == "partial-call"


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ([("tool_result", {"toolCallId": "c", "result": 1})], "tool_result must be preceded by a tool_call"),
        (
            [("tool_call", CALL), ("tool_result", {"toolCallId": "d", "result": 1})],
            "tool_result must be preceded by a tool_call with the same toolCallId",
        ),
        ([("tool_call_delta", {"toolCallId": "c", "argsTextDelta": ""})], "was not started"),
        ([("error", "shown")], "shown"),
    ],
)
def test_parts_that_do_not_fit_are_errors(parts: list[tuple[str, Any]], error: str) -> None:
    assembler = assembled(*parts, ("text", "after"))

    assert assembler.error is not None
    assert assembler.error.endswith(error)
    assert assembler.content == [""]


def test_reasoning_details_annotations_and_data_are_collected() -> None:
    assembler = assembled(
        ("reasoning", "a"), ("reasoning", "b"), ("reasoning_signature", {"signature": "s"}),
        ("redacted_reasoning", {"data": "r"}), ("reasoning", "c"), ("message_annotations", [1]),
        ("message_annotations", [2]), ("data", [3, 4]), ("finish_step", {"finishReason": "stop", "isContinued": True}),
    )  # fmt: skip

    assert assembler.message is not None
    assert assembler.message["reasoning"] == "abc"
    assert assembler.message["parts"][0]["details"] == [
        {"type": "text", "text": "ab", "signature": "s"}, {"type": "redacted", "data": "r"}, {"type": "text", "text": "c"},
    ]  # fmt: skip
    assert (assembler.message["annotations"], assembler.data) == ([1, 2], [3, 4])
