"""Converse streaming: frames to events, and whole answers to replies.

``contentBlockStart`` comes for tools only: other blocks open with their first delta. ``metadata`` with the usage follows
``messageStop``, or goes before it; the answer is finished once both are there, or when the body ends after the latter.
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
)
from streamward.reply import Reply, collect
from streamward.wire import json_text
from streamward.wire.converse.errors import error_of
from streamward.wire.converse.event_stream import EXCEPTION
from streamward.wire.converse.shapes import NAME, own, parse_stop, parse_usage
from streamward.wire.dialect import MAX_PARTS, MAX_TOOL_INPUT_BYTES, Profile
from streamward.wire.loose import as_dict, as_list, as_text
from streamward.wire.sse import Frame
from streamward.wire.upstream_status import TOO_MANY_PARTS, TOOL_INPUT_TOO_LARGE, TRUNCATED, invalid

INVALID = invalid("a Converse stream")

Kind = Literal["text", "thinking", "tool"]


class ToolDelta(Struct, gc=False):
    input: str = ""


class ThoughtDelta(Struct, gc=False):
    text: str = ""
    signature: str = ""
    redactedContent: str = ""  # noqa: N815 - the wire's name


class Delta(Struct, gc=False):
    text: str | None = None
    toolUse: ToolDelta | None = None  # noqa: N815
    reasoningContent: ThoughtDelta | None = None  # noqa: N815
    citation: dict[str, Any] | None = None


class DeltaFrame(Struct, gc=False):
    """The payload that makes up nearly all of a stream."""

    contentBlockIndex: int  # noqa: N815
    delta: Delta


decode_delta = msgspec.json.Decoder(DeltaFrame).decode


class Block:
    """A content block under way."""

    __slots__ = ("bytes", "id", "kind", "redacted", "signature")

    def __init__(self, kind: Kind, part_id: str) -> None:
        self.kind = kind
        self.id = part_id
        self.bytes = 0
        self.signature: list[str] = []
        self.redacted: list[str] = []


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
        self.usage: Usage | None = None
        self.measured = False
        self.reason: FinishReason | None = None
        self.raw_reason: str | None = None
        self.finish_extra: dict[str, Any] = {}

    def feed(self, item: Frame) -> list[Event]:
        if self.ended:
            return []
        kind = item.event
        if kind.startswith(EXCEPTION):
            return self.fail(error_of(kind.removeprefix(EXCEPTION)))
        try:
            if kind == "contentBlockDelta":
                frame = decode_delta(item.data)
                return self.delta(frame.contentBlockIndex, frame.delta)
            value = json_text.decode_answer(item.data)
        except (ValueError, RecursionError):
            return self.fail(INVALID)
        return self.message(kind, value) if type(value) is dict else self.fail(INVALID)

    def message(self, kind: str, value: dict[str, Any]) -> list[Event]:
        """One message that is no delta. Kinds that are not known say nothing the waist has a word for."""
        step = MESSAGES.get(kind)
        return step(self, value) if step is not None else []

    def close(self) -> list[Event]:
        if self.ended:
            return []
        if self.reason is not None or (self.profile.ends_with == "eof" and self.started):
            return self.finish()
        return self.fail(TRUNCATED)

    def fail(self, error: ErrorInfo) -> list[Event]:
        if self.ended:
            return []
        events = [*self.begin(), *self.close_blocks()]
        self.ended = True
        events.append(Error(error, self.usage))
        return events

    def begin(self) -> list[Event]:
        if self.started:
            return []
        self.started = True
        return [Start("", "")]

    # -- messages

    def message_start(self, value: dict[str, Any]) -> list[Event]:
        return self.begin() if not self.started else self.fail(INVALID)  # two answers spliced into one stream

    def block_start(self, value: dict[str, Any]) -> list[Event]:
        index, start = value.get("contentBlockIndex"), as_dict(value.get("start"))
        tool = as_dict(start.get("toolUse"))
        if type(index) is not int or index in self.blocks:
            return self.fail(INVALID)
        if not tool:  # a block of another kind opens with its first delta
            return self.begin()
        events = self.begin()
        part = self.next_part(events)
        if part is None:
            return events
        call_id = as_text(tool.get("toolUseId")) or f"tooluse_{part}"
        if call_id in self.tool_ids:
            call_id = f"{call_id}_{part}"
        self.tool_ids.add(call_id)
        self.blocks[index] = Block("tool", call_id)
        events.append(ToolInputStart(call_id, as_text(tool.get("name")), "type" in tool))
        return events

    def block_stop(self, value: dict[str, Any]) -> list[Event]:
        index = value.get("contentBlockIndex")
        block = self.blocks.pop(index, None) if type(index) is int else None
        return end_block(block) if block is not None else []

    def message_stop(self, value: dict[str, Any]) -> list[Event]:
        events = self.begin()
        self.reason, self.raw_reason = parse_stop(value.get("stopReason"))
        fields = as_dict(value.get("additionalModelResponseFields"))
        if fields:
            self.finish_extra["additionalModelResponseFields"] = fields
        return events if not self.measured else [*events, *self.finish()]

    def metadata(self, value: dict[str, Any]) -> list[Event]:
        events = self.begin()
        self.measured = True
        usage = as_dict(value.get("usage"))
        self.finish_extra |= {name: item for name, item in value.items() if name in METADATA and item}
        if usage:
            self.usage = parse_usage(usage)
        if self.reason is not None:
            return [*events, *self.finish()]
        return [*events, UsageUpdate(self.usage)] if self.usage is not None else events

    # -- blocks

    def delta(self, index: int, delta: Delta) -> list[Event]:
        block = self.blocks.get(index)
        text = delta.text
        if text is not None and block is not None and block.kind == "text":
            return [TextDelta(block.id, text)] if text else []
        if delta.toolUse is not None:
            return self.tool_input(block, delta.toolUse.input)
        if delta.reasoningContent is not None:
            return self.thought(index, block, delta.reasoningContent)
        if text is None and delta.citation is None:
            return []
        events = self.begin()
        if block is None:
            block = self.open(index, "text", events)
        if block is None or block.kind != "text":
            return events if self.ended else self.fail(INVALID)
        if text:
            events.append(TextDelta(block.id, text))
        if delta.citation is not None:
            events.append(self.cite(block, delta.citation))
        return events

    def thought(self, index: int, block: Block | None, delta: ThoughtDelta) -> list[Event]:
        events = self.begin()
        if block is None:
            block = self.open(index, "thinking", events)
        if block is None or block.kind != "thinking":
            return events if self.ended else self.fail(INVALID)
        if delta.text:
            events.append(ReasoningDelta(block.id, delta.text))
        if delta.signature:
            block.signature.append(delta.signature)
        if delta.redactedContent:
            block.redacted.append(delta.redactedContent)
        return events

    def tool_input(self, block: Block | None, text: str) -> list[Event]:
        if block is None or block.kind != "tool":
            return self.fail(INVALID)
        block.bytes += len(text)
        if block.bytes > MAX_TOOL_INPUT_BYTES:
            return self.fail(TOOL_INPUT_TOO_LARGE)
        return [ToolInputDelta(block.id, text)] if text else []

    def open(self, index: int, kind: Literal["text", "thinking"], events: list[Event]) -> Block | None:
        part = self.next_part(events)
        if part is None:
            return None
        block = self.blocks[index] = Block(kind, part)
        events.append(TextStart(part) if kind == "text" else ReasoningStart(part))
        return block

    def next_part(self, events: list[Event]) -> str | None:
        self.parts += 1
        if self.parts > MAX_PARTS:
            events.extend(self.fail(TOO_MANY_PARTS))
            return None
        return str(self.parts - 1)

    def cite(self, block: Block, citation: dict[str, Any]) -> Source:
        self.sources += 1
        web = as_dict(as_dict(citation.get("location")).get("web"))
        url = as_text(web.get("url")) or None
        extra: Extra = {NAME: {"citation": citation}}
        kind: Literal["url", "document"] = "url" if url else "document"
        return Source(
            f"source_{self.sources}", kind, url, as_text(citation.get("title")) or None, part_id=block.id, extra=extra
        )

    # -- the end

    def close_blocks(self) -> list[Event]:
        """Ends of the parts still open; arguments stay as they came."""
        events: list[Event] = []
        for block in self.blocks.values():
            events.extend([ToolInputEnd(block.id)] if block.kind == "tool" else end_block(block))
        self.blocks.clear()
        return events

    def finish(self) -> list[Event]:
        events = [*self.begin(), *self.close_blocks()]
        self.ended = True
        events.append(Finish(self.reason or "unknown", self.usage, self.raw_reason, own(self.finish_extra)))
        return events


def end_block(block: Block) -> list[Event]:
    if block.kind == "text":
        return [TextEnd(block.id)]
    if block.kind == "thinking":
        return [ReasoningEnd(block.id, "".join(block.signature) or None, "".join(block.redacted) or None)]
    return [ToolInputEnd(block.id)] if block.bytes else [ToolInputDelta(block.id, "{}"), ToolInputEnd(block.id)]


def parse_reply(body: dict[str, Any], profile: Profile) -> Reply:
    """The reply that a stream with the same blocks would collect to."""
    content = as_dict(as_dict(body.get("output")).get("message")).get("content")
    if type(content) is not list or type(body.get("stopReason")) is not str:
        return Reply(error=INVALID)
    decoder = Decoder(profile)
    events = decoder.message_start({})
    for index, block in enumerate(content):
        events.extend(whole_block(decoder, index, as_dict(block)))
        events.extend(decoder.block_stop({"contentBlockIndex": index}))
    events.extend(decoder.message_stop(body))
    events.extend(decoder.metadata(body))
    return collect(events)


def whole_block(decoder: Decoder, index: int, block: dict[str, Any]) -> list[Event]:
    """The events of one block of a whole answer, but for its end."""
    tool, cited = as_dict(block.get("toolUse")), as_dict(block.get("citationsContent"))
    thought = as_dict(block.get("reasoningContent"))
    if tool:
        given = tool.get("input")
        text = json_text.encode_compact(given if type(given) is dict else {}).decode()
        events = decoder.block_start({"contentBlockIndex": index, "start": {"toolUse": tool}})
        return [*events, *decoder.delta(index, Delta(toolUse=ToolDelta(text)))]
    if thought:
        said = as_dict(thought.get("reasoningText"))
        parts = ThoughtDelta(
            as_text(said.get("text")), as_text(said.get("signature")), as_text(thought.get("redactedContent"))
        )
        return decoder.delta(index, Delta(reasoningContent=parts))
    if cited:
        deltas = [Delta(text=as_text(as_dict(item).get("text"))) for item in as_list(cited.get("content"))]
        deltas += [Delta(citation=item) for item in as_list(cited.get("citations")) if type(item) is dict]
        return [event for delta in deltas for event in decoder.delta(index, delta)]
    return decoder.delta(index, Delta(text=as_text(block.get("text")))) if "text" in block else []


METADATA = frozenset({"metrics", "trace", "performanceConfig", "serviceTier"})
MESSAGES = {
    "messageStart": Decoder.message_start,
    "contentBlockStart": Decoder.block_start,
    "contentBlockStop": Decoder.block_stop,
    "messageStop": Decoder.message_stop,
    "metadata": Decoder.metadata,
}
