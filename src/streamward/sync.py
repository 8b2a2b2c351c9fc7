"""The SDK without an event loop in sight: the same names, plain iterators and properties.

    from streamward.sync import stream_text

    for text in stream_text("demo/chat", prompt="Hi").text_stream:
        print(text, end="")

One background event loop serves all of them; functions that are tools run in threads. Leaving a loop, ``stop()`` and
dropping the result close the connection to the provider, as in the asynchronous SDK. Callbacks run on the background
loop, so they must not block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from streamward.call import Message
from streamward.client.sync import SyncClient as Client
from streamward.client.sync_chat import SyncChat as Chat
from streamward.engine import object as objects
from streamward.engine import text as texts
from streamward.engine.mcp import McpServer
from streamward.engine.mcp import mcp_tools as async_mcp_tools
from streamward.engine.model import Model
from streamward.engine.plan import generate_id
from streamward.engine.portal import PORTAL
from streamward.engine.response import StreamResponse
from streamward.engine.result import Generated, StreamResult
from streamward.engine.steps import Partial, Response, Step, has_tool_call, step_count_is
from streamward.engine.tools import Tool, tool
from streamward.engine.transforms import smooth_stream
from streamward.engine.views import View, ViewIterator
from streamward.events import Event, File, FinishReason, Source, ToolCall, ToolDenied, ToolError, ToolResult, Usage

T = TypeVar("T")

__all__ = [
    "Chat",
    "Client",
    "SyncResult",
    "generate_id",
    "generate_object",
    "generate_text",
    "has_tool_call",
    "mcp_tools",
    "smooth_stream",
    "step_count_is",
    "stream_object",
    "stream_text",
    "tool",
]


class SyncView(Generic[T]):
    """Iterate over it as often as you like; each time from the beginning."""

    def __init__(self, view: View[T, Any]) -> None:
        self.view = view

    def __iter__(self) -> SyncIterator[T]:
        return SyncIterator(self.view)


class SyncIterator(Generic[T]):
    """A plain iterator; dropping it (as leaving a loop does) stops a generation that nobody else reads."""

    def __init__(self, view: View[T, Any]) -> None:
        iterator = view.__aiter__()
        assert isinstance(iterator, ViewIterator)
        self.iterator: ViewIterator[T] = iterator
        self.items: list[T] = []

    def __iter__(self) -> SyncIterator[T]:
        return self

    def __next__(self) -> T:
        if not self.items:
            try:
                self.items = PORTAL.call(self.iterator.batch())
            except BaseException:  # Ctrl-C too: the wait was cancelled, and with it the generation
                self.close()
                raise
            if not self.items:
                raise StopIteration
            self.items.reverse()
        return self.items.pop()

    def close(self) -> None:
        """Leave early."""
        PORTAL.call(self.iterator.aclose())


class SyncResult(Generic[T]):
    """A generation, as :class:`streamward.StreamResult`; its properties run it to its end and give the values."""

    def __init__(self, result: StreamResult[T]) -> None:
        self.result = result

    def __iter__(self) -> Iterator[Event]:
        return SyncIterator(self.result.full_stream)

    @property
    def full_stream(self) -> SyncView[Event]:
        return SyncView(self.result.full_stream)

    @property
    def text_stream(self) -> SyncView[str]:
        return SyncView(self.result.text_stream)

    @property
    def reasoning_stream(self) -> SyncView[str]:
        return SyncView(self.result.reasoning_stream)

    @property
    def partial_stream(self) -> SyncView[Any]:
        return SyncView(self.result.partial_stream)

    @property
    def element_stream(self) -> SyncView[Any]:
        return SyncView(self.result.element_stream)

    @property
    def generated(self) -> Generated[T]:
        """All of it as one value."""
        return PORTAL.call(awaited(self.result.generated))

    @property
    def text(self) -> str:
        return self.generated.text

    @property
    def reasoning(self) -> str:
        return self.generated.reasoning

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        return self.generated.tool_calls

    @property
    def tool_results(self) -> tuple[ToolResult | ToolError | ToolDenied, ...]:
        return self.generated.tool_results

    @property
    def finish_reason(self) -> FinishReason | None:
        return self.generated.finish_reason

    @property
    def raw_finish_reason(self) -> str | None:
        return self.generated.last.raw_finish_reason

    @property
    def usage(self) -> Usage | None:
        return self.generated.usage

    @property
    def total_usage(self) -> Usage | None:
        return self.generated.total_usage

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.generated.steps

    @property
    def response(self) -> Response:
        return self.generated.response

    @property
    def messages(self) -> tuple[Message, ...]:
        return self.generated.messages

    @property
    def sources(self) -> tuple[Source, ...]:
        return self.generated.sources

    @property
    def files(self) -> tuple[File, ...]:
        return self.generated.files

    @property
    def object(self) -> T:
        return self.generated.object

    @property
    def aborted(self) -> bool:
        return self.result.aborted

    @property
    def partial(self) -> Partial:
        return self.result.partial

    def consume(self) -> None:
        PORTAL.call(self.result.consume())

    def stop(self, reason: str = "stopped") -> None:
        """Stop now; the connection to the provider is closed before this returns. May be called from any thread."""
        PORTAL.call(self.stopped(reason))

    async def stopped(self, reason: str) -> None:
        self.result.stop(reason)

    def close(self) -> None:
        self.stop("closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop("left")

    def to_text_stream(self) -> Iterator[bytes]:
        """The body of :meth:`to_text_stream_response`; close it to stop early."""
        return self.to_text_stream_response().iter_bytes()

    def to_data_stream(self, **options: Any) -> Iterator[bytes]:
        return self.to_data_stream_response(**options).iter_bytes()

    def to_ui_message_stream(self, **options: Any) -> Iterator[bytes]:
        return self.to_ui_message_stream_response(**options).iter_bytes()

    def to_text_stream_response(self, **options: Any) -> StreamResponse:
        response: StreamResponse = self.result.to_text_stream_response(**options)
        return response

    def to_data_stream_response(self, **options: Any) -> StreamResponse:
        response: StreamResponse = self.result.to_data_stream_response(**options)
        return response

    def to_ui_message_stream_response(self, **options: Any) -> StreamResponse:
        response: StreamResponse = self.result.to_ui_message_stream_response(**options)
        return response


async def awaited(later: Any) -> Any:
    return await later


def stream_text(model: str | Model, **settings: Any) -> SyncResult[Any]:
    """:func:`streamward.stream_text` with the same settings."""
    return SyncResult(texts.stream_text(model, **settings))


def generate_text(model: str | Model, **settings: Any) -> Generated[Any]:
    """:func:`streamward.generate_text` with the same settings."""
    return PORTAL.call(texts.generate_text(model, **settings))


def stream_object(model: str | Model, *, schema: Any = None, **settings: Any) -> SyncResult[Any]:
    """:func:`streamward.stream_object` with the same settings."""
    return SyncResult(objects.stream_object(model, schema=schema, **settings))


def generate_object(model: str | Model, *, schema: Any = None, **settings: Any) -> Generated[Any]:
    """:func:`streamward.generate_object` with the same settings."""
    return PORTAL.call(objects.generate_object(model, schema=schema, **settings))


class SyncMcpServer:
    """An MCP server as tools, in a plain ``with``."""

    def __init__(self, server: McpServer) -> None:
        self.server = server
        self.holder: asyncio.Task[None] | None = None

    def __enter__(self) -> SyncMcpServer:
        PORTAL.call(self.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        PORTAL.call(self.close())

    async def open(self) -> None:
        self.leave = asyncio.Event()
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.holder = asyncio.create_task(self.hold(opened), name="streamward mcp")
        await opened

    async def hold(self, opened: asyncio.Future[None]) -> None:
        """Open and close in one task, as the mcp package's task groups demand."""
        try:
            async with self.server:
                opened.set_result(None)
                await self.leave.wait()
        except Exception as exc:
            if opened.done():
                raise
            opened.set_exception(exc)

    async def close(self) -> None:
        self.leave.set()
        if self.holder is not None:
            await self.holder

    def tools(self) -> list[Tool]:
        return PORTAL.call(self.server.tools())


def mcp_tools(target: Any, **options: Any) -> SyncMcpServer:
    """:func:`streamward.mcp_tools` in a plain ``with``."""
    return SyncMcpServer(async_mcp_tools(target, **options))
