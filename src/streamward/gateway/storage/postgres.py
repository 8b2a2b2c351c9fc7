"""The database as PostgreSQL, through asyncpg (extra ``streamward[postgres]``).

Writes of ``later`` go through one task in order, and are repeated while the server is away; what waits for an answer
uses the pool, after everything that was queued before it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import cache
from typing import Any, Self

import asyncpg

from streamward.gateway.storage.database import (
    APPLIED,
    MARK_APPLIED,
    MAX_QUEUED,
    MIGRATIONS_TABLE,
    Row,
    Statement,
    StorageUnavailable,
    due,
)

MAX_CONNECTIONS = 4  # per worker: one writes, the others answer control routes
COMMAND_TIMEOUT_S = 15.0
RETRY_S = 0.5
GIVE_UP_S = 30.0  # of a write while the server is away: longer than a fail-over
MIGRATION_LOCK = 0x73777264  # "swrd": any number, but the same in every worker

AWAY = (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.CannotConnectNowError,
        asyncpg.AdminShutdownError, asyncpg.CrashShutdownError)  # fmt: skip

log = logging.getLogger("streamward.storage")


class PostgresDatabase:
    """See :class:`streamward.gateway.storage.database.Database`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.dropped = 0
        self.queue: asyncio.Queue[tuple[Statement, ...] | None] = asyncio.Queue()
        self.pool: Any = None
        self.writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            self.pool = await asyncpg.create_pool(
                self.url, min_size=1, max_size=MAX_CONNECTIONS, command_timeout=COMMAND_TIMEOUT_S, timeout=COMMAND_TIMEOUT_S
            )
            await self.migrate()
        except StorageUnavailable:
            await self.pool.close()
            raise
        except (*AWAY, asyncpg.PostgresError) as exc:
            if self.pool is not None:
                self.pool.terminate()
            raise StorageUnavailable(f"cannot open the PostgreSQL database: {type(exc).__name__}: {exc}") from exc
        self.writer = asyncio.create_task(self.write(), name="streamward-storage")
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self.writer is not None
        self.queue.put_nowait(None)
        await self.writer
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                await self.pool.close()
        except TimeoutError:
            self.pool.terminate()

    async def migrate(self) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            await connection.execute(MIGRATIONS_TABLE)
            for migration in due({row[0] for row in await connection.fetch(APPLIED)}):
                for statement in migration.statements:
                    await connection.execute(statement)
                await connection.execute(numbered(MARK_APPLIED), migration.number, migration.name, time.time())

    def later(self, *statements: Statement) -> None:
        if self.queue.qsize() >= MAX_QUEUED or self.writer is None or self.writer.done():
            self.dropped += 1
            return
        self.queue.put_nowait(statements)

    async def run(self, *statements: Statement) -> int:
        await self.queue.join()
        return int(await guarded(self.transaction(statements)))

    async def fetch(self, sql: str, *values: Any) -> list[Row]:
        await self.queue.join()
        return list(await guarded(self.query(sql, values)))

    async def query(self, sql: str, values: tuple[Any, ...]) -> list[Row]:
        async with self.pool.acquire() as connection:
            return [tuple(row) for row in await connection.fetch(numbered(sql), *values)]

    async def transaction(self, statements: tuple[Statement, ...]) -> int:
        status = ""
        async with self.pool.acquire() as connection, connection.transaction():
            for statement in statements:
                status = await connection.execute(numbered(statement.sql), *statement.values)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def write(self) -> None:
        """The writer task: whatever is queued, in order."""
        while (statements := await self.queue.get()) is not None:
            try:
                await self.write_one(statements)
            except (*AWAY, asyncpg.PostgresError) as exc:
                self.dropped += 1
                log.error("storage_write_failed", extra={"reason": f"{type(exc).__name__}: {exc!s:.200}"})
            finally:
                self.queue.task_done()
        self.queue.task_done()

    async def write_one(self, statements: tuple[Statement, ...]) -> None:
        give_up = time.monotonic() + GIVE_UP_S
        while True:
            try:
                await self.transaction(statements)
                return
            except AWAY:
                if time.monotonic() > give_up:
                    raise
                await asyncio.sleep(RETRY_S)


async def guarded(work: Any) -> Any:
    try:
        return await work
    except (*AWAY, asyncpg.PostgresError) as exc:
        raise StorageUnavailable(f"the database refused: {type(exc).__name__}: {exc!s:.200}") from exc


@cache
def numbered(sql: str) -> str:
    """*sql* with PostgreSQL's ``$1`` for ``?``. No statement of ours has a question mark elsewhere."""
    first, *rest = sql.split("?")
    return first + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))
