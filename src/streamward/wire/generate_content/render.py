"""Canonical calls to Gemini requests.

Follows ``GenerateContentRequest``. System and developer messages become ``systemInstruction``, wherever they stood;
contents of one role in a row are merged. Earlier reasoning that another provider signed, or none, is left out: it
is of no use here. ``user``, ``metadata`` and names of speakers have no place and change no answer.
"""

from __future__ import annotations

from typing import Any

from streamward.call import (
    Audio,
    Call,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolOutput,
    ToolUse,
)
from streamward.errors import InvalidRequest, Unsupported
from streamward.wire import json_text
from streamward.wire.dialect import Profile
from streamward.wire.foreign import refuse_foreign, tool_input
from streamward.wire.generate_content.shapes import MINTED, NAME, extra_of, own_signature

BUDGET_OF_EFFORT = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
"""Thinking budgets for effort words; 24576 is the largest that every thinking model accepts."""

LEVEL_OF_EFFORT = {
    "none": "minimal", "minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high",
}  # fmt: skip
"""Thinking levels of models that know no budget, and cannot switch thinking off either."""


def render_request(call: Call, *, model: str, profile: Profile) -> dict[str, Any]:
    """Raises Unsupported for what this dialect or *profile* cannot do. The model stands in the path, not here."""
    refuse(call, profile)
    extra = dict(extra_of(call.extra))
    body: dict[str, Any] = {}
    system = [part for message in call.messages if message.role in SYSTEM for part in render_system(message)]
    if system:
        body["systemInstruction"] = {"parts": system}
    body["contents"] = render_contents(call.messages, profile)
    tool_config = dict(extra.pop("toolConfig", {}))
    render_tools(call, body, tool_config)
    if tool_config:
        body["toolConfig"] = tool_config
    config = render_config(call, profile) | extra.pop("generationConfig", {})
    if config:
        body["generationConfig"] = config
    return body | {name: value for name, value in extra.items() if name not in profile.drops_fields}


def refuse(call: Call, profile: Profile) -> None:
    """What no Gemini target can do, and what this one cannot."""
    asked = {
        "n": call.choices != 1,
        "logprobs": bool(call.logprobs) or bool(call.top_logprobs),
        "verbosity": call.verbosity not in (None, "medium"),
        "parallel_tool_calls": call.parallel_tool_calls is False and bool(call.tools),
    }
    for field, needed in asked.items():
        if needed:
            raise Unsupported(
                f"{CANNOT.get(field, field)} is not available from Gemini targets; leave it out or pick another model",
                param=field,
            )
    parts = [part for message in call.messages for part in message.parts]
    features = {
        "tools": bool(call.tools),
        "thinking": call.thinking is not None and call.thinking.enabled is not False and call.thinking.effort != "none",
        "json_schema": call.output is not None and call.output.kind == "json-schema",
        "images": any(isinstance(part, Image) for part in parts),
        "image_urls": any(isinstance(part, Image) and part.url is not None for part in parts),
        "documents": any(isinstance(part, Document) for part in parts),
        "audio": any(isinstance(part, Audio) for part in parts),
    }
    for feature in profile.unsupported:
        if features.get(feature):
            raise Unsupported(f"this provider cannot do {feature}; leave it out or pick another model", param=feature)
    refuse_foreign(call, NAME)


# -- settings


def render_tools(call: Call, body: dict[str, Any], tool_config: dict[str, Any]) -> None:
    choice = call.tool_choice
    narrowed = choice.allowed if choice is not None and choice.mode == "auto" else ()
    declared: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    for tool in call.tools:
        kept = extra_of(tool.extra)
        if tool.name in kept:  # a tool of the provider
            groups.append({tool.name: kept[tool.name]})
        elif not narrowed or tool.name in narrowed:
            declared.append(render_tool(tool) | kept)
    if declared:
        groups.insert(0, {"functionDeclarations": declared})
    if groups:
        body["tools"] = groups
    if choice is None or not declared:
        return
    calling: dict[str, Any] = {"mode": MODES[choice.mode]}
    if choice.mode == "tool":
        calling["allowedFunctionNames"] = [choice.name]
    elif choice.mode == "required" and choice.allowed:
        calling["allowedFunctionNames"] = list(choice.allowed)
    tool_config["functionCallingConfig"] = calling


def render_tool(tool: Tool) -> dict[str, Any]:
    out: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        out["description"] = tool.description
    if tool.schema is not None:
        out["parametersJsonSchema"] = tool.schema
    return out


def render_config(call: Call, profile: Profile) -> dict[str, Any]:
    named = {
        "maxOutputTokens": call.max_output_tokens,
        "temperature": call.temperature,
        "topP": call.top_p,
        "topK": call.top_k,
        "presencePenalty": call.presence_penalty,
        "frequencyPenalty": call.frequency_penalty,
        "seed": call.seed,
        "stopSequences": list(call.stop) or None,
    }
    config: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if call.output is not None and call.output.kind != "text":
        config["responseMimeType"] = "application/json"
        if call.output.kind == "json-schema":
            config["responseJsonSchema"] = call.output.schema or {}
    if call.thinking is not None:
        config["thinkingConfig"] = render_thinking(call.thinking, profile)
    return config


