"""Reading what a provider sent without trusting it: a value of another type than expected counts as absent. Pure."""

from __future__ import annotations

from typing import Any


def as_dict(value: Any) -> dict[str, Any]:
    return value if type(value) is dict else {}


def as_list(value: Any) -> list[Any]:
    return value if type(value) is list else []


def as_text(value: Any) -> str:
    return value if type(value) is str else ""


def as_count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
