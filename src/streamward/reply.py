"""The complete answer: collected from events, and replayed as events.

Accumulation is linear: deltas are kept in lists and joined once. ``collect(replay(reply)) == reply`` for any reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from msgspec import Struct

from streamward.errors import ErrorInfo
from streamward.events import (
    Abort,
    Error,
    Event,
    Extra,
    File,
    Finish,
    FinishReason,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    RefusalDelta,
    RefusalEnd,
    RefusalStart,
    Source,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
    UsageUpdate,
)  # fmt: skip


class TextBlock(Struct, frozen=True, omit_defaults=True, tag="text"):
    id: str
    text: str
    logprobs: list[Any] | None = None
    extra: Extra | None = None


class ReasoningBlock(Struct, frozen=True, omit_defaults=True, tag="reasoning"):
    id: str
    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    extra: Extra | None = None


class RefusalBlock(Struct, frozen=True, omit_defaults=True, tag="refusal"):
    id: str
    text: str


class ToolBlock(Struct, frozen=True, omit_defaults=True, tag="tool"):
    """A tool call; ``input`` is the arguments' JSON text as produced, which may not be valid JSON."""

    id: str
    name: str
    input: str = ""
    signature: str | None = None
    provider_executed: bool = False
    extra: Extra | None = None


Block: TypeAlias = TextBlock | ReasoningBlock | RefusalBlock | ToolBlock | Source | File


class Reply(Struct, frozen=True, omit_defaults=True):
    """An answer and how it ended.

    ``finish_reason`` is ``None`` when the stream never said that it was finished: then ``error`` tells why, and the
    blocks hold what had arrived.
    """

    id: str = ""
    model: str = ""
    created: int | None = None
    blocks: tuple[Block, ...] = ()
    finish_reason: FinishReason | None = None
    raw_reason: str | None = None
    usage: Usage | None = None
    error: ErrorInfo | None = None
    aborted: bool = False
    extra: Extra | None = None
    finish_extra: Extra | None = None

    @property
    def text(self) -> str:
        return "".join(block.text for block in self.blocks if isinstance(block, TextBlock))

    @property
    def reasoning(self) -> str:
        return "".join(block.text for block in self.blocks if isinstance(block, ReasoningBlock))

    @property
    def tool_calls(self) -> tuple[ToolBlock, ...]:
        return tuple(block for block in self.blocks if isinstance(block, ToolBlock))

    @property
    def finished(self) -> bool:
        """True only when the provider said so."""
        return self.finish_reason is not None


class OpenBlock:
    """A block under construction."""

    __slots__ = ("deltas", "end", "logprobs", "start")

    def __init__(self, start: TextStart | ReasoningStart | RefusalStart | ToolInputStart) -> None:
        self.start = start
        self.deltas: list[str] = []
        self.logprobs: list[Any] = []
        self.end: TextEnd | ReasoningEnd | RefusalEnd | ToolInputEnd | None = None

    def build(self) -> Block:
        start, end, text = self.start, self.end, "".join(self.deltas)
        extra = (end.extra if end is not None and not isinstance(end, RefusalEnd) else None) or start.extra
        if isinstance(start, TextStart):
            return TextBlock(start.id, text, self.logprobs or None, extra)
        if isinstance(start, ReasoningStart):
            signed = end if isinstance(end, ReasoningEnd) else ReasoningEnd(start.id)
            return ReasoningBlock(start.id, text, signed.signature, signed.redacted, extra)
        if isinstance(start, RefusalStart):
            return RefusalBlock(start.id, text)
        signature = end.signature if isinstance(end, ToolInputEnd) else None
        return ToolBlock(start.id, start.name, text, signature, start.provider_executed, extra)


