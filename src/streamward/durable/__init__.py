"""Durable streams: record what a producer encodes, let any number of readers follow, resume and replay it.

The rule everything else follows from: *persist, then deliver*. A durable stream's client, first or returning, is a
reader of the store; so resuming is no special case, and a cursor is simply the number of the last frame received::

    store = open_store("sqlite:.streamward/streams.db")
    async with Streams(store, interrupted=render_interrupted) as streams:      # one per worker

        # producing (a relay): never waits; frames are opaque bytes, numbered 0, 1, 2, ...
        recording = await streams.record(NewStream(id=new_stream_id(), tenant=key_id, dialect="chat"), producer)
        recording.recorder.append([b"data: ...\n\n"])
        recording.recorder.close("completed", [b"data: [DONE]\n\n"], result=usage_json)

        # reading: pushed into a sink (on_frames, on_end, on_error), with pause and resume ...
        state = await streams.lookup(stream_id, tenant=key_id)                 # 404 for strangers
        tail = await streams.attach(stream_id, sink, after=parse_cursor(text)) # 400, 409, 410, 429
        tail.resume()

        # ... or pulled
        async with await streams.tail(stream_id, after=41) as frames:
            async for frame in frames: ...                                     # frame.offset, frame.data
        frames.ending                                                          # completed | failed | ...

        await streams.stop(stream_id)                                          # from any worker
        await streams.active(key_id, chat_id)                                  # the chat's live stream, or None

``recording.recorder`` is None when the idempotency key was known: then just read ``recording.state.id``. The producer
object (:class:`Producer`) is told to pause, to resume, to stop, and that its stream was lost. ``interrupted`` renders
the terminal frames of a stream whose producer died, from its state (``dialect``, ``meta``, ``next``).

Laws and values: ``store``. Figures and the failure table: docs/explain/durable-streams.md.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from streamward.durable.cursor import START, first_after, parse_cursor, parse_last_event_id
from streamward.durable.record import Producer, Recorder
from streamward.durable.store import (
    Created,
    Ending,
    Fenced,
    FramesGone,
    Held,
    KeyReused,
    Level,
    Limits,
    NewStream,
    Offset,
    OffsetConflict,
    Store,
    StoreUnavailable,
    StreamState,
    Write,
)
from streamward.durable.streams import Interrupted, Recording, Streams, new_stream_id
from streamward.durable.tail import Frame, Stalled, Tail, TailReader, TailSink
from streamward.errors import InvalidRequest

__all__ = [
    "START", "Created", "Ending", "Fenced", "Frame", "FramesGone", "Held", "Interrupted", "KeyReused", "Level",
    "Limits", "NewStream", "Offset", "OffsetConflict", "Producer", "Recorder", "Recording", "Stalled", "Store",
    "StoreUnavailable", "StreamState", "Streams", "Tail", "TailReader", "TailSink", "Write", "first_after",
    "new_stream_id", "open_store", "parse_cursor", "parse_last_event_id",
]  # fmt: skip


def open_store(url: str, *, worker: str | None = None, limits: Limits | None = None) -> Store:
    """The store that *url* names, not yet opened: give it to :class:`Streams`.

    ``memory`` | ``sqlite:PATH`` | ``sqlite:PATH?level=disk`` | ``redis://HOST:PORT/DB`` (also ``rediss:``, ``unix:``,
    ``valkey:``, ``valkeys:``).

    Raises:
        InvalidRequest: anything else; the message says what was expected.
        ModuleNotFoundError: a Redis URL without ``streamward[redis]`` installed.
    """
    limits = limits or Limits()
    scheme = url.partition(":")[0]
    if scheme == "memory":
        from streamward.durable.memory import MemoryStore

        return MemoryStore(worker=worker or "local", limits=limits)
    if scheme == "sqlite":
        from streamward.durable.sqlite import SqliteStore

        path, _, query = url.removeprefix("sqlite:").partition("?")
        options = dict(parse_qsl(query, strict_parsing=True)) if query else {}
        level = options.pop("level", "process")
        if options or not path or level not in ("process", "disk"):
            raise InvalidRequest(f"expected sqlite:PATH or sqlite:PATH?level=process|disk, got {url!r}")
        return SqliteStore(path, level="disk" if level == "disk" else "process", worker=worker, limits=limits)
    if scheme in ("redis", "rediss", "unix", "valkey", "valkeys"):
        from streamward.durable.redis import RedisStore

        return RedisStore(url.replace("valkey", "redis", 1), worker=worker, limits=limits)
    shown = urlsplit(url).scheme or url[:20]  # never the whole: it may hold a password
    raise InvalidRequest(f"unknown store {shown!r}: expected memory, sqlite:PATH or redis://HOST:PORT/DB")
