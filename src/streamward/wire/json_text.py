"""JSON text as the wire needs it: encoding that simple readers survive, decoding that refuses what is ambiguous.

RFC 8259 and RFC 7493 (I-JSON: no duplicate names). Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

from streamward.errors import InvalidRequest

MAX_DEPTH = 64
"""Nesting of a request body: JSON Schemas of real tools stay below 30."""

encode_compact = msgspec.json.Encoder().encode
decode_any = msgspec.json.Decoder().decode

MAX_CONTAINERS = 500_000
"""Arrays and objects in one body: making five million of them, which fit in 15 MB, would hold up every stream for seconds.
Counted without parsing, so braces in texts count as well: real bodies stay far below."""

MANY_BYTES = 2 * MAX_CONTAINERS  # fewer bytes cannot hold more

DESCRIBED_BYTES = 256 << 10
"""Bodies up to this size are searched for the place of what is wrong with them; in larger ones that would hold up every
stream, and only the kind of mistake is said."""

STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def encode(value: Any) -> bytes:
    """Compact JSON on one line; U+2028, U+2029 and U+0085 are escaped.

    Raw they are legal JSON but end a line for every ``str.splitlines()`` reader (requests, httpx).
    """
    return escape_line_separators(encode_compact(value))


def escape_line_separators(text: bytes) -> bytes:
    """Escape the three characters in JSON *text*; there they can only stand inside strings."""
    if text.isascii():
        return text
    if b"\xe2\x80\xa8" in text or b"\xe2\x80\xa9" in text or b"\xc2\x85" in text:
        text = text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
        text = text.replace(b"\xc2\x85", b"\\u0085")
    return text


def decode_answer(data: bytes) -> Any:
    """What a provider sent, halves of surrogate pairs included: some cut an emoji in two, one escape in each delta.

    A half is no text in UTF-8; it is read as U+FFFD. Raises what ``decode_any`` raises.
    """
    try:
        return decode_any(data)
    except msgspec.DecodeError:
        mended = without_halves(data)
        if mended is None:
            raise
    return decode_any(mended)


Halves: TypeAlias = dict[tuple[str | int, ...], str]
"""First halves of surrogate pairs, by where in the frame they stood; the second ones are awaited there."""

MAX_HALVES = 64  # texts of one stream that are cut at a time: choices and tool calls, a few each


def decode_delta(data: bytes, halves: Halves) -> Any:
    """As ``decode_answer`` for the frames of one stream, but a half at the end of a text waits in *halves* for the frame
    that brings the other one at the same place. Raises what ``decode_any`` raises.
    """
    if not halves:
        try:
            return decode_any(data)
        except msgspec.DecodeError:
            if without_halves(data) is None:
                raise
    try:
        value = json.loads(data)
    except ValueError:
        return decode_any(data)  # it has the words for what is wrong
    return joined(value, halves, ())


def joined(value: Any, halves: Halves, place: tuple[str | int, ...]) -> Any:
    """*value* with whole pairs; U+FFFD for a half whose other one did not come."""
    if isinstance(value, str):
        text = halves.pop(place, "") + value
        if "\ud800" <= text[-1:] <= "\udbff" and len(halves) < MAX_HALVES:
            halves[place] = text[-1]
            text = text[:-1]
        return whole_text(text)
    if isinstance(value, dict):
        return {whole_text(key): joined(item, halves, (*place, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [joined(item, halves, (*place, at)) for at, item in enumerate(value)]
    return value


def encode_request(value: Any) -> bytes:
    """Compact JSON of a request whose texts Python programs made: a half of a surrogate pair, which JavaScript's pages and
    ``json.loads`` let through, becomes U+FFFD."""
    try:
        return encode_compact(value)
    except UnicodeEncodeError:
        return encode_compact(whole_text(value))


def whole_text(value: Any) -> Any:
    """*value* with U+FFFD for each half of a surrogate pair in its texts."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {whole_text(key): whole_text(item) for key, item in value.items()}
    return [whole_text(item) for item in value] if isinstance(value, list | tuple) else value


