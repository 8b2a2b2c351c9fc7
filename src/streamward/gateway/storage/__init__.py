"""What the gateway keeps beyond a process's life: stored responses, keys, usage. SQLite by default, PostgreSQL by URL.

    async with Storage("sqlite:.streamward/streamward.db") as storage:      # or postgresql://...
        storage.database.later(Statement("INSERT ...", (...)))              # soon, never waits
        await storage.responses.get("resp_...", tenant)

Each kind of thing has a table class over :class:`Database` (``responses``, ``keys``, ``usage``); their SQL runs
unchanged on both databases, and their schema is a numbered file in ``migrations``.
"""

from __future__ import annotations

from typing import Self
from urllib.parse import urlsplit

from streamward.errors import InvalidRequest
from streamward.gateway.storage.database import Database, Row, Statement, StorageUnavailable
from streamward.gateway.storage.keys import KeyTable
from streamward.gateway.storage.responses import ResponseTable, StoredResponse
from streamward.gateway.storage.usage import UsageTable

__all__ = [
    "Database", "KeyTable", "ResponseTable", "Row", "Statement", "Storage", "StorageUnavailable", "StoredResponse",
    "UsageTable", "open_database",
]  # fmt: skip


def open_database(url: str) -> Database:
    """The database that *url* names, not yet opened: ``sqlite:PATH``, ``sqlite::memory:`` or ``postgresql://...``.

    Raises:
        InvalidRequest: anything else.
        ModuleNotFoundError: PostgreSQL without ``streamward[postgres]`` installed.
    """
    if url.startswith("sqlite:") and len(url) > len("sqlite:"):
        from streamward.gateway.storage.sqlite import SqliteDatabase

        return SqliteDatabase(url.removeprefix("sqlite:"))
    if url.startswith(("postgresql://", "postgres://")):
        from streamward.gateway.storage.postgres import PostgresDatabase

        return PostgresDatabase(url)
    shown = urlsplit(url).scheme or url[:20]  # never the whole: it may hold a password
    raise InvalidRequest(f"unknown storage {shown!r}: expected sqlite:PATH or postgresql://...")


class Storage:
    """One open database and the tables in it."""

    def __init__(self, url: str) -> None:
        self.database = open_database(url)
        self.responses = ResponseTable(self.database)
        self.keys = KeyTable(self.database)
        self.usage = UsageTable(self.database)

    async def __aenter__(self) -> Self:
        await self.database.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.database.__aexit__(*exc)
