"""The gateway while its PostgreSQL is away: calls go on, nothing is lost, nothing counts twice."""

import asyncio
from collections.abc import Iterator

import pytest

from streamward.gateway import key_ring
from streamward.gateway import usage as usage_module
from support.client_keys import PRICED, add_key, asking, behind
from support.gateway_server import until
from support.postgres_server import PostgresServer, server_binaries
from support.raw_http import ask
from support.scripted_upstream import HELLO, stream


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server of this test's own: it is stopped and started."""
    binaries = server_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed")
    server = PostgresServer(binaries)
    try:
        yield server.start()
    finally:
        server.close()


async def test_calls_go_on_and_are_all_accounted_for_once(own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(key_ring, "STALE_S", 0.0)
    monkeypatch.setattr(usage_module, "RETRY_S", 0.1)
    async with behind(
        stream(*HELLO), storage=f'url = "{own_postgres.url}"', more=f'[prices."mock/*"]\n{PRICED}'
    ) as (served, _):  # fmt: skip
        usage = served.gateway.usage
        key, secret = await add_key(served, "ci")
        _, stranger = await add_key(served, "never seen")
        answers = [await ask(served.port, asking(secret)) for _ in range(5)]
        await until(lambda: not usage.rows and usage.batch is None)
        await asyncio.to_thread(own_postgres.halt)
        answers += await asyncio.gather(*(ask(served.port, asking(secret)) for _ in range(20)))
        unknown = await ask(served.port, asking(stranger))
        await until(lambda: usage.tries > 1)
        await asyncio.to_thread(own_postgres.boot)
        answers += [await ask(served.port, asking(secret)) for _ in range(5)]
        await until(lambda: not usage.rows and usage.batch is None)
        (total,) = await served.gateway.storage.usage.report(["key"])
        spent = await served.gateway.storage.usage.spent(key.id, "")
        later = await ask(served.port, asking(stranger))

    assert [answer.text for answer in answers] == ["Hello"] * 30
    assert (unknown.status, unknown.error["code"], later.text) == (503, "storage_unavailable", "Hello")
    assert (total.group, total.requests, total.cost_usd, spent) == (("ci",), 30, 270.0, 270.0)
    assert usage.dropped == 0
