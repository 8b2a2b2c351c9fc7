"""Scripts of model calls in a few words: ``"text"``, ``reasoning(...)``, ``tool_call(...)``, events as they are.

``events_of`` turns one script step into the events of a whole stream, so tests say only what matters to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from streamward.errors import ErrorInfo
from streamward.events import (
    TERMINAL,
    Error,
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
)  # fmt: skip
from streamward.wire.json_text import encode

Item: TypeAlias = "Event | str | Exception | Sequence[Event]"
ScriptStep: TypeAlias = "str | Exception | Sequence[Item]"


def text(*deltas: str, id: str = "text-0") -> list[Event]:  # noqa: A002
    """A text part in these deltas."""
    return [TextStart(id), *(TextDelta(id, delta) for delta in deltas), TextEnd(id)]


def reasoning(*deltas: str, id: str = "reasoning-0", signature: str | None = None) -> list[Event]:  # noqa: A002
    return [ReasoningStart(id), *(ReasoningDelta(id, delta) for delta in deltas), ReasoningEnd(id, signature)]


def tool_call(
    name: str, input: Any = None, *, id: str = "call-0", fragments: Sequence[str] | None = None  # noqa: A002
) -> list[Event]:
    """A call of tool *name*; *input* is its arguments' object or text, *fragments* the text as it is streamed."""
    whole = input if isinstance(input, str) else encode({} if input is None else input).decode()
    pieces = fragments if fragments is not None else [whole]
    return [ToolInputStart(id, name), *(ToolInputDelta(id, piece) for piece in pieces), ToolInputEnd(id)]


def finish(reason: FinishReason = "stop", *, input_tokens: int | None = None, output_tokens: int | None = None) -> Finish:
    usage = None if input_tokens is None and output_tokens is None else Usage(input_tokens, output_tokens)
    return Finish(reason, usage)


def error(message: str = "the model failed", *, code: str = "upstream_error", status: int = 502) -> Error:
    return Error(ErrorInfo(code, message, status))


def events_of(step: ScriptStep, number: int = 0) -> list[Event | Exception]:
    """The events of one scripted call: strings become text parts, the start and a fitting finish are added.

    An exception in the script is where the model raises it.
    """
    items: Sequence[Item] = [step] if isinstance(step, (str, Exception)) else step
    out: list[Event | Exception] = []
    for at, item in enumerate(items):
        if isinstance(item, str):
            out += text(item, id=f"text-{number}-{at}")
        elif isinstance(item, (list, tuple)):
            out += item
        else:
            out.append(item)  # type: ignore[arg-type]  # an event or an exception
    if not out or not isinstance(out[0], (Start, Exception)):
        out.insert(0, Start(f"response-{number}", "scripted"))
    if not isinstance(out[-1], (*TERMINAL, Exception)):
        called = any(isinstance(event, ToolInputStart) and not event.provider_executed for event in out)
        out.append(Finish("tool-calls" if called else "stop", Usage(0, 0)))
    return out
