"""Log entries on standard output, written by a thread: a slow terminal must not hold up a stream."""

from __future__ import annotations

import sys
import threading
from collections import deque
from datetime import datetime
from typing import BinaryIO

from streamward.functions.logs import Entry, encoder

MAX_WAITING = 10_000  # entries a slow terminal may leave with us
COLOURS = {"debug": "2", "info": "36", "warning": "33", "error": "31", "fatal": "1;31"}


class Console:
    """A sink of the log book: ``json`` lines or ``pretty`` ones."""

    def __init__(self, form: str, stream: BinaryIO | None = None) -> None:
        self.form = form
        self.stream = stream or sys.stdout.buffer
        self.colour = form == "pretty" and self.stream.isatty()
        self.waiting: deque[Entry] = deque()
        self.dropped = 0
        self.stir = threading.Event()
        self.ending = False
        self.thread = threading.Thread(target=self.run, name="streamward-console", daemon=True)
        self.thread.start()

    def offer(self, entries: list[Entry]) -> None:
        self.waiting.extend(entries)
        while len(self.waiting) > MAX_WAITING:
            self.waiting.popleft()
            self.dropped += 1
        if not self.stir.is_set():
            self.stir.set()

    def run(self) -> None:
        while not self.ending or self.waiting:
            self.stir.wait()
            self.stir.clear()
            take = self.waiting.popleft
            entries = [take() for _ in range(len(self.waiting))]
            lines = [render(entries, self.form, colour=self.colour)]
            dropped, self.dropped = self.dropped, 0
            if dropped:
                lines.append(f"streamward: {dropped} log entries were not shown\n".encode())
            try:
                self.stream.write(b"".join(lines))
                self.stream.flush()
            except (OSError, ValueError):  # nobody reads any more
                return

    def close(self, seconds: float = 1.0) -> None:
        self.ending = True
        self.stir.set()
        self.thread.join(seconds)


def render(entries: list[Entry], form: str, *, colour: bool = False) -> bytes:
    """*entries*, one a line (pretty: as many lines as a message has)."""
    if form == "json":
        return encoder.encode_lines(entries)
    return b"".join(pretty(entry, colour=colour) for entry in entries)


def pretty(entry: Entry, *, colour: bool) -> bytes:
    clock = datetime.fromtimestamp(entry.timestamp / 1000).strftime("%H:%M:%S.%f")[:-3]
    level = entry.level.ljust(7)
    if colour:
        level = f"\x1b[{COLOURS.get(entry.level, '0')}m{level}\x1b[0m"
    request = f" {entry.request_id[:8]}" if entry.request_id else ""
    where = f" {entry.entrypoint}" if entry.entrypoint else ""
    return f"{clock} {level}{request}{where}  {entry.message}\n".encode("utf-8", "replace")
