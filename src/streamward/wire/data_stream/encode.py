"""Events to the data stream protocol of AI SDK 4 (v1, sixteen part codes) and 3.4: one line ``code:JSON`` each.

A line is always written whole: clients wait for the line feed of the last byte they got, then parse every line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from streamward.events import (
    Abort,
    Data,
    Error,
    Event,
    File,
    Finish,
    Metadata,
    ReasoningDelta,
    ReasoningEnd,
    RefusalDelta,
    Source,
    StepFinish,
    StepStart,
    TextDelta,
    TextStart,
    ToolCall,
    ToolDenied,
    ToolError,
    ToolInputDelta,
    ToolInputStart,
    ToolResult,
    Usage,
    Vendor,
)  # fmt: skip
from streamward.wire import masking
from streamward.wire.js_json import encode

NAME = "data_stream"
"""Dialect name: key of this dialect's fields in ``extra``, and of its Vendor events (``name`` is the part code)."""

HEADERS: dict[str, str] = {
    "content-type": "text/plain; charset=utf-8",
    "x-vercel-ai-data-stream": "v1",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}
"""The first two as the AI SDK sends them; the others keep proxies from buffering."""

KEEP_ALIVE = b"\n"
"""Clients skip empty lines."""

TRUNCATED = "the stream ended without saying that it was finished"

Number: TypeAlias = Literal[3, 4]


class Version(Struct, frozen=True, kw_only=True):
    """What differs between the versions; the defaults are version 4."""

    codes: frozenset[str] = frozenset("02389abcdefghijk")
    """Parts the client knows; it throws on any other."""
    error_text: masking.ErrorText = masking.mask


VERSIONS: dict[int, Version] = {
    3: Version(codes=frozenset("02389abcde"), error_text=masking.mask_empty),
    4: Version(),
}


class Options(Struct, frozen=True, kw_only=True):
    """What is sent, and to which version."""

    version: Number = 4
    send_usage: bool = True
    send_reasoning: bool = False
    send_sources: bool = False
    send_finish: bool = True
    tool_call_streaming: bool = False
    """Send arguments while they are generated (``b`` and ``c`` parts)."""
    message_id: str | None = None
    """Id of the first step's message when its StepStart has none; later steps append their number."""
    error_text: masking.ErrorText | None = None
    terminal: bool = True
    """False for a stream of data only: it may end without a terminal event."""


