"""The application's callbacks, under Python's names or JavaScript's."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from streamward.errors import InvalidRequest

Callback = Callable[..., Any]


class Callbacks(Struct, frozen=True, kw_only=True):
    """All optional; plain functions or coroutine functions."""

    on_start: Callback | None = None
    on_token: Callback | None = None
    """Each piece as it comes, also the JSON text of function calls."""
    on_text: Callback | None = None
    """Each piece of text (3.x only)."""
    on_completion: Callback | None = None
    """The whole text of each completion."""
    on_final: Callback | None = None
    """The whole text of the last completion, once."""
    experimental_on_function_call: Callback | None = None
    experimental_on_tool_call: Callback | None = None
    experimental_stream_data: bool = False
    """2.x: lines instead of plain text, for responses that carry a StreamData."""

    @property
    def handles_calls(self) -> bool:
        return self.experimental_on_function_call is not None or self.experimental_on_tool_call is not None


ALIASES = {"on_function_call": "experimental_on_function_call", "on_tool_call": "experimental_on_tool_call",
           "stream_data": "experimental_stream_data"}  # fmt: skip
NAMES = frozenset(Callbacks.__struct_fields__)


def snake_case(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


def gather(given: Callbacks | Mapping[str, Any] | None, named: Mapping[str, Any]) -> Callbacks:
    """The callbacks of a mapping (``onToken`` or ``on_token``) and of keyword arguments.

    Raises:
        InvalidRequest: for a name that is none.
    """
    if isinstance(given, Callbacks) and not named:
        return given
    fields: dict[str, Any] = {}
    first: Mapping[str, Any] = {}
    if isinstance(given, Callbacks):
        first = {name: getattr(given, name) for name in NAMES}
    elif given is not None:
        first = given
    for name, value in [*first.items(), *named.items()]:
        key = snake_case(name)
        key = ALIASES.get(key, key)
        if key not in NAMES:
            raise InvalidRequest(f"unknown callback {name!r}; there are {', '.join(sorted(NAMES))}", param=name)
        if value is not None:
            fields[key] = value
    return Callbacks(**fields)


async def tell(callback: Callback | None, *args: Any) -> Any:
    """What the callback returns, awaited if it must be. What it raises breaks the stream, as in the AI SDK."""
    if callback is None:
        return None
    result = callback(*args)
    return await result if inspect.isawaitable(result) else result
