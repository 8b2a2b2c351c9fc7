"""What an upstream's failure means for our caller, by HTTP status.

One policy for every dialect: our own credentials are never the caller's problem, a limit stays a limit, a rejected
request stays the caller's. The upstream's own text is never repeated: it may hold secrets.
"""

from __future__ import annotations

from streamward.errors import ErrorInfo

TRUNCATED = ErrorInfo(
    "stream_truncated", "the provider's stream ended without saying that it was finished", 502, safe_to_retry=True
)
TOO_MANY_PARTS = ErrorInfo("content_too_large", "the provider's stream has too many parts (MAX_PARTS)", 502)
TOOL_INPUT_TOO_LARGE = ErrorInfo(
    "content_too_large", "the arguments of one tool call are too large (MAX_TOOL_INPUT_BYTES)", 502
)

MAX_ERROR_BYTES = 64 << 10
"""An error answer longer than this is not looked into."""


def invalid(dialect: str) -> ErrorInfo:
    """The upstream sent what is not *dialect*."""
    return ErrorInfo("upstream_invalid", f"the provider sent something that is not {dialect}", 502, safe_to_retry=True)


def from_status(status: int, kind: str = "") -> ErrorInfo:
    """The caller's view of an upstream answer with *status*; *kind* is the dialect's word for it, from a known list."""
    said = f"{status} {kind}".strip()
    if status in (401, 403):
        return ErrorInfo("upstream_auth", "the provider refused the gateway's credentials; check the provider's api_key", 502)
    if status == 402:
        return ErrorInfo("insufficient_quota", f"the provider account is out of quota ({said})", 429)
    if status == 404:
        return ErrorInfo("model_not_found", f"the provider does not know this model or route ({said})", 404)
    if status == 413:
        return ErrorInfo("content_too_large", f"the provider finds the request too large ({said})", 413)
    if status == 429:
        return ErrorInfo(
            "rate_limit_exceeded", f"the provider limits the rate; retry later ({said})", 429, safe_to_retry=True
        )
    if status in (408, 504):
        return ErrorInfo("upstream_timeout", f"the provider gave up waiting ({said})", 504, safe_to_retry=True)
    if status in (503, 529):
        return ErrorInfo("upstream_error", f"the provider is overloaded; retry later ({said})", 502, safe_to_retry=True)
    if 400 <= status < 500 and status != 409:
        return ErrorInfo("upstream_rejected", f"the provider rejected the request ({said})", 400)
    return ErrorInfo("upstream_error", f"the provider failed ({said})", 502, safe_to_retry=True)


CONTEXT_TOO_LONG = ErrorInfo("context_length_exceeded", "the messages are longer than the model's context; shorten them", 400)
