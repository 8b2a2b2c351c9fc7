"""One access record per request: what was asked, who answered, how it ended. Never prompts or answers."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
import time
from typing import Literal, TextIO

import msgspec
from msgspec import Struct

Ending = Literal["finished", "failed", "truncated", "cancelled", "refused"]
Grade = Literal["exact", "provider_partial", "estimated", "none"]

FLUSH_S = 0.25
MAX_BUFFERED = 256
"""Records held before they are written out: a write per request costs more than the record."""


MAX_LOTS = 64
"""Lots that wait for a slow reader: some 16,000 records."""

CLOSE_S = 1.0


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
    """Writes records as JSON lines or for people, in lots, from a thread of its own.

    Standard output is often a pipe, and whoever reads it may stop: that must never hold up a stream. Lots that the
    reader does not take are dropped and counted (``dropped``, in records).
    """

    def __init__(self, form: Literal["json", "pretty", "off"], stream: TextIO | None = None) -> None:
        self.form = form
        self.stream = stream or sys.stdout
        self.buffer: list[bytes] = []
        self.timer: asyncio.TimerHandle | None = None
        self.encode = msgspec.json.Encoder().encode
        self.lots: queue.Queue[list[bytes] | None] = queue.Queue(MAX_LOTS)
        self.thread: threading.Thread | None = None
        self.dropped = 0

    def write(self, record: Record) -> None:
        if self.form == "off":
            return
        self.buffer.append(self.encode(record) if self.form == "json" else pretty(record))
        if len(self.buffer) >= MAX_BUFFERED:
            self.flush()
        elif self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Hand what is buffered to the writing thread; never waits."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if not self.buffer:
            return
        lot, self.buffer = self.buffer, []
        if self.thread is None:
            self.thread = threading.Thread(target=self.run, name="streamward-access-log", daemon=True)
            self.thread.start()
        try:
            self.lots.put_nowait(lot)
        except queue.Full:
            self.dropped += len(lot)

    def close(self) -> None:
        """Write what is left, waiting CLOSE_S at most."""
        self.flush()
        if self.thread is not None:
            with contextlib.suppress(queue.Full):
                self.lots.put_nowait(None)
            self.thread.join(CLOSE_S)
            self.thread = None

    def run(self) -> None:
        while (lot := self.lots.get()) is not None:
            try:
                self.stream.write(b"\n".join(lot).decode() + "\n")
                self.stream.flush()
            except (OSError, ValueError):
                self.form = "off"  # the reader of our output is gone; serving matters more
                return
            finally:
                self.lots.task_done()


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
