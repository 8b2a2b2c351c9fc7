"""The committed captures of real AI SDK packages (tests/aisdk/captures, written by tests/aisdk/capture)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

DIRECTORY = Path(__file__).parent.parent / "aisdk" / "captures"


def document(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DIRECTORY / f"{name}.json").read_text("utf-8"))
    return loaded


def streams(versions: tuple[int, ...], kind: str) -> list[Any]:
    """Test parameters (version, capture): every captured response of one kind, ``data`` or ``text``."""
    return [
        pytest.param(version, capture, id=f"v{version}-{capture['name']}")
        for version in versions
        for capture in document(f"v{version}")["streams"]
        if capture["kind"] == kind
    ]


def conversions(version: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document(f"v{version}")["conversions"]
    return found


def writers(versions: tuple[int, ...]) -> list[Any]:
    """Test parameters (version, capture): bodies made by stream writers."""
    return [
        pytest.param(version, capture, id=f"v{version}-{capture['name']}")
        for version in versions
        for capture in document(f"v{version}")["writers"]
    ]


def hook_requests(version: int) -> list[dict[str, Any]]:
    """What the chat transport of a version sent, in order."""
    found: list[dict[str, Any]] = document(f"v{version}")["hooks"]
    return found
