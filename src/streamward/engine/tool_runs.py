"""Running the tools of one step: all at once, results in the order they come.

Coroutines run on the event loop, plain functions in threads, generators give preliminary results before the last one.
What a tool raises becomes a ToolError; nothing here fails.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from streamward.engine.tools import Tool, ToolContext
from streamward.events import Event, ToolCall, ToolError, ToolResult

END = object()


class ToolRuns:
    """The running tools of one step. ``take`` what they gave whenever ``changed`` is set."""

    def __init__(self, wrap: Callable[[ToolCall, Awaitable[Any]], Awaitable[Any]] | None = None) -> None:
        self.tasks: dict[asyncio.Task[None], ToolContext] = {}
        self.given: list[Event] = []
        self.changed = asyncio.Event()
        self.wrap = wrap

    @property
    def busy(self) -> bool:
        return bool(self.tasks) or bool(self.given)

    def start(self, tool: Tool, call: ToolCall, arguments: Any, context: ToolContext) -> None:
        work: Awaitable[Any] = self.run(tool, call, arguments, context)
        if self.wrap is not None:
            work = self.wrap(call, work)
        task = asyncio.ensure_future(work)
        task.set_name(f"tool {tool.name}")
        self.tasks[task] = context
        task.add_done_callback(self.done)

    def take(self) -> list[Event]:
        """What came since the last time."""
        given, self.given = self.given, []
        self.changed.clear()
        return given

    async def wait(self) -> list[Event]:
        """The next results; empty once all tools are done."""
        while not self.given and self.tasks:
            self.changed.clear()
            await self.changed.wait()
        return self.take()

    def cancel(self) -> None:
        """Stop all of them at once. Threads cannot be stopped: they are told, and their results dropped."""
        for task, context in list(self.tasks.items()):
            context.cancelled.set()
            task.cancel()
        self.given = []

    def done(self, task: asyncio.Task[None]) -> None:
        self.tasks.pop(task, None)
        if not task.cancelled():
            task.exception()  # looked at, so that it is not reported as never retrieved
        self.changed.set()

    def give(self, event: Event) -> None:
        self.given.append(event)
        self.changed.set()

    async def run(self, tool: Tool, call: ToolCall, arguments: Any, context: ToolContext) -> None:
        last: Any = None
        try:
            last = await self.execute(tool, call, arguments, context)
        except asyncio.CancelledError:
            if context.cancelled.is_set():
                raise
            self.give(failed(call, tool, "the tool was cancelled"))
        except Exception as exc:
            self.give(failed(call, tool, message_of(exc)))
        else:
            self.give(ToolResult(call.id, call.name, last, call.input, dynamic=tool.dynamic))

    async def execute(self, tool: Tool, call: ToolCall, arguments: Any, context: ToolContext) -> Any:
        execute = tool.execute
        assert execute is not None
        keywords = dict(arguments) if tool.spread else {}
        if tool.context_parameter is not None:
            keywords[tool.context_parameter] = context
        positional = () if tool.spread else (arguments,)
        if on_the_loop(execute):
            value = execute(*positional, **keywords)
        else:
            value = await asyncio.to_thread(execute, *positional, **keywords)
        if inspect.isawaitable(value):
            return await value
        if isinstance(value, AsyncIterator):
            return await self.preliminary(tool, call, value)
        if inspect.isgenerator(value):
            return await self.preliminary(tool, call, Threaded(value))
        return value

    async def preliminary(self, tool: Tool, call: ToolCall, values: AsyncIterator[Any]) -> Any:
        """Give each value as a preliminary result; the last one is the result."""
        last: Any = None
        async for last in values:
            self.give(ToolResult(call.id, call.name, last, call.input, preliminary=True, dynamic=tool.dynamic))
        return last


class Threaded:
    """A plain generator whose steps run in threads."""

    def __init__(self, values: Iterator[Any]) -> None:
        self.values = values

    def __aiter__(self) -> Threaded:
        return self

    async def __anext__(self) -> Any:
        value = await asyncio.to_thread(next, self.values, END)
        if value is END:
            raise StopAsyncIteration
        return value


def on_the_loop(execute: Callable[..., Any]) -> bool:
    """Whether calling it does not block: coroutine functions and asynchronous generators only make an object."""
    found: Any = execute
    while isinstance(found, functools.partial):
        found = found.func
    if not inspect.isroutine(found):
        found = type(found).__call__
    return inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found) or inspect.isgeneratorfunction(found)


def failed(call: ToolCall, tool: Tool, message: str) -> ToolError:
    return ToolError(call.id, call.name, message, call.input, dynamic=tool.dynamic)


def message_of(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__
