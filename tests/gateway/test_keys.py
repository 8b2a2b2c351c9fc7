"""Client keys of the database: usable at once, ended at once, looked up without holding anybody up, never shown."""

import asyncio
import json
import os
import time

import pytest
from websockets.asyncio.client import connect

from streamward.dataplane.exchange import Request
from streamward.errors import AuthenticationFailed, Overloaded
from streamward.gateway import key_ring
from streamward.gateway.auth import StaticKeys, digest
from streamward.gateway.inner_call import inner_request
from streamward.gateway.key_limits import KeyLimits
from streamward.gateway.key_ring import KeyRing
from streamward.gateway.storage import StorageUnavailable
from streamward.gateway.storage.keys import ClientKey, new_key
from support.client_keys import add_key, asking, behind, getting
from support.gateway_server import config_text, gateway_server, until
from support.raw_http import KEY, ask, chat, connected, request
from support.scripted_upstream import HELLO, scripted_upstream, stream

# -- the ring, with a clock of its own


class Table:
    """A table of keys that can be slow, or away."""

    def __init__(self, *keys: ClientKey) -> None:
        self.keys = {key.digest: key for key in keys}
        self.asked = 0
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def find(self, mark: bytes) -> ClientKey | None:
        self.asked += 1
        await self.gate.wait()
        if self.away:
            raise StorageUnavailable("away")
        return self.keys.get(mark)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def carrying(secret: str) -> Request:
    head = inner_request("/v1/chat/completions")
    head.headers[b"authorization"] = b"Bearer " + secret.encode()
    return head


def ring_of(table: Table, *, required: bool = True) -> tuple[KeyRing, Clock]:
    clock = Clock()
    tasks = set()

    def spawn(work) -> None:
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return KeyRing(StaticKeys([KEY], required=required), table, spawn, clock, lambda: 1000.0 + clock.now), clock  # type: ignore[arg-type]


def made(name: str = "ci", **fields) -> tuple[ClientKey, str]:
    return new_key(name, now=0.0, random=os.urandom, **fields)


async def test_a_key_is_looked_up_once_then_known():
    key, secret = made(limits=KeyLimits(requests_per_minute=3))
    table = Table(key)
    ring, _ = ring_of(table)

    assert ring.caller(carrying(secret)) is None
    found = await ring.find(carrying(secret))
    assert ring.caller(carrying(secret)) is found
    assert (found.name, found.shown, found.limits, table.asked) == (key.id, "ci", KeyLimits(3, budget_period=None), 1)


async def test_many_requests_share_one_lookup():
    key, secret = made()
    table = Table(key)
    table.gate.clear()
    ring, _ = ring_of(table)
    waiting = [asyncio.create_task(ring.find(carrying(secret))) for _ in range(50)]
    await until(lambda: table.asked)
    waiting[0].cancel()
    table.gate.set()
    callers = await asyncio.gather(*waiting[1:])

    assert {caller.name for caller in callers} == {key.id}
    assert (table.asked, ring.lookups) == (1, {})


async def test_a_revoked_key_ends_within_seconds():
    key, secret = made()
    table = Table(key)
    ring, clock = ring_of(table)
    await ring.find(carrying(secret))
    table.keys[key.digest] = ClientKey(key.id, key.digest, key.prefix, key.name, 0.0, None, 5.0)
    clock.now = key_ring.FRESH_S + 0.1

    assert ring.caller(carrying(secret)) is not None, "one more, while it is looked up again"
    await until(lambda: not ring.lookups)
    with pytest.raises(AuthenticationFailed, match="revoked"):
        ring.caller(carrying(secret))


async def test_a_key_not_used_for_a_while_is_looked_up_before_it_is_trusted():
    key, secret = made()
    ring, clock = ring_of(Table(key))
    await ring.find(carrying(secret))

    clock.now = key_ring.STALE_S + 0.1

    assert ring.caller(carrying(secret)) is None


