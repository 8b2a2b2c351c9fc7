"""Arguments that arrive as values with JSON paths, written out as JSON text while they come.

Vertex streams a call's arguments as ``partialArgs``: ``{"jsonPath": "$.city", "stringValue": "Par", "willContinue":
true}``. Values come in document order, so the text can be written without going back:

    $.a.b = 1      {"a":{"b":1
    $.a.c = "x..   {"a":{"b":1,"c":"x
    $.d[0] = null  {"a":{"b":1,"c":"x"},"d":[null

Linear in the text; a path that goes back to a closed container is an error, because text cannot be taken back.
"""

from __future__ import annotations

import re
from typing import Any

from streamward.wire import json_text

Token = str | int

TOKEN = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
VALUES = ("stringValue", "numberValue", "boolValue", "nullValue")

MAX_PATH_TOKENS = 64
"""Nesting of arguments: as deep as a request body may nest."""


class Container:
    """An object or array that is being written; ``key`` is its newest member."""

    __slots__ = ("array", "count", "key", "keys")

    def __init__(self, *, array: bool) -> None:
        self.array = array
        self.count = 0
        self.key: Token = ""
        self.keys: set[Token] = set()


class ArgsWriter:
    """Feed it every item of ``partialArgs``; each call gives the JSON text that item adds."""

    def __init__(self) -> None:
        self.stack: list[Container] = []
        self.string: list[Token] | None = None  # path of the string whose quote is open
        self.empty = True

    def feed(self, item: Any) -> str | None:
        """The text to append; None when *item* does not continue what was written."""
        if type(item) is not dict:
            return None
        path = parse_path(item.get("jsonPath"))
        name = next((name for name in VALUES if name in item), None)
        if path is None or name is None:
            return None
        value = None if name == "nullValue" else item[name]
        going_on = bool(item.get("willContinue")) and type(value) is str
        self.empty = False
        if self.string is not None and path == self.string and type(value) is str:
            if not going_on:
                self.string = None
            return fragment(value) + ("" if going_on else '"')
        text = self.close_string()
        place = self.place(path)
        if place is None:
            return None
        if not going_on:
            return text + place + json_text.encode_compact(value).decode()
        self.string = path
        return text + place + '"' + fragment(str(value))

    def close(self) -> str:
        """The text that completes the arguments."""
        text = [self.close_string()]
        while self.stack:
            text.append("]" if self.stack.pop().array else "}")
        return "".join(text) if not self.empty else "{}"

    def close_string(self) -> str:
        if self.string is None:
            return ""
        self.string = None
        return '"'

    def place(self, path: list[Token]) -> str | None:
        """Text that leads to *path*: closes and opens containers, then commas and keys."""
        text: list[str] = []
        depth = 0
        while depth < len(self.stack) - 1 and depth < len(path) - 1 and self.stack[depth].key == path[depth]:
            depth += 1
        while len(self.stack) > depth + 1:
            text.append("]" if self.stack.pop().array else "}")
        if not self.stack:
            self.stack.append(Container(array=False))
            text.append("{")
        for level in range(depth, len(path)):
            member = self.member(path[level])
            if member is None:
                return None
            text.append(member)
            if level < len(path) - 1:
                array = type(path[level + 1]) is int
                self.stack.append(Container(array=array))
                text.append("[" if array else "{")
        return "".join(text)

    def member(self, key: Token) -> str | None:
        """Comma and key of a new member of the innermost container."""
        container = self.stack[-1]
        if container.array != (type(key) is int) or key in container.keys:
            return None
        if container.array and key != container.count:
            return None
        text = "," if container.count else ""
        container.count += 1
        container.key = key
        container.keys.add(key)
        return text if container.array else f"{text}{json_text.encode_compact(key).decode()}:"


def fragment(text: str) -> str:
    """Part of a JSON string, without its quotes."""
    return json_text.encode_compact(text).decode()[1:-1]


def parse_path(path: Any) -> list[Token] | None:
    """``$.a[0]['b c']`` as keys and indexes; None when it is not a plain path below the root."""
    if type(path) is not str or not path.startswith("$"):
        return None
    tokens: list[Token] = []
    at = 1
    while at < len(path):
        match = TOKEN.match(path, at)
        if match is None or len(tokens) >= MAX_PATH_TOKENS:
            return None
        name, index, single, double = match.groups()
        quoted = single if single is not None else double
        if index is not None:
            tokens.append(int(index))
        else:
            tokens.append(name if name is not None else re.sub(r"\\(.)", r"\1", quoted))
        at = match.end()
    return tokens if tokens and type(tokens[0]) is str else None
