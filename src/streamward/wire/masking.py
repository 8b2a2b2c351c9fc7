"""What browsers get to read about errors. By default: nothing (upstream bodies, paths and keys hide in messages)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

ErrorKind = Literal["error", "tool-error", "tool-input-error"]
"""The stream failed; a tool raised; the model's arguments for a tool are not valid."""

ErrorText: TypeAlias = Callable[[ErrorKind, str], str]
"""From the kind and the real message to the text that is sent."""

MASKED = "An error occurred."


def mask(_kind: ErrorKind, _message: str) -> str:
    """The AI SDK's default (versions 4 to 6)."""
    return MASKED


def mask_empty(_kind: ErrorKind, _message: str) -> str:
    """The default of AI SDK 3.4: an empty text."""
    return ""


def mask_stream_errors(kind: ErrorKind, message: str) -> str:
    """The default of AI SDK 7: failed tools show their message, as JavaScript spells an Error, everything else is
    masked."""
    if kind == "error":
        return MASKED
    return f"Error: {message}" if kind == "tool-error" else message


def call(error_text: ErrorText, kind: ErrorKind, message: str) -> str:
    """The text for the browser; a mask that fails masks everything."""
    try:
        return str(error_text(kind, message))
    except Exception:  # application code: its own failure must not leak what it was to hide
        return MASKED