async def test_an_expired_key_ends_at_its_second():
    key, secret = made(expires_at=1001.0)
    ring, clock = ring_of(Table(key))
    await ring.find(carrying(secret))
    clock.now = 1.0

    with pytest.raises(AuthenticationFailed, match="expired"):
        ring.caller(carrying(secret))


async def test_known_keys_outlive_an_outage_for_a_while_and_others_wait_for_its_end():
    key, secret = made()
    table = Table(key)
    ring, clock = ring_of(table)
    await ring.find(carrying(secret))
    table.away = True
    clock.now = 60.0

    assert (await ring.find(carrying(secret))).name == key.id
    with pytest.raises(StorageUnavailable):
        await ring.find(carrying(made()[1]))
    clock.now = key_ring.OUTAGE_S + 1
    with pytest.raises(StorageUnavailable):
        await ring.find(carrying(secret))


async def test_a_database_that_hangs_is_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(key_ring, "LOOKUP_S", 0.02)
    key, secret = made()
    table = Table(key)
    ring, clock = ring_of(table)
    await ring.find(carrying(secret))
    table.gate.clear()
    clock.now = key_ring.STALE_S + 1

    assert (await ring.find(carrying(secret))).name == key.id
    assert ring.caller(carrying(secret)) is not None, "no wait for the next one"
    with pytest.raises(StorageUnavailable):
        await ring.find(carrying(made()[1]))


