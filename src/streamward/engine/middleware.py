"""Models around models: change the call, the options, or the events of every call to a model.

A :class:`Middleware` may override any of three methods; ``wrap_model(model, first, second)`` puts the first outermost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from streamward.call import Call
from streamward.engine.model import CallOptions, Model, ModelStream
from streamward.engine.resolve import model_of
from streamward.errors import InvalidRequest
from streamward.events import (
    TERMINAL,
    Event,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    TextDelta,
    TextEnd,
    TextStart,
)  # fmt: skip
from streamward.stage import Stage


class Middleware:
    """Does nothing; override what you need."""

    def transform_call(self, call: Call, options: CallOptions) -> tuple[Call, CallOptions]:
        """What is sent."""
        return call, options

    def stage(self, call: Call) -> Stage[Event, Event] | None:
        """A pure stage that every event of the answer passes; a new one for each call."""
        return None

    def open(self, model: Model, call: Call, options: CallOptions) -> ModelStream:
        """The whole call: answer from a cache, call another model, record. Calls *model* by default."""
        return model.open(call, options)


class WrappedModel:
    """A model with one middleware around it."""

    def __init__(self, model: Model, middleware: Middleware) -> None:
        self.model = model
        self.middleware = middleware

    @property
    def id(self) -> str:
        return self.model.id

    def open(self, call: Call, options: CallOptions, /) -> ModelStream:
        call, options = self.middleware.transform_call(call, options)
        stream = self.middleware.open(self.model, call, options)
        stage = self.middleware.stage(call)
        return stream if stage is None else StagedStream(stream, stage)


class StagedStream:
    """A stream whose events pass a stage."""

    def __init__(self, stream: ModelStream, stage: Stage[Event, Event]) -> None:
        self.stream = stream
        self.stage = stage
        self.closed = False

    async def read(self) -> Sequence[Event]:
        while not self.closed:
            events = await self.stream.read()
            if not events:
                self.closed = True
                return list(self.stage.close())
            out = [made for event in events for made in self.stage.feed(event)]
            if out:
                return out
        return []

    def cancel(self) -> None:
        self.stream.cancel()


def wrap_model(model: str | Model, *middleware: Middleware) -> Model:
    """*model* with *middleware* around it, the first one outermost."""
    wrapped = model_of(model)
    for item in reversed(middleware):
        if not isinstance(item, Middleware):
            raise InvalidRequest(f"wrap_model: expected middleware, got {type(item).__name__}")
        wrapped = WrappedModel(wrapped, item)
    return wrapped


class DefaultSettings(Middleware):
    """Fills settings that a call leaves unsaid."""

    def __init__(self, settings: dict[str, Any]) -> None:
        unknown = set(settings) - SETTABLE
        if unknown:
            known = ", ".join(sorted(SETTABLE))
            raise InvalidRequest(f"default_settings: unknown settings {', '.join(sorted(unknown))}; there are: {known}")
        self.settings = settings

    def transform_call(self, call: Call, options: CallOptions) -> tuple[Call, CallOptions]:
        missing = {name: value for name, value in self.settings.items() if getattr(call, name) in (None, ())}
        return replace(call, **missing), options


SETTABLE = frozenset(Call.__struct_fields__) - {"model", "messages", "stream", "include_usage"}


def default_settings(**settings: Any) -> Middleware:
    """Settings for every call that does not set them itself: ``default_settings(temperature=0.2)``."""
    if "stop_sequences" in settings:
        settings["stop"] = tuple(settings.pop("stop_sequences"))
    return DefaultSettings(settings)


class SimulateStreaming(Middleware):
    """Asks for the answer in one piece and gives it as a stream: for models whose streaming is broken."""

    def open(self, model: Model, call: Call, options: CallOptions) -> ModelStream:
        return Gathered(model.open(call, options))


class Gathered:
    """A stream that waits for the end and then gives one delta per part."""

    def __init__(self, stream: ModelStream) -> None:
        self.stream = stream
        self.done = False

    async def read(self) -> Sequence[Event]:
        from streamward.reply import Collector, replay

        if self.done:
            return []
        collector = Collector()
        while events := await self.stream.read():
            for event in events:
                collector.feed(event)
        self.done = True
        return list(replay(collector.reply()))

    def cancel(self) -> None:
        self.stream.cancel()


def simulate_streaming() -> Middleware:
    return SimulateStreaming()


class EachEvent(Middleware):
    """A stage of one's own around every call."""

    def __init__(self, make: Callable[[], Stage[Event, Event]]) -> None:
        self.make = make

    def stage(self, call: Call) -> Stage[Event, Event]:
        return self.make()


