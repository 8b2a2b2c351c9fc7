"""Messages streaming: events to frames.

``message_start``, one content block after another, ``message_delta`` with the stop reason and usage,
``message_stop``; a failure is one ``event: error`` instead. Every frame is named, because clients skip frames that are
not. Text and thinking blocks never overlap; tool calls that arrive interleaved keep one open block each, told apart by
index. ``message_start`` waits for the event after Start, which may bring the input usage that belongs into it.
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
    RefusalEnd,
    Source,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolCall,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
    UsageUpdate,
    Vendor,
)  # fmt: skip
from streamward.wire import json_text
from streamward.wire.dialect import Context
from streamward.wire.messages.errors import error_frame
from streamward.wire.messages.reply import citation_of, file_block, message_id, tool_block_start
from streamward.wire.messages.shapes import CALL_SIGNATURE, NAME, extra_of, render_stop, render_usage

encode_text = json_text.encode_compact

DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":'
TEXT = DELTA + b'{"type":"text_delta","text":'
THINKING = DELTA + b'{"type":"thinking_delta","thinking":'
INPUT = DELTA + b'{"type":"input_json_delta","partial_json":'
AFTER_DELTA = b"}\n\n"
AFTER_TEXT = b"}}\n\n"
STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

FAILED = ErrorInfo("upstream_error", "the provider reported an error", 502, safe_to_retry=True)


def frame(name: str, fields: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), json_text.encode({"type": name} | fields))


class Encoder:
    """Stage: events to frames."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.start: Start | None = None
        self.usage: Usage | None = None
        self.begun = False
        self.ended = False
        self.index = -1
        self.current_index = -1
        self.current = ""  # family and id of the open text or thinking block
        self.text_id: str | None = None  # the text part whose deltas may be spliced
        self.texts: dict[str, None] = {}  # open text parts, in order
        self.before_text = b""
        self.before_thinking = b""
        self.tools: dict[str, tuple[int, bytes]] = {}
        self.called: set[str] = set()
        self.held: list[bytes] = []
        """Ends of tool blocks, until the next event shows that their arguments were not broken off: at the end of a block
        clients take the call for whole, and run it."""
        self.refused = False

    def feed(self, item: Event) -> list[bytes]:
        if type(item) is TextDelta and item.id == self.text_id:
            text = encode_text(item.delta)
            if not text.isascii():
                text = json_text.escape_line_separators(text)
            return [self.before_text + text + AFTER_TEXT]
        if self.ended:
            return []
        step = STEPS.get(type(item))
        out: list[bytes] = step(self, item) if step is not None else []
        if self.held and not isinstance(item, (ToolInputEnd, Error, Abort)):
            out = [*self.held, *out]
            self.held = []
        return out

    def close(self) -> list[bytes]:
        return []

    # -- the message

    def on_start(self, event: Start) -> list[bytes]:
        self.start = event
        return []

    def on_usage(self, event: UsageUpdate) -> list[bytes]:
        self.usage = event.usage
        return []

    def begin(self) -> list[bytes]:
        if self.begun:
            return []
        self.begun = True
        extra = extra_of(self.start.extra) if self.start is not None else {}
        message: dict[str, Any] = {
            "id": message_id(self.context.id), "type": "message", "role": "assistant", "model": self.context.model,
            "content": [], "stop_reason": None, "stop_sequence": None, "usage": render_usage(self.usage),
        }  # fmt: skip
        return [frame("message_start", {"message": extra | message})]

    def on_finish(self, event: Finish) -> list[bytes]:
        if event.reason == "error":
            return self.fail(FAILED)
        out = self.begin()
        out.extend(self.stop_current())
        for call_id in list(self.tools):
            out.extend(self.stop_tool(call_id))
        reason = render_stop(event)
        if self.refused and event.reason == "stop":
            reason = "refusal"
        extra = dict(extra_of(event.extra))
        top = {name: extra.pop(name) for name in TOP_FIELDS if name in extra}
        extra.pop("blocks", None)  # only in a Reply that was parsed whole
        delta = {"stop_reason": reason, "stop_sequence": None} | extra
        out.append(frame("message_delta", {"delta": delta, "usage": render_usage(event.usage or self.usage)} | top))
        out.append(MESSAGE_STOP)
        self.end()
        return out

    def on_error(self, event: Error) -> list[bytes]:
        return self.fail(event.error)

    def on_abort(self, event: Abort) -> list[bytes]:
        reason = event.reason or "no reason was given"
        return self.fail(ErrorInfo("aborted", f"the stream was stopped: {reason}", 500))

    def fail(self, error: ErrorInfo) -> list[bytes]:
        self.end()
        return [error_frame(error)]

    def end(self) -> None:
        self.ended = True
        self.text_id, self.current = None, ""

    # -- blocks

    def open(self, block: dict[str, Any]) -> bytes:
        self.index += 1
        return frame("content_block_start", {"index": self.index, "content_block": block})

    def whole(self, block: dict[str, Any]) -> list[bytes]:
        """A block that has no deltas."""
        return [*self.begin(), *self.stop_current(), self.open(block), STOP % self.index]

    def stop_current(self) -> list[bytes]:
        """Close the open text or thinking block; its index is the newest one unless a tool call came after it."""
        if not self.current:
            return []
        self.text_id, self.current = None, ""
        return [STOP % self.current_index]

    def turn_to(self, key: str, block: dict[str, Any]) -> list[bytes]:
        """Make *key* the open text or thinking block; deltas of a part that was closed early go to a new block."""
        if self.current == key:
            return []
        out = self.begin()
        out.extend(self.stop_current())
        out.append(self.open(block))
        self.current = key
        self.current_index = self.index
        return out

    def on_text_start(self, event: TextStart) -> list[bytes]:
        self.texts[event.id] = None  # its block opens with the first delta: empty text is refused when sent back
        return []

    def open_text(self, part_id: str) -> list[bytes]:
        out = self.turn_to(f"text:{part_id}", {"type": "text", "text": ""})
        self.text_id = part_id
        self.before_text = TEXT % self.current_index
        return out

    def on_text(self, event: TextDelta) -> list[bytes]:
        out = self.open_text(event.id)
        out.append(self.before_text + json_text.encode(event.delta) + AFTER_TEXT)
        return out

    def on_text_end(self, event: TextEnd) -> list[bytes]:
        self.texts.pop(event.id, None)
        return self.stop_current() if self.current == f"text:{event.id}" else []

    def on_refusal(self, event: RefusalDelta) -> list[bytes]:
        """Refusals have no block of their own: the words go out as text, the fact as ``stop_reason``."""
        self.refused = True
        out = self.turn_to(f"refusal:{event.id}", {"type": "text", "text": ""})
        out.append(TEXT % self.current_index + json_text.encode(event.delta) + AFTER_TEXT)
        return out

    def on_refusal_end(self, event: RefusalEnd) -> list[bytes]:
        return self.stop_current() if self.current == f"refusal:{event.id}" else []

    def on_reasoning(self, event: ReasoningDelta) -> list[bytes]:
        out = self.open_thinking(event.id)
        out.append(self.before_thinking + json_text.encode(event.delta) + AFTER_TEXT)
        return out

    def open_thinking(self, part_id: str) -> list[bytes]:
        out = self.turn_to(f"thinking:{part_id}", {"type": "thinking", "thinking": "", "signature": ""})
        if out:
            self.before_thinking = THINKING % self.current_index
        return out

    def on_reasoning_end(self, event: ReasoningEnd) -> list[bytes]:
        opened = self.current == f"thinking:{event.id}"
        out: list[bytes] = []
        if event.signature is not None or opened:
            out.extend(self.open_thinking(event.id))
            if event.signature is not None:
                signature = {"type": "signature_delta", "signature": event.signature}
                out.append(DELTA % self.current_index + json_text.encode(signature) + AFTER_DELTA)
            out.extend(self.stop_current())
        if event.redacted is not None:
            out.extend(self.whole({"type": "redacted_thinking", "data": event.redacted}))
        return out

    def on_tool_start(self, event: ToolInputStart) -> list[bytes]:
        out = self.begin()
        out.extend(self.stop_current())
        out.append(self.open(tool_block_start(event.id, event.name, event.provider_executed, extra_of(event.extra))))
        self.tools[event.id] = self.index, INPUT % self.index
        self.called.add(event.id)
        return out

    def on_tool_input(self, event: ToolInputDelta) -> list[bytes]:
        tool = self.tools.get(event.id)
        return [tool[1] + json_text.encode(event.delta) + AFTER_TEXT] if tool is not None else []

    def on_tool_end(self, event: ToolInputEnd) -> list[bytes]:
        out = self.stop_tool(event.id)
        if event.signature is not None:
            data = f"{CALL_SIGNATURE}{event.id}:{event.signature}"
            out.extend(self.whole({"type": "redacted_thinking", "data": data}))
        self.held += out
        return []

    def stop_tool(self, call_id: str) -> list[bytes]:
        tool = self.tools.pop(call_id, None)
        return [STOP % tool[0]] if tool is not None else []

    def on_tool_call(self, event: ToolCall) -> list[bytes]:
        """A call that came whole; one whose input was streamed is out already."""
        if event.id in self.called:
            return []
        out = self.on_tool_start(
            ToolInputStart(event.id, event.name, event.provider_executed, event.dynamic, extra=event.extra)
        )
        out.extend(self.on_tool_input(ToolInputDelta(event.id, json_text.encode(event.input or {}).decode())))
        out.extend(self.stop_tool(event.id))
        return out

    def on_source(self, event: Source) -> list[bytes]:
        """A citation of the text part it belongs to, or of an empty block when no text part is open."""
        delta = json_text.encode({"type": "citations_delta", "citation": citation_of(event)})
        part_id = event.part_id if event.part_id in self.texts else next(iter(self.texts), None)
        if part_id is not None:
            out = self.open_text(part_id)
            out.append(DELTA % self.current_index + delta + AFTER_DELTA)
            return out
        out = [*self.begin(), *self.stop_current(), self.open({"type": "text", "text": ""})]
        return [*out, DELTA % self.index + delta + AFTER_DELTA, STOP % self.index]

    def on_file(self, event: File) -> list[bytes]:
        return self.whole(file_block(event))

    def on_vendor(self, event: Vendor) -> list[bytes]:
        if event.dialect != NAME or type(event.payload) is not dict:
            return []
        if event.name != "content_block":
            return [*self.begin(), frame(event.name or "vendor", event.payload)]
        out = [*self.begin(), *self.stop_current(), self.open(event.payload["content_block"])]
        deltas = event.payload.get("deltas", ())
        out.extend(DELTA % self.index + json_text.encode(delta) + AFTER_DELTA for delta in deltas)
        out.append(STOP % self.index)
        return out


TOP_FIELDS = ("context_management",)
"""Fields of ``message_delta`` itself; the others of ``Finish.extra`` stand inside its ``delta``."""

STEPS: dict[type[Any], Any] = {
    Start: Encoder.on_start, UsageUpdate: Encoder.on_usage, Finish: Encoder.on_finish, Error: Encoder.on_error,
    Abort: Encoder.on_abort, TextStart: Encoder.on_text_start, TextDelta: Encoder.on_text, TextEnd: Encoder.on_text_end,
    RefusalDelta: Encoder.on_refusal, RefusalEnd: Encoder.on_refusal_end,
    ReasoningDelta: Encoder.on_reasoning, ReasoningEnd: Encoder.on_reasoning_end,
    ToolInputStart: Encoder.on_tool_start, ToolInputDelta: Encoder.on_tool_input, ToolInputEnd: Encoder.on_tool_end,
    ToolCall: Encoder.on_tool_call, Source: Encoder.on_source, File: Encoder.on_file, Vendor: Encoder.on_vendor,
}  # fmt: skip
