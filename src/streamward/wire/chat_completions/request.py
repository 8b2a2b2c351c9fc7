"""Chat Completions requests: the body to a call and back.

Follows the Chat Completions reference, "Create chat completion". Fields the call has no word for stay in
``extra["chat_completions"]``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from streamward.call import (
    Audio,
    Call,
    Document,
    Image,
    Message,
    Output,
    Part,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolOutput,
    ToolUse,
)  # fmt: skip
from streamward.errors import InvalidRequest, Unsupported
from streamward.wire import json_text
from streamward.wire.chat_completions.encode import reasoning_details
from streamward.wire.chat_completions.shapes import NAME, as_dict, as_list
from streamward.wire.dialect import Profile
from streamward.wire.foreign import refuse_foreign

MAX_TOOLS = 1024  # the largest tool sets seen hold a few hundred
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class FunctionIn(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolIn(Struct):
    type: str
    function: FunctionIn | None = None


class CalledIn(Struct):
    name: str
    arguments: str = ""


class ToolCallIn(Struct):
    id: str = ""
    type: str = "function"
    function: CalledIn | None = None


class MessageIn(Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[ToolCallIn] | None = None
    tool_call_id: str | None = None
    function_call: CalledIn | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None


class ReasoningIn(Struct):
    """OpenRouter's and Vercel's way to say how much to reason."""

    effort: Effort | None = None
    max_tokens: int | None = None
    enabled: bool | None = None


class StreamOptionsIn(Struct):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class JsonSchemaIn(Struct):
    name: str
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class FormatIn(Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaIn | None = None


class RequestIn(Struct):
    """The fields we know, with their types and bounds; msgspec names the first that is wrong."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[list[MessageIn], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptionsIn | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: int | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Annotated[list[ToolIn], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[FunctionIn] | None = None
    function_call: str | dict[str, Any] | None = None
    response_format: FormatIn | None = None
    reasoning_effort: Effort | None = None
    reasoning: ReasoningIn | None = None
    verbosity: str | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None


KNOWN = frozenset(RequestIn.__struct_fields__)
AT = re.compile(r"^(.*?)(?: - at `\$\.?(.*)`)?$", re.DOTALL)


def validate(body: dict[str, Any]) -> RequestIn:
    """*body* with every known field checked.

    Raises:
        InvalidRequest: naming the field, what was expected and what came.
    """
    try:
        return msgspec.convert(body, RequestIn)
    except msgspec.ValidationError as exc:
        match = AT.match(str(exc))
        message, param = (match.group(1), match.group(2)) if match else (str(exc), None)
        missing = re.search(r"missing required field `([^`]+)`", message)
        if missing:
            param = f"{param}.{missing.group(1)}" if param else missing.group(1)
        where = f" in {param!r}" if param else ""
        raise InvalidRequest(f"{message}{where}", param=param or None) from None


def parse_request(body: dict[str, Any]) -> Call:
    """The call that *body* asks for. Raises InvalidRequest naming the field."""
    asked = validate(body)
    options = asked.stream_options
    if options is not None and not asked.stream:
        raise InvalidRequest("stream_options is only allowed with stream: true", param="stream_options")
    functions = asked.functions or ()
    return Call(
        model=asked.model,
        messages=tuple(parse_messages(asked.messages)),
        tools=tuple(parse_tool(tool, i) for i, tool in enumerate(asked.tools or ()))
        + tuple(Tool(f.name, f.description, f.parameters, f.strict) for f in functions),
        tool_choice=parse_choice(asked.tool_choice if asked.tool_choice is not None else asked.function_call),
        parallel_tool_calls=asked.parallel_tool_calls,
        max_output_tokens=asked.max_completion_tokens or asked.max_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        presence_penalty=asked.presence_penalty,
        frequency_penalty=asked.frequency_penalty,
        stop=(asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ()),
        seed=asked.seed,
        logprobs=asked.logprobs,
        top_logprobs=asked.top_logprobs,
        choices=asked.n or 1,
        output=parse_output(asked.response_format),
        thinking=parse_thinking(asked),
        verbosity=asked.verbosity,
        user=asked.user,
        metadata=asked.metadata,
        stream=bool(asked.stream),
        include_usage=bool(options and options.include_usage),
        extra=unknown_fields(body),
    )


