"""Token counts, both directions. Responses counts as the waist does: totals include their details."""

from __future__ import annotations

from typing import Any

from streamward.events import Usage
from streamward.wire.dialect import Profile
from streamward.wire.responses.items import NAME, Item, own, whole


def usage_fields(usage: Usage | None) -> Item | None:
    """``usage`` with every key both schemas demand; what the provider did not say is 0."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens or 0,
        "input_tokens_details": {
            "cached_tokens": usage.cached_input_tokens or 0, "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": usage.output_tokens or 0,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total,
        **own(usage.extra),
    }  # fmt: skip


def usage_of(value: dict[str, Any], response: dict[str, Any], profile: Profile) -> Usage | None:
    found: Any = response
    for name in profile.usage_path:
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        found = value.get("usage")
    if not isinstance(found, dict):
        return None
    inputs, outputs = found.get("input_tokens_details"), found.get("output_tokens_details")
    input_tokens, output_tokens = count(found, "input_tokens"), count(found, "output_tokens")
    reasoning = count(outputs, "reasoning_tokens")
    if profile.output_excludes_reasoning and output_tokens is not None:
        output_tokens += reasoning or 0
    total = count(found, "total_tokens")
    rest = {name: field for name, field in found.items() if name not in USAGE_FIELDS}
    return Usage(
        input_tokens=input_tokens, output_tokens=output_tokens, cached_input_tokens=count(inputs, "cached_tokens"),
        cache_write_tokens=count(inputs, "cache_write_tokens"), reasoning_tokens=reasoning,
        stated_total=None if total == (input_tokens or 0) + (output_tokens or 0) else total,
        extra={NAME: rest} if rest else None,
    )  # fmt: skip


def count(value: Any, name: str) -> int | None:
    return whole(value.get(name)) if isinstance(value, dict) else None


USAGE_FIELDS = frozenset({
    "input_tokens", "output_tokens", "total_tokens", "input_tokens_details", "output_tokens_details",
})  # fmt: skip
