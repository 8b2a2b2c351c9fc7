"""Responses that outlive their client: recorded as they are produced, replayed from the first byte, followed live.

    streams = resumable()                                    # "memory"; "sqlite:chats.db", "redis://..." for more processes

    async def post(request):                                 # useChat's POST
        ...
        return await streams.start(chat_id, result.to_ui_message_stream_response(...))

    async def get(request):                                  # useChat's resume
        return await streams.resume(chat_id)                 # 204 when nothing is active

A client that leaves does not stop the generation; ``stop`` does. The shell below is ``streamward.durable``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Self

import msgspec
from starlette.responses import Response

from streamward.durable import Ending, NewStream, Recorder, Store, Streams, StreamState, Tail, new_stream_id, open_store
from streamward.engine.body import Body
from streamward.engine.response import StreamResponse
from streamward.errors import StreamwardError
from streamward.wire import data_stream, ui_message
from streamward.wire.masking import MASKED
from streamward.wire.sse import DONE_FRAME

DEFAULT_TENANT = "default"
BATCH = 64
"""Frames handed over before the tail is paused until they are read."""

UI_HEADER, DATA_HEADER = "x-vercel-ai-ui-message-stream", "x-vercel-ai-data-stream"
LAST_FRAMES = {
    "ui_message": b'data: {"type":"error","errorText":"%b"}\n\n' % MASKED.encode() + DONE_FRAME,
    "data_stream": b'3:"%b"\n' % MASKED.encode(),
}
"""The end of a stream whose process died. Text streams cannot say it: they are broken off."""
KEEP_ALIVES = {"ui_message": ui_message.KEEP_ALIVE, "data_stream": data_stream.KEEP_ALIVE}


class Head(msgspec.Struct):
    """What a returning client gets again beside the body."""

    status: int
    headers: list[tuple[str, str]]


class Resumable:
    """The resumable responses of one application. Opens its store with the first use; ``async with`` closes it."""

    def __init__(self, store: str | Store, *, retention_s: float) -> None:
        self.store = store
        self.retention_s = retention_s
        self.streams: Streams | None = None
        self.opening = asyncio.Lock()
        self.recordings: set[Recording] = set()

    async def opened(self) -> Streams:
        async with self.opening:
            if self.streams is None:
                store = open_store(self.store) if isinstance(self.store, str) else self.store
                streams = Streams(store, interrupted=interrupted)
                self.streams = await streams.__aenter__()
        return self.streams

    async def __aenter__(self) -> Self:
        await self.opened()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop what still runs and close the store. Streams that are cut off are told so."""
        for recording in list(self.recordings):
            recording.on_stop()
        await asyncio.gather(*(recording.task for recording in self.recordings), return_exceptions=True)
        streams, self.streams = self.streams, None
        if streams is not None:
            await streams.__aexit__(None, None, None)

    async def start(self, key: str, response: StreamResponse, *, tenant: str = DEFAULT_TENANT) -> StreamResponse:
        """Produce *response* in the background, recorded under *key* (a chat id); returns what the client gets.

        Only readers with the same *tenant* (a user id) can resume it. A newer stream under the same key takes its place.
        """
        streams = await self.opened()
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
        head = Head(response.status_code, headers)
        new = NewStream(
            id=new_stream_id(), tenant=tenant, dialect=dialect_of(dict(headers)), meta=msgspec.json.encode(head), chat=key,
            retention_s=self.retention_s,
        )  # fmt: skip
        recording = Recording(response)
        recorded = await streams.record(new, recording)
        assert recorded.recorder is not None  # it has no idempotency key
        following = await self.follow(streams, recorded.state)
        self.recordings.add(recording)
        recording.begin(recorded.recorder).add_done_callback(lambda _: self.recordings.discard(recording))
        return following

    async def resume(self, key: str, *, tenant: str = DEFAULT_TENANT) -> Response:
        """The stream that is active under *key*, from its first byte; an empty response with status 204 when none is."""
        streams = await self.opened()
        state = await streams.active(tenant, key)
        return Response(status_code=204) if state is None else await self.follow(streams, state)

    async def stop(self, key: str, *, tenant: str = DEFAULT_TENANT) -> bool:
        """Stop the generation under *key*: its provider's connection is closed, readers see an abort. False: none ran."""
        streams = await self.opened()
        state = await streams.active(tenant, key)
        if state is None:
            return False
        await streams.stop(state.id)
        return True

    async def follow(self, streams: Streams, state: StreamState) -> StreamResponse:
        head = msgspec.json.decode(state.meta, type=Head)
        body = TailBody(state.dialect)
        body.tail = await streams.attach(state.id, body)
        return StreamResponse(
            body, headers=dict(head.headers), status=head.status, keep_alive=KEEP_ALIVES.get(state.dialect)
        )


