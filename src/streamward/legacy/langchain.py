"""LangChain: its streams as data streams (``LangChainAdapter``), and callback handlers that write (``LangChainStream``)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from streamward.engine.response import StreamResponse, merged_headers
from streamward.legacy.callbacks import gather
from streamward.legacy.data import StreamData, WithData
from streamward.legacy.providers import Given, field, string
from streamward.legacy.response import ReadableBody
from streamward.legacy.sources import END
from streamward.legacy.stream import FunctionParser, LegacyStream, Piece, Readable, Version
from streamward.wire import data_stream

ROOM = 256
"""Tokens that wait for the client before the chain's handlers are held back."""


class Adapter:
    """Texts, message chunks or ``astream_events(version="v2")`` as a data stream of AI SDK 3 and 4."""

    def to_data_stream(self, stream: Any, callbacks: Given = None, **named: Any) -> LegacyStream:
        return LegacyStream(Flat(stream), FunctionParser(None), gather(callbacks, named), version=3)

    to_ai_stream = to_data_stream

    def to_data_stream_response(
        self, stream: Any, *, init: Mapping[str, Any] | None = None, data: StreamData | None = None, callbacks: Given = None,
        **named: Any,
    ) -> StreamResponse:  # fmt: skip
        """*init* has ``status`` and ``headers``; with *data* the response lasts until that is closed."""
        lines: Readable = self.to_data_stream(stream, callbacks, **named)
        if data is not None:
            lines = WithData(lines, data, 3)
        return StreamResponse(
            ReadableBody(lines), headers=merged_headers(data_stream.HEADERS, (init or {}).get("headers")),
            status=int((init or {}).get("status") or 200), keep_alive=data_stream.KEEP_ALIVE,
        )  # fmt: skip

    toDataStream, toAIStream, toDataStreamResponse = to_data_stream, to_data_stream, to_data_stream_response  # noqa: N815


class Flat:
    """An iterator over the texts of a LangChain stream; an item may hold several."""

    def __init__(self, stream: Any) -> None:
        from streamward.legacy.sources import Source

        self.source = Source(stream)
        self.waiting: list[str] = []

    def __aiter__(self) -> Flat:
        return self

    async def __anext__(self) -> Piece:
        while not self.waiting:
            item = await self.source.read()
            if item is END:
                raise StopAsyncIteration
            self.waiting = texts(item)[::-1]
        return Piece(self.waiting.pop())

    async def aclose(self) -> None:
        await self.source.aclose()


def texts(item: Any) -> list[str]:
    if isinstance(item, str):
        return [item]
    if field(item, "event") is not None:
        if field(item, "event") != "on_chat_model_stream":
            return []
        item = field(item, "data", "chunk")
    content = field(item, "content")
    if isinstance(content, str):
        return [content]
    found = [string(field(block, "text")) for block in content or () if field(block, "type") == "text"]
    return [text for text in found if text]


class Writer:
    """Where tokens are written; the stream reads them."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue(ROOM)
        self.closed = False

    async def write(self, text: str) -> None:
        if not self.closed:
            await self.queue.put(text)

    async def close(self) -> None:
        await self.end(END)

    async def abort(self, error: BaseException) -> None:
        await self.end(error)

    async def end(self, last: Any) -> None:
        if not self.closed:
            self.closed = True
            await self.queue.put(last)

    def __aiter__(self) -> Writer:
        return self

    async def __anext__(self) -> Piece:
        item = await self.queue.get()
        if item is END:
            raise StopAsyncIteration
        if isinstance(item, BaseException):
            raise item
        return Piece(str(item))

    async def aclose(self) -> None:
        """The reader left: the chain must not wait for it."""
        self.closed = True
        while not self.queue.empty():
            self.queue.get_nowait()


class Handlers:
    """Callback handlers that write to the stream. It ends when the outermost run has ended.

    Call them from your own LangChain handler, under LangChain's Python names or JavaScript's.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.runs: set[Any] = set()

    async def on_llm_new_token(self, token: str, **_: Any) -> None:
        await self.writer.write(token)

    async def start(self, _what: Any = None, _given: Any = None, run_id: Any = None, **_: Any) -> None:
        self.runs.add(run_id)

    async def end(self, _output: Any = None, run_id: Any = None, **_: Any) -> None:
        self.runs.discard(run_id)
        if not self.runs:
            await self.writer.close()

    async def error(self, error: BaseException, run_id: Any = None, **_: Any) -> None:
        self.runs.discard(run_id)
        await self.writer.abort(error)

    on_llm_start = on_chat_model_start = on_chain_start = on_tool_start = start
    on_llm_end = on_chain_end = on_tool_end = end
    on_llm_error = on_chain_error = on_tool_error = error
    handleLLMNewToken = on_llm_new_token  # noqa: N815
    handleLLMStart = handleChainStart = handleToolStart = start  # noqa: N815
    handleLLMEnd = handleChainEnd = handleToolEnd = end  # noqa: N815
    handleLLMError = handleChainError = handleToolError = error  # noqa: N815


class LangChainStream:
    """``stream`` for a response, ``handlers`` for the chain's callbacks, ``writer`` to write by hand."""

    def __init__(self, callbacks: Given = None, *, version: Version = 3, **named: Any) -> None:
        self.writer = Writer()
        self.handlers = Handlers(self.writer)
        self.stream = LegacyStream(self.writer, FunctionParser(None), gather(callbacks, named), version=version)


LangChainAdapter = Adapter()
