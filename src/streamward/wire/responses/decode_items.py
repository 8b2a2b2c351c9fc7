"""The items of a stream, and the parts inside them: which events of the waist they become.

The half of the decoder that knows output items; the response around them is in ``decode``.
"""

from __future__ import annotations

from typing import Any

from streamward.errors import ErrorInfo
from streamward.events import (
    Event,
    File,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    RefusalDelta,
    RefusalEnd,
    RefusalStart,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Vendor,
)  # fmt: skip
from streamward.wire.dialect import MAX_PARTS, MAX_TOOL_INPUT_BYTES
from streamward.wire.responses.decode_state import ItemState, Line, Part, Place, joined
from streamward.wire.responses.items import NAME, PART_BREAK, source_of, string, unseal, whole
from streamward.wire.responses.snapshot import response_extra
from streamward.wire.upstream_status import TOO_MANY_PARTS, TOOL_INPUT_TOO_LARGE

ITEM_FIELDS = frozenset({
    "id", "type", "status", "role", "content", "phase", "call_id", "name", "arguments", "summary", "encrypted_content",
})  # fmt: skip
"""Fields of message, function_call and reasoning items that have a place in events; others go into ``extra``."""


class ItemReader:
    """Items and parts being read; what they became gathers in ``out``."""

    def __init__(self) -> None:
        self.items: dict[Any, ItemState] = {}
        self.open_parts: dict[tuple[str, str], Part] = {}
        self.used: set[tuple[str, str]] = set()
        self.vendor_items: dict[str, Any] = {}
        self.part_count = 0
        self.tool_calls = 0
        self.bound: ErrorInfo | None = None  # set once the stream goes past a bound
        self.hot: Part | None = None  # where the last text went, and the event fields that led there
        self.hot_key: tuple[Any, ...] = ()
        self.out: list[Event] = []
        self.started = False

    def begin(self, response: Any = None) -> None:
        if self.started:
            return
        self.started = True
        response = response if isinstance(response, dict) else {}
        self.out.append(Start(
            id=string(response.get("id")), model=string(response.get("model")),
            created=whole(response.get("created_at")), extra=response_extra(response),
        ))  # fmt: skip

    # -- items

    def find(self, value: Any, kind: str) -> ItemState:
        """The item an event speaks of, made up when no ``added`` event told of it."""
        index, item_id = value.output_index, string(value.item_id)
        if type(index) is int:
            item = self.items.get(index)
        elif item_id:
            item = self.items.get(item_id)
        else:
            item = next(reversed(self.items.values()), None)
        if item is None or item.done or item.kind != kind:
            item = self.begin_item(index, {"type": kind, "id": item_id})
        return item

    def begin_item(self, index: Any, value: dict[str, Any]) -> ItemState:
        self.begin()
        old = self.items.get(index) if type(index) is int else None
        if old is not None and not old.done:
            self.end_item(old, {})
        item = ItemState(string(value.get("type")), string(value.get("id")))
        key = index if type(index) is int else (item.id or len(self.items))
        item.extra = {"id": item.id} if item.id else {}
        item.id = item.id or f"item_{key}"
        fields = {name: field for name, field in value.items() if name not in ITEM_FIELDS and field is not None}
        if fields:
            item.extra["fields"] = fields
        if isinstance(value.get("phase"), str):
            item.extra["phase"] = value["phase"]
        self.items[key] = item
        if len(self.items) > MAX_PARTS:
            self.bound = TOO_MANY_PARTS
        if item.kind == "reasoning":
            part = self.open_part(item, 0, "reasoning", item.id)
            self.out.append(ReasoningStart(part.id, {NAME: item.extra}))
        elif item.kind == "function_call":
            self.begin_call(item, value)
        return item

    def begin_call(self, item: ItemState, value: dict[str, Any]) -> None:
        """Open a call once its name is known; until then its arguments wait."""
        name = string(value.get("name"))
        if item.parts or not name:
            return
        part = self.open_part(item, 0, "tool", string(value.get("call_id")) or item.id)
        item.call_id = part.id
        self.tool_calls += 1
        self.out.append(ToolInputStart(part.id, name, extra={NAME: item.extra}))
        waiting, item.waiting = item.waiting, []
        for delta in waiting:
            self.push(part, delta)

    def item_added(self, value: dict[str, Any]) -> None:
        item, index = value.get("item"), value.get("output_index")
        if not isinstance(item, dict) or string(item.get("type")) not in KNOWN_ITEMS:
            self.vendor(value)
            return
        known = self.items.get(index) if type(index) is int else None
        if known is not None and not known.done and known.kind == item["type"] and known.id == item.get("id"):
            self.begin_call(known, item)
            return
        self.begin_item(index, item)

    def item_done(self, value: dict[str, Any], *, final: bool = False) -> None:
        item, index = value.get("item"), value.get("output_index")
        if not isinstance(item, dict) or string(item.get("type")) not in KNOWN_ITEMS:
            self.vendor_item(value, item, index)
            return
        state = self.items.get(index) if type(index) is int else self.items.get(string(item.get("id")))
        if state is None or state.kind != item["type"] or (state.done and not final):
            if state is not None and state.done and state.kind == item["type"] and state.id == item.get("id"):
                return
            state = self.begin_item(index, item)
        if state.kind == "message":
            self.message_rest(state, item)
        elif state.kind == "reasoning":
            self.reasoning_rest(state, item)
        else:
            self.begin_call(state, item)
            if state.parts:
                self.rest(state.parts[0], item.get("arguments"))
        self.end_item(state, item)

    def vendor_item(self, value: dict[str, Any], item: Any, index: Any) -> None:
        """A finished item of another type: kept for whole replies; a picture also is a file for everybody."""
        if isinstance(item, dict) and item.get("type") == "image_generation_call" and type(item.get("result")) is str:
            self.begin()
            rest = {name: field for name, field in item.items() if name != "result"}
            self.out.append(File(
                f"image/{item.get('output_format') or 'png'}", item["result"], id=string(item.get("id")),
                extra={NAME: {"item": rest, "output_index": index}},
            ))  # fmt: skip
            return
        if isinstance(item, dict) and type(index) is int and len(self.vendor_items) < MAX_PARTS:
            self.vendor_items[str(index)] = item
        self.vendor(value)

    def end_item(self, item: ItemState, value: dict[str, Any]) -> None:
        item.done = True
        sealed = value.get("encrypted_content")
        for part in item.parts.values():
            self.end_part(part, item, sealed if isinstance(sealed, str) and sealed else None)

    # -- parts

    def open_part(self, item: ItemState, key: Any, kind: str, wanted: str) -> Part:
        name, copy = wanted, 1
        while (kind, name) in self.used:  # one step past 1 only for ids a provider used again
            copy += 1
            name = f"{wanted}.{self.part_count + copy}"
        part = Part(kind, name)
        self.used.add((kind, name))
        item.parts[key] = part
        self.open_parts[kind, name] = part
        self.part_count += 1
        if self.part_count > MAX_PARTS:
            self.bound = TOO_MANY_PARTS
        return part

    def end_part(self, part: Part, item: ItemState | None = None, sealed: str | None = None) -> None:
        if not part.open:
            return
        part.open = False
        self.open_parts.pop((part.kind, part.id), None)
        if part.half:
            half, part.half = part.half, ""
            self.push(part, half.encode("utf-8", "replace").decode())
        if part.kind == "reasoning":
            self.out.append(reasoning_end(part.id, item, sealed))
        else:
            self.out.append(ENDS[part.kind](part.id))

    def end_parts(self) -> None:
        for part in list(self.open_parts.values()):
            self.end_part(part)
        for item in self.items.values():
            item.done = True

    def content(self, item: ItemState, index: Any, kind: str) -> Part:
        key = index if type(index) is int else 0
        part = item.parts.get(key)
        if part is not None and part.kind == kind:
            return part
        if part is not None:
            self.end_part(part)
        part = self.open_part(item, key, kind, item.id if key == 0 else f"{item.id}:{key}")
        start = RefusalStart if kind == "refusal" else TextStart
        self.out.append(start(part.id, {NAME: item.extra}))
        return part

    def part_added(self, value: dict[str, Any]) -> None:
        part = value.get("part")
        kind = PART_KINDS.get(string(part.get("type"))) if isinstance(part, dict) else None
        if kind is None:
            self.vendor(value)
        elif kind != "reasoning":
            item = self.find(Place(value), "message")
            self.content(item, value.get("content_index"), kind)

    def delta(self, target: tuple[str, str], line: Line) -> None:
        kind, where = target
        if kind == "tool":
            self.arguments(line)
            return
        item = self.find(line, ITEM_OF[kind])
        if type(line.output_index) is int:
            self.hot_key = (line.type, line.output_index, line.content_index, line.summary_index)
        self.hot = None
        if kind == "reasoning":
            index = getattr(line, where)
            self.reason(item, (where, index if type(index) is int else None), line.delta)
            self.hot = item.parts[0] if type(line.output_index) is int else None
            return
        part = self.content(item, line.content_index, kind)
        if part.open:
            self.push(part, line.delta, line.logprobs)
        self.hot = part if type(line.output_index) is int else None

    def arguments(self, line: Line) -> None:
        item = self.find(line, "function_call")
        item.size += len(line.delta)
        if item.size > MAX_TOOL_INPUT_BYTES:
            self.bound = TOOL_INPUT_TOO_LARGE
        if item.parts:
            self.push(item.parts[0], line.delta)
        else:
            item.waiting.append(line.delta)

    def reason(self, item: ItemState, place: Any, delta: str) -> None:
        """Text of a reasoning item. Its parts become one waist part, with a blank line between them."""
        part = item.parts[0]
        if item.place is not None and item.place != place and part.length:
            item.breaks.append(part.length)
            part.sent.append(PART_BREAK)
            part.length += len(PART_BREAK)
            self.out.append(ReasoningDelta(part.id, PART_BREAK, {NAME: {"break": True}}))
        item.place = place
        item.places.add(place)
        self.push(part, delta)

    def push(self, part: Part, delta: str, logprobs: Any = None) -> None:
        if part.half or delta[-1:] >= "\ud800":
            delta = joined(part, delta)
        if type(logprobs) is not list:
            logprobs = None
        if not delta and not logprobs:
            return
        part.sent.append(delta)
        part.length += len(delta)
        if part.kind == "text":
            self.out.append(TextDelta(part.id, delta, logprobs or None))
        else:
            self.out.append(DELTA_OF[part.kind](part.id, delta))

    def rest(self, part: Part, text: Any) -> None:
        """What a done event holds beyond the deltas that came; nothing when it contradicts them."""
        if not part.open or type(text) is not str or len(text) <= part.length:
            return
        sent = "".join(part.sent)
        if text.startswith(sent):
            part.half = ""
            self.push(part, text[len(sent) :])

    # -- done events

    def text_done(self, value: dict[str, Any]) -> None:
        kind = "refusal" if value["type"].startswith("response.refusal") else "text"
        item = self.find_open(value, "message")
        if item is not None:
            part = self.content(item, value.get("content_index"), kind)
            self.rest(part, value.get(kind))

    def find_open(self, value: dict[str, Any], kind: str) -> ItemState | None:
        """As ``find``, but a done event of an item already over changes nothing."""
        place = Place(value)
        known = self.items.get(place.output_index) if type(place.output_index) is int else None
        if known is not None and known.done and known.kind == kind:
            return None
        return self.find(place, kind)

    def part_done(self, value: dict[str, Any]) -> None:
        part = value.get("part")
        kind = PART_KINDS.get(string(part.get("type"))) if isinstance(part, dict) else None
        if kind is None or not isinstance(part, dict):
            self.vendor(value)
            return
        if kind == "reasoning":
            return
        item = self.find_open(value, "message")
        if item is not None:
            state = self.content(item, value.get("content_index"), kind)
            self.rest(state, part.get(kind))
            self.end_part(state, item)

    def reasoning_done(self, value: dict[str, Any]) -> None:
        """The text of one summary or content part, if its deltas never came."""
        item = self.find_open(value, "reasoning")
        where = "summary_index" if "summary" in value["type"] else "content_index"
        text, index = value.get("text"), value.get(where)
        place = (where, index if type(index) is int else None)
        if item is not None and type(text) is str and text and place not in item.places:
            self.reason(item, place, text)

    def arguments_done(self, value: dict[str, Any]) -> None:
        item = self.find_open(value, "function_call")
        if item is not None:
            self.begin_call(item, {**value, "call_id": value.get("call_id") or item.call_id})
            if item.parts:
                self.rest(item.parts[0], value.get("arguments"))

    def message_rest(self, state: ItemState, item: dict[str, Any]) -> None:
        content, annotated = item.get("content"), bool(state.annotations)
        for index, part in enumerate(content if isinstance(content, list) else ()):
            kind = PART_KINDS.get(string(part.get("type"))) if isinstance(part, dict) else None
            if kind is None or kind == "reasoning":
                continue
            known = state.parts.get(index)
            text = part.get(kind)
            if known is None and not text and index and not part.get("annotations"):
                continue
            target = self.content(state, index, kind)
            if known is None and part.get("logprobs") and type(text) is str:
                self.push(target, text, part["logprobs"])
            self.rest(target, text)
            if not annotated and isinstance(part.get("annotations"), list):
                for annotation in part["annotations"]:
                    self.source(state, target, annotation)
            self.end_part(target, state)

    def reasoning_rest(self, state: ItemState, item: dict[str, Any]) -> None:
        if state.parts[0].length:
            return
        for name, where in (("summary", "summary_index"), ("content", "content_index")):
            parts = item.get(name)
            for index, part in enumerate(parts if isinstance(parts, list) else ()):
                if isinstance(part, dict) and type(part.get("text")) is str and part["text"]:
                    self.reason(state, (where, index), part["text"])

    def annotation_added(self, value: dict[str, Any]) -> None:
        item = self.find_open(value, "message")
        if item is not None:
            part = self.content(item, value.get("content_index"), "text")
            self.source(item, part, value.get("annotation"))

    def source(self, item: ItemState, part: Part, annotation: Any) -> None:
        if not isinstance(annotation, dict):
            return
        item.annotations += 1
        if item.annotations > MAX_PARTS:
            self.bound = TOO_MANY_PARTS
            return
        self.out.append(source_of(annotation, f"{item.id}-{item.annotations - 1}", part.id))

    def vendor(self, value: dict[str, Any]) -> None:
        self.begin()
        name = value.get("type")
        self.out.append(Vendor(NAME, value, name if isinstance(name, str) else None))


def reasoning_end(part_id: str, item: ItemState | None, sealed: str | None) -> ReasoningEnd:
    if item is None:
        return ReasoningEnd(part_id)
    signature, redacted = (None, None) if sealed is None else unseal(sealed, item.id)
    extra = {**item.extra, "breaks": item.breaks} if item.breaks else item.extra
    return ReasoningEnd(part_id, signature, redacted, {NAME: extra})


KNOWN_ITEMS = frozenset({"message", "reasoning", "function_call"})
ITEM_OF = {"text": "message", "refusal": "message", "reasoning": "reasoning"}
PART_KINDS = {
    "output_text": "text", "text": "text", "refusal": "refusal", "reasoning_text": "reasoning",
    "summary_text": "reasoning",
}  # fmt: skip
ENDS: dict[str, Any] = {"text": TextEnd, "refusal": RefusalEnd, "tool": ToolInputEnd}
DELTA_OF: dict[str, Any] = {"refusal": RefusalDelta, "reasoning": ReasoningDelta, "tool": ToolInputDelta}
