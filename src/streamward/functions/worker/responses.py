"""From what a function returned to frames on its link: values, iterators, ASGI-callable objects."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeGuard

from streamward.functions import link
from streamward.functions.worker.channel import Channel
from streamward.functions.worker.context import Invocation
from streamward.functions.worker.threads import run_in_own_thread

TEXT = b"text/plain; charset=utf-8"
OCTETS = b"application/octet-stream"
JSON = b"application/json"
CLOSING_S = 5.0  # clean-up of a generator after its client has gone
FLUSH_FRAME = link.frame(link.FLUSH)


class BadValue(TypeError):
    """The function returned or yielded something that is no response."""


def chunk_bytes(item: object) -> bytes:
    if isinstance(item, str):
        return item.encode("utf-8", "replace")
    if isinstance(item, bytes | bytearray | memoryview):
        return bytes(item)
    raise BadValue(f"the function yielded {type(item).__name__}, expected str or bytes")


def fields(content_type: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", content_type)]


def whole_value(channel: Channel, value: object, content_type: str | None) -> bytes | None:
    """The complete answer for a plain value, or None when *value* is of another kind."""
    own = content_type.encode("latin-1") if content_type else None
    if value is None:
        return channel.head(204, [], None) + channel.end()
    if isinstance(value, str):
        return channel.whole(200, fields(own or TEXT), value.encode("utf-8", "replace"))
    if isinstance(value, bytes | bytearray | memoryview):
        return channel.whole(200, fields(own or OCTETS), bytes(value))
    if isinstance(value, dict | list):
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        return channel.whole(200, fields(JSON), data)
    return None


async def respond(invocation: Invocation, value: object, content_type: str | None) -> None:
    """Send *value* as the response. Raises BadValue when it is none."""
    channel = invocation.channel
    whole = whole_value(channel, value, content_type)
    if whole is not None:
        channel.write(whole)
        await channel.drain()
    elif is_asgi(value):
        from streamward.functions.worker.asgi import run_asgi

        await run_asgi(invocation, value, asked=True)
    elif isinstance(value, AsyncIterator) or hasattr(value, "__aiter__"):
        await stream_async(invocation, value, stream_type(content_type))
    elif isinstance(value, Iterator) or (hasattr(value, "__iter__") and not isinstance(value, tuple | set)):
        await run_in_own_thread(invocation, lambda: stream_sync(channel, value, stream_type(content_type)))
    else:
        raise BadValue(f"the function returned {type(value).__name__}, which is no response")


def stream_type(content_type: str | None) -> bytes:
    return content_type.encode("latin-1") if content_type else TEXT


def is_asgi(value: object) -> TypeGuard[Callable[..., Any]]:
    """Whether *value* is a response object that can be called as an ASGI application."""
    if isinstance(value, type) or not callable(value) or inspect.isroutine(value):
        return False
    call: Callable[..., Any] = type(value).__call__
    return inspect.iscoroutinefunction(call) and len(inspect.signature(call).parameters) >= 4


def send_item(channel: Channel, item: object) -> bytes:
    data = chunk_bytes(item)
    return channel.body(data) if data else FLUSH_FRAME


async def stream_async(invocation: Invocation, source: Any, content_type: bytes) -> None:
    """Send each item as it comes; the source is closed at once when the client leaves."""
    channel = invocation.channel
    iterator = source.__aiter__()
    try:
        channel.write(channel.head(200, fields(content_type)))
        async for item in iterator:
            channel.write(send_item(channel, item))
            await channel.pace()
        channel.write(channel.end())
        await channel.drain()
    finally:
        await close_async(iterator)


async def close_async(iterator: Any) -> None:
    """``aclose`` with a limit; a second cancellation does not interrupt it half-way."""
    close = getattr(iterator, "aclose", None)
    if close is None:
        return
    async with asyncio.timeout(CLOSING_S):
        await close()


def stream_sync(channel: Channel, source: Any, content_type: bytes) -> None:
    """Send each item from this thread; returns quietly when the client leaves, the source closed."""
    iterator = iter(source)
    try:
        channel.write_blocking(channel.head(200, fields(content_type)))
        for item in iterator:
            channel.write_blocking(send_item(channel, item))
            if channel.closed:
                return
        channel.write_blocking(channel.end())
    except BrokenPipeError:
        if not channel.closed:
            raise
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
