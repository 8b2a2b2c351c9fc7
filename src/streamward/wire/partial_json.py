"""JSON that is still arriving: a value at any moment, without ever parsing from the start again.

Tool arguments and streamed objects come as fragments cut anywhere. :class:`PartialJson` eats fragments and keeps the
value so far: containers are filled in place, an open string, number or literal is shown as far as it is certain. What
counts as certain follows the AI SDK's ``parsePartialJson`` (version 6): incomplete keys, a dangling ``-`` or exponent
and a cut escape are left out, ``tr`` already means ``true``, anything after a complete value is dropped.

Linear: one pass over the text, one ``join`` per string. Pure, and it never raises on input.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

State = Literal["undefined-input", "successful-parse", "repaired-parse", "failed-parse"]
Container: TypeAlias = "dict[str, Any] | list[Any]"

MAX_DEPTH = 512
"""Nesting past this fails the parse: encoders and users recurse over the value."""

MAX_NUMBER_CHARS = 1024
"""A longer number fails the parse: no double needs more than 800 digits."""


class PartialJson:
    """Feed it fragments; ask for ``value`` and ``state`` whenever you like.

    ``value`` is the live value: later fragments change its containers in place, so copy what must stay.
    """

    __slots__ = (
        "digits", "failed", "fed", "junk", "key", "mode", "pieces", "placed", "root", "stack", "surrogate", "tentative",
        "trailing", "word",
    )  # fmt: skip

    def __init__(self) -> None:
        self.fed = False
        self.failed = False
        self.junk = False  # something outside the grammar was skipped: the next accepted character fails the parse
        self.trailing = False  # text after the complete value
        self.root: Any = UNSET
        self.stack: list[tuple[Container, str]] = []  # open containers, each with the key it stands under
        self.key = ""  # key of the value that comes next, when the innermost container is an object
        self.mode: Mode = in_value
        self.pieces: list[str] = []  # the open string or key
        self.word = ""  # the open number or literal
        self.digits = ""  # hexadecimal digits of an open \u escape
        self.surrogate = 0  # a high surrogate that waits for its low one
        self.placed = False  # the open scalar already stands in its container
        self.tentative = False  # the first item of an array is so far just "-"

    def feed(self, text: str) -> None:
        """Take the next fragment."""
        self.fed = True
        index, size = 0, len(text)
        while index < size and not self.failed:
            index = self.mode(self, text, index)

    @property
    def value(self) -> Any:
        """The value so far; ``None`` while there is none (then ``state`` is not a parse)."""
        if self.failed or self.tentative:
            return None
        self.settle()
        return None if self.failed or self.root is UNSET else self.root

    @property
    def state(self) -> State:
        if not self.fed:
            return "undefined-input"
        if self.failed or self.tentative:
            return "failed-parse"
        self.settle()
        if self.failed or self.root is UNSET:
            return "failed-parse"
        return "successful-parse" if self.closed and not self.trailing and not self.junk else "repaired-parse"

    @property
    def closed(self) -> bool:
        """True once the outermost value is complete (a number at the root is complete while it is a valid one)."""
        if self.mode is in_number:
            return not self.stack and NUMBER.fullmatch(self.word) is not None
        return self.mode is after_root

    @property
    def open_path(self) -> tuple[str | int, ...]:
        """Where the next character goes: keys and indexes from the root to the innermost open place.

        Every value that is not a prefix of this path is complete and will not change. Empty once all is closed.
        """
        if self.closed:
            return ()
        path: list[str | int] = []
        for position, (container, _) in enumerate(self.stack):
            innermost = position == len(self.stack) - 1
            if isinstance(container, list):
                path.append(len(container) if innermost and not self.placed else len(container) - 1)
            elif not innermost:
                path.append(self.stack[position + 1][1])
            elif self.mode in OPEN_SCALAR or self.mode is in_value:
                path.append(self.key)
        return tuple(path)

    def closed_items(self) -> int:
        """How many leading items of an array at the root are complete."""
        if not isinstance(self.root, list):
            return 0
        if not self.stack:
            return len(self.root)
        return len(self.root) - 1 if len(self.stack) > 1 or self.placed else len(self.root)

    # -- building

    def advance(self) -> bool:
        """Accept a character that stays: False, and failed, when something illegal stands before it."""
        if self.junk:
            self.failed = True
        return not self.failed

    def place(self, value: Any) -> None:
        """Put *value* where the next value belongs, replacing an earlier view of the same scalar."""
        if not self.stack:
            self.root = value
            return
        container = self.stack[-1][0]
        if isinstance(container, dict):
            container[self.key] = value
        elif self.placed:
            container[-1] = value
        else:
            container.append(value)
        self.placed = True

    def opened(self, container: Container) -> None:
        """A container begins where the next value belongs."""
        if len(self.stack) >= MAX_DEPTH:
            self.failed = True
            return
        self.placed = False
        self.place(container)
        self.stack.append((container, self.key))
        self.placed = False

    def closed_container(self) -> None:
        self.stack.pop()
        self.finished()

    def finished(self) -> None:
        """A value is complete: what may follow depends on where it stands."""
        self.placed = False
        self.pieces = []
        self.word = ""
        if not self.stack:
            self.mode = after_root
        else:
            self.mode = after_item if isinstance(self.stack[-1][0], list) else after_member

    def settle(self) -> None:
        """Show the open scalar in its container."""
        mode = self.mode
        if mode is in_string or mode is in_escape or mode is in_unicode:
            if len(self.pieces) > 1:
                self.pieces = ["".join(self.pieces)]
            self.place(self.pieces[0] if self.pieces else "")
        elif mode is in_literal:
            self.place(next(LITERALS[word] for word in LITERALS if word.startswith(self.word)))
        elif mode is in_number:
            self.settle_number()

    def settle_number(self) -> bool:
        """Show the open number as far as it is one; False when there is nothing to show."""
        text = self.word
        if self.stack and isinstance(self.stack[-1][0], dict):
            text = text.partition("+")[0]  # the AI SDK shows {"a":1e+5 as 1 until something follows
        if NUMBER.fullmatch(text) is None:
            text = text.rstrip("eE-+.")
        if not text:
            return False
        if NUMBER.fullmatch(text) is None:
            self.failed = True
            return False
        self.place(number(text))
        return True

    def add_code(self, code: int) -> None:
        """Add the UTF-16 unit of a \\u escape; lone surrogates become U+FFFD, which UTF-8 can carry."""
        if self.surrogate:
            if 0xDC00 <= code < 0xE000:
                self.pieces.append(chr(0x10000 + ((self.surrogate - 0xD800) << 10) + (code - 0xDC00)))
                self.surrogate = 0
                return
            self.flush_surrogate()
        if 0xD800 <= code < 0xDC00:
            self.surrogate = code
        else:
            self.pieces.append("\ufffd" if 0xDC00 <= code < 0xE000 else chr(code))

    def flush_surrogate(self) -> None:
        if self.surrogate:
            self.pieces.append("\ufffd")
            self.surrogate = 0


# -- modes: each takes characters from *index* on and returns where it stopped


def in_value(self: PartialJson, text: str, index: int) -> int:
    """A value begins here (root, after a colon, after a comma in an array)."""
    char = text[index]
    if char == '"':
        self.mode = in_string
    elif char in "0123456789-":
        self.mode = in_number
    elif char in "tfn":
        self.mode = in_literal
    elif char == "{":
        self.mode = before_key
    elif char == "[":
        self.mode = before_first_item
    else:
        self.junk = self.junk or char not in WHITESPACE
        return index + 1
    if (char != "-" and not self.advance()) or reserved(self):
        return index
    if char == "{":
        self.opened({})
    elif char == "[":
        self.opened([])
    elif char != '"':
        return index
    return index + 1


def before_first_item(self: PartialJson, text: str, index: int) -> int:
    char = text[index]
    if char in WHITESPACE:
        return index + 1
    if char == "]":
        self.closed_container()
        return index + 1
    if char not in VALUE_START:
        self.failed = True
        return index
    self.tentative = char == "-"
    self.mode = in_value
    return in_value(self, text, index)


def in_string(self: PartialJson, text: str, index: int) -> int:
    end = PLAIN.match(text, index).end()  # type: ignore[union-attr]  # matches empty
    if end > index:
        if self.surrogate:
            self.flush_surrogate()
        self.pieces.append(text[index:end])
        if end == len(text):
            return end
    char = text[end]
    if char == "\\":
        self.mode = in_escape
    elif char == '"':
        self.flush_surrogate()
        self.place("".join(self.pieces))
        self.finished()
    else:
        self.failed = True  # a raw control character
    return end + 1


def in_escape(self: PartialJson, text: str, index: int) -> int:
    char = text[index]
    if char == "u":
        self.mode, self.digits = in_unicode, ""
    elif char in ESCAPES:
        self.flush_surrogate()
        self.pieces.append(ESCAPES[char])
        self.mode = in_string
    else:
        self.failed = True
    return index + 1


def in_unicode(self: PartialJson, text: str, index: int) -> int:
    taken = text[index : index + 4 - len(self.digits)]
    self.digits += taken
    if HEX.fullmatch(self.digits) is None:
        self.failed = True
    elif len(self.digits) == 4:
        self.add_code(int(self.digits, 16))
        self.mode = in_string
    return index + len(taken)


def before_key(self: PartialJson, text: str, index: int) -> int:
    char = text[index]
    if char == '"':
        self.mode = in_key
        self.pieces = []
    elif char == "}":
        if self.advance():
            self.closed_container()
    elif char not in WHITESPACE:
        self.junk = True
    return index + 1


def after_member_comma(self: PartialJson, text: str, index: int) -> int:
    char = text[index]
    if char == '"':
        self.mode = in_key
        self.pieces = []
    elif char not in WHITESPACE:
        self.junk = True
    return index + 1


def in_key(self: PartialJson, text: str, index: int) -> int:
    """Collect the raw key; it is decoded at its end."""
    match = KEY.match(text, index)
    end = match.end()  # type: ignore[union-attr]  # matches empty
    self.pieces.append(text[index:end])
    if end == len(text):
        return end
    if text[end] == "\\":
        self.pieces.append("\\")
        self.mode = in_key_escape
        return end + 1
    key = decode_key("".join(self.pieces))
    self.pieces = []
    if key is None:
        self.junk = True
    else:
        self.key = key
    self.mode = after_key
    return end + 1


def in_key_escape(self: PartialJson, text: str, index: int) -> int:
    self.pieces.append(text[index])
    self.mode = in_key
    return index + 1


def after_key(self: PartialJson, text: str, index: int) -> int:
    char = text[index]
    if char == ":":
        self.mode = in_value
    elif char not in WHITESPACE:
        self.junk = True
    return index + 1


def after_member(self: PartialJson, text: str, index: int) -> int:
    char = text[index]
    if char == ",":
        self.mode = after_member_comma
    elif char == "}":
        if self.advance():
            self.closed_container()
    elif char not in WHITESPACE:
        self.junk = True
    return index + 1


def after_item(self: PartialJson, text: str, index: int) -> int:
    char = text[index]
    if char == ",":
        self.mode = in_value
    elif char == "]":
        if self.advance():
            self.closed_container()
    elif char not in WHITESPACE:
        self.failed = True
    return index + 1


def after_root(self: PartialJson, text: str, index: int) -> int:
    self.trailing = self.trailing or bool(text[index:].strip(WHITESPACE))
    return len(text)


def in_number(self: PartialJson, text: str, index: int) -> int:
    end = NUMBER_RUN.match(text, index).end()  # type: ignore[union-attr]  # matches empty
    self.word += text[index:end]
    if len(self.word) > MAX_NUMBER_CHARS or (self.junk and self.word != "-"):
        self.failed = True
        return end
    if self.tentative:
        self.tentative = self.word == "-"
    if end == len(text):
        return end
    if self.tentative:
        self.failed = True
    elif self.settle_number() and NUMBER.fullmatch(self.word):
        self.place(number(self.word))
    else:
        self.junk = True  # "-", "1e" and the like: fine as a last word, not with anything after it
    self.finished()
    return end


def in_literal(self: PartialJson, text: str, index: int) -> int:
    end = index
    while end < len(text) and self.word not in LITERALS:
        self.word += text[end]
        end += 1
        if not any(word.startswith(self.word) for word in LITERALS):
            self.failed = True
            return end
    if self.word in LITERALS:
        self.place(LITERALS[self.word])
        self.finished()
    return end


# -- one-shot use and small pieces


def parse_partial_json(text: str | None) -> tuple[Any, State]:
    """Value and state of *text* as the AI SDK's ``parsePartialJson`` gives them; no value is ``None``."""
    parser = PartialJson()
    if text is not None:
        parser.feed(text)
    return parser.value, parser.state


