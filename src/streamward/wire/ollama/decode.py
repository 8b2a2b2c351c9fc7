"""Ollama streaming: lines to events.

Every line is a ``ChatResponse`` with a piece of ``content`` or ``thinking``, or whole tool calls; the one with
``"done": true`` has reason and counts. A line ``{"error": ...}`` under a 200 is a failure.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Struct

from streamward.errors import ErrorInfo
from streamward.events import (
    Error,
    Event,
    File,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
)
from streamward.reply import Reply, collect
from streamward.wire import json_text
from streamward.wire.dialect import MAX_PARTS, MAX_TOOL_INPUT_BYTES, Profile
from streamward.wire.loose import as_dict, as_list, as_text
from streamward.wire.ollama.shapes import parse_finish, parse_time, parse_usage
from streamward.wire.sse import Frame
from streamward.wire.upstream_status import TOO_MANY_PARTS, TOOL_INPUT_TOO_LARGE, TRUNCATED, from_status, invalid

INVALID = invalid("an Ollama chat stream")
NOT_DIGIT = re.compile(r"\D")


class PlainMessage(Struct, forbid_unknown_fields=True, gc=False):
    content: str = ""
    thinking: str = ""
    role: str = ""


class PlainLine(Struct, forbid_unknown_fields=True, gc=False):
    """The line that makes up nearly all of a stream."""

    message: PlainMessage
    done: bool
    model: str = ""
    created_at: str = ""


decode_plain = msgspec.json.Decoder(PlainLine).decode


class Decoder:
    """Stage: frames to events. After its terminal event it ignores everything."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.started = False
        self.ended = False
        self.seed = "stream"
        self.parts = 0
        self.text_id: str | None = None
        self.thought_id: str | None = None
        self.call_ids: set[str] = set()

    def feed(self, item: Frame) -> list[Event]:
        if self.ended:
            return []
        if self.started:
            try:
                line = decode_plain(item.data)
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass
            else:
                if not line.done:
                    return self.plain(line.message)
        try:
            value = json_text.decode_answer(item.data)
        except (ValueError, RecursionError):
            return self.fail(INVALID)
        return self.line(value) if type(value) is dict else self.fail(INVALID)

    def close(self) -> list[Event]:
        if self.ended:
            return []
        if self.profile.ends_with == "eof" and self.started:
            return self.finish({})
        return self.fail(TRUNCATED)

    def fail(self, error: ErrorInfo) -> list[Event]:
        if self.ended:
            return []
        events = self.begin({})
        events.extend(self.close_parts())
        self.ended = True
        events.append(Error(error))
        return events

    def finish(self, value: dict[str, Any]) -> list[Event]:
        events = self.close_parts()
        self.ended = True
        reason, raw = parse_finish(as_text(value.get("done_reason")), called=bool(self.call_ids))
        events.append(Finish(reason, parse_usage(value), raw))
        return events

    def line(self, value: dict[str, Any]) -> list[Event]:
        """One response object."""
        if "error" in value:
            return self.fail(from_status(500))
        if "message" not in value and "done" not in value:
            return self.fail(INVALID)
        events = self.begin(value)
        message = as_dict(value.get("message"))
        self.text(as_text(message.get("thinking")), events, thought=True)
        self.text(as_text(message.get("content")), events, thought=False)
        for image in as_list(message.get("images")):
            if type(image) is str:
                events.extend(self.close_parts())
                events.append(File("image/png", data=image))
        for call in as_list(message.get("tool_calls")):
            if type(call) is dict and not self.ended:
                self.tool_call(call, events)
        if value.get("done") is True and not self.ended:
            events.extend(self.finish(value))
        return events

    def begin(self, value: dict[str, Any]) -> list[Event]:
        if self.started:
            return []
        self.started = True
        created = as_text(value.get("created_at"))
        self.seed = NOT_DIGIT.sub("", created) or "stream"
        return [Start(model=as_text(value.get("model")), created=parse_time(created))]

    def plain(self, message: PlainMessage) -> list[Event]:
        events: list[Event] = []
        self.text(message.thinking, events, thought=True)
        self.text(message.content, events, thought=False)
        return events

    def text(self, text: str, events: list[Event], *, thought: bool) -> None:
        if not text or self.ended:
            return
        if (self.thought_id if thought else self.text_id) is None and not self.open_part(events, thought=thought):
            return
        if thought and self.thought_id is not None:
            events.append(ReasoningDelta(self.thought_id, text))
        elif self.text_id is not None:
            events.append(TextDelta(self.text_id, text))

    def open_part(self, events: list[Event], *, thought: bool) -> bool:
        events.extend(self.close_parts())
        part_id = self.next_part(events)
        if part_id is None:
            return False
        if thought:
            self.thought_id = part_id
            events.append(ReasoningStart(part_id))
        else:
            self.text_id = part_id
            events.append(TextStart(part_id))
        return True

    def next_part(self, events: list[Event]) -> str | None:
        self.parts += 1
        if self.parts > MAX_PARTS:
            events.extend(self.fail(TOO_MANY_PARTS))
            return None
        return str(self.parts - 1)

    def close_parts(self) -> list[Event]:
        events: list[Event] = []
        if self.thought_id is not None:
            events.append(ReasoningEnd(self.thought_id))
            self.thought_id = None
        if self.text_id is not None:
            events.append(TextEnd(self.text_id))
            self.text_id = None
        return events

    def tool_call(self, call: dict[str, Any], events: list[Event]) -> None:
        """A whole call. Ids are missing from older servers: they are made from the stream's time and the place."""
        function = as_dict(call.get("function"))
        given = function.get("arguments")
        text = given if type(given) is str and given else json_text.encode_compact(as_dict(given)).decode()
        if len(text) > MAX_TOOL_INPUT_BYTES:
            events.extend(self.fail(TOOL_INPUT_TOO_LARGE))
            return
        events.extend(self.close_parts())
        if self.next_part(events) is None:
            return
        call_id = as_text(call.get("id"))
        if not call_id or call_id in self.call_ids:
            call_id = f"call_{self.seed}_{len(self.call_ids)}"
        self.call_ids.add(call_id)
        events.append(ToolInputStart(call_id, as_text(function.get("name"))))
        events.append(ToolInputDelta(call_id, text))
        events.append(ToolInputEnd(call_id))


def parse_reply(body: dict[str, Any], profile: Profile) -> Reply:
    """A whole answer is the one line of a stream that is done at once."""
    decoder = Decoder(profile)
    return collect([*decoder.line(body), *decoder.close()])
