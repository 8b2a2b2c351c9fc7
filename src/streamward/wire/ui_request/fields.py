"""Typed access to fields of posted JSON: what is missing or of the wrong type is an InvalidRequest that names it."""

from __future__ import annotations

from typing import Any, TypeAlias

from streamward.errors import InvalidRequest
from streamward.wire.js_json import encode
from streamward.wire.json_text import json_type

Json: TypeAlias = dict[str, Any]


def as_object(value: Any, param: str) -> Json:
    if type(value) is not dict:
        raise InvalidRequest(f"{param}: expected an object, got {json_type(value)}", param=param)
    return value


def as_list(value: Any, param: str) -> list[Any]:
    if type(value) is not list:
        raise InvalidRequest(f"{param}: expected an array, got {json_type(value)}", param=param)
    return value


def text(owner: Json, name: str, param: str) -> str:
    """A field that must be a string."""
    value = owner.get(name)
    if type(value) is not str:
        raise InvalidRequest(f"{param}.{name}: expected a string, got {json_type(value)}", param=f"{param}.{name}")
    return value


def optional_text(owner: Json, name: str) -> str | None:
    value = owner.get(name)
    return value if type(value) is str else None


def json_text(value: Any) -> str:
    """*value* as the JSON text that a model sees."""
    return encode(value).decode("utf-8", "replace")
