"""Changing a stream on its way to the readers: transforms, and the smoothing that most people want.

A :class:`Transform` gets each event and an ``emit`` for what it lets through. An asynchronous generator function over
the events (``async for event in events: yield event``) does as well.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from streamward.errors import InvalidRequest
from streamward.events import TERMINAL, Event, Extra, ReasoningDelta, TextDelta

Emit = Callable[[Sequence[Event]], Awaitable[None]]


class Transform(Protocol):
    """One stage of a stream, which may wait."""

    async def feed(self, event: Event, emit: Emit, /) -> None: ...

    async def close(self, emit: Emit, /) -> None:
        """The stream is over: what was held."""


class Chain:
    """Transforms one behind the other, the last one emitting to the readers."""

    def __init__(self, transforms: Sequence[Any], emit: Emit) -> None:
        self.stages: list[tuple[Transform, Emit]] = []
        self.pumps: list[Pump] = []
        for given in reversed(transforms):
            stage = self.stage_of(given)
            self.stages.insert(0, (stage, emit))
            emit = feeder(stage, emit)
        self.first = emit

    def stage_of(self, given: Any) -> Transform:
        made = given() if inspect.isclass(given) else given
        if hasattr(made, "fresh"):
            made = made.fresh()
        if hasattr(made, "feed") and hasattr(made, "close"):
            return made
        if callable(made):
            pump = Pump(made)
            self.pumps.append(pump)
            return pump
        raise InvalidRequest(f"transforms: expected a transform or a generator function, got {type(made).__name__}")

    async def put(self, events: Sequence[Event]) -> None:
        await self.first(events)
        if isinstance(events[-1], TERMINAL):
            await self.close()

    async def close(self) -> None:
        for stage, emit in self.stages:
            await stage.close(emit)
        self.stages = []

    def cancel(self) -> None:
        for pump in self.pumps:
            pump.cancel()


def feeder(stage: Transform, emit: Emit) -> Emit:
    async def feed(events: Sequence[Event]) -> None:
        for event in events:
            await stage.feed(event, emit)

    return feed


class Pump:
    """An asynchronous generator function as a transform: a task runs it, events are handed over one at a time."""

    def __init__(self, function: Callable[[AsyncIterator[Event]], AsyncIterator[Event]]) -> None:
        self.function = function
        self.event: Event | None = None
        self.handed = False
        """The generator has the event and has not come back for the next one."""
        self.closed = False
        self.changed = asyncio.Condition()
        self.task: asyncio.Task[None] | None = None

    def __aiter__(self) -> Pump:
        return self

    async def __anext__(self) -> Event:
        async with self.changed:
            if self.handed:  # the last one has been dealt with
                self.handed, self.event = False, None
                self.changed.notify_all()
            await self.changed.wait_for(lambda: self.event is not None or self.closed)
            event = self.waiting()
            if event is None:
                raise StopAsyncIteration
            self.handed = True
            return event

    def waiting(self) -> Event | None:
        return self.event

    async def run(self, emit: Emit) -> None:
        outputs = self.function(self)
        try:
            async for event in outputs:
                await emit([event])
        finally:
            close = getattr(outputs, "aclose", None)
            if close is not None:
                await close()
            async with self.changed:
                self.closed, self.event = True, None
                self.changed.notify_all()

    async def feed(self, event: Event, emit: Emit) -> None:
        """Hand *event* over and return when the generator asks for the next one."""
        if self.task is None:
            self.task = asyncio.create_task(self.run(emit), name="streamward transform")
        async with self.changed:
            if not self.closed:
                self.event = event
                self.changed.notify_all()
            await self.changed.wait_for(self.taken)
        self.raise_failure()

    def taken(self) -> bool:
        return self.event is None

    def raise_failure(self) -> None:
        if self.task is not None and self.task.done():
            self.task.result()

    async def close(self, emit: Emit) -> None:
        if self.task is None:
            return
        async with self.changed:
            self.closed = True
            self.changed.notify_all()
        await self.task

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


class Segments(Protocol):
    """A segmenter as ``Intl.Segmenter`` is one: pieces of a text in order, strings or objects with a ``segment``."""

    def segment(self, text: str, /) -> Iterable[Any]: ...


Chunking: TypeAlias = 'Literal["word", "line"] | str | re.Pattern[str] | Segments | Callable[[str], str | None]'

NAMED = {"word": re.compile(r"\S+\s+"), "line": re.compile(r"\n+")}
DEFAULT_DELAY_MS = 10.0


class Smooth:
    """Releases text and reasoning in even pieces; see :func:`smooth_stream`."""

    def __init__(self, detect: Callable[[str], str | None], delay_s: float | None) -> None:
        self.detect = detect
        self.delay_s = delay_s
        self.held = ""
        self.last: TextDelta | ReasoningDelta | None = None
        self.extra: Extra | None = None

    def fresh(self) -> Smooth:
        """One for each stream: they hold text."""
        return Smooth(self.detect, self.delay_s)

    async def feed(self, event: Event, emit: Emit) -> None:
        if not isinstance(event, (TextDelta, ReasoningDelta)):
            await self.close(emit)
            await emit([event])
            return
        if self.last is not None and (type(event) is not type(self.last) or event.id != self.last.id):
            await self.close(emit)
        self.held += event.delta
        self.last = event
        self.extra = event.extra or self.extra
        while (piece := self.detect(self.held)) is not None:
            await self.release(emit, piece)
            self.held = self.held[len(piece) :]
            if self.delay_s is not None:
                await asyncio.sleep(self.delay_s)

    async def close(self, emit: Emit) -> None:
        if self.held:
            await self.release(emit, self.held)
        self.held, self.last = "", None

    async def release(self, emit: Emit, piece: str) -> None:
        last, extra, self.extra = self.last, self.extra, None  # what only one dialect knows goes with the next piece
        assert last is not None
        await emit([type(last)(last.id, piece, extra=extra)])


def smooth_stream(chunking: Chunking = "word", *, delay_ms: float | None = DEFAULT_DELAY_MS) -> Smooth:
    """Smooth a stream: whole words (or lines, or what *chunking* finds) with a pause of *delay_ms* between them.

    ``"word"`` releases a word once the whitespace behind it has come, ``"line"`` a line with its line feeds. A regular
    expression releases everything up to the end of its first match, a function gets the text held and returns the part
    of its beginning to release, or None; a segmenter (:class:`streamward.Segmenter`, or anything with ``segment``)
    releases its first piece as soon as there is one, for languages without spaces. ``delay_ms=None`` only regroups. What
    is not text is never held back.

    Raises:
        InvalidRequest: no such chunking.
    """
    return Smooth(detector(chunking), None if delay_ms is None else delay_ms / 1000)


def detector(chunking: Any) -> Callable[[str], str | None]:
    if isinstance(chunking, re.Pattern):
        return matching(chunking)
    if isinstance(chunking, str) and chunking in NAMED:
        return matching(NAMED[chunking])
    if not isinstance(chunking, (str, type)):
        if callable(getattr(chunking, "segment", None)):
            return first_of(chunking)
        if callable(chunking):
            return prefix_of(chunking)
    raise InvalidRequest(
        f'chunking: expected "word", "line", a pattern, a segmenter or a function, got {chunking!r}', param="chunking"
    )


def matching(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    def detect(text: str) -> str | None:
        match = pattern.search(text)
        return None if match is None or match.end() == 0 else text[: match.end()]

    return detect


def first_of(segmenter: Segments) -> Callable[[str], str | None]:
    def detect(text: str) -> str | None:
        first = next(iter(segmenter.segment(text)), None) if text else None
        if isinstance(first, Mapping):
            first = first.get("segment")
        piece = first if first is None or isinstance(first, str) else first.segment
        return checked_piece(piece, text) if piece else None

    return detect


def prefix_of(function: Callable[[str], str | None]) -> Callable[[str], str | None]:
    def detect(text: str) -> str | None:
        piece = function(text)
        return None if piece is None else checked_piece(piece, text)

    return detect


def checked_piece(piece: Any, text: str) -> str:
    if not isinstance(piece, str) or not piece or not text.startswith(piece):
        raise InvalidRequest(
            f"chunking: expected a non-empty beginning of {text[:40]!r}, got {str(piece)[:40]!r}", param="chunking"
        )
    return piece
