"""Chat Completions streaming: events to chunks.

Role first, deltas as they come, an empty delta with the finish reason, one usage chunk if the caller asked for it,
``[DONE]``. A failure is one ``{"error": ...}`` frame and no ``[DONE]``. Chunks are spliced from a pre-encoded prefix.
"""

from __future__ import annotations

from typing import Any

from streamward.errors import ErrorInfo
from streamward.events import (
    Abort,
    Error,
    Event,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    Source,
    Start,
    TextDelta,
    ToolInputDelta,
    ToolInputStart,
    Vendor,
)  # fmt: skip
from streamward.wire import json_text
from streamward.wire.chat_completions.errors import error_frame
from streamward.wire.chat_completions.shapes import FINISH_FROM_WAIST, NAME, render_usage
from streamward.wire.dialect import Context
from streamward.wire.sse import DONE_FRAME

encode_text = json_text.encode_compact


class Encoder:
    """Stage: events to frames."""

    def __init__(self, context: Context) -> None:
        self.include_usage = context.include_usage
        self.head_fields = {
            "id": context.id,
            "object": "chat.completion.chunk",
            "created": context.created,
            "model": context.model,
        }
        self.splice(self.head_fields)
        usage = b',"usage":null' if context.include_usage else b""
        self.after_delta = b',"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
        self.after_text = b"}" + self.after_delta
        self.usage_null = usage
        self.tools: dict[str, int] = {}
        self.ended = False

    def splice(self, head: dict[str, Any]) -> None:
        """What every chunk begins with, encoded once."""
        self.head = b"data: " + json_text.encode(head)[:-1]
        self.before_delta = self.head + b',"choices":[{"index":0,"delta":'
        self.before_text = self.before_delta + b'{"content":'

    def feed(self, item: Event) -> list[bytes]:
        if type(item) is TextDelta and item.logprobs is None and not self.ended:
            text = encode_text(item.delta)
            if not text.isascii():
                text = json_text.escape_line_separators(text)
            return [self.before_text + text + self.after_text]
        encode = ENCODE.get(type(item))
        return encode(self, item) if encode is not None and not self.ended else []

    def close(self) -> list[bytes]:
        return []

    def delta(self, delta: dict[str, Any]) -> list[bytes]:
        return [self.before_delta + json_text.encode(delta) + self.after_delta]

    def start(self, event: Start) -> list[bytes]:
        kept = (event.extra or {}).get(NAME)
        if kept:
            self.splice({**self.head_fields, **kept, **self.head_fields})
        return self.delta({"role": "assistant", "content": ""})

    def text(self, event: TextDelta) -> list[bytes]:
        body = json_text.encode({"content": event.delta})
        logprobs = json_text.encode({"content": event.logprobs, "refusal": None})
        end = b',"logprobs":' + logprobs + b',"finish_reason":null}]' + self.usage_null + b"}\n\n"
        return [self.before_delta + body + end]

    def reasoning(self, event: ReasoningDelta) -> list[bytes]:
        return self.delta({"reasoning_content": event.delta})

    def reasoning_end(self, event: ReasoningEnd) -> list[bytes]:
        details = reasoning_details("", event.signature, event.redacted)
        return self.delta({"reasoning_details": details}) if details else []

    def refusal(self, event: RefusalDelta) -> list[bytes]:
        return self.delta({"refusal": event.delta})

    def tool_start(self, event: ToolInputStart) -> list[bytes]:
        if event.provider_executed:
            return []  # already run by the provider: a client would take it for its own to run
        index = self.tools[event.id] = len(self.tools)
        function = {"name": event.name, "arguments": ""}
        return self.delta({"tool_calls": [{"index": index, "id": event.id, "type": "function", "function": function}]})

    def tool_delta(self, event: ToolInputDelta) -> list[bytes]:
        index = self.tools.get(event.id)
        if index is None:
            return []
        return self.delta({"tool_calls": [{"index": index, "function": {"arguments": event.delta}}]})

    def source(self, event: Source) -> list[bytes]:
        return self.delta({"annotations": [annotation(event)]}) if event.url else []

    def vendor(self, event: Vendor) -> list[bytes]:
        if event.dialect != NAME:
            return []
        return [b"data: " + json_text.encode(event.payload) + b"\n\n"]

    def finish(self, event: Finish) -> list[bytes]:
        self.ended = True
        if event.reason == "error":
            return [error_frame(ErrorInfo("upstream_error", "the provider ended the generation with an error", 502))]
        # Never made up: a reason OpenAI has no word for goes out in the provider's own word.
        reason = FINISH_FROM_WAIST.get(event.reason) or event.raw_reason or event.reason
        end = b',"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":' + encode_text(reason)
        frames = [self.head + end + b"}]" + self.usage_null + b"}\n\n"]
        if self.include_usage and event.usage is not None:
            usage = json_text.encode(render_usage(event.usage))
            frames.append(self.head + b',"choices":[],"usage":' + usage + b"}\n\n")
        frames.append(DONE_FRAME)
        return frames

    def error(self, event: Error) -> list[bytes]:
        self.ended = True
        return [error_frame(event.error)]

    def abort(self, event: Abort) -> list[bytes]:
        self.ended = True
        return [error_frame(ErrorInfo("cancelled", event.reason or "the stream was stopped", 499))]


def reasoning_details(text: str, signature: str | None, redacted: str | None) -> list[dict[str, Any]]:
    """Signed and opaque reasoning in the form OpenRouter and Vercel use, so that a client can send it back."""
    details: list[dict[str, Any]] = []
    if redacted is not None:
        details.append({"type": "reasoning.encrypted", "data": redacted})
    if signature is not None:
        details.append({"type": "reasoning.text", "text": text, "signature": signature})
    return details


def annotation(source: Source) -> dict[str, Any]:
    cited = {
        "url": source.url, "title": source.title or "", "start_index": source.start or 0, "end_index": source.end or 0,
    }  # fmt: skip
    return {"type": "url_citation", "url_citation": cited}


ENCODE: dict[type[Any], Any] = {
    Start: Encoder.start, TextDelta: Encoder.text, ReasoningDelta: Encoder.reasoning, ReasoningEnd: Encoder.reasoning_end,
    RefusalDelta: Encoder.refusal, ToolInputStart: Encoder.tool_start, ToolInputDelta: Encoder.tool_delta,
    Source: Encoder.source, Vendor: Encoder.vendor, Finish: Encoder.finish, Error: Encoder.error, Abort: Encoder.abort,
}  # fmt: skip
