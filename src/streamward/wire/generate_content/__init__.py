"""Gemini ``generateContent`` and ``streamGenerateContent``, both directions.

Pure codec; see ``streamward.wire.dialect.Dialect`` for what each name does. The model and the choice to stream are in
the path: ``parse_request`` expects them in the body as ``model`` and ``stream``.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from streamward.call import Call
from streamward.wire import sse
from streamward.wire.dialect import Profile
from streamward.wire.generate_content.decode import Decoder
from streamward.wire.generate_content.encode import Encoder
from streamward.wire.generate_content.errors import parse_error, render_error
from streamward.wire.generate_content.parse import parse_request
from streamward.wire.generate_content.render import render_request
from streamward.wire.generate_content.reply import parse_reply, render_reply
from streamward.wire.generate_content.shapes import MEDIA_TYPE, NAME
from streamward.wire.loose import as_count
from streamward.wire.sse import MAX_EVENT_BYTES


def path(model: str, *, stream: bool) -> str:
    """Without ``alt=sse`` a stream would be one JSON array."""
    kind, _, name = model.rpartition("/")
    place = f"{quote(kind or 'models', safe='/')}/{quote(name, safe='')}"
    return f"/{place}:streamGenerateContent?alt=sse" if stream else f"/{place}:generateContent"


def count_path(model: str) -> str:
    return path(model, stream=False).removesuffix(":generateContent") + ":countTokens"


def render_count_request(call: Call, *, model: str, profile: Profile) -> dict[str, Any]:
    """A ``countTokens`` request: the whole call, so that instructions and tools count."""
    name = model if "/" in model else f"models/{model}"
    return {"generateContentRequest": {"model": name} | render_request(call, model=model, profile=profile)}


def parse_count(body: dict[str, Any]) -> int | None:
    return as_count(body.get("totalTokens"))


def Reader(profile: Profile, *, max_event_bytes: int = MAX_EVENT_BYTES) -> sse.Reader:  # noqa: N802
    return sse.Reader(max_event_bytes=max_event_bytes, flush_at_end=True, single_newline=profile.single_newline_frames)


__all__ = [
    "MEDIA_TYPE", "NAME", "Decoder", "Encoder", "Reader", "count_path", "parse_count", "parse_error", "parse_reply",
    "parse_request", "path", "render_count_request", "render_error", "render_reply", "render_request",
]  # fmt: skip
