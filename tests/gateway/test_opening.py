"""What was worked out for a head holds for the same head on the same connection, and no longer than it is true."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from streamward.gateway import opening
from support.client_keys import add_key
from support.gateway_server import config_text, gateway_server
from support.raw_http import KEY, Answer, Connection, chat_request, connected, request

FAST = "demo/chat?tps=0&ttft_ms=0"


async def status(connection: Connection, data: bytes) -> Answer:
    await connection.send(data)
    return await connection.answer()


class Counted(opening.Opening):
    made = 0

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        Counted.made += 1


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    monkeypatch.setattr("streamward.gateway.app.Opening", Counted)
    Counted.made = 0
    return Counted


async def test_a_head_is_judged_once_on_a_connection(counted: type[Counted]):
    async with gateway_server(config_text()) as served, connected(served.port) as connection:
        for model in (FAST, "demo/chat?tps=0&ttft_ms=10", FAST):  # bodies of other lengths
            assert (await status(connection, chat_request(model))).status == 200
        assert counted.made == 1
        assert (await status(connection, chat_request(FAST, headers={"x-other": "1"}))).status == 200
        assert counted.made == 2


async def test_a_wrong_key_is_judged_every_time(counted: type[Counted]):
    async with gateway_server(config_text()) as served:
        for _ in range(2):
            async with connected(served.port) as connection:
                answer = await status(connection, request("POST", "/v1/chat/completions", b"{}", key="wrong"))
                assert answer.status == 401
    assert counted.made == 2


async def test_a_key_taken_from_the_configuration_ends_on_its_connection(tmp_path: Path):
    path = tmp_path / "streamward.toml"
    path.write_text(config_text())
    async with gateway_server(path.read_text(), config_path=path) as served, connected(served.port) as connection:
        before = await status(connection, chat_request(FAST))
        path.write_text(config_text().replace(KEY, "another-key"))
        served.gateway.reload()
        after = await status(connection, chat_request(FAST))

    assert (before.status, after.status) == (200, 401)


async def test_a_key_of_the_database_can_be_revoked_on_its_connection(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streamward.gateway.key_ring.STALE_S", 0.0)
    async with gateway_server(config_text()) as served, connected(served.port) as connection:
        _, secret = await add_key(served, "ci")
        data = chat_request(FAST).replace(KEY.encode(), secret.encode())
        before = [(await status(connection, data)).status for _ in range(2)]
        await served.gateway.storage.keys.revoke("ci", time.time())
        after = await status(connection, data)

    assert before == [200, 200]
    assert after.status == 401


async def test_every_request_is_counted_and_bounded_although_its_head_is_known(monkeypatch: pytest.MonkeyPatch):
    """What depends on the moment or on the body is looked at each time."""
    async with gateway_server(config_text(limits="max_body_bytes = 200")) as served, connected(served.port) as connection:
        assert (await status(connection, chat_request(FAST))).status == 200
        monkeypatch.setattr(served.gateway, "draining", True)
        assert (await status(connection, chat_request(FAST))).status == 503
    async with gateway_server(config_text(limits="max_body_bytes = 200")) as served, connected(served.port) as connection:
        assert (await status(connection, chat_request(FAST))).status == 200
        assert (await status(connection, chat_request(FAST, user="x" * 300))).status == 413
