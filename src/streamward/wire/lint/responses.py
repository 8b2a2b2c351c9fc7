"""Rules of Responses streams: Open Responses 2026-04-24 and OpenAI's description, where both agree, and what the stream
helpers of both official SDKs demand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streamward.wire.lint.finding import Finding, Json, Rule, as_key, shown
from streamward.wire.lint.values import is_json, parsed
from streamward.wire.sse import DONE, Frame

RULES = (
    Rule("responses-json", "every frame is a JSON object with a type, or [DONE]"),
    Rule("responses-event-name", "`event:` equals the type"),
    Rule("responses-sequence", "sequence_number begins at 0 and rises by one"),
    Rule("responses-first", "response.created is first, then response.queued or response.in_progress"),
    Rule("responses-snapshot", "the response object has all 31 keys in every snapshot"),
    Rule("responses-same-id", "id and created_at of the response never change"),
    Rule("responses-item-order", "items are added at output_index 0, 1, 2, with ids used once"),
    Rule("responses-item-pairs", "every item that is added is done, and the other way round"),
    Rule("responses-part-pairs", "every part that is added is done while its item is open"),
    Rule("responses-delta-open", "deltas go to an open part or item, named by the same item_id"),
    Rule("responses-text-same", "deltas, done event, part and item hold the same text"),
    Rule("responses-arguments", "function arguments are the same in deltas, done and item, and JSON"),
    Rule("responses-incomplete-last", "an incomplete item is the last, and the response is incomplete"),
    Rule("responses-known", "only event types of both descriptions (openai-node throws on others)", "warning"),
    Rule("responses-error", "an error carries code and message; response.failed follows it", "warning"),
    Rule("responses-terminal", "one of response.completed, .incomplete, .failed is the last event, with usage"),
    Rule("responses-end-marker", "the end marker [DONE] closes the stream, as Open Responses demands", "warning"),
)
KEYS = frozenset({
    "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "previous_response_id",
    "instructions", "output", "error", "tools", "tool_choice", "truncation", "parallel_tool_calls", "text", "top_p",
    "presence_penalty", "frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage", "max_output_tokens",
    "max_tool_calls", "store", "background", "service_tier", "metadata", "safety_identifier", "prompt_cache_key",
})  # fmt: skip
TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
SNAPSHOTS = TERMINAL | {"response.created", "response.queued", "response.in_progress"}
PARTS = {
    "response.output_text": ("content", "text"), "response.refusal": ("content", "refusal"),
    "response.reasoning_summary_text": ("summary", "text"),
}  # fmt: skip
KNOWN = SNAPSHOTS | {
    "response.output_item.added", "response.output_item.done", "response.content_part.added", "response.content_part.done",
    "response.reasoning_summary_part.added", "response.reasoning_summary_part.done",
    "response.output_text.annotation.added", "response.function_call_arguments.delta",
    "response.function_call_arguments.done", "error", "keepalive",
    *(f"{name}.{kind}" for name in PARTS for kind in ("delta", "done")),
}  # fmt: skip


class Item:
    """An output item while it is open."""

    def __init__(self, item: Json) -> None:
        self.id = as_key(item.get("id"))
        self.open = True
        self.parts: dict[tuple[str, Any], list[str]] = {}
        self.closed: set[tuple[str, Any]] = set()
        self.arguments: list[str] = []


class ResponsesRules:
    """Checks one stream."""

    rules = RULES

    def __init__(self) -> None:
        self.next = 0
        self.events = 0
        self.response: Json | None = None
        self.items: dict[Any, Item] = {}
        self.ids: set[Any] = set()
        self.terminal = ""
        self.errored = False
        self.marked = False
        self.incomplete: Any = None

    def feed(self, number: int, frame: Frame) -> Iterator[Finding]:
        if self.marked:
            yield Finding("responses-terminal", "a frame follows the end marker", number)
            return
        if frame.data == DONE:
            self.marked = True
            return
        event = parsed(frame.data)
        kind = event.get("type") if isinstance(event, dict) else None
        if not isinstance(kind, str):
            yield Finding("responses-json", shown(frame.data[:60]), number)
            return
        if self.terminal:
            yield Finding("responses-terminal", f"{kind} follows {self.terminal}", number)
        if frame.event != kind:
            yield Finding("responses-event-name", f"event {frame.event!r} for type {kind!r}", number)
        yield from self.sequence(number, event)
        yield from self.order(number, kind)
        if kind in SNAPSHOTS:
            yield from self.snapshot(number, kind, event.get("response"))
        elif kind == "error":
            self.errored = True
            nested = event.get("error") if isinstance(event.get("error"), dict) else event
            if not nested.get("code") or not nested.get("message"):
                yield Finding("responses-error", "an error without code or message", number)
        elif kind not in KNOWN:
            yield Finding("responses-known", kind, number)
        elif kind != "keepalive":
            yield from self.output(number, kind, event)
        self.events += 1

    def sequence(self, number: int, event: Json) -> Iterator[Finding]:
        stated = event.get("sequence_number")
        if stated != self.next:
            yield Finding("responses-sequence", f"{shown(stated)} where {self.next} was due", number)
        self.next = stated + 1 if isinstance(stated, int) else self.next + 1

    def order(self, number: int, kind: str) -> Iterator[Finding]:
        if self.events == 0 and kind not in ("response.created", "error"):
            yield Finding("responses-first", f"{kind} is first", number)
        if self.events == 1 and kind not in ("response.queued", "response.in_progress", "response.failed", "error"):
            yield Finding("responses-first", f"{kind} is second", number)

    def snapshot(self, number: int, kind: str, response: Any) -> Iterator[Finding]:
        if not isinstance(response, dict):
            yield Finding("responses-snapshot", f"{kind} without a response", number)
            return
        missing = sorted(KEYS - response.keys())
        if missing:
            yield Finding("responses-snapshot", f"{kind} lacks {', '.join(missing[:6])} ({len(missing)} keys)", number)
        first = self.response = self.response or response
        for name in ("id", "created_at"):
            if response.get(name) != first.get(name):
                yield Finding("responses-same-id", f"{name} changes to {shown(response.get(name))}", number)
        if kind in TERMINAL:
            self.terminal = kind
            yield from self.end(number, kind, response)

    def end(self, number: int, kind: str, response: Json) -> Iterator[Finding]:
        left = [item.id for item in self.items.values() if item.open]
        if left:
            yield Finding("responses-item-pairs", f"{kind} while {shown(left[0])} is open", number)
        if response.get("status") != kind.removeprefix("response."):
            yield Finding("responses-terminal", f"{kind} with status {shown(response.get('status'))}", number)
        if kind != "response.failed":
            if response.get("usage") is None:
                yield Finding("responses-terminal", f"{kind} without usage", number)
            output = response.get("output")
            if not isinstance(output, list) or len(output) != len(self.items):
                yield Finding("responses-terminal", "its output is not the items that were added", number)
        if self.incomplete is not None and kind == "response.completed":
            yield Finding("responses-incomplete-last", "completed with an incomplete item", number)

    def output(self, number: int, kind: str, event: Json) -> Iterator[Finding]:
        index = event.get("output_index")
        if kind == "response.output_item.added":
            yield from self.added(number, index, event.get("item"))
            return
        item = self.items.get(as_key(index))
        if item is None or not item.open:
            yield Finding("responses-delta-open", f"{kind} for output_index {shown(index)}, which is not open", number)
            return
        if kind == "response.output_item.done":
            item.open = False
            yield from self.done(number, item, event.get("item"))
            return
        if event.get("item_id") != item.id:
            yield Finding("responses-delta-open", f"{kind} names {shown(event.get('item_id'))}, not {shown(item.id)}", number)
        if kind == "response.function_call_arguments.delta":
            item.arguments.append(str(event.get("delta", "")))
        elif kind == "response.function_call_arguments.done":
            yield from self.arguments(number, item, event.get("arguments"))
        elif "_part." in kind:
            yield from self.part(number, kind, item, event)
        elif not kind.endswith("annotation.added"):
            yield from self.text(number, kind, item, event)

    def added(self, number: int, index: Any, value: Any) -> Iterator[Finding]:
        item = Item(value if isinstance(value, dict) else {})
        if index != len(self.items):
            yield Finding("responses-item-order", f"output_index {shown(index)} where {len(self.items)} was due", number)
        if not item.id or item.id in self.ids:
            yield Finding("responses-item-order", f"the id {shown(item.id)} is missing or used twice", number)
        if self.incomplete is not None:
            yield Finding("responses-incomplete-last", "an item follows an incomplete one", number)
        self.ids.add(item.id)
        self.items[as_key(index)] = item

    def done(self, number: int, item: Item, value: Any) -> Iterator[Finding]:
        value = value if isinstance(value, dict) else {}
        if value.get("id") != item.id:
            yield Finding("responses-item-pairs", f"done with the id {shown(value.get('id'))}, not {shown(item.id)}", number)
        if value.get("status") == "incomplete":
            self.incomplete = item.id
        for key in item.parts.keys() - item.closed:
            yield Finding("responses-part-pairs", f"part {key[1]} is not done", number)
        for field in ("content", "summary"):
            parts = value.get(field)
            for at, part in enumerate(parts if isinstance(parts, list) else ()):
                pieces = item.parts.get((field, at))
                if pieces is not None and "".join(pieces) != (part.get("text") or part.get("refusal") or ""):
                    yield Finding("responses-text-same", f"the item's part {at} differs from its deltas", number)
        if value.get("type") == "function_call":
            yield from self.arguments(number, item, value.get("arguments"), final=True)

    def arguments(self, number: int, item: Item, stated: Any, *, final: bool = False) -> Iterator[Finding]:
        joined = "".join(item.arguments)
        if stated != joined:
            where = "the item" if final else "done"
            yield Finding("responses-arguments", f"{where} has {shown(stated)}, the deltas {shown(joined)}", number)
        if final and self.incomplete != item.id and joined and not is_json(joined):
            yield Finding("responses-arguments", f"not JSON: {shown(joined)}", number)

    def part(self, number: int, kind: str, item: Item, event: Json) -> Iterator[Finding]:
        key = part_key(event)
        if kind.endswith(".added"):
            if key in item.parts:
                yield Finding("responses-part-pairs", f"part {shown(key[1])} is added twice", number)
            item.parts[key] = []
            return
        if key not in item.parts or key in item.closed:
            yield Finding("responses-part-pairs", f"part {shown(key[1])} is done but not open", number)
        item.closed.add(key)

    def text(self, number: int, kind: str, item: Item, event: Json) -> Iterator[Finding]:
        key = part_key(event)
        pieces = item.parts.get(key)
        if pieces is None or key in item.closed:
            yield Finding("responses-delta-open", f"{kind} for part {shown(key[1])}, which is not open", number)
            return
        if kind.endswith(".delta"):
            pieces.append(str(event.get("delta", "")))
            return
        stated = event.get(PARTS[kind.removesuffix(".done")][1])
        if stated != "".join(pieces):
            yield Finding("responses-text-same", f"{kind} differs from its deltas", number)

    def close(self, *, cut: bool) -> Iterator[Finding]:
        if not self.terminal:
            how = "broke off" if cut else "ended"
            yield Finding("responses-terminal", f"the body {how} without a terminal event")
        elif not self.marked:
            yield Finding("responses-end-marker", "there is none")
        if self.errored and self.terminal != "response.failed":
            yield Finding("responses-error", "no response.failed after an error event")


def part_key(event: Json) -> tuple[str, Any]:
    if "summary_index" in event:
        return "summary", as_key(event["summary_index"])
    return "content", as_key(event.get("content_index"))
