"""Events to a Responses stream: the whole event sequence, as SSE frames.

Every frame carries ``event:`` equal to ``type`` and a ``sequence_number`` rising by one from 0; every item is added and
done, every snapshot has all 31 keys. The fields are the union of what Open Responses and OpenAI demand.

Endings: Finish is ``response.completed`` or ``response.incomplete``; Error is an ``error`` event with flat and nested
fields, then ``response.failed``; Abort is ``response.incomplete`` with status ``cancelled`` (neither specification has
a cancelled event; a caller that has left gets nothing, because nobody feeds its encoder any more). After each of them
comes the end marker that Open Responses demands, in the form ``options["responses_done"]`` names.

Options: ``responses_done`` = cr | plain | off; ``extensions`` = True sends ``streamward:*`` events for what the dialect
has no word for; ``queued`` = True begins with status queued; ``store``; ``now`` = a function giving Unix seconds, for
``completed_at``.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from streamward.errors import ErrorInfo
from streamward.events import (
    Abort,
    ApprovalRequest,
    ApprovalResponse,
    Data,
    Error,
    Event,
    File,
    Finish,
    Metadata,
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
    ToolCall,
    ToolDenied,
    ToolError,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    ToolResult,
    Usage,
    UsageUpdate,
    Vendor,
)  # fmt: skip
from streamward.wire import sse
from streamward.wire.dialect import Context
from streamward.wire.json_text import encode, encode_compact, escape_line_separators
from streamward.wire.responses import errors, snapshot
from streamward.wire.responses.items import (
    NAME,
    Item,
    annotation,
    image,
    item_id,
    own,
    reasoning,
    seal_call,
    whole,
)  # fmt: skip
from streamward.wire.responses.open_items import CallItem, MessageItem, OpenItem, ThoughtItem
from streamward.wire.responses.usage import usage_fields
from streamward.wire.upstream_status import TRUNCATED

END_MARKERS = {"cr": b": end\rdata: [DONE]\n\n", "plain": sse.DONE_FRAME, "off": b""}
"""``cr``: CR is a legal line end in SSE, so parsers see ``[DONE]``, while a reader that splits on LF and parses what
follows each ``data:`` sees a comment."""

EXTENSIONS = (
    Data, Metadata, ToolResult, ToolError, ToolDenied, ApprovalRequest, ApprovalResponse,
)  # fmt: skip


class Encoder:
    """Stage from events to frames; ``response`` is the latest snapshot, the final one after the terminal event."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.response = snapshot.base(context)
        self.sequence = 0
        self.output: list[Item] = []
        self.ids: set[str] = set()
        self.out: list[bytes] = []
        self.parts: dict[type[Any], dict[str, OpenItem]] = {
            TextDelta: {}, RefusalDelta: {}, ReasoningDelta: {}, ToolInputDelta: {},
        }  # fmt: skip
        self.ended: list[OpenItem] = []  # ended, not yet closed: the next event says whether they are complete
        self.sources: list[Item] = []  # annotations that came before any text
        self.vendor: dict[int, int] = {}  # output index upstream: ours
        self.called: set[str] = set()
        self.usage: Usage | None = None
        self.started = False
        self.done = False

    def feed(self, event: Event) -> list[bytes]:
        parts = self.parts.get(type(event))
        if parts is not None and not self.done:
            item: Any = event
            part = parts.get(item.id)
            if part is not None and part.hot and not self.ended:
                plain = type(event) is ToolInputDelta or item.extra is None
                if plain and item.delta and not (type(event) is TextDelta and event.logprobs):
                    return [self.delta(part, item.delta)]
        if self.done:
            return []
        if not self.started and type(event) is not Start:
            self.start(Start())
        handler = HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)
        elif isinstance(event, EXTENSIONS) and self.context.options.get("extensions"):
            self.extension(event)
        return self.take()

    def close(self) -> list[bytes]:
        """A stream without a terminal event was cut off: say so rather than leave the caller guessing."""
        if self.done:
            return []
        return self.feed(Error(TRUNCATED))

    def take(self) -> list[bytes]:
        frames, self.out = self.out, []
        return frames

    def emit(self, kind: str, fields: dict[str, Any]) -> None:
        event = {"type": kind, "sequence_number": self.sequence, **fields}
        try:
            data = encode(event)
        except UnicodeEncodeError:  # half of a surrogate pair, in content or in an echoed field
            data = escape_line_separators(json.dumps(event, ensure_ascii=False).encode("utf-8", "replace"))
        self.sequence += 1
        self.out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))

    def delta(self, part: OpenItem, delta: str) -> bytes:
        """The hot path: only the number and the JSON string differ from one delta of a part to the next."""
        number = self.sequence
        self.sequence = number + 1
        try:
            text = encode_compact(delta)
        except UnicodeEncodeError:  # half of a surrogate pair: no UTF-8 for it
            delta = delta.encode("utf-8", "replace").decode()
            text = encode_compact(delta)
        part.deltas.append(delta)
        if not text.isascii():
            text = escape_line_separators(text)
        return b"%b%d%b%b%b" % (part.head, number, part.middle, text, part.tail)

    # -- begin

    def start(self, event: Start) -> None:
        if self.started:
            return
        self.started = True
        self.response.update(snapshot.upstream_fields(event.extra, self.context.call))
        if self.context.options.get("queued"):
            queued = {"response": {**self.response, "status": "queued"}}
            self.emit("response.created", queued)
            self.emit("response.queued", queued)
        else:
            self.emit("response.created", {"response": self.response})
        self.emit("response.in_progress", {"response": self.response})

    def add(self, kind: str, wanted: Any = None) -> tuple[int, str]:
        """Output index and id of a new item; *wanted* is the upstream's id, kept when it is fresh."""
        self.flush()
        index = len(self.output)
        chosen = wanted if isinstance(wanted, str) and wanted else item_id(self.context.id, kind, index)
        if chosen in self.ids:
            chosen = item_id(self.context.id, kind, index)
        self.ids.add(chosen)
        self.output.append({})
        return index, chosen

    # -- messages

    def text_start(self, event: TextStart | RefusalStart) -> None:
        family = TextDelta if type(event) is TextStart else RefusalDelta
        extra = own(event.extra)
        item = self.continued(extra.get("id"))
        if item is None:
            index, name = self.add("message", extra.get("id"))
            item = MessageItem(index, name, extra.get("id"), extra.get("phase"))
            self.announce(item)
        item.open_part(self, refusal=family is RefusalDelta)
        self.parts[family][event.id] = item
        if family is TextDelta and self.sources:
            pending, self.sources = self.sources, []
            for source in pending:
                item.annotate(self, source)

    def continued(self, native_id: Any) -> MessageItem | None:
        """The message whose last part just ended, when the upstream says that the new part belongs to it too."""
        last = self.ended[-1] if self.ended else None
        if native_id is None or not isinstance(last, MessageItem) or last.native_id != native_id:
            return None
        self.ended.pop()
        self.flush()
        last.close_part(self)
        return last

    def text_delta(self, event: TextDelta | RefusalDelta) -> None:
        item = self.parts[type(event)].get(event.id)
        if isinstance(item, MessageItem):
            self.flush()
            if isinstance(event, TextDelta) and event.logprobs:
                item.delta_with_logprobs(self, event.delta, event.logprobs)
            elif event.delta:
                self.out.append(self.delta(item, event.delta))

    def text_end(self, event: TextEnd | RefusalEnd) -> None:
        self.end(self.parts[TextDelta if type(event) is TextEnd else RefusalDelta].pop(event.id, None))

    def source(self, event: Source) -> None:
        """An annotation of the text part it names, else of the latest one; before any text it waits for the first."""
        texts = self.parts[TextDelta]
        item = texts.get(event.part_id or "") or next(reversed(texts.values()), None)
        if item is None and self.ended and isinstance(self.ended[-1], MessageItem) and not self.ended[-1].refusal:
            item = self.ended[-1]
        if isinstance(item, MessageItem):
            item.annotate(self, annotation(event))
        else:
            self.sources.append(annotation(event))

    # -- reasoning

    def reasoning_start(self, event: ReasoningStart) -> None:
        index, name = self.add("reasoning", own(event.extra).get("id"))
        item = ThoughtItem(index, name, own(event.extra))
        self.parts[ReasoningDelta][event.id] = item
        self.announce(item)

    def reasoning_delta(self, event: ReasoningDelta) -> None:
        item = self.parts[ReasoningDelta].get(event.id)
        if not isinstance(item, ThoughtItem):
            return
        self.flush()
        if own(event.extra).get("break"):
            item.close_part(self)
        elif event.delta:
            item.open_part(self)
            self.out.append(self.delta(item, event.delta))

    def reasoning_end(self, event: ReasoningEnd) -> None:
        item = self.parts[ReasoningDelta].pop(event.id, None)
        if isinstance(item, ThoughtItem):
            item.end = event
        self.end(item)

    # -- tool calls

    def tool_start(self, event: ToolInputStart) -> None:
        extra = own(event.extra)
        index, name = self.add("function_call", extra.get("id"))
        item = CallItem(index, name, event.id, event.name, extra)
        self.called.add(event.id)
        self.parts[ToolInputDelta][event.id] = item
        self.announce(item)

    def tool_delta(self, event: ToolInputDelta) -> None:
        item = self.parts[ToolInputDelta].get(event.id)
        if item is not None and event.delta:
            self.flush()
            self.out.append(self.delta(item, event.delta))

    def tool_end(self, event: ToolInputEnd) -> None:
        item = self.parts[ToolInputDelta].pop(event.id, None)
        if isinstance(item, CallItem):
            item.signature = event.signature
        self.end(item)

    def tool_call(self, event: ToolCall) -> None:
        """A call that came whole, without its input being streamed before."""
        if event.id not in self.called:
            self.tool_start(ToolInputStart(event.id, event.name, extra=event.extra))
            text = event.input if isinstance(event.input, str) else encode_compact(event.input).decode()
            self.tool_delta(ToolInputDelta(event.id, text))
            self.tool_end(ToolInputEnd(event.id))

    # -- other items and events

    def file(self, event: File) -> None:
        native = own(event.extra).get("item")
        index = self.vendor.get(own(event.extra).get("output_index", -1))
        if isinstance(native, dict):
            item = {**native, "result": event.data}
        elif event.data is not None:
            item = image("", event.data, "completed")
        else:
            if self.context.options.get("extensions"):
                self.extension(event)
            return
        if index is None:
            index, item["id"] = self.add("image_generation_call", item.get("id"))
            self.emit("response.output_item.added", {
                "output_index": index, "item": {**item, "status": "in_progress", "result": None},
            })  # fmt: skip
        self.finish_item(index, item)

    def vendor_event(self, event: Vendor) -> None:
        """A frame of this dialect that the waist has no word for, with its numbers made ours."""
        payload = event.payload
        if event.dialect != NAME or not isinstance(payload, dict):
            return
        kind = payload.get("type")
        if not isinstance(kind, str) or not kind or not sse.FIELD_VALUE.fullmatch(kind):
            return
        fields = {name: value for name, value in payload.items() if name not in ("type", "sequence_number")}
        upstream_index, item = payload.get("output_index"), payload.get("item")
        if kind in ("response.output_item.added", "response.output_item.done") and isinstance(item, dict):
            self.vendor_item(kind, upstream_index, item)
            return
        self.flush()
        if isinstance(upstream_index, int):
            fields["output_index"] = self.vendor.get(upstream_index, upstream_index)
        self.emit(kind, fields)

    def vendor_item(self, kind: str, upstream_index: Any, item: Item) -> None:
        key = upstream_index if type(upstream_index) is int else -1
        index = self.vendor.get(key)
        if index is None:
            index, _ = self.add("item", item.get("id"))
            self.vendor[key] = index
            self.output[index] = item
            self.emit("response.output_item.added", {"output_index": index, "item": item})
        if kind == "response.output_item.done":
            self.flush()
            self.finish_item(index, item)

    def extension(self, event: Any) -> None:
        self.flush()
        tag = str(type(event).__struct_config__.tag)
        self.emit(f"streamward:{tag}", {"event": msgspec.to_builtins(event)})

    def usage_update(self, event: UsageUpdate) -> None:
        self.usage = event.usage

    # -- ending parts and items

    def announce(self, item: OpenItem) -> None:
        self.output[item.index] = item.begun()
        self.emit("response.output_item.added", {"output_index": item.index, "item": item.begun()})

    def end(self, item: OpenItem | None) -> None:
        if item is not None:
            item.hot = False
            self.ended.append(item)

    def flush(self) -> None:
        """Close what has ended: more came after it, so it was complete."""
        if self.ended:
            ended, self.ended = self.ended, []
            for item in ended:
                self.close_item(item, "completed")

    def close_item(self, item: OpenItem, status: str) -> None:
        item.close_part(self)
        self.finish_item(item.index, item.finished(status))
        if isinstance(item, CallItem) and item.signature is not None:
            index, name = self.add("reasoning")
            thought = reasoning(name, [], "completed", seal_call(item.call_id, item.signature))
            self.emit("response.output_item.added", {"output_index": index, "item": thought})
            self.finish_item(index, thought)

    def finish_item(self, index: int, item: Item) -> None:
        self.output[index] = item
        self.emit("response.output_item.done", {"output_index": index, "item": item})

    # -- endings

    def finish(self, event: Finish) -> None:
        fields = snapshot.finished(event.reason, event.raw_reason, self.completed_at(event))
        if fields["status"] == "failed":
            self.fail(Error(ErrorInfo(fields["error"]["code"], fields["error"]["message"], status=502), event.usage))
            return
        self.response.update(snapshot.upstream_fields(event.extra, self.context.call))
        self.close_all(last="completed" if fields["status"] == "completed" else "incomplete")
        self.rest(own(event.extra).get("items"))
        self.terminate("response." + fields["status"], fields, event.usage)

    def fail(self, event: Error) -> None:
        self.close_all(last="incomplete", all_cut=True)
        self.emit("error", errors.stream_error(event.error))
        self.terminate("response.failed", snapshot.failed(event.error), event.usage)

    def abort(self, event: Abort) -> None:
        self.close_all(last="incomplete", all_cut=True)
        self.terminate("response.incomplete", snapshot.cancelled(), event.usage)

    def close_all(self, *, last: str, all_cut: bool = False) -> None:
        """Close every item still open, in output order. Nobody can vouch for those that ended with a failure."""
        items = {item.index: item for parts in self.parts.values() for item in parts.values()}
        items.update({item.index: item for item in self.ended})
        self.ended = []
        for parts in self.parts.values():
            parts.clear()
        for index in sorted(items):
            final = index == len(self.output) - 1
            self.close_item(items[index], last if final or all_cut else "completed")
        if self.sources:  # sources of an answer without text
            pending, self.sources = self.sources, []
            index, name = self.add("message")
            item = MessageItem(index, name)
            self.announce(item)
            item.open_part(self)
            for source in pending:
                item.annotate(self, source)
            self.close_item(item, last)

    def rest(self, items: Any) -> None:
        """Items of a replayed reply that never came as events of their own."""
        if not isinstance(items, dict):
            return
        for upstream_index, item in items.items():
            if isinstance(item, dict) and int(upstream_index) not in self.vendor and item.get("id") not in self.ids:
                index, _ = self.add("item", item.get("id"))
                self.emit("response.output_item.added", {"output_index": index, "item": item})
                self.finish_item(index, item)

    def terminate(self, kind: str, fields: dict[str, Any], usage: Usage | None) -> None:
        self.response = {
            **self.response, **fields, "output": self.output, "usage": usage_fields(usage or self.usage),
        }  # fmt: skip
        self.emit(kind, {"response": self.response})
        marker = END_MARKERS.get(self.context.options.get("responses_done", "cr"), END_MARKERS["cr"])
        if marker:
            self.out.append(marker)
        self.done = True

    def completed_at(self, event: Finish) -> int:
        now = self.context.options.get("now")
        if callable(now):
            return int(now())
        stated = own(event.extra).get("response", {}).get("completed_at")
        return max(whole(stated) or 0, self.context.created)


def payload_of(frame: bytes) -> bytes | None:
    """The JSON event inside one of the encoder's frames (for WebSocket messages); ``None`` for the end marker."""
    head, found, rest = frame.partition(b"\ndata: ")
    return rest[:-2] if found and head.startswith(b"event: ") else None


HANDLERS: dict[type[Any], Any] = {
    Start: Encoder.start,
    TextStart: Encoder.text_start, TextDelta: Encoder.text_delta, TextEnd: Encoder.text_end,
    RefusalStart: Encoder.text_start, RefusalDelta: Encoder.text_delta, RefusalEnd: Encoder.text_end,
    ReasoningStart: Encoder.reasoning_start, ReasoningDelta: Encoder.reasoning_delta,
    ReasoningEnd: Encoder.reasoning_end,
    ToolInputStart: Encoder.tool_start, ToolInputDelta: Encoder.tool_delta, ToolInputEnd: Encoder.tool_end,
    ToolCall: Encoder.tool_call, Source: Encoder.source, File: Encoder.file, Vendor: Encoder.vendor_event,
    UsageUpdate: Encoder.usage_update, Finish: Encoder.finish, Error: Encoder.fail, Abort: Encoder.abort,
}  # fmt: skip
