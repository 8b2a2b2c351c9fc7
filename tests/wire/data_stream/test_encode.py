"""The data stream has the bytes that AI SDK 3.4 and 4 send, and says how it ended."""

from __future__ import annotations

from typing import Any

import pytest

from streamward.errors import ErrorInfo
from streamward.events import (
    Abort,
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
    RefusalStart,
    Source,
    Start,
    StepFinish,
    StepStart,
    TextDelta,
    TextStart,
    ToolCall,
    ToolDenied,
    ToolError,
    ToolInputDelta,
    ToolInputStart,
    ToolResult,
    Usage,
    Vendor,
)  # fmt: skip
from streamward.grammar import violations
from streamward.wire.data_stream import HEADERS, KEEP_ALIVE, Encoder, Options, parse_part, read
from streamward.wire.dialect import frames_of
from support.aisdk_captures import streams, writers
from support.aisdk_script import Run, data_options, opaque_ids

FAILED = Error(ErrorInfo("upstream_error", "secret detail"), Usage(9, 9))
USAGE_12 = '"usage":{"promptTokens":1,"completionTokens":2}'


def lines(*events: Event, options: Options | None = None) -> list[str]:
    """The lines of *events*, every one whole and legal for the client of its version."""
    encoder = Encoder(options)
    frames = [frame for event in events for frame in encoder.feed(event)] + encoder.close()
    assert all(frame.endswith(b"\n") and frame.count(b"\n") == 1 for frame in frames)
    made = [frame.decode().rstrip("\n") for frame in frames]
    for line in made:
        parse_part(line)
    return made


def codes(*events: Event, options: Options | None = None) -> str:
    return "".join(line[0] for line in lines(*events, options=options))


@pytest.mark.parametrize(("version", "capture"), streams((3, 4), "data"))
def test_a_scripted_run_gives_the_captured_bytes(version: int, capture: dict[str, Any]) -> None:
    events = list(Run(capture, version).events())
    assert violations(events) == []
    encoder = Encoder(data_options(capture["options"], version))

    wire = frames_of(encoder, events).decode()

    assert opaque_ids(wire) == opaque_ids(capture["wire"])
    assert encoder.breaks_body == (capture["body_error"] is not None)


@pytest.mark.parametrize(("version", "capture"), writers((4,)))
def test_a_writer_gives_the_captured_bytes(version: Any, capture: dict[str, Any]) -> None:
    events: list[Event] = [
        Data("", {"progress": 1}), Data("", "text"), Metadata({"note": "n1"}), Source("s9", "url", "https://example.com/w"),
        Vendor("data_stream", "by hand ", "0"), StepStart("msg-0"), TextDelta("t", "mer"), TextDelta("t", "ged"),
        StepFinish("stop", Usage(1, 1)), Finish("stop", Usage(1, 1)), Data("", {"progress": 2}), Metadata({"note": "n2"}),
    ]  # fmt: skip

    wire = frames_of(Encoder(Options(version=version, send_sources=True)), events).decode()

    assert wire == capture["wire"]


@pytest.mark.parametrize(("version", "capture"), streams((3, 4), "data"))
def test_the_headers_of_the_ai_sdk_are_among_ours(version: int, capture: dict[str, Any]) -> None:
    assert version in (3, 4)
    assert capture["response"]["headers"].items() <= HEADERS.items()


def test_keep_alives_are_nothing_to_a_reader() -> None:
    wire = KEEP_ALIVE + frames_of(Encoder(), [TextStart("t"), TextDelta("t", "x")]).replace(b"\n", b"\n" + KEEP_ALIVE)

    assembler = read(wire)

    assert assembler.message is not None
    assert assembler.message["content"] == "x"


# -- endings


def test_an_error_after_text_closes_step_and_message() -> None:
    made = lines(Start(), StepStart(), TextDelta("t", "x"), FAILED)

    assert [line[0] for line in made] == list("f03ed")
    assert made[2] == '3:"An error occurred."'
    assert '"finishReason":"error"' in made[3]


def test_an_error_before_any_step_is_the_only_line() -> None:
    assert lines(Start(), FAILED) == ['3:"An error occurred."']


def test_version_3_masks_with_an_empty_text() -> None:
    assert lines(FAILED, options=Options(version=3)) == ['3:""']


def test_a_mask_sees_the_kind_and_the_message() -> None:
    options = Options(error_text=lambda kind, message: f"{kind}/{message}")
    events: list[Event] = [StepStart(), ToolCall("c", "f", error="bad"), ToolError("c", "f", "bad")]
    more: list[Event] = [ToolCall("d", "f", {}), ToolError("d", "f", "boom")]

    assert [line for line in lines(*events, *more, FAILED, options=options) if line[0] == "3"] == [
        '3:"tool-input-error/bad"', '3:"tool-error/boom"', '3:"error/secret detail"',
    ]  # fmt: skip


def test_an_abort_tells_the_response_to_break_the_body() -> None:
    encoder = Encoder()

    assert frames_of(encoder, [StepStart(), TextDelta("t", "x"), Abort()]).count(b"\n") == 2
    assert encoder.breaks_body


