"""Messages requests to canonical calls.

Follows "Create a message". Content blocks the call has no part for (results of server tools, container uploads) are
kept as an empty text part with the whole block in ``extra``; another target refuses them by name.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from streamward.call import (
    Call,
    Document,
    Image,
    Message,
    Output,
    Part,
    Reasoning,
    Role,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolOutput,
    ToolUse,
)  # fmt: skip
from streamward.errors import InvalidRequest
from streamward.wire import json_text
from streamward.wire.dialect import MAX_TOOLS
from streamward.wire.json_fields import Fields
from streamward.wire.messages.shapes import CALL_SIGNATURE, own


def parse_request(body: dict[str, Any]) -> Call:
    """Raises InvalidRequest naming the field. ``max_tokens`` is required, as in the reference."""
    call = parse_countable(body)
    if call.max_output_tokens is None:
        raise InvalidRequest("max_tokens is required: the most tokens to generate", param="max_tokens")
    return call


def parse_count_request(body: dict[str, Any]) -> Call:
    """A ``count_tokens`` request: as :func:`parse_request`, without ``max_tokens``."""
    return parse_countable(body)


def parse_countable(body: dict[str, Any]) -> Call:
    fields = Fields(body)
    model = fields.need_text("model")
    if not model:
        raise InvalidRequest("model must not be empty", param="model")
    messages = parse_messages(fields)
    system = parse_system(fields)
    choice, parallel = parse_tool_choice(fields.object("tool_choice"))
    output, effort, config = parse_output_config(fields.object("output_config"))
    thinking, display = parse_thinking(fields.object("thinking"), effort)
    user, metadata = parse_metadata(fields.object("metadata"))
    call = Call(
        model=model,
        messages=(*system, *messages),
        tools=tuple(parse_tool(tool) for tool in fields.objects("tools", MAX_TOOLS)),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        max_output_tokens=fields.integer("max_tokens", low=1),
        temperature=fields.number("temperature", 0, 1),
        top_p=fields.number("top_p", 0, 1),
        top_k=fields.integer("top_k", low=0),
        stop=fields.strings("stop_sequences"),
        output=output,
        thinking=thinking,
        user=user,
        stream=fields.flag("stream") or False,
        include_usage=True,
    )
    return msgspec.structs.replace(call, extra=own(fields.rest() | config | display | metadata))


def parse_system(fields: Fields) -> list[Message]:
    value = fields.raw("system")
    if value is None:
        return []
    if type(value) is str:
        return [Message("system", (Text(value),))] if value else []
    if type(value) is not list:
        raise fields.wrong("system", "a string or an array of text blocks")
    return [Message("system", tuple(parse_text(block) for block in fields.objects("system")))]


def parse_messages(fields: Fields) -> list[Message]:
    if fields.raw("messages") is None:
        raise fields.missing("messages")
    turns = fields.objects("messages")
    if not turns:
        raise InvalidRequest("messages must hold at least one message", param="messages")
    signatures: dict[str, str] = {}
    messages = [message for turn in turns for message in parse_turn(turn, signatures)]
    return [sign(message, signatures) for message in messages] if signatures else messages


def parse_turn(turn: Fields, signatures: dict[str, str]) -> list[Message]:
    """The messages one turn stands for: tool results, which this dialect puts into user turns, are a message of their own."""
    role = turn.need_text("role")
    if role not in ROLES:
        raise InvalidRequest(f"{turn.at('role')} must be user, assistant or system, not {role!r}", param=turn.at("role"))
    extra = own({name: value for name, value in turn.value.items() if name not in ("role", "content")})
    content = turn.raw("content")
    if type(content) is str:
        return [Message(ROLES[role], (Text(content),), extra=extra)]
    if type(content) is not list:
        raise turn.wrong("content", "a string or an array of content blocks")
    messages: list[Message] = []
    parts: list[Part] = []
    in_results = False
    for block in turn.objects("content"):
        part = parse_block(block, signatures)
        if part is None:
            continue
        if parts and isinstance(part, ToolOutput) != in_results:
            messages.append(Message("tool" if in_results else ROLES[role], tuple(parts), extra=extra))
            parts = []
        in_results = isinstance(part, ToolOutput)
        parts.append(part)
    if parts or not messages:
        messages.append(Message("tool" if in_results else ROLES[role], tuple(parts), extra=extra))
    return messages


def sign(message: Message, signatures: dict[str, str]) -> Message:
    """Give signatures that travelled beside their calls back to them."""
    parts = tuple(
        msgspec.structs.replace(part, signature=signatures[part.id])
        if isinstance(part, ToolUse) and part.id in signatures
        else part
        for part in message.parts
    )
    return msgspec.structs.replace(message, parts=parts)


# -- content blocks


def parse_block(block: Fields, signatures: dict[str, str]) -> Part | None:
    kind = block.need_text("type")
    if kind == "redacted_thinking":
        data = block.need_text("data")
        if data.startswith(CALL_SIGNATURE):
            call_id, _, signature = data.removeprefix(CALL_SIGNATURE).partition(":")
            signatures[call_id] = signature
            return None
        return Reasoning(redacted=data, extra=own(block.rest()))
    parse = BLOCKS.get(kind)
    if parse is not None:
        return parse(block)
    return Text("", extra=own({kind: block.value}))


def parse_text(block: Fields) -> Text:
    kind = block.need_text("type")
    if kind != "text":
        raise InvalidRequest(f"{block.at('type')} must be text here, not {kind!r}", param=block.at("type"))
    return Text(block.need_text("text"), extra=own(block.rest()))


def parse_image(block: Fields) -> Image:
    source = need_source(block)
    kind = source.need_text("type")
    if kind == "base64":
        image = Image(data=source.need_text("data"), media_type=source.need_text("media_type"))
    elif kind == "url":
        image = Image(url=source.need_text("url"))
    else:
        return Image(extra=own({"source": source.value} | block.rest()))
    return msgspec.structs.replace(image, extra=own(block.rest()))


def parse_document(block: Fields) -> Document:
    source = need_source(block)
    kind = source.need_text("type")
    title = block.text("title")
    extra = block.rest()
    if kind == "base64":
        data, media_type = source.need_text("data"), source.text("media_type") or "application/pdf"
        return Document(data=data, media_type=media_type, filename=title, extra=own(extra))
    if kind == "text":
        data = base64.b64encode(source.need_text("data").encode()).decode()
        return Document(data=data, media_type="text/plain", filename=title, extra=own(extra))
    if kind == "url":
        return Document(url=source.need_text("url"), filename=title, extra=own(extra))
    if kind == "file":
        return Document(file_id=source.need_text("file_id"), filename=title, extra=own(extra))
    return Document(filename=title, extra=own({"source": source.value} | extra))


def need_source(block: Fields) -> Fields:
    source = block.object("source")
    if source is None:
        raise block.missing("source")
    return source


def parse_thinking_block(block: Fields) -> Reasoning:
    return Reasoning(block.need_text("thinking"), block.text("signature") or None, extra=own(block.rest()))


def parse_tool_use(block: Fields) -> ToolUse:
    value = block.mapping("input")
    if value is None:
        raise block.missing("input")
    text = json_text.encode_compact(value).decode()
    return ToolUse(block.need_text("id"), block.need_text("name"), text, extra=own(block.rest()))


def parse_tool_result(block: Fields) -> ToolOutput:
    call_id = block.need_text("tool_use_id")
    is_error = block.flag("is_error") or False
    content = block.raw("content")
    if content is None or type(content) is str:
        return ToolOutput(call_id, content or "", is_error=is_error, extra=own(block.rest()))
    if type(content) is not list:
        raise block.wrong("content", "a string or an array of content blocks")
    parts: list[Text | Image | Document] = []
    for inner in block.objects("content"):
        part = parse_block(inner, {})
        if not isinstance(part, (Text, Image, Document)):
            raise InvalidRequest(
                f"{inner.at('type')} must be text, image or document inside a tool_result, not {inner.value['type']!r}",
                param=inner.at("type"),
            )
        parts.append(part)
    return ToolOutput(call_id, tuple(parts), is_error=is_error, extra=own(block.rest()))


# -- settings


def parse_tool(tool: Fields) -> Tool:
    """A custom tool, or a server tool (its ``type`` says so), which only this dialect can run."""
    name = tool.need_text("name")
    kind = tool.text("type")
    if kind not in (None, "custom"):
        return Tool(name, extra=own({"type": kind} | tool.rest()))
    schema = tool.mapping("input_schema")
    if schema is None:
        raise tool.missing("input_schema")
    return Tool(name, tool.text("description"), schema, tool.flag("strict"), own(tool.rest()))


def parse_tool_choice(choice: Fields | None) -> tuple[ToolChoice | None, bool | None]:
    if choice is None:
        return None, None
    kind = choice.need_text("type")
    parallel = False if choice.flag("disable_parallel_tool_use") else None
    if kind == "tool":
        return ToolChoice("tool", choice.need_text("name")), parallel
    if kind == "auto":
        return ToolChoice("auto"), parallel
    if kind == "any":
        return ToolChoice("required"), parallel
    if kind == "none":
        return ToolChoice("none"), parallel
    path = choice.at("type")
    raise InvalidRequest(f"{path} must be auto, any, tool or none, not {kind!r}", param=path)


def parse_output_config(config: Fields | None) -> tuple[Output | None, Any, dict[str, Any]]:
    """Output format, effort, and the effort once more as the dialect's own field, to be put back as it came."""
    if config is None:
        return None, None, {}
    effort = config.text("effort")
    if effort is not None and effort not in EFFORTS:
        path = config.at("effort")
        raise InvalidRequest(f"{path} must be one of {', '.join(EFFORTS)}, not {effort!r}", param=path)
    form = config.object("format")
    rest = config.rest() | ({"effort": effort} if effort else {})
    kept = {"output_config": rest} if rest else {}
    if form is None:
        return None, effort, kept
    kind = form.need_text("type")
    if kind != "json_schema":
        raise InvalidRequest(f"{form.at('type')} must be json_schema, not {kind!r}", param=form.at("type"))
    schema = form.mapping("schema")
    if schema is None:
        raise form.missing("schema")
    return Output("json-schema", schema=schema), effort, kept


