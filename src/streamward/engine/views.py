"""What users hold: iterators over a run that stop it when they are left, and values to await.

Every view starts from the first event, whenever it is opened. Iterators are plain classes, not generators: leaving the
loop drops the iterator, and its finaliser stops the run if nobody else reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from typing import Any, Generic, TypeVar

from streamward.engine.run import Run
from streamward.events import Error, Event

T = TypeVar("T")
V = TypeVar("V")

Pick = Callable[[list[Event]], list[T]]
"""What a view shows of a batch of events, which it may keep: a list of its own."""


class Cursor:
    """One reader's place in a run."""

    __slots__ = ("at", "open", "run")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.at = 0
        self.open = True
        run.joined()

    async def batch(self) -> list[Event]:
        """The next events, at least one; empty at the end. Cancelling the wait leaves the run."""
        run = self.run
        while self.at >= len(run.events):
            if run.terminal is not None:
                self.finish()
                return []
            waiter = run.waiter()
            try:
                await waiter
            except asyncio.CancelledError:
                self.give_up(waiter)
                raise
        return self.take()

    def take(self) -> list[Event]:
        """What there is after this place, which moves behind it."""
        run = self.run
        events = run.events[self.at :]
        self.at += len(events)
        if self.at > run.furthest:
            run.furthest = self.at
            if run.demand is not None:
                run.ask()
        return events

    def give_up(self, waiter: asyncio.Future[None]) -> None:
        """The wait was cancelled."""
        if waiter in self.run.readers:
            self.run.readers.remove(waiter)
        self.leave()

    def finish(self) -> None:
        if self.open:
            self.open = False
            self.run.left(early=False)

    def leave(self) -> None:
        """Stop reading; the last one to leave before the end stops the run."""
        if self.open:
            self.open = False
            self.run.left(early=self.run.terminal is None)

    def __del__(self) -> None:
        # May run in any thread, also while the interpreter shuts down.
        if getattr(self, "open", False):
            self.leave()


class ViewIterator(Generic[T]):
    """An iterator over what *pick* shows of the events; ``aclose`` is what leaving the loop does by itself."""

    __slots__ = ("cursor", "items", "pick", "raises")

    def __init__(self, run: Run, pick: Pick[T], *, raises: bool) -> None:
        self.cursor = Cursor(run)
        self.pick = pick
        self.raises = raises
        self.items: list[T] = []

    def __aiter__(self) -> ViewIterator[T]:
        return self

    async def __anext__(self) -> T:
        items = self.items
        if not items:
            cursor = self.cursor
            run = cursor.run
            while not items:
                # As ``batch``, in one coroutine: a live stream comes here once for each token.
                if cursor.at < len(run.events):
                    items = self.pick(cursor.take())
                elif run.terminal is None:
                    waiter = run.waiter()
                    try:
                        await waiter
                    except asyncio.CancelledError:
                        cursor.give_up(waiter)
                        raise
                else:
                    await self.batch()  # says how it ended
                    raise StopAsyncIteration
            if len(items) > 1:
                items.reverse()
                self.items = items
        return items.pop()

    async def batch(self) -> list[T]:
        """The next items, at least one; none at the end. Raises the failure where this view does."""
        while events := await self.cursor.batch():
            items = self.pick(events)
            if items:
                return items
        if self.raises and self.cursor.run.failure is not None:
            raise self.cursor.run.failure
        return []

    async def aclose(self) -> None:
        self.cursor.leave()
        self.items = []


class View(Generic[T, V]):
    """Iterate over it for the items as they come, or await it for all of them at the end."""

    def __init__(
        self, run: Run, pick: Callable[[], Pick[T]], total: Callable[[], V], *, raises: bool = True, keep: Any = None
    ) -> None:
        self.run = run
        self.pick = pick
        """Makes the function that picks; a fresh one for each iterator, so it may keep state."""
        self.total = total
        self.raises = raises
        self.keep = keep
        """The result, which must not be dropped while a view of it exists."""

    def __aiter__(self) -> AsyncIterator[T]:
        return ViewIterator(self.run, self.pick(), raises=self.raises)

    def __await__(self) -> Generator[Any, None, V]:
        yield from to_the_end(self.run).__await__()
        if self.raises and self.run.failure is not None:
            raise self.run.failure
        return self.total()


class Later(Generic[V]):
    """A value that is known at the end. Awaiting it runs the generation to its end."""

    def __init__(self, run: Run, value: Callable[[], V], keep: Any = None) -> None:
        self.run = run
        self.value = value
        self.keep = keep

    def __await__(self) -> Generator[Any, None, V]:
        yield from to_the_end(self.run).__await__()
        if self.run.failure is not None:
            raise self.run.failure
        return self.value()


async def to_the_end(run: Run) -> None:
    cursor = Cursor(run)
    while await cursor.batch():
        pass


def everything(events: list[Event]) -> list[Event]:
    return events


def terminal_error(events: Sequence[Event]) -> Error | None:
    last = events[-1] if events else None
    return last if isinstance(last, Error) else None
