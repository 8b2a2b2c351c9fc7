"""What a database is to the gateway: SQL in one dialect that SQLite and PostgreSQL both speak, and migrations.

Statements use ``?`` for values, the types TEXT, BIGINT and DOUBLE PRECISION, ``ON CONFLICT`` and ``RETURNING``; JSON is
text. Nothing here is on the path of a token: ``later`` never waits, everything else is for a call's beginning and for
the control routes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from typing import Any, Protocol, Self, TypeAlias

from msgspec import Struct

from streamward.errors import StreamwardError

Row: TypeAlias = Sequence[Any]

MAX_QUEUED = 20_000
"""Transactions waiting for a database that is slow or away; past it the newest are dropped, and counted."""

MIGRATION_NAME = re.compile(r"(\d{4})_\w+\.sql")


class StorageUnavailable(StreamwardError):
    """The database cannot be reached or refuses to work."""

    code, status, safe_to_retry = "storage_unavailable", 503, True


class Statement(Struct, frozen=True):
    """One statement and its values."""

    sql: str
    values: tuple[Any, ...] = ()


class Migration(Struct, frozen=True):
    """One numbered step of the schema; ``statements`` are its parts in order."""

    number: int
    name: str
    statements: tuple[str, ...]


class Database(Protocol):
    """A database, opened by ``async with``. Belongs to one event loop. What was queued before is seen by what follows."""

    dropped: int
    """Transactions of ``later`` that could not be kept."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None:
        """Write what is queued, and close."""

    def later(self, *statements: Statement) -> None:
        """Run *statements* as one transaction, soon and in order. Never waits; a failure is logged and counted."""

    async def run(self, *statements: Statement) -> int:
        """Run *statements* as one transaction; the number of rows the last one changed.

        Raises:
            StorageUnavailable.
        """

    async def fetch(self, sql: str, *values: Any) -> list[Row]:
        """All rows of a query, or of a statement with ``RETURNING``.

        Raises:
            StorageUnavailable.
        """


def migrations() -> list[Migration]:
    """The schema's steps, by number."""
    found = []
    for file in resources.files("streamward.gateway.storage").joinpath("migrations").iterdir():
        match = MIGRATION_NAME.fullmatch(file.name)
        if match is not None:
            found.append(Migration(int(match[1]), file.name, split(file.read_text(encoding="utf-8"))))
    return sorted(found, key=lambda migration: migration.number)


def split(script: str) -> tuple[str, ...]:
    """The statements of a migration; its comments stand on lines of their own, and no value holds a semicolon."""
    lines = [line for line in script.splitlines() if not line.lstrip().startswith("--")]
    return tuple(part.strip() for part in "\n".join(lines).split(";") if part.strip())


def due(applied: set[int]) -> list[Migration]:
    """The steps that are missing after those *applied*.

    Raises:
        StorageUnavailable: the database is newer than this program.
    """
    known = migrations()
    newest = max(migration.number for migration in known)
    if applied and max(applied) > newest:
        raise StorageUnavailable(
            f"the database has schema {max(applied)}, this streamward knows {newest}: run the newer version"
        )
    return [migration for migration in known if migration.number not in applied]


MIGRATIONS_TABLE = (
    "CREATE TABLE IF NOT EXISTS schema_migrations (number BIGINT PRIMARY KEY, name TEXT NOT NULL, "
    "applied_at DOUBLE PRECISION NOT NULL)"
)
APPLIED = "SELECT number FROM schema_migrations"
MARK_APPLIED = "INSERT INTO schema_migrations (number, name, applied_at) VALUES (?, ?, ?)"