def resumable(store: str | Store = "memory", *, retention_s: float = 3600.0) -> Resumable:
    """Resumable responses kept in *store*: ``memory``, ``sqlite:PATH``, ``redis://HOST:PORT/DB``, or a store object."""
    return Resumable(store, retention_s=retention_s)


def dialect_of(headers: Mapping[str, str]) -> str:
    if UI_HEADER in headers:
        return "ui_message"
    return "data_stream" if DATA_HEADER in headers else "text"


def interrupted(state: StreamState) -> list[bytes]:
    last = LAST_FRAMES.get(state.dialect)
    return [last] if last is not None else []


class Recording:
    """One response being produced into its stream, whoever reads it."""

    def __init__(self, response: StreamResponse) -> None:
        self.response = response
        self.body: Body = response.body_stream
        self.room = asyncio.Event()
        self.room.set()
        self.stopped = False
        self.task: asyncio.Task[None]

    def begin(self, recorder: Recorder) -> asyncio.Task[None]:
        self.task = asyncio.get_running_loop().create_task(self.produce(recorder), name="streamward resumable")
        return self.task

    async def produce(self, recorder: Recorder) -> None:
        body = self.body
        ending: Ending = "failed"
        try:
            if self.response.first:
                recorder.append([self.response.first])
            while not body.over:
                data = await body.read()
                if data:
                    recorder.append([data])
                await self.room.wait()
            ending = "cancelled" if self.stopped else "failed" if body.broken else "completed"
        finally:
            body.cancel("recording ended")
            recorder.close(ending)

    # -- what the recorder asks for

    def on_stop(self) -> None:
        self.stopped = True
        run = getattr(self.body, "run", None)
        if run is not None:
            run.stop("stopped")  # the dialect's own words for it are still recorded
        else:
            self.body.cancel("stopped")
        self.room.set()

    def on_lost(self, error: StreamwardError) -> None:
        self.body.cancel("the stream was lost")
        self.room.set()

    def on_refused(self, error: StreamwardError) -> None:
        """Its stream exists before the recording begins."""

    def pause(self) -> None:
        self.room.clear()

    def resume(self) -> None:
        self.room.set()


class TailBody:
    """What one client reads of a recorded response. Leaving costs the generation nothing."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.tail: Tail
        self.frames: list[bytes] = []
        self.ended = False
        self.over = False
        self.broken = False
        self.nudged = False
        self.news = asyncio.Event()

    async def read(self) -> bytes:
        while not (self.frames or self.ended or self.over or self.nudged):
            self.news.clear()
            self.tail.resume()
            if not self.frames and not self.ended:
                await self.news.wait()
        self.nudged = False
        data, self.frames = b"".join(self.frames), []
        if self.ended or self.over:
            self.over = True
        return data

    def nudge(self) -> None:
        self.nudged = True
        self.news.set()

    def cancel(self, reason: str) -> None:
        if not self.over:
            self.over = True
            self.tail.close()
            self.news.set()

    # -- the tail's sink

    def on_frames(self, frames: list[bytes], first: int) -> None:
        self.frames += frames
        if len(self.frames) >= BATCH:
            self.tail.pause()
        self.news.set()

    def on_end(self, ending: Ending) -> None:
        self.ended = True
        self.broken = ending == "failed" or (ending == "interrupted" and self.dialect not in LAST_FRAMES)
        self.news.set()

    def on_error(self, error: StreamwardError) -> None:
        self.ended = self.broken = True
        self.news.set()
