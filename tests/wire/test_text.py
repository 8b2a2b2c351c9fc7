"""The text stream is the text and nothing else, and a failed one does not end like a finished one."""

from __future__ import annotations

from typing import Any

import pytest

from streamward.errors import ErrorInfo
from streamward.events import Abort, Error, Event, Finish, RefusalDelta, TextDelta, ToolCall
from streamward.wire import text
from streamward.wire.dialect import frames_of
from support.aisdk_captures import streams
from support.aisdk_script import Run


@pytest.mark.parametrize(("version", "capture"), streams((3, 4, 5, 6, 7), "text"))
def test_a_scripted_run_gives_the_captured_bytes(version: int, capture: dict[str, Any]) -> None:
    wire = frames_of(text.Encoder(), Run(capture, version).events())

    assert wire.decode() == capture["wire"]
    assert capture["response"]["headers"].items() <= text.HEADERS.items()


def test_only_text_and_refusals_are_text() -> None:
    events: list[Event] = [TextDelta("t", "a"), ToolCall("c", "f", {}), TextDelta("t", ""), RefusalDelta("r", "b")]

    assert frames_of(text.Encoder(), events) == b"ab"


def test_a_lone_surrogate_does_not_break_the_stream() -> None:
    assert frames_of(text.Encoder(), [TextDelta("t", "a\ud800b")]) == b"a?b"


@pytest.mark.parametrize(
    ("ending", "breaks"),
    [([], True), ([Abort()], True), ([Error(ErrorInfo("x", "y"))], True), ([Finish("stop")], False)],
)
def test_only_a_finished_stream_ends_its_body(ending: list[Event], breaks: bool) -> None:
    encoder = text.Encoder()
    frames_of(encoder, [TextDelta("t", "a"), *ending])

    assert encoder.breaks_body == breaks
