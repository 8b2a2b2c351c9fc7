"""Whole answers and errors in the protocol's form."""

from __future__ import annotations

from typing import Any

from streamward.errors import ErrorInfo
from streamward.events import File, Source
from streamward.reply import ReasoningBlock, RefusalBlock, Reply, TextBlock, ToolBlock
from streamward.wire.ai_gateway.versions import (
    LATEST,
    VERSIONS,
    Version,
    file_data,
    finish_of,
    usage_of,
    without_none,
)
from streamward.wire.dialect import Context

Part = dict[str, Any]


def render_reply(reply: Reply, context: Context) -> dict[str, Any]:
    """What ``doGenerate`` gives."""
    version = VERSIONS.get(context.options.get("version", LATEST.number), LATEST)
    return {
        "content": [part for block in reply.blocks if (part := content_part(block, version)) is not None],
        "finishReason": finish_of(reply.finish_reason or "unknown", reply.raw_reason, version),
        "usage": usage_of(reply.usage, version),
        "response": {"id": reply.id or context.id, "modelId": reply.model or context.model},
        "warnings": [],
    }


def content_part(block: Any, version: Version) -> Part | None:
    if isinstance(block, (TextBlock, RefusalBlock)):
        return {"type": "text", "text": block.text}
    if isinstance(block, ReasoningBlock):
        return {"type": "reasoning", "text": block.text, **metadata(block.signature, block.redacted)}
    if isinstance(block, ToolBlock):
        return tool_call(block.id, block.name, block.input, block.signature, executed=block.provider_executed)
    if isinstance(block, Source):
        return source_part(block)
    if isinstance(block, File):
        return {"type": "file", "mediaType": block.media_type, "data": file_data(block.data, block.url, version)}
    return None


def render_error(error: ErrorInfo) -> dict[str, Any]:
    """Body of an HTTP error answer; the client picks its error class by ``type``."""
    return {"error": error_object(error)}


def error_object(error: ErrorInfo) -> dict[str, Any]:
    return {"message": error.message, "type": error_type(error), "param": error.param, "code": error.code}


def error_type(error: ErrorInfo) -> str:
    if error.code in ("model_not_found", "rate_limit_exceeded"):
        return error.code
    return TYPE_OF_STATUS.get(error.status, "internal_server_error" if error.status >= 500 else "invalid_request_error")


TYPE_OF_STATUS = {
    401: "authentication_error", 403: "forbidden", 424: "failed_dependency", 429: "rate_limit_exceeded",
}  # fmt: skip


def tool_call(call_id: str, name: str, arguments: str, signature: str | None, *, executed: bool = False) -> Part:
    own = {"providerExecuted": True} if executed else {}
    part = {"type": "tool-call", "toolCallId": call_id, "toolName": name, "input": arguments or "{}", **own}
    return {**part, **metadata(signature)}


def source_part(event: Source) -> Part:
    if event.kind == "url":
        return without_none(
            {"type": "source", "sourceType": "url", "id": event.id, "url": event.url or "", "title": event.title}
        )
    return without_none({
        "type": "source", "sourceType": "document", "id": event.id, "mediaType": event.media_type or "text/plain",
        "title": event.title or event.filename or event.id, "filename": event.filename,
    })  # fmt: skip


def metadata(signature: str | None, redacted: str | None = None) -> Part:
    """What has to come back with the next turn; the AI SDK sends provider metadata back as provider options."""
    own = without_none({"signature": signature, "redacted": redacted})
    return {"providerMetadata": {"streamward": own}} if own else {}
