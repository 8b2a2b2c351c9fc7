"""Log drains: entries POSTed to collectors, at least once and in order, never slowing anything else.

One thread with its own event loop spools and sends; the server's loop only appends to a list. Schema and signatures
follow Vercel's log drains.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec

from streamward.functions.logs import Entry, encoder
from streamward.functions.metrics import Metrics
from streamward.functions.settings import DrainConfig
from streamward.functions.spool import Spool
from streamward.version import __version__

MAX_BODY = 1 << 20  # bytes of one POST, unless a single entry is larger
MAX_INBOX = 200_000  # entries between two writes of the spool; far more than are made in the meantime
PACK_ENTRIES, PACK_CHARS = 500, 128 << 10  # of one row of the spool
GATHER_S = 0.02  # entries of this long share one transaction
TIMEOUT_S = 10.0
FIRST_DELAY_S, MAX_DELAY_S = 0.5, 10.0
MAX_RETRY_AFTER_S = 300.0
TRIES_WHEN_REFUSED = 5
FLUSH_S = 2.0
RETRIED = frozenset({408, 429})

log = logging.getLogger("streamward.functions")


def drain_label(config: DrainConfig) -> str:
    """How a drain is named in metrics: its URL without user, query and fragment."""
    parts = urlsplit(config.url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def drain_key(config: DrainConfig) -> str:
    return hashlib.blake2s(f"{config.url}\n{config.format}".encode(), digest_size=12).hexdigest()


def packed(entries: list[Entry]) -> list[tuple[int, bytes]]:
    """*entries* as the spool keeps them: some at a time, so that no read and no deletion of it is large."""
    packs = []
    start, size = 0, 0
    for end, entry in enumerate(entries, 1):
        size += len(entry.message)
        if size >= PACK_CHARS or end - start >= PACK_ENTRIES or end == len(entries):
            packs.append((end - start, encoder.encode_lines(list(map(drain_form, entries[start:end])))))
            start, size = end, 0
    return packs


def drain_form(entry: Entry) -> Entry:
    """*entry* as drains send it: ``debug`` is not part of the schema."""
    return msgspec.structs.replace(entry, level="info") if entry.level == "debug" else entry


def drain_body(config: DrainConfig, bodies: list[bytes]) -> bytes:
    return b"\n".join(bodies) + b"\n" if config.format == "ndjson" else b"[" + b",".join(bodies) + b"]"


def drain_headers(config: DrainConfig, body: bytes, now: float) -> dict[str, str]:
    """Content type, the user's headers and, with a secret, both signatures."""
    headers = {
        "content-type": "application/x-ndjson" if config.format == "ndjson" else "application/json",
        "user-agent": f"streamward/{__version__}",
        **config.headers,
    }
    if config.secret is not None:
        key, stamp = config.secret.encode(), str(int(now))
        headers["x-vercel-signature"] = hmac.new(key, body, hashlib.sha1).hexdigest()
        signed = hmac.new(key, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers["x-streamward-signature"] = f"t={stamp},v1={signed}"
    return headers


def retry_after(response: httpx.Response, now: float) -> float | None:
    """Seconds the collector asks to wait, bounded."""
    value = response.headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (TypeError, ValueError):
            return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER_S)


