"""A model that plays a script and complains about anything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from streamward.call import Call
from streamward.events import TERMINAL, Event
from streamward.testing.script import ScriptStep, events_of

if TYPE_CHECKING:
    from streamward.engine.model import CallOptions


class UnexpectedCall(AssertionError):
    """The model was called more often than its script says."""


class UnusedSteps(AssertionError):
    """The script has steps that nobody asked for."""


class ScriptedModel:
    """Plays one step of its script per model call.

    A step is text, a list of events and shorthands (``streamward.testing.script``), an exception to raise, or a function
    from the call to one of these. ``calls`` records what was asked; :meth:`assert_done` (or ``with model:``) complains
    about steps left over, a call too many raises UnexpectedCall.
    """

    def __init__(
        self, *steps: ScriptStep | Callable[[Call], ScriptStep], id: str = "scripted/model",  # noqa: A002
        delay_s: float | None = None,
    ) -> None:  # fmt: skip
        self.id = id
        self.steps = list(steps)
        self.delay_s = delay_s
        """Pause before each event, like a model's; None gives no time to others at all."""
        self.calls: list[Call] = []
        self.options: list[CallOptions] = []
        self.streams: list[ScriptedStream] = []

    def open(self, call: Call, options: CallOptions, /) -> ScriptedStream:
        number = len(self.calls)
        self.calls.append(call)
        self.options.append(options)
        if number >= len(self.steps):
            raise UnexpectedCall(f"model call {number + 1}, but the script of {self.id} has {len(self.steps)} steps")
        step = self.steps[number]
        if callable(step):
            step = step(call)
        stream = ScriptedStream(events_of(step, number), self.delay_s)
        self.streams.append(stream)
        return stream

    def assert_done(self) -> None:
        """Every step was played.

        Raises:
            UnusedSteps: some were not.
        """
        left = len(self.steps) - len(self.calls)
        if left > 0:
            raise UnusedSteps(f"{left} of {len(self.steps)} steps of {self.id} were never asked for")

    def __enter__(self) -> ScriptedModel:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: object) -> None:
        if kind is None:
            self.assert_done()


class ScriptedStream:
    """One played step. ``given`` counts the events that were read, ``cancelled`` tells whether it was stopped early."""

    def __init__(self, events: Sequence[Event | Exception], delay_s: float | None = None) -> None:
        self.events = list(events)
        self.delay_s = delay_s
        self.given = 0
        self.cancelled = False
        self.closed = asyncio.Event()

    async def read(self) -> list[Event]:
        if self.cancelled or self.given >= len(self.events):
            return []
        if self.delay_s is not None:
            await self.pause(self.delay_s)
        if self.closed.is_set():
            return []
        event = self.events[self.given]
        self.given += 1
        if isinstance(event, Exception):
            raise event
        return [event]

    async def pause(self, seconds: float) -> None:
        """Wait, or until it is stopped."""
        try:
            async with asyncio.timeout(seconds):
                await self.closed.wait()
        except TimeoutError:
            pass

    def cancel(self) -> None:
        last = self.events[self.given - 1] if self.given else None
        if not isinstance(last, TERMINAL):
            self.cancelled = True
        self.closed.set()
