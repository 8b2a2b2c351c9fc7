"""Gemini requests to canonical calls.

Follows ``GenerateContentRequest``; fields may come in camel case or, as protobuf's JSON allows, in snake case. The
model and whether to stream stand in the path of a real request: whoever reads that puts them into the body as ``model``
and ``stream``. Calls without an id get one from their place; answers without an id belong to the first unanswered
call of their function.
"""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

from streamward.call import (
    Audio,
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
    ToolChoice,
    ToolOutput,
    ToolUse,
)
from streamward.errors import InvalidRequest
from streamward.wire import json_text
from streamward.wire.generate_content.shapes import MINTED, own, unwrap_signature
from streamward.wire.json_fields import Fields

SNAKE = re.compile(r"_([a-z])")


def camel(fields: Fields) -> Fields:
    """The same object with camel-case names."""
    if any("_" in name for name in fields.value):
        value = {SNAKE.sub(lambda match: match[1].upper(), name): item for name, item in fields.value.items()}
        return Fields(value, fields.path)
    return fields


def inner(fields: Fields, name: str) -> Fields | None:
    value = fields.object(name)
    return None if value is None else camel(value)


def parse_request(body: dict[str, Any]) -> Call:
    """Raises InvalidRequest naming the field."""
    fields = camel(Fields(body))
    model = fields.need_text("model").removeprefix("models/")
    if not model:
        raise InvalidRequest("model must not be empty", param="model")
    messages = parse_contents(fields)
    system = inner(fields, "systemInstruction")
    if system is not None:
        parts = tuple(Text(camel(part).need_text("text")) for part in system.objects("parts"))
        messages.insert(0, Message("system", parts))
    tools = [tool for group in fields.objects("tools") for tool in parse_tools(camel(group))]
    choice, choice_extra = parse_tool_config(inner(fields, "toolConfig"))
    call = Call(
        model=model,
        messages=tuple(messages),
        tools=tuple(tools),
        tool_choice=choice,
        stream=fields.flag("stream") or False,
        include_usage=True,
    )
    config = inner(fields, "generationConfig")
    config_extra: dict[str, Any] = {}
    if config is not None:
        call = parse_config(call, config)
        config_extra = {"generationConfig": config.rest()} if config.rest() else {}
    return msgspec.structs.replace(call, extra=own(fields.rest() | choice_extra | config_extra))


# -- contents


class Calls:
    """The function calls of a conversation, to tell which one an answer belongs to."""

    def __init__(self) -> None:
        self.count = 0
        self.waiting: list[tuple[str, str]] = []  # id and name

    def called(self, call_id: str | None, name: str) -> str:
        call_id = call_id or f"{MINTED}{self.count}"
        self.count += 1
        self.waiting.append((call_id, name))
        return call_id

    def answered(self, call_id: str | None, name: str) -> str:
        for place, (waiting_id, waiting_name) in enumerate(self.waiting):
            if waiting_id == call_id or (call_id is None and waiting_name == name):
                del self.waiting[place]
                return waiting_id
        return call_id or f"{MINTED}{name}"


def parse_contents(fields: Fields) -> list[Message]:
    if fields.raw("contents") is None:
        raise fields.missing("contents")
    contents = fields.objects("contents")
    if not contents:
        raise InvalidRequest("contents must hold at least one content", param="contents")
    calls = Calls()
    return [message for content in contents for message in parse_content(content, calls)]


def parse_content(content: Fields, calls: Calls) -> list[Message]:
    """The messages one content stands for: answers of functions are a message of their own."""
    role = content.text("role") or "user"
    if role not in ROLES:
        path = content.at("role")
        raise InvalidRequest(f"{path} must be user or model, not {role!r}", param=path)
    messages: list[Message] = []
    parts: list[Part] = []
    in_results = False
    for raw in content.objects("parts"):
        part = parse_part(camel(raw), calls)
        if parts and isinstance(part, ToolOutput) != in_results:
            messages.append(Message("tool" if in_results else ROLES[role], tuple(parts)))
            parts = []
        in_results = isinstance(part, ToolOutput)
        parts.append(part)
    if parts or not messages:
        messages.append(Message("tool" if in_results else ROLES[role], tuple(parts)))
    return messages


def parse_part(part: Fields, calls: Calls) -> Part:
    signature = part.text("thoughtSignature")
    text = part.text("text")
    if text is not None:
        if part.flag("thought"):
            proof, redacted = unwrap_signature(signature) if signature else (None, None)
            return Reasoning("" if redacted is not None else text, proof, redacted, extra=own(part.rest()))
        kept = {"thoughtSignature": signature} if signature else {}
        return Text(text, extra=own(part.rest() | kept))
    call = inner(part, "functionCall")
    if call is not None:
        name = call.need_text("name")
        args = json_text.encode_compact(call.mapping("args") or {}).decode()
        proof = unwrap_signature(signature)[0] if signature else None
        return ToolUse(calls.called(call.text("id") or None, name), name, args, proof, own(part.rest()))
    answer = inner(part, "functionResponse")
    if answer is not None:
        return parse_answer(answer, calls, own(part.rest()))
    return parse_media(part)


def parse_answer(answer: Fields, calls: Calls, extra: Any) -> ToolOutput:
    name = answer.need_text("name")
    call_id = calls.answered(answer.text("id") or None, name)
    response = answer.mapping("response") or {}
    output = json_text.encode_compact(response).decode()
    is_error = False
    if len(response) == 1:
        ((key, value),) = response.items()
        if key in ("output", "result", "error") and type(value) is str:
            output, is_error = value, key == "error"
    media = [parse_media(camel(part)) for part in answer.objects("parts")]
    if not media:
        return ToolOutput(call_id, output, name, is_error, extra)
    shown = tuple(part for part in media if isinstance(part, (Image, Document)))
    texts = (Text(output),) if response else ()
    return ToolOutput(call_id, (*texts, *shown), name, is_error, extra)


