"""Types as JSON Schema, and JSON values as those types: msgspec Structs, dataclasses, TypedDicts, pydantic models, plain
annotations, or a JSON Schema itself.

A :class:`Shape` is both directions of one type. Pydantic is used where the type is one of its models and never imported
otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import msgspec

from streamward.engine.json_schema import problems
from streamward.errors import InvalidRequest, StreamwardError

T = TypeVar("T")

MAX_PROBLEMS = 5
"""Told at once: a model corrects a few mistakes, not fifty."""


class ShapeMismatch(StreamwardError):
    """A value is not of its type; the message names the place."""

    code, status, fault = "shape_mismatch", 422, "upstream"


class Shape(Generic[T]):
    """A type's JSON Schema and the way from JSON values to it."""

    def __init__(self, name: str, schema: dict[str, Any], convert: Callable[[Any], T]) -> None:
        self.name = name
        self.schema = schema
        self.convert = convert
        """Raises ShapeMismatch."""


def shape_of(kind: Any) -> Shape[Any]:
    """The shape of *kind*: a type, an annotation, or a JSON Schema given as a dictionary.

    Raises:
        InvalidRequest: a type that has no JSON form.
    """
    if isinstance(kind, Shape):
        return kind
    if isinstance(kind, dict):
        return Shape(str(kind.get("title") or "response"), kind, schema_converter(kind))
    if hasattr(kind, "model_json_schema") and hasattr(kind, "model_validate"):
        return Shape(kind.__name__, kind.model_json_schema(), pydantic_converter(kind.model_validate))
    name = getattr(kind, "__name__", None) or "response"
    try:
        schema = msgspec.json.schema(kind)
    except (TypeError, RuntimeError) as exc:
        adapter = type_adapter(kind)
        if adapter is None:
            raise InvalidRequest(f"{kind!r} has no JSON schema: {exc}", param="schema") from None
        return Shape(name, adapter.json_schema(), pydantic_converter(adapter.validate_python))
    return Shape(name, flat(schema), msgspec_converter(kind))


def type_adapter(kind: Any) -> Any:
    """Pydantic's adapter for an annotation that holds pydantic models; None when it does not."""
    if not holds_pydantic(kind):
        return None
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def holds_pydantic(kind: Any) -> bool:
    if hasattr(kind, "model_json_schema"):
        return True
    return any(holds_pydantic(item) for item in getattr(kind, "__args__", ()) if item is not kind)


def flat(schema: dict[str, Any]) -> dict[str, Any]:
    """*schema* with a reference at its root replaced by what it points to: providers want an object there."""
    reference = schema.get("$ref", "")
    if not reference.startswith("#/$defs/"):
        return schema
    definitions = dict(schema["$defs"])
    root = definitions.pop(reference.removeprefix("#/$defs/"))
    text = msgspec.json.encode([root, definitions]).decode()
    if f'"{reference}"' in text:  # recursive
        definitions = schema["$defs"]
    return {**root, "$defs": definitions} if definitions else dict(root)


def schema_converter(schema: dict[str, Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        found = []
        for problem in problems(value, schema):
            found.append(problem)
            if len(found) == MAX_PROBLEMS:
                break
        if found:
            raise ShapeMismatch("; ".join(found))
        return value

    return convert


def msgspec_converter(kind: Any) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as exc:
            raise ShapeMismatch(str(exc)) from None

    return convert


def pydantic_converter(validate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        try:
            return validate(value)
        except ValueError as exc:  # pydantic's ValidationError is one
            raise ShapeMismatch(pydantic_message(exc)) from None

    return convert


def pydantic_message(exc: ValueError) -> str:
    errors = getattr(exc, "errors", None)
    if errors is None:
        return str(exc)
    found = cast("list[dict[str, Any]]", errors(include_url=False, include_context=False, include_input=False))
    lines = [f"{'.'.join(map(str, error['loc'])) or '$'}: {error['msg']}" for error in found[:MAX_PROBLEMS]]
    return "; ".join(lines)
