"""``OpenAIStream``: Chat Completions and Completions, from the real ``openai`` SDK, an HTTP response or raw SSE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from streamward.errors import UpstreamError, UpstreamInvalid
from streamward.legacy.callbacks import Callbacks, gather
from streamward.legacy.stream import LegacyStream, Piece, Version
from streamward.wire import json_text
from streamward.wire.legacy import ChunkText
from streamward.wire.sse import Frame


class ChunkParser:
    """From chunks (frames, dicts, objects of the SDK) to pieces."""

    def __init__(self) -> None:
        self.text = ChunkText()
        self.finished = False

    def read(self, item: Any) -> Piece | None:
        chunk = plain_chunk(item)
        if chunk.get("error"):
            raise UpstreamError("the provider reported an error in its stream")
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict) and choices[0].get("finish_reason"):
            self.finished = True
        text, is_text = self.text.read(chunk)
        return Piece(text, is_text) if text else None


def plain_chunk(item: Any) -> dict[str, Any]:
    """The chunk as a dict, whatever brought it."""
    if isinstance(item, Frame):
        try:
            item = json_text.decode_answer(item.data)
        except msgspec.DecodeError as exc:
            raise UpstreamInvalid(f"a frame of the provider's stream is not JSON: {exc}") from None
    elif hasattr(item, "model_dump"):
        item = item.model_dump()
    if not isinstance(item, Mapping):
        raise UpstreamInvalid(f"expected a chunk, got {type(item).__name__}")
    return dict(item)


def OpenAIStream(  # noqa: N802 - the AI SDK's name
    response: Any, callbacks: Callbacks | Mapping[str, Any] | None = None, *, version: Version = 3, **named: Any
) -> LegacyStream:
    """The answer of Chat Completions as a stream for ``ai/react``.

    *response*: a stream of the ``openai`` SDK (sync, async, or not awaited yet), an httpx, requests or aiohttp response,
    SSE as bytes or an iterable of bytes, or an iterable of chunks. Callbacks by name, ``on_token`` or ``onToken``.

    With ``experimental_on_function_call(call, create_messages)`` or ``experimental_on_tool_call(calls, append_message)``
    calls are held back and handed over; what the handler returns goes on: a response (streamed, its calls handled in
    turn), a text, or None (then the browser gets the call).
    """
    return openai_stream(response, gather(callbacks, named), version, [])


def openai_stream(
    response: Any, callbacks: Callbacks, version: Version, messages: list[dict[str, Any]]
) -> LegacyStream:
    def again(next_response: Any, next_messages: list[dict[str, Any]]) -> LegacyStream:
        return openai_stream(next_response, replace(callbacks, on_start=None), version, next_messages)

    return LegacyStream(
        response, ChunkParser(), callbacks, version=version, truthful=True, messages=messages, again=again
    )
