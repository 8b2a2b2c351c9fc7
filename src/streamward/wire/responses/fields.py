"""Reading the fields of a JSON request: one typed look-up per kind of value, each refusal naming the field.

``null`` always means the same as an absent field, as both OpenAPI files allow it nearly everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from streamward.errors import InvalidRequest
from streamward.wire.json_text import json_type

DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.ASCII)
MAX_SHOWN_CHARS = 40  # of the caller's own value, in an error message


def wrong(param: str, expected: str, value: Any) -> InvalidRequest:
    """The refusal of *value*: what was expected at *param* and what came."""
    return InvalidRequest(f"'{param}' must be {expected}, not {shown(value)}", param=param)


def shown(value: Any) -> str:
    """*value* as an error message shows it: scalars short, the rest by type."""
    if isinstance(value, str):
        return repr(value if len(value) <= MAX_SHOWN_CHARS else value[:MAX_SHOWN_CHARS] + "...")
    if isinstance(value, (int, float)):
        return str(value).lower()[:MAX_SHOWN_CHARS]
    return json_type(value)


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def text(body: dict[str, Any], name: str, path: str = "", *, longest: int | None = None) -> str | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not str:
        raise wrong(join(path, name), "a string", value)
    if longest is not None and len(value) > longest:
        raise InvalidRequest(
            f"'{join(path, name)}' must have at most {longest} characters, not {len(value)}", param=join(path, name)
        )
    return value


def required_text(body: dict[str, Any], name: str, path: str = "", *, longest: int | None = None) -> str:
    value = text(body, name, path, longest=longest)
    if not value:
        raise InvalidRequest(f"'{join(path, name)}' is missing: it must be a string", param=join(path, name))
    return value


def choice(body: dict[str, Any], name: str, allowed: Collection[str], path: str = "") -> str | None:
    value = text(body, name, path)
    if value is not None and value not in allowed:
        raise wrong(join(path, name), "one of " + ", ".join(sorted(allowed)), value)
    return value


def flag(body: dict[str, Any], name: str, path: str = "") -> bool | None:
    value = body.get(name)
    if value is not None and type(value) is not bool:
        raise wrong(join(path, name), "a boolean", value)
    return value


def integer(body: dict[str, Any], name: str, low: int, high: int | None = None) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise wrong(name, "an integer", value)
    if value < low or (high is not None and value > high):
        raise wrong(name, f"at least {low}" if high is None else f"between {low} and {high}", value)
    return value


def number(body: dict[str, Any], name: str, low: float, high: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not float and type(value) is not int:
        raise wrong(name, "a number", value)
    if not low <= value <= high:
        raise wrong(name, f"between {low:g} and {high:g}", value)
    return float(value)


def mapping(body: dict[str, Any], name: str, path: str = "") -> dict[str, Any] | None:
    value = body.get(name)
    if value is not None and type(value) is not dict:
        raise wrong(join(path, name), "an object", value)
    return value


def array(body: dict[str, Any], name: str, path: str = "") -> list[Any]:
    value = body.get(name)
    if value is None:
        return []
    if type(value) is not list:
        raise wrong(join(path, name), "an array", value)
    return value


def data_url(url: str) -> tuple[str | None, str] | None:
    """Media type and base64 payload of a ``data:`` URL; ``None`` for any other URL and for unencoded data."""
    found = DATA_URL.match(url)
    if found is None or not found[2].endswith(";base64"):
        return None
    return found[1] or None, url[found.end() :]
