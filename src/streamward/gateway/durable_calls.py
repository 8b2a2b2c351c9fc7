"""Calls whose answer is kept: recorded as a durable stream, delivered from there.

    CallExchange -> RecordSink -> store -> Delivery -> client        (persist, then deliver)

The call itself does not know: it writes to a sink. Its client, first or returning, is one reader among others, so the
call goes on when the client leaves, and ends when somebody asks for it, when nobody reads it for
``streams.orphan_timeout_s``, or when it is done.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from streamward.dataplane.exchange import Request, Sink
from streamward.durable import (
    START,
    KeyReused,
    Limits,
    NewStream,
    Offset,
    Recorder,
    Recording,
    Streams,
    StreamState,
    new_stream_id,
    open_store,
    parse_last_event_id,
)
from streamward.errors import ErrorInfo, InvalidRequest, StreamwardError
from streamward.gateway.auth import Caller
from streamward.gateway.exchange import FOREVER, JSON_FIELDS, STOPPED, CallExchange
from streamward.gateway.record_sink import CLIENT_LEFT, FAILED, RecordSink
from streamward.gateway.stream_frames import (
    StreamMeta,
    StreamResult,
    encode,
    gave_nothing,
    interrupted,
    meta_of,
)
from streamward.gateway.stream_reader import Delivery
from streamward.upstream.attempts import Target
from streamward.wire import json_text

if TYPE_CHECKING:
    from streamward.gateway.app import Gateway
    from streamward.gateway.config import Config

MAX_KEY_CHARS = 255
READERS = "\0readers"  # tenant of presences: no key's name
MAX_FAILED_TRIES = 20  # under one idempotency key; clients give up long before

log = logging.getLogger("streamward.gateway")

ORPHANED = ErrorInfo(STOPPED.code, "nobody was reading this stream any more; it was stopped", 499)


class Durable:
    """The durable streams of this worker, the calls that write them, and how many clients here read each."""

    def __init__(self, config: Config, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        streams = config.streams
        self.spawn = spawn
        self.orphan_timeout_s = streams.orphan_timeout_s
        self.presences: dict[str, Presence] = {}
        limits = Limits(stream_bytes=streams.stream_bytes, total_bytes=streams.store_bytes)
        store = open_store(streams.store, limits=limits)
        self.streams = Streams(store, interrupted=interrupted, lease_s=streams.lease_s)
        self.calls: dict[str, KeptCall] = {}
        self.readers: Counter[str] = Counter()

    def joined(self, state: StreamState) -> None:
        """A client here reads this stream."""
        self.readers[state.id] += 1
        if self.readers[state.id] == 1 and state.live and state.owner != self.streams.store.worker:
            self.presences[state.id] = presence = Presence(self.streams, state.id, self.orphan_timeout_s)
            self.spawn(presence.hold())

    def left(self, stream_id: str) -> None:
        self.readers[stream_id] -= 1
        if self.readers[stream_id] <= 0:
            del self.readers[stream_id]
            presence = self.presences.pop(stream_id, None)
            if presence is not None:
                presence.over.set()
            call = self.calls.get(stream_id)
            if call is not None:
                call.deserted()

    async def is_read(self, stream_id: str) -> bool:
        """Whether any worker has a reader of this stream."""
        if self.readers[stream_id]:
            return True
        try:
            return await self.streams.active(READERS, stream_id) is not None
        except StreamwardError:
            return True  # nobody knows: the stream's own deadlines still hold


class Presence:
    """Tells the worker that writes a stream that it is read here: a live stream of its own, found by the other's id.

    It is renewed, because with several reading workers the newest presence is the one that is found, and may end first.
    """

    def __init__(self, streams: Streams, stream_id: str, orphan_timeout_s: float) -> None:
        self.streams = streams
        self.stream_id = stream_id
        self.renew_s = orphan_timeout_s / 3
        self.over = asyncio.Event()

    async def hold(self) -> None:
        last: Recorder | None = None
        try:
            while not self.over.is_set():
                new = NewStream(
                    id=new_stream_id("rd_"), tenant=READERS, dialect="presence", chat=self.stream_id, retention_s=0.0
                )  # fmt: skip
                last, before = (await self.streams.record(new)).recorder, last
                if before is not None:
                    before.close("completed")
                try:
                    async with asyncio.timeout(self.renew_s):
                        await self.over.wait()
                except TimeoutError:
                    pass  # time to renew
        except StreamwardError as exc:
            log.warning("presence_not_told", extra={"stream": self.stream_id, "reason": str(exc)})
        finally:
            if last is not None:
                last.close("completed")


def wants_durable(request: Request, config: Config) -> bool:
    """Whether *request* may turn out to be a durable call; its body has the last word."""
    mode = config.streams.durable
    if mode != "on_request":
        return mode == "always"
    headers = request.headers
    return b"idempotency-key" in headers or b"last-event-id" in headers or headers.get(b"x-streamward-resumable") == b"1"


class KeptCall(CallExchange):
    """A call that is recorded, if its headers and body ask for it; else it behaves as any other."""

    __slots__ = (
        "client", "delivery", "failure", "gone", "key", "last_event_id", "orphan_at", "raw", "recorder", "replayed",
        "stream_id",
    )  # fmt: skip

    def __init__(self, gateway: Gateway, request: Request, sink: Sink, dialect: str, caller: Caller, cors: bytes) -> None:
        super().__init__(gateway, request, sink, dialect, caller, cors)
        self.client = sink
        headers = request.headers if gateway.config.streams.durable != "never" else {}
        self.key = headers.get(b"idempotency-key")
        self.last_event_id = headers.get(b"last-event-id")
        self.raw = b""
        self.delivery: Delivery | None = None
        self.recorder: Recorder | None = None
        self.failure: ErrorInfo | None = None
        self.replayed = False
        self.stream_id = ""
        self.gone = False
        self.orphan_at = FOREVER

    # -- the request

    def body_ended(self) -> None:
        if self.over:
            return
        self.raw = self.take_body()
        try:
            body = json_text.decode_object(self.raw)
            targets = None if self.must_wait(body) else self.plan(body)
        except StreamwardError as exc:
            self.refuse(exc.info)
            return
        if targets is None:
            self.gateway.begin(self)
            self.gateway.spawn(self.prepare(body))
        else:
            self.launch(targets)

    def must_wait(self, body: dict[str, Any]) -> bool:
        """Something has to be looked up or reserved before the call can be made."""
        return True

    async def prepare(self, body: dict[str, Any]) -> None:
        """Everything that has to wait before the call is made: what it refers to, its stream, its first reader."""
        try:
            await self.begin(body)
        except StreamwardError as exc:
            self.not_kept(exc.info)
        except Exception as exc:
            self.not_kept(FAILED)
            self.gateway.loop.call_exception_handler({"message": "a durable call could not be begun", "exception": exc})

    def not_kept(self, error: ErrorInfo) -> None:
        """There is no stream: the client itself is to hear why."""
        if self.recorder is None and self.sink is not self.client:
            self.sink = self.client
            if self.over:  # the provider was faster; nobody has seen its answer
                self.gateway.answer_error(self.client, error, self.module.render_error(error), self.fields(JSON_FIELDS))
            self.committed = False
        self.refuse(error)

    async def begin(self, body: dict[str, Any]) -> None:
        if self.last_event_id:
            await self.resume_at(self.last_event_id.decode("latin-1"))
            return
        targets = self.plan(await self.resolved(body))
        if self.key is None and (problem := await self.gateway.admission.admitted(self, targets)) is not None:
            self.refuse(problem)
            return
        if not self.is_recorded():
            self.run_unless_gone(targets)
            return
        sink = RecordSink(self)
        if self.key is None and not self.outlives_client():
            self.begin_at_once(sink, targets)
            return
        recording = await self.reserve(sink)
        if recording.recorder is None:
            await self.replay(recording.state)
            return
        # With a key only now: an earlier call's answer costs nothing.
        if self.key is not None and (problem := await self.gateway.admission.admitted(self, targets)) is not None:
            recording.recorder.close("failed", result=encode(StreamResult(problem.status, problem)))
            self.refuse(problem)
            return
        try:
            if not self.over:  # else the server is shutting down, and has said so
                await self.answer_from(recording.state)
        finally:
            self.record_to(recording.recorder, sink)  # after its reader: what is stored now is delivered at once
        self.run_unless_gone(targets)

    def begin_at_once(self, sink: RecordSink, targets: list[Target]) -> None:
        """No earlier call can be found, so nothing is waited for: the provider is asked while the stream is created."""
        if self.gone:
            self.refuse(CLIENT_LEFT)
            return
        state, recorder = self.gateway.durable.streams.begin(self.new_stream(), sink)
        self.record_to(recorder, sink)
        self.run(targets)  # before its reader is made, which costs time the provider can use
        self.delivery = Delivery(self.gateway, self.client, self.fields, self.delivered)
        self.delivery.open_new(state)

    def not_created(self, error: StreamwardError) -> None:
        """The stream that was begun at once is refused: nobody has seen anything of the call."""
        self.gateway.durable.calls.pop(self.stream_id, None)
        self.stream_id = ""
        self.recorder = None
        if self.delivery is not None:
            self.delivery.close()
        self.not_kept(error.info)

    def run_unless_gone(self, targets: list[Target]) -> None:
        if self.gone and not self.outlives_client():
            self.refuse(CLIENT_LEFT)
        elif not self.over:
            self.run(targets)

    async def resolved(self, body: dict[str, Any]) -> dict[str, Any]:
        """*body* with what it only refers to."""
        return body

    def is_recorded(self) -> bool:
        """A stream is, as the headers and the configuration say; a whole answer only where a key can ask for it again."""
        return self.is_stream or self.key is not None

    def outlives_client(self) -> bool:
        return False

    def refusal_frames(self, error: ErrorInfo) -> list[bytes]:
        """Frames that say that the call failed before its first token; none where a status says it."""
        return []

    # -- the stream

    async def reserve(self, producer: RecordSink) -> Recording:
        """The stream to write, or the one that the idempotency key stands for.

        Raises:
            KeyReused, Overloaded, StoreUnavailable, InvalidRequest.
        """
        key = checked_key(self.key)
        new = self.new_stream(key)
        streams = self.gateway.durable.streams
        for number in range(1, MAX_FAILED_TRIES + 1):
            recording = await streams.record(new, producer)
            if recording.recorder is not None or not gave_nothing(recording.state):
                break
            # Nothing was shown and nothing is owed: the client's retry is a try of its own, under a key beside the first.
            new = replace(new, id=self.new_id(), idempotency_key=f"{key}\n{number}")
        return recording

    def new_stream(self, key: str | None = None) -> NewStream:
        digest = hashlib.sha256(self.record.route.encode() + b"\n" + self.raw).hexdigest()
        return NewStream(
            id=self.new_id(), tenant=self.caller.name, dialect=self.dialect, meta=encode(self.meta(digest)),
            retention_s=self.gateway.config.streams.retention_s, idempotency_key=key, body_hash=digest,
            chat=name_of_key(key) if key is not None else None,
        )  # fmt: skip

    def new_id(self) -> str:
        return self.context().id if self.dialect == "responses" else new_stream_id()

    def meta(self, body_hash: str) -> StreamMeta:
        return StreamMeta(self.is_stream, body_hash, self.record.id, self.record.model)

    def record_to(self, recorder: Recorder, sink: RecordSink) -> None:
        self.sink = sink
        self.recorder = recorder
        self.stream_id = recorder.id
        sink.open(recorder)
        if not self.over:
            self.gateway.durable.calls[recorder.id] = self

    async def answer_from(self, state: StreamState, after: Offset = START) -> None:
        """Make the client a reader of its stream."""
        self.stream_id = state.id
        self.delivery = Delivery(self.gateway, self.client, self.fields, self.delivered)
        if self.gone:
            self.delivery.close()
        if self.replayed:
            await self.delivery.open(state, after)
        else:
            self.delivery.open_new(state)

    async def replay(self, state: StreamState) -> None:
        """The call was made before: nothing is sent to a provider, the client reads what there is."""
        self.replayed = True
        self.record.stream = meta_of(state).streamed
        await self.answer_from(state)

    async def resume_at(self, text: str) -> None:
        """The same POST with ``Last-Event-ID``: go on after that frame."""
        streams = self.gateway.durable.streams
        if ":" not in text:
            raise InvalidRequest("Last-Event-ID must be STREAM_ID:NUMBER on this route", param="Last-Event-ID")
        stream_id, after = parse_last_event_id(text)
        state = await streams.lookup(stream_id, self.caller.name)
        if state.dialect != self.dialect:
            raise InvalidRequest("this stream speaks another dialect than this route", param="Last-Event-ID")
        digest = hashlib.sha256(self.record.route.encode() + b"\n" + self.raw).hexdigest()
        meta = meta_of(state)
        if meta.body_hash != digest:
            raise KeyReused("this stream was started with another body: send the same one, or no Last-Event-ID")
        self.replayed = True
        self.record.model, self.record.stream = meta.model, meta.streamed
        await self.answer_from(state, after)

    def fields(self, base: bytes) -> bytes:
        fields = super().fields(base)
        return b"%bx-streamward-stream-id: %b\r\n" % (fields, self.stream_id.encode()) if self.stream_id else fields

    def delivered(self, code: str) -> None:
        """The client has everything. For a call made before that is the end of this exchange."""
        if self.replayed and not self.over:
            assert self.delivery is not None
            self.record.status = self.delivery.status or 499
            self.record.code = code
            self.record.bytes_out = self.delivery.bytes_out
            self.close("failed" if code else "finished")

    # -- the client, and those who have a say

    def refuse(self, error: ErrorInfo) -> None:
        self.failure = error
        if self.delivery is not None and self.recorder is None:
            self.delivery.close()
        super().refuse(error)

    def disconnected(self) -> None:
        self.gone = True
        if self.delivery is not None:
            self.delivery.close()
            if self.replayed and not self.over:
                self.record.bytes_out = self.delivery.bytes_out
                self.record.status = self.delivery.status or 499
                self.close("cancelled")
            elif not (self.delivery.started or self.key or self.outlives_client()):
                self.stop(CLIENT_LEFT)  # it never learned the stream's id: nobody can come back for it
        elif self.attempts is not None:
            super().disconnected()

    def pause(self) -> None:
        if self.delivery is not None:
            self.delivery.pause()
        elif self.recorder is None:
            super().pause()

    def resume(self) -> None:
        if self.delivery is not None:
            self.delivery.resume()
        elif self.recorder is None:
            super().resume()

    def drain(self) -> None:
        if self.replayed and self.delivery is not None:
            self.delivery.drain()
        else:
            super().drain()

    def deserted(self) -> None:
        """The last reader has left."""
        self.orphan_at = self.gateway.loop.time() + self.gateway.config.streams.orphan_timeout_s

    def tick(self, now: float) -> None:
        if self.recorder is None:
            super().tick(now)
        elif now >= self.orphan_at:
            self.orphan_at = FOREVER
            if not self.outlives_client():
                self.gateway.spawn(self.stop_unless_read())

    async def stop_unless_read(self) -> None:
        if not await self.gateway.durable.is_read(self.stream_id):
            self.stop(ORPHANED)
        elif not self.gateway.durable.readers[self.stream_id]:
            self.deserted()  # somebody at another worker: look again later

    def close(self, ending: Any) -> None:
        if self.recorder is not None:
            self.gateway.durable.calls.pop(self.stream_id, None)
            if self.recorder.ending is None:
                self.recorder.close("failed", result=encode(self.result(FAILED)))
        super().close(ending)

    def result(self, error: ErrorInfo | None = None) -> StreamResult:
        record = self.record
        return StreamResult(
            error.status if error is not None else 200, error, record.finish_reason, record.input_tokens,
            record.output_tokens, record.grade,
        )  # fmt: skip


def name_of_key(key: str) -> str:
    """Under which the stream that an idempotency key began is found while it is live, by any worker."""
    return f"idempotency-key {key}"


def checked_key(key: bytes | None) -> str | None:
    if key is None:
        return None
    text = key.decode("latin-1")
    if not (0 < len(text) <= MAX_KEY_CHARS and text.isascii() and text.isprintable()):
        raise InvalidRequest(
            f"Idempotency-Key must be 1 to {MAX_KEY_CHARS} printable ASCII characters", param="Idempotency-Key"
        )
    return text
