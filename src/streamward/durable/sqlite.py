"""Durable streams in one SQLite file: survive restarts, shared by the processes of one machine.

One writer thread commits in groups, one reader thread serves catch-up reads; the event loop never touches the disk.
Levels: ``process`` (WAL, synchronous=NORMAL: what was delivered survives ``kill -9``) and ``disk`` (FULL: each commit is
synced before delivery, so it survives a power cut). What other processes write is noticed by ``PRAGMA data_version``,
polled only while somebody here waits for it.
"""

from __future__ import annotations

import asyncio
import os
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, TypeVar

from streamward.durable import sqlite_file as sql
from streamward.durable.feed import Feed
from streamward.durable.group import Call, GroupStore, Item, Outcome
from streamward.durable.sqlite_log import LOG_BYTES, Contents
from streamward.durable.store import (
    DEFAULT_LIMITS,
    LEASE_S,
    Batch,
    Created,
    Fenced,
    Fetched,
    Held,
    Level,
    Limits,
    NewStream,
    Offset,
    Refused,
    StoreUnavailable,
    StreamState,
    Write,
    fresh_state,
)
from streamward.errors import NotFound, StreamwardError

FOLLOW_POLL_S = 0.02  # how late a reader here sees what another process wrote
STOP_POLL_S = 0.2  # how late a producer here sees a stop that another process asked for

T = TypeVar("T")


