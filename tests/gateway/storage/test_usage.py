"""The table of usage: written once, summed by any grouping, on both databases."""

import pytest

from streamward.gateway.records import Record
from streamward.gateway.storage import Storage
from streamward.gateway.storage.usage import UsageRow, row_of

DAY = 86400.0


def row(number: int, *, tenant: str = "key_1", **fields) -> UsageRow:
    record = {
        "time": 20000 * DAY + number, "id": f"sw_{number}", "key": f"name of {tenant}", "route": "/v1/chat/completions",
        "model": "fast", "target": "mock/m", "stream": True, "status": 200, "ending": "finished", "ttft_ms": float(number),
        "duration_ms": 100.0, "input_tokens": 10, "output_tokens": 5, "cost_usd": 0.25, "grade": "exact", **fields,
    }  # fmt: skip
    return row_of(Record(**record), tenant)


async def test_a_batch_written_twice_counts_once(storage: Storage):
    batch, spend = [row(number) for number in range(100)], {("key_1", "2024-10-04"): 25.0, ("key_2", "2024-10-04"): 1.0}
    for _ in range(2):
        await storage.usage.write(batch, spend)

    (total,) = await storage.usage.report([])

    assert (total.requests, total.input_tokens, total.cost_usd) == (100, 1000, 25.0)
    assert await storage.usage.spent("key_1", "") == 25.0
    assert await storage.usage.spent("key_2", "") == 1.0


async def test_spending_adds_up_and_is_asked_by_day(storage: Storage):
    await storage.usage.write([row(1)], {("key_1", "2026-01-31"): 1.0})
    await storage.usage.write([row(2)], {("key_1", "2026-02-01"): 2.0})
    await storage.usage.write([row(3)], {("key_1", "2026-02-01"): 4.0})

    spent = [await storage.usage.spent("key_1", since) for since in ("", "2026-02-01", "2026-02-02")]

    assert spent == [7.0, 6.0, 0.0]
    assert await storage.usage.spent("stranger", "") == 0.0
    assert await storage.usage.all_spent() == {"key_1": 7.0}


async def test_percentiles_are_by_nearest_rank(storage: Storage):
    await storage.usage.write([row(number) for number in range(1, 201)] + [row(999, ttft_ms=None)], {})

    (total,) = await storage.usage.report([])

    assert (total.ttft_p50_ms, total.ttft_p99_ms, total.requests) == (100.0, 198.0, 201)


async def test_a_report_is_grouped_as_asked(storage: Storage):
    await storage.usage.write(
        [row(1), row(2, tenant="key_2", model="slow", ending="cancelled", grade="estimated", ttft_ms=7.0),
         row(3, tenant="key_2", ending="failed", input_tokens=None, output_tokens=None, cost_usd=None, ttft_ms=None),
         row(4, tenant="key_2", ending="truncated", cost_usd=None, time=20001 * DAY)], {},
    )  # fmt: skip

    by_key = {line.group[0]: line for line in await storage.usage.report(["key"])}
    by_all = [line.group for line in await storage.usage.report(["day", "key", "model"])]

    other = by_key["name of key_2"]
    assert (other.requests, other.finished, other.cancelled, other.failed) == (3, 0, 1, 2)
    assert (other.cost_usd, other.unpriced, other.estimated) == (0.25, 1, 1)
    assert (by_key["name of key_1"].ttft_p50_ms, by_key["name of key_1"].unpriced) == (1.0, 0)
    assert sorted(by_all) == [
        ("2024-10-04", "name of key_1", "fast"), ("2024-10-04", "name of key_2", "fast"),
        ("2024-10-04", "name of key_2", "slow"), ("2024-10-05", "name of key_2", "fast"),
    ]  # fmt: skip


async def test_what_is_not_priced_has_no_cost(storage: Storage):
    await storage.usage.write([row(1, cost_usd=None)], {})

    (total,) = await storage.usage.report(["model"])

    assert (total.cost_usd, total.unpriced) == (None, 1)


async def test_an_empty_table_reports_nothing(storage: Storage):
    assert await storage.usage.report([]) == []
    assert await storage.usage.report(["key", "day"]) == []


async def test_since_and_the_sweep_leave_old_calls_out_but_keep_their_cost(storage: Storage):
    await storage.usage.write([row(1), row(2, time=20005 * DAY)], {("key_1", "2024-10-04"): 0.5})

    (late,) = await storage.usage.report([], since=20004 * DAY)
    swept = await storage.usage.sweep(20004 * DAY)
    (left,) = await storage.usage.report([])

    assert (late.requests, swept, left.requests) == (1, 1, 1)
    assert await storage.usage.spent("key_1", "") == 0.5


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 10_000, "'); DROP TABLE usage; --", "?"])
async def test_a_name_that_a_client_chose_cannot_spoil_a_batch(storage: Storage, name: str):
    await storage.usage.write([row(1, model=name), row(2)], {})

    (total,) = await storage.usage.report([])

    assert total.requests == 2
