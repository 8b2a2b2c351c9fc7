"""Everything user code says, as records to the front: print, sys.stdout/err, logging.

Records are sent by the writing thread itself, at once, so that the last words before a crash arrive; when the front is
behind, they wait in a bounded queue that a thread empties. Raw descriptor output does not pass here: the front reads
those pipes itself.
"""

from __future__ import annotations

import codecs
import io
import logging
import select
import socket
import sys
import threading
import time
from collections import OrderedDict, deque
from typing import Any, cast

from streamward.functions import link
from streamward.functions.worker.context import CURRENT

MAX_LINE = 256 << 10  # bytes of one line; the rest is cut and said to be
MAX_WAITING = 10_000  # records a slow front may leave with us
MAX_WAITING_BYTES = 8 << 20
BATCH_BYTES = 16 << 10  # per packet: about what the front takes in one turn
PARTIAL_S = 1.0  # a line without its newline is sent after this long
DONE_WAIT_S = 2.0  # how long the end of an invocation waits for its last lines to leave

Key = tuple[str | None, str]


class LogPipe:
    """The way of records to the front. Thread-safe and re-entrant (finalizers print at any moment)."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.lock = threading.RLock()
        self.waiting: OrderedDict[str | None, deque[link.LogRecord]] = OrderedDict()
        self.waiting_count = 0
        self.waiting_bytes = 0
        self.dropped: dict[str | None, int] = {}
        self.partial: dict[Key, Partial] = {}
        self.active = False  # a line was begun since the thread last looked
        self.timed = False  # the thread looks again by itself
        self.stir = threading.Event()
        threading.Thread(target=self.run, name="streamward-logs", daemon=True).start()

    def send(self, record: link.LogRecord) -> None:
        with self.lock:
            if not self.waiting:
                try:
                    self.sock.send(link.pack([record]))
                    return
                except BlockingIOError:
                    pass
                except OSError:  # no front, nobody to tell
                    return
            self.keep(record)
        self.stir.set()

    def keep(self, record: link.LogRecord) -> None:
        queue = self.waiting.setdefault(record.request_id, deque())
        queue.append(record)
        self.waiting_count += 1
        self.waiting_bytes += len(record.message)
        while self.waiting_count > MAX_WAITING or self.waiting_bytes > MAX_WAITING_BYTES:
            oldest = queue.popleft()
            self.waiting_count -= 1
            self.waiting_bytes -= len(oldest.message)
            self.dropped[record.request_id] = self.dropped.get(record.request_id, 0) + 1
            if not queue:
                del self.waiting[record.request_id]
                break

    def run(self) -> None:
        poll = select.poll()
        poll.register(self.sock.fileno(), select.POLLOUT)
        while True:
            with self.lock:
                self.timed = self.active or bool(self.partial)
                self.active = False
            self.stir.wait(PARTIAL_S / 4 if self.timed else None)
            self.stir.clear()
            self.end_partials()
            while self.waiting or self.dropped:
                poll.poll(1000)
                if not self.flush():
                    break

    def flush(self) -> bool:
        """Send one packet of what waits; False when the front is gone."""
        with self.lock:
            batch: list[link.LogRecord] = []
            size = 0
            while self.waiting and size < BATCH_BYTES:
                request_id, queue = next(iter(self.waiting.items()))
                while queue and size < BATCH_BYTES:
                    batch.append(queue.popleft())
                    size += len(batch[-1].message) + 64
                if not queue:
                    del self.waiting[request_id]
            if not self.waiting:
                for request_id, count in self.dropped.items():
                    said = f"{count} log lines were dropped: written faster than they could be taken"
                    batch.append(link.LogRecord(request_id, "stderr", "warning", now_ms(), said, dropped=count))
                self.dropped = {}
            try:
                self.sock.send(link.pack(batch))
            except BlockingIOError:
                self.put_back(batch)
                return True
            except OSError:
                return False
            for record in batch:
                if not record.dropped:
                    self.waiting_count -= 1
                    self.waiting_bytes -= len(record.message)
            return True

    def put_back(self, batch: list[link.LogRecord]) -> None:
        for record in reversed(batch):
            if record.dropped:
                self.dropped[record.request_id] = self.dropped.get(record.request_id, 0) + record.dropped
                continue
            self.waiting.setdefault(record.request_id, deque()).appendleft(record)
            self.waiting.move_to_end(record.request_id, last=False)

    # -- lines

    def text(self, stream: str, text: str) -> None:
        """Take *text* written to *stream*: whole lines are sent, a rest is kept."""
        invocation = CURRENT.get()
        key = (invocation.request_id if invocation is not None else None, stream)
        with self.lock:
            at = 0
            while (end := text.find("\n", at)) >= 0:
                self.line(key, text[at:end])
                at = end + 1
            if at < len(text):
                rest = self.partial.get(key)
                if rest is None:
                    rest = self.partial[key] = Partial()
                    self.active = True
                    if not self.timed:
                        self.timed = True
                        self.stir.set()
                rest.add(text[at:])

    def line(self, key: Key, text: str) -> None:
        truncated = False
        partial = self.partial.pop(key, None)
        if partial is not None:
            partial.add(text)
            text, truncated = "".join(partial.parts), partial.truncated
        text, cut = fitting(text)
        truncated = truncated or cut
        request_id, stream = key
        level = "info" if stream == "stdout" else "error"
        self.send(link.LogRecord(request_id, stream, level, now_ms(), text, truncated))

    def end_partials(self) -> None:
        oldest = time.monotonic() - PARTIAL_S
        with self.lock:
            for key in [key for key, partial in self.partial.items() if partial.since <= oldest]:
                self.line(key, "")

    def entry(self, level: str, message: str) -> None:
        """A logging record: one entry, however many lines."""
        invocation = CURRENT.get()
        message, truncated = fitting(message)
        request_id = invocation.request_id if invocation is not None else None
        self.send(link.LogRecord(request_id, "stderr", level, now_ms(), message, truncated))

    def finish(self, request_id: str) -> None:
        """Send the unfinished lines of an invocation that is over."""
        with self.lock:
            for stream in ("stdout", "stderr"):
                if (request_id, stream) in self.partial:
                    self.line((request_id, stream), "")

    def holds(self, request_id: str) -> bool:
        return request_id in self.waiting or request_id in self.dropped


def fitting(text: str) -> tuple[str, bool]:
    """(*text* as it can be sent, whether it was cut): at most MAX_LINE bytes, no lone surrogates."""
    if text.isascii():
        return text[:MAX_LINE], len(text) > MAX_LINE
    data = text.encode("utf-8", "replace")
    return data[:MAX_LINE].decode("utf-8", "ignore"), len(data) > MAX_LINE


class Partial:
    """The beginning of a line whose newline has not come."""

    __slots__ = ("parts", "since", "size", "truncated")

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.size = 0
        self.truncated = False
        self.since = time.monotonic()

    def add(self, text: str) -> None:
        if self.size + len(text) > MAX_LINE:
            self.truncated = True
            text = text[: MAX_LINE - self.size]
        if text:
            self.parts.append(text)
            self.size += len(text)


class CapturedText(io.TextIOBase):
    """In place of ``sys.stdout`` or ``sys.stderr``."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, pipe: LogPipe, name: str, fd: int) -> None:
        self.pipe = pipe
        self.name = f"<{name}>"
        self.stream = name
        self.fd = fd
        self.buffer = CapturedBytes(self)

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text:
            self.pipe.text(self.stream, text)
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        """Stays open: libraries close what they did not open."""

    def reconfigure(self, **_: object) -> None:
        """Accepted: lines are always UTF-8 here."""


