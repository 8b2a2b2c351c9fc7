"""Chat Completions requests: the body to a call.

Follows the Chat Completions reference, "Create chat completion". Fields the call has no word for stay in
``extra["chat_completions"]``. The way back is in ``render``.
"""

from __future__ import annotations

from typing import Any

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
from streamward.wire.chat_completions.request_shapes import (
    KNOWN,
    FormatIn,
    MessageIn,
    ReasoningIn,
    RequestIn,
    ToolIn,
    validate,
)  # fmt: skip
from streamward.wire.chat_completions.shapes import NAME, told
from streamward.wire.loose import as_dict, as_list


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
    thought = message.reasoning_content or message.reasoning or "".join(map(told, details))
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