def without_halves(data: bytes) -> bytes | None:
    """JSON *data* with U+FFFD for each escape that is half a pair; None where that cannot be what is wrong with it."""
    if b"\\ud" not in data and b"\\uD" not in data:
        return None
    try:
        text = json.dumps(json.loads(data), ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    mended: str = whole_text(text)
    return mended.encode()


def decode_object(body: bytes) -> dict[str, Any]:
    """The JSON object that is *body*.

    Raises:
        InvalidRequest: not JSON (NaN included), not an object, a name twice in one object, nested past MAX_DEPTH.
    """
    if len(body) > MANY_BYTES and body.count(b"{") + body.count(b"[") > MAX_CONTAINERS:
        raise InvalidRequest(f"the body holds more than {MAX_CONTAINERS} arrays and objects; send less at a time")
    try:
        value = decode_any(body)
    except RecursionError:
        raise too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise not_a_number(body) or InvalidRequest(f"the body is not valid JSON: {exc}", code="invalid_json") from None
    if type(value) is not dict:
        raise InvalidRequest(f"the body must be a JSON object, not {json_type(value)}")
    # Only JSON known to be valid is searched with STRING: in a string without end it would begin anew at every quote.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and depth(value) > MAX_DEPTH:
        raise too_deep()
    if not same_names(body, encode_compact(value)) and STRING.sub(b"", body).count(b":") != names(value):
        name = duplicate(body)
        said = f"the name {name!r}" if name is not None else "a name"
        raise InvalidRequest(f"the body holds {said} twice in one object; send it once", param=name)
    return value


def too_deep() -> InvalidRequest:
    return InvalidRequest(f"the body nests deeper than {MAX_DEPTH} levels; flatten it")


def depth(value: Any) -> int:
    """Levels of objects and arrays in *value*, counted no further than one past MAX_DEPTH."""
    levels = 0
    level = [value]
    while levels <= MAX_DEPTH:
        level = [item for item in level if type(item) is dict or type(item) is list]
        if not level:
            break
        levels += 1
        level = [inner for item in level for inner in (item.values() if type(item) is dict else item)]
    return levels


def same_names(body: bytes, encoded: bytes) -> bool:
    """True when *body* surely holds each name once, judged by what it decoded to and was *encoded* as again.

    A name that stood twice was lost on the way. Quotes before colons count names, and quotes inside strings alike on
    both sides, unless the sender wrote one of the two as an escape or put space between them: what was encoded has more
    then, which could make up for what was lost. False only means that it takes a closer look.
    """
    if body == encoded:
        return True
    if body.count(b'":') != encoded.count(b'":') or b" :" in body or b"\t:" in body or b"\n:" in body or b"\r:" in body:
        return False
    return b"\\u00" not in body or not any(escape in body for escape in ESCAPES)


ESCAPES = (b"\\u0022", b"\\u003a", b"\\u003A")
"""Spellings of a quote and a colon in JSON that are no quote with a colon after it."""


def names(value: Any) -> int:
    """How many name/value pairs *value* holds, at any depth."""
    count = 0
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is dict:
            count += len(item)
            stack.extend(item.values())
        elif type(item) is list:
            stack.extend(item)
    return count


def duplicate(body: bytes) -> str | None:
    """The path of the first name that stands twice in one object of *body*; None for a body too large to search."""
    if len(body) > DESCRIBED_BYTES:
        return None
    seen = set[str]()
    for path, _ in values(body):
        if path in seen:
            return path
        seen.add(path)
    return None


def not_a_number(body: bytes) -> InvalidRequest | None:
    """What to say of a *body* that Python reads and JSON does not: NaN or an infinity stands in it."""
    if len(body) > DESCRIBED_BYTES or (b"NaN" not in body and b"Infinity" not in body):
        return None
    try:
        path, constant = next((path, value) for path, value in values(body) if type(value) is Constant)
    except (ValueError, RecursionError, StopIteration):
        return None
    message = f"{path or 'the body'!r} is {constant.name}, which is no JSON number; send a finite number or leave it out"
    return InvalidRequest(message, code="invalid_json", param=path or None)


class Constant:
    """NaN, Infinity or -Infinity, which Python writes and RFC 8259 section 6 forbids."""

    def __init__(self, name: str) -> None:
        self.name = name


class Pairs(list[tuple[str, Any]]):
    """The names and values of one object, repeated ones included."""


def values(body: bytes) -> Iterator[tuple[str, Any]]:
    """Every value in JSON *body* with its path (``messages[0].role``), in order. For messages: slow.

    Raises:
        ValueError, RecursionError: what Python cannot read either.
    """
    stack: list[tuple[str, Any]] = [("", json.loads(body, object_pairs_hook=Pairs, parse_constant=Constant))]
    while stack:
        path, value = stack.pop()
        yield path, value
        if type(value) is Pairs:
            stack.extend((f"{path}.{name}" if path else name, inner) for name, inner in reversed(value))
        elif type(value) is list:
            stack.extend((f"{path}[{index}]", inner) for index, inner in reversed([*enumerate(value)]))


def json_type(value: Any) -> str:
    """What JSON calls the type of *value*, with its article."""
    return JSON_TYPES.get(type(value), type(value).__name__)


JSON_TYPES: dict[type[Any], str] = {
    dict: "an object", list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean",
    type(None): "null",
}  # fmt: skip
