"""The data stream as ``useChat`` of AI SDK 4 shows it: lines to parts to a message."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeAlias

from streamward.wire.data_stream.parse import NAN, Part, PartError, parse_part
from streamward.wire.partial_json import PartialJson

Json: TypeAlias = dict[str, Any]

MAX_LINE_BYTES = 8 << 20
"""Bound of one line: a generated file in base64 is the largest part there is."""


class Lines:
    """Stage from bytes in reads of any size to whole lines; empty ones (keep-alives) are dropped."""

    def __init__(self, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self.max_line_bytes = max_line_bytes
        self.tail: list[bytes] = []
        self.tail_bytes = 0
        self.too_long = False

    def feed(self, item: bytes) -> list[str]:
        if self.too_long:
            return []
        *whole, rest = item.split(b"\n")
        if whole:
            whole[0] = b"".join((*self.tail, whole[0]))
            self.tail, self.tail_bytes = [], 0
        if rest:
            self.tail.append(rest)
            self.tail_bytes += len(rest)
            self.too_long = self.tail_bytes > self.max_line_bytes
        return [line.decode("utf-8", "replace") for line in whole if line]

    def close(self) -> list[str]:
        """What stands after the last line feed; the client parses it too, and fails if it is half a line."""
        return [b"".join(self.tail).decode("utf-8", "replace")] if self.tail and not self.too_long else []


class Assembler:
    """Builds the assistant message from parts. Once ``error`` is set, nothing more is taken.

    *message* is the assistant message that the stream continues, if it continues one.
    """

    def __init__(self, message: Json | None = None, *, message_id: str = "") -> None:
        continued = message is not None and message.get("role") == "assistant"
        if continued:
            self.built: Json = copy.deepcopy(message or {})
            steps = [invocation.get("step") or 0 for invocation in self.built.get("toolInvocations") or []]
            self.step = 1 + max(steps, default=0)
        else:
            self.built = {"id": message_id, "role": "assistant", "content": "", "parts": []}
            self.step = 0
        self.continued = continued
        self.content: list[str] = [self.built.get("content") or ""]
        self.reasoning: list[str] = [self.built["reasoning"]] if "reasoning" in self.built else []
        self.text_part: Json | None = None
        self.reasoning_part: Json | None = None
        self.detail: Json | None = None
        self.inputs: dict[str, tuple[PartialJson, int, str]] = {}
        self.data: list[Any] = []
        self.shown = False
        self.finish_reason = "unknown"
        self.usage: dict[str, int | float] = {"promptTokens": NAN, "completionTokens": NAN}
        self.finished = False
        self.error: str | None = None

    def feed_line(self, line: str) -> None:
        """Take one line; one that is none of the protocol sets ``error``."""
        if self.error is None:
            try:
                part = parse_part(line)
            except PartError as exc:
                self.error = str(exc)
                return
            self.feed(part)

    def feed(self, part: Part) -> None:
        if self.error is None:
            HANDLERS[part.type](self, part.value)
            self.shown = self.shown or part.type in SHOWN

    @property
    def message(self) -> Json | None:
        """A copy of the message so far; ``None`` before there is anything to show."""
        if not self.shown:
            return None
        self.settle()
        return copy.deepcopy(self.built)

    def settle(self) -> None:
        """Join what was collected in pieces."""
        self.built["content"] = joined(self.content)
        if self.reasoning:
            self.built["reasoning"] = joined(self.reasoning)
        for part in self.built["parts"]:
            if part["type"] == "text":
                part["text"] = whole(part["text"])
            elif part["type"] == "reasoning":
                part["reasoning"] = whole(part["reasoning"])
                for detail in part["details"]:
                    if "text" in detail:
                        detail["text"] = whole(detail["text"])

    # -- one method per part

    def text(self, value: str) -> None:
        if self.text_part is None:
            self.text_part = {"type": "text", "text": Pieces()}
            self.built["parts"].append(self.text_part)
        add(self.text_part, "text", value)
        self.content.append(value)

    def reason(self, value: str) -> None:
        if self.reasoning_part is None:
            self.reasoning_part = {"type": "reasoning", "reasoning": Pieces(), "details": []}
            self.built["parts"].append(self.reasoning_part)
        if self.detail is None:
            self.detail = {"type": "text", "text": Pieces()}
            self.reasoning_part["details"].append(self.detail)
        add(self.detail, "text", value)
        add(self.reasoning_part, "reasoning", value)
        self.reasoning.append(value)

    def signature(self, value: Json) -> None:
        if self.detail is not None:
            self.detail["signature"] = value["signature"]

    def redacted(self, value: Json) -> None:
        if self.reasoning_part is None:
            self.reasoning_part = {"type": "reasoning", "reasoning": Pieces(), "details": []}
            self.built["parts"].append(self.reasoning_part)
        self.reasoning_part["details"].append({"type": "redacted", "data": value["data"]})
        self.detail = None

    def file(self, value: Json) -> None:
        self.built["parts"].append({"type": "file", "mimeType": value["mimeType"], "data": value["data"]})

    def source(self, value: Json) -> None:
        self.built["parts"].append({"type": "source", "source": value})

    def call_start(self, value: Json) -> None:
        self.inputs[value["toolCallId"]] = (PartialJson(), self.step, value["toolName"])
        self.invocation({"state": "partial-call", "step": self.step, **value})

    def call_delta(self, value: Json) -> None:
        call_id = value["toolCallId"]
        if call_id not in self.inputs:
            self.error = f'tool_call_delta for a call "{call_id}" that was not started'
            return
        parser, step, name = self.inputs[call_id]
        parser.feed(value["argsTextDelta"])
        invocation: Json = {"state": "partial-call", "step": step, "toolCallId": call_id, "toolName": name}
        if parser.state != "failed-parse":
            invocation["args"] = parser.value
        self.invocation(invocation)

    def call(self, value: Json) -> None:
        self.inputs.pop(value["toolCallId"], None)
        self.invocation({"state": "call", "step": self.step, **value})

    def result(self, value: Json) -> None:
        invocations = self.built.get("toolInvocations")
        if invocations is None:
            self.error = "tool_result must be preceded by a tool_call"
            return
        for invocation in invocations:
            if invocation["toolCallId"] == value["toolCallId"]:
                self.invocation({**invocation, "state": "result", **value})
                return
        self.error = "tool_result must be preceded by a tool_call with the same toolCallId"

    def invocation(self, invocation: Json) -> None:
        """Put or replace a tool invocation, in its list and in the parts."""
        invocations = self.built.setdefault("toolInvocations", [])
        same = [at for at, other in enumerate(invocations) if other["toolCallId"] == invocation["toolCallId"]]
        if same:
            invocations[same[0]] = invocation
        else:
            invocations.append(invocation)
        for part in self.built["parts"]:
            if part["type"] == "tool-invocation" and (part["toolInvocation"]["toolCallId"] == invocation["toolCallId"]):
                part["toolInvocation"] = invocation
                return
        self.built["parts"].append({"type": "tool-invocation", "toolInvocation": invocation})

    def datum(self, value: list[Any]) -> None:
        self.data.extend(value)

    def annotations(self, value: list[Any]) -> None:
        self.built["annotations"] = [*self.built.get("annotations", []), *value]

    def step_finish(self, value: Json) -> None:
        self.step += 1
        if not value["isContinued"]:
            self.text_part = None
        self.reasoning_part = self.detail = None

    def step_start(self, value: Json) -> None:
        if not self.continued:
            self.built["id"] = value["messageId"]
        self.built["parts"].append({"type": "step-start"})

    def message_finish(self, value: Json) -> None:
        self.finished = True
        self.finish_reason = value["finishReason"]
        self.usage = value.get("usage", self.usage)

    def failed(self, value: str) -> None:
        self.error = value


class Pieces(list[str]):
    """Text in the making: its fragments, joined once when the message is asked for."""


def add(owner: Json, name: str, piece: str) -> None:
    if type(owner[name]) is str:
        owner[name] = Pieces((owner[name],))
    owner[name].append(piece)


def whole(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def joined(pieces: list[str]) -> str:
    """The text of *pieces*, which then hold it as one."""
    if len(pieces) > 1:
        pieces[:] = ["".join(pieces)]
    return pieces[0] if pieces else ""


def read(wire: bytes, message: Json | None = None) -> Assembler:
    """The message that a whole body builds; ``error`` when the client would have failed."""
    lines, assembler = Lines(), Assembler(message)
    for line in [*lines.feed(wire), *lines.close()]:
        assembler.feed_line(line)
    return assembler


HANDLERS: dict[str, Callable[[Assembler, Any], None]] = {
    "text": Assembler.text, "reasoning": Assembler.reason, "reasoning_signature": Assembler.signature,
    "redacted_reasoning": Assembler.redacted, "file": Assembler.file, "source": Assembler.source,
    "tool_call_streaming_start": Assembler.call_start, "tool_call_delta": Assembler.call_delta,
    "tool_call": Assembler.call, "tool_result": Assembler.result, "data": Assembler.datum,
    "message_annotations": Assembler.annotations, "finish_step": Assembler.step_finish,
    "start_step": Assembler.step_start, "finish_message": Assembler.message_finish, "error": Assembler.failed,
}  # fmt: skip

SHOWN = frozenset(HANDLERS) - {"reasoning_signature", "finish_step", "finish_message", "error"}
"""Parts after which the client shows the message."""
