"""The real clients accept everything our encoders can say, and make of it what our own readers make of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

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
    Usage,
)  # fmt: skip
from streamward.wire import data_stream, ui_message
from streamward.wire.dialect import frames_of

CAPTURE = Path(__file__).parent / "capture"
EXTRA = {"ui_message": {"providerMetadata": {"p": {"x": 1}}, "toolMetadata": {"m": 1}}}

EVERYTHING: list[Event] = [
    Start("id", "model"), Data("status", {"pct": 1}, "st"), Data("gone", [None], transient=True), Metadata({"a": {"b": 1}}),
    StepStart("m-1"),
    ReasoningStart("r", EXTRA), ReasoningDelta("r", "hm\u2028"), ReasoningEnd("r", "sig", "blob"),
    TextStart("t", EXTRA), TextDelta("t", 'a\ud83d\ude00"\\\n\x00'.encode("utf-16", "surrogatepass").decode("utf-16")),
    TextDelta("t", "b", extra=EXTRA), TextEnd("t", EXTRA),
    RefusalStart("t"), RefusalDelta("t", "No."), RefusalEnd("t"),
    Source("s", "url", "https://example.com", "S", extra=EXTRA), Source("d", "document", filename="a.pdf"),
    File("image/gif", "R0lGODlhAQABAAAAACw=", extra=EXTRA), File("image/gif", url="https://example.com/a.gif"),
    ToolInputStart("c1", "weather", title="Weather", extra=EXTRA), ToolInputDelta("c1", '{"city":'),
    ToolInputDelta("c1", '"Oslo"}'), ToolInputEnd("c1", "callsig"), ToolCall("c1", "weather", {"city": "Oslo"}, title="W"),
    ToolInputStart("c2", "dyn", dynamic=True), ToolInputEnd("c2"), ToolCall("c2", "dyn", {}, dynamic=True),
    ToolInputStart("c3", "bad"), ToolInputEnd("c3"), ToolCall("c3", "bad", {"x": 1}, "no such field"),
    ToolInputStart("c4", "rm"), ToolInputEnd("c4"), ToolCall("c4", "rm", {}), ToolInputStart("c5", "fails"),
    ToolInputEnd("c5"), ToolCall("c5", "fails", {}), ToolInputStart("c6", "search", provider_executed=True),
    ToolInputEnd("c6"), ToolCall("c6", "search", {}, provider_executed=True),
    ToolResult("c1", "weather", {"tempC": 1}, preliminary=True), ToolResult("c1", "weather", None, extra=EXTRA),
    ToolResult("c2", "dyn", [1.5], dynamic=True), ToolResult("c6", "search", "text", provider_executed=True),
    ApprovalRequest("ap", "c4", EXTRA), ApprovalResponse("ap", approved=False, reason="no"), ToolDenied("c4", "rm", "no"),
    StepFinish("tool-calls", Usage(1, 2)), StepStart("m-2"), TextStart("u"), TextDelta("u", "end"), TextEnd("u"),
    StepFinish("stop", Usage(3, 4)), Data("status", {"pct": 100}, "st"),
]  # fmt: skip
ENDINGS: dict[str, list[Event]] = {
    "finish": [Finish("unknown", Usage(4, 6))],
    "error": [Error(ErrorInfo("upstream_error", "secret"))],
    "abort": [Abort("stopped")],
    "tool-error": [ToolError("c5", "fails", "boom"), Finish("stop")],
}


def told(version: int, ending: str, *, tool_extra: bool = True) -> bytes:
    events = [*EVERYTHING, *ENDINGS[ending]]
    if not tool_extra:
        events = [replace(e, extra=None) if isinstance(e, (ToolInputStart, ToolResult)) else e for e in events]
    if version == 4:
        # There every error ends the client's reading: leave out the calls that fail.
        events = [event for event in events if getattr(event, "id", "") != "c3"]
        options = data_stream.Options(send_reasoning=True, send_sources=True, tool_call_streaming=True)
        return frames_of(data_stream.Encoder(options), events)
    shown = ui_message.Options(version=version, send_sources=True, message_id="m", metadata=described)  # type: ignore[arg-type]
    return frames_of(ui_message.Encoder(shown), events)


def described(event: Event) -> Any:
    return {"usage": 1} if isinstance(event, (Start, StepFinish, Finish)) else None


def read_by(cases: list[tuple[int, str, bytes]]) -> list[dict[str, Any]]:
    """What the real client of each case (version, package, body) makes of it."""
    asked = "".join(json.dumps({"version": v, "sdk": sdk, "wire": wire.decode()}) + "\n" for v, sdk, wire in cases)
    done = subprocess.run(
        ["node", "read.mjs"], input=asked.encode(), cwd=CAPTURE, check=True, capture_output=True, timeout=60
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.decode().split("\n") if line]


@pytest.mark.node
@pytest.mark.usefixtures("packages")
def test_the_real_clients_read_what_our_readers_read() -> None:
    cases = [(version, ending) for version in (4, 5, 6, 7) for ending in ENDINGS]
    wires = [told(*case) for case in cases]

    answers = read_by([(version, f"ai{version}", wire) for (version, _), wire in zip(cases, wires, strict=True)])

    for (version, ending), wire, answer in zip(cases, wires, answers, strict=True):
        mine = data_stream.read(wire) if version == 4 else ui_message.read(wire, version=version)  # type: ignore[arg-type]
        assert (mine.message, mine.error) == (answer["message"], answer["error"]), f"version {version}, {ending}"
        failed = ending == "error" or (version == 4 and ending == "tool-error")
        assert answer["error"] == ("An error occurred." if failed else None), f"version {version}, {ending}"
        assert len(answer["message"]["parts"]) >= 12


@pytest.mark.node
@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("version", [5, 6, 7])
def test_early_clients_that_reject_unknown_fields_accept_our_streams(version: int) -> None:
    """5.0.120, 6.0.30 and 7.0.10 validate with strict objects: one key too many ends the chat.

    What only an application can add to tool frames (``extra``) is left out: it came in the course of version 6.
    """
    answers = read_by([(version, f"ai{version}strict", told(version, ending, tool_extra=False)) for ending in ENDINGS])

    expected = ["An error occurred." if ending == "error" else None for ending in ENDINGS]
    assert [answer["error"] for answer in answers] == expected