class Encoder:
    """Stage from events to lines; every list item is one whole line.

    After an Abort ``breaks_body`` is set: the AI SDK 4 tells its client about an abort by breaking the body off, and
    whoever writes the response should do the same instead of ending it.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.codes = VERSIONS[self.options.version].codes
        self.error_text = self.options.error_text or VERSIONS[self.options.version].error_text
        self.breaks_body = False
        self.ended = False
        self.in_step = False
        self.steps = 0
        self.usages: list[Usage | None] = []  # of the finished steps
        self.failed_calls: set[str] = set()

    def feed(self, item: Event) -> list[bytes]:
        if type(item) is TextDelta:
            if not item.delta:
                return []
            out = b"0:%b\n" % encode(item.delta)
            return [out] if self.in_step else [*self.step_open(), out]
        handler = HANDLERS.get(type(item))
        return handler(self, item) if handler is not None else []

    def close(self) -> list[bytes]:
        if self.ended or not self.options.terminal:
            return []
        return [self.error("error", TRUNCATED)]

    def line(self, code: str, value: Any) -> list[bytes]:
        """One part, or nothing when this version's client would choke on it."""
        return [b"%b:%b\n" % (code.encode(), encode(value))] if code in self.codes else []

    # -- parts

    def refusal(self, event: RefusalDelta) -> list[bytes]:
        return [*self.step_open(), *self.line("0", event.delta)] if event.delta else []

    def reasoning(self, event: ReasoningDelta) -> list[bytes]:
        if not event.delta:
            return []
        return [*self.step_open(), *(self.line("g", event.delta) if self.options.send_reasoning else [])]

    def reasoning_end(self, event: ReasoningEnd) -> list[bytes]:
        if not self.options.send_reasoning:
            return []
        out: list[bytes] = []
        if event.redacted is not None:
            out += [*self.step_open(), *self.line("i", {"data": event.redacted})]
        if event.signature is not None:
            out += [*self.step_open(), *self.line("j", {"signature": event.signature})]
        return out

    def part_start(self, _event: Event) -> list[bytes]:
        return self.step_open()

    def tool_input_start(self, event: ToolInputStart) -> list[bytes]:
        out = self.step_open()
        if self.options.tool_call_streaming:
            out += self.line("b", {"toolCallId": event.id, "toolName": event.name})
        return out

    def tool_input_delta(self, event: ToolInputDelta) -> list[bytes]:
        if not self.options.tool_call_streaming:
            return []
        return self.line("c", {"toolCallId": event.id, "argsTextDelta": event.delta})

    def tool_call(self, event: ToolCall) -> list[bytes]:
        out = self.step_open()
        if event.error is not None:
            self.failed_calls.add(event.id)
            return [*out, self.error("tool-input-error", event.error)]
        # A client rejects arguments that are not an object.
        args = event.input if isinstance(event.input, (dict, list)) else {"input": event.input}
        return [*out, *self.line("9", {"toolCallId": event.id, "toolName": event.name, "args": args})]

    def tool_result(self, event: ToolResult) -> list[bytes]:
        if event.preliminary:
            return []
        return self.line("a", {"toolCallId": event.id, "result": event.output})

    def tool_error(self, event: ToolError) -> list[bytes]:
        if event.id in self.failed_calls:
            return []  # said with the call
        return [self.error("tool-error", event.error)]

    def tool_denied(self, event: ToolDenied) -> list[bytes]:
        return self.line("a", {"toolCallId": event.id, "result": event.reason or "Tool call execution denied."})

    # -- the rest

    def source(self, event: Source) -> list[bytes]:
        if not self.options.send_sources or event.kind != "url":
            return []
        value: dict[str, Any] = {"sourceType": "url", "id": event.id, "url": event.url or ""}
        if event.title is not None:
            value["title"] = event.title
        extra = event.extra or {}
        metadata = (extra.get(NAME) or extra.get("ui_message") or {}).get("providerMetadata")
        if metadata is not None:
            value["providerMetadata"] = metadata
        return self.line("h", value)

    def file(self, event: File) -> list[bytes]:
        data = event.data
        if data is None and event.url is not None and event.url.startswith("data:"):
            data = event.url.partition(",")[2]
        if data is None:
            return []  # the protocol has no files by URL
        return self.line("k", {"mimeType": event.media_type, "data": data})

    def data(self, event: Data) -> list[bytes]:
        """Nameless data goes as it is; named data as an object of the shape the UI message stream uses."""
        if not event.name:
            return self.line("2", [event.data])
        value: dict[str, Any] = {"type": f"data-{event.name}"}
        if event.id is not None:
            value["id"] = event.id
        value["data"] = event.data
        return self.line("2", [value])

    def metadata(self, event: Metadata) -> list[bytes]:
        return self.line("8", [event.metadata])

    def vendor(self, event: Vendor) -> list[bytes]:
        return self.line(event.name or "", event.payload) if event.dialect == NAME else []

    # -- steps and endings

    def step_open(self) -> list[bytes]:
        """Open a step if none is: plain model streams have none of their own."""
        return [] if self.in_step else self.step_start(StepStart())

    def step_start(self, event: StepStart) -> list[bytes]:
        if self.in_step:
            return []
        self.in_step = True
        self.steps += 1
        base = self.options.message_id or "msg"
        message_id = event.id or (base if self.steps == 1 and self.options.message_id else f"{base}-{self.steps}")
        return self.line("f", {"messageId": message_id})

    def step_finish(self, event: StepFinish) -> list[bytes]:
        if not self.in_step:
            return []
        self.in_step = False
        self.usages.append(event.usage)
        extra = (event.extra or {}).get(NAME) or {}
        value: dict[str, Any] = {"finishReason": event.reason}
        if self.options.send_usage:
            value["usage"] = usage_json(event.usage)
        value["isContinued"] = bool(extra.get("isContinued", False))
        return self.line("e", value)

    def finish(self, event: Finish) -> list[bytes]:
        self.ended = True
        return self.finish_lines(event.reason, event.usage)

    def failed(self, event: Error) -> list[bytes]:
        """The error, then the ends of what it cut. Without a step there is no message to finish."""
        self.ended = True
        out = [self.error("error", event.error.message)]
        return [*out, *self.finish_lines("error", event.usage)] if self.in_step else out

    def finish_lines(self, reason: str, total: Usage | None) -> list[bytes]:
        out: list[bytes] = []
        if self.in_step:
            last = total if not self.usages else difference(total, self.usages)
            out += self.step_finish(StepFinish(reason, last))  # type: ignore[arg-type]  # a FinishReason
        if self.options.send_finish:
            value: dict[str, Any] = {"finishReason": reason}
            if self.options.send_usage:
                value["usage"] = usage_json(total if total is not None else summed(self.usages))
            out += self.line("d", value)
        return out

    def aborted(self, _event: Abort) -> list[bytes]:
        self.ended = True
        self.breaks_body = True
        return []

    def error(self, kind: masking.ErrorKind, message: str) -> bytes:
        return b"3:%b\n" % encode(masking.call(self.error_text, kind, message))


