"""Arguments written while their values arrive."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.wire.generate_content.partial_args import ArgsWriter, parse_path

SCALARS = st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=5)
KEYS = st.text("abc.'\"[]\\é ", min_size=1, max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(KEYS, inner, min_size=1, max_size=3),
    max_leaves=8,
)


def pieces(value: Any, path: str = "$") -> list[dict[str, Any]]:
    """*value* as a provider would stream it; strings in single characters."""
    if isinstance(value, dict):
        quoted = {key: key.replace("\\", "\\\\").replace("'", "\\'") for key in value}
        return [piece for key, item in value.items() for piece in pieces(item, f"{path}['{quoted[key]}']")]
    if isinstance(value, list):
        return [piece for index, item in enumerate(value) for piece in pieces(item, f"{path}[{index}]")]
    if value is None:
        return [{"jsonPath": path, "nullValue": "NULL_VALUE"}]
    if isinstance(value, bool):
        return [{"jsonPath": path, "boolValue": value}]
    if isinstance(value, int):
        return [{"jsonPath": path, "numberValue": value}]
    head = [{"jsonPath": path, "stringValue": char, "willContinue": True} for char in value]
    return [*head, {"jsonPath": path, "stringValue": ""}]


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_pieces_add_up(arguments: dict[str, Any]):
    writer = ArgsWriter()

    text = "".join(writer.feed(piece) or "" for piece in pieces(arguments)) + writer.close()

    assert json.loads(text) == arguments


@pytest.mark.parametrize(
    "items",
    [
        [{}], [3], [{"jsonPath": "$.a"}], [{"jsonPath": "a", "numberValue": 1}], [{"jsonPath": "$", "numberValue": 1}],
        [{"jsonPath": "$[0]", "numberValue": 1}], [{"jsonPath": "$..a", "numberValue": 1}],
        [{"jsonPath": "$.a[x]", "numberValue": 1}],
        [{"jsonPath": "$.a", "numberValue": 1}, {"jsonPath": "$.a", "numberValue": 2}],
        [{"jsonPath": "$.a[1]", "numberValue": 1}],
        [{"jsonPath": "$.a[0]", "numberValue": 1}, {"jsonPath": "$.a.b", "numberValue": 2}],
        [{"jsonPath": "$" + ".a" * 65, "numberValue": 1}],
    ],
)  # fmt: skip
def test_what_cannot_be_written(items: list[Any]):
    """Not a value, not a path below the root object, or a place that was written already."""
    writer = ArgsWriter()

    assert [writer.feed(item) for item in items][-1] is None


def test_an_open_string_is_closed_by_the_next_value():
    writer = ArgsWriter()

    text = writer.feed({"jsonPath": "$.a", "stringValue": "x", "willContinue": True})
    after = writer.feed({"jsonPath": "$.b", "numberValue": 1})

    assert (text, after, writer.close()) == ('{"a":"x', '","b":1', "}")


def test_nothing_at_all_is_an_empty_object():
    assert ArgsWriter().close() == "{}"


def test_paths():
    assert parse_path("$.a-b[10]['it\\'s'][\"q\"]") == ["a-b", 10, "it's", "q"]
