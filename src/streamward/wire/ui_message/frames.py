"""The frames of the UI message stream for one event each: flat functions from an event to a JSON object.

Field order is the AI SDK's, so bytes can be compared. State (steps, held frames, masking) lives in ``encode``.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from streamward.events import (
    ApprovalRequest,
    ApprovalResponse,
    Data,
    Extra,
    File,
    Source,
    ToolCall,
    ToolError,
    ToolInputStart,
    ToolResult,
)  # fmt: skip
from streamward.wire.ui_message.versions import Version

NAME = "ui_message"
"""Dialect name: key of this dialect's fields in ``extra``, and of its Vendor events."""

Json: TypeAlias = dict[str, Any]


def own(extra: Extra | None) -> Json:
    """This dialect's fields of an event."""
    return extra.get(NAME) or {} if extra else {}


def with_metadata(frame: Json, extra: Extra | None) -> Json:
    """*frame* with the event's ``providerMetadata``, if it has any."""
    metadata = own(extra).get("providerMetadata")
    if metadata is not None:
        frame["providerMetadata"] = metadata
    return frame


def optional(frame: Json, allowed: frozenset[str], fields: Json) -> None:
    """Add those *fields* that have a value and that the version knows, in their order."""
    for name, value in fields.items():
        if name in allowed and value is not None and value is not False:
            frame[name] = value


def tool_input_start(event: ToolInputStart, version: Version, *, known: bool) -> Json:
    """*known*: there is a tool of that name."""
    extra = own(event.extra)
    frame: Json = {"type": "tool-input-start", "toolCallId": event.id, "toolName": event.name}
    allowed = version.tool_optional if version.start_optional is None else version.start_optional
    optional(frame, allowed, {
        "inputEncoding": extra.get("inputEncoding"), "providerExecuted": event.provider_executed,
        "providerMetadata": extra.get("providerMetadata"), "toolMetadata": extra.get("toolMetadata"),
        "dynamic": event.dynamic,
    })  # fmt: skip
    if not known and version.unknown_tool_dynamic:
        frame.setdefault("dynamic", False)
    optional(frame, allowed, {"title": event.title})
    return frame


def tool_input_available(event: ToolCall, version: Version, metadata: Json | None, error_text: str | None) -> Json:
    """``tool-input-available``, or ``tool-input-error`` when there is an *error_text*."""
    extra = own(event.extra)
    kind = "tool-input-available" if error_text is None else "tool-input-error"
    frame: Json = {"type": kind, "toolCallId": event.id, "toolName": event.name, "input": event.input}
    optional(frame, version.tool_optional, {
        "providerExecuted": event.provider_executed, "providerMetadata": extra.get("providerMetadata") or metadata,
        "toolMetadata": extra.get("toolMetadata"), "dynamic": event.dynamic,
    })  # fmt: skip
    if error_text is not None:
        frame["errorText"] = error_text
    optional(frame, version.tool_optional, {"title": event.title})
    return frame


def tool_output_available(event: ToolResult, version: Version) -> Json:
    extra = own(event.extra)
    frame: Json = {"type": "tool-output-available", "toolCallId": event.id, "output": event.output}
    optional(frame, version.output_optional, {
        "providerExecuted": event.provider_executed, "providerMetadata": extra.get("providerMetadata"),
        "toolMetadata": extra.get("toolMetadata"),
    })  # fmt: skip
    if event.preliminary:
        frame["preliminary"] = True
    optional(frame, version.output_optional, {"dynamic": event.dynamic})
    return frame


def tool_output_error(event: ToolError | ToolCall, version: Version, error_text: str) -> Json:
    frame: Json = {"type": "tool-output-error", "toolCallId": event.id, "errorText": error_text}
    optional(frame, version.output_optional, {"providerExecuted": event.provider_executed, "dynamic": event.dynamic})
    return frame


def approval_request(event: ApprovalRequest, version: Version) -> Json:
    extra = own(event.extra)
    frame: Json = {"type": "tool-approval-request", "approvalId": event.id, "toolCallId": event.tool_call_id}
    optional(frame, frozenset(version.approval_optional), {name: extra.get(name) for name in version.approval_optional})
    return frame


def approval_response(event: ApprovalResponse) -> Json:
    frame: Json = {"type": "tool-approval-response", "approvalId": event.id, "approved": event.approved}
    if event.reason is not None:
        frame["reason"] = event.reason
    return frame


def source(event: Source) -> Json:
    if event.kind == "url":
        frame: Json = {"type": "source-url", "sourceId": event.id, "url": event.url or ""}
        if event.title is not None:
            frame["title"] = event.title
    else:
        frame = {"type": "source-document", "sourceId": event.id}
        frame["mediaType"] = event.media_type or "application/octet-stream"  # required by every client
        frame["title"] = event.title or event.filename or event.id
        if event.filename is not None:
            frame["filename"] = event.filename
    return with_metadata(frame, event.extra)


def file(event: File, version: Version) -> Json:
    url = event.url if event.data is None else f"data:{event.media_type};base64,{event.data}"
    frame: Json = {"type": "file", "mediaType": event.media_type, "url": url or ""}
    return with_metadata(frame, event.extra) if version.file_metadata else frame


def data(event: Data) -> Json:
    frame: Json = {"type": f"data-{event.name}"}
    if event.id is not None:
        frame["id"] = event.id
    frame["data"] = event.data
    if event.transient:
        frame["transient"] = True
    return frame