async def test_guessing_is_bounded_in_memory_and_in_lookups(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(key_ring, "MAX_UNKNOWN", 10)
    monkeypatch.setattr(key_ring, "MAX_LOOKUPS", 5)
    key, secret = made()
    table = Table(key)
    ring, _ = ring_of(table)
    await ring.find(carrying(secret))
    for _ in range(30):
        with pytest.raises(AuthenticationFailed):
            await ring.find(carrying(made()[1]))
    assert len(ring.unknown) == 10

    table.gate.clear()
    waiting = [asyncio.create_task(ring.find(carrying(made()[1]))) for _ in range(5)]
    await until(lambda: len(ring.lookups) == 5)
    with pytest.raises(Overloaded):
        await ring.find(carrying(made()[1]))
    assert ring.caller(carrying(secret)) is not None, "known keys are not touched"
    table.gate.set()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_what_is_no_key_of_ours_never_reaches_the_database():
    table = Table()
    ring, _ = ring_of(table)
    for credential in ("", "x", "' OR 1=1 --", "sw-" + "A" * 48, "sk-" + "a" * 48, "sw-" + "a" * 5000):
        with pytest.raises(AuthenticationFailed):
            ring.caller(carrying(credential))

    assert table.asked == 0


async def test_only_digests_are_compared_and_kept():
    """How long a comparison takes says nothing about a key: what is compared is its SHA-256."""
    key, secret = made()
    ring, _ = ring_of(Table(key))
    await ring.find(carrying(secret))

    assert list(ring.known) == [digest(secret.encode())]
    assert list(ring.static.callers) == [digest(KEY.encode())]
    assert secret not in repr(vars(ring))
    assert KEY not in repr(vars(ring.static))


async def test_without_required_keys_an_unknown_one_is_anonymous():
    ring, _ = ring_of(Table(), required=False)

    assert (await ring.find(carrying(made()[1]))).name == "anonymous"
    assert ring.caller(carrying("anything")).name == "anonymous"  # type: ignore[union-attr]


# -- on a real server


async def test_a_new_key_works_at_once_on_every_route():
    async with behind(stream(*HELLO)) as (served, _):
        _, secret = await add_key(served, "ci")
        chat_answer = await ask(served.port, asking(secret))
        _, second = await add_key(served, "second")
        models = await ask(served.port, getting("/v1/models", second))
        _, third = await add_key(served, "third")
        missing = await ask(served.port, getting("/v1/streams/st_unknown", third))
        _, fourth = await add_key(served, "fourth")
        header = request("POST", "/v1/messages", json.dumps({**chat(stream=False), "max_tokens": 5}).encode(),
                         {"x-api-key": fourth}, key=None)  # fmt: skip
        message = await ask(served.port, header)

        assert (chat_answer.status, chat_answer.text, models.status, missing.status) == (200, "Hello", 200, 404)
        assert message.status != 401
        assert (await served.record())["key"] == "ci"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
async def test_a_key_nobody_made_is_refused_in_every_dialect(path: str):
    async with behind(stream(*HELLO)) as (served, upstream):
        answer = await ask(served.port, request("POST", path, json.dumps(chat()).encode(), key=made()[1]))

        assert (answer.status, answer.get("www-authenticate")) == (401, "Bearer")
        assert upstream.seen == []
        assert (await served.record())["status"] == 401


async def test_a_revoked_key_is_refused_and_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(key_ring, "FRESH_S", 0.02)
    monkeypatch.setattr(key_ring, "STALE_S", 0.05)
    async with behind(stream(*HELLO)) as (served, _):
        _, secret = await add_key(served, "ci")
        assert (await ask(served.port, asking(secret))).status == 200
        await served.gateway.storage.keys.revoke("ci", time.time())
        deadline = time.monotonic() + 5
        while (answer := await ask(served.port, asking(secret))).status == 200:
            assert time.monotonic() < deadline

        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert "revoked" in answer.error["message"]


async def test_a_connection_does_not_outlive_its_key(monkeypatch: pytest.MonkeyPatch):
    """A WebSocket that was opened with a key which is revoked then: its next turn is refused."""
    monkeypatch.setattr(key_ring, "STALE_S", 0.0)
    async with behind(stream(*HELLO)) as (served, upstream):
        _, secret = await add_key(served, "ci")
        url = f"ws://127.0.0.1:{served.port}/v1/responses"
        async with connect(url, additional_headers={"authorization": f"Bearer {secret}"}) as socket:
            turn = json.dumps({"type": "response.create", "model": "mock/m", "input": "x"})
            await socket.send(turn)
            while json.loads(await socket.recv())["type"] != "response.completed":
                pass
            await served.gateway.storage.keys.revoke("ci", time.time())
            await socket.send(turn)
            refused = json.loads(await socket.recv())

        assert (refused["type"], refused["status"], len(upstream.seen)) == ("error", 401, 1)


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_stored_keys_work_under_any_asgi_server(http: str):
    async with (
        scripted_upstream(stream(*HELLO)) as upstream,
        gateway_server(config_text(upstream.base_url), http=http) as served,
    ):
        _, secret = await add_key(served)
        answers = [await ask(served.port, asking(secret, user="x" * size)) for size in (1, 300_000)]
        refused = await ask(served.port, asking(made()[1]))

        assert [answer.text for answer in answers] == ["Hello", "Hello"]
        assert refused.status == 401


async def test_a_lookup_holds_up_nobody_else(monkeypatch: pytest.MonkeyPatch):
    """The database does not answer: requests with known keys are served, the one with the new key waits, body unread."""
    async with behind(stream(*HELLO)) as (served, _):
        _, secret = await add_key(served)
        gate = asyncio.Event()
        find = served.gateway.storage.keys.find

        async def slow(mark: bytes) -> ClientKey | None:
            await gate.wait()
            return await find(mark)

        monkeypatch.setattr(served.gateway.storage.keys, "find", slow)
        waiting = asyncio.create_task(ask(served.port, asking(secret, user="x" * 300_000)))
        await until(lambda: served.gateway.keys.lookups)
        others = [await ask(served.port, asking(KEY)) for _ in range(5)]
        assert not waiting.done()
        gate.set()

        assert [answer.text for answer in others] == ["Hello"] * 5
        assert (await waiting).text == "Hello"


async def test_a_client_that_leaves_while_its_key_is_looked_up_leaves_nothing(monkeypatch: pytest.MonkeyPatch):
    async with behind(stream(*HELLO)) as (served, upstream):
        _, secret = await add_key(served)
        gate = asyncio.Event()
        find = served.gateway.storage.keys.find

        async def slow(mark: bytes) -> ClientKey | None:
            await gate.wait()
            return await find(mark)

        monkeypatch.setattr(served.gateway.storage.keys, "find", slow)
        async with connected(served.port) as connection:
            await connection.send(asking(secret))
            await until(lambda: served.gateway.keys.lookups)
        gate.set()
        await until(lambda: not served.gateway.keys.lookups and not served.server.server_state.connections)
        monkeypatch.undo()

        assert (await ask(served.port, asking(secret))).text == "Hello"
        assert served.gateway.active == set()
        assert len(upstream.seen) <= 2


async def test_a_database_that_is_away_is_a_503(monkeypatch: pytest.MonkeyPatch):
    async def away(mark: bytes) -> ClientKey | None:
        raise StorageUnavailable("the database refused: secret details of ours")

    async with behind(stream(*HELLO)) as (served, _):
        _, secret = await add_key(served)
        monkeypatch.setattr(served.gateway.storage.keys, "find", away)

        answer = await ask(served.port, asking(secret))

        assert (answer.status, answer.error["code"], answer.get("retry-after")) == (503, "storage_unavailable", "1")
        assert b"details" not in answer.body


@pytest.mark.parametrize(
    "credential",
    ["' OR '1'='1", "sw-' OR digest IS NOT NULL --", "sw-" + "a" * 40 + "' OR 1=1", "x'; DROP TABLE client_keys; --"],
)
async def test_a_credential_is_data(credential: str):
    async with behind(stream(*HELLO)) as (served, upstream):
        key, _ = await add_key(served)
        for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"):
            for headers in ({"authorization": f"Bearer {credential}"}, {"x-api-key": credential}):
                answer = await ask(served.port, request("POST", path, json.dumps(chat()).encode(), headers, key=None))
                assert answer.status == 401
                assert credential not in answer.body.decode()

        assert upstream.seen == []
        assert await served.gateway.storage.keys.all() == [key]


async def test_one_key_cannot_see_what_another_one_made():
    async with behind(stream(*HELLO)) as (served, _):
        _, mine = await add_key(served, "mine")
        _, other = await add_key(served, "other")
        answer = await ask(served.port, asking(mine, headers={"x-streamward-resumable": "1"}))
        path = f"/v1/streams/{answer.get('x-streamward-stream-id')}"
        own, foreign, unknown = [
            await ask(served.port, getting(where, who)) for where, who in ((path, mine), (path, other), (path + "x", other))
        ]
        stop = await ask(served.port, request("POST", path + "/stop", b"{}", key=other))

        assert (own.status, foreign.status, unknown.status, stop.status) == (200, 404, 404, 404)
        assert foreign.error == {**unknown.error, "message": foreign.error["message"]}


async def test_secrets_are_nowhere(tmp_path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    async with behind(stream(*HELLO), storage=f'url = "sqlite:{tmp_path}/s.db"') as (served, upstream):
        _, secret = await add_key(served, "ci", requests_per_minute=1)
        answers = [await ask(served.port, asking(secret)) for _ in range(2)]
        answers.append(await ask(served.port, asking(secret + "f")))
        answers.append(await ask(served.port, request("GET", "/metrics")))
        await until(lambda: not served.gateway.usage.rows and served.gateway.usage.batch is None)
        sent = b"".join(answer.body + repr(answer.headers).encode() for answer in answers)
        received = b"".join(seen.head + seen.body for seen in upstream.seen)
        logs = served.log.getvalue() + caplog.text
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    for place in (sent, received, logs.encode(), files):
        assert secret[9:].encode() not in place
    assert digest(secret.encode()).hex().encode() in files
    assert digest(secret.encode()).hex() not in logs
