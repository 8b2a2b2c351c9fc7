"""Shapes and word lists that both directions of Chat Completions share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct

from streamward.events import FinishReason, Usage
from streamward.wire.dialect import Profile
from streamward.wire.loose import as_dict

NAME = "chat_completions"

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not JSON, not of the expected shape, or nested to exhaustion."""


class PlainDelta(Struct, frozen=True, gc=False):
    """A delta with nothing but text in it: what nearly every chunk is."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    role: None = None
    tool_calls: None = None
    function_call: None = None
    refusal: None = None
    annotations: None = None
    reasoning_details: None = None


class PlainChoice(Struct, frozen=True, gc=False):
    delta: PlainDelta
    index: Literal[0] = 0
    finish_reason: None = None
    logprobs: None = None


class PlainChunk(Struct, frozen=True, gc=False):
    """A chunk that changes nothing but the text. Everything else fails validation and is looked at in full."""

    choices: tuple[PlainChoice]
    usage: None = None
    error: None = None
    citations: None = None
    x_groq: None = None


def parse_usage(value: Any, profile: Profile) -> Usage | None:
    """Usage as the waist counts it; ``None`` when *value* holds no figures."""
    if type(value) is not dict:
        return None
    prompt, completion = count(value.get("prompt_tokens")), count(value.get("completion_tokens"))
    if prompt is None and completion is None:
        return None
    total = count(value.get("total_tokens"))
    cached = written = reasoning = None
    details = value.get("prompt_tokens_details")
    if type(details) is dict:
        cached, written = count(details.get("cached_tokens")), count(details.get("cache_write_tokens"))
    if cached is None and "prompt_cache_hit_tokens" in value:
        cached = count(value["prompt_cache_hit_tokens"])
    details = value.get("completion_tokens_details")
    if type(details) is dict:
        reasoning = count(details.get("reasoning_tokens"))
    if profile.output_excludes_reasoning and completion is not None and reasoning:
        completion += reasoning
    stated = total if total is not None and total != (prompt or 0) + (completion or 0) else None
    return Usage(
        input_tokens=prompt, output_tokens=completion, cached_input_tokens=cached,
        cache_write_tokens=written, reasoning_tokens=reasoning,
        stated_total=stated, extra={NAME: value},
    )  # fmt: skip


def render_usage(usage: Usage) -> dict[str, Any]:
    """The usage object; vendor fields are put back, the counted ones are ours."""
    raw = dict((usage.extra or {}).get(NAME, {}))
    prompt_details = {**as_dict(raw.get("prompt_tokens_details")), "cached_tokens": usage.cached_input_tokens or 0}
    if usage.cache_write_tokens is not None:
        prompt_details["cache_write_tokens"] = usage.cache_write_tokens
    completion_details = as_dict(raw.get("completion_tokens_details"))
    return {
        **raw,
        "prompt_tokens": usage.input_tokens or 0,
        "completion_tokens": usage.output_tokens or 0,
        "total_tokens": usage.total,
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": {**completion_details, "reasoning_tokens": usage.reasoning_tokens or 0},
    }


def usage_at(chunk: dict[str, Any], path: tuple[str, ...]) -> Any:
    """What stands at *path* in *chunk*, or the plain ``usage`` field."""
    value: Any = chunk
    for name in path:
        value = value.get(name) if type(value) is dict else None
    return chunk.get("usage") if value is None else value


def count(value: Any) -> int | None:
    """A token count, or None for anything that is not a non-negative whole number."""
    return value if type(value) is int and 0 <= value < 1 << 53 else None


def content_pieces(parts: list[Any]) -> Iterator[tuple[bool, str]]:
    """Content as an array of parts (Mistral), as pairs: whether it is thinking, and the text."""
    for part in map(as_dict, parts):
        thinking = part.get("thinking") if part.get("type") == "thinking" else None
        if type(thinking) is str:
            yield True, thinking
        elif type(thinking) is list:
            yield from ((True, piece["text"]) for piece in map(as_dict, thinking) if type(piece.get("text")) is str)
        elif type(part.get("text")) is str:
            yield False, part["text"]


def told(detail: dict[str, Any]) -> str:
    """What one of ``reasoning_details`` says in words: ``text``, or the ``summary`` of what is encrypted."""
    text = detail.get("text") or detail.get("summary")
    return text if type(text) is str else ""


FINISH_TO_WAIST: dict[str, FinishReason] = {
    "stop": "stop", "length": "length", "tool_calls": "tool-calls", "function_call": "tool-calls",
    "content_filter": "content-filter",
}  # fmt: skip

FINISH_FROM_WAIST: dict[FinishReason, str] = {
    "stop": "stop", "length": "length", "tool-calls": "tool_calls", "content-filter": "content_filter",
}  # fmt: skip

FAILED_FINISHES = frozenset({"error", "abort", "cancelled"})
"""Finish reasons by which vendors say that the generation failed (OpenRouter; vLLM, SGLang)."""
