"""One access record per request: what was asked, who answered, how it ended. Never prompts or answers."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Literal, TextIO

import msgspec
from msgspec import Struct

Ending = Literal["finished", "failed", "truncated", "cancelled", "refused"]
Grade = Literal["exact", "provider_partial", "estimated", "none"]

FLUSH_S = 0.25
MAX_BUFFERED = 256
"""Records held before they are written out: a write per request costs more than the record."""


class Record(Struct, omit_defaults=True):
    """Field by field what the contract of access records names; times in milliseconds."""

    time: float = 0.0
    id: str = ""
    key: str = ""
    route: str = ""
    model: str = ""
    target: str = ""
    stream: bool = False
    status: int = 0
    ending: Ending | None = None
    code: str = ""
    finish_reason: str = ""
    attempts: int = 0
    fallbacks: int = 0
    """How many targets were given up before ``target``."""
    legs: tuple[str, ...] = ()
    """Targets that said a part of one answer each, in order, where it was continued after a break."""
    ttft_ms: float | None = None
    duration_ms: float = 0.0
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None
    bytes_out: int = 0
    events: int = 0
    grade: Grade = "none"


class AccessLog:
    """Writes records as JSON lines or for people; buffered, flushed by timer and at the end."""

    def __init__(self, form: Literal["json", "pretty", "off"], stream: TextIO | None = None) -> None:
        self.form = form
        self.stream = stream or sys.stdout
        self.buffer: list[bytes] = []
        self.timer: asyncio.TimerHandle | None = None
        self.encode = msgspec.json.Encoder().encode

    def write(self, record: Record) -> None:
        if self.form == "off":
            return
        self.buffer.append(self.encode(record) if self.form == "json" else pretty(record))
        if len(self.buffer) >= MAX_BUFFERED:
            self.flush()
        elif self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if not self.buffer:
            return
        text = b"\n".join(self.buffer).decode() + "\n"
        self.buffer = []
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):
            self.form = "off"  # the reader of our output is gone; serving matters more


def pretty(record: Record) -> bytes:
    clock = time.strftime("%H:%M:%S", time.localtime(record.time))
    parts = [clock, str(record.status), record.route, record.model, record.ending]
    if record.target and record.target != record.model:
        parts.append(f"by {record.target}")
    if record.code:
        parts.append(record.code)
    if record.ttft_ms is not None:
        parts.append(f"ttft {record.ttft_ms:.0f} ms")
    parts.append(f"{record.duration_ms:.0f} ms")
    if record.output_tokens is not None:
        parts.append(f"{record.input_tokens or 0}+{record.output_tokens} tokens")
    return " ".join(part for part in parts if part).encode()
