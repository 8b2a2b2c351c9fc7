"""Events to the UI message stream of AI SDK 5, 6 and 7: one SSE frame of JSON each, ``[DONE]`` last.

End frames of text and reasoning are held until the next event: the AI SDK reports an error before it closes the parts
the error cut, and after an abort leaves them open, so the client can tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from streamward.events import (
    Abort,
    ApprovalRequest,
    ApprovalResponse,
    Data,
    Error,
    Event,
    File,
    Finish,
    Metadata,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    RefusalDelta,
    RefusalEnd,
    RefusalStart,
    Source,
    Start,
    StepFinish,
    StepStart,
    TextDelta,
    TextEnd,
    TextStart,
    ToolCall,
    ToolDenied,
    ToolError,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    ToolResult,
    Vendor,
)  # fmt: skip
from streamward.wire import masking
from streamward.wire.js_json import encode
from streamward.wire.sse import DONE_FRAME
from streamward.wire.ui_message import frames
from streamward.wire.ui_message.frames import NAME, Json, with_metadata
from streamward.wire.ui_message.versions import VERSIONS, Number, Version

HEADERS: dict[str, str] = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "connection": "keep-alive",
    "x-vercel-ai-ui-message-stream": "v1",
    "x-accel-buffering": "no",
}
"""As the AI SDK sends them, plus ``no-transform`` against proxies that compress, and so buffer, the stream."""

STREAM_OPEN = b": stream-open\n\n"
"""Optional first bytes, before the model says anything: proxies that wait for a first byte see one."""

TRUNCATED = "the stream ended without saying that it was finished"


class Options(Struct, frozen=True, kw_only=True):
    """What is sent, and to which version."""

    version: Number = 7
    send_reasoning: bool = True
    send_sources: bool = False
    send_start: bool = True
    send_finish: bool = True
    send_finish_reason: bool = True
    """False for clients before 5.0.92, which reject the field."""
    message_id: str | None = None
    """Id in ``start``: a new one, or that of the assistant message that is continued."""
    metadata: Callable[[Event], Any] | None = None
    """Asked for every event; what it returns, unless ``None``, is merged into the message's metadata."""
    error_text: masking.ErrorText | None = None
    tools: frozenset[str] | None = None
    """Names of all tools there are, if known: from version 6 on, calls of other names are marked as dynamic."""
    provider: str = "streamward"
    """Key under which signatures travel in ``providerMetadata``."""
    done: bool = True
    """False when the frames are merged into another stream, which ends itself."""
    terminal: bool = True
    """False for a stream of data only: it may end without a terminal event."""


