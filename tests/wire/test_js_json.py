"""JSON comes out as JavaScript writes it, and always comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from streamward.wire.js_json import encode


@dataclass
class Point:
    x: int


class Sour:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("\u2028\u2029é👋", '"\u2028\u2029é👋"'),
        ('\x00\x1f\b\f\n\r\t"\\/\x7f', '"\\u0000\\u001f\\b\\f\\n\\r\\t\\"\\\\/\x7f"'),
        ({"a": [1, None, True]}, '{"a":[1,null,true]}'),
        (float("nan"), "null"),
        (1 << 80, str(1 << 80)),
        ({1: 2}, '{"1":2}'),
        ("\ud800", '"\\ud800"'),
        (Point(1), '{"x":1}'),
        (ValueError("v"), '"v"'),
    ],
)
def test_values_as_javascript_writes_them(value: Any, text: str) -> None:
    assert encode(value).decode() == text


def test_nothing_raises() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless

    assert encode({"id": 1, "output": endless}) == b'{"id":1,"output":"[value nested too deeply]"}'
    assert encode([endless]) == b'"[value nested too deeply]"'
    assert b"is not JSON" in encode(Sour())
