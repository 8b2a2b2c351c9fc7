"""Errors in Messages form: ``{"type": "error", "error": {"type", "message"}}``, as HTTP body and in mid-stream."""

from __future__ import annotations

from typing import Any

from streamward.errors import ErrorInfo
from streamward.wire import json_text
from streamward.wire.loose import as_dict, as_text
from streamward.wire.upstream_status import CONTEXT_TOO_LONG, MAX_ERROR_BYTES, from_status


def render_error(error: ErrorInfo) -> dict[str, Any]:
    """The error object; ``type`` follows from the status, ``code`` (ours) is beside the reference's two fields."""
    kind = TYPE_OF_STATUS.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": error.message, "code": error.code}}


def error_frame(error: ErrorInfo) -> bytes:
    """A failure after the stream began: clients raise on ``event: error`` and need no ``message_stop`` then."""
    return b"event: error\ndata: " + json_text.encode(render_error(error)) + b"\n\n"


def parse_error(status: int, body: bytes) -> ErrorInfo:
    """What an upstream's error answer means for our caller."""
    if len(body) > MAX_ERROR_BYTES:
        return from_status(status)
    try:
        value = json_text.decode_any(body)
    except (ValueError, RecursionError):
        return from_status(status)
    return error_of(as_dict(as_dict(value).get("error")), status)


def error_of(error: dict[str, Any], status: int | None = None) -> ErrorInfo:
    """The error object of a body or of an ``event: error``; the latter has no HTTP status, its type tells."""
    kind = as_text(error.get("type"))
    if kind not in STATUS_OF_TYPE:
        return from_status(status or 500)
    known = STATUS_OF_TYPE[kind]
    if known == 400 and as_text(error.get("message")).startswith("prompt is too long"):
        return CONTEXT_TOO_LONG
    return from_status(status or known, kind)


STATUS_OF_TYPE = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "conflict_error": 409, "request_too_large": 413, "rate_limit_error": 429,
    "api_error": 500, "overloaded_error": 529, "timeout_error": 504,
}  # fmt: skip

TYPE_OF_STATUS = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error",
    404: "not_found_error", 409: "conflict_error", 413: "request_too_large", 429: "rate_limit_error",
    500: "api_error", 502: "api_error", 503: "overloaded_error", 504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip
