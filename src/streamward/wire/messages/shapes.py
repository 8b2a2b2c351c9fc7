"""Words of the Messages dialect and how they map to the waist: stop reasons, usage, names.

Follows the Anthropic Messages reference (``Message``, ``Usage``, "Streaming messages").
"""

from __future__ import annotations

from typing import Any

from streamward.events import Extra, Finish, FinishReason, Usage
from streamward.wire.loose import as_count, as_dict

NAME = "messages"
MEDIA_TYPE = "text/event-stream"

CALL_SIGNATURE = "streamward.call-signature:"
"""Begins the ``data`` of a ``redacted_thinking`` block that carries another provider's signature of a tool call.

Messages has no place for it, but its clients must send redacted thinking back unchanged: ``{prefix}{id}:{signature}``.
"""


def extra_of(extra: Extra | None) -> dict[str, Any]:
    """This dialect's own fields in *extra*."""
    return (extra or {}).get(NAME, {})


def own(fields: dict[str, Any]) -> Extra | None:
    """*fields* as ``extra``, or None when there are none."""
    return {NAME: fields} if fields else None


# -- stop reasons


def parse_stop(raw: Any) -> tuple[FinishReason, str | None]:
    """The canonical reason, and the dialect's own word where the canonical one loses it."""
    if type(raw) is not str:
        return "unknown", None
    reason = STOP_TO_WAIST.get(raw, "other")
    return reason, None if STOP_FROM_WAIST.get(reason) == raw else raw


def render_stop(finish: Finish) -> str | None:
    """``stop_reason`` for *finish*; None where the provider's reason has no word here, rather than a false one."""
    raw = finish.raw_reason
    if raw in STOP_TO_WAIST and STOP_TO_WAIST[raw] == finish.reason:
        return raw
    return STOP_FROM_WAIST.get(finish.reason)


STOP_TO_WAIST: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool-calls",
    "refusal": "content-filter",
    "pause_turn": "other",
}
STOP_FROM_WAIST: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool-calls": "tool_use",
    "content-filter": "refusal",
}


# -- usage


def parse_usage(raw: dict[str, Any]) -> Usage:
    """Usage with cached tokens counted into the input, where this dialect states them beside it."""
    plain, read, write = (as_count(raw.get(name)) for name in INPUT_FIELDS)
    details = as_dict(raw.get("output_tokens_details"))
    known = None if plain is None else plain + (read or 0) + (write or 0)
    return Usage(
        input_tokens=known,
        output_tokens=as_count(raw.get("output_tokens")),
        cached_input_tokens=read,
        cache_write_tokens=write,
        reasoning_tokens=as_count(details.get("thinking_tokens")),
        extra=own({name: value for name, value in raw.items() if name not in USAGE_FIELDS and value is not None}),
    )


def render_usage(usage: Usage | None) -> dict[str, Any]:
    """``usage`` as clients expect it: both counts are always there, 0 where the provider did not say."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    cached, written = usage.cached_input_tokens or 0, usage.cache_write_tokens or 0
    out: dict[str, Any] = {"input_tokens": max(0, (usage.input_tokens or 0) - cached - written)}
    if usage.cache_write_tokens is not None:
        out["cache_creation_input_tokens"] = written
    if usage.cached_input_tokens is not None:
        out["cache_read_input_tokens"] = cached
    out["output_tokens"] = usage.output_tokens or 0
    if usage.reasoning_tokens is not None:
        out["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return out | extra_of(usage.extra)


INPUT_FIELDS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
USAGE_FIELDS = frozenset({*INPUT_FIELDS, "output_tokens", "output_tokens_details"})
