"""One model call inside a generation: its stream followed, its tool calls checked and started as they are complete."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from streamward import call as calls
from streamward.engine.model import ModelStream
from streamward.engine.plan import ToolErrors, generate_id
from streamward.engine.run import WINDOW, notify, notify_later, settle
from streamward.engine.steps import Step, build_step
from streamward.engine.tool_input import check, check_and_repair
from streamward.engine.tool_runs import ToolRuns
from streamward.engine.tools import Tool, ToolContext
from streamward.errors import ErrorInfo
from streamward.events import (
    PART_DELTA,
    PART_END,
    PART_END_OF,
    PART_START,
    TERMINAL,
    ApprovalRequest,
    Error,
    Event,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCall,
    ToolError,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    ToolResult,
    UsageUpdate,
)  # fmt: skip
from streamward.upstream.source import EventSource

if TYPE_CHECKING:
    from streamward.engine.generation import Generation

PLAIN = frozenset((TextDelta, ReasoningDelta, RefusalDelta))


class StepStream:
    """What one model call gives. Ids that an earlier step used are replaced: they must be unique in the whole stream."""

    def __init__(self, generation: Generation, call: calls.Call, runs: ToolRuns, number: int) -> None:
        self.generation = generation
        self.call = call
        self.runs = runs
        self.number = number
        self.tools: dict[str, Tool] = {
            name: tool for name, tool in generation.plan.tools.items() if any(name == each.name for each in call.tools)
        }
        self.started = False
        self.start = Start()
        self.finish: Finish | None = None
        self.error: Error | None = None
        self.events: list[Event] = []
        self.renamed: dict[str, str] = {}
        self.inputs: dict[str, tuple[ToolInputStart, list[str]]] = {}  # open tool inputs
        self.called: dict[str, ToolCall] = {}
        self.answered: dict[str, bool] = {}  # call id to success
        self.waiting: set[str] = set()  # calls that wait for an approval

    # -- following the stream

    async def follow(self, stream: ModelStream) -> None:
        """Read the stream to its end, handing on events; results of tools in between as they come."""
        deadlines = self.generation.deadlines
        reading: asyncio.Future[Sequence[Event]] | None = None
        source = stream if isinstance(stream, EventSource) and self.generation.direct else None
        if source is not None:
            source.tap = self.tapped
        try:
            while self.finish is None and self.error is None:
                if self.runs.busy:
                    # Tools run: wait for whichever comes first. Rare, so the price of a task does not matter.
                    reading = reading or asyncio.ensure_future(stream.read())
                    changed = asyncio.ensure_future(self.runs.changed.wait())
                    try:
                        await asyncio.wait((reading, changed), return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        changed.cancel()
                    if not reading.done():
                        # Only while the model pauses: its own words come first, as they did in time.
                        results = self.runs.take()
                        if results:
                            await self.give(results)
                        continue
                    events, reading = reading.result(), None
                elif reading is not None:
                    events, reading = await reading, None
                else:
                    events = await stream.read()
                if deadlines is not None:
                    deadlines.chunk()
                if not events:
                    self.error = Error(ErrorInfo("stream_truncated", "the model's stream ended without saying so", 502))
                    await self.give(self.open_ends())
                    return
                await self.take(events)
        finally:
            if source is not None:
                source.tap = None
            if reading is not None:
                reading.cancel()

    def tapped(self, events: list[Event]) -> bool:
        """Plain deltas go straight from the connection to readers that keep up: no task of ours wakes for a token."""
        generation = self.generation
        run = generation.run
        if self.renamed or len(run.events) - run.furthest > WINDOW or run.terminal is not None or self.runs.busy:
            return False
        for event in events:
            if type(event) not in PLAIN or not event.delta:  # type: ignore[union-attr]
                return False
        if generation.deadlines is not None:
            generation.deadlines.chunk()
        self.events += events
        run.events += events
        if run.readers:
            run.wake()
        return True

    async def take(self, events: Sequence[Event]) -> None:
        """Translate one batch and hand it on."""
        out: list[Event] = []
        for event in events:
            kind = type(event)
            if kind in PLAIN:
                if event.delta:  # type: ignore[union-attr]  # deltas of AI SDK streams are never empty
                    out.append(event if not self.renamed else self.with_own_id(event))
            elif kind is ToolInputEnd:
                self.begin(out)
                await self.call_complete(self.with_own_id(event), out)
            else:
                self.other(event, out)
                if self.finish is not None or self.error is not None:
                    break
        if out:
            await self.give(out)

    def other(self, event: Event, out: list[Event]) -> None:
        """Everything but plain deltas and complete calls."""
        if isinstance(event, Start):
            self.start = event
        elif isinstance(event, Finish):
            self.begin(out)
            out.extend(self.open_ends(out))
            self.finish = event
        elif isinstance(event, Error):
            if self.started:
                out.extend(self.open_ends(out))
            self.error = event
        elif isinstance(event, TERMINAL):  # a model that aborts itself has not finished
            out.extend(self.open_ends(out))
            self.error = Error(ErrorInfo("stream_truncated", "the model stopped its own stream", 502))
        elif isinstance(event, ToolInputStart):
            self.begin(out)
            out.append(self.input_started(event))
        elif isinstance(event, ToolInputDelta):
            delta: ToolInputDelta = self.with_own_id(event)
            found = self.inputs.get(delta.id)
            if found is not None:
                found[1].append(delta.delta)
                self.tell_input(found[0], delta.delta)
            out.append(delta)
        elif isinstance(event, ToolCall):
            self.whole_call(event, out)
        elif isinstance(event, (ToolResult, ToolError)):
            out.append(event)
        elif not isinstance(event, UsageUpdate):
            self.begin(out)
            out.append(self.with_own_id(event, opens=isinstance(event, PART_START)))

    def begin(self, out: list[Event]) -> None:
        """The step begins with the first thing the model says: a call that failed at once has no step."""
        if not self.started:
            self.started = True
            out.append(self.generation.step_start())

    async def give(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, ToolResult) and not event.preliminary:
                self.answered[event.id] = True
            elif isinstance(event, ToolError):
                self.answered[event.id] = False
        self.events.extend(events)
        await self.generation.emit(events)

    # -- ids

    def with_own_id(self, event: Any, *, opens: bool = False) -> Any:
        """*event* with an id that is unique in the generation."""
        old = getattr(event, "id", None)
        if old is None or not isinstance(event, (*PART_START, *PART_DELTA, *PART_END)):
            return event
        if opens:
            used = self.generation.part_ids
            if old in used:
                self.renamed[old] = f"{old}-{self.number}-{len(used)}"
            used.add(self.renamed.get(old, old))
        new = self.renamed.get(old)
        return event if new is None else replace(event, id=new)

    # -- tool calls

    def input_started(self, event: ToolInputStart) -> ToolInputStart:
        event = self.with_own_id(event, opens=True)
        tool = self.tools.get(event.name)
        if tool is not None and (tool.title or tool.dynamic):
            event = replace(event, title=tool.title, dynamic=tool.dynamic)
        self.inputs[event.id] = (event, [])
        if tool is not None and tool.on_input_start is not None:
            notify_later(tool.on_input_start, self.context(event.id, event.name))
        return event

    def tell_input(self, start: ToolInputStart, delta: str) -> None:
        tool = self.tools.get(start.name)
        if tool is not None and tool.on_input_delta is not None:
            notify_later(tool.on_input_delta, delta, self.context(start.id, start.name))

    def context(self, call_id: str, name: str) -> ToolContext:
        generation = self.generation
        return ToolContext(call_id, name, self.call.messages, self.number, generation.plan.context)

    async def call_complete(self, event: ToolInputEnd, out: list[Event]) -> None:
        """The arguments are complete: check them, and run the tool, or ask first."""
        out.append(event)
        found = self.inputs.pop(event.id, None)
        if found is None:
            return
        start, pieces = found
        if start.provider_executed:
            call = check(event.id, start.name, "".join(pieces), {}).call
            self.called[event.id] = call = replace(call, error=None, provider_executed=True, dynamic=start.dynamic)
            out.append(call)
            return
        await self.run_call(event.id, start.name, "".join(pieces), out)

    def whole_call(self, event: ToolCall, out: list[Event]) -> None:
        """A model that gives calls in one piece (scripted ones); those that were streamed are known already."""
        if event.id in self.called:
            return
        self.begin(out)
        self.called[event.id] = event
        out.append(event)

    async def run_call(self, call_id: str, name: str, text: str, out: list[Event]) -> None:
        checked = await check_and_repair(call_id, name, text, self.tools, self.generation.plan.repair)
        call, tool = checked.call, checked.tool
        self.called[call_id] = call
        out.append(call)
        if call.error is not None or tool is None:
            out.append(ToolError(call.id, call.name, call.error or "", call.input, dynamic=call.dynamic))
            return
        context = self.context(call.id, call.name)
        if tool.on_input_available is not None:
            await notify(tool.on_input_available, call.input, context)
        needs = tool.needs_approval
        if not isinstance(needs, bool):
            needs = bool(await settle(needs(call.input, context)))
        if needs:
            self.waiting.add(call.id)
            out.append(ApprovalRequest(generate_id("approval"), call.id))
        elif tool.execute is not None:
            self.runs.start(tool, call, checked.arguments, context)

    # -- the end

    def open_ends(self, pending: Sequence[Event] = ()) -> list[Event]:
        """Ends of parts the model left open (a stream that obeys the grammar leaves none)."""
        opened: dict[tuple[type, str], Event] = {}
        for event in (*self.events, *pending):
            if isinstance(event, PART_START):
                end = PART_END_OF[type(event)]
                opened[end, event.id] = end(event.id)
            elif isinstance(event, PART_END):
                opened.pop((type(event), event.id), None)
        return list(opened.values())

    def may_continue(self, tool_errors: ToolErrors) -> bool:
        """Every call of ours has an output; a client's tool, an open approval or (if so set) a failure ends the loop."""
        own = [call for call in self.called.values() if not call.provider_executed]
        if not own or self.waiting:
            return False
        if tool_errors == "end" and not all(self.answered.get(call.id, False) for call in own):
            return False
        return all(call.id in self.answered for call in own)

    def build(self, number: int, before: tuple[calls.Message, ...], tools: dict[str, Tool]) -> Step:
        return build_step(number, self.events, self.finish, self.start, before, tools)
