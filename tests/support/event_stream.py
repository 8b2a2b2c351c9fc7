"""AWS event-stream messages as Bedrock writes them."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any


def header(name: str, value: str) -> bytes:
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()


def framed(headers: bytes, payload: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    start = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return start + struct.pack(">I", zlib.crc32(start))


def message(kind: str, payload: Any) -> bytes:
    headers = header(":event-type", kind) + header(":content-type", "application/json") + header(":message-type", "event")
    return framed(headers, json.dumps(payload, ensure_ascii=False).encode())


def exception(kind: str, text: str = "no") -> bytes:
    headers = header(":exception-type", kind) + header(":content-type", "application/json")
    return framed(headers + header(":message-type", "exception"), json.dumps({"message": text}).encode())


def stream(*events: dict[str, Any]) -> bytes:
    """Each event as ``{kind: payload}``, the form of the API reference."""
    return b"".join(message(kind, payload) for event in events for kind, payload in event.items())


def delta(index: int, **fields: Any) -> dict[str, Any]:
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": fields, "p": "abcdef"}}


def stop(index: int) -> dict[str, Any]:
    return {"contentBlockStop": {"contentBlockIndex": index}}


def tool(index: int, call_id: str, name: str) -> dict[str, Any]:
    return {"contentBlockStart": {"contentBlockIndex": index, "start": {"toolUse": {"toolUseId": call_id, "name": name}}}}