def unknown_fields(body: dict[str, Any]) -> dict[str, dict[str, Any]] | None:
    extra = {key: value for key, value in body.items() if key not in KNOWN}
    return {NAME: extra} if extra else None


def parse_messages(messages: list[MessageIn]) -> list[Message]:
    """Messages in order; the results of one turn's calls are joined into one ``tool`` message."""
    out: list[Message] = []
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        if message.role in ("tool", "function"):
            if message.role == "tool" and not message.tool_call_id:
                raise InvalidRequest(
                    f"{where} has role 'tool' and needs tool_call_id", param=f"{where}.tool_call_id"
                )
            name = message.name if message.role == "function" else None
            content = message.content if isinstance(message.content, str) else parse_parts(message.content, where)
            output = content if isinstance(content, str) else tuple(
                part for part in content if isinstance(part, (Text, Image, Document))
            )  # fmt: skip
            part = ToolOutput(message.tool_call_id or name or "", output, name)
            if out and out[-1].role == "tool":
                out[-1] = Message("tool", (*out[-1].parts, part))
            else:
                out.append(Message("tool", (part,)))
        elif message.role == "assistant":
            out.append(parse_assistant(message, where))
        else:
            if message.content is None:
                raise InvalidRequest(f"{where} needs content: text or parts", param=f"{where}.content")
            role = message.role
            assert role != "function"  # handled above with "tool"
            out.append(Message(role, parse_parts(message.content, where), message.name))
    return out


def parse_assistant(message: MessageIn, where: str) -> Message:
    parts: list[Part] = []
    details = message.reasoning_details or ()
    signature = next((d["signature"] for d in details if type(d.get("signature")) is str), None)
    redacted = next((d["data"] for d in details if type(d.get("data")) is str), None)
    thought = message.reasoning_content or message.reasoning or ""
    if thought or signature or redacted:
        parts.append(Reasoning(thought, signature, redacted))
    if message.content:
        parts.extend(parse_parts(message.content, where))
    if message.refusal:
        parts.append(Refusal(message.refusal))
    for j, call in enumerate(message.tool_calls or ()):
        if call.function is None:
            raise InvalidRequest(f"{where}.tool_calls[{j}] needs function", param=f"{where}.tool_calls[{j}].function")
        parts.append(ToolUse(call.id, call.function.name, call.function.arguments or "{}"))
    if message.function_call is not None:
        parts.append(ToolUse(message.function_call.name, message.function_call.name, message.function_call.arguments))
    return Message("assistant", tuple(parts), message.name)


def parse_parts(content: str | list[dict[str, Any]] | None, where: str) -> tuple[Part, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),)
    return tuple(parse_part(part, f"{where}.content[{j}]") for j, part in enumerate(content))


def parse_part(part: dict[str, Any], where: str) -> Part:
    kind = part.get("type")
    if kind == "text" and type(part.get("text")) is str:
        return Text(part["text"])
    if kind == "refusal" and type(part.get("refusal")) is str:
        return Refusal(part["refusal"])
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if type(image) is dict else image
        if type(url) is str:
            detail = as_dict(image).get("detail")
            data, media_type = split_data_url(url)
            return Image(None if data else url, data, media_type, detail if type(detail) is str else None)
    if kind == "input_audio" and type(as_dict(part.get("input_audio")).get("data")) is str:
        return Audio(part["input_audio"]["data"], str(part["input_audio"].get("format", "wav")))
    if kind == "file":
        file = as_dict(part.get("file"))
        data, media_type = split_data_url(file["file_data"]) if type(file.get("file_data")) is str else (None, None)
        filename, file_id = file.get("filename"), file.get("file_id")
        if (data or file_id) and all(value is None or type(value) is str for value in (filename, file_id)):
            return Document(None, data, media_type, filename, file_id)
    raise InvalidRequest(
        f"{where} is not a content part this server knows: expected type text, image_url, input_audio, file or refusal "
        f"with its fields, got type {kind!r}",
        param=where,
    )


def split_data_url(url: str) -> tuple[str | None, str | None]:
    """(base64 data, media type) of a data URL; (None, None) for any other URL."""
    if not url.startswith("data:"):
        return None, None
    head, _, data = url[5:].partition(",")
    return data, head.removesuffix(";base64") or None


