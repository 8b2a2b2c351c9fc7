"""What users hold: iterators over a run that stop it when they are left, and values to await.

Every view starts from the first event, whenever it is opened. Iterators are plain classes, not generators: leaving the
loop drops the iterator, and its finaliser stops the run if nobody else reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Sequence
from typing import Any, Generic, TypeVar

from streamward.engine.run import Run
from streamward.events import Error, Event

T = TypeVar("T")
V = TypeVar("V")

Pick = Callable[[Sequence[Event]], Iterable[T]]
"""What a view shows of a batch of events."""


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
        while True:
            size = len(run.events)
            at = self.at
            if at < size:
                self.at = size
                if size > run.furthest:
                    run.furthest = size
                    if run.demand is not None:
                        run.ask()
                return run.events[at:] if at else run.events.copy()
            if run.terminal is not None:
                self.finish()
                return []
            waiter = run.waiter()
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in run.readers:
                    run.readers.remove(waiter)
                self.leave()
                raise

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
        if not self.items:
            self.items = await self.batch()
            if not self.items:
                raise StopAsyncIteration
            self.items.reverse()
        return self.items.pop()

    async def batch(self) -> list[T]:
        """The next items, at least one; none at the end. Raises the failure where this view does."""
        while events := await self.cursor.batch():
            items = list(self.pick(events))
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


def everything(events: Sequence[Event]) -> Sequence[Event]:
    return events


def terminal_error(events: Sequence[Event]) -> Error | None:
    last = events[-1] if events else None
    return last if isinstance(last, Error) else None
