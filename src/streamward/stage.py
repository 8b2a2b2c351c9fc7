"""Pure steps and how they compose.

A stage turns items into items: ``feed(item)`` gives what that item produced, ``close()`` what was still held when the
input ended. No socket, clock, randomness or environment inside, and no exception on bad input: a stage that cannot go
on ends its stream with a terminal event, so nothing decoded from the same read is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

In = TypeVar("In")
Mid = TypeVar("Mid")
Out = TypeVar("Out")
In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


class Stage(Protocol[In_contra, Out_co]):
    """One pure step of a stream."""

    def feed(self, item: In_contra, /) -> Iterable[Out_co]:
        """What *item* produced, in order. Never raises because of *item*."""

    def close(self) -> Iterable[Out_co]:
        """What was held back, now that no more input comes. Called once; ``feed`` is not called after it."""


class Pipe(Generic[In, Mid, Out]):
    """Two stages as one: the output of *first* is the input of *second*."""

    def __init__(self, first: Stage[In, Mid], second: Stage[Mid, Out]) -> None:
        self.first = first
        self.second = second

    def feed(self, item: In) -> list[Out]:
        feed = self.second.feed
        return [out for mid in self.first.feed(item) for out in feed(mid)]

    def close(self) -> list[Out]:
        out = [out for mid in self.first.close() for out in self.second.feed(mid)]
        out.extend(self.second.close())
        return out


def run(stage: Stage[In, Out], items: Iterable[In]) -> list[Out]:
    """Feed all *items*, close, and return everything that came out."""
    out: list[Out] = []
    for item in items:
        out.extend(stage.feed(item))
    out.extend(stage.close())
    return out