def parse_tool(tool: ToolIn, i: int) -> Tool:
    if tool.type != "function" or tool.function is None:
        raise Unsupported(
            f"tools[{i}] has type {tool.type!r}: only function tools can be translated", param=f"tools[{i}].type"
        )
    function = tool.function
    return Tool(function.name, function.description, function.parameters, function.strict)


def parse_choice(choice: str | dict[str, Any] | None) -> ToolChoice | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice in ("auto", "none", "required"):
            return ToolChoice(choice)  # type: ignore[arg-type]
        raise InvalidRequest(f"tool_choice must be auto, none, required or an object, got {choice!r}", param="tool_choice")
    allowed = as_dict(choice.get("allowed_tools")) if choice.get("type") == "allowed_tools" else None
    if allowed is not None:
        found = [as_dict(as_dict(tool).get("function")).get("name") for tool in as_list(allowed.get("tools"))]
        names = tuple(name for name in found if type(name) is str)
        if not names or len(names) < len(found):
            raise InvalidRequest(
                "tool_choice of type allowed_tools needs tools: a list of {type: function, function: {name}}",
                param="tool_choice.allowed_tools.tools",
            )
        return ToolChoice("required" if allowed.get("mode") == "required" else "auto", None, names)
    name = as_dict(choice.get("function")).get("name") or choice.get("name")
    if type(name) is not str:
        raise InvalidRequest("tool_choice needs function.name", param="tool_choice.function.name")
    return ToolChoice("tool", name)


def parse_output(form: FormatIn | None) -> Output | None:
    if form is None:
        return None
    if form.type == "json_schema":
        schema = form.json_schema
        if schema is None:
            raise InvalidRequest("response_format of type json_schema needs json_schema",
                                 param="response_format.json_schema")  # fmt: skip
        return Output("json-schema", schema.name, schema.schema, schema.strict, schema.description)
    return Output("json" if form.type == "json_object" else "text")


def parse_thinking(asked: RequestIn) -> Thinking | None:
    """``reasoning_effort``, or the ``reasoning`` object."""
    own = asked.reasoning or ReasoningIn()
    effort = asked.reasoning_effort or own.effort
    if effort is None and own.max_tokens is None and own.enabled is None:
        return None
    return Thinking(effort, own.max_tokens, own.enabled)


def render_request(call: Call, *, model: str, profile: Profile) -> dict[str, Any]:
    """The body that asks an upstream for *call*; usage is always asked of a stream.

    Raises:
        Unsupported: the profile says that the provider cannot do what the call needs.
    """
    check_supported(call, profile)
    refuse_foreign(call, NAME)
    body: dict[str, Any] = {
        "model": model,
        "messages": [out for message in call.messages for out in render_message(message, profile)],
    }
    optional = {
        profile.max_tokens_field: call.max_output_tokens, "temperature": call.temperature, "top_p": call.top_p,
        "top_k": call.top_k, "presence_penalty": call.presence_penalty, "frequency_penalty": call.frequency_penalty,
        "stop": list(call.stop) or None, "seed": call.seed, "logprobs": call.logprobs, "top_logprobs": call.top_logprobs,
        "n": call.choices if call.choices > 1 else None, "parallel_tool_calls": call.parallel_tool_calls,
        "verbosity": call.verbosity, "user": call.user, "metadata": call.metadata,
        "tools": [render_tool(tool) for tool in call.tools] or None, "tool_choice": render_choice(call.tool_choice),
        "response_format": render_output(call.output),
    }  # fmt: skip
    body.update((key, value) for key, value in optional.items() if value is not None and key not in profile.drops_fields)
    if call.thinking is not None:
        if call.thinking.effort is not None:
            body["reasoning_effort"] = call.thinking.effort
        elif call.thinking.max_tokens is not None or call.thinking.enabled is not None:
            known = {"max_tokens": call.thinking.max_tokens, "enabled": call.thinking.enabled}
            body["reasoning"] = {key: value for key, value in known.items() if value is not None}
    body.update((call.extra or {}).get(NAME, {}))
    if call.stream:
        body["stream"] = True
        if profile.asks_usage:
            body["stream_options"] = {"include_usage": True}
    return body


