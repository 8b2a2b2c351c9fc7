"""What can go wrong, as values and as exceptions.

An :class:`ErrorInfo` is the value: it travels in ``Error`` events, through stages and onto the wire of every dialect.
A :class:`StreamwardError` is the exception that carries one across a Python API. Neither ever holds a key, an
upstream body or an internal address. Rendering into a dialect's error shape lives in ``streamward.wire``.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import Struct

Fault = Literal["caller", "upstream", "server"]

MAX_MESSAGE_CHARS = 500  # an error is a sentence, not a dump


class ErrorInfo(Struct, frozen=True, omit_defaults=True):
    """One failure: what happened (``code``, and ``status`` as HTTP would say it) and what to do (``message``)."""

    code: str
    message: str
    status: int = 500
    param: str | None = None
    """Path of the offending request field, e.g. ``messages[0].role``."""
    retry_after_s: float | None = None
    safe_to_retry: bool = False
    """True when the same call may succeed later (connect errors, 408, 409, 429, 5xx)."""


class StreamwardError(Exception):
    """Base of everything streamward raises on purpose. ``str(error)`` says what was expected, what came, what to do."""

    code: ClassVar[str] = "server_error"
    status: ClassVar[int] = 500
    fault: ClassVar[Fault] = "server"
    safe_to_retry: ClassVar[bool] = False

    def __init__(
        self, message: str, *, code: str | None = None, status: int | None = None,
        param: str | None = None, retry_after_s: float | None = None, safe_to_retry: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.info = ErrorInfo(
            code=code or type(self).code,
            message=message[:MAX_MESSAGE_CHARS],
            status=status or type(self).status,
            param=param,
            retry_after_s=retry_after_s,
            safe_to_retry=type(self).safe_to_retry if safe_to_retry is None else safe_to_retry,
        )


class InvalidRequest(StreamwardError):
    """The call itself is wrong: malformed, wrong type, out of range. ``info.param`` names the field."""

    code, status, fault = "invalid_request", 400, "caller"


class Unsupported(InvalidRequest):
    """The call is valid, but the chosen target cannot do it. The message names the feature and the target."""

    code = "unsupported"


class AuthenticationFailed(StreamwardError):
    """No key, or one we do not know."""

    code, status, fault = "invalid_api_key", 401, "caller"


class PermissionDenied(StreamwardError):
    """The key is known but may not do this."""

    code, status, fault = "permission_denied", 403, "caller"


class NotFound(StreamwardError):
    """No such model, stream, response or route."""

    code, status, fault = "not_found", 404, "caller"


class ModelNotFound(NotFound):
    """No target serves this model name; the message lists near names."""

    code = "model_not_found"


class Conflict(StreamwardError):
    """The request contradicts the state it meets (a cursor ahead of its stream, another body under the same key)."""

    code, status, fault = "conflict", 409, "caller"


class Gone(StreamwardError):
    """The offset is older than what is retained."""

    code, status, fault = "gone", 410, "caller"


class TooLarge(StreamwardError):
    """A body, event or buffer went past its bound."""

    code, status, fault = "content_too_large", 413, "caller"


class RateLimited(StreamwardError):
    """A limit of ours or of the upstream; ``info.retry_after_s`` says when to come back."""

    code, status, fault, safe_to_retry = "rate_limit_exceeded", 429, "caller", True


class Overloaded(StreamwardError):
    """This server takes no more work right now."""

    code, status, fault, safe_to_retry = "overloaded", 503, "server", True


class ServerShutdown(StreamwardError):
    """This server is stopping; another one, or this one soon, can serve the call."""

    code, status, fault, safe_to_retry = "server_shutdown", 503, "server", True


class UpstreamError(StreamwardError):
    """The provider answered with an error, or said so in mid-stream."""

    code, status, fault, safe_to_retry = "upstream_error", 502, "upstream", True


class UpstreamAuth(UpstreamError):
    """The provider refused our credentials: the operator's problem, never the caller's."""

    code, safe_to_retry = "upstream_auth", False


class UpstreamReset(UpstreamError):
    """The connection to the provider could not be made or broke."""

    code = "upstream_reset"


class StreamTruncated(UpstreamError):
    """The provider's stream ended without saying that it was finished."""

    code = "stream_truncated"


class UpstreamInvalid(UpstreamError):
    """The provider sent something that is not its dialect."""

    code = "upstream_invalid"


class UpstreamTimeout(UpstreamError):
    """A deadline passed: connect, first byte, idle or total."""

    code, status = "upstream_timeout", 504


class StreamInterrupted(StreamwardError):
    """A stream that had begun broke off; the exception carries what arrived (``partial``)."""

    code, status, fault = "stream_interrupted", 502, "upstream"

    def __init__(self, message: str, *, partial: object = None, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.partial = partial


def to_exception(info: ErrorInfo) -> StreamwardError:
    """The most specific exception class for *info*; the value itself is kept as ``.info``."""
    fallback = UpstreamError if info.status >= 500 else InvalidRequest
    kind = BY_CODE.get(info.code) or BY_STATUS.get(info.status) or fallback
    error = kind(info.message)
    error.info = info
    return error


BY_CODE: dict[str, type[StreamwardError]] = {
    kind.code: kind
    for kind in (
        InvalidRequest, Unsupported, AuthenticationFailed, PermissionDenied, NotFound, ModelNotFound, Conflict, Gone,
        TooLarge, RateLimited, Overloaded, ServerShutdown, UpstreamError, UpstreamAuth, UpstreamReset, StreamTruncated,
        UpstreamInvalid, UpstreamTimeout, StreamInterrupted,
    )
}  # fmt: skip

BY_STATUS: dict[int, type[StreamwardError]] = {
    400: InvalidRequest, 401: AuthenticationFailed, 403: PermissionDenied, 404: NotFound, 409: Conflict, 410: Gone,
    413: TooLarge, 429: RateLimited, 503: Overloaded, 504: UpstreamTimeout,
}  # fmt: skip
