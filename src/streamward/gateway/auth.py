"""Client keys: who may call the gateway.

Keys are compared as SHA-256 digests, so the time a comparison takes says nothing about a key; a fast hash is right for
random keys of 128 bits and more. Keys never reach logs: records name them by ``shown``. Keys of the database and their
cache are in ``key_ring``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from msgspec import Struct

from streamward.dataplane.exchange import Request
from streamward.errors import AuthenticationFailed
from streamward.gateway.key_limits import KeyLimits

MAX_KEY_BYTES = 512
NOT_KNOWN = "this key is not known here; check it for typing errors or ask the operator"
NO_LIMITS = KeyLimits()


class Caller(Struct, frozen=True):
    """Who makes a request."""

    name: str
    """Never another key's: it scopes stored things, and limits are counted by it."""
    label: str = ""
    """What people call it, in records; empty: as ``name``."""
    limits: KeyLimits | None = None
    """None: nothing is limited, nothing is counted."""

    @property
    def shown(self) -> str:
        return self.label or self.name


ANONYMOUS = Caller("anonymous")


class StaticKeys:
    """The keys of the configuration, and what holds for those who have none. *limits* are those of ``[limits]``."""

    def __init__(self, keys: Iterable[str], *, required: bool, limits: KeyLimits = NO_LIMITS) -> None:
        self.required = required
        self.limits = limits
        each = limits if limits.any() else None
        self.callers = {mark: Caller(f"key-{mark.hex()[:8]}", limits=each) for mark in (digest(key.encode()) for key in keys)}
        self.anonymous = Caller(ANONYMOUS.name, limits=each)

    def nobody(self) -> Caller:
        """Who sends no key. Raises AuthenticationFailed where one is required."""
        if self.required:
            raise AuthenticationFailed("send a key: Authorization: Bearer KEY")
        return self.anonymous

    def stranger(self, reason: str = NOT_KNOWN) -> Caller:
        """Who sends a key that is none (any more). Raises AuthenticationFailed where one is required."""
        if self.required:
            raise AuthenticationFailed(reason)
        return self.anonymous


def bearer(request: Request) -> bytes | None:
    """The key of *request*: ``Authorization: Bearer``, or ``x-api-key`` as Anthropic's clients send it."""
    value = request.headers.get(b"authorization")
    if value is not None:
        scheme, _, token = value.partition(b" ")
        return token.strip() if scheme.lower() == b"bearer" and token.strip() else b""
    return request.headers.get(b"x-api-key")


def digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
