"""Gemini ``generateContent`` and ``streamGenerateContent``, both directions.

Pure codec; see ``streamward.wire.dialect.Dialect`` for what each name does. The model and the choice to stream are in
the path: ``parse_request`` expects them in the body as ``model`` and ``stream``.
"""

from __future__ import annotations

from urllib.parse import quote

from streamward.wire import sse
from streamward.wire.dialect import Profile
from streamward.wire.generate_content.decode import Decoder
from streamward.wire.generate_content.encode import Encoder
from streamward.wire.generate_content.errors import parse_error, render_error
from streamward.wire.generate_content.parse import parse_request
from streamward.wire.generate_content.render import render_request
from streamward.wire.generate_content.reply import parse_reply, render_reply
from streamward.wire.generate_content.shapes import MEDIA_TYPE, NAME
from streamward.wire.sse import MAX_EVENT_BYTES


def path(model: str, *, stream: bool) -> str:
    """Without ``alt=sse`` a stream would be one JSON array."""
    kind, _, name = model.rpartition("/")
    place = f"{quote(kind or 'models', safe='/')}/{quote(name, safe='')}"
    return f"/{place}:streamGenerateContent?alt=sse" if stream else f"/{place}:generateContent"


def Reader(profile: Profile, *, max_event_bytes: int = MAX_EVENT_BYTES) -> sse.Reader:  # noqa: N802
    return sse.Reader(max_event_bytes=max_event_bytes, flush_at_end=True, single_newline=profile.single_newline_frames)


__all__ = [
    "MEDIA_TYPE", "NAME", "Decoder", "Encoder", "Reader", "parse_error", "parse_reply", "parse_request", "path",
    "render_error", "render_reply", "render_request",
]  # fmt: skip
