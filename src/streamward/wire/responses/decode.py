"""A Responses stream to events: Open Responses and OpenAI spellings, and what providers make of them.

Items are found by ``output_index`` (ids rotate at some providers), else by ``item_id``. Missing ``added`` events are
made up for, deltas that never came are taken from the ``done`` events, and when there was no item at all from the final
response. What the waist has no word for (hosted tools, unknown events) goes on as Vendor events. The stream is finished
when a terminal event says so, never because the body ended, unless the profile counts that as an ending.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from streamward.errors import ErrorInfo
from streamward.events import (
    Error,
    Event,
    Finish,
    FinishReason,
    Usage,
)  # fmt: skip
from streamward.wire import sse
from streamward.wire.dialect import Profile
from streamward.wire.json_text import decode_any
from streamward.wire.responses import errors
from streamward.wire.responses.decode_items import ItemReader
from streamward.wire.responses.decode_state import Line
from streamward.wire.responses.items import NAME, string, whole
from streamward.wire.responses.snapshot import response_extra
from streamward.wire.responses.usage import usage_of
from streamward.wire.upstream_status import TRUNCATED

NESTING_MARGIN = 200
"""What is read must be writable again from deeper in the call stack, inside an item inside a response: an event that
could be read only just is refused here, not met as a RecursionError by an encoder."""
NESTED = b"[" * NESTING_MARGIN + b"%b" + b"]" * NESTING_MARGIN

KEEP_ALIVES = frozenset({"keepalive", "ping", "response.keepalive", "heartbeat"})

read_line = msgspec.json.Decoder(Line).decode


class Decoder(ItemReader):
    """Stage from frames to events."""

    def __init__(self, profile: Profile) -> None:
        super().__init__()
        self.profile = profile
        self.ended = False

    def feed(self, frame: sse.Frame) -> list[Event]:
        data = frame.data
        if self.ended or not data or data == sse.DONE:
            return []
        try:
            line = read_line(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self.lenient(frame)
        kind = line.type
        if type(kind) is str and type(line.delta) is str:
            target = DELTAS.get(kind)
            if target is not None:
                hot = self.hot
                if hot is not None and hot.open and self.hot_key == (
                    kind, line.output_index, line.content_index, line.summary_index,
                ):  # fmt: skip
                    self.push(hot, line.delta, line.logprobs or None)
                    return self.take()
                self.delta(target, line)
                return self.take()
        try:
            # Reads in full what the line above skipped, so it may fail where that did not.
            value = decode_any(NESTED % data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self.lenient(frame)
        for _ in range(NESTING_MARGIN):
            value = value[0]
        return self.other(frame, value)

    def lenient(self, frame: sse.Frame) -> list[Event]:
        """JSON that only a lenient reader takes: half a surrogate pair, a huge number. Anything else ends the stream."""
        try:
            value = json.loads(frame.data.decode(), parse_constant=refuse_constant)
            json.loads(NESTED % frame.data)  # the margin, see there
        except (ValueError, RecursionError):
            return self.fail(errors.invalid("a frame is not valid JSON"))
        return self.other(frame, value)

    def other(self, frame: sse.Frame, value: Any) -> list[Event]:
        if type(value) is not dict:
            return self.fail(errors.invalid("a frame is not a JSON object"))
        kind = value.get("type")
        if type(kind) is not str:
            kind = "error" if value.get("error") else frame.event
            value = {**value, "type": kind}
        if kind in KEEP_ALIVES:
            return []
        if kind in DELTAS:
            if type(value.get("delta")) is str:
                self.delta(DELTAS[kind], Line(**{name: value.get(name) for name in Line.__struct_fields__}))
            return self.take()
        handler = HANDLERS.get(kind)
        if handler is None:
            self.vendor(value)
        else:
            handler(self, value)
        return self.take()

    def take(self) -> list[Event]:
        if self.bound is not None and not self.ended:
            self.broken(self.bound)
        out, self.out = self.out, []
        return out

    def close(self) -> list[Event]:
        if self.ended:
            return []
        if self.profile.ends_with == "eof" and self.started:
            self.end_parts()
            self.finish("unknown", None, None, {})
            return self.take()
        return self.fail(TRUNCATED)

    def fail(self, error: ErrorInfo) -> list[Event]:
        if not self.ended:
            self.broken(error)
        return self.take()

    def broken(self, error: ErrorInfo, usage: Usage | None = None) -> None:
        self.begin()
        self.end_parts()
        self.out.append(Error(error, usage))
        self.ended = True

    # -- the response

    def created(self, value: dict[str, Any]) -> None:
        self.begin(value.get("response"))

    def ignore(self, value: dict[str, Any]) -> None:
        self.begin(value.get("response"))

    def terminal(self, value: dict[str, Any]) -> None:
        """completed, incomplete, failed or done: the status inside decides, as some providers mix them up."""
        response = value.get("response")
        if not isinstance(response, dict):
            response = {}
        self.begin(response)
        usage = usage_of(value, response, self.profile)
        status = string(response.get("status")) or value["type"].rpartition(".")[2]
        kind = value["type"].rpartition(".")[2]
        self.reconcile(response.get("output"))
        if kind == "failed" or status == "failed":
            self.broken(errors.reported(response.get("error")), usage)
            return
        if any(item.kind == "function_call" and not item.parts for item in self.items.values()):
            self.broken(errors.invalid("a function call has no name"), usage)
            return
        if status == "cancelled":
            self.broken(CANCELLED, usage)
            return
        self.end_parts()
        details = response.get("incomplete_details")
        reason = string(details.get("reason")) if isinstance(details, dict) else ""
        if kind == "incomplete" or status == "incomplete":
            self.finish(REASONS.get(reason, "other"), reason or None, usage, response)
        elif status in ("completed", "done"):
            self.finish("tool-calls" if self.tool_calls else "stop", None, usage, response)
        else:
            self.broken(errors.invalid("it ends with a response that is not finished"), usage)

    def finish(self, reason: FinishReason, raw: str | None, usage: Usage | None, response: dict[str, Any]) -> None:
        extra: dict[str, Any] = {}
        kept = response_extra(response)
        if kept is not None:
            extra.update(kept[NAME])
        completed_at = whole(response.get("completed_at"))
        if completed_at is not None:
            extra["response"] = {**extra.get("response", {}), "completed_at": completed_at}
        if self.vendor_items:
            extra["items"] = self.vendor_items
        self.out.append(Finish(reason, usage, raw if raw not in CANONICAL else None, {NAME: extra} if extra else None))
        self.ended = True

    def error(self, value: dict[str, Any]) -> None:
        """Flat or nested. ``response.failed`` may follow; the first word about the failure is the last we pass on."""
        nested = value.get("error")
        self.broken(errors.reported(nested if isinstance(nested, dict) else value))

    def reconcile(self, output: Any) -> None:
        """Take from the final response what no event of the stream brought: all of it, or names of nameless calls."""
        if not isinstance(output, list):
            return
        nothing_came = not self.items and not self.vendor_items
        nameless = {key for key, item in self.items.items() if item.kind == "function_call" and not item.parts}
        for index, item in enumerate(output):
            if isinstance(item, dict) and (nothing_came or index in nameless):
                self.item_done({"type": "response.output_item.done", "output_index": index, "item": item}, final=True)

def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


CANCELLED = ErrorInfo("upstream_error", "the provider cancelled the response", status=502, safe_to_retry=True)

REASONS: dict[str, FinishReason] = {
    "max_output_tokens": "length", "max_tokens": "length", "content_filter": "content-filter", "length": "length",
}  # fmt: skip
CANONICAL = frozenset({"max_output_tokens", "content_filter"})

DELTAS: dict[str, tuple[str, str]] = {
    "response.output_text.delta": ("text", "content_index"),
    "response.refusal.delta": ("refusal", "content_index"),
    "response.reasoning_summary_text.delta": ("reasoning", "summary_index"),
    "response.reasoning_text.delta": ("reasoning", "content_index"),
    "response.reasoning.delta": ("reasoning", "content_index"),
    "response.function_call_arguments.delta": ("tool", ""),
}

HANDLERS: dict[str, Any] = {
    "response.created": Decoder.created, "response.queued": Decoder.ignore, "response.in_progress": Decoder.ignore,
    "response.output_item.added": Decoder.item_added, "response.output_item.done": Decoder.item_done,
    "response.content_part.added": Decoder.part_added, "response.content_part.done": Decoder.part_done,
    "response.output_text.done": Decoder.text_done, "response.refusal.done": Decoder.text_done,
    "response.output_text.annotation.added": Decoder.annotation_added,
    "response.reasoning_summary_part.added": Decoder.ignore, "response.reasoning_summary_part.done": Decoder.ignore,
    "response.reasoning_summary_text.done": Decoder.reasoning_done, "response.reasoning_text.done": Decoder.reasoning_done,
    "response.reasoning.done": Decoder.reasoning_done,
    "response.function_call_arguments.done": Decoder.arguments_done,
    "response.completed": Decoder.terminal, "response.incomplete": Decoder.terminal,
    "response.failed": Decoder.terminal, "response.done": Decoder.terminal, "response.cancelled": Decoder.terminal,
    "error": Decoder.error,
}  # fmt: skip
