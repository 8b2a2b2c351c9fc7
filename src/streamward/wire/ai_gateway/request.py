"""The call options of a language model (``LanguageModelV2`` to ``V4``) to the canonical call.

``model`` and ``stream`` come with headers; who serves the route puts them into the body. Options of single providers
(``providerOptions``) are theirs; those that say how much to reason are understood, our own bring signatures back.
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
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolOutput,
    ToolUse,
)
from streamward.errors import InvalidRequest, Unsupported
from streamward.wire import json_text

Json = dict[str, Any]
EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})


def parse_request(body: Json) -> Call:
    """Raises InvalidRequest naming the field, Unsupported for what no target could be told."""
    prompt = body.get("prompt")
    if not isinstance(prompt, list) or not prompt:
        raise wrong("prompt", "a list of messages", prompt)
    stop = body.get("stopSequences") or []
    if not isinstance(stop, list) or not all(isinstance(item, str) for item in stop):
        raise wrong("stopSequences", "a list of texts", stop)
    return Call(
        model=text_of(body, "model"),
        messages=tuple(message(item, f"prompt[{i}]") for i, item in enumerate(prompt)),
        tools=tuple(tool(item, f"tools[{i}]") for i, item in enumerate(list_of(body, "tools"))),
        tool_choice=tool_choice(body.get("toolChoice")),
        max_output_tokens=integer(body, "maxOutputTokens"), temperature=number(body, "temperature"),
        top_p=number(body, "topP"), top_k=integer(body, "topK"), presence_penalty=number(body, "presencePenalty"),
        frequency_penalty=number(body, "frequencyPenalty"), stop=tuple(stop), seed=integer(body, "seed"),
        output=output(body.get("responseFormat")), thinking=thinking(body), stream=body.get("stream") is True,
        include_usage=True,
    )  # fmt: skip


# -- messages


def message(item: Any, at: str) -> Message:
    if not isinstance(item, dict):
        raise wrong(at, "a message", item)
    role, content = item.get("role"), item.get("content")
    if role == "system":
        if not isinstance(content, str):
            raise wrong(f"{at}.content", "a text", content)
        return Message("system", (Text(content),))
    if role not in ("user", "assistant", "tool"):
        raise wrong(f"{at}.role", "system, user, assistant or tool", role)
    if not isinstance(content, list):
        raise wrong(f"{at}.content", "a list of parts", content)
    parts = (part(one, f"{at}.content[{i}]") for i, one in enumerate(content))
    return Message(role, tuple(one for one in parts if one is not None))


def part(item: Any, at: str) -> Part | None:
    if not isinstance(item, dict):
        raise wrong(at, "a part", item)
    kind = item.get("type")
    own = own_options(item)
    if kind == "text":
        return Text(text_of(item, "text", at))
    if kind == "reasoning":
        return Reasoning(text_of(item, "text", at), own.get("signature"), own.get("redacted"))
    if kind == "file":
        return file(item, at)
    if kind == "tool-call":
        given = item.get("input")
        arguments = given if isinstance(given, str) else json_text.encode({} if given is None else given).decode()
        return ToolUse(text_of(item, "toolCallId", at), text_of(item, "toolName", at), arguments, own.get("signature"))
    if kind == "tool-result":
        return tool_result(item, at)
    if kind in ("tool-approval-request", "tool-approval-response"):
        return None  # between the application and its user; a denial comes as the call's result
    raise Unsupported(f"{at}: a part of type {str(kind)[:40]!r} cannot be sent to a model", param=at)


def own_options(item: Json) -> dict[str, str]:
    """What our answers asked to get back."""
    options = item.get("providerOptions")
    own = options.get("streamward") if isinstance(options, dict) else None
    return {name: value for name, value in own.items() if isinstance(value, str)} if isinstance(own, dict) else {}


def file(item: Json, at: str) -> Image | Document | Audio | Text:
    """A file's data is base64, a ``data:`` URL or a URL; in version 4 an object that says which."""
    media_type = text_of(item, "mediaType", at)
    data, url = file_source(item.get("data"), at)
    if isinstance(data, Text):
        return data
    if media_type.startswith("image/"):
        return Image(url=url, data=data, media_type=None if media_type == "image/*" else media_type)
    if media_type.startswith("audio/") and data is not None:
        kind = media_type.partition("/")[2]
        return Audio(data, {"mpeg": "mp3", "x-wav": "wav"}.get(kind, kind))
    name = item.get("filename")
    return Document(url=url, data=data, media_type=media_type, filename=name if isinstance(name, str) else None)


def file_source(value: Any, at: str) -> tuple[str | Text | None, str | None]:
    """(data or inline text, url)."""
    if isinstance(value, dict):
        kind = value.get("type")
        if kind == "text":
            return Text(text_of(value, "text", f"{at}.data")), None
        if kind not in ("data", "url"):
            raise Unsupported(f"{at}.data: a file by {str(kind)[:40]!r} cannot be sent to another provider", param=at)
        value = value.get(kind)
    if not isinstance(value, str) or not value:
        raise wrong(f"{at}.data", "base64 or a URL", value)
    if value.startswith("data:"):
        head, comma, data = value.partition(",")
        if not comma or not head.endswith(";base64"):
            raise wrong(f"{at}.data", "a data URL in base64", head)
        return data, None
    if value.startswith(("http://", "https://")):
        return None, value
    return value, None


