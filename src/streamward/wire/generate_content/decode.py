"""Gemini streaming: frames to events.

Follows ``streamGenerateContent``: every frame is a ``GenerateContentResponse`` with more parts of candidate 0, usage so
far, and on one of the last a finish reason. There is no end marker: the body ends after it. Thought parts are
reasoning; a signature closes the part it stands on. Function calls come whole, or in pieces (``partial_args``).
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from streamward.errors import ErrorInfo
from streamward.events import (
    Error,
    Event,
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
)
from streamward.wire import json_text
from streamward.wire.dialect import MAX_PARTS, MAX_TOOL_INPUT_BYTES, Profile
from streamward.wire.generate_content.errors import error_of
from streamward.wire.generate_content.partial_args import ArgsWriter
from streamward.wire.generate_content.shapes import (
    FAILED_FINISHES,
    MINTED,
    NAME,
    own,
    parse_finish,
    parse_usage,
    unwrap_signature,
)
from streamward.wire.loose import as_dict, as_list, as_text
from streamward.wire.sse import DONE, Frame
from streamward.wire.upstream_status import TOO_MANY_PARTS, TOOL_INPUT_TOO_LARGE, TRUNCATED, invalid

INVALID = invalid("a generateContent stream")


class PlainPart(Struct, forbid_unknown_fields=True, gc=False):
    text: str
    thought: bool = False


class PlainContent(Struct, forbid_unknown_fields=True, gc=False):
    parts: list[PlainPart]
    role: str = ""


class PlainCandidate(Struct, forbid_unknown_fields=True, gc=False):
    content: PlainContent
    index: int = 0


class PlainChunk(Struct, forbid_unknown_fields=True, rename="camel", gc=False):
    """The chunk that makes up nearly all of a stream: text and nothing else. Its usage is parsed when it is needed."""

    candidates: list[PlainCandidate]
    usage_metadata: Raw = Raw()
    model_version: str = ""
    response_id: str = ""
    create_time: str = ""


decode_plain = msgspec.json.Decoder(PlainChunk).decode


class OpenCall:
    """A function call whose arguments come in pieces."""

    __slots__ = ("bytes", "id", "signature", "writer")

    def __init__(self, call_id: str) -> None:
        self.id = call_id
        self.signature: str | None = None
        self.writer = ArgsWriter()
        self.bytes = 0


class Decoder:
    """Stage: frames to events. After its terminal event it ignores everything."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.started = False
        self.ended = False
        self.response_id = ""
        self.parts = 0
        self.text_id: str | None = None  # the open text part
        self.thought_id: str | None = None  # the open reasoning part
        self.last_text_id: str | None = None
        self.call: OpenCall | None = None
        self.calls = 0
        self.call_ids: set[str] = set()
        self.cited: set[str] = set()
        self.raw_usage: Raw | dict[str, Any] | None = None
        self.reason: FinishReason | None = None
        self.raw_reason: str | None = None
        self.finish_extra: dict[str, Any] = {}

    def feed(self, item: Frame) -> list[Event]:
        if self.ended:
            return []
        if self.started:
            try:
                chunk = decode_plain(item.data)
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass
            else:
                return self.plain(chunk)
        if not item.data or item.data == DONE:
            return []
        try:
            value = json_text.decode_answer(item.data)
        except (ValueError, RecursionError):
            return self.fail(INVALID)
        return self.chunk(value) if type(value) is dict else self.fail(INVALID)

    def close(self) -> list[Event]:
        if self.ended:
            return []
        if self.reason is None and not (self.profile.ends_with == "eof" and self.started):
            return self.fail(TRUNCATED)
        events = self.begin({})
        events.extend(self.close_parts(cut=self.reason not in ("stop", "tool-calls")))
        self.ended = True
        events.append(Finish(self.reason or "unknown", self.usage(), self.raw_reason, own(self.finish_extra)))
        return events

    def fail(self, error: ErrorInfo) -> list[Event]:
        if self.ended:
            return []
        events = self.begin({})
        events.extend(self.close_parts(cut=True))
        self.ended = True
        events.append(Error(error, self.usage()))
        return events

    def usage(self) -> Usage | None:
        raw = self.raw_usage
        if isinstance(raw, Raw):
            try:
                raw = json_text.decode_any(raw)
            except (ValueError, RecursionError):
                return None
        return parse_usage(raw) if type(raw) is dict else None

    # -- chunks

    def plain(self, chunk: PlainChunk) -> list[Event]:
        if chunk.usage_metadata:
            self.raw_usage = chunk.usage_metadata
        events: list[Event] = []
        for candidate in chunk.candidates:
            if candidate.index == 0:
                for part in candidate.content.parts:
                    self.text(part.text, events, thought=part.thought)
        return events

    def chunk(self, value: dict[str, Any]) -> list[Event]:
        """One response object."""
        if "error" in value:
            return self.fail(error_of(as_dict(value["error"])))
        if not CHUNK_FIELDS.intersection(value):
            return self.fail(INVALID)
        events = self.begin(value)
        if type(value.get("usageMetadata")) is dict:
            first = self.raw_usage is None
            self.raw_usage = value["usageMetadata"]
            usage = self.usage() if first else None
            if usage is not None and usage.input_tokens is not None:
                events.append(UsageUpdate(usage))
        feedback = as_dict(value.get("promptFeedback"))
        if feedback:
            self.finish_extra["promptFeedback"] = feedback
        if as_text(feedback.get("blockReason")):
            self.reason, self.raw_reason = "content-filter", feedback["blockReason"]
        for candidate in as_list(value.get("candidates")):
            if type(candidate) is dict and not candidate.get("index"):
                self.candidate(candidate, events)
                if self.ended:
                    break
        return events

    def begin(self, value: dict[str, Any]) -> list[Event]:
        if self.started:
            return []
        self.started = True
        self.response_id = as_text(value.get("responseId"))
        return [Start(self.response_id, as_text(value.get("modelVersion")))]

    def candidate(self, candidate: dict[str, Any], events: list[Event]) -> None:
        for part in as_list(as_dict(candidate.get("content")).get("parts")):
            if type(part) is dict:
                self.part(part, events)
            if self.ended:
                return
        self.sources(candidate, events)
        for name, value in candidate.items():
            if name not in CANDIDATE_FIELDS and value is not None:
                self.finish_extra[name] = value
        raw = as_text(candidate.get("finishReason"))
        if raw in FAILED_FINISHES:
            message = f"the provider could not complete the answer ({raw})"
            events.extend(self.fail(ErrorInfo("upstream_error", message, 502, safe_to_retry=True)))
        elif raw:
            self.reason, self.raw_reason = parse_finish(raw, called=self.calls > 0)

    def part(self, part: dict[str, Any], events: list[Event]) -> None:
        signature = as_text(part.get("thoughtSignature"))
        if type(part.get("text")) is str:
            self.text(part["text"], events, thought=part.get("thought") is True)
            if signature and not self.ended:
                self.sign(signature, events, thought=part.get("thought") is True)
        elif type(part.get("functionCall")) is dict:
            self.function_call(part["functionCall"], signature, events)
        elif type(part.get("inlineData")) is dict or type(part.get("fileData")) is dict:
            events.extend(self.close_parts())
            events.append(file_of(part))
        elif part:
            events.extend(self.close_parts())
            events.append(Vendor(NAME, part, "part"))

    # -- text and thoughts

    def text(self, text: str, events: list[Event], *, thought: bool) -> None:
        if not text:
            return
        if thought:
            if self.thought_id is None:
                self.open_part(events, thought=True)
            if self.thought_id is not None:
                events.append(ReasoningDelta(self.thought_id, text))
        else:
            if self.text_id is None:
                self.open_part(events, thought=False)
            if self.text_id is not None:
                events.append(TextDelta(self.text_id, text))

    def open_part(self, events: list[Event], *, thought: bool) -> None:
        events.extend(self.close_parts())
        part_id = self.next_part(events)
        if part_id is None:
            return
        if thought:
            self.thought_id = part_id
            events.append(ReasoningStart(part_id))
        else:
            self.text_id = self.last_text_id = part_id
            events.append(TextStart(part_id))

    def next_part(self, events: list[Event]) -> str | None:
        self.parts += 1
        if self.parts > MAX_PARTS:
            events.extend(self.fail(TOO_MANY_PARTS))
            return None
        return str(self.parts - 1)

    def sign(self, signature: str, events: list[Event], *, thought: bool) -> None:
        """End the open part with its signature; one that comes on an empty part of its own opens that part first."""
        if (self.thought_id if thought else self.text_id) is None:
            self.open_part(events, thought=thought)
        if thought and self.thought_id is not None:
            events.append(ReasoningEnd(self.thought_id, *unwrap_signature(signature)))
            self.thought_id = None
        elif self.text_id is not None:
            events.append(TextEnd(self.text_id, own({"thoughtSignature": signature})))
            self.text_id = None

    def close_parts(self, *, cut: bool = False) -> list[Event]:
        """Ends of the open parts; *cut* arguments stay as they came, others are completed as JSON."""
        events: list[Event] = []
        if self.thought_id is not None:
            events.append(ReasoningEnd(self.thought_id))
            self.thought_id = None
        if self.text_id is not None:
            events.append(TextEnd(self.text_id))
            self.text_id = None
        call = self.call
        if call is not None and cut:
            self.call = None
            events.append(ToolInputEnd(call.id, call.signature))
        elif call is not None:
            self.end_call(call, events)
        return events

    # -- function calls

    def function_call(self, raw: dict[str, Any], signature: str, events: list[Event]) -> None:
        name = as_text(raw.get("name"))
        call = self.call
        if name:
            if call is not None:
                self.end_call(call, events)
            call = self.start_call(raw, name, events)
        if call is None:
            return
        if signature:
            call.signature = unwrap_signature(signature)[0]
        if type(raw.get("args")) is dict and not call.bytes:
            self.arguments(call, json_text.encode_compact(raw["args"]).decode(), events)
        for item in as_list(raw.get("partialArgs")):
            text = call.writer.feed(item)
            if text is None:
                events.extend(self.fail(INVALID))
            elif text and not self.ended:
                self.arguments(call, text, events)
            if self.ended:
                return
        if not raw.get("willContinue") and not self.ended:
            self.end_call(call, events)

    def start_call(self, raw: dict[str, Any], name: str, events: list[Event]) -> OpenCall | None:
        events.extend(self.close_parts())
        if self.next_part(events) is None:
            return None
        call_id = as_text(raw.get("id"))
        if not call_id or call_id in self.call_ids:
            call_id = f"{MINTED}{self.response_id or 'stream'}_{self.calls}"
        self.calls += 1
        self.call_ids.add(call_id)
        self.call = OpenCall(call_id)
        events.append(ToolInputStart(call_id, name))
        return self.call

    def arguments(self, call: OpenCall, text: str, events: list[Event]) -> None:
        call.bytes += len(text)
        if call.bytes > MAX_TOOL_INPUT_BYTES:
            events.extend(self.fail(TOOL_INPUT_TOO_LARGE))
        else:
            events.append(ToolInputDelta(call.id, text))

    def end_call(self, call: OpenCall, events: list[Event]) -> None:
        if call.writer.stack or not call.bytes:
            events.append(ToolInputDelta(call.id, call.writer.close()))
        events.append(ToolInputEnd(call.id, call.signature))
        self.call = None

    # -- sources

    def sources(self, candidate: dict[str, Any], events: list[Event]) -> None:
        """Grounding and citations, which grow from chunk to chunk: each place is told once."""
        grounding = as_dict(candidate.get("groundingMetadata"))
        citations = as_dict(candidate.get("citationMetadata"))
        for chunk in as_list(grounding.get("groundingChunks")):
            for kind in ("web", "retrievedContext", "maps", "image"):
                place = as_dict(as_dict(chunk).get(kind))
                self.source(as_text(place.get("uri")) or as_text(place.get("sourceUri")), place, events)
        for cited in as_list(citations.get("citations")) or as_list(citations.get("citationSources")):
            self.source(as_text(as_dict(cited).get("uri")), as_dict(cited), events)

    def source(self, url: str, place: dict[str, Any], events: list[Event]) -> None:
        if url and url not in self.cited and len(self.cited) < MAX_PARTS:
            self.cited.add(url)
            title = as_text(place.get("title")) or None
            events.append(Source(f"source_{len(self.cited)}", "url", url, title, part_id=self.last_text_id))


def file_of(part: dict[str, Any]) -> File:
    """A generated file; its signature, and that it was only a draft (``thought``), stay with it."""
    kept = own({name: part[name] for name in ("thoughtSignature", "thought") if part.get(name)})
    inline, linked = as_dict(part.get("inlineData")), as_dict(part.get("fileData"))
    media_type = as_text(inline.get("mimeType")) or as_text(linked.get("mimeType")) or "application/octet-stream"
    if inline:
        return File(media_type, data=as_text(inline.get("data")), extra=kept)
    return File(media_type, url=as_text(linked.get("fileUri")), extra=kept)


CHUNK_FIELDS = frozenset({"candidates", "usageMetadata", "promptFeedback", "responseId", "modelVersion"})
CANDIDATE_FIELDS = frozenset({"content", "finishReason", "index"})
