"""Log entries of functions: made, numbered, kept, and shown to readers while they happen.

The book never blocks: readers have bounded queues of their own. Drains are in ``drains``, the console in ``console``.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from copy import copy
from typing import TypeAlias

import msgspec
from msgspec import Struct

RETAINED = 10_000  # newest entries kept for --since
SHOWN_WITHOUT_SINCE = 100
READER_ENTRIES = 10_000  # what a slow reader may leave with us
READER_BYTES = 8 << 20
MAX_FORMS = 64  # of one request: more take a little longer
REMEMBERED = 2_000  # finished requests whose late lines still get their numbers

LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3, "fatal": 4}


class Entry(Struct, rename="camel", omit_defaults=True, kw_only=True, gc=False):
    """One log entry, in the fields of Vercel's log drains."""

    id: str
    timestamp: int
    level: str
    message: str
    source: str
    type: str
    host: str
    project_id: str
    deployment_id: str
    instance_id: str
    environment: str
    request_id: str | None = None
    seq: int | None = None
    path: str | None = None
    method: str | None = None
    entrypoint: str | None = None
    trace_id: str | None = None
    message_truncated: bool = False
    dropped: int | None = None
    outcome: str | None = None
    status_code: int | None = None
    duration_ms: float | None = None
    ttfb_ms: float | None = None
    bytes: int | None = None
    code: str | None = None


encoder = msgspec.json.Encoder()
encode = encoder.encode


Form: TypeAlias = tuple[str, str, str]
"""Level, type and instance of an entry."""


class Origin(Struct, frozen=True):
    """What all entries of a server have in common."""

    host: str
    project: str
    environment: str
    deployment: str


class RequestMark:
    """The request an entry belongs to; counts its entries."""

    __slots__ = ("entrypoint", "forms", "method", "path", "request_id", "seq", "trace_id")

    def __init__(self, request_id: str, path: str, method: str, entrypoint: str, trace_id: str) -> None:
        self.request_id = request_id
        self.path = path
        self.method = method
        self.entrypoint = entrypoint
        self.trace_id = trace_id
        self.seq = 0
        self.forms: dict[Form, Entry] = {}


class Reader:
    """One live follower: a bounded queue and a wake-up call."""

    def __init__(self, wanted: Filter, wake: Callable[[], None]) -> None:
        self.wanted = wanted
        self.wake = wake
        self.queue: deque[Entry] = deque()
        self.bytes = 0
        self.dropped: dict[str | None, tuple[int, Entry]] = {}

    def push(self, entry: Entry) -> None:
        if not self.wanted.takes(entry):
            return
        self.queue.append(entry)
        self.bytes += len(entry.message)
        while len(self.queue) > READER_ENTRIES or self.bytes > READER_BYTES:
            oldest = self.queue.popleft()
            self.bytes -= len(oldest.message)
            count, _ = self.dropped.get(oldest.request_id, (0, oldest))
            self.dropped[oldest.request_id] = (count + 1, oldest)
        self.wake()

    def take(self, limit: int) -> list[Entry]:
        """Up to *limit* entries; a notice of what was dropped comes first."""
        out: list[Entry] = []
        for count, last in self.dropped.values():
            said = f"{count} entries were dropped: this reader was too slow"
            out.append(
                msgspec.structs.replace(
                    last, id=last.id + "-dropped", level="warning", type="stderr", message=said, dropped=count, seq=None
                )
            )
        self.dropped = {}
        while self.queue and len(out) < limit:
            entry = self.queue.popleft()
            self.bytes -= len(entry.message)
            out.append(entry)
        return out


class Filter(Struct, frozen=True):
    """Which entries a reader wants."""

    request_id: str | None = None
    level: str = "debug"
    since_ms: int | None = None

    def takes(self, entry: Entry) -> bool:
        if self.request_id is not None and entry.request_id != self.request_id:
            return False
        if self.since_ms is not None and entry.timestamp < self.since_ms:
            return False
        return LEVELS.get(entry.level, 1) >= LEVELS[self.level]


