"""Amazon Bedrock's Converse API, spoken to upstreams only: JSON requests, answers in AWS event-stream framing.

Pure codec; see ``streamward.wire.dialect.Dialect`` for what each name does. Follows the Amazon Bedrock Runtime API
reference, ``Converse`` and ``ConverseStream``.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from streamward.call import Call
from streamward.wire.converse.decode import Decoder, parse_reply
from streamward.wire.converse.errors import parse_error
from streamward.wire.converse.event_stream import Reader
from streamward.wire.converse.render import render_request
from streamward.wire.converse.shapes import MEDIA_TYPE, NAME
from streamward.wire.dialect import Profile
from streamward.wire.loose import as_count


def path(model: str, *, stream: bool) -> str:
    """Model ids hold colons, and ARNs slashes as well: both are escaped."""
    return f"/model/{quote(model, safe='')}/{'converse-stream' if stream else 'converse'}"


def count_path(model: str) -> str:
    return f"/model/{quote(model, safe='')}/count-tokens"


def render_count_request(call: Call, *, model: str, profile: Profile) -> dict[str, Any]:
    """A ``CountTokens`` request: what would be sent, without the settings of the answer."""
    body = render_request(call, model=model, profile=profile)
    return {"input": {"converse": {name: value for name, value in body.items() if name in COUNTED}}}


def parse_count(body: dict[str, Any]) -> int | None:
    return as_count(body.get("inputTokens"))


COUNTED = frozenset({"messages", "system", "toolConfig", "additionalModelRequestFields"})

__all__ = [
    "MEDIA_TYPE", "NAME", "Decoder", "Reader", "count_path", "parse_count", "parse_error", "parse_reply", "path",
    "render_count_request", "render_request",
]  # fmt: skip