def reserved(self: PartialJson) -> bool:
    """Fail on names that poison JavaScript prototypes, as every AI SDK client does."""
    if self.stack and isinstance(self.stack[-1][0], dict):
        in_constructor = self.stack[-1][1] == "constructor" and len(self.stack) > 1
        if self.key == "__proto__" or (self.key == "prototype" and in_constructor):
            self.failed = True
    return self.failed


def number(text: str) -> int | float:
    """The value of a JSON number; integers stay exact."""
    if text.lstrip("-").isdigit():
        return int(text)
    return float(text)


def decode_key(raw: str) -> str | None:
    """A key from its raw text; ``None`` when it is not a legal JSON string."""
    if "\\" not in raw and CONTROL.search(raw) is None:
        return raw
    parser = PartialJson()
    parser.feed(f'"{raw}"')
    return parser.value if parser.closed and not parser.failed and not parser.trailing else None


Mode: TypeAlias = Callable[[PartialJson, str, int], int]
UNSET: Any = object()
WHITESPACE = " \t\n\r"
VALUE_START = '"-0123456789tfn{['
LITERALS: dict[str, Any] = {"true": True, "false": False, "null": None}
ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
KEY = re.compile(r'[^"\\]*')
CONTROL = re.compile(r"[\x00-\x1f]")
NUMBER_RUN = re.compile(r"[0-9eE+.\-]*")
HEX = re.compile(r"[0-9a-fA-F]*")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
OPEN_SCALAR = frozenset((in_string, in_escape, in_unicode, in_number, in_literal))
