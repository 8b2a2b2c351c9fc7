"""Middleware that answers a call asked before from a store, as a stream.

Only answers that finished are kept: one that failed, was cut or was left is asked for again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Protocol

import msgspec

from streamward.call import Call
from streamward.engine.middleware import Middleware
from streamward.engine.model import CallOptions, Model, ModelStream
from streamward.engine.run import settle
from streamward.errors import InvalidRequest
from streamward.events import PART_DELTA, Event, Finish

MAX_KEPT_BYTES = 32 << 20
"""Bound of the store that is used when none is given: some ten thousand answers."""

log = logging.getLogger("streamward.engine")


class Store(Protocol):
    """Where answers are kept; ``redis.asyncio.Redis`` is one. The methods may be coroutines or not."""

    def get(self, key: str, /) -> bytes | Awaitable[bytes | None] | None: ...

    def set(self, key: str, value: bytes, /) -> Any: ...


class Kept:
    """Answers in this process; those not asked for longest make room."""

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        self.answers: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        if key in self.answers:
            self.answers.move_to_end(key)
        return self.answers.get(key)

    def set(self, key: str, value: bytes) -> None:
        self.size += len(value) - len(self.answers.pop(key, b""))
        self.answers[key] = value
        while self.size > self.max_bytes:
            self.size -= len(self.answers.popitem(last=False)[1])


class Mapped:
    """A dictionary, or anything that behaves like one, as a store."""

    def __init__(self, answers: MutableMapping[str, bytes]) -> None:
        self.answers = answers

    def get(self, key: str) -> bytes | None:
        return self.answers.get(key)

    def set(self, key: str, value: bytes) -> None:
        self.answers[key] = value


class Caching(Middleware):
    """See :func:`caching`."""

    def __init__(
        self, store: Store, key: Callable[[Model, Call], str | None], initial_s: float | None, between_s: float | None
    ) -> None:
        self.store = store
        self.key = key
        self.initial_s = initial_s
        self.between_s = between_s

    def open(self, model: Model, call: Call, options: CallOptions) -> ModelStream:
        key = self.key(model, call)
        if key is None:
            return model.open(call, options)
        return CachedStream(self, key, lambda: model.open(call, options))

    async def find(self, key: str) -> list[Event] | None:
        """A store that fails, or holds what we cannot read, is one that does not have it."""
        try:
            found = await settle(self.store.get(key))
            return None if found is None else msgspec.json.decode(found, type=list[Event])
        except Exception:
            log.exception("cache_not_read")
            return None

    async def keep(self, key: str, events: list[Event]) -> None:
        try:
            await settle(self.store.set(key, msgspec.json.encode(events)))
        except Exception:
            log.exception("cache_not_written")


class CachedStream:
    """The stream of one call: what is kept, at a pace, or else the model's, which is then kept."""

    def __init__(self, cache: Caching, key: str, ask: Callable[[], ModelStream]) -> None:
        self.cache = cache
        self.key = key
        self.ask = ask
        self.asked: ModelStream | None = None
        self.kept: list[Event] | None = None
        self.seen: list[Event] = []
        self.wait_s = cache.initial_s
        self.cancelled = asyncio.Event()

    async def read(self) -> Sequence[Event]:
        if self.asked is None and self.kept is None:
            self.kept = await self.cache.find(self.key)
            if self.kept is None and not self.cancelled.is_set():
                self.asked = self.ask()
        if self.kept is not None:
            return await self.replayed(self.kept)
        return await self.recorded(self.asked) if self.asked is not None else []

    async def recorded(self, stream: ModelStream) -> Sequence[Event]:
        events = await stream.read()
        self.seen += events
        if events and isinstance(events[-1], Finish):
            await self.cache.keep(self.key, self.seen)
        return events

    async def replayed(self, kept: list[Event]) -> Sequence[Event]:
        """The next events up to a delta, after a pause for it."""
        if self.wait_s is not None and kept:
            try:
                async with asyncio.timeout(self.wait_s):
                    await self.cancelled.wait()
            except TimeoutError:
                pass
        if self.cancelled.is_set():
            return []
        self.wait_s = self.cache.between_s
        size = len(kept)
        if self.wait_s is not None:
            size = next((at + 1 for at, event in enumerate(kept) if isinstance(event, PART_DELTA)), size)
        events = kept[:size]
        del kept[:size]
        return events

    def cancel(self) -> None:
        self.cancelled.set()
        if self.asked is not None:
            self.asked.cancel()


def caching(
    store: Store | MutableMapping[str, bytes] | None = None, *, key: Callable[[Model, Call], str | None] | None = None,
    initial_delay_ms: float | None = None, chunk_delay_ms: float | None = None,
) -> Middleware:  # fmt: skip
    """Answer a call that was asked before from *store*, as a stream.

    *store* is a dictionary, or an object with ``get`` and ``set`` (``redis.asyncio.Redis``); this process's memory by
    default. *key* gives the name of an answer, or None for a call that is not to be cached; by default everything that
    is asked of the model counts. The delays (before the first piece and between pieces; None: at once) give a kept
    answer the look of a live one. A store that fails is one that has nothing.

    Raises:
        InvalidRequest: not a store.
    """
    kept: Any = Kept() if store is None else store
    if isinstance(kept, MutableMapping):
        kept = Mapped(kept)
    if not (callable(getattr(kept, "get", None)) and callable(getattr(kept, "set", None))):
        raise InvalidRequest(
            f"caching: expected a dictionary or an object with get and set, got {type(kept).__name__}", param="store"
        )
    seconds = [None if delay is None else delay / 1000 for delay in (initial_delay_ms, chunk_delay_ms)]
    return Caching(kept, key or digest, seconds[0], seconds[1])


def digest(model: Model, call: Call) -> str:
    """Of the model and all that it is asked."""
    return "streamward:" + hashlib.sha256(msgspec.json.encode((model.id, call), order="deterministic")).hexdigest()
