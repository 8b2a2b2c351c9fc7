"""Chat Completions requests: a call to the body, and a body of the same dialect to the one that goes upstream.

The way in is in ``parse``.
"""

from __future__ import annotations

import base64
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
    Tool,
    ToolChoice,
    ToolOutput,
    ToolUse,
)  # fmt: skip
from streamward.errors import Unsupported
from streamward.wire.chat_completions.encode import reasoning_details
from streamward.wire.chat_completions.shapes import NAME
from streamward.wire.dialect import Profile
from streamward.wire.foreign import refuse_foreign
from streamward.wire.loose import as_dict


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
        if (text := text_of(part)) is not None:
            return {"type": "text", "text": text}
        if part.url:
            raise Unsupported("Chat Completions takes files as data or file_id, not by URL", param="messages")
        file: dict[str, Any] = {"file_id": part.file_id} if part.file_id else {
            "file_data": f"data:{part.media_type or 'application/octet-stream'};base64,{part.data}"
        }  # fmt: skip
        if part.filename:
            file["filename"] = part.filename
        return {"type": "file", "file": file}
    raise Unsupported(f"a {type(part).__name__} part cannot stand in this message", param="messages")


def text_of(part: Document) -> str | None:
    """What a text file says. As ``file_data`` it would be refused: the API reads PDF there, and the AI SDK sends text too."""
    if part.data is None or not (part.media_type or "").startswith("text/"):
        return None
    try:
        return base64.b64decode(part.data).decode("utf-8", "replace")
    except ValueError:
        return None


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
