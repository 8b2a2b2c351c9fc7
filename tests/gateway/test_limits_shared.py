"""Limits that several gateways count together, in a real Redis."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from streamward.gateway import limits_redis
from streamward.gateway.key_limits import KeyLimits
from streamward.gateway.limits import Ask
from streamward.gateway.limits_redis import RedisLimiter
from streamward.gateway.storage import Storage
from streamward.gateway.usage import Usage
from support.client_keys import PATIENT, PRICED, add_key, asking
from support.gateway_server import Served, config_text, gateway_server, until
from support.raw_http import ask, connected
from support.redis_server import RedisServer
from support.scripted_upstream import (
    COMPLETION,
    HELLO,
    LAST,
    ROLE,
    SSE,
    Fault,
    delta,
    document,
    http_chunk,
    scripted_upstream,
    stream,
)

HALF = [SSE, *map(http_chunk, (ROLE, delta("Hel"))), Fault.GATE, *map(http_chunk, HELLO[2:]), LAST]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
async def pair(redis: RedisServer, tmp_path) -> AsyncIterator:
    """Two gateways with one database, one Redis and one upstream; a function that gives it its script."""
    redis.flush()
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(scripted_upstream(stream(*HELLO)))
        text = config_text(
            upstream.base_url, mock=PATIENT, streams=f'store = "{redis.url}"', storage=f'url = "sqlite:{tmp_path}/s.db"'
        )
        text += f'\n[prices."mock/*"]\n{PRICED}'
        served = [await stack.enter_async_context(gateway_server(text)) for _ in range(2)]
        yield (*served, upstream)


async def burst(served: list[Served], secret: str, count: int, **more) -> list[int]:
    answers = await asyncio.gather(*(ask(served[n % len(served)].port, asking(secret, **more)) for n in range(count)))
    return sorted(answer.status for answer in answers)


async def test_a_burst_over_two_gateways_gets_exactly_its_requests(pair):
    first, second, upstream = pair
    _, secret = await add_key(first, requests_per_minute=5)

    assert await burst([first, second], secret, 24) == [200] * 5 + [429] * 19
    assert len(upstream.seen) == 5


async def test_calls_at_a_time_are_counted_over_both(pair):
    first, second, upstream = pair
    _, secret = await add_key(first, concurrent_streams=2)
    upstream.answers(HALF)
    calls = [asyncio.create_task(ask(served.port, asking(secret))) for served in (first, second) for _ in range(4)]
    await until(lambda: sum(call.done() for call in calls) == 6)
    upstream.gate.set()
    answers = await asyncio.gather(*calls)
    await until(lambda: not first.gateway.admission.shared.held and not second.gateway.admission.shared.held)

    assert sorted(answer.status for answer in answers) == [200] * 2 + [429] * 6
    assert await burst([second], secret, 1) == [200]


async def test_the_slot_of_a_client_that_left_comes_back(pair):
    first, second, upstream = pair
    _, secret = await add_key(first, concurrent_streams=1)
    upstream.answers(HALF)
    async with connected(first.port) as connection:
        await connection.send(asking(secret))
        await connection.head()
        assert await burst([second], secret, 1) == [429]
    await until(lambda: not first.gateway.admission.shared.held)
    upstream.gate.set()

    assert await burst([second], secret, 1) == [200]


async def test_one_budget_for_both(pair):
    """A dollar a token: 26 + 20 reserved, 9 spent."""
    first, second, upstream = pair
    _, secret = await add_key(first, budget_usd=66.0)
    upstream.answers(document(COMPLETION))
    turns = (first, second, first, second)
    statuses = [(await burst([served], secret, 1, stream=False, max_tokens=20))[0] for served in turns]

    assert statuses == [200, 200, 200, 429]
    assert len(upstream.seen) == 3


async def test_the_headers_are_the_same_as_without_redis(pair):
    first, second, _ = pair
    _, secret = await add_key(first, requests_per_minute=2)
    answers = [await ask(served.port, asking(secret)) for served in (first, second, first)]

    assert [answer.get("x-ratelimit-remaining-requests") for answer in answers] == ["1", "0", "0"]
    assert 29 <= int(answers[2].get("retry-after") or 0) <= 31


async def test_while_redis_is_away_each_gateway_counts_alone(tmp_path):
    server = RedisServer().start()
    try:
        async with scripted_upstream(stream(*HELLO)) as upstream:
            text = config_text(
                upstream.base_url, mock=PATIENT, streams=f'store = "{server.url}"', storage=f'url = "sqlite:{tmp_path}/s.db"'
            )
            async with gateway_server(text) as served:
                _, secret = await add_key(served, requests_per_minute=2)
                server.kill()
                started = time.monotonic()
                answers = [await ask(served.port, asking(secret)) for _ in range(3)]

                assert [answer.status for answer in answers] == [200, 200, 429]
                assert time.monotonic() - started < 2 * limits_redis.ANSWER_S + 1
                assert served.gateway.admission.shared.failures == 1
                server.start()
    finally:
        server.close()


# -- the counters themselves


async def limiters(redis: RedisServer, stack: AsyncExitStack, count: int) -> list[RedisLimiter]:
    redis.flush()
    storage = await stack.enter_async_context(Storage("sqlite::memory:"))
    usage = Usage(storage.usage)
    task = asyncio.create_task(usage.run())
    stack.callback(task.cancel)
    return [await stack.enter_async_context(RedisLimiter(redis.url, usage)) for _ in range(count)]


def asked(identity: str, **limits) -> Ask:
    return Ask(identity, "key_1", KeyLimits(**limits), 10, 0.5)


async def test_slots_of_a_dead_worker_run_out(redis: RedisServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits_redis, "LEASE_S", 0.2)
    monkeypatch.setattr(limits_redis, "RENEW_S", 60.0)
    async with AsyncExitStack() as stack:
        dead, alive = await limiters(redis, stack, 2)
        await dead.take(asked("a", concurrent_streams=1, budget_usd=1.0), "")
        refused = await alive.take(asked("b", concurrent_streams=1, budget_usd=1.0), "")
        deadline = time.monotonic() + 5
        while (taken := await alive.take(asked("c", concurrent_streams=1, budget_usd=0.5), "")) and taken[0].refused:
            assert time.monotonic() < deadline, "the slot never came back"
            await asyncio.sleep(0.02)

        assert refused is not None
        assert refused[0].refused == "streams"


async def test_a_lease_is_renewed_while_its_call_runs(redis: RedisServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits_redis, "LEASE_S", 0.3)
    monkeypatch.setattr(limits_redis, "RENEW_S", 0.05)
    async with AsyncExitStack() as stack:
        first, second = await limiters(redis, stack, 2)
        await first.take(asked("a", concurrent_streams=1), "")
        until_s = time.monotonic() + 0.8
        while time.monotonic() < until_s:
            taken = await second.take(asked("b", concurrent_streams=1), "")
            assert taken is not None
            assert taken[0].refused == "streams"
            await asyncio.sleep(0.05)


async def test_settling_twice_counts_once(redis: RedisServer):
    async with AsyncExitStack() as stack:
        (limiter,) = await limiters(redis, stack, 1)
        taken = await limiter.take(asked("a", budget_usd=2.0), "")
        assert taken is not None
        for _ in range(3):
            limiter.settle(taken[1], 10, 1.5)

        allowed = await limiter.take(asked("b", budget_usd=2.0), "")
        refused = await limiter.take(asked("c", budget_usd=2.0), "")

        assert allowed is not None
        assert refused is not None
        assert (allowed[0].refused, refused[0].refused) == ("", "budget")
