"""Anthropic Messages, both directions. Also known as: "the Claude API", ``/v1/messages``.

Pure codec; see ``streamward.wire.dialect.Dialect`` for what each name does. ``count_tokens`` has its own shapes.
"""

from __future__ import annotations

from typing import Any

from streamward.wire import sse
from streamward.wire.dialect import Profile
from streamward.wire.loose import as_count
from streamward.wire.messages.decode import Decoder
from streamward.wire.messages.encode import Encoder
from streamward.wire.messages.errors import parse_error, render_error
from streamward.wire.messages.parse import parse_count_request, parse_request
from streamward.wire.messages.render import render_count_request, render_request
from streamward.wire.messages.reply import parse_reply, render_reply
from streamward.wire.messages.shapes import MEDIA_TYPE, NAME
from streamward.wire.sse import MAX_EVENT_BYTES


def path(model: str, *, stream: bool) -> str:
    return "/messages"


def Reader(profile: Profile, *, max_event_bytes: int = MAX_EVENT_BYTES) -> sse.Reader:  # noqa: N802
    return sse.Reader(max_event_bytes=max_event_bytes, flush_at_end=True, single_newline=profile.single_newline_frames)


def count_path(model: str) -> str:
    return "/messages/count_tokens"


def parse_count(body: dict[str, Any]) -> int | None:
    """The figure of a ``count_tokens`` answer."""
    return as_count(body.get("input_tokens"))


def render_count(input_tokens: int) -> dict[str, Any]:
    return {"input_tokens": input_tokens}


__all__ = [
    "MEDIA_TYPE", "NAME", "Decoder", "Encoder", "Reader", "count_path", "parse_count", "parse_count_request", "parse_error",
    "parse_reply", "parse_request", "path", "render_count", "render_count_request", "render_error", "render_reply",
    "render_request",
]  # fmt: skip
