"""Both databases, freshly empty for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from streamward.gateway.storage import Storage
from support.postgres_server import PostgresServer, server_binaries


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    binaries = server_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed")
    server = PostgresServer(binaries)
    try:
        yield server.start()
    finally:
        server.close()


async def emptied(server: PostgresServer) -> str:
    """The URL of the server's database, with nothing in it."""
    import asyncpg

    connection = await asyncpg.connect(server.url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    return server.url


@pytest.fixture
async def postgres_url(postgres: PostgresServer) -> str:
    """Of an empty PostgreSQL database."""
    return await emptied(postgres)


@pytest.fixture(params=["sqlite", "postgres"])
async def url(request: pytest.FixtureRequest, tmp_path) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/state/streamward.db"
    return await emptied(request.getfixturevalue("postgres"))


@pytest.fixture
async def storage(url: str) -> AsyncIterator[Storage]:
    async with Storage(url) as opened:
        yield opened
