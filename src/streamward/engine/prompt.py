"""What the application gives as ``messages``, ``prompt`` and ``system``, as canonical messages.

Three forms are recognised: UI messages of any AI SDK generation (what a hook posts), model messages as the AI SDK
writes them (``content`` a text or parts such as ``tool-call``), and OpenAI's form. They may be plain dictionaries or
:class:`streamward.call.Message` values.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from streamward.call import Message, Part, Reasoning, Role, Text, ToolOutput, ToolUse
from streamward.errors import InvalidRequest
from streamward.wire.json_text import encode, json_type
from streamward.wire.ui_request import Approval, convert_messages
from streamward.wire.ui_request.fields import Json, as_list, as_object, optional_text, text
from streamward.wire.ui_request.files import file_part

UI_FIELDS = frozenset(("parts", "toolInvocations", "experimental_attachments"))
MODEL_PARTS = frozenset(("tool-call", "tool-result", "reasoning", "image", "tool-approval-request", "tool-approval-response"))
ROLES = ("system", "developer", "user", "assistant", "tool")


class Prompt(Struct, frozen=True):
    """A conversation for a model, and the approvals that its last message brings (UI messages only)."""

    messages: tuple[Message, ...]
    approvals: tuple[Approval, ...] = ()
    continues: str | None = None
    """Id of the UI message of the assistant that the answer continues, if the last message is one."""


def prompt_of(messages: Any, prompt: Any, system: str | Sequence[Message] | None) -> Prompt:
    """The conversation.

    Raises:
        InvalidRequest: neither messages nor a prompt, both of them, or a message that cannot be read; ``param`` names it.
    """
    if isinstance(prompt, (list, tuple)) and messages is None:
        messages, prompt = prompt, None
    if (messages is None) == (prompt is None):
        what = "neither" if messages is None else "both"
        raise InvalidRequest(f"expected messages or a prompt, got {what}", param="messages")
    if prompt is not None:
        if not isinstance(prompt, str):
            raise InvalidRequest(f"prompt: expected text, got {type(prompt).__name__}", param="prompt")
        found = Prompt((Message("user", (Text(prompt),)),))
    else:
        found = read(messages)
    if system is not None:
        head = (Message("system", (Text(system),)),) if isinstance(system, str) else tuple(system)
        found = msgspec.structs.replace(found, messages=(*head, *found.messages))
    return found


def read(messages: Any) -> Prompt:
    if isinstance(messages, (str, bytes, dict)) or not hasattr(messages, "__iter__"):
        raise InvalidRequest(f"messages: expected a list, got {type(messages).__name__}", param="messages")
    items = list(messages)
    if not items:
        raise InvalidRequest("messages: expected at least one message, got none", param="messages")
    if all(isinstance(item, Message) for item in items):
        return Prompt(tuple(items))
    plain: list[Message | Json] = [
        item if isinstance(item, Message) else as_object(builtin(item), f"messages[{at}]") for at, item in enumerate(items)
    ]
    if any(isinstance(item, dict) and is_ui_message(item) for item in plain):
        return read_ui(plain)
    if any(isinstance(item, Message) or is_model_message(item) for item in plain):
        return Prompt(tuple(
            item if isinstance(item, Message) else model_message(item, f"messages[{at}]") for at, item in enumerate(plain)
        ))  # fmt: skip
    return Prompt(openai_messages([item for item in plain if isinstance(item, dict)]))


def builtin(value: Any) -> Any:
    """Objects of other libraries (pydantic models of the OpenAI SDK, Structs) as dictionaries."""
    if isinstance(value, dict):
        return value
    if hasattr(value, "model_dump"):
        return value.model_dump(exclude_none=True, by_alias=True)
    try:
        return msgspec.to_builtins(value)
    except TypeError:
        return value


def read_ui(items: list[Any]) -> Prompt:
    mixed = next((at for at, item in enumerate(items) if isinstance(item, Message)), None)
    if mixed is not None:
        raise InvalidRequest(
            f"messages[{mixed}]: a model message among UI messages; convert those first", param=f"messages[{mixed}]"
        )
    converted = convert_messages(items)
    last = items[-1]
    continues = optional_text(last, "id") if last.get("role") == "assistant" else None
    return Prompt(converted.messages, converted.approvals, continues)


def openai_messages(items: list[Json]) -> tuple[Message, ...]:
    from streamward.wire import chat_completions

    for at, item in enumerate(items):
        if item.get("role") not in (*ROLES, "function"):
            raise InvalidRequest(f"messages[{at}].role: expected one of {', '.join(ROLES)}", param=f"messages[{at}].role")
    return chat_completions.parse_request({"model": "-", "messages": items}).messages


def is_ui_message(item: Json) -> bool:
    """Whether only a UI hook writes such a message; the ``data`` role is version 4's."""
    return not UI_FIELDS.isdisjoint(item) or item.get("role") == "data"


