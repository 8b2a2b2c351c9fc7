"""Rules of what ``useChat`` reads: the UI message stream (AI SDK 5 to 7) and the data stream (AI SDK 4).

The client's own checks are ``ui_message.Assembler`` and ``data_stream.Assembler``; what they refuse breaks the chat.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamward.wire import data_stream, ui_message
from streamward.wire.lint.finding import Finding, Rule, shown
from streamward.wire.lint.values import parsed
from streamward.wire.sse import DONE, Frame

UI_RULES = (
    Rule("ui-client-accepts", "a strict client takes every chunk: known types, valid fields, parts opened before fed"),
    Rule("ui-no-ids", "frames carry no `event:` or `id:`", "warning"),
    Rule("ui-start", "start is first and comes once"),
    Rule("ui-part-ids", "an id names one part of a step, which is closed before the step ends"),
    Rule("ui-steps", "start-step and finish-step come in pairs, with parts between them"),
    Rule("ui-tool-input", "a tool's input is available before its output"),
    Rule("ui-terminal", "finish or abort comes once, or an error says what failed; then [DONE]; nothing follows"),
)
DATA_RULES = (
    Rule("data-client-accepts", "every line is `code:JSON` of the protocol, in an order the client takes"),
    Rule("data-steps", "f begins a step before its content, e ends it"),
    Rule("data-tool-result", "a tool result follows its call"),
    Rule("data-terminal", "d comes once, after the last e, or 3 says what failed; no content follows"),
    Rule("data-last-line", "the last line is complete"),
)
UI_TERMINAL = frozenset({"finish", "abort"})


class UiRules:
    """Checks one UI message stream."""

    rules = UI_RULES

    def __init__(self) -> None:
        self.assembler = ui_message.Assembler()
        self.chunks = 0
        self.open: dict[str, str] = {}
        self.used: set[str] = set()
        self.inputs: set[str] = set()
        self.in_step = False
        self.stepped = False
        self.errored = False  # parts and steps are still closed after an error chunk, and finish may follow
        self.terminal = ""
        self.done = False

    def feed(self, number: int, frame: Frame) -> Iterator[Finding]:
        if self.done:
            yield Finding("ui-terminal", "a frame follows [DONE]", number)
            return
        if frame.data == DONE:
            self.done = True
            return
        if frame.event or frame.id:
            yield Finding("ui-no-ids", f"event {frame.event!r}, id {frame.id!r}", number)
        chunk = parsed(frame.data)
        kind = chunk.get("type") if isinstance(chunk, dict) else None
        # Outputs before the first step belong to a message that the stream continues, and that is not at hand here.
        if self.stepped or not (isinstance(kind, str) and kind.startswith("tool-output-")):
            refused = self.assembler.failure is not None
            self.assembler.feed_data(frame.data)
            if self.assembler.failure is not None and not refused:
                yield Finding("ui-client-accepts", self.assembler.failure, number)
        if not isinstance(kind, str):
            return
        if self.terminal:
            yield Finding("ui-terminal", f"{kind} follows {self.terminal}", number)
        if (self.chunks == 0) != (kind == "start") and kind != "error":
            yield Finding("ui-start", f"{kind} is first" if self.chunks == 0 else "a second start", number)
        self.chunks += 1
        yield from self.chunk(number, kind, chunk)

    def chunk(self, number: int, kind: str, chunk: dict[str, object]) -> Iterator[Finding]:
        family, _, step = kind.rpartition("-")
        if family in ("text", "reasoning"):
            key = f"{family} {chunk.get('id')}"
            if not self.in_step:
                yield Finding("ui-steps", f"{kind} outside a step", number)
            if step == "start":
                if key in self.used:
                    yield Finding("ui-part-ids", f"{key} is opened twice", number)
                self.used.add(key)
                self.open[key] = key
            elif step == "end":
                self.open.pop(key, None)
        elif kind == "start-step":
            if self.in_step:
                yield Finding("ui-steps", "start-step inside a step", number)
            self.in_step = self.stepped = True
            self.used.clear()
        elif kind == "finish-step":
            if not self.in_step:
                yield Finding("ui-steps", "finish-step without start-step", number)
            yield from self.left_open(number, kind)
            self.in_step = False
        elif kind in ("tool-input-available", "tool-input-error"):
            self.inputs.add(str(chunk.get("toolCallId")))
        elif kind in ("tool-output-available", "tool-output-error"):
            call = str(chunk.get("toolCallId"))
            # Before the first step: outputs of calls that an earlier turn made.
            if call not in self.inputs and self.in_step and self.assembler.find_tool(call) is None:
                yield Finding("ui-tool-input", f"{kind} for {shown(call)}", number)
        elif kind in UI_TERMINAL:
            self.terminal = kind
            if kind == "finish" and self.in_step:
                yield Finding("ui-steps", "finish inside a step", number)
            if kind == "finish":
                yield from self.left_open(number, kind)
        elif kind == "error":
            self.errored = True

    def left_open(self, number: int, kind: str) -> Iterator[Finding]:
        for key in () if self.errored else self.open:
            yield Finding("ui-part-ids", f"{kind} while {key} is open", number)
        self.open.clear()

    def close(self, *, cut: bool) -> Iterator[Finding]:
        how = "broke off" if cut else "ended"
        if not self.terminal and not self.errored:
            yield Finding("ui-terminal", f"the body {how} without finish, abort or error")
        elif not self.done and self.terminal:
            yield Finding("ui-terminal", f"the body {how} without [DONE]")


class DataRules:
    """Checks one data stream; a frame is a line."""

    rules = DATA_RULES

    def __init__(self) -> None:
        self.assembler = data_stream.Assembler()
        self.in_step = False
        self.steps = 0
        self.errored = False  # e and d may follow
        self.terminal = ""

    def feed(self, number: int, frame: Frame) -> Iterator[Finding]:
        try:
            part = data_stream.parse_part(frame.data.decode("utf-8", "replace"))
        except data_stream.PartError as exc:
            yield Finding("data-client-accepts", str(exc), number)
            return
        kind = part.type
        if self.terminal and kind not in ("data", "message_annotations"):
            yield Finding("data-terminal", f"{kind} follows {self.terminal}", number)
        if kind == "error":
            self.errored = True
            return
        refused = self.assembler.error is not None
        self.assembler.feed(part)
        if self.assembler.error is not None and not refused:
            rule = "data-tool-result" if kind == "tool_result" else "data-client-accepts"
            yield Finding(rule, self.assembler.error, number)
        if kind == "start_step":
            if self.in_step:
                yield Finding("data-steps", "f inside a step", number)
            self.in_step = True
            self.steps += 1
        elif kind == "finish_step":
            if not self.in_step:
                yield Finding("data-steps", "e without f", number)
            self.in_step = False
        elif kind == "finish_message":
            self.terminal = kind
            if self.in_step:
                yield Finding("data-terminal", "d inside a step", number)
        elif kind in ("text", "reasoning", "tool_call") and not self.in_step:
            yield Finding("data-steps", f"{kind} outside a step", number)

    def close(self, *, cut: bool) -> Iterator[Finding]:
        if not self.terminal and not self.errored:
            how = "broke off" if cut else "ended"
            yield Finding("data-terminal", f"the body {how} without d or 3")
