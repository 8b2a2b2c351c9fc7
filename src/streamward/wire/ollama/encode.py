"""Ollama streaming: events to lines, and replies to whole answers.

Deltas as they come, tool calls whole, a last line with ``"done": true``, the reason and the counts. A failure is one
line ``{"error": ...}``. Sources and signatures have no place in this dialect and are left out.
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
    RefusalDelta,
    TextDelta,
    ToolCall,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
    UsageUpdate,
)
from streamward.reply import ReasoningBlock, RefusalBlock, Reply, TextBlock, ToolBlock
from streamward.wire import json_text
from streamward.wire.dialect import Context
from streamward.wire.ollama.shapes import render_finish, render_time, render_usage

encode_text = json_text.encode_compact

FAILED = ErrorInfo("upstream_error", "the provider reported an error", 502, safe_to_retry=True)
UNFINISHED = ErrorInfo("stream_truncated", "the answer was not finished", 502, safe_to_retry=True)


class Encoder:
    """Stage: events to lines."""

    def __init__(self, context: Context) -> None:
        self.head = {"model": context.model, "created_at": render_time(context.created)}
        self.before_message = json_text.encode(self.head)[:-1] + b',"message":'
        self.before_text = self.before_message + b'{"role":"assistant","content":'
        self.before_thinking = self.before_message + b'{"role":"assistant","content":"","thinking":'
        self.after_message = b',"done":false}\n'
        self.after_text = b"}" + self.after_message
        self.usage: Usage | None = None
        self.calls: dict[str, tuple[ToolInputStart, list[str]]] = {}
        self.called: set[str] = set()
        self.ended = False

    def feed(self, item: Event) -> list[bytes]:
        if type(item) is TextDelta and not self.ended:
            text = encode_text(item.delta)
            if not text.isascii():
                text = json_text.escape_line_separators(text)
            return [self.before_text + text + self.after_text]
        step = STEPS.get(type(item))
        return step(self, item) if step is not None and not self.ended else []

    def close(self) -> list[bytes]:
        return []

    def send(self, fields: dict[str, Any]) -> list[bytes]:
        message = {"role": "assistant", "content": ""} | fields
        return [self.before_message + json_text.encode(message) + self.after_message]

    def on_refusal(self, event: RefusalDelta) -> list[bytes]:
        return self.send({"content": event.delta})

    def on_reasoning(self, event: ReasoningDelta) -> list[bytes]:
        return [self.before_thinking + json_text.encode(event.delta) + self.after_text]

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
        return self.send({"tool_calls": [render_call(start.id, start.name, "".join(deltas))]})

    def on_tool_call(self, event: ToolCall) -> list[bytes]:
        """A call that came whole; one whose input was streamed is out already."""
        if event.id in self.called or event.provider_executed:
            return []
        text = json_text.encode_compact(event.input or {}).decode()
        return self.send({"tool_calls": [render_call(event.id, event.name, text)]})

    def on_file(self, event: File) -> list[bytes]:
        return self.send({"images": [event.data]}) if event.data is not None else []

    def on_usage(self, event: UsageUpdate) -> list[bytes]:
        self.usage = event.usage
        return []

    def on_finish(self, event: Finish) -> list[bytes]:
        if event.reason == "error":
            return self.fail(FAILED)
        self.ended = True
        message = {"role": "assistant", "content": ""}
        return [json_text.encode(self.head | {"message": message} | done(event, event.usage or self.usage)) + b"\n"]

    def on_error(self, event: Error) -> list[bytes]:
        return self.fail(event.error)

    def on_abort(self, event: Abort) -> list[bytes]:
        reason = event.reason or "no reason was given"
        return self.fail(ErrorInfo("aborted", f"the stream was stopped: {reason}", 500))

    def fail(self, error: ErrorInfo) -> list[bytes]:
        self.ended = True
        return [json_text.encode(render_error(error)) + b"\n"]


def done(finish: Finish, usage: Usage | None) -> dict[str, Any]:
    return {"done": True, "done_reason": render_finish(finish)} | render_usage(usage)


def render_call(call_id: str, name: str, text: str) -> dict[str, Any]:
    """Arguments as an object; text that is none is shown under a name no tool takes for its own."""
    try:
        value = json_text.decode_any(text.encode()) if text else {}
    except (ValueError, RecursionError):
        value = None
    arguments = value if type(value) is dict else {"invalid_json": text}
    return {"id": call_id, "function": {"name": name, "arguments": arguments}}


def render_error(error: ErrorInfo) -> dict[str, Any]:
    """The dialect's error is a sentence; ``code`` is ours, beside it."""
    return {"error": error.message, "code": error.code}


def render_reply(reply: Reply, context: Context) -> dict[str, Any]:
    """The answer in one object; an error body for a reply that did not finish."""
    if reply.finish_reason is None or reply.finish_reason == "error":
        return render_error(reply.error or UNFINISHED)
    text = "".join(block.text for block in reply.blocks if isinstance(block, (TextBlock, RefusalBlock)))
    message: dict[str, Any] = {"role": "assistant", "content": text}
    thinking = "".join(block.text for block in reply.blocks if isinstance(block, ReasoningBlock))
    tools = [block for block in reply.blocks if isinstance(block, ToolBlock) and not block.provider_executed]
    calls = [render_call(block.id, block.name, block.input) for block in tools]
    images = [block.data for block in reply.blocks if isinstance(block, File) and block.data is not None]
    kept = {"thinking": thinking, "tool_calls": calls, "images": images}
    message |= {name: value for name, value in kept.items() if value}
    finish = Finish(reply.finish_reason, reply.usage, reply.raw_reason)
    head = {"model": context.model, "created_at": render_time(context.created)}
    return head | {"message": message} | done(finish, reply.usage)


STEPS: dict[type[Any], Any] = {
    RefusalDelta: Encoder.on_refusal, ReasoningDelta: Encoder.on_reasoning, ToolInputStart: Encoder.on_tool_start,
    ToolInputDelta: Encoder.on_tool_input, ToolInputEnd: Encoder.on_tool_end, ToolCall: Encoder.on_tool_call,
    File: Encoder.on_file, UsageUpdate: Encoder.on_usage, Finish: Encoder.on_finish, Error: Encoder.on_error,
    Abort: Encoder.on_abort,
}  # fmt: skip
