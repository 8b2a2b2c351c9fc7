"""What Bedrock's failures mean for our caller: HTTP answers, and exceptions inside a stream under a 200."""

from __future__ import annotations

from streamward.errors import ErrorInfo
from streamward.wire import json_text
from streamward.wire.loose import as_dict, as_text
from streamward.wire.upstream_status import CONTEXT_TOO_LONG, MAX_ERROR_BYTES, from_status

STATUS_OF_EXCEPTION = {
    "internalServerException": 500, "modelStreamErrorException": 500, "serviceUnavailableException": 503,
    "throttlingException": 429, "validationException": 400, "modelTimeoutException": 408,
}  # fmt: skip
"""Members of ``ConverseStreamOutput`` that are exceptions."""

FAILED_MODEL = 424  # ModelErrorException: the model broke down; the caller did nothing wrong


def parse_error(status: int, body: bytes) -> ErrorInfo:
    """What an upstream's error answer means: the status tells, but for a prompt that is too long."""
    if status == FAILED_MODEL:
        return from_status(500)
    if status == 400 and len(body) <= MAX_ERROR_BYTES:
        try:
            message = as_text(as_dict(json_text.decode_any(body)).get("message"))
        except (ValueError, RecursionError):
            message = ""
        if any(words in message.lower() for words in TOO_LONG):
            return CONTEXT_TOO_LONG
    return from_status(status)


def error_of(exception: str) -> ErrorInfo:
    """An exception in mid-stream, by its name."""
    return from_status(STATUS_OF_EXCEPTION.get(exception, 500), exception if exception in STATUS_OF_EXCEPTION else "")


TOO_LONG = ("too long", "too many input tokens", "exceeds the maximum")
