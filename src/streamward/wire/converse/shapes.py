"""Words of the Converse dialect and how they map to the waist: stop reasons, usage, formats, names.

Follows the Amazon Bedrock Runtime API reference (``StopReason``, ``TokenUsage``, ``ImageBlock``, ``DocumentBlock``).
"""

from __future__ import annotations

from typing import Any

from streamward.events import Extra, FinishReason, Usage
from streamward.wire.loose import as_count

NAME = "converse"
MEDIA_TYPE = "application/vnd.amazon.eventstream"


def extra_of(extra: Extra | None) -> dict[str, Any]:
    """This dialect's own fields in *extra*."""
    return (extra or {}).get(NAME, {})


def own(fields: dict[str, Any]) -> Extra | None:
    """*fields* as ``extra``, or None when there are none."""
    return {NAME: fields} if fields else None


STOP_TO_WAIST: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool-calls",
    "content_filtered": "content-filter",
    "guardrail_intervened": "content-filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}


def parse_stop(raw: Any) -> tuple[FinishReason, str | None]:
    """The canonical reason, and the dialect's own word."""
    if type(raw) is not str:
        return "unknown", None
    return STOP_TO_WAIST.get(raw, "other"), raw


def parse_usage(raw: dict[str, Any]) -> Usage:
    """Usage with cached tokens counted into the input, where this dialect states them beside it."""
    plain, read, write = (as_count(raw.get(name)) for name in INPUT_FIELDS)
    known = None if plain is None else plain + (read or 0) + (write or 0)
    return Usage(
        input_tokens=known, output_tokens=as_count(raw.get("outputTokens")), cached_input_tokens=read,
        cache_write_tokens=write,
        extra=own({name: value for name, value in raw.items() if name not in USAGE_FIELDS and value not in (None, {}, [])}),
    )  # fmt: skip


INPUT_FIELDS = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
USAGE_FIELDS = frozenset({*INPUT_FIELDS, "outputTokens", "totalTokens"})

IMAGE_FORMATS = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
DOCUMENT_FORMATS = {
    "application/pdf": "pdf", "text/csv": "csv", "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html", "text/plain": "txt", "text/markdown": "md",
}  # fmt: skip
