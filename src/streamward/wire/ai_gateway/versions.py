"""The specification versions, as data, and the shapes that differ between them."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from streamward.events import FinishReason, Usage


class Version(Struct, frozen=True):
    """One generation of the language model specification."""

    number: int
    name: str
    nested: bool
    """Usage and finish reason are objects with details; in version 2 they are flat."""
    file_objects: bool
    """A file's data is an object that says what it is; before, a string that is base64 or a URL."""


VERSIONS = {
    2: Version(2, "v2", nested=False, file_objects=False),
    3: Version(3, "v3", nested=True, file_objects=False),
    4: Version(4, "v4", nested=True, file_objects=True),
}
LATEST = VERSIONS[4]
VERSION_OF_PATH = {"/v1/ai": 2, "/v3/ai": 3, "/v4/ai": 4}
"""Base paths that the AI SDK's majors use by default."""


def usage_of(usage: Usage | None, version: Version) -> dict[str, Any]:
    known = usage or Usage()
    given, made = known.input_tokens, known.output_tokens
    cached, thought = known.cached_input_tokens, known.reasoning_tokens
    if not version.nested:
        flat = {
            "inputTokens": given, "outputTokens": made, "totalTokens": known.total if usage is not None else None,
            "reasoningTokens": thought, "cachedInputTokens": cached,
        }  # fmt: skip
        return without_none(flat)
    return {
        "inputTokens": without_none({
            "total": given, "noCache": None if given is None else given - (cached or 0), "cacheRead": cached,
            "cacheWrite": known.cache_write_tokens,
        }),
        "outputTokens": without_none({
            "total": made, "text": None if made is None else made - (thought or 0), "reasoning": thought,
        }),
    }  # fmt: skip


def finish_of(reason: FinishReason, raw: str | None, version: Version) -> Any:
    if not version.nested:
        return reason
    return {"unified": "other" if reason == "unknown" else reason, "raw": raw or reason}


def file_data(data: str | None, url: str | None, version: Version) -> Any:
    if not version.file_objects:
        return url if data is None else data
    return {"type": "url", "url": url} if data is None else {"type": "data", "data": data}


def without_none(value: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if item is not None}
