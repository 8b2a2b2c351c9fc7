"""One model call of a generation, complete: what came, what its tools gave, and how it ended. And when to stop calling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from streamward.call import Message, Part, Reasoning, Text, ToolOutput, ToolUse
from streamward.engine.tools import Tool
from streamward.errors import ErrorInfo
from streamward.events import (
    Event,
    Extra,
    File,
    Finish,
    FinishReason,
    Source,
    Start,
    ToolCall,
    ToolDenied,
    ToolError,
    ToolResult,
    Usage,
)  # fmt: skip
from streamward.reply import Block, Reply, ToolBlock, collect
from streamward.wire.json_text import encode


class Response(Struct, frozen=True):
    """The provider's answer to a step, and all messages that the generation has produced so far."""

    id: str = ""
    model: str = ""
    created: int | None = None
    messages: tuple[Message, ...] = ()
    """Put behind your own messages they continue the conversation."""
    extra: Extra | None = None


class Step(Struct, frozen=True):
    """One model call."""

    number: int = 0
    blocks: tuple[Block, ...] = ()
    """Text, reasoning, refusals, tool calls as text, sources and files, in order."""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult | ToolError | ToolDenied, ...] = ()
    finish_reason: FinishReason | None = None
    """None: the provider never said that it was done."""
    raw_finish_reason: str | None = None
    usage: Usage | None = None
    response: Response = Response()
    extra: Extra | None = None
    """Fields that only one dialect knows, of the finish."""

    @property
    def text(self) -> str:
        return self.reply.text

    @property
    def reasoning(self) -> str:
        return self.reply.reasoning

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple(block for block in self.blocks if isinstance(block, Source))

    @property
    def files(self) -> tuple[File, ...]:
        return tuple(block for block in self.blocks if isinstance(block, File))

    @property
    def reply(self) -> Reply:
        """The same in the waist's terms."""
        response = self.response
        return Reply(
            response.id, response.model, response.created, self.blocks, self.finish_reason, self.raw_finish_reason, self.usage
        )  # fmt: skip


def build_step(
    number: int, events: Sequence[Event], finish: Finish | None, start: Start, before: tuple[Message, ...],
    tools: dict[str, Tool],
) -> Step:  # fmt: skip
    """The step that *events* (without start, step and terminal events) add up to; *before* are earlier steps' messages."""
    reply = collect(events)
    calls = tuple(event for event in events if type(event) is ToolCall)
    results = tuple(
        event for event in events
        if (type(event) is ToolResult and not event.preliminary) or type(event) is ToolError or type(event) is ToolDenied
    )  # fmt: skip
    messages = (*before, *messages_of(reply, calls, results, tools))
    return Step(
        number, reply.blocks, calls, results, finish.reason if finish else None, finish.raw_reason if finish else None,
        finish.usage if finish else reply.usage, Response(start.id, start.model, start.created, messages, start.extra),
        finish.extra if finish else None,
    )  # fmt: skip


def messages_of(
    reply: Reply, calls: Sequence[ToolCall], results: Sequence[ToolResult | ToolError | ToolDenied], tools: dict[str, Tool]
) -> list[Message]:
    """The assistant message of a step and the tool message that answers it."""
    known = {call.id: call for call in calls}
    parts: list[Part] = []
    for block in reply.blocks:
        if isinstance(block, ToolBlock):
            call = known.get(block.id)
            if call is not None and not block.provider_executed:
                # A repaired or invalid call goes back as the object it was taken for: providers refuse broken JSON.
                parts.append(ToolUse(block.id, call.name, argument_text(block, call), block.signature, block.extra))
        elif (part := part_of(block)) is not None:
            parts.append(part)
    messages = [Message("assistant", tuple(parts))] if parts else []
    outputs = [tool_output(result, tools) for result in results if not getattr(result, "provider_executed", False)]
    return [*messages, Message("tool", tuple(outputs))] if outputs else messages


def argument_text(block: ToolBlock, call: ToolCall) -> str:
    if call.error is None and call.name == block.name and block.input.strip().startswith("{"):
        return block.input
    return encode(call.input if isinstance(call.input, dict) else {}).decode()


def part_of(block: Any) -> Part | None:
    kind = type(block).__name__
    if kind == "TextBlock":
        return Text(block.text) if block.text else None
    if kind == "ReasoningBlock":
        return Reasoning(block.text, block.signature, block.redacted, block.id, block.extra)
    return None


def tool_output(result: ToolResult | ToolError | ToolDenied, tools: dict[str, Tool]) -> ToolOutput:
    """What the model sees of a result: text as it is, everything else as JSON; the real message of an error."""
    if isinstance(result, ToolError):
        return ToolOutput(result.id, result.error, result.name, is_error=True)
    if isinstance(result, ToolDenied):
        return ToolOutput(result.id, result.reason or "Tool call execution denied.", result.name or None, is_error=True)
    tool = tools.get(result.name)
    value = result.output if tool is None or tool.to_model_output is None else tool.to_model_output(result.output)
    return ToolOutput(result.id, value if isinstance(value, str) else encode(value).decode(), result.name)


def total_usage(usages: Sequence[Usage | None]) -> Usage | None:
    """The sum over steps; a number that any step left unsaid is unknown."""
    if not usages:
        return None
    if len(usages) == 1:
        return usages[0]
    known = [usage or Usage() for usage in usages]

    def summed(name: str) -> int | None:
        values = [getattr(usage, name) for usage in known]
        return None if any(value is None for value in values) else sum(values)

    stated = any(usage.stated_total is not None for usage in known)
    return Usage(
        summed("input_tokens"), summed("output_tokens"), summed("cached_input_tokens"), summed("cache_write_tokens"),
        summed("reasoning_tokens"), summed("total_tokens") if stated else None,
    )  # fmt: skip


StopCondition: TypeAlias = Callable[[Sequence[Step]], "bool | Awaitable[bool]"]


def step_count_is(count: int) -> StopCondition:
    """Stop after *count* model calls."""

    def reached(steps: Sequence[Step]) -> bool:
        return len(steps) >= count

    return reached


def has_tool_call(name: str) -> StopCondition:
    """Stop after a step that called the tool *name*."""

    def called(steps: Sequence[Step]) -> bool:
        return bool(steps) and any(call.name == name for call in steps[-1].tool_calls)

    return called


class StepSettings(Struct, frozen=True, kw_only=True):
    """What ``prepare_step`` may change for one step; ``None`` leaves it. A dictionary with these keys does as well."""

    model: Any = None
    system: str | None = None
    messages: Any = None
    tool_choice: Any = None
    active_tools: Sequence[str] | None = None


class StepOutlook(Struct, frozen=True):
    """What ``prepare_step`` is told."""

    number: int
    steps: tuple[Step, ...]
    messages: tuple[Message, ...]
    model: Any


PrepareStep: TypeAlias = Callable[[StepOutlook], Any]


class Partial(Struct, frozen=True):
    """What had arrived when a generation was stopped or failed."""

    steps: tuple[Step, ...]
    """The last one may be incomplete: its ``finish_reason`` is ``None``."""
    text: str
    usage: Usage | None
    error: ErrorInfo | None = None
    reason: str = ""
