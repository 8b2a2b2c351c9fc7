"""Errors of the dialect, both directions: HTTP bodies, the ``error`` event, and what an upstream's mean.

Types are those of Open Responses, section Errors. Nothing of an upstream's own text is passed on: it may hold keys and
internal addresses. Its machine-readable code decides what kind of failure it was.
"""

from __future__ import annotations

from typing import Any

import msgspec

from streamward.errors import ErrorInfo
from streamward.wire.json_text import decode_any

TYPES: dict[int, str] = {
    404: "not_found", 429: "too_many_requests", 500: "server_error", 502: "model_error", 503: "server_error",
    504: "model_error",
}  # fmt: skip

TOO_LONG = ErrorInfo(
    "context_length_exceeded", "the provider says the input is longer than the model's context; shorten it", status=400
)
RATE_LIMITED = ErrorInfo(
    "rate_limit_exceeded", "the provider's rate limit is reached; try again later", status=429, safe_to_retry=True
)
NO_QUOTA = ErrorInfo("insufficient_quota", "the provider's account has no quota left; its operator must act", status=429)
OVERLOADED = ErrorInfo("overloaded", "the provider is overloaded; try again later", status=503, safe_to_retry=True)
REFUSED_INPUT = ErrorInfo(
    "invalid_request", "the provider refused the request as invalid; check its input and parameters", status=400
)
NO_MODEL = ErrorInfo("model_not_found", "the provider does not have this model; check its name", status=404)
NO_RESPONSE = ErrorInfo("previous_response_not_found", "the provider does not have the earlier response it is asked to "
                        "continue; send the whole conversation", status=400, param="previous_response_id")  # fmt: skip
REFUSED_KEY = ErrorInfo(
    "upstream_auth", "the provider refused the gateway's credentials; its operator must check them", status=502
)
FAILED = ErrorInfo(
    "upstream_error", "the provider reported an error while answering; try again", status=502, safe_to_retry=True
)
REJECTED = ErrorInfo("upstream_error", "the provider refused the call; its operator must check the target", status=502)
TIMED_OUT = ErrorInfo("upstream_timeout", "the provider took too long to answer; try again", status=504,
                      safe_to_retry=True)  # fmt: skip
TRUNCATED = ErrorInfo("stream_truncated", "the provider's stream ended without saying that it was finished; try again",
                      status=502, safe_to_retry=True)  # fmt: skip

BY_CODE: dict[str, ErrorInfo] = {
    "context_length_exceeded": TOO_LONG, "string_above_max_length": TOO_LONG,
    "rate_limit_exceeded": RATE_LIMITED, "rate_limit_error": RATE_LIMITED, "too_many_requests": RATE_LIMITED,
    "insufficient_quota": NO_QUOTA, "overloaded": OVERLOADED, "overloaded_error": OVERLOADED,
    "service_unavailable": OVERLOADED, "invalid_prompt": REFUSED_INPUT, "model_not_found": NO_MODEL,
    "previous_response_not_found": NO_RESPONSE, "invalid_api_key": REFUSED_KEY,
}  # fmt: skip

BY_STATUS: dict[int, ErrorInfo] = {
    400: REFUSED_INPUT, 401: REFUSED_KEY, 403: REFUSED_KEY, 408: TIMED_OUT, 409: FAILED, 413: TOO_LONG,
    422: REFUSED_INPUT, 429: RATE_LIMITED, 503: OVERLOADED, 504: TIMED_OUT, 529: OVERLOADED,
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
    """The error answer of an upstream; the status decides unless the body's code says more."""
    try:
        value = decode_any(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    code = code_of(value.get("error") if isinstance(value, dict) else None)
    info = BY_CODE.get(code)
    if info is not None and status in (400, 404, 413, 422, 429):
        return info
    info = BY_STATUS.get(status)
    if info is not None:
        return info
    return FAILED if status >= 500 else REJECTED


def error_type(info: ErrorInfo) -> str:
    return TYPES.get(info.status) or ("invalid_request" if info.status < 500 else "server_error")


def render_error(error: ErrorInfo) -> dict[str, Any]:
    """Body of an HTTP error answer."""
    return {"error": nested(error)}


def nested(error: ErrorInfo) -> dict[str, Any]:
    return {"type": error_type(error), "code": error.code, "message": error.message, "param": error.param}


def stream_error(error: ErrorInfo) -> dict[str, Any]:
    """Fields of the ``error`` event: flat as OpenAI documents them, nested as Open Responses does."""
    return {"code": error.code, "message": error.message, "param": error.param, "error": nested(error)}
