"""What a server says went wrong, as an :class:`ErrorInfo`.

A client is the last in line: the server's own code and words are for its user, so unlike the gateway's upstream side
they are kept (shortened). Reads the error objects of every dialect.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from streamward.errors import MAX_MESSAGE_CHARS, ErrorInfo
from streamward.upstream.attempts import retry_after

RETRYABLE = frozenset({408, 409, 425, 429})
LOST = ErrorInfo("upstream_reset", "the connection to the server was lost", 502, safe_to_retry=True)
CUT = ErrorInfo("stream_truncated", "the stream ended without saying that it was finished", 502, safe_to_retry=True)


def answered(status: int, headers: dict[str, str], body: bytes) -> ErrorInfo:
    """The error that an HTTP answer other than 200 stands for."""
    stated = stated_error(body)
    info = ErrorInfo(
        code=(stated.code if stated is not None else "") or CODE_OF_STATUS.get(status, "upstream_error"),
        message=stated.message if stated is not None else f"the server answered {status}",
        status=status,
        param=stated.param if stated is not None else None,
        safe_to_retry=status in RETRYABLE or status >= 500,
    )
    after = retry_after(headers)
    return replace(info, retry_after_s=after) if after is not None else info


def in_band(data: bytes, error: ErrorInfo) -> ErrorInfo:
    """*error* as decoded from the frame *data*, with the code and words the frame itself has."""
    stated = stated_error(data)
    if stated is None:
        return error
    return replace(error, code=stated.code or error.code, message=stated.message, param=stated.param)


def stated_error(data: bytes) -> ErrorInfo | None:
    """The error object in *data*: ``{"error": {...}}``, flat, or inside ``response``. ``code`` may be empty."""
    try:
        value: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    response = value.get("response")
    found = value.get("error") or (response.get("error") if isinstance(response, dict) else None)
    if found is None and isinstance(value.get("message"), str):
        found = value
    if isinstance(found, str):
        found = {"message": found}
    if not isinstance(found, dict):
        return None
    code = found.get("code") or found.get("type")
    message, param = found.get("message"), found.get("param")
    return ErrorInfo(
        code=str(code) if isinstance(code, str | int) else "",
        message=message[:MAX_MESSAGE_CHARS] if isinstance(message, str) else "the server reported an error",
        param=param if isinstance(param, str) else None,
    )


def total_passed(total_s: float) -> ErrorInfo:
    return ErrorInfo("upstream_timeout", f"the answer took longer than {total_s:g} s in all", 504)


CODE_OF_STATUS = {
    400: "invalid_request", 401: "invalid_api_key", 403: "permission_denied", 404: "not_found", 409: "conflict",
    410: "gone", 413: "content_too_large", 429: "rate_limit_exceeded", 503: "overloaded", 504: "upstream_timeout",
}  # fmt: skip