def parse_media(part: Fields) -> Part:
    inline, linked = inner(part, "inlineData"), inner(part, "fileData")
    if inline is not None:
        data, media_type = inline.need_text("data"), inline.need_text("mimeType")
        name = inline.text("displayName")
        extra = own(part.rest())
        if media_type.startswith("image/"):
            return Image(data=data, media_type=media_type, extra=extra)
        if media_type.startswith("audio/"):
            return Audio(data, media_type.removeprefix("audio/"), extra)
        return Document(data=data, media_type=media_type, filename=name, extra=extra)
    if linked is not None:
        url, kind = linked.need_text("fileUri"), linked.text("mimeType") or None
        extra = own(part.rest())
        if (kind or "").startswith("image/"):
            return Image(url=url, media_type=kind, extra=extra)
        return Document(url=url, media_type=kind, extra=extra)
    rest = part.rest()
    if not rest:
        raise InvalidRequest(f"{part.path} must hold text, data or a function call", param=part.path)
    return Text("", extra=own(rest))


# -- settings


def parse_tools(group: Fields) -> list[Tool]:
    """Function declarations, and tools of the provider, each kept under its name."""
    tools: list[Tool] = []
    for raw in group.objects("functionDeclarations"):
        declared = camel(raw)
        schema = declared.mapping("parametersJsonSchema")
        if schema is None:
            given = declared.mapping("parameters")
            schema = json_schema(given) if given is not None else None
        tools.append(Tool(declared.need_text("name"), declared.text("description"), schema, extra=own(declared.rest())))
    tools.extend(Tool(name, extra=own({name: settings})) for name, settings in group.rest().items())
    return tools


def json_schema(schema: Any) -> Any:
    """A ``Schema`` object (types in capitals, ``nullable``) as JSON Schema."""
    if type(schema) is list:
        return [json_schema(item) for item in schema]
    if type(schema) is not dict:
        return schema
    out: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "properties" and type(value) is dict:
            out[name] = {key: json_schema(item) for key, item in value.items()}
        elif name == "type" and type(value) is str:
            out[name] = value.lower()
        elif name in ("items", "anyOf", "prefixItems"):
            out[name] = json_schema(value)
        elif name != "nullable":
            out[name] = value
    if schema.get("nullable") is True and type(out.get("type")) is str:
        out["type"] = [out["type"], "null"]
    return out


def parse_tool_config(config: Fields | None) -> tuple[ToolChoice | None, dict[str, Any]]:
    if config is None:
        return None, {}
    calling = inner(config, "functionCallingConfig")
    rest = config.rest()
    extra = {"toolConfig": rest} if rest else {}
    if calling is None:
        return None, extra
    mode = calling.text("mode") or "AUTO"
    allowed = calling.strings("allowedFunctionNames")
    if mode == "ANY":
        if len(allowed) == 1:
            return ToolChoice("tool", allowed[0]), extra
        return ToolChoice("required", allowed=allowed), extra
    if mode == "NONE":
        return ToolChoice("none"), extra
    if mode in ("AUTO", "VALIDATED", "MODE_UNSPECIFIED"):
        return ToolChoice("auto", allowed=allowed), extra
    path = calling.at("mode")
    raise InvalidRequest(f"{path} must be AUTO, ANY, NONE or VALIDATED, not {mode!r}", param=path)


def parse_config(call: Call, config: Fields) -> Call:
    return msgspec.structs.replace(
        call,
        max_output_tokens=config.integer("maxOutputTokens", low=1),
        temperature=config.number("temperature", 0, 2),
        top_p=config.number("topP", 0, 1),
        top_k=whole(config.number("topK", 0)),
        presence_penalty=config.number("presencePenalty"),
        frequency_penalty=config.number("frequencyPenalty"),
        stop=config.strings("stopSequences"),
        seed=config.integer("seed"),
        logprobs=config.flag("responseLogprobs"),
        top_logprobs=config.integer("logprobs", low=0),
        choices=config.integer("candidateCount", low=1) or 1,
        output=parse_output(config),
        thinking=parse_thinking(inner(config, "thinkingConfig")),
    )


def whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def parse_output(config: Fields) -> Output | None:
    media_type = config.text("responseMimeType")
    schema = config.mapping("responseJsonSchema")
    if schema is None:
        given = config.mapping("responseSchema")
        schema = json_schema(given) if given is not None else None
    if media_type in (None, "text/plain"):
        return None
    if media_type != "application/json":
        path = config.at("responseMimeType")
        raise InvalidRequest(f"{path} must be text/plain or application/json, not {media_type!r}", param=path)
    return Output("json-schema", schema=schema) if schema is not None else Output("json")


def parse_thinking(thinking: Fields | None) -> Thinking | None:
    if thinking is None:
        return None
    budget = thinking.integer("thinkingBudget", low=-1)
    level = thinking.text("thinkingLevel")
    thinking.flag("includeThoughts")  # always asked for: what to show is the caller's dialect's business
    effort = (level or "").lower() or None
    if effort is not None and effort not in LEVELS:
        path = thinking.at("thinkingLevel")
        raise InvalidRequest(f"{path} must be one of {', '.join(LEVELS)}, not {level!r}", param=path)
    if budget == 0:
        return Thinking(enabled=False)
    return Thinking(cast("Effort | None", effort), budget if budget is not None and budget > 0 else None, enabled=True)


ROLES: dict[str, Role] = {"user": "user", "model": "assistant", "function": "user"}
LEVELS = ("minimal", "low", "medium", "high")
