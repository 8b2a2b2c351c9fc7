"""Usage on its way to the database: booked on the event loop, written by one task in batches.

    CallExchange.close -> Usage.book (a list append) ... write_forever -> UsageTable.write (every FLUSH_S)

Rows wait in a bounded queue while the database is slow or away; past the bound rows are dropped and counted, the money
they stand for is not: it is kept as one figure per key and day until it is written. A worker that is killed loses what
it booked in the last FLUSH_S.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from streamward.errors import StreamwardError
from streamward.gateway.records import Record
from streamward.gateway.storage import StorageUnavailable
from streamward.gateway.storage.usage import UsageRow, UsageTable, day_of, row_of

FLUSH_S = 0.5
MAX_QUEUED = 50_000
"""Rows waiting: about 25 MB, and minutes of a busy worker."""

MAX_BATCH = 2000  # rows in one transaction: bounds how long other writers wait
RETRY_S = 1.0
MAX_TRIES = 600
"""Of one batch: ten minutes. A database that is there but refuses these rows must not hold up all others for ever."""

CLOSE_S = 5.0  # for the last batch at the end
SWEEP_S = 3600.0

log = logging.getLogger("streamward.usage")

Told = Callable[[float | StreamwardError], None]


class Usage:
    """The usage of this worker's calls. ``run`` is its task; ``aclose`` writes what is left."""

    def __init__(self, table: UsageTable, *, retention_s: float = 0.0, clock: Callable[[], float] = time.time) -> None:
        self.table = table
        self.retention_s = retention_s
        self.clock = clock
        self.dropped = 0
        self.rows: list[tuple[Record, str]] = []
        self.spend: dict[tuple[str, str], float] = {}
        """What rows cost that were dropped, by (key, day): it goes with the next batch."""
        self.asked: list[tuple[str, str, Told]] = []
        self.batch: tuple[list[UsageRow], dict[tuple[str, str], float]] | None = None
        self.tries = 0
        self.wake = asyncio.Event()
        self.urgent = asyncio.Event()
        self.next_sweep = 0.0

    # -- the event loop's side

    def book(self, record: Record, tenant: str) -> None:
        """Keep *record*, whose call is over. Never waits."""
        rows = self.rows
        if len(rows) >= MAX_QUEUED:
            self.dropped += 1
            self.owe(record, tenant)
            return
        rows.append((record, tenant))
        if len(rows) == 1:
            self.wake.set()

    def owe(self, record: Record, tenant: str) -> None:
        """Keep what a call cost apart from its row."""
        if record.cost_usd:
            at = tenant, day_of(record.time)
            self.spend[at] = self.spend.get(at, 0.0) + record.cost_usd

    def tell_spent(self, tenant: str, since: str, told: Told) -> None:
        """Call *told* with what *tenant* has spent on and after the day *since*, this worker's latest included."""
        self.asked.append((tenant, since, told))
        self.wake.set()
        self.urgent.set()  # a call waits for it

    def unwritten(self, tenant: str, since: str) -> float:
        owed = sum(usd for (name, day), usd in self.spend.items() if name == tenant and day >= since)
        return owed + sum(
            record.cost_usd for record, name in self.rows
            if name == tenant and record.cost_usd and day_of(record.time) >= since
        )  # fmt: skip

    # -- the task

    async def run(self) -> None:
        """Write and answer until cancelled."""
        while True:
            await self.wake.wait()
            try:
                async with asyncio.timeout(FLUSH_S):
                    await self.urgent.wait()
            except TimeoutError:
                pass
            self.wake.clear()
            self.urgent.clear()
            await self.step()
            if self.batch is not None:
                await asyncio.sleep(RETRY_S)
            if self.batch is not None or self.rows:
                self.wake.set()

    async def step(self) -> None:
        """Write what waits, then answer who asks: in this order no figure counts twice."""
        while await self.write() and self.rows:
            pass
        asked, self.asked = self.asked, []
        for tenant, since, told in asked:
            try:
                if self.batch is not None:
                    raise StorageUnavailable("the database is away; what this key has spent is not known")
                stored = await self.table.spent(tenant, since)
            except StreamwardError as exc:
                told(exc)
            else:
                told(stored + self.unwritten(tenant, since))
        if self.retention_s and self.clock() >= self.next_sweep:
            self.next_sweep = self.clock() + SWEEP_S
            await self.sweep()

    async def write(self) -> bool:
        """Write one batch; False when there is none, or it could not be written and is kept."""
        if self.batch is None:
            if not self.rows:
                return False
            rows, self.rows = self.rows[:MAX_BATCH], self.rows[MAX_BATCH:]
            for record, tenant in rows:
                self.owe(record, tenant)
            self.batch = [row_of(record, tenant) for record, tenant in rows], self.spend
            self.spend = {}
        try:
            await self.table.write(*self.batch)
        except StorageUnavailable as exc:
            log.error("usage_write_failed", extra={"reason": str(exc), "waiting": len(self.rows)})
            self.tries += 1
            if self.tries >= MAX_TRIES:
                self.give_up()
            return False
        self.batch, self.tries = None, 0
        return True

    def give_up(self) -> None:
        """Drop the rows of the batch; what they cost goes with a later one."""
        assert self.batch is not None
        rows, spend = self.batch
        self.dropped += len(rows)
        for at, usd in spend.items():
            self.spend[at] = self.spend.get(at, 0.0) + usd
        self.batch, self.tries = None, 0

    async def sweep(self) -> None:
        try:
            await self.table.sweep(self.clock() - self.retention_s)
        except StorageUnavailable as exc:
            log.error("usage_sweep_failed", extra={"reason": str(exc)})

    async def aclose(self) -> None:
        """Write what is left, within CLOSE_S. The task has been cancelled before."""
        try:
            async with asyncio.timeout(CLOSE_S):
                while await self.write():
                    pass
        except TimeoutError:
            pass
        lost = len(self.rows) + (len(self.batch[0]) if self.batch is not None else 0)
        if lost:
            self.dropped += lost
            log.error("usage_lost", extra={"rows": lost})
