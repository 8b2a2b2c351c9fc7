"""The UI message stream as a client shows it: SSE to chunks to a UIMessage (AI SDK 5, 6 and 7)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec

from streamward.wire import json_text, sse
from streamward.wire.partial_json import PartialJson
from streamward.wire.ui_message.frames import Json
from streamward.wire.ui_message.versions import Number

ABSENT: Any = object()
"""A field that is not there, where JavaScript says undefined."""


class Assembler:
    """Builds the assistant message from chunks. Once ``failure`` is set, nothing more is taken.

    *message* is the assistant message that the stream continues, if it continues one; a ``start`` with another id
    begins a new message. An ``error`` chunk is kept in ``errors`` and does not stop the assembly.
    """

    def __init__(self, message: Json | None = None, *, version: Number = 7, message_id: str = "") -> None:
        self.version = version
        continued = message is not None and message.get("role") == "assistant"
        self.built: Json = copy.deepcopy(message or {}) if continued else new_message(message_id)
        self.texts: dict[tuple[str, str], tuple[Json, list[str]]] = {}  # open text and reasoning parts
        self.inputs: dict[str, tuple[PartialJson, list[str], Json]] = {}
        self.shown = False
        self.finish_reason: str | None = None
        self.ended = False
        """A ``finish``, ``abort`` or ``error`` came: the stream was not cut off."""
        self.aborted = False
        self.errors: list[str] = []
        self.failure: str | None = None
        """Why the client gives up: a chunk that does not fit what came before."""

    @property
    def error(self) -> str | None:
        """The first thing that went wrong."""
        return self.errors[0] if self.errors else self.failure

    @property
    def message(self) -> Json | None:
        """A copy of the message so far; ``None`` before there is anything to show."""
        if not self.shown:
            return None
        self.settle()
        return copy.deepcopy(self.built)

    def feed_data(self, data: bytes) -> None:
        """Take the data of one SSE frame; the end marker is nothing."""
        if self.failure is not None or not data or data == sse.DONE:
            return
        try:
            chunk = json_text.decode_answer(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            self.failure = f"JSON parsing failed: {exc}"
            return
        self.feed(chunk)

    def feed(self, chunk: Any) -> None:
        """Take one chunk, the JSON object of one frame."""
        if self.failure is not None:
            return
        kind = chunk.get("type") if type(chunk) is dict else None
        if type(kind) is not str:
            self.failure = "a chunk must be an object with a type"
            return
        handler = HANDLERS.get(kind)
        if handler is None and not kind.startswith("data-"):
            self.failure = f"Type validation failed: unknown chunk type {kind!r}"
            return
        missing = [name for name in STRINGS.get(kind, ()) if type(chunk.get(name)) is not str]
        missing += [name for name in REQUIRED.get(kind, ()) if name not in chunk]
        if missing:
            self.failure = f"Type validation failed: {kind} without a valid {missing[0]}"
            return
        shows = handler(self, chunk) if handler is not None else self.data(chunk)
        self.shown = self.shown or shows

    def settle(self) -> None:
        """Join what was collected in pieces."""
        for part, pieces in self.texts.values():
            if len(pieces) > 1:
                pieces[:] = ["".join(pieces)]
            part["text"] = pieces[0]
        for parser, pieces, part in self.inputs.values():
            if part["state"] == "input-streaming" and pieces:
                pieces[:] = ["".join(pieces)]
                part["rawInput"] = pieces[0]
                put(part, "input", ABSENT if parser.state == "failed-parse" else parser.value)

    # -- text and reasoning

    def text_start(self, chunk: Json) -> bool:
        family = chunk["type"].partition("-")[0]
        part: Json = {"type": family, "text": "", "state": "streaming"}
        if family == "reasoning":
            part["id"] = chunk["id"]
        put(part, "providerMetadata", chunk.get("providerMetadata", ABSENT))
        self.texts[family, chunk["id"]] = (part, [""])
        self.built["parts"].append(part)
        return True

    def text_delta(self, chunk: Json) -> bool:
        found = self.open_text(chunk)
        if found is None:
            return False
        part, pieces = found
        pieces.append(chunk["delta"])
        part["providerMetadata"] = chunk.get("providerMetadata") or part.get("providerMetadata")
        if part["providerMetadata"] is None:
            del part["providerMetadata"]
        return True

    def text_end(self, chunk: Json) -> bool:
        found = self.open_text(chunk)
        if found is None:
            return False
        part, pieces = found
        part["text"] = "".join(pieces)
        part["state"] = "done"
        for name in ("citations", "providerMetadata"):
            if chunk.get(name) is not None:
                part[name] = chunk[name]
        del self.texts[part["type"], chunk["id"]]
        return True

    def open_text(self, chunk: Json) -> tuple[Json, list[str]] | None:
        kind, part_id = chunk["type"], chunk["id"]
        family = kind.partition("-")[0]
        found = self.texts.get((family, part_id))
        if found is None:
            self.failure = (
                f'Received {kind} for missing {family} part with ID "{part_id}". '
                f'Ensure a "{family}-start" chunk is sent before any "{kind}" chunks.'
            )
        return found

    # -- tools

    def tool_input_start(self, chunk: Json) -> bool:
        part = self.tool_part(chunk, "input-streaming")
        self.inputs[chunk["toolCallId"]] = (PartialJson(), [], part)
        return True

    def tool_input_delta(self, chunk: Json) -> bool:
        call_id = chunk["toolCallId"]
        found = self.inputs.get(call_id)
        if found is None:
            self.failure = (
                f'Received tool-input-delta for missing tool call with ID "{call_id}". '
                'Ensure a "tool-input-start" chunk is sent before any "tool-input-delta" chunks.'
            )
            return False
        found[0].feed(chunk["inputTextDelta"])
        found[1].append(chunk["inputTextDelta"])
        return True

    def tool_input_available(self, chunk: Json) -> bool:
        self.tool_part(chunk, "input-available", input=chunk["input"])
        return True

    def tool_input_error(self, chunk: Json) -> bool:
        value = chunk.get("input", ABSENT)
        fields = {"input": value}
        part = self.find_tool(chunk["toolCallId"], current_step=True)
        dynamic = chunk.get("dynamic") is True if part is None else part["type"] == "dynamic-tool"
        if self.version < 7 and not dynamic:
            fields = {"rawInput": value}
        self.tool_part(chunk, "output-error", errorText=chunk["errorText"], **fields)
        return True

    def tool_part(self, chunk: Json, state: str, **fields: Any) -> Json:
        """The part of a call in the current step, made if it is not there, in its new *state*."""
        dynamic = chunk.get("dynamic") is True
        kind = "dynamic-tool" if dynamic else f"tool-{chunk['toolName']}"
        part = self.find_tool(chunk["toolCallId"], current_step=True)
        if part is None:
            part = {"type": kind, "toolCallId": chunk["toolCallId"]}
            if dynamic:
                part["toolName"] = chunk["toolName"]
            self.built["parts"].append(part)
        self.change(part, chunk, state, fields)
        return part

    def change(self, part: Json, chunk: Json, state: str, fields: Json) -> None:
        part["state"] = state
        for name in ("input", "output", "errorText", "rawInput", "preliminary"):
            put(part, name, fields.get(name, ABSENT))
        put(part, "inputEncoding", chunk.get("inputEncoding", ABSENT))
        for name in ("title", "toolMetadata", "providerExecuted"):
            if chunk.get(name) is not None:
                part[name] = chunk[name]
        if chunk.get("providerMetadata") is not None:
            result = self.version > 5 and state in ("output-available", "output-error")
            if result or state != "output-available":
                part["resultProviderMetadata" if result else "callProviderMetadata"] = chunk["providerMetadata"]

    def find_tool(self, call_id: str, *, current_step: bool = False) -> Json | None:
        """The tool part of a call: the last one, in this step only if so said."""
        part: Json
        for part in reversed(self.built["parts"]):
            if is_tool(part) and part["toolCallId"] == call_id:
                return part
            if current_step and part["type"] == "step-start":
                return None
        return None

    def known_tool(self, chunk: Json) -> Json | None:
        call_id = chunk["toolCallId"]
        part = self.find_tool(call_id)
        if part is None:
            self.failure = f'No tool invocation found for tool call ID "{call_id}".'
            if self.version == 5:
                self.failure = "tool-output-error must be preceded by a tool-input-available"
        return part

    def tool_output_available(self, chunk: Json) -> bool:
        part = self.known_tool(chunk)
        if part is not None:
            fields = {"input": part.get("input", ABSENT), "output": chunk["output"]}
            self.change(part, chunk, "output-available", {**fields, "preliminary": chunk.get("preliminary", ABSENT)})
        return part is not None

    def tool_output_error(self, chunk: Json) -> bool:
        part = self.known_tool(chunk)
        if part is not None:
            fields = {"input": part.get("input", ABSENT), "errorText": chunk["errorText"]}
            if part["type"] != "dynamic-tool":
                fields["rawInput"] = part.get("rawInput", ABSENT)
            self.change(part, chunk, "output-error", fields)
        return part is not None

    def tool_output_denied(self, chunk: Json) -> bool:
        part = self.known_tool(chunk)
        if part is not None:
            part["state"] = "output-denied"
        return part is not None

    def approval_request(self, chunk: Json) -> bool:
        part = self.known_tool(chunk)
        if part is None:
            return False
        part["state"] = "approval-requested"
        part["approval"] = {"id": chunk["approvalId"]}
        for name, own_name in APPROVAL_FIELDS.items():
            if chunk.get(name) is not None:
                part["approval"][own_name] = chunk[name]
        return True

    def approval_response(self, chunk: Json) -> bool:
        for part in self.built["parts"]:
            if is_tool(part) and part.get("approval", {}).get("id") == chunk["approvalId"]:
                part["state"] = "approval-responded"
                part["approval"]["approved"] = chunk["approved"]
                if chunk.get("reason") is not None:
                    part["approval"]["reason"] = chunk["reason"]
                return True
        self.failure = f'No tool invocation found for approval ID "{chunk["approvalId"]}".'
        return False

    # -- the rest

    def plain(self, chunk: Json) -> bool:
        """A chunk that is its own part: files, sources, custom parts, steering messages."""
        self.built["parts"].append({name: value for name, value in chunk.items() if value is not None})
        return True

    def data(self, chunk: Json) -> bool:
        if chunk.get("transient") is True:
            return False
        if chunk.get("id") is not None:
            for part in self.built["parts"]:
                if part["type"] == chunk["type"] and part.get("id") == chunk["id"]:
                    part["data"] = chunk.get("data")
                    return True
        self.built["parts"].append(dict(chunk))
        return True

    def start(self, chunk: Json) -> bool:
        message_id = chunk.get("messageId")
        if message_id is not None:
            if message_id != self.built["id"] and self.shown:
                self.built = new_message(message_id)
                self.texts, self.inputs = {}, {}
            self.built["id"] = message_id
        return self.metadata(chunk) or message_id is not None

    def metadata(self, chunk: Json) -> bool:
        metadata = chunk.get("messageMetadata")
        if metadata is None:
            return False
        self.built["metadata"] = merged(self.built.get("metadata"), metadata)
        return True

    def step_start(self, _chunk: Json) -> bool:
        self.built["parts"].append({"type": "step-start"})
        return False

    def step_finish(self, _chunk: Json) -> bool:
        return False

    def step_reset(self, _chunk: Json) -> bool:
        """The model call is tried again: forget what it had said."""
        parts = self.built["parts"]
        self.texts, self.inputs = {}, {}
        length = len(parts)
        while parts and parts[-1]["type"] != "step-start":
            parts.pop()
        return len(parts) < length

    def finish(self, chunk: Json) -> bool:
        self.ended = True
        self.finish_reason = chunk.get("finishReason") or self.finish_reason
        return self.metadata(chunk)

    def abort(self, _chunk: Json) -> bool:
        self.ended = self.aborted = True
        return False

    def failed(self, chunk: Json) -> bool:
        self.ended = True
        self.errors.append(chunk["errorText"])
        return False


def read(wire: bytes, message: Json | None = None, *, version: Number = 7) -> Assembler:
    """The message that a whole body builds; ``error`` when the client would have shown one."""
    reader = sse.Reader(flush_at_end=True)
    assembler = Assembler(message, version=version)
    for frame in [*reader.feed(wire), *reader.close()]:
        assembler.feed_data(frame.data)
    return assembler


def new_message(message_id: str) -> Json:
    return {"id": message_id, "role": "assistant", "parts": []}


def is_tool(part: Json) -> bool:
    kind: str = part["type"]
    return kind == "dynamic-tool" or kind.startswith("tool-")


def put(part: Json, name: str, value: Any) -> None:
    """Set a field, or take it away."""
    if value is ABSENT:
        part.pop(name, None)
    else:
        part[name] = value


def merged(base: Any, changes: Any) -> Any:
    """Objects merged at every depth; anything else is replaced. Depth is that of the decoded JSON."""
    if type(base) is not dict or type(changes) is not dict:
        return changes
    result = dict(base)
    for name, value in changes.items():
        if name not in ("__proto__", "constructor", "prototype"):
            result[name] = merged(base.get(name), value)
    return result


APPROVAL_FIELDS = {
    "approvalDescriptor": "descriptor", "inputSchemaInput": "inputSchemaInput", "reason": "requestReason",
    "isAutomatic": "isAutomatic", "signature": "signature",
}  # fmt: skip

HANDLERS: dict[str, Callable[[Assembler, Json], bool]] = {
    "start": Assembler.start, "start-step": Assembler.step_start, "finish-step": Assembler.step_finish,
    "reset-step": Assembler.step_reset, "finish": Assembler.finish, "abort": Assembler.abort, "error": Assembler.failed,
    "message-metadata": Assembler.metadata, "text-start": Assembler.text_start, "text-delta": Assembler.text_delta,
    "text-end": Assembler.text_end, "reasoning-start": Assembler.text_start, "reasoning-delta": Assembler.text_delta,
    "reasoning-end": Assembler.text_end, "tool-input-start": Assembler.tool_input_start,
    "tool-input-delta": Assembler.tool_input_delta, "tool-input-available": Assembler.tool_input_available,
    "tool-input-error": Assembler.tool_input_error, "tool-output-available": Assembler.tool_output_available,
    "tool-output-error": Assembler.tool_output_error, "tool-output-denied": Assembler.tool_output_denied,
    "tool-approval-request": Assembler.approval_request, "tool-approval-response": Assembler.approval_response,
    "source-url": Assembler.plain, "source-document": Assembler.plain, "file": Assembler.plain,
    "reasoning-file": Assembler.plain, "custom": Assembler.plain, "steering-message": Assembler.plain,
}  # fmt: skip

TOOL = ("toolCallId",)
STRINGS: dict[str, tuple[str, ...]] = {
    "text-start": ("id",), "text-delta": ("id", "delta"), "text-end": ("id",),
    "reasoning-start": ("id",), "reasoning-delta": ("id", "delta"), "reasoning-end": ("id",), "error": ("errorText",),
    "tool-input-start": (*TOOL, "toolName"), "tool-input-delta": (*TOOL, "inputTextDelta"),
    "tool-input-available": (*TOOL, "toolName"), "tool-input-error": (*TOOL, "toolName", "errorText"),
    "tool-output-available": TOOL, "tool-output-error": (*TOOL, "errorText"), "tool-output-denied": TOOL,
    "tool-approval-request": (*TOOL, "approvalId"), "tool-approval-response": ("approvalId",),
    "source-url": ("sourceId", "url"), "source-document": ("sourceId", "mediaType", "title"),
    "file": ("url", "mediaType"), "reasoning-file": ("url", "mediaType"), "custom": ("kind",),
}  # fmt: skip
"""Fields that must be there and be strings."""

REQUIRED: dict[str, tuple[str, ...]] = {
    "tool-input-available": ("input",), "tool-output-available": ("output",), "tool-approval-response": ("approved",),
}  # fmt: skip
"""Fields that must be there, of any type."""
