"""A client reading a durable stream: its first reader as well as every returning one.

    lookup -> attach at the cursor -> [first frame decides: head] -> frames -> end

Frames go out as they were stored. Between them, and only on this connection, there are keep-alive comments.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from streamward.dataplane.exchange import Sink
from streamward.durable import START, Ending, Offset, StreamState, Tail
from streamward.durable.cursor import first_after
from streamward.errors import Conflict, ErrorInfo, StreamwardError
from streamward.gateway.auth import Caller
from streamward.gateway.exchange import FOREVER, ID_PREFIX, JSON_FIELDS, SHUTDOWN, STREAM_FIELDS
from streamward.gateway.records import Record
from streamward.gateway.stream_frames import StreamMeta, meta_of, result_of
from streamward.wire.dialect import Context
from streamward.wire.retell import Retelling
from streamward.wire.sse import KEEP_ALIVE, KEEP_ALIVE_BESIDE_IDS
from streamward.wire.table import chunk_per_frame
from streamward.wire.table import dialect as dialect_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamward.gateway.app import Gateway

WRONG_ROUTE = "this stream speaks another dialect than the route; use GET /v1/streams/{id}"


class Delivery:
    """One stream to one client: a tail's sink on one side, the client's on the other.

    *fields* are the header lines of the answer beyond its type; *over* is called once, when nothing more will be sent,
    with the code of what went wrong on this side (empty when all was delivered).
    """

    __slots__ = (
        "body", "bytes_out", "closed", "fields", "gateway", "keep_alive", "last_at", "meta", "moved", "over", "paused",
        "retelling", "sink", "started", "state", "status", "tail",
    )  # fmt: skip

    def __init__(self, gateway: Gateway, sink: Sink, fields: Callable[[bytes], bytes], over: Callable[[str], None]) -> None:
        self.gateway = gateway
        self.sink = sink
        self.fields = fields
        self.over = over
        self.tail: Tail | None = None
        self.started = False
        self.closed = False
        self.paused = False
        self.moved = False
        self.status = 0
        self.bytes_out = 0
        self.last_at = FOREVER
        self.keep_alive = KEEP_ALIVE
        self.body: list[bytes] = []  # of an answer that is not streamed, until it is whole
        self.retelling: Retelling | None = None

    async def open(self, state: StreamState, after: Offset = START, retelling: Retelling | None = None) -> None:
        """Begin to deliver what comes after *after*, told in other words if need be (then from the start of the stream).

        Raises:
            NotFound, Conflict, FramesGone, RateLimited: nothing was sent.
        """
        self.take(state)
        if retelling is not None:
            if not self.meta.streamed:
                raise Conflict("this call was not streamed: its answer can be had in its own dialect only; leave 'dialect' out")
            first_after(after, state)  # a cursor that makes no sense is refused here as there
            self.retelling = retelling
            self.keep_alive = KEEP_ALIVE_BESIDE_IDS
            after = START
        tail = await self.gateway.durable.streams.attach(state.id, self, after=after)
        if self.closed:  # the client left in the meantime
            tail.close()
        else:
            self.begin(tail)

    def open_new(self, state: StreamState) -> None:
        """The same for the stream that was created for this client."""
        self.take(state)
        if not self.closed:
            self.begin(self.gateway.durable.streams.attach_new(state, self))

    def take(self, state: StreamState) -> None:
        self.state: StreamState = state
        self.meta: StreamMeta = meta_of(state)
        if state.dialect != "responses":
            self.keep_alive = KEEP_ALIVE_BESIDE_IDS

    def begin(self, tail: Tail) -> None:
        state = self.state
        self.tail = tail
        self.gateway.durable.joined(state)
        if self.meta.streamed:
            if state.next:
                self.start()  # it was shown to somebody: this is an answer, and the client is to know at once
                self.sink.flush_head()
            self.gateway.ticker.add(self)
        if not self.paused:
            tail.resume()

    def start(self) -> None:
        self.started = True
        self.status = 200
        self.last_at = self.gateway.loop.time()
        told = self.retelling.dialect if self.retelling is not None else self.state.dialect
        self.sink.start(200, self.fields(STREAM_FIELDS), by_frame=chunk_per_frame(told))

    # -- the tail's sink

    def on_frames(self, frames: list[bytes], first: Offset) -> None:
        if not self.meta.streamed:
            self.body += frames
            return
        if not self.started:
            self.start()
        self.moved = True
        if self.retelling is not None:
            data = self.retelling.feed(frames, first)
        else:
            data = frames[0] if len(frames) == 1 else b"".join(frames)
        self.bytes_out += len(data)
        self.sink.write(data)

    def on_end(self, ending: Ending) -> None:
        if self.started:
            rest = self.retelling.close() if self.retelling is not None else b""
            self.bytes_out += len(rest)
            self.sink.finish(rest)
            self.finished()
        else:  # a whole answer, or a failure before the first token: its status stands in the stream's result
            self.gateway.spawn(self.answer_whole())

    def on_error(self, error: StreamwardError) -> None:
        if self.started:
            self.sink.abort()  # what follows cannot be had: a body broken off is not mistaken for a whole one
        else:
            self.answer_error(error.info)
        self.finished(error.info.code)

    async def answer_whole(self) -> None:
        state = await self.gateway.durable.streams.store.state(self.state.id) or self.state
        if self.closed:
            return
        result = result_of(state)
        if result.error is not None and not self.body:
            self.answer_error(result.error)
            self.finished(result.error.code)
            return
        raw = b"".join(self.body)
        self.status = result.status
        self.bytes_out = len(raw)
        fields = STREAM_FIELDS if self.meta.streamed else JSON_FIELDS
        self.sink.start(result.status, self.fields(fields), length=len(raw))
        self.sink.finish(raw)
        self.finished()

    def answer_error(self, error: ErrorInfo) -> None:
        self.status = error.status
        body = dialect_module(self.state.dialect).render_error(error)
        self.gateway.answer_error(self.sink, error, body, self.fields(JSON_FIELDS))

    # -- the client

    def pause(self) -> None:
        self.paused = True
        if self.tail is not None:
            self.tail.pause()

    def resume(self) -> None:
        self.paused = False
        if self.tail is not None:
            self.tail.resume()

    def tick(self, now: float) -> None:
        keepalive_s = self.gateway.config.streams.keepalive_s
        if self.moved:
            self.moved = False
            self.last_at = now
        elif self.started and keepalive_s and now - self.last_at >= keepalive_s and not self.paused:
            self.last_at = now
            self.sink.write(self.keep_alive)

    def drain(self) -> None:
        """This server ends: the client is to go on elsewhere, so the body is broken off, not ended."""
        if self.closed:
            return
        if self.started:
            self.sink.abort()
        else:
            self.answer_error(SHUTDOWN)
        self.finished(SHUTDOWN.code)

    def finished(self, code: str = "") -> None:
        if not self.closed:
            self.close()
            self.over(code)

    def close(self) -> None:
        """Read no more: the client is gone, or has everything."""
        if self.closed:
            return
        self.closed = True
        self.gateway.ticker.discard(self)
        if self.tail is not None:
            self.tail.close()
            self.gateway.durable.left(self.state.id)


class StreamExchange:
    """The exchange of a request that only reads: ``GET /v1/streams/{id}``, or one of Responses with ``stream=true``."""

    __slots__ = (
        "after", "body_timeout_s", "caller", "cors", "delivery", "dialect", "gateway", "opening", "over", "record", "sink",
        "started_at", "stream_id", "wanted",
    )  # fmt: skip

    def __init__(
        self, gateway: Gateway, route: str, sink: Sink, stream_id: str, after: Offset, *,
        dialect: str | None = None, cors: bytes = b"",
    ) -> None:  # fmt: skip
        self.gateway = gateway
        self.sink = sink
        self.cors = cors
        self.stream_id = stream_id
        self.after = after
        self.dialect = dialect
        """Speak this dialect only; None: whichever the stream has."""
        self.wanted: str | None = None
        """Tell the stream in this dialect, whichever it has."""
        self.opening = True
        """Of a stream told in another dialect: the reader has not seen its beginning in that one."""
        self.caller = Caller("anonymous")
        self.body_timeout_s = gateway.config.limits.body_timeout_s
        self.started_at = gateway.loop.time()
        self.record = Record(time=time.time(), id=gateway.ids.next(), route=route, stream=True)
        self.delivery = Delivery(gateway, sink, self.fields, self.delivered)
        self.over = False

    def fields(self, base: bytes) -> bytes:
        return b"%bx-streamward-id: %b\r\nx-streamward-stream-id: %b\r\n%b" % (
            base, self.record.id.encode(), self.stream_id.encode(), self.cors,
        )  # fmt: skip

    def body_received(self, data: bytes) -> None:
        """A body means nothing here."""

    def body_ended(self) -> None:
        self.gateway.begin(self)
        self.gateway.spawn(self.open())

    async def open(self) -> None:
        try:
            state = await self.gateway.durable.streams.lookup(self.stream_id, self.caller.name)
            if self.dialect is not None and state.dialect != self.dialect:
                raise Conflict(WRONG_ROUTE)
            self.dialect = self.wanted or state.dialect
            await self.delivery.open(state, self.after, self.retelling(state))
        except StreamwardError as exc:
            self.refuse(exc.info)

    def retelling(self, state: StreamState) -> Retelling | None:
        if self.wanted is None or self.wanted == state.dialect:
            return None
        meta = meta_of(state)
        context = Context(
            id=ID_PREFIX[self.wanted] + state.id.rpartition("_")[2], model=meta.model, created=int(state.created),
            options={"responses_done": meta.done},
        )  # fmt: skip
        return Retelling(state.dialect, self.wanted, context, after=self.after, opening=self.opening)

    def refuse(self, error: ErrorInfo) -> None:
        if self.over:
            return
        self.delivery.close()
        self.delivery.status = error.status
        body = dialect_module(self.dialect or "chat_completions").render_error(error)
        self.gateway.answer_error(self.sink, error, body, self.refusal_fields())
        self.delivered(error.code)

    def refusal_fields(self) -> bytes:
        return b"%bx-streamward-id: %b\r\n%b" % (JSON_FIELDS, self.record.id.encode(), self.cors)

    def disconnected(self) -> None:
        self.delivery.close()
        self.delivered("client_left")

    def delivered(self, code: str) -> None:
        """Book the record: a reader costs no tokens."""
        if self.over:
            return
        self.over = True
        record, delivery = self.record, self.delivery
        record.key = self.caller.shown
        record.status = delivery.status or 499
        record.code = "" if code == "client_left" else code
        record.ending = "cancelled" if code == "client_left" else "failed" if code else "finished"
        record.bytes_out = delivery.bytes_out
        record.duration_ms = (self.gateway.loop.time() - self.started_at) * 1000
        self.gateway.end(self)

    def pause(self) -> None:
        self.delivery.pause()

    def resume(self) -> None:
        self.delivery.resume()

    def tick(self, now: float) -> None:
        """Keep-alives are the delivery's."""

    def drain(self) -> None:
        if self.delivery.tail is not None:
            self.delivery.drain()
        else:
            self.refuse(SHUTDOWN)

