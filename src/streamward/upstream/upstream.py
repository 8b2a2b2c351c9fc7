"""One provider, ready to be called: its row, its key, its connections.

``HttpUpstream`` sends over the data plane; ``demo`` and ``local`` offer the same :class:`Upstream` seam. Keys live here
and nowhere else; nothing a client sends reaches hosts, headers or keys of this side.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import quote, urlsplit

from streamward.dataplane.client import Endpoint, Receiver, Timeouts
from streamward.dataplane.exchange import render_fields
from streamward.dataplane.pool import Pool
from streamward.errors import InvalidRequest
from streamward.upstream.providers import Auth
from streamward.upstream.sigv4 import Signer
from streamward.version import __version__
from streamward.wire.dialect import Profile
from streamward.wire.table import dialect as dialect_module

DEFAULT_RETRIES = 2
MIN_SECRET = 8  # characters of a key: what is shorter ("none", "x") is no secret, and a word of its own in answers


class Handle(Protocol):
    """A running call."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def let_go(self) -> None:
        """The answer is complete; only the end of its body may be missing."""

    def cancel(self) -> None:
        """Stop it; the provider learns of it at once. Safe after the end."""


class Upstream(Protocol):
    """Somebody who answers model calls."""

    name: str
    dialect: str
    profile: Profile
    retries: int
    secret: bytes
    """Taken out of everything it answers; empty: it has none."""

    def send(self, model: str, body: bytes, *, stream: bool, receiver: Receiver) -> Handle:
        """Send *body* (a request in this upstream's dialect); *receiver* is called from now on."""


class HttpUpstream:
    """A provider behind HTTP. The request head is rendered once per route."""

    def __init__(
        self, name: str, base_url: str, *, pool: Pool, dialect: str, profile: Profile, api_key: str | None = None,
        auth: Auth = "bearer", headers: Mapping[str, str] | None = None, timeouts: Timeouts | None = None,
        retries: int = DEFAULT_RETRIES, signer: Signer | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.dialect = dialect
        self.profile = profile
        self.retries = retries
        self.signer = signer
        secret = signer.secret if signer is not None else (api_key or "").encode()
        self.secret = secret if len(secret) >= MIN_SECRET else b""
        self.timeouts = timeouts or Timeouts()
        self.pool = pool
        self.module = dialect_module(dialect)
        self.endpoint, self.base_path = parse_base_url(base_url)
        host = urlsplit(base_url).netloc.rpartition("@")[2]
        self.origin = f"{self.endpoint.scheme}://{host}"
        fields = {
            "host": host,
            "user-agent": f"streamward/{__version__}",
            "content-type": "application/json",
            "accept-encoding": "identity",
            **AUTH_FIELDS[auth](api_key),
            **{key.lower(): value for key, value in (headers or {}).items()},
        }
        self.fields = render_fields(fields.items())
        self.heads: dict[tuple[str, bool], bytes] = {}

    def with_headers(self, headers: Mapping[str, str]) -> HttpUpstream:
        """The same provider, its requests with *headers* added; they come after, and instead of, its own."""
        names = {name.lower().encode() for name in headers}
        kept = [line for line in self.fields.split(b"\r\n") if line and line.split(b":", 1)[0] not in names]
        changed = copy.copy(self)
        changed.fields = b"".join(line + b"\r\n" for line in kept) + render_fields(
            (name.lower(), value) for name, value in headers.items()
        )
        changed.heads = {}
        return changed

    def head(self, path: str, *, stream: bool) -> bytes:
        key = (path, stream)
        head = self.heads.get(key)
        if head is None:
            accept = self.module.MEDIA_TYPE if stream else "application/json"
            line = b"POST %b HTTP/1.1\r\n" % self.target(path).encode()
            head = b"%b%baccept: %b\r\ncontent-length: " % (line, self.fields, accept.encode())
            if len(self.heads) < MAX_HEADS:
                self.heads[key] = head
        return head

    def target(self, path: str) -> str:
        """*path* under the base URL, as it stands in the request line."""
        return quote(self.base_path + path, safe="/:?=&%+,@")

    def send(self, model: str, body: bytes, *, stream: bool, receiver: Receiver) -> Handle:
        return self.post(self.module.path(model, stream=stream), body, stream=stream, receiver=receiver)

    def post(self, path: str, body: bytes, *, stream: bool, receiver: Receiver) -> Handle:
        """Send *body* to *path* under the base URL."""
        head = self.head(path, stream=stream)
        signature = b"" if self.signer is None else self.signer.fields(self.origin + self.target(path), body)
        data = b"%b%d\r\n%b\r\n%b" % (head, len(body), signature, body)
        return self.pool.call(self.endpoint, data, receiver, self.timeouts)


class OnPath:
    """A provider's other endpoint, as an upstream."""

    def __init__(self, upstream: HttpUpstream, path: str) -> None:
        self.upstream = upstream
        self.path = path
        self.name = upstream.name
        self.dialect = upstream.dialect
        self.profile = upstream.profile
        self.retries = upstream.retries
        self.secret = upstream.secret

    def send(self, model: str, body: bytes, *, stream: bool, receiver: Receiver) -> Handle:
        return self.upstream.post(self.path, body, stream=stream, receiver=receiver)


MAX_HEADS = 1024  # model ids stand in some dialects' paths, and clients choose them


def parse_base_url(url: str) -> tuple[Endpoint, str]:
    """Endpoint and path prefix of a provider's base URL.

    Raises:
        InvalidRequest: not an http or https URL with a host.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidRequest(f"base_url must be an http or https URL with a host, got {url!r}", param="base_url")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Endpoint(parts.scheme, parts.hostname, port), parts.path.rstrip("/")


AUTH_FIELDS: dict[Auth, Callable[[str | None], dict[str, str]]] = {
    "bearer": lambda key: {"authorization": f"Bearer {key}"} if key else {},
    "x-api-key": lambda key: {"x-api-key": key} if key else {},
    "x-goog-api-key": lambda key: {"x-goog-api-key": key} if key else {},
    "api-key": lambda key: {"api-key": key} if key else {},
    "aws": lambda key: {"authorization": f"Bearer {key}"} if key else {},
    "none": lambda key: {"authorization": f"Bearer {key}"} if key else {},
}
