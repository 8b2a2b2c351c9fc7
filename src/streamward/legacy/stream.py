"""The stream that all helpers return: pieces of text from a provider, told to the callbacks, sent as bytes.

AI SDK 2 sends plain text, or lines (``0:"text"``) in complex mode; AI SDK 3 always sends lines. Bytes are
``streamward.wire.legacy``'s. A stream is read once, asynchronously or not; closing it closes the provider's connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol, TypeAlias

from msgspec import Struct

from streamward.engine.portal import PORTAL
from streamward.errors import InvalidRequest
from streamward.legacy.callbacks import Callbacks, gather, tell
from streamward.legacy.calls import CallBuffer
from streamward.legacy.sources import END, Frames, Source
from streamward.wire import legacy as wire
from streamward.wire.sse import Frame

Version = Literal[2, 3]


class Piece(Struct, frozen=True):
    """A piece of output; ``is_text`` is false for the JSON text of function calls."""

    text: str
    is_text: bool = True


class Parser(Protocol):
    """From an item to its text."""

    finished: bool
    """The provider said that it was done."""

    def read(self, item: Any) -> Piece | None: ...


Again: TypeAlias = "Callable[[Any, list[dict[str, Any]]], LegacyStream]"
"""From a handler's answer, and the messages so far, to the stream that goes on."""


class Readable(Protocol):
    """What responses send."""

    async def read(self) -> bytes | None:
        """The next bytes, None at the end."""

    async def aclose(self) -> None: ...


class LegacyStream:
    """Bytes for a hook of AI SDK 2 or 3. ``async for`` or ``for`` over it, or give it to a response."""

    def __init__(
        self, response: Any, parser: Parser, callbacks: Callbacks, *, version: Version, truthful: bool = False,
        messages: list[dict[str, Any]] | None = None, again: Again | None = None,
    ) -> None:  # fmt: skip
        if version not in (2, 3):
            raise InvalidRequest(f"version: the helpers have 2 and 3, got {version!r}", param="version")
        self.version = version
        self.lines = version == 3 or callbacks.experimental_stream_data
        self.callbacks = callbacks
        self.frames = Frames(response if isinstance(response, Source) else Source(response), truthful=truthful)
        self.parser = parser
        self.calls = CallBuffer(callbacks, messages or []) if callbacks.handles_calls else None
        self.again = again
        self.inner: LegacyStream | None = None
        self.told: list[str] = []
        self.started = False
        self.over = False

    async def read(self) -> bytes | None:
        """The next bytes, None at the end. An error of the provider or of a callback is raised, the connection closed."""
        try:
            while not self.over:
                data = await self.step()
                if data:
                    return data
        except BaseException:
            await self.aclose()
            raise
        return None

    async def step(self) -> bytes | None:
        if self.inner is not None:
            data = await self.inner.read()
            self.over = data is None
            return data
        if not self.started:
            self.started = True
            await tell(self.callbacks.on_start)
        item = await self.frames.read()
        if item is END:
            return await self.finish()
        piece = self.parser.read(item)
        self.frames.finished = self.parser.finished
        if piece is None or not piece.text:
            return None
        return await self.send(piece)

    async def send(self, piece: Piece) -> bytes | None:
        self.told.append(piece.text)
        await tell(self.callbacks.on_token, piece.text)
        if piece.is_text and self.version == 3:
            await tell(self.callbacks.on_text, piece.text)
        if self.calls is not None and self.calls.take(piece.text):
            return None
        return self.encoded(piece.text)

    def encoded(self, text: str) -> bytes:
        return wire.format_line("text", text) if self.lines else text.encode("utf-8", "replace")

    async def finish(self) -> bytes | None:
        """After the provider's last item: the callbacks, and what the handlers of calls make of them."""
        whole, calls, callbacks = "".join(self.told), self.calls, self.callbacks
        await self.frames.source.aclose()
        await tell(callbacks.on_completion, whole)
        if calls is None or not calls.pieces:
            self.over = True
            if whole or calls is None:
                await tell(callbacks.on_final, whole)
            return None
        answer = await calls.answer()
        if answer is None:
            self.over = True
            await tell(callbacks.on_final, whole)
            return self.forwarded(calls)
        if isinstance(answer, str):
            self.over = True
            await tell(callbacks.on_final, answer)
            return self.encoded(answer)
        assert self.again is not None  # only helpers that have it take handlers
        self.inner = self.again(answer, calls.messages)
        return None

    def forwarded(self, calls: CallBuffer) -> bytes:
        """Calls that no handler answered: for the browser to make."""
        if not self.lines:
            return calls.text.encode("utf-8", "replace")
        payload = calls.payload
        return wire.format_line("function_call" if "function_call" in payload else "tool_calls", payload)

    async def aclose(self) -> None:
        """Close the provider's connection. Any number of times."""
        self.over = True
        if self.inner is not None:
            await self.inner.aclose()
        await self.frames.source.aclose()

    def __aiter__(self) -> LegacyStream:
        return self

    async def __anext__(self) -> bytes:
        data = await self.read()
        if data is None:
            raise StopAsyncIteration
        return data

    def __iter__(self) -> Iterator[bytes]:
        return SyncReader(self)


class SyncReader:
    """A readable for callers without an event loop."""

    def __init__(self, stream: Readable) -> None:
        self.stream = stream

    def __iter__(self) -> SyncReader:
        return self

    def __next__(self) -> bytes:
        data = PORTAL.call(self.stream.read())
        if data is None:
            raise StopIteration
        return data

    def close(self) -> None:
        PORTAL.call(self.stream.aclose())


class FunctionParser:
    """A parser for ``AIStream``: ``parser(data, {"event": name})`` for frames, *of_object* for objects."""

    finished = False

    def __init__(
        self, of_data: Callable[..., str | None] | None, of_object: Callable[[Any], str | None] | None = None
    ) -> None:
        self.of_data = of_data
        self.of_object = of_object

    def read(self, item: Any) -> Piece | None:
        if isinstance(item, Piece):
            return item
        if isinstance(item, Frame):
            data = item.data.decode("utf-8", "replace")
            text = data if self.of_data is None else self.of_data(data, {"event": item.event or None})
        else:
            text = self.of_object(item) if self.of_object is not None else item
        return Piece(text) if isinstance(text, str) and text else None


def AIStream(  # noqa: N802 - the AI SDK's name
    response: Any, parser: Callable[..., str | None] | None = None, callbacks: Callbacks | Mapping[str, Any] | None = None,
    *, version: Version = 3, **named: Any,
) -> LegacyStream:  # fmt: skip
    """Any SSE response as a stream: *parser* makes text of each frame's data (``parser(data, {"event": name})``); what it
    returns empty is skipped. ``[DONE]`` or an event ``done`` ends it; a response that is no success is an error."""
    return LegacyStream(response, FunctionParser(parser), gather(callbacks, named), version=version)
