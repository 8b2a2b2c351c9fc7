"""Ollama requests to canonical calls.

Follows "Generate a chat completion". Calls without an id get one from their place; results name their call by
``tool_call_id``, by ``tool_name``, or are those of the calls in order.
"""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

from streamward.call import (
    Call,
    Document,
    Effort,
    Image,
    Message,
    Output,
    Part,
    Reasoning,
    Role,
    Text,
    Thinking,
    Tool,
    ToolOutput,
    ToolUse,
)
from streamward.errors import InvalidRequest
from streamward.wire import json_text
from streamward.wire.json_fields import Fields
from streamward.wire.ollama.shapes import own


def parse_request(body: dict[str, Any]) -> Call:
    """Raises InvalidRequest naming the field. Streaming is the default of this dialect."""
    fields = Fields(body)
    model = fields.need_text("model")
    if not model:
        raise InvalidRequest("model must not be empty", param="model")
    if fields.raw("messages") is None:
        raise fields.missing("messages")
    waiting: list[tuple[str, str]] = []
    messages = tuple(parse_message(message, waiting) for message in fields.objects("messages"))
    if not messages:
        raise InvalidRequest("messages must hold at least one message", param="messages")
    stream = fields.flag("stream")
    call = Call(
        model=model,
        messages=messages,
        tools=tuple(parse_tool(tool) for tool in fields.objects("tools")),
        output=parse_format(fields),
        thinking=parse_think(fields),
        logprobs=fields.flag("logprobs"),
        top_logprobs=fields.integer("top_logprobs", low=0),
        stream=True if stream is None else stream,
        include_usage=True,
    )
    options = fields.object("options")
    kept: dict[str, Any] = {}
    if options is not None:
        call = parse_options(call, options)
        kept = {"options": options.rest()} if options.rest() else {}
    return msgspec.structs.replace(call, extra=own(fields.rest() | kept))


def parse_options(call: Call, options: Fields) -> Call:
    limit = options.integer("num_predict")
    stop = options.value.get("stop")
    return msgspec.structs.replace(
        call,
        max_output_tokens=limit if limit is not None and limit > 0 else None,  # -1 and -2: no limit
        temperature=options.number("temperature", 0),
        top_p=options.number("top_p", 0, 1),
        top_k=options.integer("top_k", low=0),
        presence_penalty=options.number("presence_penalty"),
        frequency_penalty=options.number("frequency_penalty"),
        seed=options.integer("seed"),
        stop=(options.need_text("stop"),) if type(stop) is str else options.strings("stop"),
    )


def parse_message(message: Fields, waiting: list[tuple[str, str]]) -> Message:
    role = message.need_text("role")
    if role not in ROLES:
        path = message.at("role")
        raise InvalidRequest(f"{path} must be system, user, assistant or tool, not {role!r}", param=path)
    content = message.text("content") or ""
    images = tuple(Image(data=data, media_type=media_type_of(data)) for data in message.strings("images"))
    if role == "tool":
        name = message.text("tool_name") or message.text("name")
        call_id = answered(waiting, message.text("tool_call_id"), name)
        output: str | tuple[Text | Image | Document, ...] = (Text(content), *images) if images else content
        return Message("tool", (ToolOutput(call_id, output, name),), extra=own(message.rest()))
    parts: list[Part] = []
    thinking = message.text("thinking")
    if thinking:
        parts.append(Reasoning(thinking))
    if content or not images:
        parts.append(Text(content))
    parts.extend(images)
    parts.extend(parse_call(call, waiting) for call in message.objects("tool_calls"))
    if role == "assistant" and not content and len(parts) > 1:
        parts = [part for part in parts if not isinstance(part, Text)]
    return Message(ROLES[role], tuple(parts), extra=own(message.rest()))


def parse_call(call: Fields, waiting: list[tuple[str, str]]) -> ToolUse:
    function = call.object("function")
    if function is None:
        raise call.missing("function")
    name = function.need_text("name")
    arguments = json_text.encode_compact(function.mapping("arguments") or {}).decode()
    call_id = call.text("id") or "_".join(("call", *DIGITS.findall(call.path)))
    waiting.append((call_id, name))
    return ToolUse(call_id, name, arguments)


def answered(waiting: list[tuple[str, str]], call_id: str | None, name: str | None) -> str:
    """The id of the call a result belongs to; it no longer waits then."""
    for place, (waiting_id, waiting_name) in enumerate(waiting):
        if waiting_id == call_id or (call_id is None and name in (None, waiting_name)):
            del waiting[place]
            return waiting_id
    return call_id or f"call_{name or 'unknown'}"


def parse_tool(tool: Fields) -> Tool:
    function = tool.object("function")
    if function is None:
        raise tool.missing("function")
    tool.raw("type")
    name, description = function.need_text("name"), function.text("description")
    return Tool(name, description, function.mapping("parameters"), extra=own(tool.rest()))


def parse_format(fields: Fields) -> Output | None:
    value = fields.raw("format")
    if value is None or value == "":
        return None
    if value == "json":
        return Output("json")
    if type(value) is dict:
        return Output("json-schema", schema=value)
    raise fields.wrong("format", '"json" or a JSON Schema object')


def parse_think(fields: Fields) -> Thinking | None:
    value = fields.raw("think")
    if value is None:
        return None
    if type(value) is bool:
        return Thinking(enabled=value)
    if value in EFFORTS:
        return Thinking(effort=cast("Effort", value))
    raise fields.wrong("think", f"a boolean or one of {', '.join(EFFORTS)}")


def media_type_of(data: str) -> str:
    """Images come without their type: the first bytes of their base64 tell."""
    return next((kind for prefix, kind in MAGIC if data.startswith(prefix)), "image/png")


DIGITS = re.compile(r"\d+")
ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
EFFORTS = ("low", "medium", "high")
MAGIC = (("/9j/", "image/jpeg"), ("iVBOR", "image/png"), ("R0lGOD", "image/gif"), ("UklGR", "image/webp"))
