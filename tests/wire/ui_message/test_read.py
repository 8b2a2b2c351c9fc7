"""The assembled message is the one that the AI SDK's own client builds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamward.wire.ui_message import Assembler, read
from support.aisdk_captures import streams


def fed(*chunks: Any, message: dict[str, Any] | None = None, version: Any = 7) -> Assembler:
    assembler = Assembler(message, version=version)
    for chunk in chunks:
        assembler.feed(chunk)
    return assembler


@pytest.mark.parametrize(("version", "capture"), streams((5, 6, 7), "data"))
def test_a_captured_stream_builds_the_captured_message(version: Any, capture: dict[str, Any]) -> None:
    client = capture["client"]

    assembler = read(capture["wire"].encode(), client.get("initial_message"), version=version)

    assert assembler.message == client["message"]
    assert assembler.error == (client["errors"] or [None])[0]
    assert assembler.ended == any(f'{{"type":"{end}"' in capture["wire"] for end in ("finish", "abort", "error"))


def test_the_message_can_be_asked_for_at_any_time_and_is_a_copy() -> None:
    assembler = fed({"type": "text-start", "id": "t"}, {"type": "text-delta", "id": "t", "delta": "a"})
    before = assembler.message
    assembler.feed({"type": "text-delta", "id": "t", "delta": "b"})

    assert before is not None
    assert before["parts"] == [{"type": "text", "text": "a", "state": "streaming"}]
    assert assembler.message is not None
    assert assembler.message["parts"][0]["text"] == "ab"


def test_streamed_arguments_are_shown_as_far_as_they_go() -> None:
    start = {"type": "tool-input-start", "toolCallId": "c", "toolName": "f"}
    assembler = fed(start, *({"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": d} for d in ('{"a":[1', ",2")))

    assert assembler.message is not None
    assert assembler.message["parts"] == [
        {"type": "tool-f", "toolCallId": "c", "state": "input-streaming", "input": {"a": [1, 2]}, "rawInput": '{"a":[1,2'}
    ]


def test_data_with_an_id_is_replaced_in_place_and_transient_data_is_not_kept() -> None:
    assembler = fed(
        {"type": "data-s", "id": "1", "data": 1}, {"type": "data-t", "data": 2},
        {"type": "data-s", "id": "1", "data": 3}, {"type": "data-u", "data": 4, "transient": True},
    )  # fmt: skip

    assert assembler.message is not None
    assert assembler.message["parts"] == [{"type": "data-s", "id": "1", "data": 3}, {"type": "data-t", "data": 2}]


def test_metadata_is_merged_at_every_depth() -> None:
    assembler = fed(
        {"type": "start", "messageMetadata": {"a": {"b": 1, "c": 2}, "d": [1]}},
        {"type": "message-metadata", "messageMetadata": {"a": {"c": 3}, "d": [2], "__proto__": 1}},
    )

    assert assembler.message is not None
    assert assembler.message["metadata"] == {"a": {"b": 1, "c": 3}, "d": [2]}


def test_a_start_with_another_id_begins_a_new_message() -> None:
    """What a resumed stream does: it is replayed from its first chunk."""
    first = [{"type": "start", "messageId": "m1"}, {"type": "text-start", "id": "t"}]
    assembler = fed(*first, {"type": "start", "messageId": "m2"})

    assert assembler.message == {"id": "m2", "role": "assistant", "parts": []}


def test_a_reset_step_forgets_what_the_call_had_said() -> None:
    text = [{"type": "text-start", "id": "t"}, {"type": "text-delta", "id": "t", "delta": "x"}]
    assembler = fed({"type": "start-step"}, *text, {"type": "reset-step"}, *text)

    assert assembler.message is not None
    assert [part["type"] for part in assembler.message["parts"]] == ["step-start", "text"]
    assert assembler.message["parts"][1]["text"] == "x"


def test_an_approval_goes_through_its_states() -> None:
    call = {"type": "tool-input-available", "toolCallId": "c", "toolName": "rm", "input": {}}
    assembler = fed(call, {"type": "tool-approval-request", "approvalId": "ap", "toolCallId": "c", "reason": "why"})
    requested = assembler.message
    assembler.feed({"type": "tool-approval-response", "approvalId": "ap", "approved": False, "reason": "no"})
    responded = assembler.message
    assembler.feed({"type": "tool-output-denied", "toolCallId": "c"})

    assert requested is not None
    assert responded is not None
    assert assembler.message is not None
    assert requested["parts"][0]["approval"] == {"id": "ap", "requestReason": "why"}
    assert responded["parts"][0]["approval"] == {"id": "ap", "requestReason": "why", "approved": False, "reason": "no"}
    states = [message["parts"][0]["state"] for message in (requested, responded, assembler.message)]
    assert states == ["approval-requested", "approval-responded", "output-denied"]


@pytest.mark.parametrize(
    ("chunk", "failure"),
    [
        ({"type": "text-delta", "id": "t", "delta": "x"}, "missing text part"),
        ({"type": "reasoning-end", "id": "t"}, "missing reasoning part"),
        ({"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": ""}, "missing tool call"),
        ({"type": "tool-output-available", "toolCallId": "c", "output": 1}, "No tool invocation found"),
        ({"type": "tool-output-error", "toolCallId": "c", "errorText": ""}, "No tool invocation found"),
        ({"type": "tool-output-denied", "toolCallId": "c"}, "No tool invocation found"),
        ({"type": "tool-approval-request", "toolCallId": "c", "approvalId": "a"}, "No tool invocation found"),
        ({"type": "tool-approval-response", "approvalId": "a", "approved": True}, "approval ID"),
        ({"type": "nonsense"}, "unknown chunk type"),
        ({"type": "text-start"}, "without a valid id"),
        ({"type": "text-start", "id": 1}, "without a valid id"),
        ({"type": "tool-input-available", "toolCallId": "c", "toolName": "f"}, "without a valid input"),
        ({"type": 1}, "an object with a type"),
        ([], "an object with a type"),
    ],
)
def test_a_chunk_that_does_not_fit_ends_the_assembly(chunk: Any, failure: str) -> None:
    assembler = fed(chunk, {"type": "text-start", "id": "t"})

    assert assembler.failure is not None
    assert failure in assembler.failure
    assert assembler.message is None


def test_a_body_may_use_crlf_and_lack_its_last_blank_line_and_marker() -> None:
    chunks = [{"type": "text-start", "id": "t"}, {"type": "text-delta", "id": "t", "delta": "a\u2028b"}]
    wire = "".join(f": c\r\ndata:{json.dumps(chunk, ensure_ascii=False)}\r\n\r\n" for chunk in chunks)

    message = read(wire.removesuffix("\r\n").encode()).message

    assert message is not None
    assert message["parts"][0]["text"] == "a\u2028b"


def test_a_frame_that_is_no_json_is_a_failure() -> None:
    assembler = read(b'data: {"type":"start","messageId":"m"}\n\ndata: {oops\n\n')

    assert assembler.message is not None
    assert assembler.error is not None
    assert assembler.error.startswith("JSON parsing failed")
