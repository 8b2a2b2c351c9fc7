"""Amazon Bedrock's Converse API, spoken to upstreams only: JSON requests, answers in AWS event-stream framing.

Pure codec; see ``streamward.wire.dialect.Dialect`` for what each name does. Follows the Amazon Bedrock Runtime API
reference, ``Converse`` and ``ConverseStream``.
"""

from __future__ import annotations

from urllib.parse import quote

from streamward.wire.converse.decode import Decoder, parse_reply
from streamward.wire.converse.errors import parse_error
from streamward.wire.converse.event_stream import Reader
from streamward.wire.converse.render import render_request
from streamward.wire.converse.shapes import MEDIA_TYPE, NAME


def path(model: str, *, stream: bool) -> str:
    """Model ids hold colons, and ARNs slashes as well: both are escaped."""
    return f"/model/{quote(model, safe='')}/{'converse-stream' if stream else 'converse'}"


__all__ = ["MEDIA_TYPE", "NAME", "Decoder", "Reader", "parse_error", "parse_reply", "path", "render_request"]
