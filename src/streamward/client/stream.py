"""One streamed answer: typed events from a server, over as many connections as it takes.

A stream whose server keeps it (``x-streamward-stream-id``, or a background response) is continued at the last frame
received. Any other one is asked for again as long as nothing of it was shown. After that a failure is an exception that
carries what had arrived: an answer that broke off never looks finished.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from streamward.client.cursor import START, Cursor, Gap
from streamward.client.failure import CUT, answered, in_band, total_passed
from streamward.client.policy import LOST_FOR_GOOD
from streamward.client.request import MODULE_OF
from streamward.client.transport import Incoming
from streamward.errors import ErrorInfo, StreamInterrupted, StreamwardError, to_exception
from streamward.events import TERMINAL, Error, Event, TextDelta, is_content
from streamward.reply import Collector, Reply
from streamward.wire.dialect import Decode, ReadFrames
from streamward.wire.table import dialect as dialect_module

if TYPE_CHECKING:
    from streamward.client.client import Client

KEY = "idempotency-key"

STOP_WAIT_S = 2.0
"""How long the request that stops an abandoned durable stream may take."""

WRONG_TYPE = ErrorInfo(
    "upstream_invalid", "the server did not answer with text/event-stream; check base_url and the dialect", 502
)
GAP = ErrorInfo("stream_truncated", "the server went on with a later event than the one asked for", 502)


class Stream:
    """The events of one call, for one reader::

        async with client.stream(model="demo/chat", messages="hi") as stream:
            async for event in stream: ...
        stream.reply

    The request is sent on entering. The events obey the grammar up to a ``Finish``; every other ending is raised as
    :class:`StreamInterrupted` (something was shown; ``partial`` is the reply so far, its ``finish_reason`` ``None``) or
    as the error itself (nothing was shown). Leaving the block early closes the connection at once and stops a durable
    stream on its server, unless ``detach`` was called.
    """

    def __init__(
        self, client: Client, dialect: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None,
        stored: bool = False, follow: str = "", after: int = START,
    ) -> None:  # fmt: skip
        self.client = client
        self.dialect = dialect
        self.module = dialect_module(MODULE_OF[dialect])
        self.body = body
        self.headers = dict(headers or {})
        self.cursor = Cursor(dialect, stored=stored)
        self.follows = bool(follow)
        self.cursor.stream_id, self.cursor.offset = follow, after
        self.collector = Collector()
        self.ready: list[Event] = []
        self.held: list[Event] = []
        self.position = 0
        self.carried: list[Event] = []  # decoded in the read that failed
        self.incoming: Incoming | None = None
        self.reader: ReadFrames
        self.decoder: Decode | None = None
        self.headed = False
        self.resuming = self.follows
        self.shown = False
        self.over = False
        self.detached = False
        self.failure: StreamwardError | None = None
        self.tries = 0
        self.failures = 0
        self.reconnections = 0
        """Times the stream was continued on a new connection."""
        self.deadline = float("inf")
        self.key = new_key()

    # -- what users see

    @property
    def id(self) -> str:
        """The durable stream's id; empty when the server does not keep this stream."""
        return self.cursor.stream_id

    @property
    def offset(self) -> int:
        """Number of the last frame received; -1 before the first."""
        return self.cursor.offset

    @property
    def reply(self) -> Reply:
        """The answer so far; ``finish_reason`` is ``None`` until the server said that it was finished."""
        return self.collector.reply()

    async def __aenter__(self) -> Self:
        total = self.client.timeouts.total
        if total:
            self.deadline = asyncio.get_running_loop().time() + total
        self.send()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self.position >= len(self.ready):
            self.ready = await self.read()
            self.position = 0
            if not self.ready:
                raise StopAsyncIteration
        event = self.ready[self.position]
        self.position += 1
        return event

    @property
    def text(self) -> TextPieces:
        """The text deltas alone, as an async iterator of strings."""
        return TextPieces(self)

    async def collect(self) -> Reply:
        """Read to the end; the complete reply. Raises as iterating does."""
        while await self.read():
            pass
        return self.reply

    async def stop(self) -> None:
        """Stop the generation on the server, and reading here. ``reply`` keeps what had arrived."""
        self.close()
        await self.client.stops(STOP_WAIT_S)

    def detach(self) -> str:
        """Leave a durable stream running when this block ends; its id, for ``client.follow``."""
        self.detached = True
        return self.cursor.stream_id

    def close(self) -> None:
        """Close the connection at once; a durable stream that still runs is stopped on its server."""
        if self.incoming is not None:
            self.incoming.close()
            self.incoming = None
        if not self.over and self.cursor.stream_id and not self.detached:
            self.client.stop_later(f"/streams/{self.cursor.stream_id}/stop")
        self.over = True

    def closed(self) -> bool:
        """Nothing more is read. Asked anew after every wait: ``close`` may have been called meanwhile."""
        return self.over

    # -- reading

    async def read(self) -> list[Event]:
        """The next events, at least one; an empty list after the last. Raises how it ended, unless it finished."""
        events: list[Event] = []
        while not events:
            if self.failure is not None:
                raise self.failure
            if self.closed():
                return []
            if self.incoming is None:
                raise RuntimeError("enter the stream first: async with client.stream(...) as stream")
            try:
                data = await self.received(self.incoming)
                if self.closed():  # somebody closed it while we waited
                    return []
                events = self.decode(data)
            except Gap:
                events = await self.recover(GAP, final=True)
            except StreamwardError as exc:
                if self.closed():
                    return []
                events = await self.recover(exc.info)
        return events

    async def received(self, incoming: Incoming) -> bytes:
        if not self.headed:
            head = await incoming.head()
            if head.status != 200:
                body = await incoming.error_body()
                raise to_exception(answered(head.status, head.headers, body))
            kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind not in (self.module.MEDIA_TYPE, ""):
                raise to_exception(WRONG_TYPE)
            self.headed = True
            self.cursor.answered(head.headers)
            profile = self.client.profile(head.headers)
            self.reader = self.module.Reader(profile)
            if self.decoder is None:
                self.decoder = self.module.Decoder(profile)
        return await incoming.read()

    def decode(self, data: bytes) -> list[Event]:
        """The events that are to be shown for this read. Raises the failure that ends this connection."""
        assert self.decoder is not None
        cursor, decoder = self.cursor, self.decoder
        events: list[Event] = []
        for frame in self.reader.feed(data) if data else self.reader.close():
            if not cursor.new(frame):
                continue
            self.failures = 0
            decoded = decoder.feed(frame)
            events.extend(decoded)
            if decoded and isinstance(decoded[-1], TERMINAL):
                last = decoded[-1]
                if isinstance(last, Error):
                    events[-1] = Error(in_band(frame.data, last.error), last.usage)
                return self.ended(events)
        if self.reader.error is not None:
            return self.ended(events + decoder.fail(self.reader.error))
        if data:
            return self.take(events)
        if cursor.resumable:  # the body ended in the middle: the server has the rest
            self.carried = self.take(events)
            raise to_exception(CUT)
        return self.ended(events + decoder.close())

    def take(self, events: list[Event]) -> list[Event]:
        """Book *events*; what may be shown of them. Until there is content they are held: a retry begins anew."""
        if self.shown:
            for event in events:
                self.collector.feed(event)
            return events
        self.held.extend(events)
        if not any(is_content(event) for event in events):
            return []
        return self.show()

    def show(self) -> list[Event]:
        self.shown = True
        events, self.held = self.held, []
        for event in events:
            self.collector.feed(event)
        return events

    def ended(self, events: list[Event]) -> list[Event]:
        """The terminal event has come, the last of *events*."""
        last = events[-1]
        if isinstance(last, Error):
            return self.broke(events, last.error)
        self.over = True
        if self.incoming is not None:
            self.incoming.let_go()
            self.incoming = None
        return self.take(events) or self.show()

    def broke(self, events: list[Event], error: ErrorInfo) -> list[Event]:
        """The server ended the stream with an error, *events* its closing ones."""
        if not self.shown and not any(is_content(event) for event in events) and error.safe_to_retry:
            # The stream of this key has failed for good: what is asked for now is another one.
            self.key = new_key()
            self.cursor = Cursor(self.dialect, stored=self.cursor.stored)
            raise to_exception(error)
        return self.fail(error, events)

    # -- failing and going on

    async def recover(self, error: ErrorInfo, *, final: bool = False) -> list[Event]:
        """Go on after a failed connection or answer, if that is possible; else end with the failure."""
        events, self.carried = self.carried, []
        if self.incoming is not None:
            self.incoming.close()
            self.incoming = None
        if final or not await self.try_again(error):
            if self.closed():
                return events
            return events + self.fail(error, self.decoder.fail(error) if self.decoder is not None else [])
        return events

    async def try_again(self, error: ErrorInfo) -> bool:
        """Open the next connection; False when nothing is left to try."""
        answered_no = self.resuming and not self.headed and error.status in LOST_FOR_GOOD
        if self.cursor.resumable and not answered_no:
            self.failures += 1
            if self.failures > self.client.retries.reconnects or not await self.paused(self.failures, error):
                return False
            self.resuming = True
            self.reconnections += 1
            self.send()
            return True
        if self.shown or self.follows or not (error.safe_to_retry or answered_no):
            return False
        if self.tries > self.client.retries.attempts or not await self.paused(self.tries, error):
            return False
        if answered_no:  # the server has forgotten a stream of which nothing was shown: ask anew
            self.key = new_key()
            self.cursor = Cursor(self.dialect, stored=self.cursor.stored)
        self.resuming = False
        self.decoder = None
        self.held = []
        self.send()
        return True

    async def paused(self, failures: int, error: ErrorInfo) -> bool:
        """Wait before the next try; False when there is no time for it."""
        pause = self.client.retries.pause(failures, error)
        if pause is None or asyncio.get_running_loop().time() + pause >= self.deadline:
            return False
        await asyncio.sleep(pause)
        return not self.over

    def send(self) -> None:
        """Ask for the stream, or for the rest of it."""
        timeouts = self.client.timeouts
        # Never 0, which would be no deadline; what has passed already is noticed at the next tick.
        left = max(self.deadline - asyncio.get_running_loop().time(), 0.001) if timeouts.total else 0.0
        self.headed = False
        if self.resuming:
            self.cursor.seam = True
            headers = {**self.headers, "accept": self.module.MEDIA_TYPE}
            path, method, body = self.cursor.path(), "GET", None
        else:
            self.tries += 1
            headers = {"accept": self.module.MEDIA_TYPE, **self.resume_fields(), **self.headers}
            path, method, body = self.module.path("", stream=True), "POST", self.body
        self.incoming = self.client.http.open(method, path, body, headers=headers, timeouts=timeouts, total_s=left)

    def resume_fields(self) -> dict[str, str]:
        if not self.client.resumable:
            return {}
        return {"x-streamward-resumable": "1", KEY: self.key}

    def fail(self, error: ErrorInfo, events: list[Event]) -> list[Event]:
        """End here. Open parts are closed for those who read on; how it ended is raised after them."""
        self.over = True
        if self.incoming is not None:
            self.incoming.close()
            self.incoming = None
        if asyncio.get_running_loop().time() >= self.deadline:
            error = total_passed(self.client.timeouts.total)
        shown = self.take([event for event in events if not isinstance(event, Error)])
        if not self.shown:
            self.failure = to_exception(error)
            return []
        self.collector.feed(Error(error))
        self.failure = StreamInterrupted(f"the answer broke off: {error.message}", partial=self.reply, code=error.code)
        self.failure.__cause__ = to_exception(error)
        return shown


class TextPieces:
    """The text of a stream, delta by delta."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while True:
            event = await self.stream.__anext__()
            if isinstance(event, TextDelta) and event.delta:
                return event.delta


def new_key() -> str:
    """A key under which a repeated request finds the answer that the first one began."""
    return secrets.token_hex(16)
