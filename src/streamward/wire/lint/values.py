"""Reading JSON for the rules: leniently, and never raising."""

from __future__ import annotations

from typing import Any

import msgspec

ABSENT: Any = object()


def parsed(data: bytes) -> Any:
    """The JSON value in *data*; ``ABSENT`` when it is none."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ABSENT


def is_json(text: str) -> bool:
    return parsed(text.encode("utf-8", "replace")) is not ABSENT
