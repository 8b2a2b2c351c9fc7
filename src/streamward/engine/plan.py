"""Everything a generation was asked to do, checked before anything is sent."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from streamward import call as calls
from streamward.engine.model import CallOptions, Model
from streamward.engine.prompt import Prompt
from streamward.engine.steps import PrepareStep, StopCondition, step_count_is
from streamward.engine.timeouts import Timeout
from streamward.engine.tool_input import Repair
from streamward.engine.tools import Tool
from streamward.errors import InvalidRequest

ToolErrors = Literal["to_model", "end"]
"""A failed tool call: the model is told and goes on (AI SDK 5 and later), or the generation ends (AI SDK 4)."""

LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def generate_id(prefix: str = "msg", size: int = 24) -> str:
    """An id as the AI SDK makes them: ``msg-`` and 24 letters and digits."""
    return f"{prefix}-{''.join(secrets.choice(LETTERS) for _ in range(size))}"


class Callbacks(Struct, frozen=True, kw_only=True):
    """Whom to tell. All may be coroutines; what they raise is logged and changes nothing."""

    on_chunk: Callable[..., Any] | None = None
    on_step_finish: Callable[..., Any] | None = None
    on_finish: Callable[..., Any] | None = None
    on_error: Callable[..., Any] | None = None
    on_abort: Callable[..., Any] | None = None


class Plan(Struct, kw_only=True):
    """The settings of one generation."""

    model: Model
    prompt: Prompt
    call: calls.Call
    """The settings of every step's call; messages and tools are filled in per step."""
    options: CallOptions = CallOptions()
    tools: dict[str, Tool] = {}
    tool_choice: calls.ToolChoice | None = None
    active_tools: Sequence[str] | None = None
    timeout: Timeout = Timeout()
    stop_when: tuple[StopCondition, ...] = (step_count_is(1),)
    prepare_step: PrepareStep | None = None
    repair: Repair | None = None
    tool_errors: ToolErrors = "to_model"
    output: Any = None
    """The ``OutputSpec``, for the value that ``on_finish`` is given."""
    transforms: tuple[Any, ...] = ()
    callbacks: Callbacks = Callbacks()
    context: Any = None
    new_id: Callable[[], str] = generate_id
    telemetry: Any = None


def tool_choice_of(value: Any, tools: Mapping[str, Tool]) -> calls.ToolChoice | None:
    """``"auto"``, ``"none"``, ``"required"``, a tool's name, or ``{"type": "tool", "toolName": name}``.

    Raises:
        InvalidRequest: none of these.
    """
    if value is None or isinstance(value, calls.ToolChoice):
        return value
    if isinstance(value, Mapping) and value.get("type") == "tool":
        value = value.get("toolName") or value.get("tool_name")
    if value in ("auto", "none", "required"):
        return calls.ToolChoice(value)
    if isinstance(value, str) and value in tools:
        return calls.ToolChoice("tool", value)
    known = ", ".join(tools) or "there are none"
    raise InvalidRequest(
        f"tool_choice: expected auto, none, required or a tool's name ({known}), got {value!r}", param="tool_choice"
    )


def stop_conditions(max_steps: int | None, stop_when: Any) -> tuple[StopCondition, ...]:
    """Both limits as conditions; one model call when neither is given.

    Raises:
        InvalidRequest: ``max_steps`` below 1.
    """
    found: list[StopCondition] = []
    if stop_when is not None:
        found += [stop_when] if callable(stop_when) else list(stop_when)
    if max_steps is not None:
        if not isinstance(max_steps, int) or max_steps < 1:
            raise InvalidRequest(f"max_steps: expected a number from 1 on, got {max_steps!r}", param="max_steps")
        found.append(step_count_is(max_steps))
    return tuple(found) or (step_count_is(1),)
