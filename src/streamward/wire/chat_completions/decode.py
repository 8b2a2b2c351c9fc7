"""Chat Completions streaming: chunks to events.

Follows the Chat Completions reference, "The chat completion chunk object", and absorbs what vendors do to it: usage on
any chunk, missing or empty ``choices``, ``reasoning`` in three spellings, content as parts, whole tool calls, errors
under a 200. Only choice 0 is decoded; several choices pass through on the same dialect (``passthrough``).
"""

from __future__ import annotations

from typing import Any

import msgspec

from streamward.errors import ErrorInfo
from streamward.events import (
    PART_END_OF,
    Error,
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    RefusalDelta,
    RefusalStart,
    Source,
    Start,
    TextDelta,
    TextStart,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
)  # fmt: skip
from streamward.wire import json_text
from streamward.wire.chat_completions.shapes import (
    FAILED_FINISHES,
    FINISH_TO_WAIST,
    NAME,
    NOT_JSON,
    PlainChunk,
    content_pieces,
    count,
    parse_usage,
    told,
    usage_at,
)
from streamward.wire.chat_completions.tools import ToolSlots
from streamward.wire.dialect import MAX_TOOL_INPUT_BYTES, Profile
from streamward.wire.loose import as_dict, as_list
from streamward.wire.sse import DONE, Frame
from streamward.wire.upstream_status import TRUNCATED, invalid

decode_plain = msgspec.json.Decoder(PlainChunk).decode

REPORTED = ErrorInfo("upstream_error", "the provider reported an error in mid-stream", 502, safe_to_retry=True)
INVALID = invalid("a chat.completion.chunk")


