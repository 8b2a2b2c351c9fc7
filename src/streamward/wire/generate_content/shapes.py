"""Words of the Gemini dialect and how they map to the waist: finish reasons, usage, signatures, names.

Follows the Gemini API reference (``GenerateContentResponse``, ``UsageMetadata``, ``Candidate.FinishReason``).
"""

from __future__ import annotations

import base64
from typing import Any

from streamward.events import Extra, Finish, FinishReason, Usage
from streamward.wire import json_text
from streamward.wire.foreign import SIGNATURE_MARK
from streamward.wire.loose import as_count

NAME = "generate_content"
MEDIA_TYPE = "text/event-stream"

MINTED = "gcall_"
"""Begins the ids made for calls that came without one; they are not sent back."""


def extra_of(extra: Extra | None) -> dict[str, Any]:
    """This dialect's own fields in *extra*."""
    return (extra or {}).get(NAME, {})


def own(fields: dict[str, Any]) -> Extra | None:
    """*fields* as ``extra``, or None when there are none."""
    return {NAME: fields} if fields else None


def args_object(text: str) -> dict[str, Any]:
    """Arguments as the object this dialect wants; what is none is shown under a name no tool takes for its own."""
    try:
        value = json_text.decode_any(text.encode()) if text else {}
    except (ValueError, RecursionError):
        value = None
    return value if type(value) is dict else {"invalid_json": text}


# -- finish reasons


def parse_finish(raw: str, *, called: bool) -> tuple[FinishReason, str | None]:
    """The canonical reason, and the dialect's own word where the canonical one loses it.

    There is no word for "wants tools": STOP after a function call means it.
    """
    if raw == "STOP":
        return ("tool-calls" if called else "stop"), None
    reason = FINISH_TO_WAIST.get(raw, "other")
    return reason, None if FINISH_FROM_WAIST.get(reason) == raw else raw


def render_finish(finish: Finish) -> str:
    raw = finish.raw_reason
    if raw is not None and FINISH_TO_WAIST.get(raw) == finish.reason:
        return raw
    return FINISH_FROM_WAIST[finish.reason]


FINISH_TO_WAIST: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "FINISH_REASON_UNSPECIFIED": "unknown",
    "OTHER": "other",
    "CONTINUATION": "other",
    **dict.fromkeys(
        (
            "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "MODEL_ARMOR", "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "IMAGE_OTHER", "NO_IMAGE",
        ),
        "content-filter",
    ),
}  # fmt: skip
FINISH_FROM_WAIST: dict[FinishReason, str] = {
    "stop": "STOP", "tool-calls": "STOP", "length": "MAX_TOKENS", "content-filter": "SAFETY", "other": "OTHER",
    "unknown": "FINISH_REASON_UNSPECIFIED", "error": "OTHER",
}  # fmt: skip
FAILED_FINISHES = frozenset({
    "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
})  # fmt: skip
"""Finish reasons that say the model failed; they are errors, not endings."""


# -- usage


def parse_usage(raw: dict[str, Any]) -> Usage:
    """Usage with thoughts counted into the output, where this dialect states them beside it."""
    prompt, tool_prompt = as_count(raw.get("promptTokenCount")), as_count(raw.get("toolUsePromptTokenCount"))
    written, thoughts = as_count(raw.get("candidatesTokenCount")), as_count(raw.get("thoughtsTokenCount"))
    total = as_count(raw.get("totalTokenCount"))
    known_input = None if prompt is None and tool_prompt is None else (prompt or 0) + (tool_prompt or 0)
    known_output = None if written is None and thoughts is None else (written or 0) + (thoughts or 0)
    return Usage(
        input_tokens=known_input,
        output_tokens=known_output,
        cached_input_tokens=as_count(raw.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
        stated_total=None if total == (known_input or 0) + (known_output or 0) else total,
        extra=own({name: value for name, value in raw.items() if name not in USAGE_FIELDS and value is not None}),
    )


def render_usage(usage: Usage) -> dict[str, Any]:
    extra = extra_of(usage.extra)
    out: dict[str, Any] = {}
    if usage.input_tokens is not None:
        out["promptTokenCount"] = max(0, usage.input_tokens - (as_count(extra.get("toolUsePromptTokenCount")) or 0))
    if usage.cached_input_tokens is not None:
        out["cachedContentTokenCount"] = usage.cached_input_tokens
    if usage.output_tokens is not None:
        out["candidatesTokenCount"] = max(0, usage.output_tokens - (usage.reasoning_tokens or 0))
    if usage.reasoning_tokens is not None:
        out["thoughtsTokenCount"] = usage.reasoning_tokens
    out["totalTokenCount"] = usage.total
    return out | extra


USAGE_FIELDS = frozenset({
    "promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount", "cachedContentTokenCount",
})  # fmt: skip
"""Tool-use prompt tokens stay in ``extra`` as well: they tell how much of the input they were."""


# -- signatures

SIGNED = base64.b64encode(b"streamward/s").decode()
REDACTED = base64.b64encode(b"streamward/r").decode()
"""Twelve bytes each, so that their base64 is a prefix of the base64 of the whole."""


MARK = f"{SIGNATURE_MARK}{NAME}."
"""On signatures in the waist that a Gemini provider made."""


def own_signature(signature: str | None) -> str | None:
    """The signature as its Gemini provider made it; None for one of any other provider."""
    return signature.removeprefix(MARK) if signature is not None and signature.startswith(MARK) else None


def wrap_signature(signature: str, prefix: str = SIGNED) -> str:
    """A signature as this dialect's clients can carry it: one of another provider as bytes in base64.

    Those clients hold bytes: they decode and encode again, in either alphabet.
    """
    made_here = own_signature(signature) if prefix == SIGNED else None
    if made_here is not None:
        return made_here
    return prefix + base64.b64encode(signature.encode()).decode()


def unwrap_signature(value: str) -> tuple[str | None, str | None]:
    """Signature and redacted block that *value* stands for: one of them; a Gemini provider's own is marked so."""
    if not value.startswith((SIGNED, REDACTED)):
        return MARK + value, None
    try:
        text = base64.urlsafe_b64decode(value[len(SIGNED) :].replace("+", "-").replace("/", "_")).decode()
    except ValueError:
        return MARK + value, None
    return (text, None) if value.startswith(SIGNED) else (None, text)
