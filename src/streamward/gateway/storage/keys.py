"""The table of client keys. It holds digests; a secret is shown once, by who makes it, and is nowhere."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import msgspec
from msgspec import Struct

from streamward.errors import InvalidRequest
from streamward.gateway.key_limits import KeyLimits
from streamward.gateway.storage.database import Database, Row, Statement, StorageUnavailable

SECRET_START = "sw-"  # noqa: S105 - what every secret begins with
SECRET_BYTES = 24  # 192 random bits
SECRET_CHARS = len(SECRET_START) + 2 * SECRET_BYTES
SHOWN_CHARS = 9
"""Of a secret, for display: enough to recognise it, 168 bits short of using it."""

MAX_NAME_CHARS = 64
HEX = frozenset(b"0123456789abcdef")

encode = msgspec.json.Encoder().encode
decode_limits = msgspec.json.Decoder(KeyLimits).decode


class ClientKey(Struct, frozen=True):
    """A key as it is stored; times in seconds since 1970. ``id`` is what its streams and responses belong to."""

    id: str
    digest: bytes
    prefix: str
    name: str
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    limits: KeyLimits = KeyLimits()

    def state(self, now: float) -> str:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


def new_key(
    name: str, *, now: float, random: Callable[[int], bytes], expires_at: float | None = None,
    limits: KeyLimits = KeyLimits(),  # noqa: B008 - frozen
) -> tuple[ClientKey, str]:  # fmt: skip
    """A key and its secret, which is not kept.

    Raises:
        InvalidRequest: a name that cannot be printed, or is too long.
    """
    if len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise InvalidRequest(f"a key's name is up to {MAX_NAME_CHARS} printable characters", param="name")
    secret = SECRET_START + random(SECRET_BYTES).hex()
    identity = f"key_{random(8).hex()}"
    key = ClientKey(
        identity, digest_of(secret.encode()), secret[:SHOWN_CHARS], name or identity, now, expires_at, None, limits
    )
    return key, secret


def digest_of(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def looks_issued(secret: bytes) -> bool:
    """Whether *secret* has the form of one of ours: others are refused without asking the database."""
    start = len(SECRET_START)
    return len(secret) == SECRET_CHARS and secret[:start] == SECRET_START.encode() and HEX.issuperset(secret[start:])


class KeyTable:
    """All client keys that were ever made."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def add(self, key: ClientKey) -> None:
        """
        Raises:
            InvalidRequest: an active key has this name.
            StorageUnavailable.
        """
        values = (
            key.id, key.digest.hex(), key.prefix, key.name, key.created_at, key.expires_at, key.revoked_at,
            encode(key.limits).decode(),
        )  # fmt: skip
        if not await self.database.run(Statement(INSERT, values)):
            raise InvalidRequest(f"a key named {key.name!r} is in use: choose another name, or revoke it", param="name")

    async def find(self, digest: bytes) -> ClientKey | None:
        """The key whose secret has *digest*, in whatever state. Raises StorageUnavailable."""
        rows = await self.database.fetch(FIND, digest.hex())
        key = key_of(rows[0]) if rows else None
        return key if key is not None and hmac.compare_digest(key.digest, digest) else None

    async def all(self) -> list[ClientKey]:
        """Oldest first. Raises StorageUnavailable."""
        return [key_of(row) for row in await self.database.fetch(ALL)]

    async def revoke(self, wanted: str, now: float) -> ClientKey | None:
        """End the key with this id or name; None when there is no such key that is not revoked yet."""
        rows = await self.database.fetch(REVOKE, now, wanted, wanted)
        return key_of(rows[0]) if rows else None


def key_of(row: Row) -> ClientKey:
    identity, digest, prefix, name, created_at, expires_at, revoked_at, limits = row
    try:
        return ClientKey(
            identity, bytes.fromhex(digest), prefix, name, created_at, expires_at, revoked_at, decode_limits(limits)
        )
    except (ValueError, msgspec.DecodeError) as exc:
        raise StorageUnavailable(f"the stored key {identity} cannot be read; revoke it and make a new one") from exc


COLUMNS = "id, digest, prefix, name, created_at, expires_at, revoked_at, limits"
INSERT = f"INSERT INTO client_keys ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # noqa: S608 - constants
FIND = f"SELECT {COLUMNS} FROM client_keys WHERE digest = ?"  # noqa: S608
ALL = f"SELECT {COLUMNS} FROM client_keys ORDER BY created_at, id"  # noqa: S608
REVOKE = (
    "UPDATE client_keys SET revoked_at = ? WHERE revoked_at IS NULL AND (id = ? OR name = ?) "  # noqa: S608
    f"RETURNING {COLUMNS}"
)
