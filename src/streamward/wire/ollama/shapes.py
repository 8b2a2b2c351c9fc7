"""Words of the Ollama dialect and how they map to the waist: reasons, usage, time, names.

Follows Ollama's API documentation, "Generate a chat completion".
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from streamward.events import Extra, Finish, FinishReason, Usage
from streamward.wire.loose import as_count, as_text

NAME = "ollama"
MEDIA_TYPE = "application/x-ndjson"


def extra_of(extra: Extra | None) -> dict[str, Any]:
    """This dialect's own fields in *extra*."""
    return (extra or {}).get(NAME, {})


def own(fields: dict[str, Any]) -> Extra | None:
    """*fields* as ``extra``, or None when there are none."""
    return {NAME: fields} if fields else None


def parse_finish(raw: str, *, called: bool) -> tuple[FinishReason, str | None]:
    """The canonical reason, and the dialect's own word where the canonical one loses it.

    There is no word for "wants tools": a stop after a tool call means it.
    """
    if raw == "stop":
        return ("tool-calls" if called else "stop"), None
    reason = REASONS.get(raw, "other" if raw else "unknown")
    return reason, None if raw in ("", reason) else raw


def render_finish(finish: Finish) -> str:
    """``done_reason``. Reasons the dialect has no word for keep their canonical one: "stop" would be false."""
    if finish.reason in ("stop", "tool-calls"):
        return "stop"
    if finish.reason == "other" and finish.raw_reason in ("load", "unload"):
        return finish.raw_reason
    return finish.reason


REASONS: dict[str, FinishReason] = {
    "length": "length", "content-filter": "content-filter", "other": "other", "unknown": "unknown", "load": "other",
    "unload": "other",
}  # fmt: skip


def parse_usage(raw: dict[str, Any]) -> Usage | None:
    given, written = as_count(raw.get("prompt_eval_count")), as_count(raw.get("eval_count"))
    timings = {name: raw[name] for name in TIMINGS if name in raw}
    return None if given is None and written is None else Usage(given, written, extra=own(timings))


def render_usage(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {}
    counts = {"prompt_eval_count": usage.input_tokens, "eval_count": usage.output_tokens}
    return {name: value for name, value in counts.items() if value is not None} | extra_of(usage.extra)


TIMINGS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")


def parse_time(value: Any) -> int | None:
    """Unix seconds of a ``created_at``, which has nanoseconds."""
    try:
        return int(datetime.fromisoformat(as_text(value)).timestamp())
    except (ValueError, OverflowError):
        return None


def render_time(created: int) -> str:
    return datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