def render_thinking(thinking: Thinking, profile: Profile) -> dict[str, Any]:
    effort = thinking.effort
    if thinking.enabled is False or effort == "none":
        return {"thinkingLevel": "minimal"} if profile.effort_form == "adaptive" else {"thinkingBudget": 0}
    out: dict[str, Any] = {"includeThoughts": True}
    if thinking.max_tokens is not None:
        out["thinkingBudget"] = thinking.max_tokens
    elif effort is not None and profile.effort_form == "adaptive":
        out["thinkingLevel"] = LEVEL_OF_EFFORT[effort]
    elif effort is not None:
        out["thinkingBudget"] = BUDGET_OF_EFFORT[effort]
    return out


# -- contents


def render_system(message: Message) -> list[dict[str, Any]]:
    parts = []
    for part in message.parts:
        if not isinstance(part, Text):
            raise Unsupported(f"{type(part).__name__.lower()} in a system message is not available from Gemini targets")
        if part.text:
            parts.append({"text": part.text})
    return parts


def render_contents(messages: tuple[Message, ...], profile: Profile) -> list[dict[str, Any]]:
    names: dict[str, str] = {}
    contents: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        if message.role in SYSTEM:
            continue
        parts = []
        for part in message.parts:
            if isinstance(part, ToolUse):
                names[part.id] = part.name
            parts.extend(render_part(part, names, f"messages[{index}]"))
        if message.role == "assistant" and profile.placeholder_signature is not None:
            sign_first_call(parts, profile.placeholder_signature)
        role = "model" if message.role == "assistant" else "user"
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"].extend(parts)
        elif parts:
            contents.append({"role": role, "parts": parts})
    if not contents:
        raise InvalidRequest("messages must hold a user message besides instructions", param="messages")
    return contents


def sign_first_call(parts: list[dict[str, Any]], placeholder: str) -> None:
    """Models that demand a signature on the first call of a turn accept a fixed word where it was lost."""
    first = next((part for part in parts if "functionCall" in part), None)
    if first is not None:
        first.setdefault("thoughtSignature", placeholder)


def render_part(part: Part, names: dict[str, str], path: str) -> list[dict[str, Any]]:
    extra = {} if isinstance(part, Refusal) else extra_of(part.extra)
    if isinstance(part, Text):
        return [{"text": part.text} | extra] if part.text or "thoughtSignature" in extra else ([extra] if extra else [])
    if isinstance(part, Refusal):
        return [{"text": part.text}] if part.text else []
    if isinstance(part, Reasoning):
        signature = own_signature(part.signature)
        return [{"text": part.text, "thought": True, "thoughtSignature": signature} | extra] if signature else []
    if isinstance(part, ToolUse):
        call = shown_id(part.id) | {"name": part.name, "args": tool_input(part, path)}
        signature = own_signature(part.signature)
        signed = {"thoughtSignature": signature} if signature is not None else {}
        return [{"functionCall": call} | signed | extra]
    if isinstance(part, ToolOutput):
        return [{"functionResponse": render_answer(part, names, path)} | extra]
    return [render_media(part) | extra]


def shown_id(call_id: str) -> dict[str, Any]:
    """Ids we made ourselves mean nothing to the provider."""
    return {} if call_id.startswith(MINTED) else {"id": call_id}


def render_answer(part: ToolOutput, names: dict[str, str], path: str) -> dict[str, Any]:
    name = names.get(part.id) or part.name
    if name is None:
        raise InvalidRequest(
            f"{path}: the tool result for {part.id!r} has no call before it; send the call's message as well", param=path
        )
    media: list[dict[str, Any]] = []
    if isinstance(part.output, str):
        text = part.output
    else:
        text = "".join(inner.text for inner in part.output if isinstance(inner, Text))
        media = [render_media(inner) for inner in part.output if not isinstance(inner, Text)]
    out: dict[str, Any] = shown_id(part.id) | {"name": name, "response": response_object(text, is_error=part.is_error)}
    return out | ({"parts": media} if media else {})


def response_object(text: str, *, is_error: bool) -> dict[str, Any]:
    """A tool's answer as the object this dialect wants: JSON objects as they are, other text under a name."""
    if is_error:
        return {"error": text}
    if text.startswith("{"):
        try:
            value = json_text.decode_any(text.encode())
        except (ValueError, RecursionError):
            value = None
        if type(value) is dict:
            return value
    return {"output": text}


def render_media(part: Image | Document | Audio) -> dict[str, Any]:
    if isinstance(part, Audio):
        return {"inlineData": {"mimeType": f"audio/{part.format}", "data": part.data}}
    default = "image/jpeg" if isinstance(part, Image) else "application/pdf"
    url = part.url or (part.file_id if isinstance(part, Document) else None)
    if url is not None:
        ending = url.partition("?")[0].rpartition(".")[2].lower()
        media_type = part.media_type or MEDIA_TYPES.get(ending, default)
        return {"fileData": {"mimeType": media_type, "fileUri": url}}
    if part.data is None:
        raise Unsupported(f"this {type(part).__name__.lower()} is in a form that Gemini targets cannot take")
    return {"inlineData": {"mimeType": part.media_type or default, "data": part.data}}


MEDIA_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "pdf": "application/pdf", "txt": "text/plain", "md": "text/markdown", "html": "text/html",
    "csv": "text/csv", "mp4": "video/mp4", "webm": "video/webm", "mp3": "audio/mpeg", "wav": "audio/wav",
}  # fmt: skip
"""By file ending: the dialect demands a type beside every URL."""

SYSTEM = frozenset({"system", "developer"})
MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}
CANNOT = {
    "n": "more than one choice (n)",
    "logprobs": "log probabilities (logprobs)",
    "parallel_tool_calls": "one tool call at a time (parallel_tool_calls false)",
}
