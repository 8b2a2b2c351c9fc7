"""Ollama's native ``/api/chat``, both directions: newline-delimited JSON, not SSE.

Pure codec; see ``streamward.wire.dialect.Dialect`` for what each name does.
"""

from __future__ import annotations

from streamward.errors import ErrorInfo
from streamward.wire import ndjson
from streamward.wire.dialect import Profile
from streamward.wire.ollama.decode import Decoder, parse_reply
from streamward.wire.ollama.encode import Encoder, render_error, render_reply
from streamward.wire.ollama.parse import parse_request
from streamward.wire.ollama.render import render_request
from streamward.wire.ollama.shapes import MEDIA_TYPE, NAME
from streamward.wire.sse import MAX_EVENT_BYTES
from streamward.wire.upstream_status import from_status


def path(model: str, *, stream: bool) -> str:
    return "/api/chat"


def Reader(profile: Profile, *, max_event_bytes: int = MAX_EVENT_BYTES) -> ndjson.Reader:  # noqa: N802
    return ndjson.Reader(max_event_bytes=max_event_bytes)


def parse_error(status: int, body: bytes) -> ErrorInfo:
    """The body is a sentence without a code: the status has to do."""
    return from_status(status)


__all__ = [
    "MEDIA_TYPE", "NAME", "Decoder", "Encoder", "Reader", "parse_error", "parse_reply", "parse_request", "path",
    "render_error", "render_reply", "render_request",
]  # fmt: skip