class Decoder:
    """Stage: frames to events. After its terminal event it ignores everything."""

    __slots__ = (
        "answered", "ended", "finish", "halves", "latest_tool", "open", "open_tools", "parts", "profile", "raw_finish",
        "redacted", "signature", "slots", "sources", "started", "stream_id", "tool_bytes", "usage",
    )  # fmt: skip

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.started = False
        self.answered = False  # a chunk of choice 0 came
        self.ended = False
        self.stream_id = ""
        self.open: TextStart | ReasoningStart | RefusalStart | None = None
        self.parts = 0
        self.slots = ToolSlots()
        self.open_tools: dict[int, list[str]] = {}  # slot -> argument fragments so far
        self.latest_tool = -1
        self.tool_bytes = 0
        self.signature: str | None = None
        self.redacted: str | None = None
        self.sources = 0
        self.finish: FinishReason | None = None
        self.raw_finish = ""
        self.usage: Usage | None = None
        self.halves: json_text.Halves = {}

    def feed(self, item: Frame) -> list[Event]:
        if self.ended:
            return []
        data = item.data
        if self.answered and self.finish is None and not self.halves:
            try:
                delta = decode_plain(data).choices[0].delta
            except NOT_JSON:
                pass
            else:
                content, reasoning = delta.content, delta.reasoning_content or delta.reasoning
                if content and not reasoning and type(self.open) is TextStart and not self.open_tools:
                    return [TextDelta(self.open.id, content)]  # the common case: more of a part that is open
                return self.plain(content, reasoning)
        if data == DONE:
            return self.done()
        if not data:
            return []
        return self.chunk(data, item.event)

    def close(self) -> list[Event]:
        if self.ended:
            return []
        ends = self.profile.ends_with
        if (ends == "finish" and self.finish is not None) or (ends == "eof" and self.answered):
            return self.finished()
        return self.fail(TRUNCATED)

    def fail(self, error: ErrorInfo) -> list[Event]:
        if self.ended:
            return []
        events = self.begin({})
        self.close_parts(events)
        self.ended = True
        events.append(Error(error, self.usage))
        return events

    def done(self) -> list[Event]:
        # Seed of many bugs elsewhere: `[DONE]` after no finish reason means interrupted, not finished.
        if self.finish is None and not (self.profile.ends_with == "eof" and self.answered):
            return self.fail(TRUNCATED)
        return self.finished()

    def finished(self) -> list[Event]:
        events = self.begin({})
        self.close_parts(events)
        self.ended = True
        reason = self.finish or "unknown"
        if reason == "stop" and self.slots.ids:
            reason = "tool-calls"
        known = self.raw_finish in FINISH_TO_WAIST
        events.append(Finish(reason, self.usage, None if known else self.raw_finish or None))
        return events

    def chunk(self, data: bytes, event_name: str) -> list[Event]:
        try:
            chunk = json_text.decode_delta(data, self.halves)
        except NOT_JSON:
            return self.fail(INVALID)
        if type(chunk) is not dict:
            return self.fail(INVALID)
        if chunk.get("error") or chunk.get("object") == "error" or event_name == "error":
            return self.fail(REPORTED)
        usage = parse_usage(usage_at(chunk, self.profile.usage_path), self.profile)
        self.usage = usage or self.usage
        choices = chunk.get("choices")
        if choices is not None and type(choices) is not list:
            return self.fail(INVALID)
        events = self.begin(chunk) if choices or chunk.get("id") else []  # Azure's first chunk says nothing of the stream
        for choice in choices or ():
            if type(choice) is not dict:
                return events + self.fail(INVALID)
            if choice.get("index", 0) == 0:
                self.choice(choice, events)
                if self.ended:
                    break
        if type(chunk.get("citations")) is list and self.started and not self.ended:  # Perplexity: on every chunk, cumulative
            self.citations(chunk["citations"], events)
        return events

    def begin(self, chunk: dict[str, Any]) -> list[Event]:
        if self.started:
            return []
        self.started = True
        self.stream_id = chunk["id"] if type(chunk.get("id")) is str else ""
        model = chunk["model"] if type(chunk.get("model")) is str else ""
        kept = {key: chunk[key] for key in ("service_tier", "system_fingerprint") if chunk.get(key) is not None}
        return [Start(self.stream_id, model, count(chunk.get("created")), {NAME: kept} if kept else None)]

    def choice(self, choice: dict[str, Any], events: list[Event]) -> None:
        self.answered = True
        delta = as_dict(choice.get("delta"))
        logprobs = as_dict(choice.get("logprobs")).get("content")
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        said = reasoning if type(reasoning) is str else ""
        self.text(ReasoningStart, said, events)
        if delta.get("reasoning_details"):
            self.details(delta["reasoning_details"], events, said=said != "")
        content = delta.get("content")
        if type(content) is str:
            self.text(TextStart, content, events, logprobs if type(logprobs) is list else None)
        elif type(content) is list:
            for thinking, piece in content_pieces(content):
                self.text(ReasoningStart if thinking else TextStart, piece, events)
        if type(delta.get("refusal")) is str:
            self.text(RefusalStart, delta["refusal"], events)
        if type(delta.get("tool_calls")) is list:
            self.tools(delta["tool_calls"], events)
        if type(delta.get("function_call")) is dict:  # the form before tool calls
            self.tools([{"index": 0, "function": delta["function_call"]}], events)
        if self.ended:
            return
        self.annotations(as_list(delta.get("annotations")), events)
        reason = choice.get("finish_reason")
        if type(reason) is str and reason:
            if reason in FAILED_FINISHES:
                events.extend(self.fail(REPORTED))
                return
            self.raw_finish = reason
            self.finish = FINISH_TO_WAIST.get(reason, "other")

    def plain(self, content: str | None, reasoning: str | None) -> list[Event]:
        """Text and nothing else."""
        events: list[Event] = []
        if reasoning:
            self.text(ReasoningStart, reasoning, events)
        if content:
            self.text(TextStart, content, events)
        return events

    def text(
        self, kind: type[TextStart | ReasoningStart | RefusalStart], delta: str, events: list[Event],
        logprobs: list[Any] | None = None,
    ) -> None:  # fmt: skip
        if not delta and not logprobs:
            return
        if type(self.open) is not kind:
            self.close_parts(events)
            self.open = kind(f"{PREFIX[kind]}-{self.parts}")
            self.parts += 1
            events.append(self.open)
        part_id = self.open.id
        if kind is TextStart:
            events.append(TextDelta(part_id, delta, logprobs))
        else:
            events.append(ReasoningDelta(part_id, delta) if kind is ReasoningStart else RefusalDelta(part_id, delta))

    def details(self, details: Any, events: list[Event], *, said: bool) -> None:
        """``reasoning_details`` (OpenRouter, Vercel): the signature or opaque data that must go back next turn, and the
        text where the delta has not *said* it already."""
        for detail in map(as_dict, as_list(details)):
            if not said:
                self.text(ReasoningStart, told(detail), events)
            signature, data = detail.get("signature"), detail.get("data")
            if type(self.open) is not ReasoningStart and (signature or data):
                self.close_parts(events)
                self.open = ReasoningStart(f"reasoning-{self.parts}")
                self.parts += 1
                events.append(self.open)
            self.signature = signature if type(signature) is str else self.signature
            self.redacted = data if type(data) is str else self.redacted

    def tools(self, fragments: list[Any], events: list[Event]) -> None:
        if self.ended:
            return
        for raw in fragments:
            fragment = self.slots.resolve(raw, self.stream_id)
            if fragment is None:
                events.extend(self.fail(INVALID))
                return
            if fragment.new:
                self.close_text(events)
                self.close_complete_tool(events)
                self.open_tools[fragment.slot] = []
                self.latest_tool = fragment.slot
                events.append(ToolInputStart(fragment.id, fragment.name))
            pieces = self.open_tools.get(fragment.slot)
            if not fragment.arguments or (pieces is None and not fragment.arguments.strip()):
                continue
            self.tool_bytes += len(fragment.arguments)
            if pieces is None or self.tool_bytes > MAX_TOOL_INPUT_BYTES:
                events.extend(self.fail(INVALID))
                return
            pieces.append(fragment.arguments)
            events.append(ToolInputDelta(fragment.id, fragment.arguments))

    def close_complete_tool(self, events: list[Event]) -> None:
        """A new call begins: the one before it is over if its arguments are whole. Each call is asked once."""
        slot = self.latest_tool
        pieces = self.open_tools.get(slot)
        if not pieces:
            return  # closed, or nothing yet: fragments of several calls may come in turn
        try:
            json_text.decode_any("".join(pieces))
        except NOT_JSON:
            return
        del self.open_tools[slot]
        events.append(ToolInputEnd(self.slots.ids[slot]))

    def citations(self, urls: list[Any], events: list[Event]) -> None:
        for url in urls[self.sources :]:
            if type(url) is str:
                events.append(Source(f"source-{self.sources}", url=url))
                self.sources += 1

    def annotations(self, annotations: list[Any], events: list[Event]) -> None:
        for annotation in annotations:
            cited = as_dict(as_dict(annotation).get("url_citation"))
            if type(cited.get("url")) is str:
                title = cited["title"] if type(cited.get("title")) is str else None
                start, end = count(cited.get("start_index")), count(cited.get("end_index"))
                part = self.open.id if type(self.open) is TextStart else None
                events.append(
                    Source(f"source-{self.sources}", url=cited["url"], title=title, part_id=part, start=start, end=end)
                )
                self.sources += 1

    def close_text(self, events: list[Event]) -> None:
        if self.open is None:
            return
        if self.halves:
            self.halves.clear()
            self.text(type(self.open), "\ufffd", events)
        if type(self.open) is ReasoningStart:
            events.append(ReasoningEnd(self.open.id, self.signature, self.redacted))
            self.signature = self.redacted = None
        else:
            events.append(PART_END_OF[type(self.open)](self.open.id))
        self.open = None

    def close_parts(self, events: list[Event]) -> None:
        self.close_text(events)
        events.extend(ToolInputEnd(self.slots.ids[slot]) for slot in self.open_tools)
        self.open_tools = {}


PREFIX = {TextStart: "text", ReasoningStart: "reasoning", RefusalStart: "refusal"}