class Encoder:
    """Stage from events to frames; every list item is one whole SSE frame."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.version: Version = VERSIONS[self.options.version]
        self.error_text = self.options.error_text or self.version.error_text
        self.prefixes: dict[tuple[type[Event], str], bytes] = {}
        self.held: list[bytes] = []
        self.signatures: dict[str, str] = {}  # of tool calls whose arguments are complete
        self.invalid: set[str] = set()  # calls already reported as failed
        self.in_step = False
        self.ended = False

    def feed(self, item: Event) -> list[bytes]:
        kind = type(item)
        if kind in DELTAS:
            out = self.delta(item)  # type: ignore[arg-type]  # kind is one of DELTAS
        elif kind is TextEnd or kind is ReasoningEnd or kind is RefusalEnd:
            out = []
            self.held += self.part_end(item)  # type: ignore[arg-type]  # kind is one of the three
        else:
            handler = HANDLERS.get(kind)
            out = handler(self, item) if handler is not None else []
            if self.held and kind is not Error and kind is not Abort:
                out = [*self.held, *out]
                self.held = []
        if self.options.metadata is not None:
            out = self.with_message_metadata(item, out)
        return out

    def close(self) -> list[bytes]:
        out = self.held
        self.held = []
        if not self.ended and self.options.terminal:
            out = [self.error("error", TRUNCATED), *out]
        return [*out, DONE_FRAME] if self.options.done else out

    # -- parts

    def delta(self, event: TextDelta | ReasoningDelta | RefusalDelta | ToolInputDelta) -> list[bytes]:
        kind = type(event)
        prefix = self.prefixes.get((kind, event.id))
        if prefix is None:
            prefix = self.prefix(kind, event.id)
        if not prefix:
            return []  # reasoning that is not sent
        if kind is ToolInputDelta or event.extra is None:  # type: ignore[union-attr]  # ToolInputDelta has no extra
            if not event.delta and kind is TextDelta:
                return []
            out = b"%b%b}\n\n" % (prefix, encode(event.delta))
        else:
            metadata = frames.own(event.extra).get("providerMetadata")  # type: ignore[union-attr]
            if metadata is None and not event.delta:
                return []
            tail = b"" if metadata is None else b',"providerMetadata":%b' % encode(metadata)
            out = b"%b%b%b}\n\n" % (prefix, encode(event.delta), tail)
        if self.held:
            held, self.held = self.held, []
            return [*held, out]
        return [out]

    def prefix(self, kind: type[Any], part_id: str) -> bytes:
        """The frame of a delta up to its text, made once per part."""
        if kind is ReasoningDelta and not self.options.send_reasoning:
            prefix = b""
        elif kind is ToolInputDelta:
            prefix = b'data: {"type":"tool-input-delta","toolCallId":%b,"inputTextDelta":' % encode(part_id)
        else:
            wire_id = encode(refusal_id(part_id) if kind is RefusalDelta else part_id)
            prefix = b'data: {"type":"%b","id":%b,"delta":' % (DELTAS[kind], wire_id)
        self.prefixes[kind, part_id] = prefix
        return prefix

    def part_start(self, event: TextStart | ReasoningStart | RefusalStart) -> list[bytes]:
        out = self.step_open()
        if isinstance(event, ReasoningStart):
            if self.options.send_reasoning or self.version.hidden_reasoning_frames:
                out.append(frame(with_metadata({"type": "reasoning-start", "id": event.id}, event.extra)))
            return out
        part_id = refusal_id(event.id) if isinstance(event, RefusalStart) else event.id
        out.append(frame(with_metadata({"type": "text-start", "id": part_id}, event.extra)))
        return out

    def part_end(self, event: TextEnd | ReasoningEnd | RefusalEnd) -> list[bytes]:
        for kind in (TextDelta, ReasoningDelta, RefusalDelta):
            self.prefixes.pop((kind, event.id), None)
        if isinstance(event, ReasoningEnd):
            if not self.options.send_reasoning and not self.version.hidden_reasoning_frames:
                return []
            return [frame(self.reasoning_end(event))]
        if isinstance(event, RefusalEnd):
            return [frame({"type": "text-end", "id": refusal_id(event.id)})]
        ended: Json = {"type": "text-end", "id": event.id}
        if self.version.text_end_citations and (citations := frames.own(event.extra).get("citations")) is not None:
            ended["citations"] = citations
        return [frame(with_metadata(ended, event.extra))]

    def reasoning_end(self, event: ReasoningEnd) -> Json:
        """With what its provider wants back in the next turn: only providerMetadata survives in the browser."""
        ended = with_metadata({"type": "reasoning-end", "id": event.id}, event.extra)
        if "providerMetadata" not in ended and (event.signature is not None or event.redacted is not None):
            proof = {"signature": event.signature, "redactedData": event.redacted}
            ended["providerMetadata"] = {
                self.options.provider: {name: value for name, value in proof.items() if value is not None}
            }
        return ended

    # -- tools

    def tool_input_start(self, event: ToolInputStart) -> list[bytes]:
        return [*self.step_open(), frame(frames.tool_input_start(event, self.version, known=self.knows(event.name)))]

    def knows(self, name: str) -> bool:
        return self.options.tools is None or name in self.options.tools

    def tool_input_end(self, event: ToolInputEnd) -> list[bytes]:
        self.prefixes.pop((ToolInputDelta, event.id), None)
        if event.signature is not None:
            self.signatures[event.id] = event.signature
        return []

    def tool_call(self, event: ToolCall) -> list[bytes]:
        signature = self.signatures.pop(event.id, None)
        metadata = None if signature is None else {self.options.provider: {"signature": signature}}
        if event.error is None:
            return [frame(frames.tool_input_available(event, self.version, metadata, None))]
        self.invalid.add(event.id)
        text = masking.call(self.error_text, "tool-input-error", event.error)
        if not self.knows(event.name):
            event = msgspec.structs.replace(event, dynamic=self.version.unknown_tool_dynamic)
        out = [frame(frames.tool_input_available(event, self.version, metadata, text))]
        if self.version.output_error_after_input_error:
            out.append(frame(frames.tool_output_error(event, self.version, text)))
        return out

    def tool_result(self, event: ToolResult) -> list[bytes]:
        return [frame(frames.tool_output_available(event, self.version))]

    def tool_error(self, event: ToolError) -> list[bytes]:
        if event.id in self.invalid:
            return []  # said with the call
        if event.provider_executed and self.version.provider_errors_shown:
            text = event.error
        else:
            text = masking.call(self.error_text, "tool-error", event.error)
        return [frame(frames.tool_output_error(event, self.version, text))]

    def tool_denied(self, event: ToolDenied) -> list[bytes]:
        if self.version.denials:
            return [frame({"type": "tool-output-denied", "toolCallId": event.id})]
        reason = event.reason or "Tool call execution denied."
        return [frame({"type": "tool-output-error", "toolCallId": event.id, "errorText": reason})]

    def approval_request(self, event: ApprovalRequest) -> list[bytes]:
        return [frame(frames.approval_request(event, self.version))] if self.version.approvals else []

    def approval_response(self, event: ApprovalResponse) -> list[bytes]:
        return [frame(frames.approval_response(event))] if self.version.approval_responses else []

    # -- the rest

    def source(self, event: Source) -> list[bytes]:
        return [frame(frames.source(event))] if self.options.send_sources else []

    def file(self, event: File) -> list[bytes]:
        return [frame(frames.file(event, self.version))]

    def data(self, event: Data) -> list[bytes]:
        return [frame(frames.data(event))]

    def metadata(self, event: Metadata) -> list[bytes]:
        return [] if event.metadata is None else [message_metadata(event.metadata)]

    def vendor(self, event: Vendor) -> list[bytes]:
        return [frame(event.payload)] if event.dialect == NAME else []

    # -- steps and endings

    def step_open(self) -> list[bytes]:
        """Open a step if none is: plain model streams have none of their own."""
        if self.in_step:
            return []
        self.in_step = True
        return [START_STEP]

    def step_start(self, _event: StepStart) -> list[bytes]:
        return self.step_open()

    def step_finish(self, _event: StepFinish) -> list[bytes]:
        if not self.in_step:
            return []
        self.in_step = False
        return [FINISH_STEP]

    def start(self, event: Start) -> list[bytes]:
        if not self.options.send_start:
            return []
        head: Json = {"type": "start"}
        if (metadata := self.metadata_for(event)) is not None:
            head["messageMetadata"] = metadata
        if self.options.message_id is not None:
            head["messageId"] = self.options.message_id
        return [frame(head)]

    def finish(self, event: Finish) -> list[bytes]:
        self.ended = True
        return [*self.step_finish(StepFinish()), *self.finish_frame(event.reason, event)]

    def finish_frame(self, reason: str, event: Event) -> list[bytes]:
        if not self.options.send_finish:
            return []
        last: Json = {"type": "finish"}
        if self.options.send_finish_reason:
            last["finishReason"] = self.version.unknown_reason if reason == "unknown" else reason
        if (metadata := self.metadata_for(event)) is not None:
            last["messageMetadata"] = metadata
        return [frame(last)]

    def failed(self, event: Error) -> list[bytes]:
        """The error, then the ends of what it cut. Without a step there is no message to finish."""
        self.ended = True
        out = [self.error("error", event.error.message), *self.held]
        self.held = []
        if self.in_step:
            out += [*self.step_finish(StepFinish()), *self.finish_frame("error", event)]
        return out

    def aborted(self, event: Abort) -> list[bytes]:
        self.ended = True
        self.held = []
        last: Json = {"type": "abort"}
        if event.reason and self.version.abort_reason:
            last["reason"] = self.version.abort_prefix + event.reason
        return [frame(last)]

    def error(self, kind: masking.ErrorKind, message: str) -> bytes:
        return frame({"type": "error", "errorText": masking.call(self.error_text, kind, message)})

    def metadata_for(self, event: Event) -> Any:
        return None if self.options.metadata is None else self.options.metadata(event)

    def with_message_metadata(self, event: Event, out: list[bytes]) -> list[bytes]:
        """The frames of *event* with its metadata; start and finish carry theirs inside."""
        if isinstance(event, (Start, Finish, Error, Abort)):
            return out
        if (metadata := self.metadata_for(event)) is None:
            return out
        if isinstance(event, StepFinish) and self.version.metadata_before_step_end:
            return [*out[:-1], message_metadata(metadata), *out[-1:]]
        held, self.held = self.held, []
        return [*held, *out, message_metadata(metadata)]


def frame(value: Json) -> bytes:
    """One SSE frame."""
    return b"data: %b\n\n" % encode(value)


def message_metadata(metadata: Any) -> bytes:
    return frame({"type": "message-metadata", "messageMetadata": metadata})


def refusal_id(part_id: str) -> str:
    """Refusals are shown as text, under an id that no text part has."""
    return f"refusal-{part_id}"


START_STEP = frame({"type": "start-step"})
FINISH_STEP = frame({"type": "finish-step"})

DELTAS: dict[type[Any], bytes] = {
    TextDelta: b"text-delta", ReasoningDelta: b"reasoning-delta", RefusalDelta: b"text-delta",
    ToolInputDelta: b"tool-input-delta",
}  # fmt: skip

HANDLERS: dict[type[Any], Callable[[Encoder, Any], list[bytes]]] = {
    Start: Encoder.start, StepStart: Encoder.step_start, StepFinish: Encoder.step_finish, Finish: Encoder.finish,
    Error: Encoder.failed, Abort: Encoder.aborted, TextStart: Encoder.part_start, ReasoningStart: Encoder.part_start,
    RefusalStart: Encoder.part_start, ToolInputStart: Encoder.tool_input_start, ToolInputEnd: Encoder.tool_input_end,
    ToolCall: Encoder.tool_call, ToolResult: Encoder.tool_result, ToolError: Encoder.tool_error,
    ToolDenied: Encoder.tool_denied, ApprovalRequest: Encoder.approval_request,
    ApprovalResponse: Encoder.approval_response, Source: Encoder.source, File: Encoder.file, Data: Encoder.data,
    Metadata: Encoder.metadata, Vendor: Encoder.vendor,
}  # fmt: skip
