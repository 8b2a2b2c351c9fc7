"""The event grammar, in one checker.

``Start (part | tool | data)* (Finish | Error | Abort)``: one Start, first; exactly one terminal event, last; every part
opened once, fed only while open, and closed before the terminal event and before its step ends. Every test of a codec
runs this; ``STREAMWARD_CHECK_GRAMMAR=1`` runs it live.
"""

from __future__ import annotations

from collections.abc import Iterable

from streamward.events import (
    PART_DELTA,
    PART_END,
    PART_START,
    TERMINAL,
    Abort,
    Error,
    Event,
    EventBase,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    RefusalDelta,
    RefusalEnd,
    RefusalStart,
    Start,
    StepFinish,
    StepStart,
    TextDelta,
    TextEnd,
    TextStart,
    ToolCall,
    ToolError,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    ToolResult,
)  # fmt: skip


class Checker:
    """Feed it every event of one stream; each call returns the rules that event breaks, as sentences."""

    def __init__(self) -> None:
        self.started = False
        self.terminal: Event | None = None
        self.open: dict[str, str] = {}
        self.used: set[tuple[str, str]] = set()
        self.called: set[str] = set()
        self.step_open = False
        self.stepped = False

    def feed(self, event: Event) -> list[str]:
        tag = type(event).__struct_config__.tag
        if self.terminal is not None:
            return [f"{tag} after the terminal event"]
        if isinstance(event, Start):
            problems = ["a second start"] if self.started else []
            self.started = True
            return problems
        problems = [] if self.started else [f"{tag} before start"]
        self.started = True  # one complaint is enough
        if isinstance(event, PART_START):
            problems += self.opened(event)
        elif isinstance(event, PART_DELTA):
            problems += self.fed(event)
        elif isinstance(event, PART_END):
            problems += self.closed(event)
        elif isinstance(event, ToolCall):
            self.called.add(event.id)
        elif isinstance(event, (ToolResult, ToolError)):
            # Before the first step: outputs of calls from an earlier turn that were approved since.
            if event.id not in self.called and (self.stepped or self.used):
                problems.append(f"{tag} for {event.id!r}, which was never called")
        elif isinstance(event, StepStart):
            if self.step_open:
                problems.append("start-step inside a step")
            self.step_open = self.stepped = True
        elif isinstance(event, StepFinish):
            if not self.step_open:
                problems.append("finish-step without start-step")
            problems += self.left_open(tag)
            self.step_open = False
        elif isinstance(event, TERMINAL):
            self.terminal = event
            problems += self.left_open(tag)
            if self.step_open and not isinstance(event, (Abort, Error)):
                problems.append(f"{tag} inside a step")
        return problems

    def close(self) -> list[str]:
        """The rules broken by ending here."""
        return [] if self.terminal is not None else ["the stream has no terminal event"]

    def opened(self, event: EventBase) -> list[str]:
        kind, part_id = KIND[type(event)], event.id  # type: ignore[attr-defined]
        if (kind, part_id) in self.used:
            return [f"{kind} part {part_id!r} opened twice"]
        self.used.add((kind, part_id))
        self.open[f"{kind}:{part_id}"] = kind
        return []

    def fed(self, event: EventBase) -> list[str]:
        kind, part_id = KIND[type(event)], event.id  # type: ignore[attr-defined]
        return [] if f"{kind}:{part_id}" in self.open else [f"delta for {kind} part {part_id!r}, which is not open"]

    def closed(self, event: EventBase) -> list[str]:
        kind, part_id = KIND[type(event)], event.id  # type: ignore[attr-defined]
        if self.open.pop(f"{kind}:{part_id}", None) is None:
            return [f"end of {kind} part {part_id!r}, which is not open"]
        return []

    def left_open(self, tag: object) -> list[str]:
        problems = [f"{tag} while {name} is open" for name in self.open]
        self.open.clear()
        return problems


def violations(events: Iterable[Event]) -> list[str]:
    """All rules that *events*, taken as one whole stream, break; empty when it is well-formed."""
    checker = Checker()
    problems = [problem for event in events for problem in checker.feed(event)]
    return problems + checker.close()


KIND: dict[type[EventBase], str] = {
    TextStart: "text", TextDelta: "text", TextEnd: "text",
    ReasoningStart: "reasoning", ReasoningDelta: "reasoning", ReasoningEnd: "reasoning",
    RefusalStart: "refusal", RefusalDelta: "refusal", RefusalEnd: "refusal",
    ToolInputStart: "tool", ToolInputDelta: "tool", ToolInputEnd: "tool",
}  # fmt: skip