class SqliteStore(GroupStore):
    """Streams in a file. See :class:`streamward.durable.store.Store`."""

    def __init__(
        self, path: str, *, level: Literal["process", "disk"] = "process", worker: str | None = None,
        limits: Limits = DEFAULT_LIMITS, clock: Callable[[], float] = time.time, log_bytes: int = LOG_BYTES,
    ) -> None:  # fmt: skip
        super().__init__()
        self.path = path
        self.level: Level = level
        self.worker = worker or f"{os.getpid()}-{secrets.token_hex(4)}"
        self.limits = limits
        self.clock = clock
        self.log_bytes = log_bytes
        self.on_stop: Callable[[str], None] = lambda _: None
        self._writer = WorkerThread("streamward-sqlite-writer")
        self._reader = WorkerThread("streamward-sqlite-reader")
        self._remote: dict[str, Feed] = {}
        self._own: dict[str, int] = {}  # live streams written here, and their epochs
        self._poll: asyncio.TimerHandle | None = None
        self._polled_version = -1
        self._unseen = False  # a stream was followed since the last look

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._loop.run_in_executor(None, sql.create_schema, self.path)
        sync: Literal["FULL", "NORMAL"] = "FULL" if self.level == "disk" else "NORMAL"
        self._contents = Contents(sql.connect(self.path))
        self._frames = sql.FrameWriter(sql.connect(self.path, sync=sync), self.limits, self.log_bytes)
        self._writer.start(self._loop)
        self._reader.start(self._loop)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.drained()
        self._closed = True
        if self._poll is not None:
            self._poll.cancel()
        for thread in (self._writer, self._reader):
            await self._loop.run_in_executor(None, thread.stop)
        self._frames.con.close()
        self._contents.con.close()

    # -- the writer

    def commit(self, items: Sequence[Item]) -> None:
        self._writer.submit(lambda: self._commit(items), self._commit_answer)

    def _commit_answer(self, outcomes: list[Outcome] | BaseException) -> None:
        if isinstance(outcomes, BaseException):
            self.failed(outcomes, retry=isinstance(outcomes, sqlite3.Error))
        else:
            self.committed(outcomes)

    def _commit(self, items: Sequence[Item]) -> list[Outcome]:
        """On the writer thread: one transaction for all *items*."""
        frames, con = self._frames, self._frames.con
        now = self.clock()
        outcomes: list[Outcome] = []
        try:
            frames.begin()
            for item in items:
                if type(item) is Write:
                    outcomes.append(frames.add(item, now))
                else:
                    assert isinstance(item, Call)
                    frames.flush()
                    try:
                        outcomes.append(item.run(con))
                    except StreamwardError as exc:  # refused before it changed anything
                        outcomes.append(exc)
            frames.commit()
        except BaseException:
            frames.rollback()
            raise
        return outcomes

    # -- the reader

    def fetch(self, stream_id: str, first: Offset, done: Fetched) -> None:
        def answer(got: Batch | StreamwardError | BaseException) -> None:
            if isinstance(got, Batch | StreamwardError):
                done(got)
            else:
                done(_unavailable(got))

        self._reader.submit(lambda: sql.read_frames(self._contents, stream_id, first), answer)

    async def _read(self, read: Callable[[Contents], T]) -> T:
        future: asyncio.Future[T] = self._loop.create_future()

        def answer(got: T | BaseException) -> None:
            if future.done():
                return
            if isinstance(got, BaseException):
                future.set_exception(got if isinstance(got, StreamwardError) else _unavailable(got))
            else:
                future.set_result(got)

        self._reader.submit(lambda: read(self._contents), answer)
        return await future

    # -- the protocol

    async def create(self, new: NewStream) -> Created:
        stream_id, fresh = await self.call(lambda con: self._create(con, new))
        if fresh:
            return Created(self._mine(new), fresh=True)
        state = await self.state(stream_id)
        if state is None:  # forgotten between the two: as if the key had never been used
            return await self.create(new)
        return Created(state, fresh=False)

    def begin(self, new: NewStream, refused: Refused) -> StreamState:
        def done(outcome: Outcome) -> None:
            if isinstance(outcome, StreamwardError):
                self._own.pop(new.id, None)
                refused(outcome)

        self._submit(Call(lambda con: self._create(con, new), done), lazy=True)
        return self._mine(new)

    def _create(self, con: sqlite3.Connection, new: NewStream) -> tuple[str, bool]:
        """On the writer thread."""
        self._frames.check_room()
        made = sql.insert_stream(con, new, self.worker, self.clock())
        if made[1]:
            self._frames.created(new.id)
        return made

    def _mine(self, new: NewStream) -> StreamState:
        """A stream of this worker that has just been created, or is about to be."""
        self._own[new.id] = 1
        self._poll_soon()
        return fresh_state(new, self.clock(), self.worker)

    async def state(self, stream_id: str) -> StreamState | None:
        return await self._read(lambda contents: sql.read_state(contents, stream_id))

    async def active(self, tenant: str, chat: str) -> StreamState | None:
        return await self._read(lambda contents: sql.read_active(contents, tenant, chat))

    async def request_stop(self, stream_id: str) -> None:
        def run(con: sqlite3.Connection) -> bool:
            return bool(
                con.execute("UPDATE streams SET stop=1 WHERE id=? AND ending IS NULL", (stream_id,)).rowcount
            )

        if await self.call(run) and stream_id in self._own:
            self.on_stop(stream_id)

    async def heartbeat(self, lease_s: float = LEASE_S) -> None:
        until = self.clock() + lease_s
        await self.call(lambda con: con.execute("INSERT OR REPLACE INTO workers VALUES (?,?)", (self.worker, until)) and None)

    async def orphans(self) -> list[StreamState]:
        now = self.clock()
        return await self._read(lambda contents: sql.read_orphans(contents, now))

    async def claim(self, stream_id: str, epoch: int) -> StreamState | None:
        def run(con: sqlite3.Connection) -> bool:
            self._frames.forget()
            return sql.update_claim(con, stream_id, epoch, self.worker)

        if not await self.call(run):
            return None
        self._own[stream_id] = epoch + 1
        return await self.state(stream_id)

    async def sweep(self) -> int:
        now = self.clock()

        def run(con: sqlite3.Connection) -> int:
            self._frames.settle()
            self._frames.forget()
            return sql.delete_due(con, now)

        def evict(con: sqlite3.Connection) -> int:
            self._frames.settle()
            return sql.evict_ended(con, excess)

        forgotten: int = await self.call(run)
        held = await self.held()
        evicted = 0
        if held.bytes > self.limits.total_bytes:
            excess = held.bytes - self.limits.total_bytes
            evicted = await self.call(evict)
            held = await self.held()
        # With ended content all gone, what is left above the bound is live: new streams have to wait.
        self._frames.live_bytes = held.bytes
        return forgotten + evicted

    async def held(self) -> Held:
        return Held(*await self._read(sql.read_held))

    # -- following what other processes write

    def answer(self, item: Item, outcome: Outcome) -> None:
        if type(item) is Write and (
            isinstance(outcome, Fenced | NotFound) if outcome is not None else item.ending is not None
        ):
            if self._own.get(item.id, 0) <= item.epoch:  # else claimed again by this worker: its old writer is refused
                self._own.pop(item.id, None)
            feed = self.feeds.get(item.id)
            if outcome is not None and feed is not None and feed.watched:
                self.following(feed)  # claimed by another process: its ending comes from there
        super().answer(item, outcome)

    def following(self, feed: Feed) -> None:
        if feed.id not in self._own:
            self._remote[feed.id] = feed
            self._unseen = True
            self._poll_soon()

    def not_following(self, feed: Feed) -> None:
        self._remote.pop(feed.id, None)

    def _poll_soon(self) -> None:
        if self._remote and self._poll is not None and self._poll.when() > self._loop.time() + FOLLOW_POLL_S:
            self._poll.cancel()
            self._poll = None
        if self._poll is None and (self._remote or self._own) and not self._closed:
            self._poll = self._loop.call_later(FOLLOW_POLL_S if self._remote else STOP_POLL_S, self._poll_now)

    def _poll_now(self) -> None:
        followed, unseen = list(self._remote), self._unseen
        self._unseen = False
        self._reader.submit(lambda: self._look(followed, unseen), self._news)

    def _look(self, followed: list[str], unseen: bool) -> Any:
        """On the reader thread: nothing to report unless somebody else committed since the last look."""
        (version,) = self._contents.con.execute("PRAGMA data_version").fetchone()
        if version == self._polled_version and not unseen:
            return None
        news = sql.read_news(self._contents, followed, self.worker)
        self._polled_version = version
        return news

    def _news(self, news: Any) -> None:
        self._poll = None
        if isinstance(news, BaseException):
            self._unseen = True  # nothing was seen: look again
        if news is not None and not isinstance(news, BaseException):
            heads, stops = news
            for stream_id, head, ending in heads:
                feed = self._remote.get(stream_id)
                if feed is not None:
                    if ending is not None:
                        del self._remote[stream_id]
                    feed.advance(head, ending)
            for stream_id in stops:
                if stream_id in self._own:
                    self.on_stop(stream_id)
        self._poll_soon()


class WorkerThread:
    """A thread that runs what is submitted, in order, and answers on the event loop."""

    def __init__(self, name: str) -> None:
        self._inbox: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread.start()

    def stop(self) -> None:
        """Finish what was submitted, then end. Blocks; call it from an executor."""
        self._inbox.put(None)
        self._thread.join()

    def submit(self, work: Callable[[], Any], answer: Callable[[Any], None]) -> None:
        self._inbox.put((work, answer))

    def _run(self) -> None:
        while (item := self._inbox.get()) is not None:
            work, answer = item
            try:
                got: Any = work()
            except Exception as exc:
                got = exc
            try:
                self._loop.call_soon_threadsafe(answer, got)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more


def _unavailable(exc: BaseException) -> StoreUnavailable:
    error = StoreUnavailable(f"the store of durable streams cannot be read: {exc!r:.200}")
    error.__cause__ = exc
    return error
