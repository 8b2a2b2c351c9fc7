"""Who may ask from where: the Host header, pages of other origins, and bodies that are not read at all."""

from __future__ import annotations

from collections.abc import Iterable

from streamward.dataplane.exchange import Request, render_fields
from streamward.errors import ErrorInfo

MAX_HOSTS = 1000
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/_streamward/live", "/_streamward/ready"})
"""Probes: they name the host by address, and carry no key."""

EXPOSED = (
    b"access-control-expose-headers",
    b"x-streamward-id, x-streamward-stream-id, retry-after, x-request-id, x-ratelimit-limit-requests, "
    b"x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, "
    b"x-ratelimit-reset-tokens",
)
PREFLIGHT = render_fields(
    (
        ("access-control-allow-methods", "GET, POST, DELETE, OPTIONS"),
        (
            "access-control-allow-headers",
            "authorization, content-type, x-api-key, idempotency-key, last-event-id, x-streamward-resumable, "
            "x-streamward-continue, "
            "anthropic-version, anthropic-beta, openai-organization, openai-project, x-stainless-arch, x-stainless-lang, "
            "x-stainless-os, x-stainless-package-version, x-stainless-retry-count, x-stainless-runtime, "
            "x-stainless-runtime-version, x-stainless-timeout, x-stainless-helper-method, user-agent",
        ),
        ("access-control-max-age", "600"),
    )
)


class Places:
    """The hosts this server is known by, and the origins whose pages may read its answers."""

    def __init__(self, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self.hosts = {host.lower().encode() for host in hosts}
        self.origins = frozenset(origin.encode() for origin in origins)

    def refused_host(self, request: Request) -> ErrorInfo | None:
        """A Host we are not known by: a DNS rebinding page, or a missing line in the configuration."""
        if b"*" in self.hosts or request.path in OPEN_PATHS:
            return None
        host = request.headers.get(b"host", b"").lower()
        if host in self.hosts:
            return None
        name = host.rpartition(b":")[0] if host[-1:].isdigit() and b":" in host and not host.endswith(b"]") else host
        if name in self.hosts:
            if len(self.hosts) < MAX_HOSTS:
                self.hosts.add(host)  # with its port, so that the next one is found at once
            return None
        return ErrorInfo("host_not_allowed", "this host name is not listed in server.allowed_hosts; add it there", 421)

    def cors_fields(self, request: Request) -> bytes:
        origin = request.headers.get(b"origin")
        if origin is None or not self.allows_origin(origin):
            return b""
        return b"access-control-allow-origin: %b\r\nvary: origin\r\n%b: %b\r\n" % (origin, *EXPOSED)

    def allows_origin(self, origin: bytes) -> bool:
        return origin in self.origins or b"*" in self.origins


def refused_body(request: Request) -> ErrorInfo | None:
    """A body we would not read: compressed, or of another type than JSON."""
    if request.headers.get(b"content-encoding", b"identity") not in (b"identity", b""):
        return ErrorInfo("unsupported_encoding", "send the body without content-encoding", 415)
    kind = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind and kind != b"application/json" and not kind.endswith(b"+json"):
        return ErrorInfo("unsupported_media_type", "send the body as content-type: application/json", 415)
    return None
