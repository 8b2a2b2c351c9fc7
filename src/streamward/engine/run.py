"""What one generation has said so far, who reads it, and how it ended.

A :class:`Run` stands between one producer (a task, started by the first reader) and any number of readers, each with
its own place. Events are kept, so every view can be read from the start again. Nothing is produced that nobody asks
for: the producer runs a small window ahead of the fastest reader and no further.

    reader asks -> producer task -> put(events) -> readers wake         stop(), last reader gone -> Abort
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol

from streamward.errors import ErrorInfo, to_exception
from streamward.events import (
    PART_END,
    PART_END_OF,
    PART_START,
    TERMINAL,
    Abort,
    Error,
    Event,
    Finish,
    Start,
    Usage,
)  # fmt: skip

WINDOW = 64
"""Events the producer may be ahead of the fastest reader: a second of a fast model, so that reads come in batches."""

log = logging.getLogger("streamward.engine")

BACKGROUND: set[asyncio.Future[Any]] = set()
"""Callbacks that outlive their generation (``on_abort`` after a client left); kept here until they are done."""


class Producer(Protocol):
    """Who fills the run."""

    async def produce(self) -> None: ...

    def cancel(self) -> None:
        """Close the connection to the provider, now."""

    def ended(self, terminal: Event) -> None:
        """The run is over, in whatever way. Called once, synchronously."""


class Run:
    """The shared state of one generation."""

    def __init__(self, check: Callable[[Event], None] | None = None) -> None:
        self.producer: Producer | None = None
        self.events: list[Event] = []
        self.terminal: Event | None = None
        self.failure: Exception | None = None
        """What awaitables raise: the terminal error as an exception, or what the application's own code raised."""
        self.task: asyncio.Task[None] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.readers: list[asyncio.Future[None]] = []
        self.demand: asyncio.Future[None] | None = None
        self.furthest = 0
        self.cursors = 0
        """Readers that have begun and not finished."""
        self.check = check

    # -- readers

    def waiter(self) -> asyncio.Future[None]:
        """Done when there are more events, or the run is over. Starts it."""
        if self.task is None:
            self.start()
        loop = self.loop
        assert loop is not None
        waiter = loop.create_future()
        self.readers.append(waiter)
        if self.demand is not None:
            self.ask()
        return waiter

    async def news(self) -> None:
        """Wait for :meth:`waiter`; cancelling the wait takes it back."""
        waiter = self.waiter()
        try:
            await waiter
        finally:
            if waiter in self.readers:  # cancelled while waiting
                self.readers.remove(waiter)

    def start(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.task = self.loop.create_task(self.produce(), name="streamward generation")

    def ask(self) -> None:
        demand, self.demand = self.demand, None
        if demand is not None and not demand.done():
            demand.set_result(None)

    def wake(self) -> None:
        readers = self.readers
        for reader in readers:
            if not reader.done():
                reader.set_result(None)
        readers.clear()

    def joined(self) -> None:
        self.cursors += 1

    def left(self, *, early: bool) -> None:
        """A reader is done with it; the last one to leave early stops it."""
        self.cursors -= 1
        if early and self.cursors == 0:
            self.stop_from_anywhere("the reader left")

    def dropped(self) -> None:
        """The result object is gone: without readers nobody can ask for anything any more."""
        if self.cursors == 0 and self.task is not None:
            self.stop_from_anywhere("the result was dropped")

    def stop_from_anywhere(self, reason: str) -> None:
        """:meth:`stop` from a finaliser, which may run in any thread and after the loop was closed."""
        loop = self.loop
        if self.terminal is not None:
            return
        if loop is None or loop.is_closed():
            self.terminal = Abort(reason)
            return
        try:
            here = asyncio.get_running_loop() is loop
        except RuntimeError:
            here = False
        if here:
            self.stop(reason)
        else:
            try:
                loop.call_soon_threadsafe(self.stop, reason)
            except RuntimeError:  # closed in this very moment
                self.terminal = Abort(reason)

    # -- the end

    def stop(self, reason: str = "stopped") -> None:
        """End it with an Abort, unless it is over. The provider's connection is closed before this returns."""
        self.end(Abort(reason, self.usage()))

    def fail(self, error: ErrorInfo, failure: Exception | None = None) -> None:
        """End it with an Error, unless it is over."""
        self.end(Error(error, self.usage()), failure)

    def end(self, terminal: Abort | Error, failure: Exception | None = None) -> None:
        if self.terminal is not None:
            return
        if not self.events:
            self.add([Start()])
        producer = self.producer
        self.add([*self.open_ends(), terminal], failure)
        if producer is not None:
            producer.cancel()
        if self.task is not None and not self.task.done():
            self.task.cancel()

    def usage(self) -> Usage | None:
        """Of the finished steps."""
        from streamward.engine.steps import total_usage
        from streamward.events import StepFinish

        return total_usage([event.usage for event in self.events if type(event) is StepFinish])

    def open_ends(self) -> list[Event]:
        """The ends of parts that are open, in the order they were opened."""
        opened: dict[tuple[type, str], Event] = {}
        for event in self.events:
            if isinstance(event, PART_START):
                end = PART_END_OF[type(event)]
                opened[end, event.id] = end(event.id)
            elif isinstance(event, PART_END):
                opened.pop((type(event), event.id), None)
        return list(opened.values())

    # -- the producer

    async def produce(self) -> None:
        assert self.producer is not None
        try:
            await self.producer.produce()
        except asyncio.CancelledError:
            if self.terminal is None:  # the loop is shutting down
                self.end(Abort("cancelled", self.usage()))
            raise
        except Exception as exc:  # the application's own code: prepare_step, needs_approval, a transform, a model
            from streamward.errors import StreamwardError

            if isinstance(exc, StreamwardError):
                self.fail(exc.info, exc)
            else:
                self.fail(ErrorInfo("server_error", str(exc) or type(exc).__name__), exc)

    def add(self, events: Sequence[Event], failure: Exception | None = None) -> None:
        """Append *events*; the first terminal one ends the run."""
        if self.terminal is not None or not events:
            return
        if self.check is not None:
            for event in events:
                self.check(event)
        self.events.extend(events)
        last = events[-1]
        if isinstance(last, TERMINAL):
            self.terminal = last
            if isinstance(last, Error):
                self.failure = failure or to_exception(last.error)
            producer, self.producer = self.producer, None  # no cycle: what is dropped is gone at once
            if producer is not None:
                producer.ended(last)
        if self.readers:
            self.wake()

    async def put(self, events: Sequence[Event]) -> None:
        """Append *events*, and wait while the readers are too far behind."""
        self.add(events)
        while len(self.events) - self.furthest > WINDOW and self.terminal is None:
            await self.asked()

    async def wanted(self) -> None:
        """Wait until somebody waits for more."""
        while not self.readers and self.terminal is None:
            await self.asked()

    async def asked(self) -> None:
        assert self.loop is not None
        self.demand = self.loop.create_future()
        await self.demand

    @property
    def aborted(self) -> bool:
        return isinstance(self.terminal, Abort)

    @property
    def finished(self) -> bool:
        return isinstance(self.terminal, Finish)


async def settle(result: Any) -> Any:
    """What a callback returned, awaited if it must be."""
    return await result if inspect.isawaitable(result) else result


async def notify(callback: Callable[..., Any] | None, *args: Any) -> None:
    """Tell the application; what its callback raises is logged and changes nothing."""
    if callback is None:
        return
    try:
        await settle(callback(*args))
    except Exception:
        log.exception("callback_failed", extra={"callback": getattr(callback, "__name__", repr(callback))})


def notify_later(callback: Callable[..., Any] | None, *args: Any) -> None:
    """The same where nobody can wait: a plain function runs now, a coroutine in the background."""
    if callback is None:
        return
    try:
        result = callback(*args)
    except Exception:
        log.exception("callback_failed", extra={"callback": getattr(callback, "__name__", repr(callback))})
        return
    if inspect.isawaitable(result):
        background(finish(result))


async def finish(result: Awaitable[Any]) -> None:
    try:
        await result
    except Exception:
        log.exception("callback_failed")


def background(work: Coroutine[Any, Any, Any]) -> None:
    try:
        task = asyncio.ensure_future(work)
    except RuntimeError:  # no loop runs any more: nothing can be awaited
        work.close()
        return
    BACKGROUND.add(task)
    task.add_done_callback(BACKGROUND.discard)
