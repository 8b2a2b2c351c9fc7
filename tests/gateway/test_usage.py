"""Usage: every call once, with what it cost and how sure that is; written beside the traffic, bounded, never lost quietly."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator

import pytest

from streamward.gateway import usage as usage_module
from streamward.gateway.prices import FREE, Price, Prices, cost_usd
from streamward.gateway.records import Record
from streamward.gateway.storage import Storage, StorageUnavailable
from streamward.gateway.usage import Usage
from support.client_keys import PRICED, add_key, asking, behind
from support.gateway_server import Served, until
from support.raw_http import ask, chat_request, connected, request
from support.scripted_upstream import (
    COMPLETION,
    HELLO,
    LAST,
    ROLE,
    SSE,
    Fault,
    Seen,
    delta,
    document,
    http_chunk,
    stream,
)

DOLLARS = f'[prices."mock/*"]\n{PRICED}'
COLUMNS = (
    "tenant", "key_name", "route", "model", "target", "status", "ending", "code", "input_tokens", "output_tokens", "cost_usd",
    "grade", "ttft_ms",
)  # fmt: skip


async def rows(served: Served) -> list[dict]:
    """What is in the database, once it is all there."""
    usage = served.gateway.usage
    await until(lambda: not usage.rows and usage.batch is None)
    found = await served.gateway.storage.database.fetch(f"SELECT {', '.join(COLUMNS)} FROM usage ORDER BY time")
    return [dict(zip(COLUMNS, row, strict=True)) for row in found]


async def test_a_call_is_written_down_with_its_cost():
    async with behind(stream(*HELLO), more=DOLLARS) as (served, _):
        key, secret = await add_key(served, "ci")
        await ask(served.port, asking(secret))
        (row,) = await rows(served)
        ttft = row.pop("ttft_ms")

        assert row == {
            "tenant": key.id, "key_name": "ci", "route": "/v1/chat/completions", "model": "mock/m", "target": "mock/m",
            "status": 200, "ending": "finished", "code": "", "input_tokens": 7, "output_tokens": 2, "cost_usd": 9.0,
            "grade": "exact",
        }  # fmt: skip
        assert 0 < ttft < 15_000
        assert (await served.record())["cost_usd"] == 9.0
        metrics = await ask(served.port, request("GET", "/metrics"))
        assert b'streamward_cost_usd_total{target="mock/m"} 9.0' in metrics.body


async def test_refusals_are_not_calls():
    """Nobody can fill the database without a key, nor with requests that go to no provider."""
    async with behind(stream(*HELLO)) as (served, _):
        for data in (chat_request("nothing/known"), request("POST", "/v1/chat/completions", b"{"), asking("sw-wrong")):
            assert (await ask(served.port, data)).status >= 400
        await ask(served.port, chat_request())

        assert [row["ending"] for row in await rows(served)] == ["finished"]


CUT = [SSE, *map(http_chunk, (ROLE, delta("a"), delta("b"))), LAST]


def event(kind: str, **fields) -> bytes:
    """One frame of a Messages stream."""
    return http_chunk(f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode())


PART_USAGE = [
    SSE,
    event("message_start", message={
        "id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
        "usage": {"input_tokens": 50, "output_tokens": 1},
    }),
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    *[event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"})] * 30,
    Fault.RESET,
]  # fmt: skip


async def test_a_stream_that_broke_off_is_estimated():
    async with behind(CUT, more=DOLLARS) as (served, _):
        await ask(served.port, chat_request())
        (row,) = await rows(served)

        assert (row["ending"], row["code"], row["grade"]) == ("truncated", "stream_truncated", "estimated")
        assert row["output_tokens"] >= 2
        assert row["cost_usd"] == row["input_tokens"] + row["output_tokens"]


async def test_figures_of_a_provider_that_was_cut_are_partial():
    """Its input is known, its output so far only estimated: 30 deltas came after it said 1."""
    patient = 'dialect = "messages"\ntimeouts = { idle = 30 }\nretries = 0'
    async with behind(PART_USAGE, mock=patient, more=DOLLARS) as (served, _):
        await ask(served.port, chat_request())
        (row,) = await rows(served)

        assert (row["ending"], row["grade"], row["input_tokens"]) == ("failed", "provider_partial", 50)
        assert row["output_tokens"] >= 30


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_left_is_billed_for_what_was_asked(streamed: bool):
    async def silent(seen: Seen) -> None:
        await seen.gone.wait()

    async with behind(silent, more=DOLLARS) as (served, upstream):
        async with connected(served.port) as connection:
            await connection.send(chat_request(stream=streamed))
            await upstream.request()
        await served.record()
        (row,) = await rows(served)

        assert (row["ending"], row["status"], row["grade"], row["output_tokens"]) == ("cancelled", 499, "estimated", 0)
        assert row["input_tokens"] > 10
        assert row["cost_usd"] == row["input_tokens"]


async def test_two_hundred_departures_are_two_hundred_rows():
    """Each call once, whenever its client went away."""

    async def slow(seen: Seen) -> None:
        await seen.write(SSE + http_chunk(ROLE))
        while not seen.gone.is_set():
            await seen.write(http_chunk(delta("x")))
            await asyncio.sleep(0.002)

    async with behind(slow, more=DOLLARS) as (served, _):
        key, secret = await add_key(served, concurrent_streams=50, budget_usd=10_000_000.0)
        slots = asyncio.Semaphore(20)

        async def leave(number: int) -> None:
            async with slots, connected(served.port) as connection:
                await connection.send(asking(secret))
                if number % 3:
                    await connection.head()
                if number % 3 == 2:
                    await connection.chunk()
                elif not number % 3:
                    await asyncio.sleep(number % 7 / 1000)

        await asyncio.gather(*(leave(number) for number in range(200)))
        counters = served.gateway.admission.local.of(key.id)
        await until(lambda: len([1 for record in served.records() if record["route"]]) == 200 and not counters.open)
        found = [row for row in await rows(served) if row["tenant"] == key.id]
        spent = sum(row["cost_usd"] for row in found)

        assert {row["ending"] for row in found} == {"cancelled"}
        assert (counters.open, counters.reserved_usd) == (0, 0.0)
        assert counters.spent_usd == pytest.approx(spent)
        assert await served.gateway.storage.usage.spent(key.id, "") == pytest.approx(spent)


# -- the writer


class Table:
    """A table that may be away."""

    def __init__(self) -> None:
        self.away = False
        self.batches: list[int] = []
        self.spend: dict[tuple[str, str], float] = {}

    async def write(self, rows, spend) -> None:
        if self.away:
            raise StorageUnavailable("away")
        self.batches.append(len(rows))
        for at, usd in spend.items():
            self.spend[at] = self.spend.get(at, 0.0) + usd

    async def spent(self, tenant: str, since: str) -> float:
        return sum(usd for (name, day), usd in self.spend.items() if name == tenant and day >= since)

    async def sweep(self, before: float) -> int:
        return 0


@contextlib.asynccontextmanager
async def writing(table) -> AsyncIterator[Usage]:
    usage = Usage(table)
    task = asyncio.create_task(usage.run())
    try:
        yield usage
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await usage.aclose()


def record(number: int, cost: float | None = 0.5) -> Record:
    return Record(id=f"sw_{number}", time=1e9, target="mock/m", ending="finished", cost_usd=cost)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_module, "FLUSH_S", 0.01)
    monkeypatch.setattr(usage_module, "RETRY_S", 0.01)


async def test_rows_are_written_together(quick: None):
    table = Table()
    async with writing(table) as usage:
        for number in range(100):
            usage.book(record(number), "key_1")
        await until(lambda: table.batches)

    assert table.batches == [100]


async def test_an_outage_loses_nothing_that_fits(quick: None):
    table = Table()
    table.away = True
    async with writing(table) as usage:
        for number in range(10):
            usage.book(record(number), "key_1")
        await until(lambda: usage.tries > 2)
        usage.book(record(10), "key_1")
        table.away = False
        await until(lambda: sum(table.batches) == 11)

    assert usage.dropped == 0
    assert sum(table.spend.values()) == 5.5


async def test_past_the_bound_rows_are_dropped_and_counted_but_not_their_cost(quick: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(usage_module, "MAX_QUEUED", 10)
    table = Table()
    table.away = True
    async with writing(table) as usage:
        for number in range(25):
            usage.book(record(number), "key_1")
        assert (len(usage.rows), usage.dropped) == (10, 15)
        table.away = False
        await until(lambda: table.batches)

    assert sum(table.batches) == 10
    assert sum(table.spend.values()) == 12.5


async def test_a_batch_that_is_refused_for_ever_does_not_hold_up_the_others(quick: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(usage_module, "MAX_TRIES", 3)
    table = Table()
    table.away = True
    async with writing(table) as usage:
        usage.book(record(1), "key_1")
        await until(lambda: usage.tries)
        for number in (2, 3):
            usage.book(record(number), "key_1")
        await until(lambda: usage.dropped == 1)
        table.away = False
        await until(lambda: table.batches)

    assert table.batches == [2]
    assert sum(table.spend.values()) == 1.5


async def test_spending_is_told_with_what_is_not_written_yet(quick: None):
    table = Table()
    told: list = []
    async with writing(table) as usage:
        usage.book(record(1), "key_1")
        usage.tell_spent("key_1", "", told.append)
        usage.book(record(2), "key_1")
        await until(lambda: told)
        table.away = True
        usage.book(record(3), "key_1")
        await until(lambda: usage.tries)
        usage.tell_spent("key_1", "", told.append)
        await until(lambda: len(told) == 2)
        table.away = False

    assert told[0] == 1.0
    assert isinstance(told[1], StorageUnavailable), "a figure without the batch that waits would be too small"


async def test_the_end_writes_what_is_left(tmp_path):
    async with Storage(f"sqlite:{tmp_path}/s.db") as storage:
        async with writing(storage.usage) as usage:
            for number in range(5):
                usage.book(record(number), "key_1")
        (total,) = await storage.usage.report([])

    assert (total.requests, total.cost_usd) == (5, 2.5)


def test_booking_waits_for_nothing():
    """An append: a million rows would take seconds, not minutes."""

    async def book() -> float:
        usage = Usage(Table())  # type: ignore[arg-type]
        started = time.perf_counter()
        for number in range(20_000):
            usage.book(record(number), "key_1")
        return (time.perf_counter() - started) / 20_000

    assert asyncio.run(book()) < 50e-6


# -- prices


def test_costs():
    price = Price(2.0, 10.0, 0.5)

    assert cost_usd(price, 1_000_000, 100_000) == pytest.approx(3.0)
    assert cost_usd(price, 1_000_000, 0, 400_000) == pytest.approx(1.4)
    assert cost_usd(Price(2.0, 10.0), 1_000_000, 0, 400_000) == pytest.approx(2.0)
    assert cost_usd(price, 10, 0, 99) == pytest.approx(5e-6)


def test_the_configurations_prices_go_first_and_unknown_ones_stay_unknown():
    own, every, listed = Price(1.0, 1.0), Price(2.0, 2.0), Price(3.0, 3.0)
    prices = Prices({"mock/a": own, "mock/*": every}, {"other/m": listed}.get)

    assert [prices.of(name) for name in ("mock/a", "mock/b", "other/m", "other/n", "demo/chat")] == [
        own, every, listed, None, FREE,
    ]  # fmt: skip


async def test_a_free_model_costs_nothing_and_says_so():
    async with behind(document(COMPLETION)) as (served, _):
        await ask(served.port, chat_request("demo/echo?tps=0&ttft_ms=0"))
        (row,) = await rows(served)

        assert row["cost_usd"] == 0.0