def is_model_message(item: Json) -> bool:
    """Whether the message has parts as the AI SDK's model messages do."""
    content = item.get("content")
    if not isinstance(content, (list, tuple)):
        return False
    return any(isinstance(part, msgspec.Struct) or (isinstance(part, dict) and is_model_part(part)) for part in content)


def is_model_part(part: Json) -> bool:
    kind = part.get("type")
    return kind in MODEL_PARTS or (kind == "file" and "file" not in part)  # OpenAI's has its fields under "file"


def model_message(item: Json, where: str) -> Message:
    role = text(item, "role", where)
    if role not in ROLES:
        raise InvalidRequest(f"{where}.role: expected one of {', '.join(ROLES)}, got {role[:40]!r}", param=f"{where}.role")
    content = item.get("content")
    if isinstance(content, str):
        return Message(as_role(role), (Text(content),))
    if "tool_calls" in item or content is None:
        return openai_messages([item])[0]
    found: list[Part] = []
    for at, part in enumerate(as_list(list(content) if isinstance(content, tuple) else content, f"{where}.content")):
        if isinstance(part, msgspec.Struct):
            found.append(part)  # type: ignore[arg-type]  # a part of streamward.call
            continue
        spot = f"{where}.content[{at}]"
        fields = as_object(part, spot)
        reader = READERS.get(text(fields, "type", spot))
        if reader is None:
            raise InvalidRequest(f"{spot}.type: {fields['type'][:40]!r} is no part of a model message", param=f"{spot}.type")
        made = reader(fields, spot)
        if made is not None:
            found.append(made)
    return Message(as_role(role), tuple(found))


def as_role(role: str) -> Role:
    return role  # type: ignore[return-value]  # checked by the caller


def tool_call(part: Json, where: str) -> Part:
    value = part.get("input", part.get("args"))
    return ToolUse(
        text(part, "toolCallId", where), text(part, "toolName", where),
        value if isinstance(value, str) else encode(value).decode(),
    )  # fmt: skip


def tool_result(part: Json, where: str) -> Part:
    value, is_error = part.get("output", part.get("result")), bool(part.get("isError"))
    if isinstance(value, dict) and value.get("type") in OUTPUT_TYPES and "value" in value | {"value": value.get("reason")}:
        kind = value["type"]
        is_error = is_error or kind.startswith("error") or kind == "execution-denied"
        if kind == "content":
            parts = [model_message({"role": "user", "content": [item]}, where).parts[0] for item in value["value"]]
            return ToolOutput(text(part, "toolCallId", where), tuple(parts), text(part, "toolName", where), is_error)  # type: ignore[arg-type]  # user parts
        value = value.get("value") if kind != "execution-denied" else value.get("reason") or "Tool call execution denied."
    output = value if isinstance(value, str) else encode(value).decode()
    return ToolOutput(text(part, "toolCallId", where), output, optional_text(part, "toolName"), is_error)


def image(part: Json, where: str) -> Part:
    return file_part(url_of(part.get("image"), part, where), media_type(part) or "image/png", None, param=where)


def document(part: Json, where: str) -> Part:
    if "data" not in part and "url" not in part:
        raise InvalidRequest(f"{where}: a file part needs data or a url", param=where)
    url = url_of(part.get("data", part.get("url")), part, where)
    return file_part(url, media_type(part), optional_text(part, "filename"), param=where)


def media_type(part: Json) -> str | None:
    return optional_text(part, "mediaType") or optional_text(part, "mimeType")


def url_of(value: Any, part: Json, where: str) -> str:
    """A file's content as a URL: URLs as they are, bytes and base64 as data URLs."""
    if isinstance(value, (bytes, bytearray)):
        value = base64.b64encode(value).decode()
    if not isinstance(value, str):
        raise InvalidRequest(f"{where}: expected bytes, base64 or a URL, got {json_type(value)}", param=where)
    if value.startswith(("http://", "https://", "data:")):
        return value
    return f"data:{media_type(part) or 'image/png'};base64,{value}"


def thought(part: Json, where: str) -> Part:
    return Reasoning(text(part, "text", where), optional_text(part, "signature"))


OUTPUT_TYPES = frozenset(("text", "json", "error-text", "error-json", "content", "execution-denied"))
READERS: dict[str, Callable[[Json, str], Part | None]] = {
    "text": lambda part, where: Text(text(part, "text", where)),
    "image": image, "file": document, "media": document, "reasoning": thought,
    "redacted-reasoning": lambda part, where: Reasoning(redacted=text(part, "data", where)),
    "tool-call": tool_call, "tool-result": tool_result,
    "tool-approval-request": lambda part, where: None, "tool-approval-response": lambda part, where: None,
}  # fmt: skip


def model_messages(messages: Any) -> tuple[Message, ...]:
    """*messages* in any of the forms that ``stream_text`` takes, as model messages.

    Raises:
        InvalidRequest: a message that cannot be read; ``info.param`` names it.
    """
    return prompt_of(messages, None, None).messages
