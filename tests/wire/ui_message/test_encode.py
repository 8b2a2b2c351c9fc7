"""The UI message stream has the bytes that AI SDK 5, 6 and 7 send, and stays truthful where they do not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.errors import ErrorInfo
from streamward.events import (
    Abort,
    ApprovalRequest,
    ApprovalResponse,
    Data,
    Error,
    Event,
    File,
    Finish,
    Metadata,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    RefusalDelta,
    RefusalEnd,
    RefusalStart,
    Source,
    Start,
    StepFinish,
    StepStart,
    TextDelta,
    TextEnd,
    TextStart,
    ToolCall,
    ToolDenied,
    ToolError,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    ToolResult,
    Vendor,
)  # fmt: skip
from streamward.grammar import violations
from streamward.wire.dialect import frames_of
from streamward.wire.sse import DONE, Reader
from streamward.wire.ui_message import HEADERS, KEEP_ALIVE, STREAM_OPEN, VERSIONS, Encoder, Options
from support.aisdk_captures import streams, writers
from support.aisdk_script import Run, opaque_ids, ui_options

FAILED = Error(ErrorInfo("upstream_error", "secret detail"))
TEXT: list[Event] = [TextStart("t"), TextDelta("t", "hi"), TextEnd("t")]


def chunks(*events: Event, options: Options | None = None) -> list[Any]:
    """The chunks of *events*, without the end marker, read back through a real SSE reader."""
    reader = Reader()
    frames = reader.feed(frames_of(Encoder(options), events))
    assert frames[-1].data == DONE
    return [json.loads(frame.data) for frame in frames[:-1]]


def types(*events: Event, options: Options | None = None) -> list[str]:
    return [chunk["type"] for chunk in chunks(*events, options=options)]


# -- exact bytes


@pytest.mark.parametrize(("version", "capture"), streams((5, 6, 7), "data"))
def test_a_scripted_run_gives_the_captured_bytes(version: int, capture: dict[str, Any]) -> None:
    events = list(Run(capture, version).events())
    assert violations(events) == []

    wire = frames_of(Encoder(ui_options(capture["options"], version)), events).decode()

    assert opaque_ids(wire) == opaque_ids(capture["wire"])


@pytest.mark.parametrize(("version", "capture"), writers((5, 6, 7)))
def test_a_writer_gives_the_captured_bytes(version: Any, capture: dict[str, Any]) -> None:
    written: list[Event] = [
        Vendor("ui_message", {"type": "start", "messageId": "m-1", "messageMetadata": {"a": 1}}),
        Data("status", {"pct": 10}, "st"), Data("notify", {"level": "info"}, transient=True),
        Data("status", {"pct": 100}, "st"), Source("s9", "url", "https://example.com/w", "W"), Metadata({"b": {"c": 2}}),
    ]  # fmt: skip
    merged: list[Event] = [TextStart("t"), TextDelta("t", "mer"), TextDelta("t", "ged"), TextEnd("t"), Finish("stop")]
    ending: list[Event] = [FAILED] if capture["name"] == "writer-fails" else merged

    wire = frames_of(Encoder(Options(version=version, send_sources=True)), [*written, *ending]).decode()

    assert opaque_ids(wire) == opaque_ids(capture["wire"])


@pytest.mark.parametrize(("version", "capture"), streams((5, 6, 7), "data"))
def test_the_headers_are_those_of_the_ai_sdk_plus_no_transform(version: int, capture: dict[str, Any]) -> None:
    assert version in VERSIONS
    assert {**capture["response"]["headers"], "cache-control": "no-cache, no-transform"} == HEADERS


def test_comments_before_and_between_frames_are_no_frames() -> None:
    wire = STREAM_OPEN + frames_of(Encoder(), [Start(), Finish("stop")]).replace(b"\n\n", b"\n\n" + KEEP_ALIVE)

    assert [frame.data for frame in Reader().feed(wire)][1:] == [b'{"type":"finish","finishReason":"stop"}', DONE]


# -- endings


def test_an_error_comes_before_the_ends_it_caused() -> None:
    assert types(Start(), StepStart(), *TEXT, FAILED) == [
        "start", "start-step", "text-start", "text-delta", "error", "text-end", "finish-step", "finish",
    ]  # fmt: skip


def test_an_error_before_any_step_leaves_no_message_to_finish() -> None:
    assert types(Start(), FAILED) == ["start", "error"]


def test_an_abort_leaves_the_open_part_open() -> None:
    assert types(Start(), StepStart(), *TEXT, Abort("stop")) == [
        "start", "start-step", "text-start", "text-delta", "abort",
    ]  # fmt: skip


def test_a_stream_that_never_said_how_it_ended_is_an_error() -> None:
    last = chunks(Start(), StepStart(), *TEXT)[-2]

    assert last == {"type": "error", "errorText": "An error occurred."}


def test_a_stream_of_data_may_just_end() -> None:
    assert types(Data("x", 1), options=Options(terminal=False)) == ["data-x"]


def test_a_merged_stream_leaves_the_end_marker_to_the_outer_one() -> None:
    options = Options(done=False, send_start=False, send_finish=False)

    assert frames_of(Encoder(options), [Start(), *TEXT, Finish("stop")]).count(b"data: ") == 5


@pytest.mark.parametrize(("version", "reason"), [(5, "unknown"), (6, "other"), (7, "other")])
def test_an_unknown_finish_reason_has_a_name_the_version_accepts(version: Any, reason: str) -> None:
    assert chunks(Finish("unknown"), options=Options(version=version))[-1]["finishReason"] == reason


def test_the_finish_reason_can_be_left_out_for_early_5_clients() -> None:
    assert chunks(Finish("stop"), options=Options(version=5, send_finish_reason=False)) == [{"type": "finish"}]


# -- steps and parts


def test_a_plain_model_stream_gets_one_step() -> None:
    assert types(Start(), *TEXT, Finish("stop")) == [
        "start", "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish",
    ]  # fmt: skip


def test_outputs_of_approved_calls_come_before_the_first_step() -> None:
    assert types(Start(), ToolResult("a", "rm", 1), StepStart(), StepFinish(), Finish("stop"))[:3] == [
        "start", "tool-output-available", "start-step",
    ]  # fmt: skip


def test_a_refusal_is_shown_as_text_under_its_own_id() -> None:
    refusal: list[Event] = [RefusalStart("t"), RefusalDelta("t", "No."), RefusalEnd("t")]
    made = chunks(*TEXT, *refusal, Finish("stop"))

    assert made[4:7] == [
        {"type": "text-start", "id": "refusal-t"},
        {"type": "text-delta", "id": "refusal-t", "delta": "No."},
        {"type": "text-end", "id": "refusal-t"},
    ]


def test_held_ends_come_out_before_whatever_follows() -> None:
    encoder = Encoder()
    for event in (Start(), *TEXT):
        encoder.feed(event)

    assert encoder.feed(TextStart("u"))[0] == b'data: {"type":"text-end","id":"t"}\n\n'


def test_interleaved_parts_keep_their_ids() -> None:
    events: list[Event] = [TextStart("a"), TextStart("b"), TextDelta("b", "1"), TextDelta("a", "2"), TextEnd("a")]
    made = chunks(Start(), *events, TextDelta("b", "3"), TextEnd("b"), Finish("stop"))

    assert [(c["type"], c["id"], c.get("delta")) for c in made[4:9]] == [
        ("text-delta", "b", "1"), ("text-delta", "a", "2"), ("text-end", "a", None), ("text-delta", "b", "3"),
        ("text-end", "b", None),
    ]  # fmt: skip


def test_what_a_provider_wants_back_travels_in_provider_metadata() -> None:
    events: list[Event] = [ReasoningStart("r"), ReasoningDelta("r", "hm"), ReasoningEnd("r", "sig", "blob")]
    call: list[Event] = [ToolInputStart("c", "f"), ToolInputEnd("c", "callsig"), ToolCall("c", "f", {})]
    made = chunks(*events, *call, Finish("stop"), options=Options(provider="p"))

    assert made[3]["providerMetadata"] == {"p": {"signature": "sig", "redactedData": "blob"}}
    assert made[5]["providerMetadata"] == {"p": {"signature": "callsig"}}


def test_own_provider_metadata_is_put_back() -> None:
    extra = {"ui_message": {"providerMetadata": {"p": {"x": 1}}}, "other": {"y": 2}}
    events: list[Event] = [TextStart("t", extra), TextDelta("t", "", extra=extra), TextEnd("t", extra)]
    made = chunks(*events, Finish("stop"))

    assert [c.get("providerMetadata") for c in made[1:4]] == [{"p": {"x": 1}}] * 3


# -- what each version may see


@pytest.mark.parametrize("version", [5, 6, 7])
def test_no_version_sees_fields_or_frames_of_a_later_one(version: Any) -> None:
    extra = {"ui_message": {"citations": [1], "isAutomatic": True, "toolMetadata": {"m": 1}, "inputEncoding": "json"}}
    made = chunks(
        Start(), *TEXT[:2], TextEnd("t", extra), ToolInputStart("c", "f", title="F", extra=extra),
        ToolCall("c", "f", 1, title="F", extra=extra), ApprovalRequest("ap", "c", extra), ApprovalResponse("ap", True),
        ToolDenied("c", "f", "no"), Finish("stop"), options=Options(version=version),
    )  # fmt: skip
    seen = {(chunk["type"], name) for chunk in made for name in chunk}

    assert (("text-end", "citations") in seen) == (version == 7)
    assert (("tool-approval-request", "isAutomatic") in seen) == (version == 7)
    assert any(kind == "tool-approval-response" for kind, _ in seen) == (version == 7)
    assert any(kind == "tool-approval-request" for kind, _ in seen) == (version > 5)
    for name in ("title", "toolMetadata", "inputEncoding"):
        assert (("tool-input-start", name) in seen) == (version > 5)
    denied = "tool-output-denied" if version > 5 else "tool-output-error"
    assert any(kind == denied for kind, _ in seen)


def test_no_field_is_ever_null_except_inputs_outputs_and_data() -> None:
    events: list[Event] = [
        Start(), Source("s", "url"), Source("d", "document"), File("image/png"), Metadata(None), Data("n", None),
        ToolInputStart("c", "f"), ToolCall("c", "f", None), ToolResult("c", "f", None), Finish("stop"),
    ]  # fmt: skip
    nulls = {
        name
        for version in (5, 6, 7)
        for chunk in chunks(*events, options=Options(version=version, send_sources=True))  # type: ignore[arg-type]
        for name, value in chunk.items()
        if value is None
    }

    assert nulls == {"input", "output", "data"}


def test_sources_need_consent_and_documents_get_the_fields_clients_require() -> None:
    assert chunks(Source("s", "url", "u"), options=Options(terminal=False)) == []
    made = chunks(Source("d", "document", filename="a.pdf"), options=Options(terminal=False, send_sources=True))

    assert made == [
        {"type": "source-document", "sourceId": "d", "mediaType": "application/octet-stream", "title": "a.pdf",
         "filename": "a.pdf"},
    ]  # fmt: skip


def test_files_are_data_urls_or_their_own_url() -> None:
    made = chunks(File("a/b", data="eA=="), File("a/b", url="https://e.com"), options=Options(terminal=False))

    assert [chunk["url"] for chunk in made] == ["data:a/b;base64,eA==", "https://e.com"]


def test_vendor_frames_of_this_dialect_pass_and_others_do_not() -> None:
    mine, other = Vendor("ui_message", {"type": "data-x", "data": 1}), Vendor("messages", {"type": "ping"})

    assert chunks(mine, other, options=Options(terminal=False)) == [{"type": "data-x", "data": 1}]


def test_data_replaces_by_id_and_transient_data_says_so() -> None:
    made = chunks(Data("a", 1, "i"), Data("b", [2], transient=True), options=Options(terminal=False))

    assert made == [{"type": "data-a", "id": "i", "data": 1}, {"type": "data-b", "data": [2], "transient": True}]


# -- masking


@pytest.mark.parametrize(("version", "shown"), [(5, False), (6, False), (7, True)])
def test_errors_are_masked_except_tool_errors_in_version_7(version: Any, shown: bool) -> None:
    made = chunks(StepStart(), ToolCall("c", "f", {}), ToolError("c", "f", "boom"), FAILED, options=Options(version=version))

    assert made[2]["errorText"] == ("Error: boom" if shown else "An error occurred.")
    assert made[3]["errorText"] == "An error occurred."


def test_a_mask_sees_the_kind_and_the_message() -> None:
    options = Options(version=6, error_text=lambda kind, message: f"{kind}/{message}")
    made = chunks(StepStart(), ToolCall("c", "f", {}, error="bad"), ToolError("c", "f", "bad"), FAILED, options=options)

    assert [chunk["errorText"] for chunk in made if "errorText" in chunk] == [
        "tool-input-error/bad", "tool-input-error/bad", "error/secret detail",
    ]  # fmt: skip


def test_a_mask_that_fails_masks() -> None:
    def broken(_kind: str, _message: str) -> str:
        raise RuntimeError

    assert chunks(FAILED, options=Options(error_text=broken)) == [{"type": "error", "errorText": "An error occurred."}]


def test_metadata_comes_with_its_event() -> None:
    made = chunks(
        Start(), StepStart(), *TEXT, StepFinish(), Finish("stop"),
        options=Options(version=7, metadata=lambda event: {"of": type(event).__struct_config__.tag}),
    )  # fmt: skip

    assert made[0]["messageMetadata"] == {"of": "start"}
    assert made[-1]["messageMetadata"] == {"of": "finish"}
    steps = [chunk for chunk in made if chunk.get("messageMetadata", {}).get("of") == "finish-step"]
    assert steps == [{"type": "message-metadata", "messageMetadata": {"of": "finish-step"}}]
    assert [chunk["type"] for chunk in made[-3:-1]] == ["message-metadata", "finish-step"]


# -- robustness


@given(st.text(max_size=20), st.text(max_size=8))
def test_any_text_and_id_stay_inside_one_frame(text: str, part_id: str) -> None:
    made = chunks(Start(), TextStart(part_id), TextDelta(part_id, text or "x"), TextEnd(part_id), Finish("stop"))

    assert made[3] == {"type": "text-delta", "id": part_id, "delta": text or "x"}


@pytest.mark.parametrize("output", [object(), {1, 2}, b"x", float("nan"), 1 << 80, "\ud800", {"\ud800": 1}, {(1,): 2}])
def test_an_output_that_is_no_json_does_not_break_the_stream(output: Any) -> None:
    made = chunks(ToolResult("c", "f", output), Finish("stop"))

    assert "output" in made[0]
    assert made[-1]["type"] == "finish"


def test_an_output_nested_without_end_does_not_break_the_stream() -> None:
    nested: list[Any] = []
    nested.append(nested)

    assert chunks(ToolResult("c", "f", nested), ToolInputDelta("c", "x"), Finish("stop"))[0]["type"].startswith("tool-")


@pytest.mark.parametrize(("version", "start", "error"), [(5, None, None), (6, False, True), (7, False, True)])
def test_calls_of_unknown_tools_are_marked_as_the_version_does(version: Any, start: Any, error: Any) -> None:
    options = Options(version=version, tools=frozenset(("known",)))
    made = chunks(ToolInputStart("c", "new"), ToolCall("c", "new", {}, "no such tool"), Finish("stop"), options=options)

    assert (made[1].get("dynamic"), made[2].get("dynamic")) == (start, error)
