"""Dialect ``chat_completions``: OpenAI's Chat Completions, both directions ("the OpenAI format").

Follows the Chat Completions reference of OpenAI's OpenAPI description 2.3.0. Pure: HTTP lives in the data plane.
"""

from streamward.wire.chat_completions.decode import Decoder
from streamward.wire.chat_completions.encode import Encoder
from streamward.wire.chat_completions.errors import parse_error, render_error
from streamward.wire.chat_completions.parse import parse_request
from streamward.wire.chat_completions.passthrough import Passthrough
from streamward.wire.chat_completions.render import relay_request, render_request
from streamward.wire.chat_completions.reply import parse_reply, render_reply
from streamward.wire.chat_completions.shapes import NAME
from streamward.wire.dialect import Profile
from streamward.wire.sse import MAX_EVENT_BYTES
from streamward.wire.sse import Reader as SseReader

MEDIA_TYPE = "text/event-stream"


def path(model: str, *, stream: bool) -> str:
    return "/chat/completions"


def Reader(profile: Profile, *, max_event_bytes: int = MAX_EVENT_BYTES) -> SseReader:  # noqa: N802 - a dialect's name
    return SseReader(
        max_event_bytes=max_event_bytes, flush_at_end=True, single_newline=profile.single_newline_frames
    )


__all__ = [
    "MEDIA_TYPE", "NAME", "Decoder", "Encoder", "Passthrough", "Reader", "parse_error", "parse_reply", "parse_request",
    "path", "relay_request", "render_error", "render_reply", "render_request",
]  # fmt: skip
