"""What a provider's SDK or HTTP client returned, as items that are pulled one by one and can be closed at any moment.

Items are bytes of an SSE body (httpx, requests and aiohttp responses, iterables of bytes) or objects (streams of the
``openai`` SDK and its like, iterables of dicts). Plain iterators are advanced in a thread. Not here: what the items say.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable
from typing import Any

from streamward.errors import InvalidRequest, StreamTruncated, UpstreamError
from streamward.wire.sse import Frame, Reader

END = object()
ERROR_TEXT_BYTES = 2000
"""What of an error body goes into the exception; browsers never see it."""


class Source:
    """The items of *response*. Nothing is read before the first ``read``."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.iterator: Any = None
        self.pull: Callable[[], Any] | None = None
        self.closers: list[Callable[[], Any]] = []
        self.closed = False

    async def read(self) -> Any:
        """The next item, END after the last."""
        if self.closed:
            return END
        if self.pull is None:
            await self.open()
        assert self.pull is not None
        return await self.pull()

    async def open(self) -> None:
        response = self.response
        if inspect.isawaitable(response):
            response = self.response = await response
        iterable, ok = body_of(response)
        closers = (getattr(response, name, None) for name in ("aclose", "close", "release"))
        self.closers = [close for close in closers if callable(close)][:1]
        self.follow(iterable)
        if not ok:
            assert self.pull is not None
            first = await self.pull()
            text = first[:ERROR_TEXT_BYTES].decode("utf-8", "replace") if isinstance(first, bytes) else "No response body"
            raise UpstreamError(f"Response error: {text}")

    def follow(self, iterable: Any) -> None:
        if hasattr(iterable, "__aiter__"):
            self.iterator = iterable.__aiter__()
            self.pull = self.pull_async
        elif hasattr(iterable, "__iter__"):
            self.iterator = iter(iterable)
            self.pull = self.pull_here if isinstance(iterable, list | tuple) else self.pull_in_thread
        else:
            raise InvalidRequest(
                f"expected a stream, a response or an iterable of chunks, got {type(iterable).__name__}", param="response"
            )

    async def pull_async(self) -> Any:
        try:
            return await self.iterator.__anext__()
        except StopAsyncIteration:
            return END

    async def pull_here(self) -> Any:
        return next(self.iterator, END)

    async def pull_in_thread(self) -> Any:
        return await asyncio.to_thread(next, self.iterator, END)

    async def aclose(self) -> None:
        """Close the provider's connection. Any number of times."""
        if self.closed:
            return
        self.closed = True
        if inspect.iscoroutine(self.response):
            self.response.close()
            return
        interrupt(self.response)
        for close in self.closers:
            result = await asyncio.to_thread(close) if self.threaded else close()
            if inspect.isawaitable(result):
                await result
        if not self.closers and hasattr(self.iterator, "aclose"):
            await self.iterator.aclose()

    @property
    def threaded(self) -> bool:
        return self.pull == self.pull_in_thread


def body_of(response: Any) -> tuple[Any, bool]:
    """What to iterate over, and whether it is a success."""
    if isinstance(response, bytes | bytearray | str):
        return [response.encode() if isinstance(response, str) else bytes(response)], True
    if hasattr(response, "aiter_bytes") and hasattr(response, "is_success"):  # httpx
        asynchronous = hasattr(getattr(response, "stream", None), "__aiter__")
        return (response.aiter_bytes() if asynchronous else response.iter_bytes()), bool(response.is_success)
    if hasattr(response, "iter_content"):  # requests
        return response.iter_content(chunk_size=None), bool(response.ok)
    if hasattr(getattr(response, "content", None), "iter_any"):  # aiohttp
        return response.content.iter_any(), bool(response.ok)
    return response, True


def interrupt(response: Any) -> None:
    """Wake a thread that waits for the next bytes: closing alone leaves it blocked in ``recv``."""
    inner = getattr(response, "response", response)  # the SDKs' streams keep their HTTP response
    extensions = getattr(inner, "extensions", None)
    network = extensions.get("network_stream") if isinstance(extensions, dict) else None
    if network is None or not hasattr(network, "get_extra_info") or hasattr(inner.stream, "__aiter__"):
        return
    sock = network.get_extra_info("socket")
    if isinstance(sock, socket.socket):
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the provider was faster


class Frames:
    """The items of a source with SSE bodies cut into frames. ``[DONE]`` or an event ``done`` ends them.

    An SSE body that stops without an end marker was cut off: that is an error, never an end (*truthful*).
    """

    def __init__(self, source: Source, *, truthful: bool = False) -> None:
        self.source = source
        self.truthful = truthful
        self.reader = Reader(flush_at_end=True)
        self.waiting: list[Frame] = []
        self.binary = False
        self.ended = False
        self.finished = False
        """The parser has seen the provider's own end (a finish reason)."""

    async def read(self) -> Any:
        """The next frame or object; END after the last."""
        while not self.ended:
            if self.waiting:
                frame = self.waiting.pop()
                if frame.data == b"[DONE]" or frame.event == "done":
                    self.ended = True
                    break
                return frame
            item = await self.source.read()
            if item is END:
                self.at_end()
            elif isinstance(item, bytes | bytearray | memoryview | str):
                self.binary = True
                self.waiting = self.reader.feed(item.encode() if isinstance(item, str) else bytes(item))[::-1]
            else:
                return item
            if self.reader.error is not None:
                raise UpstreamError(self.reader.error.message)
        return END

    def at_end(self) -> None:
        self.waiting = self.reader.close()[::-1]
        if self.waiting:
            return
        self.ended = True
        if self.truthful and self.binary and not self.finished:
            raise StreamTruncated("the provider's stream stopped without an end marker")
