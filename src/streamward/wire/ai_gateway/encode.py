"""Events to the stream parts of a language model, one SSE frame each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from streamward.events import (
    Abort,
    Error,
    Event,
    EventBase,
    File,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    RefusalDelta,
    RefusalEnd,
    RefusalStart,
    Source,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
)
from streamward.wire import json_text
from streamward.wire.ai_gateway.result import error_object, metadata, source_part, tool_call
from streamward.wire.ai_gateway.versions import LATEST, VERSIONS, file_data, finish_of, usage_of
from streamward.wire.dialect import Context

NAME = "ai_gateway"
MEDIA_TYPE = "text/event-stream"

Part = dict[str, Any]


class Encoder:
    """Stage from events to frames.

    A call is announced (``tool-call``) once the event after its last argument has come: were that a failure, the
    arguments may be broken off, and a client would run the tool.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.version = VERSIONS.get(context.options.get("version", LATEST.number), LATEST)
        self.names: dict[str, ToolInputStart] = {}
        self.inputs: dict[str, list[str]] = {}
        self.calls: list[Part] = []

    def feed(self, item: Event) -> list[bytes]:
        handler = HANDLERS.get(type(item))
        parts = handler(self, item) if handler is not None else []
        if self.calls and not isinstance(item, (ToolInputEnd, Error, Abort)):
            parts = [*self.calls, *parts]
            self.calls = []
        return [b"data: %b\n\n" % json_text.encode(part) for part in parts]

    def close(self) -> list[bytes]:
        """Nothing marks the end: ``finish`` or ``error`` was the last part."""
        return []

    def start(self, event: Start) -> list[Part]:
        at = datetime.fromtimestamp(event.created or self.context.created, UTC).isoformat(timespec="milliseconds")
        meta = {
            "type": "response-metadata", "id": event.id or self.context.id, "modelId": event.model or self.context.model,
            "timestamp": at.replace("+00:00", "Z"),
        }  # fmt: skip
        return [{"type": "stream-start", "warnings": []}, meta]

    def part_start(self, event: TextStart | ReasoningStart | RefusalStart) -> list[Part]:
        kind = "reasoning" if isinstance(event, ReasoningStart) else "text"
        return [{"type": f"{kind}-start", "id": event.id}]

    def part_delta(self, event: TextDelta | ReasoningDelta | RefusalDelta) -> list[Part]:
        kind = "reasoning" if isinstance(event, ReasoningDelta) else "text"
        return [{"type": f"{kind}-delta", "id": event.id, "delta": event.delta}]

    def part_end(self, event: TextEnd | RefusalEnd) -> list[Part]:
        return [{"type": "text-end", "id": event.id}]

    def reasoning_end(self, event: ReasoningEnd) -> list[Part]:
        return [{"type": "reasoning-end", "id": event.id, **metadata(event.signature, event.redacted)}]

    def tool_start(self, event: ToolInputStart) -> list[Part]:
        self.names[event.id] = event
        self.inputs[event.id] = []
        own = {"providerExecuted": True} if event.provider_executed else {}
        return [{"type": "tool-input-start", "id": event.id, "toolName": event.name, **own}]

    def tool_delta(self, event: ToolInputDelta) -> list[Part]:
        self.inputs.setdefault(event.id, []).append(event.delta)
        return [{"type": "tool-input-delta", "id": event.id, "delta": event.delta}]

    def tool_end(self, event: ToolInputEnd) -> list[Part]:
        start = self.names.pop(event.id, None)
        text = "".join(self.inputs.pop(event.id, []))
        if start is not None:
            self.calls.append(tool_call(event.id, start.name, text, event.signature, executed=start.provider_executed))
        return [{"type": "tool-input-end", "id": event.id}]

    def source(self, event: Source) -> list[Part]:
        return [source_part(event)]

    def file(self, event: File) -> list[Part]:
        return [{"type": "file", "mediaType": event.media_type, "data": file_data(event.data, event.url, self.version)}]

    def finish(self, event: Finish) -> list[Part]:
        return [{
            "type": "finish", "finishReason": finish_of(event.reason, event.raw_reason, self.version),
            "usage": usage_of(event.usage, self.version),
        }]  # fmt: skip

    def error(self, event: Error) -> list[Part]:
        return [{"type": "error", "error": error_object(event.error)}]

    def abort(self, event: Abort) -> list[Part]:
        return [{"type": "error", "error": {"message": "the stream was stopped", "type": "cancelled", "code": "cancelled"}}]


HANDLERS: dict[type[EventBase], Callable[[Encoder, Any], list[Part]]] = {
    Start: Encoder.start, TextStart: Encoder.part_start, ReasoningStart: Encoder.part_start,
    RefusalStart: Encoder.part_start, TextDelta: Encoder.part_delta, ReasoningDelta: Encoder.part_delta,
    RefusalDelta: Encoder.part_delta, TextEnd: Encoder.part_end, RefusalEnd: Encoder.part_end,
    ReasoningEnd: Encoder.reasoning_end, ToolInputStart: Encoder.tool_start, ToolInputDelta: Encoder.tool_delta,
    ToolInputEnd: Encoder.tool_end, Source: Encoder.source, File: Encoder.file, Finish: Encoder.finish,
    Error: Encoder.error, Abort: Encoder.abort,
}  # fmt: skip
