"""Durable streams in Redis or Valkey: shared by workers and machines.

Each worker has one pipelined writer, one connection for everything else, and one ``XREAD`` that follows, for all its
readers at once, what other workers write. A blocked read may be lost with its connection, and a stop request with its
notice: so every WATCHDOG_S the states are read again. Needs ``streamward[redis]``; Redis 6.2 or later, any Valkey.

How durable that is depends on the server: ``appendfsync everysec`` may lose a second in a power cut, a fail-over to a
replica more. A stream that lost frames ends ``interrupted``; no frame is ever replaced by another of the same number.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Self

from redis.exceptions import RedisError

from streamward.durable import redis_scripts as lua
from streamward.durable.feed import Feed
from streamward.durable.group import RETRY_S, Call, GroupStore, Item, Outcome
from streamward.durable.redis_shapes import as_ms, batch_of, ended_commands, notice, pages_of, state_of, unavailable
from streamward.durable.redis_wire import AWAY, SOCKET_S, Asker, Command, Wire
from streamward.durable.store import (
    DEFAULT_LIMITS,
    LEASE_S,
    MAX_TAIL_FRAMES,
    Created,
    Ending,
    Fenced,
    Fetched,
    Held,
    KeyReused,
    Level,
    Limits,
    NewStream,
    Offset,
    OffsetConflict,
    Refused,
    StreamState,
    Write,
    fenced,
    fresh_state,
    not_found,
)
from streamward.errors import Conflict, NotFound, Overloaded, StreamwardError

WATCHDOG_S = 5.0  # how late a lost notice is made good
BLOCK_MS = 2000  # of one XREAD; below the socket's timeout, and the watchdog runs between two of them
CREATED = 2  # place of the answer among those to a creation: whether the id was free
LIVE_MAX_S = 24 * 3600.0  # no stream lives longer: bounds keys whose streams were lost before they ended
BACKSTOP_S = 3600.0  # expiry in the server, past the sweep's: for when no worker is left to sweep
TRIM_TO = 0.75  # of the bound of a stream

SCRIPTS = {name: getattr(lua, name) for name in ("WRITE", "CREATE", "CLAIM", "STOP", "EVICT", "REPLACE")}
SHA = {name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in SCRIPTS.items()}


class RedisStore(GroupStore):
    """Streams in a Redis database. See :class:`streamward.durable.store.Store`."""

    level: Level = "redis"

    def __init__(
        self, url: str, *, worker: str | None = None, limits: Limits = DEFAULT_LIMITS,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        super().__init__()
        self.url = url
        self.worker = worker or f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"
        self.limits = limits
        self.clock = clock
        self.on_stop: Callable[[str], None] = lambda _: None
        self._own: dict[str, int] = {}  # live streams written here, and their epochs
        self._remote: dict[str, tuple[Feed, Offset]] = {}  # followed here, written elsewhere; the next offset to read
        self._following = False  # an XREAD is blocked and does not know of the newest followers
        self._live_bytes = 0

    async def __aenter__(self) -> Self:
        self._asker = Asker(Wire(self.url, SCRIPTS))
        self._writer = Wire(self.url, SCRIPTS)
        self._follower = asyncio.create_task(self._follow_forever(), name="streamward-redis-follow")
        try:
            await self._ask(("PING",))
        except BaseException:
            await self._cancel()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.drained()
        self._closed = True
        try:
            async with asyncio.timeout(SOCKET_S):
                await self._ask(("DEL", lua.lease_key(self.worker), lua.control_key(self.worker)))
        except (StreamwardError, TimeoutError):
            pass  # the lease runs out by itself
        await self._cancel()

    async def _cancel(self) -> None:
        self._follower.cancel()
        await asyncio.wait({self._follower})
        await self._writer.close()
        await self._asker.close()

    async def _ask(self, *commands: Command) -> list[Any]:
        try:
            return await self._asker.ask(*commands)
        except (RedisError, OSError, TimeoutError) as exc:
            raise unavailable(exc) from exc

    # -- the writer

    def commit(self, items: Sequence[Item]) -> None:
        now = self.clock()
        commands: list[Command] = []
        counts: list[int] = []  # of the commands of each item
        for item in items:
            before = len(commands)
            if type(item) is Write:
                commands.append((
                    "EVALSHA", SHA["WRITE"], 2, lua.state_key(item.id), lua.frames_key(item.id), item.epoch, item.at,
                    item.ending or "", item.result, now, BACKSTOP_S, self.limits.stream_bytes,
                    int(self.limits.stream_bytes * TRIM_TO), *item.frames,
                ))  # fmt: skip
            else:
                assert isinstance(item, Call)
                commands += item.run(None)
            counts.append(len(commands) - before)

        def stored(replies: list[Any] | BaseException) -> None:
            if isinstance(replies, BaseException):
                self.failed(replies, retry=isinstance(replies, AWAY))
            else:
                self.committed(self._outcomes(items, counts, replies, now))

        self._writer.send(commands, stored)

    def _outcomes(self, items: Sequence[Item], counts: list[int], replies: list[Any], now: float) -> list[Outcome]:
        outcomes: list[Outcome] = []
        rest = iter(replies)
        for item, count in zip(items, counts, strict=True):
            if type(item) is Write:
                outcomes.append(self._outcome(item, next(rest), now))
            else:
                some = list(islice(rest, count))
                refused = next((reply for reply in some if isinstance(reply, RedisError)), None)
                outcomes.append(some if refused is None else unavailable(refused))
        return outcomes

    def _outcome(self, item: Write, reply: Any, now: float) -> StreamwardError | None:
        if isinstance(reply, RedisError):
            return unavailable(reply)
        match reply[0]:
            case b"ok":
                if item.ending is not None:
                    self._asker.submit(ended_commands(item.id, self.worker, now + float(reply[2])), lambda _: None)
                elif reply[1] == b"1":
                    self.on_stop(item.id)
                return None
            case b"missing":
                return not_found(item.id)
            case b"fenced":
                return fenced(item.id, item.epoch, int(reply[1]))
            case b"ended":
                return OffsetConflict(f"stream {item.id} has ended ({reply[1].decode()}): nothing can be appended")
            case _:
                return OffsetConflict(f"stream {item.id} continues at offset {int(reply[1])}, this write starts at {item.at}")

    def answer(self, item: Item, outcome: Outcome) -> None:
        if type(item) is Write and (isinstance(outcome, Fenced | NotFound) if outcome is not None else item.ending is not None):
            if self._own.get(item.id, 0) <= item.epoch:  # else claimed again by this worker: its old writer is refused
                self._own.pop(item.id, None)
            feed = self.feeds.get(item.id)
            if outcome is not None and feed is not None and feed.watched:
                self.following(feed)  # claimed by another worker: its ending comes from there
        super().answer(item, outcome)

    # -- reading

    def fetch(self, stream_id: str, first: Offset, done: Fetched) -> None:
        def answer(replies: list[Any] | BaseException) -> None:
            if isinstance(replies, BaseException):
                done(unavailable(replies))
                return
            entries, state = replies
            failed = next((reply for reply in replies if isinstance(reply, RedisError)), None)
            done(unavailable(failed) if failed else batch_of(stream_id, first, entries, state))

        self._asker.submit(
            [
                ("XRANGE", lua.frames_key(stream_id), f"0-{first + 1}", "+", "COUNT", MAX_TAIL_FRAMES),
                ("HMGET", lua.state_key(stream_id), "next", "ending", "earliest"),
            ],
            answer,
        )

    async def state(self, stream_id: str) -> StreamState | None:
        (fields,) = await self._ask(("HGETALL", lua.state_key(stream_id)))
        return state_of(stream_id, fields)

    async def _states(self, stream_ids: Sequence[str]) -> list[StreamState | None]:
        replies = await self._ask(*[("HGETALL", lua.state_key(stream_id)) for stream_id in stream_ids])
        return [state_of(stream_id, fields) for stream_id, fields in zip(stream_ids, replies, strict=True)]

    async def active(self, tenant: str, chat: str) -> StreamState | None:
        (stream_id,) = await self._ask(("GET", lua.chat_key(tenant, chat)))
        state = await self.state(stream_id.decode()) if stream_id else None
        # The pointer and the stream are in different slots. The truth is the stream's own state, which the terminal
        # write changes; so the pointer is cleared by that same write, whatever its key still says.
        return state if state is not None and state.live else None

    # -- streams come and go

    async def create(self, new: NewStream) -> Created:
        if self._live_bytes > self.limits.total_bytes:
            raise Overloaded("live streams fill the store: try again later", retry_after_s=5)
        known = await self._by_key(new)
        if known is not None:
            return Created(known, fresh=False)
        now = self.clock()
        replies = await self._ask(*self._creation(new, now))
        if not replies[CREATED]:
            raise Conflict(f"stream {new.id} exists already")
        known = await self._take_key(new)
        if known is not None:
            return Created(known, fresh=False)
        if new.chat is not None:
            await self._ask(self._pointing(new))
        self._own[new.id] = 1
        return Created(fresh_state(new, now, self.worker), fresh=True)

    def begin(self, new: NewStream, refused: Refused) -> StreamState:
        if self._live_bytes > self.limits.total_bytes:
            raise Overloaded("live streams fill the store: try again later", retry_after_s=5)
        now = self.clock()
        commands = self._creation(new, now)
        if new.chat is not None:
            commands.append(self._pointing(new))

        def done(outcome: Outcome) -> None:
            error = outcome if isinstance(outcome, StreamwardError) else None
            if error is None and not outcome[CREATED]:
                error = Conflict(f"stream {new.id} exists already")
            if error is not None:
                self._own.pop(new.id, None)
                refused(error)

        self._own[new.id] = 1
        self._submit(Call(lambda _: commands, done), lazy=True)
        return fresh_state(new, now, self.worker)

    def _creation(self, new: NewStream, now: float) -> list[Command]:
        fields = {
            "tenant": new.tenant, "dialect": new.dialect, "meta": new.meta, "retention": new.retention_s,
            "created": now, "owner": self.worker, "epoch": 1, "earliest": 0, "next": 0, "size": 0,
            **({"chat": new.chat} if new.chat is not None else {}),
        }  # fmt: skip
        flat = [part for pair in fields.items() for part in pair]
        return [
            ("SADD", lua.WORKERS, self.worker),
            ("SADD", lua.live_key(self.worker), new.id),
            ("EVALSHA", SHA["CREATE"], 1, lua.state_key(new.id), secrets.token_hex(8), *flat),
        ]

    def _pointing(self, new: NewStream) -> Command:
        assert new.chat is not None
        return ("SET", lua.chat_key(new.tenant, new.chat), new.id, "PX", as_ms(LIVE_MAX_S))

    async def _by_key(self, new: NewStream) -> StreamState | None:
        """The stream that the idempotency key of *new* already stands for."""
        if new.idempotency_key is None:
            return None
        (value,) = await self._ask(("GET", lua.idempotency_key(new.tenant, new.idempotency_key)))
        return await self._keyed(new, value) if value else None

    async def _keyed(self, new: NewStream, value: bytes) -> StreamState | None:
        stream_id, _, body_hash = value.decode().partition(" ")
        state = await self.state(stream_id)
        if state is not None and body_hash != new.body_hash:
            raise KeyReused("this idempotency key was used with another body: use a new key")
        return state

    async def _take_key(self, new: NewStream) -> StreamState | None:
        """Point the key at *new*, which exists by now; or undo *new* and return the stream that was faster."""
        if new.idempotency_key is None:
            return None
        key = lua.idempotency_key(new.tenant, new.idempotency_key)
        mine, old = f"{new.id} {new.body_hash}".encode(), b""
        while True:
            keep = as_ms(LIVE_MAX_S + new.retention_s)
            (value,) = await self._ask(("EVALSHA", SHA["REPLACE"], 1, key, old, mine, keep))
            if value == mine:
                return None
            try:
                state = await self._keyed(new, value)
            except KeyReused:
                await self._undo(new.id)
                raise
            if state is not None:
                await self._undo(new.id)
                return state
            old = value  # its stream was forgotten: the key is free, unless somebody takes it right now

    async def _undo(self, stream_id: str) -> None:
        await self._ask(("DEL", lua.state_key(stream_id)), ("SREM", lua.live_key(self.worker), stream_id))

    async def request_stop(self, stream_id: str) -> None:
        (owner,) = await self._ask(("EVALSHA", SHA["STOP"], 1, lua.state_key(stream_id)))
        if owner is None:
            return
        if stream_id in self._own:
            self.on_stop(stream_id)
            return
        await self._ask(notice(owner.decode(), "stop", stream_id))

    async def heartbeat(self, lease_s: float = LEASE_S) -> None:
        await self._ask(("SET", lua.lease_key(self.worker), 1, "PX", as_ms(lease_s)), ("SADD", lua.WORKERS, self.worker))

    async def orphans(self) -> list[StreamState]:
        (members,) = await self._ask(("SMEMBERS", lua.WORKERS))
        workers = [worker.decode() for worker in members]
        if not workers:
            return []
        leases = await self._ask(*[("EXISTS", lua.lease_key(worker)) for worker in workers])
        dead = [worker for worker, alive in zip(workers, leases, strict=True) if not alive]
        found: list[StreamState] = []
        for worker in dead:
            (ids,) = await self._ask(("SRANDMEMBER", lua.live_key(worker), 1000))
            states = await self._states([stream_id.decode() for stream_id in ids])
            stale = [
                stream_id
                for stream_id, state in zip(ids, states, strict=True)
                if state is None or not state.live or state.owner != worker
            ]
            if stale:
                await self._ask(("SREM", lua.live_key(worker), *stale))
            for state in states:
                if state is not None and state.ended is not None:  # its worker died before it could write this down
                    await self._ask(("ZADD", lua.ENDED, state.ended + state.retention_s, state.id))
            found += [state for state in states if state is not None and state.live and state.owner == worker]
            if not ids and worker != self.worker:
                await self._ask(("SREM", lua.WORKERS, worker))
        return found[:1000]

    async def claim(self, stream_id: str, epoch: int) -> StreamState | None:
        # Named as ours first: if we die in between, whoever finds it there finds it still owned by the old worker.
        _, _, claimed = await self._ask(
            ("SADD", lua.WORKERS, self.worker),
            ("SADD", lua.live_key(self.worker), stream_id),
            ("EVALSHA", SHA["CLAIM"], 1, lua.state_key(stream_id), epoch, self.worker, secrets.token_hex(8)),
        )
        state = await self.state(stream_id)
        if not claimed or state is None:
            if stream_id not in self._own:
                await self._ask(("SREM", lua.live_key(self.worker), stream_id))
            return None
        self._own[stream_id] = state.epoch
        return state

    async def sweep(self) -> int:
        (due,) = await self._ask(("ZRANGEBYSCORE", lua.ENDED, "-inf", self.clock()))
        forgotten = 0
        ids = [stream_id.decode() for stream_id in due]
        for page in pages_of(ids):
            for stream_id, state in zip(page, await self._states(page), strict=True):
                if state is None or not state.live:
                    await self._ask(("DEL", lua.state_key(stream_id), lua.frames_key(stream_id)))
                    forgotten += 1
                await self._ask(("ZREM", lua.ENDED, stream_id))
        return forgotten + await self._enforce_total()

    async def _enforce_total(self) -> int:
        ended, live = await self._sizes()
        excess = sum(size for _, _, size in ended) + live - self.limits.total_bytes
        evicted = 0
        for _, stream_id, size in sorted(ended):
            if excess <= 0:
                break
            if size:
                await self._ask(("EVALSHA", SHA["EVICT"], 2, lua.state_key(stream_id), lua.frames_key(stream_id)))
                excess -= size
                evicted += 1
        self._live_bytes = live
        return evicted

    async def _sizes(self) -> tuple[list[tuple[float, str, int]], int]:
        """Ended streams as (when, id, bytes), and the bytes of live ones."""
        (members,) = await self._ask(("ZRANGE", lua.ENDED, 0, -1))
        ended: list[tuple[float, str, int]] = []
        for page in pages_of([stream_id.decode() for stream_id in members]):
            replies = await self._ask(*[("HMGET", lua.state_key(i), "ended", "size") for i in page])
            ended += [(float(at), i, int(size)) for i, (at, size) in zip(page, replies, strict=True) if at is not None]
        live = 0
        for page in pages_of(await self._live()):
            replies = await self._ask(*[("HMGET", lua.state_key(i), "ending", "size") for i in page])
            live += sum(int(size) for ending, size in replies if ending is None and size is not None)
        return ended, live

    async def _live(self) -> list[str]:
        (workers,) = await self._ask(("SMEMBERS", lua.WORKERS))
        if not workers:
            return []
        replies = await self._ask(*[("SMEMBERS", lua.live_key(worker.decode())) for worker in workers])
        return [stream_id.decode() for stream_id in set().union(*replies)]

    async def held(self) -> Held:
        ended, live_bytes = await self._sizes()
        live = sum(state is not None and state.live for state in await self._states(await self._live()))
        return Held(len(ended) + live, live, sum(size for _, _, size in ended) + live_bytes)

    # -- following what other workers write

    def following(self, feed: Feed) -> None:
        if feed.id not in self._own:
            self._remote[feed.id] = (feed, feed.head)
            if self._following:  # wake the blocked read: it does not know this stream
                self._following = False
                self._asker.submit([notice(self.worker, "wake", feed.id)], lambda _: None)

    def not_following(self, feed: Feed) -> None:
        self._remote.pop(feed.id, None)

    async def _follow_forever(self) -> None:
        wire = Wire(self.url, SCRIPTS)
        control = lua.control_key(self.worker)
        heard = "$"
        watch_at = time.monotonic() + WATCHDOG_S
        try:
            while True:
                try:
                    if heard == "$":  # fixed once: a "$" in every read would miss what comes between two
                        (last,) = await wire.ask([("XREVRANGE", control, "+", "-", "COUNT", 1)])
                        heard = last[0][0] if last else "0-0"
                    keys = [lua.frames_key(stream_id) for stream_id in self._remote]
                    ids = [f"0-{offset}" for _, offset in self._remote.values()]
                    self._following = True
                    (reply,) = await wire.ask([
                        ("XREAD", "COUNT", MAX_TAIL_FRAMES, "BLOCK", BLOCK_MS, "STREAMS", control, *keys, heard, *ids)
                    ])  # fmt: skip
                    self._following = False
                    for key, entries in () if reply is None or isinstance(reply, RedisError) else reply:
                        if key == control.encode():
                            heard = entries[-1][0]
                            self._control(entries)
                        else:
                            self._followed(lua.stream_of(key), entries)
                    if isinstance(reply, RedisError) or time.monotonic() >= watch_at:
                        watch_at = time.monotonic() + WATCHDOG_S
                        await self._watch(wire)
                except AWAY:
                    self._following = False
                    watch_at = 0.0  # read the states as soon as the server is back
                    await asyncio.sleep(RETRY_S)
        finally:
            await wire.close()

    def _control(self, entries: Sequence[Any]) -> None:
        for _, fields in entries:
            if fields[0] == b"stop" and fields[1].decode() in self._own:
                self.on_stop(fields[1].decode())

    def _followed(self, stream_id: str, entries: Sequence[Any]) -> None:
        feed, _ = self._remote.get(stream_id, (None, 0))
        if feed is None:
            return  # nobody waits any more
        first = int(entries[0][0].partition(b"-")[2]) - 1
        ending: Ending | None = None
        if entries[-1][1][0] == b"e":
            ending = entries[-1][1][1].decode()
            entries = entries[:-1]
            del self._remote[stream_id]
        else:
            self._remote[stream_id] = (feed, first + len(entries))
        feed.push(first, [fields[1] for _, fields in entries], ending)

    async def _watch(self, wire: Wire) -> None:
        """Look at the states themselves: of what is followed (its end), of what is written here (a stop)."""
        remote, own = list(self._remote.items()), list(self._own)
        ids = [stream_id for stream_id, _ in remote] + own
        replies = await wire.ask([("HMGET", lua.state_key(i), "next", "ending", "stop") for i in ids]) if ids else []
        for (stream_id, (feed, _)), reply in zip(remote, replies, strict=False):
            if isinstance(reply, RedisError):
                continue
            if reply[0] is None:
                self._remote.pop(stream_id, None)
                for tail in tuple(feed.tails):
                    tail.fail(not_found(stream_id))
            else:
                feed.advance(int(reply[0]), reply[1].decode() if reply[1] else None)
                if reply[1]:
                    self._remote.pop(stream_id, None)
        for stream_id, reply in zip(own, replies[len(remote) :], strict=True):
            if not isinstance(reply, RedisError) and reply[2] == b"1" and stream_id in self._own:
                self.on_stop(stream_id)
