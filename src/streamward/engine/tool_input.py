"""From the arguments' text of a tool call to arguments: parsed, checked against the tool's schema, repaired if asked."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from streamward.engine.schema import ShapeMismatch
from streamward.engine.tools import Tool
from streamward.events import ToolCall
from streamward.wire.json_text import decode_any


class BrokenCall(Struct, frozen=True):
    """A call that cannot be run, as a repair hook sees it."""

    id: str
    name: str
    input: str
    """The arguments' text as the model wrote it."""
    error: str
    tools: Mapping[str, Tool]


Repair: TypeAlias = Callable[[BrokenCall], "Any | Awaitable[Any]"]
"""Gives a better input (text or an object), a ``(name, input)`` pair, or None to leave it."""


class Checked(Struct, frozen=True):
    """A call, and the arguments to run it with unless ``call.error`` says that it cannot be run."""

    call: ToolCall
    tool: Tool | None
    arguments: Any = None


def check(call_id: str, name: str, text: str, tools: Mapping[str, Tool]) -> Checked:
    """Parse and check; never raises."""
    tool = tools.get(name)
    value: Any = {}
    error = None
    if text.strip():
        try:
            value = decode_any(text.encode("utf-8", "replace"))
        except (msgspec.DecodeError, RecursionError) as exc:
            value = text
            error = f"Invalid input for tool {name}: JSON parsing failed: {exc}."
    if tool is None:
        known = f"Available tools: {', '.join(tools)}." if tools else "No tools are available."
        return Checked(ToolCall(call_id, name, value, f"Model tried to call unavailable tool '{name}'. {known}"), None)
    arguments = None
    if error is None:
        try:
            arguments = tool.arguments(value)
        except ShapeMismatch as exc:
            error = f"Invalid input for tool {name}: {exc}"
        except Exception as exc:  # a converter of the application
            error = f"Invalid input for tool {name}: {type(exc).__name__}: {exc}"
    call = ToolCall(call_id, name, value, error, dynamic=tool.dynamic, title=tool.title)
    return Checked(call, tool, arguments)


async def check_and_repair(call_id: str, name: str, text: str, tools: Mapping[str, Tool], repair: Repair | None) -> Checked:
    """:func:`check`, with one try of *repair* when the call is broken. What the hook raises leaves it broken."""
    checked = check(call_id, name, text, tools)
    if checked.call.error is None or repair is None:
        return checked
    try:
        better = repair(BrokenCall(call_id, name, text, checked.call.error, tools))
        if inspect.isawaitable(better):
            better = await better
        if better is None:
            return checked
        if isinstance(better, tuple):
            name, better = better
        again = check(call_id, name, better if isinstance(better, str) else msgspec.json.encode(better).decode(), tools)
    except Exception as exc:
        call = msgspec.structs.replace(checked.call, error=f"{checked.call.error} (the repair failed: {exc})")
        return Checked(call, checked.tool)
    return again
