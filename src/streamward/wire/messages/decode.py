"""Messages streaming: frames to events.

Follows "Streaming messages": named events, content blocks opened, fed and closed by index, usage in ``message_start``
and, cumulative, in ``message_delta``. Blocks the waist has no word for (results of server tools, compaction) travel
whole as :class:`Vendor` events named ``content_block``.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from msgspec import Struct

from streamward.errors import ErrorInfo
from streamward.events import (
    Error,
    Event,
    Extra,
    File,
    Finish,
    FinishReason,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Source,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
    UsageUpdate,
    Vendor,
)  # fmt: skip
from streamward.wire import json_text
from streamward.wire.dialect import MAX_PARTS, MAX_TOOL_INPUT_BYTES, Profile
from streamward.wire.loose import as_dict, as_list, as_text
from streamward.wire.messages.errors import error_of
from streamward.wire.messages.shapes import NAME, own, parse_stop, parse_usage
from streamward.wire.sse import DONE, Frame
from streamward.wire.upstream_status import TOO_MANY_PARTS, TOOL_INPUT_TOO_LARGE, TRUNCATED, invalid

INVALID = invalid("a Messages stream")


class Delta(Struct, gc=False):
    type: str
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    citation: Any = None


class DeltaFrame(Struct, tag_field="type", tag="content_block_delta", gc=False):
    """The frame that makes up nearly all of a stream."""

    index: int
    delta: Delta


decode_delta = msgspec.json.Decoder(DeltaFrame).decode

Kind = Literal["text", "thinking", "redacted", "tool", "vendor", "file"]


class Block:
    """A content block under way."""

    __slots__ = ("bytes", "deltas", "id", "kind", "signature", "start")

    def __init__(self, kind: Kind, part_id: str, start: dict[str, Any]) -> None:
        self.kind = kind
        self.id = part_id
        self.start = start
        self.bytes = 0
        self.signature: list[str] = []
        self.deltas: list[Any] = []  # vendor blocks only


class Decoder:
    """Stage: frames to events. After its terminal event it ignores everything."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.started = False
        self.ended = False
        self.blocks: dict[int, Block] = {}
        self.parts = 0
        self.sources = 0
        self.tool_ids: set[str] = set()
        self.raw_usage: dict[str, Any] = {}
        self.reason: FinishReason | None = None
        self.raw_reason: str | None = None
        self.finish_extra: dict[str, Any] = {}

    def feed(self, item: Frame) -> list[Event]:
        if self.ended:
            return []
        try:
            frame = decode_delta(item.data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self.other(item)
        block = self.blocks.get(frame.index)
        if block is None:
            return self.fail(INVALID)
        delta = frame.delta
        if delta.type == "text_delta" and block.kind == "text":
            return [TextDelta(block.id, delta.text)] if delta.text else []
        if block.kind == "vendor":
            return self.vendor_delta(block, item.data)
        step = DELTAS.get((block.kind, delta.type))
        return step(self, block, delta) if step is not None else []

    def close(self) -> list[Event]:
        if self.ended:
            return []
        ends = self.profile.ends_with
        if (ends == "finish" and self.reason is not None) or (ends == "eof" and self.started):
            return self.finish()
        return self.fail(TRUNCATED)

    def fail(self, error: ErrorInfo) -> list[Event]:
        if self.ended:
            return []
        events = self.begin()
        events.extend(self.close_blocks())
        self.ended = True
        events.append(Error(error, self.usage()))
        return events

    def other(self, item: Frame) -> list[Event]:
        """A frame that is no ``content_block_delta``, or not JSON."""
        if not item.data or item.data == DONE:
            return []
        try:
            value = json_text.decode_answer(item.data)
        except (ValueError, RecursionError):
            return self.fail(INVALID)
        return self.message(value) if type(value) is dict else self.fail(INVALID)

    def message(self, value: dict[str, Any]) -> list[Event]:
        """One frame as an object."""
        kind = value.get("type")
        step = FRAMES.get(kind) if type(kind) is str else None
        if step is not None:
            return step(self, value)
        if type(kind) is not str or kind == "content_block_delta":
            return self.fail(error_of(value["error"]) if type(value.get("error")) is dict else INVALID)
        events = self.begin()
        events.append(Vendor(NAME, value, kind))
        return events

    # -- frames

    def begin(self, message: dict[str, Any] | None = None) -> list[Event]:
        """The Start event, unless it went out already: some relays leave ``message_start`` out."""
        if self.started:
            return []
        self.started = True
        message = message or {}
        fields = {name: value for name, value in message.items() if name not in MESSAGE_FIELDS and value is not None}
        return [Start(as_text(message.get("id")), as_text(message.get("model")), extra=own(fields))]

    def message_start(self, value: dict[str, Any]) -> list[Event]:
        if self.started:  # two answers spliced into one stream by a relay: neither can be trusted
            return self.fail(INVALID)
        message = as_dict(value.get("message"))
        events = self.begin(message)
        self.add_usage(message.get("usage"))
        usage = self.usage()
        if usage is not None:
            events.append(UsageUpdate(usage))
        return events

    def block_start(self, value: dict[str, Any]) -> list[Event]:
        index, start = value.get("index"), value.get("content_block")
        if type(index) is not int or type(start) is not dict or index in self.blocks:
            return self.fail(INVALID)
        self.parts += 1
        if self.parts > MAX_PARTS:
            return self.fail(TOO_MANY_PARTS)
        events = self.begin()
        part_id = str(self.parts - 1)
        begin = BLOCKS.get(as_text(start.get("type")))
        if begin is None:
            self.blocks[index] = Block("vendor", part_id, start)
            return events
        events.extend(begin(self, index, part_id, start))
        return events

    def block_stop(self, value: dict[str, Any]) -> list[Event]:
        index = value.get("index")
        block = self.blocks.pop(index, None) if type(index) is int else None
        return self.end_block(block) if block is not None else []

    def message_delta(self, value: dict[str, Any]) -> list[Event]:
        events = self.begin()
        delta = as_dict(value.get("delta"))
        if delta.get("stop_reason") is not None:
            self.reason, self.raw_reason = parse_stop(delta["stop_reason"])
        self.add_usage(value.get("usage"))
        fields = {**delta, **value}
        self.finish_extra |= {name: item for name, item in fields.items() if name not in DELTA_FIELDS and item is not None}
        return events

    def message_stop(self, value: dict[str, Any]) -> list[Event]:
        return self.finish()

    def ping(self, value: dict[str, Any]) -> list[Event]:
        return []

    def error(self, value: dict[str, Any]) -> list[Event]:
        return self.fail(error_of(as_dict(value.get("error"))))

    # -- blocks

    def begin_text(self, index: int, part_id: str, start: dict[str, Any]) -> list[Event]:
        block = self.blocks[index] = Block("text", part_id, start)
        events: list[Event] = [TextStart(part_id)]
        if as_text(start.get("text")):
            events.append(TextDelta(part_id, start["text"]))
        for citation in as_list(start.get("citations")):
            events.extend(self.cite(block, citation))
        return events

    def begin_thinking(self, index: int, part_id: str, start: dict[str, Any]) -> list[Event]:
        block = self.blocks[index] = Block("thinking", part_id, start)
        if as_text(start.get("signature")):
            block.signature.append(start["signature"])
        events: list[Event] = [ReasoningStart(part_id)]
        if as_text(start.get("thinking")):
            events.append(ReasoningDelta(part_id, start["thinking"]))
        return events

    def begin_redacted(self, index: int, part_id: str, start: dict[str, Any]) -> list[Event]:
        self.blocks[index] = Block("redacted", part_id, start)
        return [ReasoningStart(part_id)]

    def begin_tool(self, index: int, part_id: str, start: dict[str, Any]) -> list[Event]:
        call_id = as_text(start.get("id")) or f"toolu_{part_id}"
        if call_id in self.tool_ids:
            call_id = f"{call_id}_{part_id}"
        self.tool_ids.add(call_id)
        self.blocks[index] = Block("tool", call_id, start)
        server = start["type"] != "tool_use"
        fields = {name: value for name, value in start.items() if name not in TOOL_FIELDS and value is not None}
        if server:
            fields["type"] = start["type"]
        return [ToolInputStart(call_id, as_text(start.get("name")), server, extra=own(fields))]

    def begin_image(self, index: int, part_id: str, start: dict[str, Any]) -> list[Event]:
        """Our own encoder's word for a generated file; the reference has none."""
        self.blocks[index] = Block("file", part_id, start)
        source = as_dict(start.get("source"))
        data, url = as_text(source.get("data")) or None, as_text(source.get("url")) or None
        return [File(as_text(source.get("media_type")) or "application/octet-stream", data, url)]

    def text_citation(self, block: Block, delta: Delta) -> list[Event]:
        return self.cite(block, delta.citation)

    def cite(self, block: Block, citation: Any) -> list[Event]:
        if type(citation) is not dict:
            return []
        self.sources += 1
        url = as_text(citation.get("url")) or as_text(citation.get("source")) or None
        title = as_text(citation.get("title")) or as_text(citation.get("document_title")) or None
        extra: Extra = {NAME: {"citation": citation}}
        kind: Literal["url", "document"] = "url" if url else "document"
        return [Source(f"source_{self.sources}", kind, url, title, part_id=block.id, extra=extra)]

    def thinking(self, block: Block, delta: Delta) -> list[Event]:
        return [ReasoningDelta(block.id, delta.thinking)] if delta.thinking else []

    def signature(self, block: Block, delta: Delta) -> list[Event]:
        block.signature.append(delta.signature)
        return []

    def tool_input(self, block: Block, delta: Delta) -> list[Event]:
        if not delta.partial_json:
            return []
        block.bytes += len(delta.partial_json)
        if block.bytes > MAX_TOOL_INPUT_BYTES:
            return self.fail(TOOL_INPUT_TOO_LARGE)
        return [ToolInputDelta(block.id, delta.partial_json)]

    def vendor_delta(self, block: Block, data: bytes) -> list[Event]:
        block.bytes += len(data)
        if block.bytes > MAX_TOOL_INPUT_BYTES:
            return self.fail(TOOL_INPUT_TOO_LARGE)
        block.deltas.append(json_text.decode_any(data)["delta"])
        return []

    def end_block(self, block: Block) -> list[Event]:
        if block.kind == "text":
            return [TextEnd(block.id)]
        if block.kind == "thinking":
            return [ReasoningEnd(block.id, "".join(block.signature) or None)]
        if block.kind == "redacted":
            return [ReasoningEnd(block.id, redacted=as_text(block.start.get("data")))]
        if block.kind == "tool":
            whole = block.start.get("input")
            if block.bytes:
                return [ToolInputEnd(block.id)]
            text = json_text.encode_compact(whole if type(whole) is dict else {}).decode()
            return [ToolInputDelta(block.id, text), ToolInputEnd(block.id)]
        if block.kind == "vendor":
            payload = {"content_block": block.start}
            return [Vendor(NAME, payload | {"deltas": block.deltas} if block.deltas else payload, "content_block")]
        return []

    # -- the end

    def close_blocks(self) -> list[Event]:
        """Ends of the parts still open; a half-received vendor block is left out, arguments stay as they came."""
        events: list[Event] = []
        for block in self.blocks.values():
            if block.kind == "tool":
                events.append(ToolInputEnd(block.id))
            elif block.kind != "vendor":
                events.extend(self.end_block(block))
        self.blocks.clear()
        return events

    def finish(self) -> list[Event]:
        events = self.begin()
        events.extend(self.close_blocks())
        self.ended = True
        events.append(Finish(self.reason or "unknown", self.usage(), self.raw_reason, own(self.finish_extra)))
        return events

    def add_usage(self, raw: Any) -> None:
        """Later figures replace earlier ones; those a frame leaves out still hold."""
        if type(raw) is dict:
            self.raw_usage |= {name: value for name, value in raw.items() if value is not None}

    def usage(self) -> Usage | None:
        return parse_usage(self.raw_usage) if self.raw_usage else None


MESSAGE_FIELDS = frozenset({
    "id", "model", "type", "role", "content", "stop_reason", "stop_sequence", "stop_details", "usage",
})  # fmt: skip
DELTA_FIELDS = frozenset({"type", "delta", "usage", "stop_reason"})
TOOL_FIELDS = frozenset({"type", "id", "name", "input"})

FRAMES = {
    "message_start": Decoder.message_start,
    "content_block_start": Decoder.block_start,
    "content_block_stop": Decoder.block_stop,
    "message_delta": Decoder.message_delta,
    "message_stop": Decoder.message_stop,
    "ping": Decoder.ping,
    "error": Decoder.error,
}
BLOCKS = {
    "text": Decoder.begin_text,
    "thinking": Decoder.begin_thinking,
    "redacted_thinking": Decoder.begin_redacted,
    "tool_use": Decoder.begin_tool,
    "server_tool_use": Decoder.begin_tool,
    "mcp_tool_use": Decoder.begin_tool,
    "image": Decoder.begin_image,
}
DELTAS = {
    ("text", "citations_delta"): Decoder.text_citation,
    ("thinking", "thinking_delta"): Decoder.thinking,
    ("thinking", "signature_delta"): Decoder.signature,
    ("tool", "input_json_delta"): Decoder.tool_input,
}
