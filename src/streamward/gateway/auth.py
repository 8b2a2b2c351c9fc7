"""Client keys: who may call the gateway.

Keys are compared as SHA-256 digests, so the time a comparison takes says nothing about a key; a fast hash is right for
random keys of 128 bits and more. Keys never reach logs: records name them by ``name``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from msgspec import Struct

from streamward.dataplane.exchange import Request
from streamward.errors import AuthenticationFailed

MAX_KEY_BYTES = 512


class Caller(Struct, frozen=True):
    """Who makes a request. ``name`` stands in records and scopes stored things."""

    name: str


ANONYMOUS = Caller("anonymous")


class StaticKeys:
    """The keys of the configuration."""

    def __init__(self, keys: Iterable[str], *, required: bool) -> None:
        self.required = required
        self.callers = {digest(key.encode()): Caller(f"key-{digest(key.encode()).hex()[:8]}") for key in keys}

    def caller(self, request: Request) -> Caller:
        """Who sent *request*.

        Raises:
            AuthenticationFailed: no key although one is required, or a key nobody knows.
        """
        token = bearer(request)
        if token is None:
            if self.required:
                raise AuthenticationFailed("send a key: Authorization: Bearer KEY")
            return ANONYMOUS
        found = self.callers.get(digest(token)) if len(token) <= MAX_KEY_BYTES else None
        if found is not None:
            return found
        if self.required:
            raise AuthenticationFailed("this key is not known here; check it for typing errors or ask the operator")
        return ANONYMOUS


def bearer(request: Request) -> bytes | None:
    """The key of *request*: ``Authorization: Bearer``, or ``x-api-key`` as Anthropic's clients send it."""
    value = request.headers.get(b"authorization")
    if value is not None:
        scheme, _, token = value.partition(b" ")
        return token.strip() if scheme.lower() == b"bearer" and token.strip() else b""
    return request.headers.get(b"x-api-key")


def digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