class CapturedBytes(io.BufferedIOBase):
    """``sys.stdout.buffer``."""

    def __init__(self, text: CapturedText) -> None:
        self.owner = text
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: Any, /) -> int:
        view = bytes(data)
        self.owner.write(self.decoder.decode(view))
        return len(view)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.owner.fd

    def close(self) -> None:
        """Stays open."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def level_name(number: int) -> str:
    for bound, name in ((20, "debug"), (30, "info"), (40, "warning"), (50, "error")):
        if number < bound:
            return name
    return "fatal"


class CaptureHandler(logging.Handler):
    """Where records go that no handler of the user's takes. Debug chatter of libraries is left out."""

    def __init__(self, pipe: LogPipe, folder: str) -> None:
        super().__init__()
        self.pipe = pipe
        self.folder = folder

    def emit(self, record: logging.LogRecord) -> None:
        mine = record.pathname.startswith(self.folder) and "site-packages" not in record.pathname
        if record.levelno >= logging.INFO or mine:
            try:
                self.pipe.entry(level_name(record.levelno), self.format(record))
            except Exception:
                self.handleError(record)


QUIET = ("asyncio", "httpcore", "httpx", "urllib3", "hpack", "h11", "openai", "anthropic", "websockets", "botocore")
"""Loggers that write debug records on their own hot paths."""


def install(sock: socket.socket, folder: str) -> LogPipe:
    """Capture this process from now on."""
    pipe = LogPipe(sock)
    sys.stdout = cast("Any", CapturedText(pipe, "stdout", 1))
    sys.stderr = cast("Any", CapturedText(pipe, "stderr", 2))
    logging.lastResort = cast("Any", CaptureHandler(pipe, folder))
    logging.root.setLevel(logging.DEBUG)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.INFO)
    plain_emit = logging.StreamHandler.emit

    def emit(self: logging.StreamHandler[Any], record: logging.LogRecord) -> None:
        # basicConfig() and friends write to sys.stderr; taken here the record keeps its level and stays one entry
        if not isinstance(self.stream, CapturedText):
            plain_emit(self, record)
            return
        try:
            pipe.entry(level_name(record.levelno), self.format(record))
        except Exception:
            self.handleError(record)

    logging.StreamHandler.emit = emit  # type: ignore[method-assign,assignment]
    return pipe
