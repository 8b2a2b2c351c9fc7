"""The AI SDK's gateway-provider protocol: what npm ``@ai-sdk/gateway`` speaks to its base URL.

A client dialect: it parses requests and renders answers, and nobody is asked in it. The three generations (AI SDK 5, 6
and 7; specification versions 2, 3 and 4) differ in data only, see ``versions``.
"""

from streamward.wire.ai_gateway.encode import MEDIA_TYPE, NAME, Encoder
from streamward.wire.ai_gateway.request import parse_request
from streamward.wire.ai_gateway.result import render_error, render_reply
from streamward.wire.ai_gateway.versions import VERSION_OF_PATH, VERSIONS

__all__ = [
    "MEDIA_TYPE", "NAME", "VERSIONS", "VERSION_OF_PATH", "Encoder", "parse_request", "render_error", "render_reply",
]  # fmt: skip
