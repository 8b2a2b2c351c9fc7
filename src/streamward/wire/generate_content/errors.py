"""Errors in Gemini form: ``{"error": {"code", "message", "status"}}``, as HTTP body and in mid-stream."""

from __future__ import annotations

from typing import Any

import msgspec

from streamward.errors import ErrorInfo
from streamward.wire import json_text
from streamward.wire.loose import as_dict, as_list, as_text
from streamward.wire.upstream_status import CONTEXT_TOO_LONG, MAX_ERROR_BYTES, from_status


def render_error(error: ErrorInfo) -> dict[str, Any]:
    """The error object; ``status`` follows from the HTTP status, our code stands in the ``reason`` of its details."""
    status = STATUS_WORDS.get(error.status, "INTERNAL" if error.status >= 500 else "INVALID_ARGUMENT")
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": error.code, "domain": "streamward"}]
    return {"error": {"code": error.status, "message": error.message, "status": status, "details": details}}


def error_frame(error: ErrorInfo) -> bytes:
    return b"data: " + json_text.encode(render_error(error)) + b"\n\n"


def parse_error(status: int, body: bytes) -> ErrorInfo:
    """What an upstream's error answer means for our caller. A streamed request is refused with an array of one."""
    if len(body) > MAX_ERROR_BYTES:
        return from_status(status)
    try:
        value = json_text.decode_any(body)
    except (ValueError, RecursionError):
        return from_status(status)
    if type(value) is list and value:
        value = value[0]
    return error_of(as_dict(as_dict(value).get("error")), status)


def error_of(error: dict[str, Any], status: int | None = None) -> ErrorInfo:
    """The error object of a body, or of a frame, whose own ``code`` and ``status`` then tell."""
    word = as_text(error.get("status"))
    code = error.get("code")
    known = STATUS_OF_WORD.get(word)
    if status is None:
        status = known or (code if type(code) is int and 400 <= code <= 599 else 500)
    details = [as_dict(detail) for detail in as_list(error.get("details"))]
    if any(detail.get("reason") == "API_KEY_INVALID" for detail in details):  # comes as 400
        return from_status(401)
    if status == 400 and "exceeds the maximum number of tokens" in as_text(error.get("message")):
        return CONTEXT_TOO_LONG
    info = from_status(status, word if known is not None else "")
    delay = next((seconds(detail.get("retryDelay")) for detail in details if "retryDelay" in detail), None)
    return info if delay is None else msgspec.structs.replace(info, retry_after_s=delay)


def seconds(delay: Any) -> float | None:
    """A duration in protobuf's JSON form: ``"34.07s"``."""
    try:
        return float(as_text(delay).removesuffix("s"))
    except ValueError:
        return None


STATUS_WORDS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED",
    429: "RESOURCE_EXHAUSTED", 499: "CANCELLED", 500: "INTERNAL", 501: "UNIMPLEMENTED", 503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}  # fmt: skip
STATUS_OF_WORD = {word: status for status, word in STATUS_WORDS.items()} | {"FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400}
