"""One line of the data stream to a part, checked as AI SDK 4's own client checks it, in its words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from streamward.wire import json_text

NAN = float("nan")



class Part(Struct, frozen=True):
    """A parsed line; ``type`` is the part's name in the protocol (``text``, ``tool_call``, ...)."""

    type: str
    value: Any


class PartError(ValueError):
    """The line is none of the protocol; ``str()`` is what the AI SDK's client says about it."""


def parse_part(line: str) -> Part:
    """The part in *line*, which has no line feed.

    Raises:
        PartError: no separator, unknown code, bad JSON or a value of the wrong shape.
    """
    code, separator, text = line.partition(":")
    if not separator:
        raise PartError("Failed to parse stream string. No separator found.")
    entry = CODES.get(code)
    if entry is None:
        raise PartError(f"Failed to parse stream string. Invalid code {code}.")
    try:
        value = json_text.decode_answer(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as exc:
        truncated = "truncated" in str(exc)
        raise PartError("Unexpected end of JSON input" if truncated else f"Unexpected token in JSON: {exc}") from None
    name, check = entry
    return Part(name, check(value))


def expect(accepted: bool, message: str) -> None:
    if not accepted:
        raise PartError(message)


def string(name: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        expect(type(value) is str, f'"{name}" parts expect a string value.')
        return value

    return check


def array(name: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        expect(type(value) is list, f'"{name}" parts expect an array value.')
        return value

    return check


def fields(name: str, names: tuple[str, ...], wording: str, *, only: bool = False) -> Callable[[Any], Any]:
    """A check for string fields *names*; with *only*, nothing else is kept."""

    def check(value: Any) -> Any:
        accepted = type(value) is dict and all(type(value.get(field)) is str for field in names)
        expect(accepted, f'"{name}" parts expect an object with {wording}.')
        return {field: value[field] for field in names} if only else value

    return check


def tool_call(value: Any) -> Any:
    accepted = type(value) is dict and type(value.get("toolCallId")) is str and type(value.get("toolName")) is str
    accepted = accepted and "args" in value and isinstance(value["args"], (dict, list, type(None)))
    expect(accepted, '"tool_call" parts expect an object with a "toolCallId", "toolName", and "args" property.')
    return value


def tool_result(value: Any) -> Any:
    accepted = type(value) is dict and type(value.get("toolCallId")) is str and "result" in value
    expect(accepted, '"tool_result" parts expect an object with a "toolCallId" and a "result" property.')
    return value


def source(value: Any) -> Any:
    expect(isinstance(value, (dict, list)), '"source" parts expect a Source object.')
    return value


def finish(name: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        accepted = type(value) is dict and type(value.get("finishReason")) is str
        expect(accepted, f'"{name}" parts expect an object with a "finishReason" property.')
        result: dict[str, Any] = {"finishReason": value["finishReason"]}
        if name == "finish_step":
            result["isContinued"] = value.get("isContinued") is True
        usage = value.get("usage")
        if type(usage) is dict and "promptTokens" in usage and "completionTokens" in usage:
            result["usage"] = {key: number(usage[key]) for key in ("promptTokens", "completionTokens")}
        return result

    return check


def number(value: Any) -> int | float:
    return value if type(value) in (int, float) else NAN


CODES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "0": ("text", string("text")),
    "2": ("data", array("data")),
    "3": ("error", string("error")),
    "8": ("message_annotations", array("message_annotations")),
    "9": ("tool_call", tool_call),
    "a": ("tool_result", tool_result),
    "b": (
        "tool_call_streaming_start",
        fields("tool_call_streaming_start", ("toolCallId", "toolName"), 'a "toolCallId" and "toolName" property'),
    ),
    "c": (
        "tool_call_delta",
        fields("tool_call_delta", ("toolCallId", "argsTextDelta"), 'a "toolCallId" and "argsTextDelta" property'),
    ),
    "d": ("finish_message", finish("finish_message")),
    "e": ("finish_step", finish("finish_step")),
    "f": ("start_step", fields("start_step", ("messageId",), 'an "id" property', only=True)),
    "g": ("reasoning", string("reasoning")),
    "h": ("source", source),
    "i": ("redacted_reasoning", fields("redacted_reasoning", ("data",), 'a "data" property', only=True)),
    "j": ("reasoning_signature", fields("reasoning_signature", ("signature",), 'a "signature" property', only=True)),
    "k": ("file", fields("file", ("data", "mimeType"), 'a "data" and "mimeType" property')),
}
