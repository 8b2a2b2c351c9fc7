"""Messages of AI SDK 2, 3 and 4 to canonical messages.

Version 4 has ``content`` and ``parts``, 3.4 ``content`` and ``toolInvocations``, 2 the OpenAI form with
``function_call`` and ``tool_calls``. Follows ``convertToCoreMessages``; version 2 had no conversion at all.
"""

from __future__ import annotations

from typing import Any

from streamward.call import Message, Part, Reasoning, Text, ToolOutput, ToolUse
from streamward.errors import InvalidRequest
from streamward.wire.ui_request.fields import Json, as_list, as_object, json_text, optional_text, text
from streamward.wire.ui_request.files import attachment_part, file_part


def convert(message: Json, param: str, *, last: bool, version: int) -> list[Message]:
    """The canonical messages of one UI message; *last* when it is the last one posted."""
    role = text(message, "role", param)
    if role == "data":
        return []
    if role == "system":
        return [Message("system", (Text(text(message, "content", param)),))]
    if role == "user":
        return [user(message, param)]
    if role == "assistant":
        if message.get("parts") is not None:
            return assistant_parts(message, param)
        if message.get("toolInvocations"):
            return assistant_invocations(message, param, last=last, version=version)
        return [assistant_plain(message, param)]
    if role in ("function", "tool"):
        name = optional_text(message, "name")
        call_id = optional_text(message, "tool_call_id") or name or ""
        return [Message("tool", (ToolOutput(call_id, content_text(message, param), name),))]
    raise InvalidRequest(f"{param}.role: unsupported role {role[:40]!r}", param=f"{param}.role")


def user(message: Json, param: str) -> Message:
    parts: list[Part] = []
    if message.get("parts") is not None:
        for at, part in enumerate(as_list(message["parts"], f"{param}.parts")):
            if as_object(part, f"{param}.parts[{at}]").get("type") == "text":
                parts.append(Text(text(part, "text", f"{param}.parts[{at}]")))
    else:
        parts.append(Text(content_text(message, param)))
    attachments = message.get("experimental_attachments")
    if attachments is not None:
        where = f"{param}.experimental_attachments"
        for at, item in enumerate(as_list(attachments, where)):
            attachment = as_object(item, f"{where}[{at}]")
            url, media_type = text(attachment, "url", f"{where}[{at}]"), optional_text(attachment, "contentType")
            parts.append(attachment_part(url, media_type, optional_text(attachment, "name"), param=f"{where}[{at}]"))
    return Message("user", tuple(parts), optional_text(message, "name"))


def assistant_plain(message: Json, param: str) -> Message:
    """Text, with the calls in OpenAI form that version 2 keeps beside it."""
    parts: list[Part] = []
    content = content_text(message, param)
    function_call, tool_calls = message.get("function_call"), message.get("tool_calls")
    if content or not (function_call or tool_calls):
        parts.append(Text(content))
    if type(function_call) is dict:
        name = text(function_call, "name", f"{param}.function_call")
        parts.append(ToolUse(name, name, optional_text(function_call, "arguments") or "{}"))
    if type(tool_calls) is list:
        for at, item in enumerate(tool_calls):
            where = f"{param}.tool_calls[{at}]"
            call = as_object(item, where)
            function = as_object(call.get("function"), f"{where}.function")
            arguments = optional_text(function, "arguments") or "{}"
            parts.append(ToolUse(text(call, "id", where), text(function, "name", f"{where}.function"), arguments))
    return Message("assistant", tuple(parts))


def assistant_parts(message: Json, param: str) -> list[Message]:
    """Version 4: blocks end where the tool step changes and before text that follows tools."""
    out: list[Message] = []
    block: list[tuple[str, Json]] = []
    step, has_tools = 0, False
    for at, item in enumerate(as_list(message["parts"], f"{param}.parts")):
        where = f"{param}.parts[{at}]"
        part = as_object(item, where)
        kind = part.get("type")
        if kind == "text" and has_tools:
            out += finish_block(block)
            block, step, has_tools = [], step + 1, False
        elif kind == "tool-invocation":
            invocation = as_object(part.get("toolInvocation"), f"{where}.toolInvocation")
            if (invocation.get("step") or 0) != step:
                out += finish_block(block)
                block, step = [], step + 1
            has_tools = True
        if kind in BLOCK_PARTS:
            block.append((where, part))
    return out + finish_block(block)


def finish_block(block: list[tuple[str, Json]]) -> list[Message]:
    parts: list[Part] = []
    invocations: list[tuple[Json, str]] = []
    for where, part in block:
        kind = part["type"]
        if kind == "text":
            parts.append(Text(text(part, "text", where)))
        elif kind == "file":
            url = f"data:{text(part, 'mimeType', where)};base64,{text(part, 'data', where)}"
            parts.append(file_part(url, None, None, param=where))
        elif kind == "reasoning":
            parts += [thought(detail, where) for detail in as_list(part.get("details"), f"{where}.details")]
        else:
            invocations.append((part["toolInvocation"], where))
            parts.append(tool_use(part["toolInvocation"], where))
    return with_outputs(parts, invocations)


def thought(detail: Any, where: str) -> Reasoning:
    fields = as_object(detail, f"{where}.details")
    if fields.get("type") == "redacted":
        return Reasoning(redacted=text(fields, "data", f"{where}.details"))
    return Reasoning(text(fields, "text", f"{where}.details"), optional_text(fields, "signature"))


def assistant_invocations(message: Json, param: str, *, last: bool, version: int) -> list[Message]:
    """``toolInvocations`` without parts: grouped by step in version 4, one turn in version 3."""
    where = f"{param}.toolInvocations"
    invocations = [as_object(item, where) for item in as_list(message["toolInvocations"], where)]
    content = content_text(message, param)
    if version < 4:
        parts = [Text(content)] if content else []
        return with_outputs([*parts, *(tool_use(i, where) for i in invocations)], [(i, where) for i in invocations])
    out: list[Message] = []
    for step in sorted({invocation.get("step") or 0 for invocation in invocations}):
        group = [invocation for invocation in invocations if (invocation.get("step") or 0) == step]
        head: list[Part] = [Text(content)] if last and content and step == 0 else []
        out += with_outputs([*head, *(tool_use(i, where) for i in group)], [(i, where) for i in group])
    if content and not last:
        out.append(Message("assistant", (Text(content),)))
    return out


def tool_use(invocation: Json, where: str) -> ToolUse:
    name = text(invocation, "toolName", where)
    return ToolUse(text(invocation, "toolCallId", where), name, json_text(invocation.get("args")))


def with_outputs(parts: list[Part], invocations: list[tuple[Json, str]]) -> list[Message]:
    """The assistant message and the tool message that answers it; results are JSON, strings too, as version 4 did."""
    outputs = []
    for invocation, where in invocations:
        if "result" not in invocation:
            raise InvalidRequest(
                f"ToolInvocation must have a result: {json_text(invocation)}", code="missing_tool_result", param=where
            )
        call_id, name = text(invocation, "toolCallId", where), text(invocation, "toolName", where)
        outputs.append(ToolOutput(call_id, json_text(invocation["result"]), name))
    out = [Message("assistant", tuple(parts))] if parts else []
    return [*out, Message("tool", tuple(outputs))] if outputs else out


def content_text(message: Json, param: str) -> str:
    """``content`` as text; ``null`` (an assistant that only called functions) is none."""
    return "" if message.get("content") is None else text(message, "content", param)


BLOCK_PARTS = frozenset(("text", "file", "reasoning", "tool-invocation"))
