"""The tools that AI SDK samples are made with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from msgspec.structs import replace

from streamward.engine.json_schema import problems, type_name
from streamward.engine.schema import ShapeMismatch
from streamward.engine.tools import Tool, tool


async def weather(city: str) -> dict[str, Any]:
    """Weather of a city."""
    if city == "Slowville":
        await asyncio.sleep(0.06)
    return {"city": city, "tempC": 21}


async def add(a: int | float, b: int | float) -> dict[str, Any]:
    return {"sum": a + b}


async def ping() -> str:
    return "pong"


async def failing() -> None:
    raise RuntimeError("tool exploded: internal detail")


async def progress() -> AsyncIterator[dict[str, int]]:
    for pct in (10, 50, 100):
        yield {"pct": pct}


async def dyn(value: dict[str, Any]) -> dict[str, Any]:
    return {"y": value["x"] + 1}


async def danger(path: str) -> dict[str, str]:
    return {"removed": path}


QUESTION = {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]}

TOOLS: dict[str, Tool] = {
    "weather": tool(weather), "add": tool(add), "ping": tool(ping), "failing": tool(failing), "progress": tool(progress),
    "askUser": tool(name="askUser", schema=QUESTION), "danger": tool(needs_approval=True)(danger),
    "dyn": tool(name="dyn", schema={"type": "object"}, execute=dyn, dynamic=True),
}  # fmt: skip


def tools_for(names: Iterable[str], version: int) -> list[Tool]:
    """The tools *names*; unknown ones are the client's or the provider's. No approvals before version 6."""
    chosen = [TOOLS.get(name) or tool(name=name, schema={"type": "object"}) for name in names]
    if version < 6:
        chosen = [tool(danger) if each.name == "danger" else each for each in chosen]
    return [replace(each, arguments=in_zods_words(each)) for each in chosen]


def in_zods_words(checked: Tool) -> Callable[[Any], Any]:
    """The tool's own check, its complaints worded as the schema library of the samples (zod 3) words them."""

    def convert(value: Any) -> Any:
        properties = checked.schema.get("properties", {})
        known = {name: item for name, item in value.items() if name in properties} if properties else value
        issues = [
            issue(name, properties[name]["type"], known)
            for name in checked.schema.get("required", ())
            if next(problems(known.get(name, MISSING), properties[name]), None) is not None
        ]
        if issues:
            shown = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
            text = json.dumps(issues, indent=2, ensure_ascii=False)
            raise ShapeMismatch(f"AI_TypeValidationError: Type validation failed: Value: {shown}.\nError message: {text}")
        return checked.arguments(known)

    return convert


def issue(name: str, expected: str, value: dict[str, Any]) -> dict[str, Any]:
    received = "undefined" if name not in value else "null" if value[name] is None else type_name(value[name])
    received = "number" if received == "integer" else received
    message = "Required" if name not in value else f"Expected {expected}, received {received}"
    return {"code": "invalid_type", "expected": expected, "received": received, "path": [name], "message": message}


MISSING = object()
