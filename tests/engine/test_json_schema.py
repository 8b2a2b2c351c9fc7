"""Our JSON Schema checks against the reference implementation's verdicts on schemas of the kind tools have."""

from __future__ import annotations

from typing import Any

import pytest

from streamward.engine.json_schema import problems

CASES: list[tuple[Any, Any, bool]] = [
    ({"type": "integer"}, 3, True), ({"type": "integer"}, 3.0, True), ({"type": "integer"}, 3.5, False),
    ({"type": "integer"}, True, False), ({"type": "number"}, 1, True), ({"type": ["string", "null"]}, None, True),
    ({"type": ["string", "null"]}, 1, False), ({"enum": [1, "a"]}, True, False), ({"const": None}, None, True),
    ({"minimum": 3}, 2, False), ({"exclusiveMaximum": 3}, 3, False), ({"multipleOf": 0.1}, 0.3, True),
    ({"minLength": 2}, "é", False), ({"pattern": "^a+$"}, "aab", False), ({"pattern": "a"}, 5, True),
    ({"type": "object", "required": ["a"]}, {}, False), ({"properties": {"a": {"type": "string"}}}, {"a": 1}, False),
    ({"additionalProperties": False, "properties": {"a": {}}}, {"b": 1}, False),
    ({"additionalProperties": {"type": "integer"}}, {"b": "x"}, False),
    ({"items": {"type": "integer"}}, [1, "x"], False), ({"prefixItems": [{"type": "string"}], "items": False}, ["a"], True),
    ({"prefixItems": [{"type": "string"}], "items": False}, ["a", 1], False), ({"uniqueItems": True}, [1, 1], False),
    ({"minItems": 1}, [], False), ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 1.5, False),
    ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, 3, False), ({"allOf": [{"minimum": 2}, {"maximum": 4}]}, 5, False),
    ({"not": {"type": "string"}}, "x", False), (True, object(), True), (False, 1, False),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}, 1, False),
    ({"$defs": {"t": {"type": "object", "properties": {"c": {"items": {"$ref": "#/$defs/t"}}}}}, "$ref": "#/$defs/t"},
     {"c": [{"c": [5]}]}, False),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "valid"), CASES)
def test_verdicts(schema: Any, value: Any, valid: bool):
    assert (next(problems(value, schema), None) is None) == valid


def test_the_place_is_named():
    schema = {"properties": {"a": {"items": {"properties": {"b": {"type": "string"}}}}}}

    assert list(problems({"a": [{}, {"b": 1}]}, schema)) == ["$.a[1].b: expected string, got integer"]


def test_a_reference_to_itself_ends():
    assert list(problems(1, {"$ref": "#"}))[-1].endswith("nested deeper than 64 levels")
