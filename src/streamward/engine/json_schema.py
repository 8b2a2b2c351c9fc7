"""Values against a JSON Schema: the keywords that schemas of tools and objects are made of.

Types, properties, items, enum, const, bounds, patterns, combinations and local references. Other keywords (``format``,
``unevaluatedProperties``, remote references) say nothing here. For schemas given as dictionaries; types validate
themselves (``schema``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
Check: TypeAlias = Callable[[Any, Any], "str | None"]

MAX_DEPTH = 64
"""References may be recursive; values nested deeper than this are refused."""


def problems(value: Any, schema: Any, *, root: Any = None, path: str = "$", depth: int = 0) -> Iterator[str]:
    """Why *value* does not fit *schema*, as sentences that begin with the path; none when it fits."""
    root = schema if root is None else root
    if schema is True or schema == {} or depth > MAX_DEPTH:
        if depth > MAX_DEPTH:
            yield f"{path}: nested deeper than {MAX_DEPTH} levels"
        return
    if schema is False or not isinstance(schema, dict):
        yield f"{path}: nothing is allowed here"
        return
    if "$ref" in schema:
        yield from problems(value, resolve(schema["$ref"], root), root=root, path=path, depth=depth + 1)
    wanted = schema.get("type")
    if wanted is not None and not any(is_type(value, name) for name in ([wanted] if isinstance(wanted, str) else wanted)):
        yield f"{path}: expected {wanted if isinstance(wanted, str) else ' or '.join(wanted)}, got {type_name(value)}"
        return
    for keyword, check in CHECKS.items():
        if keyword in schema and (message := check(value, schema[keyword])) is not None:
            yield f"{path}: {message}"
    if isinstance(value, dict):
        yield from object_problems(value, schema, root, path, depth)
    elif isinstance(value, list):
        yield from array_problems(value, schema, root, path, depth)
    yield from combined(value, schema, root, path, depth)


def object_problems(value: Json, schema: Json, root: Any, path: str, depth: int) -> Iterator[str]:
    properties = schema.get("properties") or {}
    for name in schema.get("required") or ():
        if name not in value:
            yield f"{path}: the property {name!r} is missing"
    rest = schema.get("additionalProperties", True)
    for name, item in value.items():
        if name in properties:
            yield from problems(item, properties[name], root=root, path=f"{path}.{name}", depth=depth + 1)
        elif rest is False:
            yield f"{path}: the property {name!r} is not known"
        elif isinstance(rest, dict):
            yield from problems(item, rest, root=root, path=f"{path}.{name}", depth=depth + 1)


def array_problems(value: list[Any], schema: Json, root: Any, path: str, depth: int) -> Iterator[str]:
    first = schema.get("prefixItems") or []
    items = schema.get("items", True)
    for at, item in enumerate(value):
        rule = first[at] if at < len(first) else items
        yield from problems(item, rule, root=root, path=f"{path}[{at}]", depth=depth + 1)
    if schema.get("uniqueItems") and any(item in value[:at] for at, item in enumerate(value)):
        yield f"{path}: the items are not unique"


def combined(value: Any, schema: Json, root: Any, path: str, depth: int) -> Iterator[str]:
    def fits(rule: Any) -> bool:
        return next(problems(value, rule, root=root, path=path, depth=depth + 1), None) is None

    for rule in schema.get("allOf") or ():
        yield from problems(value, rule, root=root, path=path, depth=depth + 1)
    if "anyOf" in schema and not any(fits(rule) for rule in schema["anyOf"]):
        yield f"{path}: fits none of the alternatives"
    if "oneOf" in schema and sum(fits(rule) for rule in schema["oneOf"]) != 1:
        yield f"{path}: does not fit exactly one of the alternatives"
    if "not" in schema and fits(schema["not"]):
        yield f"{path}: is what it must not be"


def resolve(reference: str, root: Any) -> Any:
    """The schema that a local *reference* (``#/$defs/Name``) points to; anything is allowed where it points nowhere."""
    if not reference.startswith("#"):
        return True
    found = root
    for step in reference[1:].split("/"):
        if step:
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return True if found is None else found


def is_type(value: Any, name: str) -> bool:
    if name == "integer":
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return whole and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES.get(name, object))


def type_name(value: Any) -> str:
    return next((name for name in ("boolean", "integer", *TYPES, "number") if is_type(value, name)), type(value).__name__)


def same(value: Any, other: Any) -> bool:
    """JSON equality: Python's, but ``true`` is not 1."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def sized(kind: type | tuple[type, ...], broken: Callable[[Any, Any], bool], message: str) -> Check:
    def check(value: Any, limit: Any) -> str | None:
        if not isinstance(value, kind) or isinstance(value, bool) or not broken(value, limit):
            return None
        return message.format(limit)

    return check


def multiple(value: Any, step: Any) -> bool:
    return not math.isclose(value / step, round(value / step), rel_tol=1e-9) if step else False


TYPES: dict[str, type] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
NUMBER = (int, float)
CHECKS: dict[str, Check] = {
    "enum": lambda value, allowed: None if any(same(value, item) for item in allowed) else f"expected one of {allowed}",
    "const": lambda value, wanted: None if same(value, wanted) else f"expected {wanted!r}",
    "minimum": sized(NUMBER, lambda value, limit: value < limit, "less than {}"),
    "maximum": sized(NUMBER, lambda value, limit: value > limit, "more than {}"),
    "exclusiveMinimum": sized(NUMBER, lambda value, limit: value <= limit, "not more than {}"),
    "exclusiveMaximum": sized(NUMBER, lambda value, limit: value >= limit, "not less than {}"),
    "multipleOf": sized(NUMBER, multiple, "not a multiple of {}"),
    "minLength": sized(str, lambda value, limit: len(value) < limit, "shorter than {} characters"),
    "maxLength": sized(str, lambda value, limit: len(value) > limit, "longer than {} characters"),
    "pattern": sized(str, lambda value, pattern: re.search(pattern, value) is None, "does not match {}"),
    "minItems": sized(list, lambda value, limit: len(value) < limit, "fewer than {} items"),
    "maxItems": sized(list, lambda value, limit: len(value) > limit, "more than {} items"),
}
