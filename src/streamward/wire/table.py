"""The LLM dialects by name, loaded on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import cast

from streamward.wire.dialect import Context, Counting, Decoded, Dialect, Profile
from streamward.wire.relay import Relay, Transcode
from streamward.wire.sse import MAX_EVENT_BYTES

DIALECTS: dict[str, str] = {
    "chat_completions": "streamward.wire.chat_completions",
    "responses": "streamward.wire.responses",
    "messages": "streamward.wire.messages",
    "generate_content": "streamward.wire.generate_content",
    "ollama": "streamward.wire.ollama",
}

CLIENT_DIALECTS: dict[str, str] = {"ai_gateway": "streamward.wire.ai_gateway"}
"""Spoken by clients only: they parse requests and render answers, nothing more."""

UPSTREAM_DIALECTS: dict[str, str] = {"converse": "streamward.wire.converse"}
"""Spoken to providers only: they render requests and read answers, nothing more."""

MODULES = DIALECTS | CLIENT_DIALECTS | UPSTREAM_DIALECTS


@cache
def dialect(name: str) -> Dialect:
    """The module of dialect *name*; KeyError if there is none."""
    return cast(Dialect, importlib.import_module(MODULES[name]))


def counting(name: str) -> Counting | None:
    """Dialect *name* as one whose providers count tokens; None when they do not."""
    module = dialect(name)
    return cast(Counting, module) if hasattr(module, "count_path") else None


@cache
def chunk_per_frame(name: str) -> bool:
    """Whether clients of dialect *name* are to get each frame as an HTTP chunk of its own: Open Responses has one event per
    write, and its clients may take what they read for one."""
    return getattr(dialect(name), "CHUNK_PER_FRAME", False)


def decoded(name: str, profile: Profile, *, max_event_bytes: int = MAX_EVENT_BYTES) -> Decoded:
    """A stage from upstream bytes in dialect *name* to events."""
    module = dialect(name)
    return Decoded(module.Reader(profile, max_event_bytes=max_event_bytes), module.Decoder(profile))


def relay(
    upstream: str, client: str, profile: Profile, context: Context, *, max_event_bytes: int = MAX_EVENT_BYTES
) -> Relay:
    """The relay from dialect *upstream* to dialect *client*: bytes where both are the same and offer it."""
    passing = passthrough(upstream) if upstream == client else None
    if passing is not None:
        return passing(profile, include_usage=context.include_usage, max_event_bytes=max_event_bytes)
    return Transcode(decoded(upstream, profile, max_event_bytes=max_event_bytes), dialect(client).Encoder(context))


@cache
def passthrough(name: str) -> Callable[..., Relay] | None:
    """Dialect *name*'s own relay to itself, if it has one."""
    return getattr(dialect(name), "Passthrough", None)
