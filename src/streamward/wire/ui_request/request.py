"""The request of a UI hook, taken apart."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

from streamward.errors import InvalidRequest
from streamward.wire.ui_request.fields import Json, as_list, as_object, optional_text, text

Generation: TypeAlias = Literal[2, 3, 4, 5, 6, 7]


class UiRequest(Struct, frozen=True, kw_only=True):
    """A hook's request, taken apart."""

    generation: Generation
    """As far as the form tells: 5 stands for 5, 6 and 7, which post the same."""
    messages: tuple[Json, ...]
    """UI messages as posted; a ``prompt`` (useCompletion) is one user message."""
    chat_id: str | None = None
    trigger: str | None = None
    message_id: str | None = None
    continues: str | None = None
    """Id of the assistant message that the answer must continue, if the last message is one."""
    data: Any = None
    body: Json
    """Everything else in the body: the application's own fields."""


def parse_request(body: Any) -> UiRequest:
    """Take the JSON body of ``useChat`` or ``useCompletion`` apart.

    Raises:
        InvalidRequest: neither messages nor a prompt, or not of the right type.
    """
    fields = as_object(body, "body")
    if "messages" not in fields and "prompt" in fields:
        messages: list[Any] = [{"role": "user", "content": text(fields, "prompt", "body")}]
    else:
        messages = as_list(fields.get("messages"), "messages")
    if not messages:
        raise InvalidRequest("messages: expected at least one message, got none", param="messages")
    checked = tuple(as_object(message, f"messages[{at}]") for at, message in enumerate(messages))
    last = checked[-1]
    return UiRequest(
        generation=generation(checked),
        messages=checked,
        chat_id=optional_text(fields, "id"),
        trigger=optional_text(fields, "trigger"),
        message_id=optional_text(fields, "messageId"),
        continues=optional_text(last, "id") if last.get("role") == "assistant" else None,
        data=fields.get("data"),
        body={name: value for name, value in fields.items() if name not in OWN_FIELDS},
    )


def generation(messages: tuple[Json, ...] | list[Json]) -> Generation:
    """Which generation's form *messages* have: the oldest that explains all of them."""
    found: Generation = 5
    for message in messages:
        if "content" not in message and "parts" in message:
            continue
        if "function_call" in message or "tool_calls" in message or message.get("role") in ("function", "tool"):
            return 2
        found = 4 if "parts" in message and found >= 4 else 3
    return found


OWN_FIELDS = frozenset(("messages", "prompt", "id", "trigger", "messageId", "data"))
