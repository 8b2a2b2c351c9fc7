"""Errors of the dialect, both directions: HTTP bodies, the ``error`` event, and what an upstream's mean.

Types are those of Open Responses, section Errors. Nothing of an upstream's own text is passed on: it may hold keys and
internal addresses. Its machine-readable code decides what kind of failure it was.
"""

from __future__ import annotations

from typing import Any

from streamward.errors import ErrorInfo
from streamward.wire.json_text import decode_any
from streamward.wire.upstream_status import CONTEXT_TOO_LONG, MAX_ERROR_BYTES, from_status

TYPES: dict[int, str] = {
    404: "not_found", 429: "too_many_requests", 500: "server_error", 502: "model_error", 503: "server_error",
    504: "model_error",
}  # fmt: skip

RATE_LIMITED, NO_QUOTA, OVERLOADED = from_status(429), from_status(402), from_status(503)
REJECTED, NO_MODEL, REFUSED_KEY, FAILED = from_status(400), from_status(404), from_status(401), from_status(500)
NO_RESPONSE = ErrorInfo("previous_response_not_found", "the provider does not have the earlier response it is asked to "
                        "continue; send the whole conversation", 400, "previous_response_id")  # fmt: skip

BY_CODE: dict[str, ErrorInfo] = {
    "context_length_exceeded": CONTEXT_TOO_LONG, "string_above_max_length": CONTEXT_TOO_LONG,
    "rate_limit_exceeded": RATE_LIMITED, "rate_limit_error": RATE_LIMITED, "too_many_requests": RATE_LIMITED,
    "insufficient_quota": NO_QUOTA, "overloaded": OVERLOADED, "overloaded_error": OVERLOADED,
    "service_unavailable": OVERLOADED, "invalid_prompt": REJECTED, "model_not_found": NO_MODEL,
    "previous_response_not_found": NO_RESPONSE, "invalid_api_key": REFUSED_KEY,
}  # fmt: skip

def invalid(problem: str) -> ErrorInfo:
    """The upstream sent something that is not its dialect."""
    return ErrorInfo("upstream_invalid", f"the provider's stream is not valid: {problem}", status=502, safe_to_retry=True)


def code_of(error: Any) -> str:
    """The machine-readable code in an error object of any spelling; empty when there is none."""
    if not isinstance(error, dict):
        return ""
    for name in ("code", "type"):
        value = error.get(name)
        if isinstance(value, str) and value in BY_CODE:
            return value
    return ""


def reported(error: Any) -> ErrorInfo:
    """What an error inside a stream or response object means: by its code, else a plain upstream failure."""
    return BY_CODE.get(code_of(error), FAILED)


def parse_error(status: int, body: bytes) -> ErrorInfo:
    """The error answer of an upstream: its status decides, unless the body's code says more about the request."""
    value = None
    if len(body) <= MAX_ERROR_BYTES:
        try:
            value = decode_any(body)
        except (ValueError, RecursionError):
            pass
    code = code_of(value.get("error") if isinstance(value, dict) else None)
    return BY_CODE[code] if code and status in CODED_STATUSES else from_status(status)


CODED_STATUSES = frozenset({400, 404, 413, 422, 429})
"""Statuses that say less than the code beside them; with the others, a code could only contradict."""


def error_type(info: ErrorInfo) -> str:
    return TYPES.get(info.status) or ("invalid_request" if info.status < 500 else "server_error")


def render_error(error: ErrorInfo) -> dict[str, Any]:
    """Body of an HTTP error answer. ``param`` is text even where no field is at fault: npm ``@ai-sdk/open-responses`` takes
    null, which the specification allows, for an error it cannot read."""
    return {"error": nested(error) | {"param": error.param or ""}}


def nested(error: ErrorInfo) -> dict[str, Any]:
    return {"type": error_type(error), "code": error.code, "message": error.message, "param": error.param}


def stream_error(error: ErrorInfo) -> dict[str, Any]:
    """Fields of the ``error`` event: flat as OpenAI documents them, nested as Open Responses does."""
    return {"code": error.code, "message": error.message, "param": error.param, "error": nested(error)}
