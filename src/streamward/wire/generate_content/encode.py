"""Gemini streaming: events to frames.

One ``GenerateContentResponse`` per delta; a last one with the finish reason, sources and usage. Function calls go out
whole. A failure is one ``{"error": ...}`` frame; there is no end marker, so a stream without a finish reason or error
is one that broke.
"""

from __future__ import annotations

from typing import Any

from streamward.errors import ErrorInfo
from streamward.events import (
    Abort,
    Error,
    Event,
    File,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    Source,
    TextDelta,
    TextEnd,
    ToolCall,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
    UsageUpdate,
    Vendor,
)
from streamward.wire import json_text
from streamward.wire.dialect import Context
from streamward.wire.generate_content.errors import error_frame
from streamward.wire.generate_content.reply import call_part, ending, file_part, reasoning_parts
from streamward.wire.generate_content.shapes import NAME, args_object, extra_of

encode_text = json_text.encode_compact

BEFORE_PARTS = b'data: {"candidates":[{"content":{"parts":['
BEFORE_TEXT = BEFORE_PARTS + b'{"text":'
BEFORE_THOUGHT = BEFORE_PARTS + b'{"thought":true,"text":'

FAILED = ErrorInfo("upstream_error", "the provider reported an error", 502, safe_to_retry=True)


class Encoder:
    """Stage: events to frames."""

    def __init__(self, context: Context) -> None:
        self.ids = {"modelVersion": context.model, "responseId": context.id}
        tail = json_text.encode(self.ids)[1:]
        self.after_parts = b'],"role":"model"},"index":0}],' + tail + b"\n\n"
        self.after_text = b"}" + self.after_parts
        self.usage: Usage | None = None
        self.calls: dict[str, tuple[ToolInputStart, list[str]]] = {}
        self.called: set[str] = set()
        self.sources: list[Source] = []
        self.refused = False
        self.ended = False

    def feed(self, item: Event) -> list[bytes]:
        if type(item) is TextDelta and not self.ended:
            text = encode_text(item.delta)
            if not text.isascii():
                text = json_text.escape_line_separators(text)
            return [BEFORE_TEXT + text + self.after_text]
        step = STEPS.get(type(item))
        return step(self, item) if step is not None and not self.ended else []

    def close(self) -> list[bytes]:
        return []

    def send(self, part: dict[str, Any]) -> list[bytes]:
        return [BEFORE_PARTS + json_text.encode(part) + self.after_parts]

    def on_text_end(self, event: TextEnd) -> list[bytes]:
        signature = extra_of(event.extra).get("thoughtSignature")
        return self.send({"text": "", "thoughtSignature": signature}) if signature else []

    def on_refusal(self, event: RefusalDelta) -> list[bytes]:
        """Refusals have no part of their own: the words go out as text, the fact as finish reason."""
        self.refused = True
        return self.send({"text": event.delta})

    def on_reasoning(self, event: ReasoningDelta) -> list[bytes]:
        return [BEFORE_THOUGHT + json_text.encode(event.delta) + self.after_text]

    def on_reasoning_end(self, event: ReasoningEnd) -> list[bytes]:
        return [frame for part in reasoning_parts("", event.signature, event.redacted) for frame in self.send(part)]

    def on_tool_start(self, event: ToolInputStart) -> list[bytes]:
        """Calls that the provider runs itself are not shown: a client would take them for its own to answer."""
        if event.provider_executed:
            return []
        self.calls[event.id] = event, []
        self.called.add(event.id)
        return []

    def on_tool_input(self, event: ToolInputDelta) -> list[bytes]:
        call = self.calls.get(event.id)
        if call is not None:
            call[1].append(event.delta)
        return []

    def on_tool_end(self, event: ToolInputEnd) -> list[bytes]:
        call = self.calls.pop(event.id, None)
        if call is None:
            return []
        start, deltas = call
        return self.send(call_part(start.id, start.name, args_object("".join(deltas)), event.signature))

    def on_tool_call(self, event: ToolCall) -> list[bytes]:
        """A call that came whole; one whose input was streamed is out already."""
        if event.id in self.called or event.provider_executed:
            return []
        args = event.input if type(event.input) is dict else {}
        return self.send(call_part(event.id, event.name, args, None))

    def on_source(self, event: Source) -> list[bytes]:
        self.sources.append(event)
        return []

    def on_file(self, event: File) -> list[bytes]:
        return self.send(file_part(event))

    def on_vendor(self, event: Vendor) -> list[bytes]:
        if event.dialect != NAME or event.name != "part" or type(event.payload) is not dict:
            return []
        return self.send(event.payload)

    def on_usage(self, event: UsageUpdate) -> list[bytes]:
        self.usage = event.usage
        return []

    def on_finish(self, event: Finish) -> list[bytes]:
        if event.reason == "error":
            return self.fail(FAILED)
        self.ended = True
        content = {"parts": [{"text": ""}], "role": "model"}
        last = ending(event, event.usage or self.usage, self.sources, refused=self.refused)
        last["candidates"][0] = {"content": content} | last["candidates"][0]
        return [b"data: " + json_text.encode(last | self.ids) + b"\n\n"]

    def on_error(self, event: Error) -> list[bytes]:
        return self.fail(event.error)

    def on_abort(self, event: Abort) -> list[bytes]:
        reason = event.reason or "no reason was given"
        return self.fail(ErrorInfo("aborted", f"the stream was stopped: {reason}", 500))

    def fail(self, error: ErrorInfo) -> list[bytes]:
        self.ended = True
        return [error_frame(error)]


STEPS: dict[type[Any], Any] = {
    TextEnd: Encoder.on_text_end, RefusalDelta: Encoder.on_refusal, ReasoningDelta: Encoder.on_reasoning,
    ReasoningEnd: Encoder.on_reasoning_end, ToolInputStart: Encoder.on_tool_start,
    ToolInputDelta: Encoder.on_tool_input, ToolInputEnd: Encoder.on_tool_end, ToolCall: Encoder.on_tool_call,
    Source: Encoder.on_source, File: Encoder.on_file, Vendor: Encoder.on_vendor, UsageUpdate: Encoder.on_usage,
    Finish: Encoder.on_finish, Error: Encoder.on_error, Abort: Encoder.on_abort,
}  # fmt: skip
