"""Request bodies: messages and settings as the caller has them, in the dialect that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from streamward.call import Call, Message
from streamward.errors import InvalidRequest
from streamward.wire.chat_completions import parse_request
from streamward.wire.dialect import Profile
from streamward.wire.table import dialect as dialect_module

DialectName: TypeAlias = Literal["chat", "responses"]
Messages: TypeAlias = str | Sequence[Mapping[str, Any] | Message]

MODULE_OF: dict[str, str] = {"chat": "chat_completions", "responses": "responses"}

SPELLING: dict[str, dict[str, str]] = {
    "chat": {"max_output_tokens": "max_completion_tokens", "stop_sequences": "stop"},
    "responses": {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"},
}
"""Settings that both dialects have under different names; everything else goes out as it is."""


def request_body(
    dialect: str, model: str, messages: Messages | None, settings: Mapping[str, Any], *, stream: bool
) -> dict[str, Any]:
    """The JSON body.

    *messages* are Chat Completions messages, ``streamward.call`` messages, or one user's text; for ``responses`` they
    are converted to input items. *settings* are fields of the dialect's request and are sent as they are.

    Raises:
        InvalidRequest: an unknown dialect, or messages that are none.
    """
    if dialect not in MODULE_OF:
        raise InvalidRequest(f'dialect is "chat" or "responses", not {dialect!r}', param="dialect")
    fields = {SPELLING[dialect].get(name, name): value for name, value in settings.items() if value is not None}
    body = {**messages_body(dialect, model, messages, fields), **fields}
    if stream:
        body["stream"] = True
        if dialect == "chat":
            body.setdefault("stream_options", {"include_usage": True})
    return body


def messages_body(dialect: str, model: str, messages: Messages | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    if messages is None:
        if dialect == "responses" and fields.keys() & {"input", "previous_response_id", "prompt"}:
            return {"model": model}
        raise InvalidRequest("messages: expected a list of messages or a text", param="messages")
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if dialect == "chat" and all(isinstance(message, Mapping) for message in messages):
        return {"model": model, "messages": list(messages)}
    call = Call(model, tuple(canonical(messages)))
    body = dialect_module(MODULE_OF[dialect]).render_request(call, model=model, profile=Profile())
    return {name: body[name] for name in ("model", "messages", "input", "instructions") if name in body}


def canonical(messages: Sequence[Mapping[str, Any] | Message]) -> list[Message]:
    """Messages of either form as canonical ones, in order."""
    result: list[Message] = []
    plain: list[dict[str, Any]] = []
    for message in [*messages, None]:
        if isinstance(message, Mapping):
            plain.append(dict(message))
            continue
        if plain:  # together, so that the outputs of one turn's tools stay together
            result.extend(parse_request({"model": "m", "messages": plain}).messages)
            plain = []
        if message is not None:
            result.append(message)
    return result
