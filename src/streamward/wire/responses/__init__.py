"""The dialect of ``/v1/responses``: Open Responses and OpenAI Responses as one, both directions.

Pure: no I/O, no clock. Follows Open Responses 2026-04-24 and OpenAI's OpenAPI 2.3.0; where they differ, what is written
satisfies both and what is read may be either. Stored responses, background runs and the WebSocket transport are the
gateway's; the pure parts they need are in ``stored``. Compaction items are carried, not made or opened.
"""

from __future__ import annotations

from typing import Any

from streamward.call import Call
from streamward.wire import sse
from streamward.wire.dialect import Profile
from streamward.wire.responses.decode import Decoder
from streamward.wire.responses.encode import Encoder
from streamward.wire.responses.errors import parse_error, render_error
from streamward.wire.responses.render import render_request
from streamward.wire.responses.reply import parse_reply, render_reply
from streamward.wire.responses.request import parse_request

NAME = "responses"
MEDIA_TYPE = "text/event-stream"
CHUNK_PER_FRAME = True

__all__ = [
    "CHUNK_PER_FRAME", "MEDIA_TYPE", "NAME", "Decoder", "Encoder", "Reader", "count_path", "parse_count", "parse_error",
    "parse_reply", "parse_request", "path", "render_count_request", "render_error", "render_reply", "render_request",
]  # fmt: skip


def path(model: str, *, stream: bool) -> str:
    return "/responses"


def count_path(model: str) -> str:
    return "/responses/input_tokens"


def render_count_request(call: Call, *, model: str, profile: Profile) -> dict[str, Any]:
    """A request to count: what would be sent, without the settings of the answer."""
    body = render_request(call, model=model, profile=profile)
    return {name: value for name, value in body.items() if name in COUNTED}


def parse_count(body: dict[str, Any]) -> int | None:
    count = body.get("input_tokens")
    return count if type(count) is int and count >= 0 else None


COUNTED = frozenset({
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text", "truncation",
})  # fmt: skip


def Reader(profile: Profile, *, max_event_bytes: int = sse.MAX_EVENT_BYTES) -> sse.Reader:  # noqa: N802 - named as a stage
    """Frames of a stream; one whose lines are whole counts even when its blank line is missing at the end."""
    return sse.Reader(
        max_event_bytes=max_event_bytes, flush_at_end=True, single_newline=profile.single_newline_frames
    )