def test_a_stream_that_never_said_how_it_ended_is_an_error() -> None:
    assert codes(StepStart(), TextDelta("t", "x")) == "f03"
    assert codes(Data("", 1), options=Options(terminal=False)) == "2"


# -- steps and usage


def test_a_plain_model_stream_gets_one_step_with_the_total() -> None:
    made = lines(Start(), TextStart("t"), TextDelta("t", "x"), Finish("stop", Usage(1, 2)))

    assert made[2:] == [
        f'e:{{"finishReason":"stop",{USAGE_12},"isContinued":false}}',
        f'd:{{"finishReason":"stop",{USAGE_12}}}',
    ]


def test_usage_is_summed_when_the_end_does_not_state_it() -> None:
    steps: list[Event] = [StepStart(), StepFinish("tool-calls", Usage(1, 0)), StepStart(), StepFinish("stop", Usage(0, 2))]

    assert lines(*steps, Finish("stop"))[-1] == f'd:{{"finishReason":"stop",{USAGE_12}}}'
    assert lines(*steps, StepStart(), StepFinish("stop"), Finish("stop"))[-1].count("null") == 2


def test_the_usage_of_a_step_cut_off_is_what_the_others_leave() -> None:
    made = lines(StepStart(), StepFinish("tool-calls", Usage(4, 5)), StepStart(), TextDelta("t", "x"), FAILED)

    assert '"promptTokens":5,"completionTokens":4' in made[-2]
    assert '"promptTokens":9,"completionTokens":9' in made[-1]


def test_every_step_has_its_message_id() -> None:
    steps: list[Event] = [StepStart(), StepFinish("stop"), StepStart(), StepFinish("stop"), StepStart("own")]
    made = lines(*steps, Finish("stop"), options=Options(message_id="m"))

    assert [line for line in made if line[0] == "f"] == [
        'f:{"messageId":"m"}', 'f:{"messageId":"m-2"}', 'f:{"messageId":"own"}',
    ]  # fmt: skip


# -- parts


def test_reasoning_signatures_and_redacted_blocks_are_sent_when_asked_for() -> None:
    events: list[Event] = [ReasoningStart("r"), ReasoningDelta("r", "hm"), ReasoningEnd("r", "sig")]
    events += [ReasoningStart("q"), ReasoningEnd("q", redacted="blob"), Finish("stop")]

    assert codes(*events, options=Options(send_reasoning=True)) == "fgjied"
    assert codes(*events) == "fed"


def test_version_3_never_sees_a_code_it_would_throw_on() -> None:
    events: list[Event] = [
        StepStart(), ReasoningDelta("r", "hm"), ReasoningEnd("r", "sig", "blob"), Source("s", "url", "u"),
        File("a/b", "eA=="), TextDelta("t", "x"), Vendor("data_stream", {}, "k"), StepFinish("stop"), Finish("stop"),
    ]  # fmt: skip

    assert codes(*events, options=Options(version=3, send_reasoning=True, send_sources=True)) == "0ed"


def test_arguments_are_streamed_only_when_asked_for() -> None:
    events: list[Event] = [ToolInputStart("c", "f"), ToolInputDelta("c", "{}"), ToolCall("c", "f", {}), Finish("stop")]

    assert codes(*events) == "f9ed"
    assert codes(*events, options=Options(tool_call_streaming=True)) == "fbc9ed"


def test_arguments_that_are_no_object_are_wrapped_because_clients_reject_them() -> None:
    assert lines(StepStart(), ToolCall("c", "f", "text"))[1] == '9:{"toolCallId":"c","toolName":"f","args":{"input":"text"}}'


def test_results_are_final_and_never_missing() -> None:
    made = lines(ToolResult("c", "f", 1, preliminary=True), ToolResult("c", "f", None), options=Options(terminal=False))

    assert made == ['a:{"toolCallId":"c","result":null}']


def test_a_denied_call_has_its_reason_as_result() -> None:
    made = lines(ToolDenied("c", "f", "no"), ToolDenied("d"), options=Options(terminal=False))

    assert [parse_part(line).value["result"] for line in made] == ["no", "Tool call execution denied."]


def test_a_refusal_is_shown_as_text() -> None:
    assert lines(RefusalStart("r"), RefusalDelta("r", "No."), options=Options(terminal=False))[-1] == '0:"No."'


def test_data_annotations_sources_and_files() -> None:
    made = lines(
        Data("", {"p": 1}), Data("status", 2, "i"), Metadata({"n": 1}), Source("s", "url", "u", "T"),
        Source("d", "document", title="D"), File("a/b", "eA=="), File("a/b", url="data:a/b;base64,eQ=="),
        File("a/b", url="https://e.com"), Vendor("ui_message", {}), options=Options(send_sources=True, terminal=False),
    )  # fmt: skip

    assert made == [
        '2:[{"p":1}]',
        '2:[{"type":"data-status","id":"i","data":2}]',
        '8:[{"n":1}]',
        'h:{"sourceType":"url","id":"s","url":"u","title":"T"}',
        'k:{"mimeType":"a/b","data":"eA=="}',
        'k:{"mimeType":"a/b","data":"eQ=="}',
    ]
