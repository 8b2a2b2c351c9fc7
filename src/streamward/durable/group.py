"""Group commit: one commit in flight; what comes meanwhile goes with the next.

The loop side shared by the stores that write somewhere slower than memory. An idle store commits a lone frame at once,
a busy one commits everything that queued up while the last commit ran. Only what nobody waits for may wait itself: a
stream that is begun goes with its first frame, or after ``LAZY_S``.

    append -> queue -> [ commit in flight ] -> done + push to feeds
                 ^            |
                 +-- taken again when the last commit is answered
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from streamward.durable.feed import FeedTable
from streamward.durable.store import StoreUnavailable, Write
from streamward.errors import StreamwardError

RETRY_S = 0.1  # between attempts while the storage refuses or is away
GIVE_UP_S = 20.0  # twice the lease: by then others have ended our streams, and holding frames helps nobody
LAZY_S = 0.005  # a provider that is faster than this spares a commit; a stream not yet stored has shown nothing to anybody
MAX_GROUP = 4096  # items in one commit: keeps a commit, and with it the delay of its first frame, short


Outcome: TypeAlias = Any
"""Of a Write: None or the StreamwardError that refused it. Of a Call: its value, or a StreamwardError to raise."""


class Call(Struct, gc=False):
    """Something else to do in a commit, on the storage's side."""

    run: Callable[[Any], Any]
    done: Callable[[Outcome], None]
    """Called once on the event loop."""


Item: TypeAlias = Write | Call


class GroupStore(FeedTable):
    """Queue and delivery. Subclasses implement :meth:`commit`, which answers by :meth:`committed` or :meth:`failed`."""

    def __init__(self) -> None:
        super().__init__()
        self._queue: list[Item] = []
        self._in_flight: Sequence[Item] = ()
        self._scheduled: asyncio.Handle | None = None
        self._lazy = False  # what is scheduled can wait
        self._closed = False
        self._failing_since: float | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    def commit(self, items: Sequence[Item]) -> None:
        """Start to store *items*, in order. Must not call back before it returns."""
        raise NotImplementedError

    def write(self, write: Write) -> None:
        self._submit(write)

    async def call(self, run: Callable[[Any], Any]) -> Any:
        """Run *run* within a commit and wait for its answer. Cancelling the wait does not undo it."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if future.done():
                return
            if isinstance(outcome, StreamwardError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self._submit(Call(run, done))
        return await future

    def _submit(self, item: Item, *, lazy: bool = False) -> None:
        if self._closed:
            self._answer(item, StoreUnavailable("the store is closed"))
            return
        self._queue.append(item)
        if self._in_flight:
            return
        if self._scheduled is not None:
            if self._lazy and not lazy:
                self._flush()  # the first frame of a stream: its reader is still without an answer
            return
        self._lazy = lazy
        self._idle.clear()
        # Not at once: everything this turn of the loop still brings shares the commit.
        loop = asyncio.get_running_loop()
        self._scheduled = loop.call_later(LAZY_S, self._flush) if lazy else loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        if self._in_flight:
            return  # an answer's callback has written: the next commit is under way already
        queue = self._queue
        if not queue:
            self._idle.set()
            return
        if len(queue) <= MAX_GROUP:
            items, self._queue = queue, []
        else:
            items, self._queue = queue[:MAX_GROUP], queue[MAX_GROUP:]
        for item in items:
            if type(item) is Write:
                item.taken = True
        self._in_flight = items
        self.commit(items)

    def committed(self, outcomes: Sequence[Outcome]) -> None:
        """The commit in flight is stored: tell the writers, deliver, go on."""
        items, self._in_flight = self._in_flight, ()
        self._failing_since = None
        for item, outcome in zip(items, outcomes, strict=True):
            self._answer(item, outcome)
        self._flush()

    def failed(self, exc: BaseException, *, retry: bool = True) -> None:
        """The commit in flight is not known to be stored. It is repeated (see law 1) until GIVE_UP_S have passed."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if retry and not self._closed and now - self._failing_since < GIVE_UP_S:
            asyncio.get_running_loop().call_later(RETRY_S, self._again)
            return
        items, self._in_flight = self._in_flight, ()
        error = StoreUnavailable(f"the store of durable streams does not take writes: {exc!r:.200}")
        error.__cause__ = exc
        for item in items:
            self._answer(item, error)
        self._flush()

    def _again(self) -> None:
        if self._in_flight:
            self.commit(self._in_flight)

    def _answer(self, item: Item, outcome: Outcome) -> None:
        try:
            self.answer(item, outcome)
        except Exception as exc:  # one caller's callback must not take the others' answers with it
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a writer of durable streams failed on its answer", "exception": exc}
            )

    def answer(self, item: Item, outcome: Outcome) -> None:
        if type(item) is Write:
            if outcome is None:
                feed = self.feeds.get(item.id)
                item.done(item, None)
                if feed is not None:
                    feed.push(item.at, item.frames, item.ending)
            else:
                item.done(item, outcome)
        else:
            assert isinstance(item, Call)
            item.done(outcome)

    async def drained(self) -> None:
        """Wait until nothing is queued or in flight."""
        await self._idle.wait()