class Drain:
    """One collector: takes batches from the spool and delivers them, one after the other."""

    def __init__(self, config: DrainConfig, service: DrainService) -> None:
        self.config = config
        self.service = service
        self.key = drain_key(config)
        self.label = drain_label(config)
        self.more = asyncio.Event()
        self.backlog = 0

    async def run(self) -> None:
        transport_limits = httpx.Limits(max_connections=2, max_keepalive_connections=2)
        async with httpx.AsyncClient(timeout=TIMEOUT_S, limits=transport_limits, follow_redirects=False) as client:
            while True:
                batch = await self.next_batch()
                delivered = await self.deliver(client, drain_body(self.config, [body for _, body in batch]))
                name = "streamward_drain_delivered" if delivered else "streamward_drain_failed"
                self.service.metrics.count(name, self.label, by=len(batch))
                self.service.spool.advance(self.key, batch[-1][0])
                self.backlog -= len(batch)

    async def next_batch(self) -> list[tuple[int, bytes]]:
        """Wait for a full batch, or for batch_ms since its first entry was stored."""
        first_seen = 0.0
        while True:
            self.more.clear()
            batch = self.cut(self.service.spool.read(self.key, self.config.batch_max))
            full = len(batch) >= self.config.batch_max or self.truncated
            now = time.monotonic()
            if batch and not first_seen:
                first_seen = now
            left = first_seen + self.config.batch_ms / 1000 - now if batch else None
            if batch and (full or self.service.stopping or (left is not None and left <= 0)):
                return batch
            try:
                async with asyncio.timeout(left):
                    await self.more.wait()
            except TimeoutError:
                pass

    truncated = False

    def cut(self, rows: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """As many rows as fit a body."""
        size, kept = 2, 0
        for _, body in rows:
            size += len(body) + 1
            if size > MAX_BODY and kept:
                break
            kept += 1
        self.truncated = kept < len(rows)
        return rows[:kept]

    async def deliver(self, client: httpx.AsyncClient, body: bytes) -> bool:
        """POST until delivered; False when the collector refuses it for good."""
        delay, tries, refusals = FIRST_DELAY_S, 0, 0
        while True:
            tries += 1
            wait: float | None = None
            try:
                headers = drain_headers(self.config, body, time.time())
                response = await client.post(self.config.url, content=body, headers=headers)
                if 200 <= response.status_code < 300:
                    return True
                if response.status_code in RETRIED or response.status_code >= 500:
                    wait = retry_after(response, time.time())
                else:
                    refusals += 1
                    if refusals >= TRIES_WHEN_REFUSED:
                        log.error("drain_refused", extra={"drain": self.label, "status": response.status_code})
                        return False
            except httpx.HTTPError:
                pass
            self.service.metrics.count("streamward_drain_retries", self.label)
            await asyncio.sleep(wait if wait is not None else delay * random.uniform(0.75, 1.25))  # noqa: S311
            delay = min(delay * 2, MAX_DELAY_S)


class DrainService:
    """All drains of a server, in a thread of their own."""

    def __init__(self, configs: tuple[DrainConfig, ...], folder: Path, max_bytes: int, metrics: Metrics) -> None:
        self.configs = configs
        self.folder = folder
        self.max_bytes = max_bytes
        self.metrics = metrics
        self.inbox: deque[Entry] = deque()
        self.asleep = True
        self.stopping = False
        self.thread: threading.Thread | None = None
        self.running = threading.Event()
        self.drains: list[Drain] = []
        self.spool: Spool
        self.loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        """Open the spool and start sending. Raises OSError when the state folder cannot be used."""
        if self.configs and self.thread is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.thread = threading.Thread(target=lambda: asyncio.run(self.run()), name="streamward-drains", daemon=True)
            self.thread.start()
            self.running.wait(TIMEOUT_S)

    def offer(self, entries: list[Entry]) -> None:
        """Take *entries*; called on the server's loop, returns at once."""
        self.inbox.extend(entries)
        dropped = 0
        while len(self.inbox) > MAX_INBOX:
            self.inbox.popleft()
            dropped += 1
        if dropped:
            for config in self.configs:
                self.metrics.count("streamward_drain_dropped", drain_label(config), by=dropped)
        if self.asleep and self.running.is_set():
            self.asleep = False
            self.loop.call_soon_threadsafe(self.gather)

    def stop(self) -> None:
        """Flush for at most FLUSH_S, then end; what is left stays in the spool. Blocks."""
        if self.thread is None or not self.running.is_set():
            return
        self.stopping = True
        self.loop.call_soon_threadsafe(self.finish.set)
        self.thread.join(FLUSH_S + TIMEOUT_S)

    async def run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.finish = asyncio.Event()
        self.spool = Spool(self.folder, self.max_bytes, [drain_key(config) for config in self.configs])
        self.drains = [Drain(config, self) for config in self.configs]
        for drain in self.drains:
            drain.backlog = self.spool.backlog(drain.key)
        tasks = [self.loop.create_task(drain.run()) for drain in self.drains]
        self.running.set()
        self.gather()
        await self.finish.wait()
        self.store()
        limit = self.loop.time() + FLUSH_S
        while any(drain.backlog for drain in self.drains) and self.loop.time() < limit:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.spool.close()

    def gather(self) -> None:
        self.loop.call_later(GATHER_S, self.store)

    def store(self) -> None:
        """Move the inbox into the spool."""
        self.asleep = True
        take = self.inbox.popleft
        entries = [take() for _ in range(len(self.inbox))]
        if not entries and not self.stopping:
            return
        lost = self.spool.append(entries[-1].timestamp, packed(entries)) if entries else {}
        for drain in self.drains:
            missed = lost.get(drain.key, 0)
            if missed:
                self.metrics.count("streamward_drain_dropped", drain.label, by=missed)
            drain.backlog += len(entries) - missed
            drain.more.set()

    def backlogs(self) -> Iterator[tuple[str, int]]:
        for drain in self.drains:
            yield drain.label, drain.backlog
