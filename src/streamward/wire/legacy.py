"""What AI SDK 2 and its hooks (``ai/react`` of that time) speak: plain text, or lines ``code:JSON`` in "complex mode".

Complex mode is used when the response carries StreamData, and is announced by a header. Here are the lines, the header
and the text that ``OpenAIStream`` makes of chunks; the helpers with their callbacks live in ``streamward.legacy``.
AI SDK 3.4 sends the same lines always, and more codes: see ``data_stream``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from streamward.wire.js_json import encode

NAME = "legacy"
CONTENT_TYPE = "text/plain; charset=utf-8"
STREAM_DATA_HEADER = "x-experimental-stream-data"

KEEP_ALIVE = b"\n"
"""In complex mode only: clients skip empty lines there, in plain text every byte is text."""

decode_json = msgspec.json.Decoder().decode


def headers(*, stream_data: bool) -> dict[str, str]:
    """Of a streaming text response; *stream_data* says that the body is in complex mode."""
    return {"content-type": CONTENT_TYPE, STREAM_DATA_HEADER: "true" if stream_data else "false"}


def format_line(name: str, value: Any) -> bytes:
    """One part as a line, by the part's name (a key of CODES)."""
    return b"%b:%b\n" % (CODES[name].encode(), encode(value))


def parse_line(line: str) -> tuple[str, Any]:
    """Name and value of a line, as the AI SDK 2 client checks it.

    Raises:
        ValueError: in that client's words.
    """
    code, separator, text = line.partition(":")
    if not separator:
        raise ValueError("Failed to parse stream string. No separator found.")
    name = NAMES.get(code)
    if name is None:
        raise ValueError(f"Failed to parse stream string. Invalid code {code}.")
    try:
        value = decode_json(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError) as exc:
        raise ValueError(f"Unexpected token in JSON: {exc}") from None
    accepts, wanted = CHECKS[name]
    if not accepts(value):
        raise ValueError(f'"{name}" parts expect {wanted}')
    return name, value


class ChunkText:
    """The text that ``OpenAIStream`` makes of Chat Completions (or Completions) chunks, one after the other.

    White space is dropped until the first text. Calls become JSON text in pieces, with the spaces and the escapes that
    the version 2 client looks for at the start of an answer.
    """

    def __init__(self) -> None:
        self.begun = False
        self.call_end = ""
        """Closes the JSON text of the call that is open."""

    def feed(self, chunk: dict[str, Any]) -> str:
        """The text of *chunk*; empty when it has none."""
        return self.read(chunk)[0]

    def read(self, chunk: dict[str, Any]) -> tuple[str, bool]:
        """The same, and whether it is text: false for the JSON of calls."""
        choices = chunk.get("choices")
        choice = choices[0] if type(choices) is list and choices and type(choices[0]) is dict else {}
        delta = choice.get("delta")
        if type(delta) is not dict:
            return self.trimmed(string(choice.get("text"))), True
        piece = self.call_piece(delta, choice.get("finish_reason"))
        return (self.trimmed(string(delta.get("content"))), True) if piece is None else (piece, False)

    def call_piece(self, delta: dict[str, Any], finish_reason: Any) -> str | None:
        """What *delta* adds to the JSON text of a call; ``None`` when it is not about calls.

        Some providers send a call whole, several in one delta, or the finish reason along with it: the AI SDK loses
        those arguments, or the end of the JSON.
        """
        tool_calls = delta.get("tool_calls")
        pieces = [self.function_call_piece(as_dict(delta.get("function_call")))]
        pieces += [self.tool_call_piece(as_dict(call)) for call in tool_calls] if type(tool_calls) is list else []
        if self.call_end and finish_reason in CALL_FINISHES:
            pieces.append(self.call_end)
            self.call_end = ""
        return "".join(pieces) or None

    def function_call_piece(self, call: dict[str, Any]) -> str:
        opening = ""
        if call.get("name"):
            self.call_end = '"}}'
            opening = f'{{"function_call": {{"name": "{call["name"]}", "arguments": "'
        return opening + string(call.get("arguments")).translate(ESCAPES)

    def tool_call_piece(self, call: dict[str, Any]) -> str:
        function, opening = as_dict(call.get("function")), ""
        if function.get("name"):
            opening = ('"}}, {' if self.call_end else '{"tool_calls":[ {') + (
                f'"id": "{call.get("id")}", "type": "function", "function": {{"name": "{function["name"]}", "arguments": "'
            )
            self.call_end = '"}}]}'
        return opening + string(function.get("arguments")).translate(ESCAPES)

    def trimmed(self, text: str) -> str:
        if not self.begun:
            text = text.lstrip(JS_WHITESPACE)
            self.begun = bool(text)
        return text


def string(value: Any) -> str:
    return value if type(value) is str else ""


def as_dict(value: Any) -> dict[str, Any]:
    return value if type(value) is dict else {}


def is_function_call(value: Any) -> bool:
    call = value.get("function_call") if type(value) is dict else None
    return type(call) is dict and type(call.get("name")) is str and type(call.get("arguments")) is str


def is_assistant_message(value: Any) -> bool:
    if type(value) is not dict or type(value.get("id")) is not str or value.get("role") != "assistant":
        return False
    content = value.get("content")
    return type(content) is list and all(
        type(item) is dict and item.get("type") == "text" and type(item.get("text")) is dict
        and type(item["text"].get("value")) is str
        for item in content
    )  # fmt: skip


def is_control_data(value: Any) -> bool:
    return type(value) is dict and type(value.get("threadId")) is str and type(value.get("messageId")) is str


CODES: dict[str, str] = {
    "text": "0", "function_call": "1", "data": "2", "error": "3", "assistant_message": "4",
    "assistant_control_data": "5", "data_message": "6", "tool_calls": "7", "message_annotations": "8",
}  # fmt: skip
NAMES = {code: name for name, code in CODES.items()}

CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "text": (lambda v: type(v) is str, "a string value."),
    "function_call": (is_function_call, 'an object with a "function_call" property.'),
    "data": (lambda v: type(v) is list, "an array value."),
    "error": (lambda v: type(v) is str, "a string value."),
    "assistant_message": (is_assistant_message, 'an object with an "id", "role", and "content" property.'),
    "assistant_control_data": (is_control_data, 'an object with a "threadId" and "messageId" property.'),
    "data_message": (
        lambda v: type(v) is dict and v.get("role") == "data" and "data" in v,
        'an object with a "role" and "data" property.',
    ),
    "tool_calls": (
        lambda v: type(v) is dict and type(v.get("tool_calls")) is list,
        "an object with a ToolCallPayload.",
    ),
    "message_annotations": (lambda v: type(v) is list, "an array value."),
}
"""What a value must be, and how the client says so."""

ESCAPES = str.maketrans({
    "\\": "\\\\", "/": "\\/", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f",
})  # fmt: skip
CALL_FINISHES = frozenset({"function_call", "stop", "tool_calls"})
JS_WHITESPACE = " \t\n\v\f\r\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"  # noqa: E501
"""What JavaScript's trimStart removes."""
