"""Recording a model's answers to a file, and replaying them without the model.

One JSON line per model call: what was asked (``call``) and every event with its time since the call. Replays answer
the call that was recorded and complain about any other. Nothing of the environment (keys, headers) is written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from streamward.call import Call
from streamward.events import TERMINAL, Event
from streamward.testing.scripted import UnexpectedCall

if TYPE_CHECKING:
    from streamward.engine.model import CallOptions, Model, ModelStream

Mode = Literal["auto", "record", "replay"]


class Recorded(Struct, frozen=True):
    """One model call."""

    call: Call
    events: list[tuple[float, Event]]


class Recorder:
    """A model around *model*: records to *path*, or replays from it.

    ``mode="auto"`` replays when the file exists and records when not; ``"record"`` writes it anew. Replays keep the
    order of calls and, with ``timing=True``, the pauses between events.
    """

    def __init__(self, model: str | Model, path: str | Path, *, mode: Mode = "auto", timing: bool = False) -> None:
        from streamward.engine.resolve import model_of

        self.model = model_of(model)
        self.path = Path(path)
        self.timing = timing
        self.replaying = mode == "replay" or (mode == "auto" and self.path.exists())
        self.calls: list[Recorded] = []
        self.at = 0
        if self.replaying:
            lines = self.path.read_bytes().splitlines()
            self.calls = [msgspec.json.decode(line, type=Recorded) for line in lines if line.strip()]
        elif mode == "record":
            self.path.unlink(missing_ok=True)

    @property
    def id(self) -> str:
        return self.model.id

    def open(self, call: Call, options: CallOptions, /) -> ModelStream:
        if not self.replaying:
            return Recording(self, call, self.model.open(call, options))
        if self.at >= len(self.calls):
            raise UnexpectedCall(f"model call {self.at + 1}, but {self.path} holds {len(self.calls)}; record it anew")
        recorded = self.calls[self.at]
        self.at += 1
        asked, known = comparable(call), comparable(recorded.call)
        if asked != known:
            fields = [name for name in Call.__struct_fields__ if getattr(asked, name) != getattr(known, name)]
            raise UnexpectedCall(f"call {self.at} differs from {self.path} in {', '.join(fields)}; record it anew")
        return Replaying(recorded, self.timing)

    def write(self, recorded: Recorded) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(recorded) + b"\n")


def comparable(call: Call) -> Call:
    """A call without what changes from run to run; through JSON, as the recorded one went."""
    decoded: Call = msgspec.json.decode(msgspec.json.encode(replace(call, model="-", user=None, metadata=None)), type=Call)
    return decoded


class Recording:
    """A stream whose events are written once it has ended; a stream that was left is not recorded."""

    def __init__(self, recorder: Recorder, call: Call, stream: ModelStream) -> None:
        self.recorder = recorder
        self.call = call
        self.stream = stream
        self.began = time.monotonic()
        self.events: list[tuple[float, Event]] = []

    async def read(self) -> Sequence[Event]:
        events = await self.stream.read()
        at = round(time.monotonic() - self.began, 4)
        self.events += [(at, event) for event in events]
        if events and isinstance(events[-1], TERMINAL):
            self.recorder.write(Recorded(self.call, self.events))
        return events

    def cancel(self) -> None:
        self.stream.cancel()


class Replaying:
    """A recorded stream."""

    def __init__(self, recorded: Recorded, timing: bool) -> None:
        self.events = list(recorded.events)
        self.timing = timing
        self.at = 0
        self.shown_s = 0.0
        self.cancelled = asyncio.Event()

    async def read(self) -> Sequence[Event]:
        if self.cancelled.is_set() or self.at >= len(self.events):
            return []
        seconds, event = self.events[self.at]
        if self.timing and seconds > self.shown_s:
            try:
                async with asyncio.timeout(seconds - self.shown_s):
                    await self.cancelled.wait()
                return []
            except TimeoutError:
                self.shown_s = seconds
        self.at += 1
        return [event]

    def cancel(self) -> None:
        self.cancelled.set()


def load(path: str | Path) -> list[Any]:
    """The calls in a recording."""
    return [msgspec.json.decode(line, type=Recorded) for line in Path(path).read_bytes().splitlines() if line.strip()]
