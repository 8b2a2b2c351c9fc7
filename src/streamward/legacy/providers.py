"""Streams of other providers: thin parsers from their SDKs' chunks, or their SSE, to text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from streamward.errors import InvalidRequest, UpstreamError, UpstreamInvalid
from streamward.legacy.callbacks import Callbacks, gather, tell
from streamward.legacy.sources import END, Source
from streamward.legacy.stream import FunctionParser, LegacyStream, Version
from streamward.wire import json_text
from streamward.wire.legacy import JS_WHITESPACE
from streamward.wire.ndjson import Reader as LineReader

Given = Callbacks | Mapping[str, Any] | None

HUGGINGFACE_ENDS = frozenset({"</s>", "<|endoftext|>", "<|end|>"})


def field(value: Any, *path: str | int) -> Any:
    """What lies at *path* in dicts, lists and objects; None where something is missing."""
    for key in path:
        if value is None:
            return None
        if isinstance(key, int):
            value = value[key] if isinstance(value, list | tuple) and len(value) > key else None
        else:
            value = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
    return value


def from_json(data: str | bytes) -> Any:
    try:
        return json_text.decode_answer(data.encode("utf-8", "replace") if isinstance(data, str) else data)
    except msgspec.DecodeError as exc:
        raise UpstreamInvalid(f"a frame of the provider's stream is not JSON: {exc}") from None


def text_stream(
    response: Any, given: Given, version: Version, named: Mapping[str, Any], of_object: Callable[[Any], str | None],
    of_data: Callable[..., str | None] | None = None,
) -> LegacyStream:  # fmt: skip
    parser = FunctionParser(of_data or (lambda data, _: of_object(from_json(data))), of_object)
    return LegacyStream(response, parser, gather(given, named), version=version)


def AnthropicStream(response: Any, callbacks: Given = None, *, version: Version = 3, **named: Any) -> LegacyStream:  # noqa: N802
    """Messages (``delta.text``) and the older Completions, whose texts may be cumulative."""
    previous = ""

    def of_data(data: str, _: Any) -> str | None:
        nonlocal previous
        value = from_json(data)
        if field(value, "error"):
            raise UpstreamError("the provider reported an error in its stream")
        text = field(value, "completion")
        if not isinstance(text, str):
            return string(field(value, "delta", "text"))
        if not previous or (len(text) > len(previous) and text.startswith(previous)):
            text, previous = text[len(previous) :], text
        return text

    def of_object(value: Any) -> str | None:
        text = field(value, "completion")
        return string(text if text is not None else field(value, "delta", "text"))

    return text_stream(response, callbacks, version, named, of_object, of_data)


def MistralStream(response: Any, callbacks: Given = None, *, version: Version = 3, **named: Any) -> LegacyStream:  # noqa: N802
    def of_object(value: Any) -> str | None:
        value = field(value, "data") or value
        return string(field(value, "choices", 0, "delta", "content"))

    return text_stream(response, callbacks, version, named, of_object)


def GoogleGenerativeAIStream(response: Any, callbacks: Given = None, *, version: Version = 3, **named: Any) -> LegacyStream:  # noqa: N802
    def of_object(value: Any) -> str | None:
        return string(field(value, "candidates", 0, "content", "parts", 0, "text"))

    return text_stream(field(response, "stream") or response, callbacks, version, named, of_object)


def HuggingFaceStream(response: Any, callbacks: Given = None, *, version: Version = 3, **named: Any) -> LegacyStream:  # noqa: N802
    """Tokens of text generation: white space at the start, end tokens and the closing summary are left out."""
    begun = False

    def of_object(value: Any) -> str | None:
        nonlocal begun
        text = string(field(value, "token", "text")) or ""
        if not begun:
            text = text.lstrip(JS_WHITESPACE)
            begun = bool(text)
        return None if field(value, "generated_text") or text in HUGGINGFACE_ENDS else text

    return text_stream(response, callbacks, version, named, of_object)


def CohereStream(response: Any, callbacks: Given = None, *, version: Version = 3, **named: Any) -> LegacyStream:  # noqa: N802
    """The SDK's events (``text-generation``), or its HTTP response of JSON lines."""

    def of_object(value: Any) -> str | None:
        kind = field(value, "eventType") or field(value, "event_type")
        if kind is not None:
            return string(field(value, "text")) if kind == "text-generation" else None
        return None if field(value, "is_finished") else string(field(value, "text"))

    return text_stream(JsonLines(response), callbacks, version, named, of_object)


class JsonLines(Source):
    """A source whose bytes are lines of JSON."""

    def __init__(self, response: Any) -> None:
        super().__init__(response)
        self.lines = LineReader()
        self.waiting: list[Any] = []
        self.drained = False

    async def read(self) -> Any:
        while not self.waiting:
            if self.drained:
                return END
            item = await super().read()
            self.drained = item is END
            if self.drained:
                self.waiting = self.lines.close()[::-1]
            elif isinstance(item, bytes):
                self.waiting = self.lines.feed(item)[::-1]
            else:
                return item
        return from_json(self.waiting.pop().data.decode("utf-8", "replace"))


def InkeepStream(response: Any, callbacks: Given = None, *, version: Version = 3, **named: Any) -> LegacyStream:  # noqa: N802
    """``message_chunk`` events; ``on_final(text, metadata)`` and ``on_records_cited(records)`` as in the AI SDK."""
    fields = {**(callbacks if isinstance(callbacks, Mapping) else {}), **named}
    on_cited = fields.pop("on_records_cited", None) or fields.pop("onRecordsCited", None)
    metadata: dict[str, Any] = {"chat_session_id": "", "records_cited": None}

    def of_data(data: str, options: Mapping[str, Any]) -> str | None:
        if options["event"] == "records_cited":
            metadata["records_cited"] = from_json(data)
            if on_cited is not None:
                on_cited(metadata["records_cited"])
        if options["event"] != "message_chunk":
            return None
        value = from_json(data)
        metadata["chat_session_id"] = field(value, "chat_session_id") or metadata["chat_session_id"]
        return string(field(value, "content_chunk"))

    known = callbacks if isinstance(callbacks, Callbacks) else gather(fields, {})
    final = known.on_final
    if final is not None:
        known = replace(known, on_final=lambda text: tell(final, text, metadata))
    return LegacyStream(response, FunctionParser(of_data), known, version=version)


def ReplicateStream(response: Any, callbacks: Given = None, *, version: Version = 3, **named: Any) -> LegacyStream:  # noqa: N802
    """The SSE response that was opened at a prediction's ``urls.stream``; each frame's data is text."""
    if field(response, "urls") is not None:
        raise InvalidRequest("ReplicateStream: open prediction.urls['stream'] with your HTTP client and pass its response")
    return text_stream(response, callbacks, version, named, string, lambda data, _: data)


def bedrock(path: tuple[str | int, ...]) -> Callable[..., LegacyStream]:
    """A helper for ``invoke_model_with_response_stream``; *path* leads to the text of a chunk."""

    def helper(response: Any, callbacks: Given = None, *, version: Version = 3, **named: Any) -> LegacyStream:
        def of_object(value: Any) -> str | None:
            data = field(value, "chunk", "bytes")
            return string(field(from_json(data), *path)) if data is not None else None

        return text_stream(field(response, "body") or response, callbacks, version, named, of_object)

    return helper


def string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


AWSBedrockAnthropicMessagesStream = bedrock(("delta", "text"))
AWSBedrockAnthropicStream = bedrock(("completion",))
AWSBedrockCohereStream = bedrock(("text",))
AWSBedrockLlama2Stream = bedrock(("generation",))