def tool_result(item: Json, at: str) -> ToolOutput:
    result = item.get("output")
    if not isinstance(result, dict):
        raise wrong(f"{at}.output", "an object", result)
    kind, value = result.get("type"), result.get("value")
    call_id, name = text_of(item, "toolCallId", at), text_of(item, "toolName", at)
    if kind == "execution-denied":
        reason = result.get("reason")
        return ToolOutput(call_id, reason if isinstance(reason, str) else "the user denied this call", name, is_error=True)
    if kind == "content" and isinstance(value, list):
        parts = [content(one, f"{at}.output.value[{i}]") for i, one in enumerate(value)]
        return ToolOutput(call_id, tuple(parts), name)
    if kind in ("text", "error-text"):
        return ToolOutput(call_id, text_of(result, "value", f"{at}.output"), name, is_error=kind == "error-text")
    if kind in ("json", "error-json"):
        return ToolOutput(call_id, json_text.encode(value).decode(), name, is_error=kind == "error-json")
    raise wrong(f"{at}.output.type", "text, json, error-text, error-json or content", kind)


def content(item: Any, at: str) -> Text | Image | Document:
    if isinstance(item, dict) and item.get("type") in ("media", "image-data", "file-data", "image-url", "file-url"):
        item = {
            **item,
            "type": "file",
            "data": item.get("data", item.get("url")),
            "mediaType": item.get("mediaType", "image/*"),
        }
    found = part(item, at)
    if isinstance(found, (Text, Image, Document)):
        return found
    raise wrong(at, "a text or a file", item.get("type") if isinstance(item, dict) else item)


# -- tools and settings


def tool(item: Any, at: str) -> Tool:
    if not isinstance(item, dict):
        raise wrong(at, "a tool", item)
    if item.get("type") != "function":
        raise Unsupported(f"{at}: tools that a provider runs itself are not available here; give a function", param=at)
    schema, strict = item.get("inputSchema"), item.get("strict")
    description = item.get("description")
    return Tool(
        text_of(item, "name", at), description if isinstance(description, str) else None,
        schema if isinstance(schema, dict) else None, strict if isinstance(strict, bool) else None,
    )  # fmt: skip


def tool_choice(value: Any) -> ToolChoice | None:
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "tool":
        return ToolChoice("tool", text_of(value, "toolName", "toolChoice"))
    if kind in ("auto", "none", "required"):
        return ToolChoice(kind)
    raise wrong("toolChoice.type", "auto, none, required or tool", kind)


def output(value: Any) -> Output | None:
    if value is None or (isinstance(value, dict) and value.get("type") == "text"):
        return None
    if not isinstance(value, dict) or value.get("type") != "json":
        raise wrong("responseFormat", "an object of type text or json", value)
    schema = value.get("schema")
    if not isinstance(schema, dict):
        return Output("json")
    name, description = value.get("name"), value.get("description")
    return Output(
        "json-schema", name if isinstance(name, str) else "response", schema,
        description=description if isinstance(description, str) else None,
    )  # fmt: skip


def thinking(body: Json) -> Thinking | None:
    """``reasoning`` of version 4, or what the options of the two best known providers say."""
    effort = body.get("reasoning")
    options = body.get("providerOptions")
    if effort is None and isinstance(options, dict):
        openai, anthropic = options.get("openai"), options.get("anthropic")
        effort = openai.get("reasoningEffort") if isinstance(openai, dict) else None
        asked = anthropic.get("thinking") if isinstance(anthropic, dict) else None
        if isinstance(asked, dict) and type(asked.get("budgetTokens")) is int:
            return Thinking(max_tokens=asked["budgetTokens"], enabled=True)
    return Thinking(effort=effort) if isinstance(effort, str) and effort in EFFORTS else None  # type: ignore[arg-type]


# -- fields


def wrong(at: str, wanted: str, came: Any) -> InvalidRequest:
    return InvalidRequest(f"{at}: expected {wanted}, got {type(came).__name__}", param=at)


def text_of(body: Json, name: str, at: str = "") -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise wrong(f"{at}.{name}" if at else name, "a text", value)
    return value


def list_of(body: Json, name: str) -> list[Any]:
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong(name, "a list", value)
    return value


def integer(body: Json, name: str) -> int | None:
    value = number(body, name)
    if value is None or value == int(value):
        return None if value is None else int(value)
    raise wrong(name, "a whole number", value)


def number(body: Json, name: str) -> float | None:
    value = body.get(name)
    if value is None or type(value) in (int, float):
        return value
    raise wrong(name, "a number", value)
