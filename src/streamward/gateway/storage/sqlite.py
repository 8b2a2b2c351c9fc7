"""The database as a SQLite file: one connection, in one thread, which commits whatever has queued up meanwhile."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from msgspec import Struct

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

BUSY_MS = 10_000  # other workers commit in milliseconds; a backup may take longer
WAL_RETRY_S = 0.01
MAX_GROUP = 1000  # jobs in one commit: bounds how long a reader waits behind writers

log = logging.getLogger("streamward.storage")


class Job(Struct, gc=False):
    """One transaction, and who waits for it."""

    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any] | None = None


class SqliteDatabase:
    """See :class:`streamward.gateway.storage.database.Database`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.dropped = 0
        self.queue: list[Job] = []
        self.busy = False
        self.closed = True
        self.idle = asyncio.Event()
        self.idle.set()
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="streamward-storage")
        self.connection: sqlite3.Connection = None  # type: ignore[assignment] # set by connect, in the thread

    async def __aenter__(self) -> Self:
        self.loop = asyncio.get_running_loop()
        try:
            await self.loop.run_in_executor(self.thread, self.connect)
        except (sqlite3.Error, OSError) as exc:
            self.thread.shutdown()
            raise StorageUnavailable(f"cannot open the database {self.path}: {exc}") from exc
        except BaseException:
            self.thread.shutdown()
            raise
        self.closed = False
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.idle.wait()
        self.closed = True
        await self.loop.run_in_executor(self.thread, self.connection.close)
        self.thread.shutdown()

    def later(self, *statements: Statement) -> None:
        if self.closed or len(self.queue) >= MAX_QUEUED:
            self.dropped += 1
            return
        self.submit(Job(lambda connection: execute(connection, statements)))

    async def run(self, *statements: Statement) -> int:
        return int(await self.call(lambda connection: execute(connection, statements)))

    async def fetch(self, sql: str, *values: Any) -> list[Row]:
        return list(await self.call(lambda connection: connection.execute(sql, values).fetchall()))

    async def call(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        if self.closed:
            raise StorageUnavailable("the database is closed")
        future = self.loop.create_future()
        self.submit(Job(work, future))
        return await future

    # -- the queue (event loop)

    def submit(self, job: Job) -> None:
        self.queue.append(job)
        if not self.busy:
            self.busy = True
            self.idle.clear()
            self.loop.call_soon(self.flush)  # what this turn of the loop still brings shares the commit

    def flush(self) -> None:
        jobs, self.queue = self.queue[:MAX_GROUP], self.queue[MAX_GROUP:]
        done = self.loop.run_in_executor(self.thread, self.commit, jobs)
        done.add_done_callback(lambda outcome: self.answer(jobs, outcome))

    def answer(self, jobs: list[Job], done: asyncio.Future[list[Any]]) -> None:
        failure = done.exception()
        outcomes = done.result() if failure is None else [failure] * len(jobs)
        for job, outcome in zip(jobs, outcomes, strict=True):
            failed = isinstance(outcome, BaseException)
            if job.future is None:
                if failed:
                    self.dropped += 1
                    log.error("storage_write_failed", extra={"reason": str(outcome)[:200]})
            elif not job.future.done():
                if failed:
                    job.future.set_exception(StorageUnavailable(f"the database refused: {outcome!s:.200}"))
                else:
                    job.future.set_result(outcome)
        if self.queue:
            self.flush()
        else:
            self.busy = False
            self.idle.set()

    # -- the thread

    def connect(self) -> None:
        if self.path != ":memory:":
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        connection = self.connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        use_wal(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")  # one worker migrates, the others wait here
        try:
            connection.execute(MIGRATIONS_TABLE)
            for migration in due({row[0] for row in connection.execute(APPLIED)}):
                for statement in migration.statements:
                    connection.execute(statement)
                connection.execute(MARK_APPLIED, (migration.number, migration.name, time.time()))
        except BaseException:
            connection.execute("ROLLBACK")
            connection.close()
            raise
        connection.execute("COMMIT")

    def commit(self, jobs: list[Job]) -> list[Any]:
        """Run all *jobs* in one commit; one that fails is undone alone."""
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        outcomes: list[Any] = []
        try:
            for job in jobs:
                connection.execute("SAVEPOINT job")
                try:
                    outcomes.append(job.work(connection))
                except sqlite3.Error as exc:
                    connection.execute("ROLLBACK TO job")
                    outcomes.append(exc)
                connection.execute("RELEASE job")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return outcomes


def use_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging. SQLite does not wait for its turn here, whatever the busy timeout: so we do."""
    give_up = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(WAL_RETRY_S)


def execute(connection: sqlite3.Connection, statements: tuple[Statement, ...]) -> int:
    changed = 0
    for statement in statements:
        changed = connection.execute(statement.sql, statement.values).rowcount
    return changed
