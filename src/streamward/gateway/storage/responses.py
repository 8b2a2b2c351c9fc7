"""The table of stored responses: objects with their input, the chains they form, and their items by id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from streamward.gateway.storage.database import Database, Row, Statement

MAX_TURNS = 2000
"""Responses in one conversation: a chain that is longer is refused rather than read for ever."""

ITEMS_AT_ONCE = 100  # values in one IN list

Item = dict[str, Any]

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


class StoredResponse(Struct, frozen=True):
    """One response, its input items, and what it continues."""

    id: str
    tenant: str
    response: dict[str, Any]
    input: list[Item]
    previous_id: str | None = None
    background: bool = False
    created_at: float = 0.0
    expires_at: float = 0.0

    @property
    def items(self) -> list[Item]:
        """Its part of the conversation, in order."""
        return [*self.input, *self.response.get("output", ())]


class ResponseTable:
    """Stored responses of all tenants; every read names the tenant, a stranger's response does not exist."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def insert(self, stored: StoredResponse) -> list[Statement]:
        """Statements that keep *stored*; for ``database.later`` or ``run``."""
        response, given = encode(stored.response).decode(), encode(stored.input).decode()
        values = (
            stored.id, stored.tenant, stored.previous_id, int(stored.background), stored.created_at, stored.expires_at,
            len(response) + len(given), response, given,
        )  # fmt: skip
        return [Statement(INSERT, values), *self.index(stored.tenant, stored.id, stored.items)]

    def update(self, stored: StoredResponse) -> list[Statement]:
        """Statements that give a stored response its later state. One that was deleted stays deleted."""
        response = encode(stored.response).decode()
        return [
            Statement(UPDATE, (response, len(response), stored.id, stored.tenant)),
            *self.index(stored.tenant, stored.id, stored.response.get("output", ())),
        ]

    def index(self, tenant: str, response_id: str, items: Iterable[Item]) -> list[Statement]:
        ids = dict.fromkeys(item["id"] for item in items if isinstance(item.get("id"), str))
        return [Statement(INDEX_ITEM, (tenant, item_id, response_id)) for item_id in ids]

    async def get(self, response_id: str, tenant: str, now: float) -> StoredResponse | None:
        rows = await self.database.fetch(GET, response_id, tenant, now)
        return stored_of(rows[0]) if rows else None

    async def delete(self, response_id: str, tenant: str) -> bool:
        return await self.database.run(Statement(DELETE, (response_id, tenant))) > 0

    async def chain(self, response_id: str, tenant: str, now: float) -> list[StoredResponse]:
        """The response and all it continues, oldest first; empty when it is not there.

        The first has a ``previous_id`` when something it continues is no longer there, or the chain is too long.
        """
        rows = await self.database.fetch(CHAIN, response_id, tenant, now, tenant, now, MAX_TURNS)
        return [stored_of(row) for row in rows]

    async def items(self, ids: Sequence[str], tenant: str, now: float) -> dict[str, Item]:
        """Those of the items *ids* that are stored."""
        wanted = list(dict.fromkeys(ids))
        found: dict[str, Item] = {}
        for start in range(0, len(wanted), ITEMS_AT_ONCE):
            some = wanted[start : start + ITEMS_AT_ONCE]
            sql = HOLDING.format(", ".join("?" for _ in some))
            for row in await self.database.fetch(sql, tenant, now, *some):
                for item in stored_of(row).items:
                    if item.get("id") in some:
                        found[item["id"]] = item
        return found

    async def sweep(self, now: float, *, max_rows: int, max_chars: int) -> int:
        """Forget what is past its retention, then the oldest past a bound (0: none); how many there were."""
        gone = await self.database.run(Statement(EXPIRE, (now,)))
        rows = await self.database.fetch(FIRST_BEYOND, max_rows or UNBOUNDED, max_chars or UNBOUNDED)
        if rows:
            gone += await self.database.run(Statement(TRIM, (rows[0][0],)))
        return gone

    async def count(self) -> tuple[int, int]:
        """Responses held, and the characters of JSON they take."""
        (count, size), *_ = await self.database.fetch("SELECT COUNT(*), COALESCE(SUM(size), 0) FROM responses")
        return int(count), int(size)


def stored_of(row: Row) -> StoredResponse:
    identity, tenant, previous_id, background, created_at, expires_at, response, given = row
    return StoredResponse(
        identity, tenant, decode(response), decode(given), previous_id, bool(background), created_at, expires_at
    )


UNBOUNDED = 1 << 62

COLUMNS = "id, tenant, previous_id, background, created_at, expires_at, response, input"
INSERT = (
    "INSERT INTO responses (id, tenant, previous_id, background, created_at, expires_at, size, response, input) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
)
UPDATE = "UPDATE responses SET response = ?, size = ? + LENGTH(input) WHERE id = ? AND tenant = ?"
INDEX_ITEM = (
    "INSERT INTO response_items (tenant, id, response_id) SELECT ?, ?, id FROM responses WHERE id = ? "
    "ON CONFLICT (tenant, id) DO UPDATE SET response_id = excluded.response_id"
)
GET = f"SELECT {COLUMNS} FROM responses WHERE id = ? AND tenant = ? AND expires_at > ?"  # noqa: S608 - constants
DELETE = "DELETE FROM responses WHERE id = ? AND tenant = ?"
CHAIN = f"""
WITH RECURSIVE chain AS (
    SELECT {COLUMNS}, 1 AS depth FROM responses WHERE id = ? AND tenant = ? AND expires_at > ?
    UNION ALL
    SELECT r.id, r.tenant, r.previous_id, r.background, r.created_at, r.expires_at, r.response, r.input, c.depth + 1
    FROM responses r JOIN chain c ON r.id = c.previous_id WHERE r.tenant = ? AND r.expires_at > ? AND c.depth < ?
)
SELECT {COLUMNS} FROM chain ORDER BY depth DESC
"""  # noqa: S608
HOLDING = (
    "SELECT DISTINCT r.id, r.tenant, r.previous_id, r.background, r.created_at, r.expires_at, r.response, r.input "
    "FROM response_items i JOIN responses r ON r.id = i.response_id "
    "WHERE i.tenant = ? AND r.expires_at > ? AND i.id IN ({})"
)
EXPIRE = "DELETE FROM responses WHERE expires_at <= ?"
FIRST_BEYOND = """
SELECT created_at FROM (
    SELECT created_at, ROW_NUMBER() OVER newest AS place, SUM(size) OVER newest AS total FROM responses
    WINDOW newest AS (ORDER BY created_at DESC, id ROWS UNBOUNDED PRECEDING)
) AS held WHERE place > ? OR total > ? ORDER BY created_at DESC LIMIT 1
"""
TRIM = "DELETE FROM responses WHERE created_at <= ?"
