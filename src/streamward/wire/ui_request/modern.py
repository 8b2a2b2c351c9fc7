"""UI messages of AI SDK 5, 6 and 7 (``parts`` with tool states) to canonical messages.

Follows ``convertToModelMessages``: one assistant message per step, a tool message after it for the outputs. Parts the
model has no use for (sources, steps, data parts without a converter, inputs cut off while streaming, and tools the
provider ran itself, whose results it has already spoken about) are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from streamward.call import Message, Part, Reasoning, Text, ToolOutput, ToolUse
from streamward.errors import InvalidRequest
from streamward.wire.ui_request.fields import Json, as_list, as_object, json_text, optional_text, text
from streamward.wire.ui_request.files import file_part

DENIED = "Tool call execution denied."

ConvertData = Callable[[Json], Part | None]


class Approval(Struct, frozen=True):
    """The user's answer to an approval request whose tool has not run yet."""

    id: str
    tool_call_id: str
    tool_name: str
    input: Any
    approved: bool
    reason: str | None = None


class Converter:
    """The conversion of one UI message; collects its canonical messages and what is still open in them."""

    def __init__(self, convert_data: ConvertData | None = None) -> None:
        self.convert_data = convert_data
        self.messages: list[Message] = []
        self.approvals: list[Approval] = []
        self.unanswered: list[str] = []
        """Ids of calls that have neither an output nor an approval."""
        self.undecided: list[str] = []
        """Those of them that wait for an approval."""

    def add(self, message: Json, param: str) -> None:
        role = text(message, "role", param)
        parts = [as_object(part, f"{param}.parts") for part in as_list(message.get("parts"), f"{param}.parts")]
        if role == "system":
            content = "".join(text(part, "text", param) for part in parts if part.get("type") == "text")
            self.messages.append(Message("system", (Text(content),)))
        elif role == "user":
            self.user(message, param)
        elif role == "assistant":
            block: list[tuple[str, Json]] = []
            for at, part in enumerate(parts):
                if part.get("type") in BLOCK_ENDS:
                    self.block(block)
                    block = []
                    if part["type"] == "steering-message":
                        self.user(part, f"{param}.parts[{at}]")
                else:
                    block.append((f"{param}.parts[{at}]", part))
            self.block(block)
        else:
            raise InvalidRequest(f"{param}.role: expected system, user or assistant, got {role!r}", param=f"{param}.role")

    def user(self, owner: Json, param: str) -> None:
        """A user message, or what the user threw in while the model was working (7, steering)."""
        parts = [as_object(part, f"{param}.parts") for part in as_list(owner.get("parts"), f"{param}.parts")]
        converted = [self.user_part(part, f"{param}.parts[{at}]") for at, part in enumerate(parts)]
        self.messages.append(Message("user", tuple(part for part in converted if part is not None)))

    def user_part(self, part: Json, param: str) -> Part | None:
        kind = text(part, "type", param)
        if kind == "text":
            return Text(text(part, "text", param))
        if kind == "file":
            return ui_file(part, param)
        return self.data_part(part, kind)

    def data_part(self, part: Json, kind: str) -> Part | None:
        return self.convert_data(part) if self.convert_data is not None and kind.startswith("data-") else None

    def block(self, block: list[tuple[str, Json]]) -> None:
        """One step: the assistant message, then the outputs of its tools."""
        parts: list[Part] = []
        outputs: list[ToolOutput] = []
        for param, part in block:
            kind = text(part, "type", param)
            if kind == "text":
                parts.append(Text(text(part, "text", param)))
            elif kind == "reasoning":
                parts.append(reasoning(part, param))
            elif kind == "file":
                parts.append(ui_file(part, param))
            elif kind == "dynamic-tool" or kind.startswith("tool-"):
                self.tool(part, kind, param, parts, outputs)
            elif (converted := self.data_part(part, kind)) is not None:
                parts.append(converted)
        if parts:
            self.messages.append(Message("assistant", tuple(parts)))
        if outputs:
            self.messages.append(Message("tool", tuple(outputs)))

    def tool(self, part: Json, kind: str, param: str, parts: list[Part], outputs: list[ToolOutput]) -> None:
        state = text(part, "state", param)
        if state == "input-streaming" or part.get("providerExecuted") is True:
            return
        call_id = text(part, "toolCallId", param)
        name = text(part, "toolName", param) if kind == "dynamic-tool" else kind.removeprefix("tool-")
        value = part.get("input")
        if value is None and state == "output-error":
            value = part.get("rawInput")
        signature = proof(part.get("callProviderMetadata"), SIGNATURES)
        parts.append(ToolUse(call_id, name, value if type(value) is str else json_text(value), signature))
        output = tool_output(part, state, call_id, name, param)
        if output is not None:
            outputs.append(output)
        if state == "approval-responded":
            answer = approval(part, call_id, name, value, param)
            self.approvals.append(answer)
            if not answer.approved:
                outputs.append(ToolOutput(call_id, answer.reason or DENIED, name, is_error=True))
        elif output is None:
            self.unanswered.append(call_id)
            if state == "approval-requested":
                self.undecided.append(call_id)


def tool_output(part: Json, state: str, call_id: str, name: str, param: str) -> ToolOutput | None:
    """What the model sees of a finished call: text as it is, everything else as JSON."""
    if state == "output-available":
        value = part.get("output")
        return ToolOutput(call_id, value if type(value) is str else json_text(value), name)
    if state == "output-error":
        return ToolOutput(call_id, text(part, "errorText", param), name, is_error=True)
    if state == "output-denied":
        reason = optional_text(as_object(part.get("approval") or {}, f"{param}.approval"), "reason")
        return ToolOutput(call_id, reason or DENIED, name, is_error=True)
    if state not in OPEN_STATES:
        raise InvalidRequest(f"{param}.state: {state[:40]!r} is no state of a tool part", param=f"{param}.state")
    return None


def approval(part: Json, call_id: str, name: str, value: Any, param: str) -> Approval:
    answer = as_object(part.get("approval"), f"{param}.approval")
    approved = answer.get("approved")
    if type(approved) is not bool:
        raise InvalidRequest(f"{param}.approval.approved: expected a boolean", param=f"{param}.approval.approved")
    approval_id = text(answer, "id", f"{param}.approval")
    return Approval(approval_id, call_id, name, value, approved, optional_text(answer, "reason"))


def ui_file(part: Json, param: str) -> Part:
    media_type = optional_text(part, "mediaType")
    return file_part(text(part, "url", param), media_type, optional_text(part, "filename"), param=f"{param}.url")


def reasoning(part: Json, param: str) -> Reasoning:
    """Earlier reasoning with what its provider wants back, whatever name that provider has for it."""
    metadata = part.get("providerMetadata")
    return Reasoning(
        text(part, "text", param),
        signature=proof(metadata, SIGNATURES),
        redacted=proof(metadata, ("redactedData",)),
        id=proof(metadata, ("itemId",)),
    )


def proof(metadata: Any, names: tuple[str, ...]) -> str | None:
    """The first string under one of *names* in the metadata of any provider."""
    if type(metadata) is not dict:
        return None
    for fields in metadata.values():
        if type(fields) is dict:
            for name in names:
                if type(fields.get(name)) is str:
                    return str(fields[name])
    return None


SIGNATURES = ("signature", "thoughtSignature", "reasoningEncryptedContent")
BLOCK_ENDS = frozenset(("step-start", "steering-message"))
OPEN_STATES = frozenset(("input-available", "approval-requested", "approval-responded"))