def check_supported(call: Call, profile: Profile) -> None:
    """Refuse what the profile rules out, naming it."""
    wants = {
        "tools": bool(call.tools), "n": call.choices > 1, "logprobs": bool(call.logprobs),
        "json_schema": call.output is not None and call.output.kind == "json-schema",
        "images": any(isinstance(part, Image) for message in call.messages for part in message.parts),
    }  # fmt: skip
    for feature, wanted in wants.items():
        if wanted and feature in profile.unsupported:
            raise Unsupported(f"the target of model {call.model!r} does not support {feature}", param=feature)


def render_message(message: Message, profile: Profile) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [render_tool_output(part) for part in message.parts if isinstance(part, ToolOutput)]
    if message.role == "assistant":
        return [render_assistant(message)]
    role = "system" if message.role == "developer" and not profile.developer_role else message.role
    out: dict[str, Any] = {"role": role, "content": render_content(message.parts)}
    if message.name:
        out["name"] = message.name
    return [out]


def render_content(parts: tuple[Part, ...]) -> str | list[dict[str, Any]]:
    """A single text as a string, which every server takes; anything else as parts."""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [render_part(part) for part in parts]


def render_part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        image = {"url": part.url or f"data:{part.media_type or 'image/png'};base64,{part.data}"}
        if part.detail:
            image["detail"] = part.detail
        return {"type": "image_url", "image_url": image}
    if isinstance(part, Audio):
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
    if isinstance(part, Document):
        if part.url:
            raise Unsupported("Chat Completions takes files as data or file_id, not by URL", param="messages")
        file: dict[str, Any] = {"file_id": part.file_id} if part.file_id else {
            "file_data": f"data:{part.media_type or 'application/octet-stream'};base64,{part.data}"
        }  # fmt: skip
        if part.filename:
            file["filename"] = part.filename
        return {"type": "file", "file": file}
    raise Unsupported(f"a {type(part).__name__} part cannot stand in this message", param="messages")


def render_assistant(message: Message) -> dict[str, Any]:
    texts = [part.text for part in message.parts if isinstance(part, Text)]
    calls = [part for part in message.parts if isinstance(part, ToolUse)]
    out: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
    refusals = [part.text for part in message.parts if isinstance(part, Refusal)]
    if refusals:
        out["refusal"] = "".join(refusals)
    thoughts = [part for part in message.parts if isinstance(part, Reasoning)]
    if any(part.text for part in thoughts):
        out["reasoning_content"] = "".join(part.text for part in thoughts)
    details = [d for part in thoughts for d in reasoning_details(part.text, part.signature, part.redacted)]
    if details:
        out["reasoning_details"] = details
    if calls:
        out["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.input}} for call in calls
        ]
    return out


def render_tool_output(part: ToolOutput) -> dict[str, Any]:
    content = part.output if isinstance(part.output, str) else render_content(part.output)
    return {"role": "tool", "tool_call_id": part.id, "content": content}


def render_tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.schema is not None:
        function["parameters"] = tool.schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def render_choice(choice: ToolChoice | None) -> str | dict[str, Any] | None:
    if choice is None:
        return None
    if choice.allowed:
        tools = [{"type": "function", "function": {"name": name}} for name in choice.allowed]
        mode = "required" if choice.mode == "required" else "auto"
        return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}
    if choice.mode == "tool":
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode


def render_output(output: Output | None) -> dict[str, Any] | None:
    if output is None:
        return None
    if output.kind == "json-schema":
        known = {"name": output.name or "answer", "schema": output.schema, "strict": output.strict,
                 "description": output.description}  # fmt: skip
        return {"type": "json_schema", "json_schema": {key: value for key, value in known.items() if value is not None}}
    return {"type": "json_object" if output.kind == "json" else "text"}


def relay_request(body: dict[str, Any], *, model: str, profile: Profile) -> dict[str, Any]:
    """*body* for an upstream of the same dialect: everything stays but what the gateway must set."""
    out = {key: value for key, value in body.items() if key not in profile.drops_fields}
    out["model"] = model
    other = "max_tokens" if profile.max_tokens_field == "max_completion_tokens" else "max_completion_tokens"
    if profile.max_tokens_field == "max_tokens" and other in out:
        out.setdefault("max_tokens", out.pop(other))
    if out.get("stream"):
        if profile.asks_usage:
            out["stream_options"] = {**as_dict(out.get("stream_options")), "include_usage": True}
        else:
            out.pop("stream_options", None)
    return out


def encode_body(body: dict[str, Any]) -> bytes:
    return json_text.encode_compact(body)
