"""What the head of a call says: who calls, which exchange serves it, and what is wrong with it.

Clients send the same head again and again on a connection. What was worked out for it is kept with it (``Request.memo``)
and holds until the configuration changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamward.errors import ErrorInfo
from streamward.gateway.ai_gateway import PATHS as AI_GATEWAY_PATHS
from streamward.gateway.ai_gateway import LanguageModelCall
from streamward.gateway.auth import ANONYMOUS, Caller
from streamward.gateway.continuation import HEADER as CONTINUE
from streamward.gateway.durable_calls import KeptCall, wants_durable
from streamward.gateway.embeddings import EmbeddingCall
from streamward.gateway.exchange import CallExchange
from streamward.gateway.places import refused_body
from streamward.gateway.response_calls import ResponseCall

if TYPE_CHECKING:
    from streamward.dataplane.exchange import Request
    from streamward.gateway.auth import StaticKeys
    from streamward.gateway.config import Config

EMBEDDINGS = "/v1/embeddings"
CALL_ROUTES: dict[str, str] = {
    "/v1/chat/completions": "chat_completions",
    "/chat/completions": "chat_completions",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
    EMBEDDINGS: "chat_completions",
    **AI_GATEWAY_PATHS,
}
"""Paths that stream, and the dialect spoken there."""


class Opening:
    """What one head leads to, under one configuration."""

    __slots__ = ("bad_body", "caller", "config", "continues", "cors", "dialect", "kind", "refused", "static")

    def __init__(self, request: Request, config: Config, static: StaticKeys, caller: Caller | ErrorInfo, cors: bytes) -> None:
        self.config = config
        self.static = static
        self.refused = caller if isinstance(caller, ErrorInfo) else None
        self.caller = ANONYMOUS if isinstance(caller, ErrorInfo) else caller
        self.cors = cors
        self.dialect = CALL_ROUTES[request.path]
        self.kind = kind_of(request, config)
        self.continues = request.headers.get(CONTINUE) == b"1"
        self.bad_body = refused_body(request)

    def holds(self, config: Config, static: StaticKeys) -> bool:
        return self.config is config and self.static is static


def kind_of(request: Request, config: Config) -> type[CallExchange]:
    """Who serves calls of this head."""
    path = request.path
    if path == EMBEDDINGS:
        return EmbeddingCall
    if path in AI_GATEWAY_PATHS:
        return LanguageModelCall
    if CALL_ROUTES[path] == "responses":
        return ResponseCall
    return KeptCall if wants_durable(request, config) else CallExchange
