"""What holds for any stream in any UI dialect: what was said is what the client ends up with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamward.events import Abort, Event, Finish, ToolCall, ToolResult, Usage
from streamward.grammar import violations
from streamward.reply import Reply, ToolBlock, collect
from streamward.wire import data_stream, text, ui_message
from streamward.wire.dialect import frames_of
from support.codec import ARGUMENTS, streams

RUNS = streams(
    ids=lambda number: f"part-{number}",
    arguments=st.sampled_from(ARGUMENTS).map(lambda whole: [whole[:3], whole[3:]]),
    usages=st.just(Usage(1, 2)),
    finishes=st.sampled_from([Finish("stop"), Finish("length"), Finish("unknown")]),
)


def answered(events: list[Event]) -> list[Event]:
    """The events with every call made and answered before the end, as the engine does."""
    calls = [block for block in collect(events).blocks if isinstance(block, ToolBlock)]
    results: list[Event] = []
    for block in calls:
        results += [ToolCall(block.id, block.name, json.loads(block.input)), ToolResult(block.id, block.name, block.input)]
    made = [*events[:-1], *results, events[-1]]
    assert violations(made) == []
    return made


@settings(max_examples=60)
@given(RUNS, st.sampled_from([5, 6, 7]))
def test_the_ui_message_says_what_the_stream_said(events: list[Event], version: Any) -> None:
    reply = collect(events)

    wire = frames_of(ui_message.Encoder(ui_message.Options(version=version)), answered(events))
    assembler = ui_message.read(wire, version=version)

    parts = [] if assembler.message is None else assembler.message["parts"]
    assert assembler.error is None
    assert "".join(part["text"] for part in parts if part["type"] == "text") == reply.text
    assert "".join(part["text"] for part in parts if part["type"] == "reasoning") == reply.reasoning
    assert [(p["toolCallId"], p["output"]) for p in parts if p["type"].startswith("tool-")] == outputs(reply)
    assert all(part.get("state") in ("done", "output-available") for part in parts if part["type"] != "step-start")


@settings(max_examples=60)
@given(RUNS)
def test_the_data_stream_says_what_the_stream_said(events: list[Event]) -> None:
    reply = collect(events)

    options = data_stream.Options(send_reasoning=True, tool_call_streaming=True)
    assembler = data_stream.read(frames_of(data_stream.Encoder(options), answered(events)))

    message = assembler.message or {"content": "", "toolInvocations": []}
    assert assembler.error is None
    assert message["content"] == reply.text
    assert message.get("reasoning", "") == reply.reasoning
    assert [(i["toolCallId"], i["result"]) for i in message.get("toolInvocations", [])] == outputs(reply)


@settings(max_examples=40)
@given(RUNS)
def test_the_text_stream_says_the_text(events: list[Event]) -> None:
    assert frames_of(text.Encoder(), events).decode() == collect(events).text


@pytest.mark.parametrize("version", [5, 6, 7])
@given(events=RUNS, data=st.data())
@settings(max_examples=30)
def test_a_stream_cut_anywhere_never_looks_finished(version: Any, events: list[Event], data: st.DataObject) -> None:
    """In the middle of a part the decoder closes it and says so; here the stream just stops."""
    cut = data.draw(st.integers(0, len(events) - 1))

    wire = frames_of(ui_message.Encoder(ui_message.Options(version=version)), events[:cut])
    assembler = ui_message.read(wire, version=version)

    assert assembler.error == "An error occurred."
    assert assembler.finish_reason is None
    assert data_stream.read(frames_of(data_stream.Encoder(), events[:cut])).error == "An error occurred."


@given(RUNS)
@settings(max_examples=30)
def test_an_abort_is_no_finish(events: list[Event]) -> None:
    wire = frames_of(ui_message.Encoder(), [*events[:-1], Abort("stop")])
    assembler = ui_message.read(wire)

    assert (assembler.aborted, assembler.finish_reason, assembler.error) == (True, None, None)


def outputs(reply: Reply) -> list[tuple[str, str]]:
    return [(block.id, block.input) for block in reply.tool_calls]
