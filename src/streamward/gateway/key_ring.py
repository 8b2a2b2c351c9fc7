"""Who may call: the configuration's keys, and those of the database, remembered for a few seconds.

A key seen before is answered at once; one that is not is looked up while its request waits and nothing else does. What
was looked up is looked up again after FRESH_S, in the background, and not used after STALE_S: so a new key works at
once, a revoked one for STALE_S at most. While the database is away no key can be revoked either, and known ones go on
for OUTAGE_S.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import Struct

from streamward.dataplane.exchange import Request
from streamward.errors import Overloaded, StreamwardError
from streamward.gateway.auth import MAX_KEY_BYTES, Caller, StaticKeys, bearer, digest
from streamward.gateway.storage import StorageUnavailable
from streamward.gateway.storage.keys import ClientKey, KeyTable, looks_issued

FRESH_S = 2.0
STALE_S = 5.0
OUTAGE_S = 300.0
LOOKUP_S = 2.5
"""A database that takes longer is away. With FRESH_S below STALE_S: keys in use do not notice."""

MAX_KNOWN = 10_000  # keys in use at once, about 10 MB
MAX_UNKNOWN = 4096
"""Refused secrets remembered: what is tried again and again does not reach the database."""

MAX_LOOKUPS = 256
"""At once. Whoever tries keys at random gets 503 beyond, and so do new keys; known ones are not touched."""


AWAY = "this key could not be looked up; retry shortly"


class Entry(Struct):
    """What the database said about a digest, and when."""

    key: ClientKey | None
    caller: Caller | None
    at: float
    answered: float
    """As ``at``, but not moved on by an outage."""


class KeyRing:
    """The callers of this worker."""

    def __init__(
        self, static: StaticKeys, table: KeyTable, spawn: Callable[[Coroutine[Any, Any, None]], None],
        clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.static = static
        self.table = table
        self.spawn = spawn
        self.clock = clock
        self.wall = wall
        self.known: dict[bytes, Entry] = {}
        self.unknown: dict[bytes, Entry] = {}
        self.lookups: dict[bytes, asyncio.Future[Entry | StreamwardError]] = {}

    def replace(self, static: StaticKeys) -> None:
        """The configuration has changed: limits are worked out anew, nothing has to be looked up again."""
        self.static = static
        for entry in self.known.values():
            entry.caller = self.caller_for(entry.key)

    def caller(self, request: Request) -> Caller | None:
        """Who sent *request*; None when that has to be looked up (``find``).

        Raises:
            AuthenticationFailed: no key although one is required, or none of ours.
        """
        token = bearer(request)
        if token is None:
            return self.static.nobody()
        if len(token) > MAX_KEY_BYTES:
            return self.static.stranger()
        mark = digest(token)
        found = self.static.callers.get(mark)
        if found is not None:
            return found
        if not looks_issued(token):
            return self.static.stranger()
        entry = self.known.get(mark) or self.unknown.get(mark)
        if entry is None:
            return None
        age = self.clock() - entry.at
        if age > STALE_S:
            return None
        if age > FRESH_S and mark not in self.lookups and len(self.lookups) < MAX_LOOKUPS:
            self.begin(mark)
        return self.judged(entry)

    def is_static(self, request: Request) -> bool:
        """Whether the caller of *request* stays who it is until the configuration changes: keys of the database come and go."""
        token = bearer(request)
        return token is None or not looks_issued(token) or digest(token) in self.static.callers

    async def find(self, request: Request) -> Caller:
        """Who sent *request*, as the database says.

        Raises:
            AuthenticationFailed.
            StorageUnavailable: the database is away, and the key was not seen lately.
            Overloaded: too many unknown keys are being looked up.
        """
        token = bearer(request)
        if token is None:
            return self.static.nobody()
        mark = digest(token)
        lookup = self.lookups.get(mark)
        if lookup is None:
            if len(self.lookups) >= MAX_LOOKUPS:
                raise Overloaded("too many keys are being looked up; retry shortly", retry_after_s=1)
            lookup = self.begin(mark)
        answer = await asyncio.shield(lookup)  # shared: one caller that leaves must not end it for the others
        if isinstance(answer, StreamwardError):
            raise answer
        return self.judged(answer)

    def judged(self, entry: Entry) -> Caller:
        if entry.key is None or entry.caller is None:
            return self.static.stranger()
        state = entry.key.state(self.wall())
        if state != "active":
            return self.static.stranger(f"this key is {state}; ask the operator for a new one")
        return entry.caller

    # -- looking up

    def begin(self, mark: bytes) -> asyncio.Future[Entry | StreamwardError]:
        lookup: asyncio.Future[Entry | StreamwardError] = asyncio.get_running_loop().create_future()
        self.lookups[mark] = lookup
        self.spawn(self.look_up(mark, lookup))
        return lookup

    async def look_up(self, mark: bytes, lookup: asyncio.Future[Entry | StreamwardError]) -> None:
        answer: Entry | StreamwardError = StorageUnavailable(AWAY, retry_after_s=1)
        try:
            async with asyncio.timeout(LOOKUP_S):
                key = await self.table.find(mark)
            now = self.clock()
            answer = self.remember(mark, Entry(key, self.caller_for(key), now, now))
        except (StorageUnavailable, TimeoutError):
            answer = self.kept_through_outage(mark) or answer
        finally:
            del self.lookups[mark]
            lookup.set_result(answer)

    def remember(self, mark: bytes, entry: Entry) -> Entry:
        self.known.pop(mark, None)
        self.unknown.pop(mark, None)
        kept, most = (self.known, MAX_KNOWN) if entry.key is not None else (self.unknown, MAX_UNKNOWN)
        if len(kept) >= most:
            del kept[next(iter(kept))]  # the one looked up longest ago
        kept[mark] = entry
        return entry

    def kept_through_outage(self, mark: bytes) -> Entry | None:
        entry = self.known.get(mark)
        if entry is None or self.clock() - entry.answered > OUTAGE_S:
            return None
        entry.at = self.clock()
        return entry

    def caller_for(self, key: ClientKey | None) -> Caller | None:
        if key is None:
            return None
        limits = key.limits.over(self.static.limits)
        return Caller(key.id, key.name, limits if limits.any() else None)
