"""Errors in Chat Completions form: the ``{"error": {...}}`` object, as HTTP body and in mid-stream."""

from __future__ import annotations

from typing import Any

from streamward.errors import ErrorInfo
from streamward.wire import json_text
from streamward.wire.chat_completions.shapes import NOT_JSON
from streamward.wire.upstream_status import MAX_ERROR_BYTES, from_status


def render_error(error: ErrorInfo) -> dict[str, Any]:
    """OpenAI's error object; ``type`` follows from the status, ``code`` is ours."""
    return {
        "error": {
            "message": error.message,
            "type": TYPE_OF_STATUS.get(error.status, "server_error" if error.status >= 500 else "invalid_request_error"),
            "param": error.param,
            "code": error.code,
        }
    }


def error_frame(error: ErrorInfo) -> bytes:
    """A failure after the stream began: the only mid-stream form both official SDKs raise on."""
    return b"data: " + json_text.encode(render_error(error)) + b"\n\n"


def parse_error(status: int, body: bytes) -> ErrorInfo:
    """What an upstream's error answer means for our caller. The body's text is never repeated: it may hold secrets."""
    code = ""
    if len(body) <= MAX_ERROR_BYTES:
        try:
            value = json_text.decode_any(body)
        except NOT_JSON:
            value = None
        error = value.get("error", value) if isinstance(value, dict) else None
        if isinstance(error, dict):
            code = str(error.get("code") or error.get("type") or "")
    return upstream_error(status, code)


def upstream_error(status: int, code: str = "") -> ErrorInfo:
    """The caller's view of an upstream answer with *status* and OpenAI's *code*."""
    if code == "insufficient_quota":
        return from_status(402)
    if status in (400, 404, 413, 422) and code in CALLER_CODES:
        return ErrorInfo(code, CALLER_CODES[code], 404 if code == "model_not_found" else 400)
    return from_status(status)


CALLER_CODES = {
    "context_length_exceeded": "the messages are longer than the model's context; shorten them",
    "model_not_found": "the provider does not know this model",
    "invalid_image_url": "the provider could not use an image of the request",
    "content_policy_violation": "the provider's policy refused the request",
    "unsupported_parameter": "the provider does not support a parameter of the request",
    "unsupported_value": "the provider does not support a value of the request",
    "string_above_max_length": "a string of the request is too long for the provider",
}
"""Upstream codes that tell the caller something it can act on, with our words for them."""

TYPE_OF_STATUS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "invalid_request_error",
    413: "invalid_request_error", 415: "invalid_request_error", 429: "rate_limit_error", 502: "server_error",
    503: "server_error", 504: "timeout",
}  # fmt: skip
