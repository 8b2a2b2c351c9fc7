"""The table of usage: one row per call, what each key has spent, and the report over them.

Rows are written in batches, each in one transaction that may be repeated: a second time changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from streamward.gateway.records import Record
from streamward.gateway.storage.database import Database, Statement

DAY_S = 86400
LOTS = (64, 8, 1)
"""Rows in one INSERT: few sizes, so that few statements are ever prepared."""

MAX_TEXT = 256  # longer than any model's name

Spend = Mapping[tuple[str, str], float]
"""US dollars by (tenant, day)."""

GROUPS = {"key": "tenant", "model": "model", "day": "day", "target": "target", "route": "route"}
"""What a report can be grouped by, and the column that says it."""


UsageRow: TypeAlias = tuple[Any, ...]
"""One call as it is stored: values in the order of COLUMNS. No object: there is one per call."""

COLUMNS = (
    "id", "time", "day", "tenant", "key_name", "route", "model", "target", "stream", "status", "ending", "code", "ttft_ms",
    "duration_ms", "input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens", "cost_usd", "grade",
)  # fmt: skip


class ReportRow(Struct, frozen=True, array_like=True):
    """One line of a report. ``unpriced`` counts the calls that used tokens
    of no known price; ``cost_usd`` is of the others."""

    group: tuple[str, ...]
    requests: int
    finished: int
    cancelled: int
    failed: int
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cached_tokens: int
    cost_usd: float | None
    unpriced: int
    estimated: int
    """Calls whose tokens no provider has counted, or not to their end."""
    ttft_p50_ms: float | None = None
    ttft_p99_ms: float | None = None


class UsageTable:
    """Calls and what they cost, of all keys."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def write(self, rows: Sequence[UsageRow], spend: Spend) -> None:
        """Store *rows* and add *spend*, once however often it is called with the same rows. Raises StorageUnavailable."""
        first = rows[0][0]
        statements = [Statement(ADD_SPEND, (tenant, day, usd, first)) for (tenant, day), usd in spend.items()]
        await self.database.run(*statements, *inserts(rows))

    async def spent(self, tenant: str, since: str) -> float:
        """What *tenant* has spent on and after the day *since* (empty: ever). Raises StorageUnavailable."""
        rows = await self.database.fetch(SPENT, tenant, since)
        return float(rows[0][0])

    async def all_spent(self) -> dict[str, float]:
        """What every key has ever spent. Raises StorageUnavailable."""
        return {tenant: float(usd) for tenant, usd in await self.database.fetch(ALL_SPENT)}

    async def sweep(self, before: float) -> int:
        """Forget calls older than *before*; what was spent stays known."""
        return await self.database.run(Statement("DELETE FROM usage WHERE time < ?", (before,)))

    async def report(self, by: Sequence[str], *, since: float = 0.0, until: float = 1e18) -> list[ReportRow]:
        """Totals of calls in [since, until), grouped and ordered by names of GROUPS.

        Raises:
            StorageUnavailable.
        """
        columns = [GROUPS[name] for name in by] or ["'all'"]
        shown = ["MAX(key_name)" if name == "key" else column for name, column in zip(by or ("all",), columns, strict=True)]
        grouped = ", ".join(columns) if by else ""
        totals = await self.database.fetch(TOTALS.format(
            keys=", ".join(columns), shown=", ".join(shown), group=f"GROUP BY {grouped}" if by else "HAVING COUNT(*) > 0",
        ), since, until)  # fmt: skip
        inner = ", ".join(f"{column} AS g{number}" for number, column in enumerate(columns))
        named = ", ".join(f"g{number}" for number in range(len(columns)))
        ranks = await self.database.fetch(PERCENTILES.format(inner=inner, named=named), since, until)
        size = len(columns)
        percentiles = {tuple(row[:size]): row[size:] for row in ranks}
        report = []
        for row in totals:
            *figures, cost, unpriced, estimated = row[2 * size :]
            group = tuple(map(str, row[size : 2 * size])) if by else ()
            p50, p99 = percentiles.get(tuple(row[:size]), (None, None))
            counts = tuple(map(int, figures))  # PostgreSQL sums BIGINT as NUMERIC
            report.append(msgspec.convert((group, *counts, cost, int(unpriced), int(estimated), p50, p99), ReportRow))
        return sorted(report, key=lambda line: line.group)


