"""Streams with a pace, and the assertion that a stream is well-formed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Generic, TypeVar

from streamward.events import Event, TextDelta
from streamward.grammar import violations

T = TypeVar("T")


class Simulated(Generic[T]):
    """An asynchronous iterator over chunks with pauses; ``closed`` says that it was left."""

    def __init__(self, chunks: Iterable[T], first_s: float | None, between_s: float | None) -> None:
        self.chunks = iter(chunks)
        self.wait: float | None = first_s
        self.between_s = between_s
        self.given = 0
        self.closed = False

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if self.closed:
            raise StopAsyncIteration
        if self.wait is not None:
            await asyncio.sleep(self.wait)
        self.wait = self.between_s
        try:
            chunk = next(self.chunks)
        except StopIteration:
            raise StopAsyncIteration from None
        self.given += 1
        return chunk

    async def aclose(self) -> None:
        self.closed = True


def simulate_stream(
    chunks: Iterable[T], *, initial_delay_ms: float | None = 0, chunk_delay_ms: float | None = 0
) -> Simulated[T]:
    """*chunks* as a stream: a delay before the first one, and between them; ``None`` is no pause at all, 0 gives others
    a turn."""
    first = None if initial_delay_ms is None else initial_delay_ms / 1000
    between = None if chunk_delay_ms is None else chunk_delay_ms / 1000
    return Simulated(chunks, first, between)


def assert_stream(events: Sequence[Event], *, text: str | None = None, finish_reason: str | None = None) -> None:
    """*events* are one whole, well-formed stream; optionally with this text and end.

    Raises:
        AssertionError: naming every rule that is broken.
    """
    problems = violations(events)
    if problems:
        raise AssertionError("the stream breaks the event grammar:\n" + "\n".join(f"- {problem}" for problem in problems))
    said = "".join(event.delta for event in events if isinstance(event, TextDelta))
    if text is not None and said != text:
        raise AssertionError(f"expected the text {text!r}, got {said!r}")
    ended = getattr(events[-1], "reason", None) if tag(events[-1]) == "finish" else tag(events[-1])
    if finish_reason is not None and ended != finish_reason:
        raise AssertionError(f"expected the finish reason {finish_reason!r}, got {ended!r}")


def tag(event: Any) -> str:
    return str(event.__struct_config__.tag)
