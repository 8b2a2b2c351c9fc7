"""What both databases promise: order, atomic writes, migrations once, truthful refusals."""

from __future__ import annotations

import asyncio

import pytest

from streamward.errors import InvalidRequest
from streamward.gateway.storage import Statement, Storage, StorageUnavailable, open_database
from streamward.gateway.storage.database import migrations, split
from support.gateway_server import until

MARK = "INSERT INTO schema_migrations (number, name, applied_at) VALUES (?, ?, ?)"
NAMES = "SELECT name FROM schema_migrations WHERE number < 0 ORDER BY number DESC"


def mark(number: int, name: str = "x") -> Statement:
    """A row to write; below zero, where no migration is."""
    return Statement(MARK, (-number, name, 0.5))


async def names(storage: Storage) -> list[str]:
    return [row[0] for row in await storage.database.fetch(NAMES)]


async def test_what_was_queued_is_seen_by_the_next_read(storage: Storage):
    for number in range(100, 300):
        storage.database.later(mark(number, f"n{number}"))

    assert [f"n{number}" for number in range(100, 300)] == await names(storage)


async def test_a_transaction_is_stored_whole_or_not_at_all(storage: Storage):
    with pytest.raises(StorageUnavailable):
        await storage.database.run(mark(100), mark(101), mark(100))

    assert await names(storage) == []


async def test_a_failed_write_harms_no_other_and_is_counted(storage: Storage):
    storage.database.later(mark(100, "before"))
    storage.database.later(mark(100, "again"))
    storage.database.later(mark(101, "after"))

    assert await names(storage) == ["before", "after"]
    assert storage.database.dropped == 1


async def test_run_says_how_many_rows_changed(storage: Storage):
    await storage.database.run(mark(100), mark(101))

    changed = await storage.database.run(Statement("DELETE FROM schema_migrations WHERE number < ?", (0,)))

    assert changed == 2


async def test_closing_writes_what_is_queued(url: str):
    async with Storage(url) as first:
        first.database.later(mark(100, "kept"))
    async with Storage(url) as second:
        assert await names(second) == ["kept"]


async def test_migrations_run_once_however_many_workers_start(url: str):
    stores = [Storage(url) for _ in range(4)]
    await asyncio.gather(*(store.__aenter__() for store in stores))
    rows = await stores[0].database.fetch("SELECT number FROM schema_migrations ORDER BY number")
    await asyncio.gather(*(store.__aexit__(None, None, None) for store in stores))

    assert [migration.number for migration in migrations()] == [row[0] for row in rows]


async def test_a_newer_schema_is_refused(url: str):
    async with Storage(url) as first:
        await first.database.run(mark(-9999, "from the future"))

    with pytest.raises(StorageUnavailable, match="9999"):
        await Storage(url).__aenter__()


async def test_text_survives_whatever_it_holds(storage: Storage):
    text = "emoji \U0001f600, line\u2028sep, quote ' \" \\ ? $1"
    await storage.database.run(mark(100, text))

    assert await names(storage) == [text]


async def test_writes_wait_for_a_server_that_is_away(postgres, postgres_url: str):
    async with Storage(postgres_url) as storage:
        postgres.halt()
        storage.database.later(mark(100, "patient"))
        await asyncio.to_thread(postgres.boot)

        assert await names(storage) == ["patient"]


async def test_a_path_that_cannot_be_opened_is_said(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageUnavailable, match=r"file/x\.db"):
        await Storage(f"sqlite:{tmp_path}/file/x.db").__aenter__()


@pytest.mark.parametrize("url", ["mysql://u:secret@h/db", "sqlite:", "nonsense"])
def test_other_urls_are_refused_without_showing_them(url: str):
    with pytest.raises(InvalidRequest) as refused:
        open_database(url)

    assert "secret" not in str(refused.value)


def test_comments_and_blank_statements_of_a_migration_are_left_out():
    assert split("-- a; b\nCREATE x;\n\n  -- c\nCREATE y;\n") == ("CREATE x", "CREATE y")


async def test_a_write_to_a_closed_database_is_dropped_and_a_read_refused(tmp_path):
    async with Storage(f"sqlite:{tmp_path}/x.db") as storage:
        pass
    storage.database.later(mark(100))

    await until(lambda: storage.database.dropped == 1)
    with pytest.raises(StorageUnavailable):
        await storage.database.fetch(NAMES)