def extract_reasoning(tag: str = "think", *, separator: str = "\n", start_with_reasoning: bool = False) -> Middleware:
    """Take ``<think>...</think>`` out of the text and give it as reasoning.

    *separator* stands between sections of either kind that were apart; with *start_with_reasoning* the text begins
    inside the tag, as some models leave its opening out.
    """
    return EachEvent(lambda: ReasoningTags(tag, separator, start_with_reasoning))


class ReasoningTags:
    """Stage that splits text parts at a tag. What may be the beginning of a tag is held back."""

    def __init__(self, tag: str, separator: str, start_with_reasoning: bool) -> None:
        self.opening, self.closing = f"<{tag}>", f"</{tag}>"
        self.separator = separator
        self.start_with_reasoning = start_with_reasoning
        self.part: str | None = None  # id of the text part being split
        self.inside = False
        self.held = ""
        self.open_kind: type[TextDelta] | type[ReasoningDelta] | None = None
        self.ids = 0
        self.seen: set[type[Any]] = set()  # kinds of which a section has been given in this part
        self.turned = False

    def feed(self, item: Event) -> list[Event]:
        if isinstance(item, TextStart):
            self.part, self.inside, self.held = item.id, self.start_with_reasoning, ""
            self.seen, self.turned = set(), False
            return []
        if isinstance(item, TextDelta) and item.id == self.part:
            self.held += item.delta
            return self.split(final=False)
        if isinstance(item, TextEnd) and item.id == self.part:
            return self.end()
        if isinstance(item, TERMINAL) and self.part is not None:
            return [*self.end(), item]
        return [item]

    def close(self) -> list[Event]:
        return self.end() if self.part is not None else []

    def end(self) -> list[Event]:
        out = [*self.split(final=True), *self.close_section()]
        self.part = None
        return out

    def split(self, *, final: bool) -> list[Event]:
        out: list[Event] = []
        while True:
            tag = self.closing if self.inside else self.opening
            at = self.held.find(tag)
            if at < 0:
                keep = 0 if final else overlap(self.held, tag)
                ready, self.held = self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
                return [*out, *self.say(ready)]
            out += self.say(self.held[:at])
            self.held = self.held[at + len(tag) :]
            out += self.close_section()
            self.inside = not self.inside
            self.turned = True

    def say(self, text: str) -> list[Event]:
        if not text:
            return []
        out: list[Event] = []
        kind = ReasoningDelta if self.inside else TextDelta
        if self.turned and kind in self.seen:
            text = self.separator + text
        self.turned = False
        if self.open_kind is None:
            self.ids += 1
            self.open_kind = kind
            out.append(ReasoningStart(self.section_id) if self.inside else TextStart(self.section_id))
        self.seen.add(kind)
        out.append(kind(self.section_id, text))
        return out

    @property
    def section_id(self) -> str:
        return f"{self.part}-{self.ids}"

    def close_section(self) -> list[Event]:
        kind, self.open_kind = self.open_kind, None
        if kind is None:
            return []
        return [ReasoningEnd(self.section_id) if kind is ReasoningDelta else TextEnd(self.section_id)]


def overlap(text: str, tag: str) -> int:
    """How many last characters of *text* may be the beginning of *tag*."""
    return next((size for size in range(min(len(tag) - 1, len(text)), 0, -1) if tag.startswith(text[-size:])), 0)