class Collector:
    """A sink for the events of one stream that builds its :class:`Reply`; ask for ``reply()`` at any time."""

    def __init__(self) -> None:
        self.start = Start()
        self.blocks: list[OpenBlock | Source | File] = []
        self.open: dict[tuple[str, str], OpenBlock] = {}
        self.usage: Usage | None = None
        self.terminal: Finish | Error | Abort | None = None

    def feed(self, event: Event) -> None:
        kind = type(event)
        if kind is TextDelta or kind is ReasoningDelta or kind is RefusalDelta or kind is ToolInputDelta:
            self.delta(event)  # type: ignore[arg-type]
        elif isinstance(event, (TextStart, ReasoningStart, RefusalStart, ToolInputStart)):
            block = OpenBlock(event)
            self.blocks.append(block)
            self.open[FAMILY[kind], event.id] = block
        elif isinstance(event, (TextEnd, ReasoningEnd, RefusalEnd, ToolInputEnd)):
            ended = self.open.pop((FAMILY[kind], event.id), None)
            if ended is not None:
                ended.end = event
        elif isinstance(event, (Source, File)):
            self.blocks.append(event)
        elif isinstance(event, Start):
            self.start = event
        elif isinstance(event, UsageUpdate):
            self.usage = event.usage
        elif isinstance(event, (Finish, Error, Abort)):
            self.terminal = event
            self.usage = event.usage or self.usage

    def delta(self, event: TextDelta | ReasoningDelta | RefusalDelta | ToolInputDelta) -> None:
        block = self.open.get((FAMILY[type(event)], event.id))
        if block is None:
            return
        block.deltas.append(event.delta)
        if isinstance(event, TextDelta) and event.logprobs:
            block.logprobs.extend(event.logprobs)

    def reply(self) -> Reply:
        """The answer so far; ``finish_reason`` stays ``None`` unless a Finish event came."""
        terminal, start = self.terminal, self.start
        return Reply(
            id=start.id,
            model=start.model,
            created=start.created,
            blocks=tuple(block.build() if isinstance(block, OpenBlock) else block for block in self.blocks),
            finish_reason=terminal.reason if isinstance(terminal, Finish) else None,
            raw_reason=terminal.raw_reason if isinstance(terminal, Finish) else None,
            usage=self.usage,
            error=terminal.error if isinstance(terminal, Error) else None,
            aborted=isinstance(terminal, Abort),
            extra=start.extra,
            finish_extra=terminal.extra if isinstance(terminal, Finish) else None,
        )


def collect(events: Iterable[Event]) -> Reply:
    """The reply that *events* add up to."""
    collector = Collector()
    for event in events:
        collector.feed(event)
    return collector.reply()


def replay(reply: Reply) -> Iterator[Event]:
    """The events of a stream that would have collected to *reply*, one delta per block."""
    yield Start(reply.id, reply.model, reply.created, reply.extra)
    for block in reply.blocks:
        yield from replay_block(block)
    if reply.error is not None:
        yield Error(reply.error, reply.usage)
    elif reply.aborted or reply.finish_reason is None:
        yield Abort(usage=reply.usage)
    else:
        yield Finish(reply.finish_reason, reply.usage, reply.raw_reason, reply.finish_extra)


def replay_block(block: Block) -> Iterator[Event]:
    if isinstance(block, TextBlock):
        yield TextStart(block.id)
        if block.text or block.logprobs:
            yield TextDelta(block.id, block.text, block.logprobs)
        yield TextEnd(block.id, block.extra)
    elif isinstance(block, ReasoningBlock):
        yield ReasoningStart(block.id)
        if block.text:
            yield ReasoningDelta(block.id, block.text)
        yield ReasoningEnd(block.id, block.signature, block.redacted, block.extra)
    elif isinstance(block, RefusalBlock):
        yield RefusalStart(block.id)
        yield RefusalDelta(block.id, block.text)
        yield RefusalEnd(block.id)
    elif isinstance(block, ToolBlock):
        yield ToolInputStart(block.id, block.name, block.provider_executed)
        if block.input:
            yield ToolInputDelta(block.id, block.input)
        yield ToolInputEnd(block.id, block.signature, block.extra)
    else:
        yield block


FAMILY: dict[type[Any], str] = {
    TextStart: "text", TextDelta: "text", TextEnd: "text",
    ReasoningStart: "reasoning", ReasoningDelta: "reasoning", ReasoningEnd: "reasoning",
    RefusalStart: "refusal", RefusalDelta: "refusal", RefusalEnd: "refusal",
    ToolInputStart: "tool", ToolInputDelta: "tool", ToolInputEnd: "tool",
}  # fmt: skip