def usage_json(usage: Usage | None) -> dict[str, int | None]:
    """As the AI SDK names it; unknown numbers are null, which its client reads as NaN."""
    usage = usage or Usage()
    return {"promptTokens": usage.input_tokens, "completionTokens": usage.output_tokens}


def summed(usages: list[Usage | None]) -> Usage:
    """The sum over steps; unknown if any of them is."""
    known = [usage for usage in usages if usage is not None]
    inputs = [usage.input_tokens for usage in known if usage.input_tokens is not None]
    outputs = [usage.output_tokens for usage in known if usage.output_tokens is not None]
    return Usage(
        input_tokens=sum(inputs) if usages and len(inputs) == len(usages) else None,
        output_tokens=sum(outputs) if usages and len(outputs) == len(usages) else None,
    )


def difference(total: Usage | None, usages: list[Usage | None]) -> Usage | None:
    """The usage of a last step, from the *total* and the steps before it."""
    before = summed(usages)
    if total is None or total.input_tokens is None or total.output_tokens is None:
        return None
    if before.input_tokens is None or before.output_tokens is None:
        return None
    return Usage(
        input_tokens=max(0, total.input_tokens - before.input_tokens),
        output_tokens=max(0, total.output_tokens - before.output_tokens),
    )


HANDLERS: dict[type[Any], Callable[[Encoder, Any], list[bytes]]] = {
    StepStart: Encoder.step_start, StepFinish: Encoder.step_finish, Finish: Encoder.finish, Error: Encoder.failed,
    Abort: Encoder.aborted, TextStart: Encoder.part_start, RefusalDelta: Encoder.refusal,
    ReasoningDelta: Encoder.reasoning, ReasoningEnd: Encoder.reasoning_end, ToolInputStart: Encoder.tool_input_start,
    ToolInputDelta: Encoder.tool_input_delta, ToolCall: Encoder.tool_call, ToolResult: Encoder.tool_result,
    ToolError: Encoder.tool_error, ToolDenied: Encoder.tool_denied, Source: Encoder.source, File: Encoder.file,
    Data: Encoder.data, Metadata: Encoder.metadata, Vendor: Encoder.vendor,
}  # fmt: skip