def row_of(record: Record, tenant: str) -> UsageRow:
    return (
        record.id, record.time, day_of(record.time), tenant, plain(record.key), record.route, plain(record.model),
        plain(record.target), int(record.stream), record.status, record.ending or "", record.code, record.ttft_ms,
        record.duration_ms, record.input_tokens, record.output_tokens, record.reasoning_tokens, record.cached_tokens,
        record.cost_usd, record.grade,
    )  # fmt: skip


def plain(text: str) -> str:
    """*text*, which a client may have chosen, as every database takes it: bounded, without NUL or lone surrogates."""
    if text.isascii() and len(text) <= MAX_TEXT and "\0" not in text:
        return text
    return text[:MAX_TEXT].replace("\0", "").encode("utf-8", "replace").decode()


def day_of(when: float) -> str:
    """The day (UTC) of a time, as 2026-01-31."""
    return day_name(int(when // DAY_S))


@lru_cache(8)
def day_name(number: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(number * DAY_S))


def inserts(rows: Sequence[UsageRow]) -> list[Statement]:
    statements = []
    at = 0
    for lot in LOTS:
        while len(rows) - at >= lot:
            some = rows[at : at + lot]
            statements.append(Statement(INSERT_LOTS[lot], tuple(chain.from_iterable(some))))
            at += lot
    return statements


ONE = f"({', '.join('?' * len(COLUMNS))})"
INSERT_LOTS = {
    lot: f"INSERT INTO usage ({', '.join(COLUMNS)}) VALUES {', '.join([ONE] * lot)} ON CONFLICT (id) DO NOTHING"  # noqa: S608 - constants
    for lot in LOTS
}
# Before the rows: when the first of them is there, this batch was written already.
ADD_SPEND = (
    "INSERT INTO key_spend (tenant, day, spent_usd) "
    "SELECT CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS DOUBLE PRECISION) "
    "WHERE NOT EXISTS (SELECT 1 FROM usage WHERE id = ?) "
    "ON CONFLICT (tenant, day) DO UPDATE SET spent_usd = key_spend.spent_usd + excluded.spent_usd"
)
ALL_SPENT = "SELECT tenant, SUM(spent_usd) FROM key_spend GROUP BY tenant"
SPENT = "SELECT COALESCE(SUM(spent_usd), 0) FROM key_spend WHERE tenant = ? AND day >= ?"
TOTALS = """
SELECT {keys}, {shown}, COUNT(*),
    SUM(CASE WHEN ending = 'finished' THEN 1 ELSE 0 END), SUM(CASE WHEN ending = 'cancelled' THEN 1 ELSE 0 END),
    SUM(CASE WHEN ending NOT IN ('finished', 'cancelled') THEN 1 ELSE 0 END),
    COALESCE(SUM(input_tokens), 0), COALESCE(SUM(output_tokens), 0), COALESCE(SUM(reasoning_tokens), 0),
    COALESCE(SUM(cached_tokens), 0), SUM(cost_usd),
    SUM(CASE WHEN cost_usd IS NULL AND input_tokens IS NOT NULL THEN 1 ELSE 0 END),
    SUM(CASE WHEN grade IN ('estimated', 'provider_partial') THEN 1 ELSE 0 END)
FROM usage WHERE time >= ? AND time < ? {group}
"""
# Nearest rank: the smallest value that at least that part of all values does not exceed.
PERCENTILES = """
SELECT {named}, MIN(CASE WHEN place * 100 >= held * 50 THEN ttft_ms END),
    MIN(CASE WHEN place * 100 >= held * 99 THEN ttft_ms END)
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY {named} ORDER BY ttft_ms) AS place, COUNT(*) OVER (PARTITION BY {named}) AS held
    FROM (SELECT {inner}, ttft_ms FROM usage WHERE ttft_ms IS NOT NULL AND time >= ? AND time < ?) AS measured
) AS ranked GROUP BY {named}
"""