def parse_thinking(thinking: Fields | None, effort: Any) -> tuple[Thinking | None, dict[str, Any]]:
    if thinking is None:
        return (Thinking(effort=effort) if effort else None), {}
    kind = thinking.need_text("type")
    if kind == "enabled":
        budget = thinking.integer("budget_tokens", low=1)
        if budget is None:
            raise thinking.missing("budget_tokens")
        parsed = Thinking(effort, budget, enabled=True)
    elif kind == "disabled":
        parsed = Thinking(effort, enabled=False)
    else:  # adaptive and newer kinds: on, in a manner only this dialect knows
        return Thinking(effort, enabled=True), {"thinking": thinking.value}
    rest = thinking.rest()
    return parsed, {"thinking": rest} if rest else {}


def parse_metadata(metadata: Fields | None) -> tuple[str | None, dict[str, Any]]:
    if metadata is None:
        return None, {}
    user = metadata.text("user_id")
    rest = metadata.rest()
    return user, {"metadata": rest} if rest else {}


ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
EFFORTS = ("low", "medium", "high", "xhigh", "max")
BLOCKS: dict[str, Callable[[Fields], Part]] = {
    "text": parse_text,
    "image": parse_image,
    "document": parse_document,
    "thinking": parse_thinking_block,
    "tool_use": parse_tool_use,
    "tool_result": parse_tool_result,
}