class LogBook:
    """All entries of this server: the newest are retained, live readers and sinks get each as it is made."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.retained: deque[Entry] = deque(maxlen=RETAINED)
        self.readers: set[Reader] = set()
        self.sinks: list[Callable[[list[Entry]], None]] = []
        self.forms: dict[Form, Entry] = {}
        self.finished: OrderedDict[str, RequestMark] = OrderedDict()
        self.prefix = origin.deployment[-8:] + "-" + secrets.token_hex(3)
        self.count = 0

    def add(
        self, level: str, message: str, *, kind: str = "stderr", mark: RequestMark | None = None, instance: str = "front",
        timestamp: int | None = None, truncated: bool = False, dropped: int | None = None, code: str | None = None,
    ) -> Entry:  # fmt: skip
        """Make an entry and hand it on."""
        entry = self.make(level, message, kind, mark, instance, timestamp)
        if truncated:
            entry.message_truncated = True
        entry.dropped = dropped
        entry.code = code
        self.publish([entry])
        return entry

    def make(
        self, level: str, message: str, kind: str, mark: RequestMark | None, instance: str, timestamp: int | None = None
    ) -> Entry:
        self.count += 1
        forms = mark.forms if mark is not None else self.forms
        form = forms.get((level, kind, instance))
        if form is None:
            form = self.form(level, kind, mark, instance)
            if len(forms) < MAX_FORMS:
                forms[level, kind, instance] = form
        entry = copy(form)
        entry.id = f"{self.prefix}-{self.count:x}"
        entry.timestamp = timestamp if timestamp is not None else now_ms()
        entry.message = message
        if mark is not None:
            mark.seq += 1
            entry.seq = mark.seq
        return entry

    def form(self, level: str, kind: str, mark: RequestMark | None, instance: str) -> Entry:
        """What entries of the same kind and request have in common: entries are copies of it."""
        origin = self.origin
        form = Entry(
            id="", timestamp=0, level=level, message="", source="lambda", type=kind, host=origin.host,
            project_id=origin.project, deployment_id=origin.deployment, instance_id=instance, environment=origin.environment,
        )  # fmt: skip
        if mark is not None:
            form.request_id, form.path, form.method = mark.request_id, mark.path, mark.method
            form.entrypoint, form.trace_id = mark.entrypoint, mark.trace_id
        return form

    def publish(self, entries: list[Entry]) -> None:
        self.retained.extend(entries)
        for reader in self.readers:
            for entry in entries:
                reader.push(entry)
        for sink in self.sinks:
            sink(entries)

    def remember(self, mark: RequestMark) -> None:
        """The request is over; lines of threads it left behind may still come."""
        self.finished[mark.request_id] = mark
        if len(self.finished) > REMEMBERED:
            self.finished.popitem(last=False)

    def select(self, wanted: Filter, *, all_of_them: bool) -> list[Entry]:
        """Retained entries, oldest first; without *all_of_them* the newest SHOWN_WITHOUT_SINCE."""
        found = [entry for entry in self.retained if wanted.takes(entry)]
        return found if all_of_them else found[-SHOWN_WITHOUT_SINCE:]


class LineJoiner:
    """Whole lines from the bytes of one pipe; at most *limit* bytes of an unfinished one are held."""

    def __init__(self, limit: int = 256 << 10) -> None:
        self.limit = limit
        self.rest: list[bytes] = []
        self.size = 0
        self.truncated = False
        self.since = 0.0

    def feed(self, data: bytes, now: float) -> Iterator[tuple[str, bool]]:
        """(line, whether it was cut)."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self.keep(line)
            yield self.end()
        if rest:
            if not self.rest:
                self.since = now
            self.keep(rest)

    def keep(self, data: bytes) -> None:
        room = self.limit - self.size
        if len(data) > room:
            self.truncated = True
            data = data[: max(0, room)]
        if data:
            self.rest.append(data)
            self.size += len(data)

    def end(self) -> tuple[str, bool]:
        text, truncated = b"".join(self.rest).decode("utf-8", "replace"), self.truncated
        self.rest, self.size, self.truncated = [], 0, False
        return text, truncated


def now_ms() -> int:
    return time.time_ns() // 1_000_000
