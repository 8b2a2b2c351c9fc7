"""The steps of one generation: call the model, run its tools, call it again, until it is done or told to stop.

    Start, outputs of approved calls, then per step: StepStart, the model's parts, ToolCall ... ToolResult, StepFinish;
    at the end one Finish, or the Error or Abort that cut it.

The producer of a ``Run``. One model call at a time; tools of a step run together while the model still speaks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from streamward import call as calls
from streamward.engine.model import ModelStream
from streamward.engine.plan import Plan, tool_choice_of
from streamward.engine.prompt import prompt_of
from streamward.engine.resolve import model_of
from streamward.engine.run import Run, notify, notify_later, settle
from streamward.engine.step import StepStream
from streamward.engine.steps import Partial, Step, StepOutlook, StepSettings, tool_output, total_usage
from streamward.engine.timeouts import Deadlines, Timeout
from streamward.engine.tool_input import check
from streamward.engine.tool_runs import ToolRuns
from streamward.engine.tools import Tool, ToolContext
from streamward.errors import ErrorInfo, InvalidRequest
from streamward.events import (
    Abort,
    Error,
    Event,
    Finish,
    Start,
    StepFinish,
    StepStart,
    ToolCall,
    ToolDenied,
    ToolError,
    ToolResult,
)  # fmt: skip
from streamward.wire.json_text import encode
from streamward.wire.ui_request import answer


class Generation:
    """Producer of one run."""

    def __init__(self, plan: Plan, run: Run) -> None:
        self.plan = plan
        self.run = run
        self.steps: list[Step] = []
        self.produced: tuple[calls.Message, ...] = ()
        """Messages of the finished steps."""
        self.messages = plan.prompt.messages
        self.part_ids: set[str] = set()
        self.stream: ModelStream | None = None
        self.runs: ToolRuns | None = None
        self.current: StepStream | None = None
        self.cut: Step | None = None
        """The step that an error or a stop cut."""
        self.deadlines: Deadlines | None = None
        self.failing = False
        """The model failed, and ``on_error`` will be told before the generation is over; else it is told at once."""
        self.emit: Callable[[Sequence[Event]], Any] = run.put

    @property
    def direct(self) -> bool:
        """Nothing stands between the model and the readers: no transform, no callback for each event, no checker."""
        return not self.plan.transforms and self.plan.callbacks.on_chunk is None and self.run.check is None

    # -- producer

    async def produce(self) -> None:
        plan = self.plan
        if plan.timeout != EMPTY_TIMEOUT:
            self.deadlines = Deadlines(plan.timeout, self.run.fail)
        if plan.callbacks.on_chunk is not None:
            self.emit = self.emit_and_tell
        if plan.transforms:
            from streamward.engine.transforms import Chain

            chain = Chain(plan.transforms, self.emit)
            self.emit = chain.put
            try:
                await self.generate()
                await chain.close()
            finally:
                chain.cancel()
        else:
            await self.generate()
        await self.told()

    async def told(self) -> None:
        """Callbacks of the end, inside the generation, so that nothing is over before they are."""
        terminal, callbacks = self.run.terminal, self.plan.callbacks
        if isinstance(terminal, Finish):
            await notify(callbacks.on_finish, *self.finished(callbacks.on_finish))
        elif isinstance(terminal, Error) and self.failing:
            await notify(callbacks.on_error, self.run.failure)

    def finished(self, callback: Callable[..., Any] | None) -> tuple[Any, ...]:
        """What ``on_finish`` is told: the whole generation where it takes one argument, else last step and all steps."""
        from streamward.engine.result import Generated

        steps = tuple(self.steps)
        if callback is not None and not takes_two(callback):
            return (Generated(steps, total_usage([step.usage for step in steps]), self.plan.output),)
        return steps[-1], steps

    def cancel(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.cancel()
        runs, self.runs = self.runs, None
        if runs is not None:
            runs.cancel()

    def ended(self, terminal: Event) -> None:
        if self.current is not None:
            self.cut = self.current.build(len(self.steps), self.produced, self.plan.tools)
            self.current = None
        if self.deadlines is not None:
            self.deadlines.close()
        if self.plan.telemetry is not None:
            self.plan.telemetry.ended(terminal, self.steps)
        if isinstance(terminal, Abort):
            notify_later(self.plan.callbacks.on_abort, self.partial(terminal.reason))
        elif isinstance(terminal, Error) and not self.failing:
            notify_later(self.plan.callbacks.on_error, self.run.failure)

    def partial(self, reason: str = "", error: ErrorInfo | None = None) -> Partial:
        """What there is so far."""
        steps = list(self.steps)
        if self.cut is not None:
            steps.append(self.cut)
        elif self.current is not None:
            steps.append(self.current.build(len(steps), self.produced, self.plan.tools))
        return Partial(tuple(steps), steps[-1].text if steps else "", self.run.usage(), error, reason)

    async def emit_and_tell(self, events: Sequence[Event]) -> None:
        """One event at a time: a callback may stop the run, and what comes after its event is not shown."""
        for event in events:
            if self.run.terminal is not None:
                return
            await self.run.put([event])
            await notify(self.plan.callbacks.on_chunk, event)

    # -- the steps

    async def generate(self) -> None:
        await self.emit([Start(self.plan.prompt.continues or "", self.plan.model.id)])
        await self.approved_calls()
        while True:
            await self.run.wanted()
            goes_on = await self.step()
            if not goes_on:
                return

    async def approved_calls(self) -> None:
        """Run what the user approved since, and tell about what was denied; the model sees both."""
        approvals = self.plan.prompt.approvals
        if not approvals:
            return
        runs = self.runs = ToolRuns()
        outputs: dict[str, calls.ToolOutput] = {}
        events: list[Event] = []
        for approval in approvals:
            if not approval.approved:
                events.append(ToolDenied(approval.tool_call_id, approval.tool_name, approval.reason))
                continue
            text = approval.input if isinstance(approval.input, str) else encode(approval.input).decode()
            checked = check(approval.tool_call_id, approval.tool_name, text, self.plan.tools)
            if checked.call.error is not None or checked.tool is None or checked.tool.execute is None:
                why = checked.call.error or f"the tool {approval.tool_name} has no function here"
                runs.give(ToolError(approval.tool_call_id, approval.tool_name, why, approval.input))
            else:
                runs.start(checked.tool, checked.call, checked.arguments, self.context(checked.call))
        if events:
            await self.emit(events)
        while runs.busy:
            events = await runs.wait()
            for event in events:
                if (isinstance(event, ToolResult) and not event.preliminary) or isinstance(event, ToolError):
                    outputs[event.id] = tool_output(event, self.plan.tools)
            await self.emit(events)
        self.messages = answer(self.messages, outputs)

    async def step(self) -> bool:
        """One model call with its tools; True when another one follows."""
        plan, number = self.plan, len(self.steps)
        settings = await self.prepared(number)
        model = model_of(settings.model) if settings.model is not None else plan.model
        call = self.call(settings)
        telemetry = plan.telemetry
        runs = self.runs = ToolRuns(telemetry.tool if telemetry is not None else None)
        step = self.current = StepStream(self, call, runs, number)
        if self.deadlines is not None:
            self.deadlines.step_began()
        if telemetry is not None:
            telemetry.step_began(number, model.id, call)
        stream = self.stream = model.open(call, plan.options)
        try:
            await step.follow(stream)
            if self.deadlines is not None:
                self.deadlines.model_done()
            if step.error is not None:
                usage = total_usage([*(done.usage for done in self.steps), step.error.usage])
                self.failing = True
                await self.emit([Error(step.error.error, usage)])
                return False
            while runs.busy:
                await step.give(await runs.wait())
        finally:
            stream.cancel()
            runs.cancel()
        return await self.finish_step(step)

    async def finish_step(self, step: StepStream) -> bool:
        plan = self.plan
        finish = step.finish
        assert finish is not None
        done = step.build(len(self.steps), self.produced, plan.tools)
        self.current = None
        self.steps.append(done)
        self.produced = done.response.messages
        extra = {**(finish.extra or {}), "data_stream": {"isContinued": False}} if finish.extra else None
        await self.emit([StepFinish(finish.reason, finish.usage, extra)])
        if plan.telemetry is not None:
            plan.telemetry.step_ended(done)
        await notify(plan.callbacks.on_step_finish, done)
        if step.may_continue(plan.tool_errors) and not await self.stopped():
            return True
        usage = total_usage([each.usage for each in self.steps])
        await self.emit([Finish(finish.reason, usage, finish.raw_reason, finish.extra)])
        return False

    async def stopped(self) -> bool:
        for condition in self.plan.stop_when:
            if await settle(condition(self.steps)):
                return True
        return False

    async def prepared(self, number: int) -> StepSettings:
        if self.plan.prepare_step is None:
            return StepSettings()
        outlook = StepOutlook(number, tuple(self.steps), (*self.messages, *self.produced), self.plan.model)
        changed = await settle(self.plan.prepare_step(outlook))
        if changed is None:
            return StepSettings()
        if isinstance(changed, Mapping):
            unknown = set(changed) - set(StepSettings.__struct_fields__)
            if unknown:
                known = ", ".join(StepSettings.__struct_fields__)
                raise InvalidRequest(f"prepare_step: unknown settings {', '.join(sorted(unknown))}; there are: {known}")
            return StepSettings(**changed)
        if isinstance(changed, StepSettings):
            return changed
        raise InvalidRequest(f"prepare_step: expected a mapping or StepSettings, got {type(changed).__name__}")

    def call(self, settings: StepSettings) -> calls.Call:
        plan = self.plan
        messages = (*self.messages, *self.produced)
        if settings.messages is not None:
            messages = prompt_of(settings.messages, None, None).messages
        if settings.system is not None:
            rest = tuple(message for message in messages if message.role not in ("system", "developer"))
            messages = (calls.Message("system", (calls.Text(settings.system),)), *rest)
        active = settings.active_tools if settings.active_tools is not None else plan.active_tools
        tools = plan.tools if active is None else {name: tool for name, tool in plan.tools.items() if name in active}
        choice = plan.tool_choice
        if settings.tool_choice is not None:
            choice = tool_choice_of(settings.tool_choice, tools)
        return replace(
            plan.call, messages=messages, tools=tuple(tool.declared() for tool in tools.values()),
            tool_choice=choice if tools else None,
        )  # fmt: skip

    def context(self, call: ToolCall) -> ToolContext:
        messages = (*self.messages, *self.produced)
        return ToolContext(call.id, call.name, messages, len(self.steps), self.plan.context)

    def step_start(self) -> StepStart:
        return StepStart(self.plan.new_id())

    @property
    def tools(self) -> dict[str, Tool]:
        return self.plan.tools


def takes_two(callback: Callable[..., Any]) -> bool:
    """Whether it can be called with two arguments; True when nobody knows."""
    try:
        inspect.signature(callback).bind(None, None)
    except ValueError:
        return True
    except TypeError:
        return False
    return True


EMPTY_TIMEOUT = Timeout()
