"""Streams of one's own for UI hooks: data, sources, files and metadata beside the answers of models.

The application writes with a writer; results merged into it come through as they are produced. The response ends when
the application's function and all merged streams have ended. Nothing runs before the response is read.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from streamward.engine.body import Body, RunBody
from streamward.engine.plan import generate_id
from streamward.engine.respond import OnError, UiFinish, data_options, errors_by, finisher, response_id, ui_message_body
from streamward.engine.response import KEEP_ALIVE_S, StreamResponse, merged_headers
from streamward.engine.result import StreamResult
from streamward.engine.run import background
from streamward.errors import InvalidRequest
from streamward.events import Data, Event, File, Metadata, Source
from streamward.wire import data_stream, js_json, masking, ui_message
from streamward.wire.masking import ErrorText
from streamward.wire.sse import DONE_FRAME

ROOM = 64
"""Pieces that wait for the client before merged streams are held back."""


class WriterBody:
    """The body that a writer fills. Its function starts with the first ``read``."""

    def __init__(self, work: Callable[[], Any], failed: Callable[[Exception], bytes], last: bytes) -> None:
        self.work = work
        self.failed = failed
        self.last = last
        self.pieces: list[bytes] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.merged: list[Body] = []
        self.over = False
        self.started = False
        self.changed = asyncio.Event()
        self.room = asyncio.Event()
        self.nudged = False
        self.broken = False
        self.at_end: Callable[[bytes, bool], Any] | None = None
        self.wire: list[bytes] = []

    async def read(self) -> bytes:
        if not self.started:
            self.started = True
            self.spawn(self.run_work())
        while not self.pieces and self.tasks and not self.nudged:
            self.changed.clear()
            await self.changed.wait()
        self.nudged = False
        if self.over:
            return b""
        data = b"".join(self.pieces)
        self.pieces = []
        self.room.set()
        if not self.tasks and not data:
            self.over = True
            data = self.last
            self.record(data)
            await self.tell_end(cut=False)
            return data
        self.record(data)
        return data

    def record(self, data: bytes) -> None:
        if self.at_end is not None:
            self.wire.append(data)

    async def tell_end(self, *, cut: bool) -> None:
        at_end, self.at_end = self.at_end, None
        if at_end is not None:
            told = at_end(b"".join(self.wire), cut)
            if inspect.isawaitable(told):
                await told

    def put(self, data: bytes) -> None:
        """Add *data*; ignored once the client has gone."""
        if not self.over and data:
            self.pieces.append(data)
            self.changed.set()

    async def run_work(self) -> None:
        try:
            result = self.work()
            if inspect.isawaitable(result):
                await result
        except Exception as exc:
            self.put(self.failed(exc))

    def write(self, data: bytes) -> None:
        """Add *data* of the application, behind all that merged results had said before it."""
        for body in self.merged:
            if isinstance(body, RunBody):
                self.put(body.ready())
        self.put(data)

    def merge(self, body: Body) -> asyncio.Task[None]:
        self.merged.append(body)
        return self.spawn(self.follow(body))

    async def follow(self, body: Body) -> None:
        try:
            while not body.over:
                data = await body.read()
                self.put(data)
                while len(self.pieces) > ROOM and not self.over:
                    self.room.clear()
                    await self.room.wait()
            self.broken = self.broken or body.broken
        except Exception as exc:
            self.put(self.failed(exc))

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="streamward writer")
        self.tasks.add(task)
        task.add_done_callback(self.done)
        return task

    def done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.changed.set()

    def nudge(self) -> None:
        self.nudged = True
        self.changed.set()

    def cancel(self, reason: str) -> None:
        """Stop the function and every merged stream at once."""
        if self.over:
            return
        self.over = True
        for body in self.merged:
            body.cancel(reason)
        for task in list(self.tasks):
            task.cancel()
        self.changed.set()
        if self.at_end is not None:
            background(self.tell_end(cut=True))


class UiMessageWriter:
    """Writes one UI message stream. All methods may be called at any time until the response has ended."""

    def __init__(self, version: ui_message.Number, message_id: str | None, error_text: ErrorText | None) -> None:
        self.version = version
        self.message_id = message_id
        self.error_text = error_text
        self.encoder = ui_message.Encoder(ui_message.Options(
            version=version, message_id=message_id, error_text=error_text, send_sources=True, done=False, terminal=False,
        ))  # fmt: skip
        self.body: WriterBody

    def write(self, part: Mapping[str, Any] | Event) -> None:
        """A chunk as the protocol has it (``{"type": "data-status", ...}``), or an event."""
        if not isinstance(part, Mapping):
            self.body.write(b"".join(self.encoder.feed(part)))
            return
        chunk = dict(part)
        if not isinstance(chunk.get("type"), str):
            raise InvalidRequest("writer.write: expected a chunk with a type, or an event")
        if chunk["type"] == "start" and self.message_id is not None:
            chunk.setdefault("messageId", self.message_id)
        self.body.write(b"data: %b\n\n" % js_json.encode(chunk))

    def start(self, metadata: Any = None) -> None:
        """The ``start`` chunk; needed only when nothing that is merged brings one."""
        self.write({"type": "start"} if metadata is None else {"type": "start", "messageMetadata": metadata})

    def data(self, name: str, value: Any, *, id: str | None = None, transient: bool = False) -> None:  # noqa: A002
        """A data part: the same *name* and *id* again replaces it, a *transient* one only reaches ``onData``."""
        self.write(Data(name, value, id, transient))

    def metadata(self, value: Any) -> None:
        """Merged into the message's metadata."""
        self.write(Metadata(value))

    def source(self, url: str, *, id: str | None = None, title: str | None = None) -> None:  # noqa: A002
        self.write(Source(id or generate_id("source", 16), "url", url, title))

    def file(self, *, media_type: str, url: str | None = None, data: str | None = None) -> None:
        """A file by *url*, or its content as base64 *data*."""
        self.write(File(media_type, data, url))

    def text(self, text: str) -> None:
        """A whole text part."""
        part = f"text-{secrets.token_hex(6)}"
        self.write({"type": "text-start", "id": part})
        self.write({"type": "text-delta", "id": part, "delta": text})
        self.write({"type": "text-end", "id": part})

    def finish(self, metadata: Any = None, *, reason: str | None = None) -> None:
        chunk: dict[str, Any] = {"type": "finish"}
        if reason is not None:
            chunk["finishReason"] = reason
        self.write(chunk if metadata is None else {**chunk, "messageMetadata": metadata})

    def merge(self, stream: StreamResult[Any] | Body, **options: Any) -> Awaitable[None]:
        """Let *stream* through as it is produced: a result (with the options of its response helper, such as
        ``send_start=False``), or another body. Returns at once; await what it returns to wait for the end."""
        if isinstance(stream, StreamResult):
            options.setdefault("version", self.version)
            if "on_error" not in options:
                options.setdefault("error_text", self.error_text)
            if self.message_id is not None:
                options.setdefault("generate_message_id", lambda: self.message_id)
            stream = ui_message_body(stream, done=False, **options)
        return self.body.merge(stream)


class DataStreamWriter:
    """Writes one data stream (AI SDK 3 and 4)."""

    def __init__(self, version: data_stream.Number, error_text: ErrorText | None) -> None:
        self.version = version
        self.error_text = error_text
        self.encoder = data_stream.Encoder(data_options(
            None, version=version, send_sources=True, error_text=error_text, terminal=False
        ))  # fmt: skip
        self.body: WriterBody

    def write(self, part: str | Event) -> None:
        """A whole line as the protocol has it (``0:"text"``), or an event."""
        if isinstance(part, str):
            line = part if part.endswith("\n") else part + "\n"
            try:
                data_stream.parse_part(line[:-1])
            except data_stream.PartError as exc:
                raise InvalidRequest(f"writer.write: {exc}") from None
            self.body.write(line.encode())
        else:
            self.body.write(b"".join(self.encoder.feed(part)))

    def data(self, value: Any) -> None:
        """Appended to ``data`` of the hook."""
        self.write(Data("", value))

    def annotation(self, value: Any) -> None:
        """Appended to the message's annotations."""
        self.write(Metadata(value))

    metadata = annotation

    def source(self, url: str, *, id: str | None = None, title: str | None = None) -> None:  # noqa: A002
        self.write(Source(id or generate_id("source", 16), "url", url, title))

    def file(self, *, media_type: str, data: str) -> None:
        self.write(File(media_type, data))

    def text(self, text: str) -> None:
        self.body.write(b"0:%b\n" % js_json.encode(text))

    def merge(self, stream: StreamResult[Any] | Body, **options: Any) -> Awaitable[None]:
        """Let *stream* through as it is produced. Returns at once; await what it returns to wait for the end."""
        if isinstance(stream, StreamResult):
            options.setdefault("version", self.version)
            error_text = errors_by(options.pop("on_error", None), stream) or self.error_text
            encoder = data_stream.Encoder(data_options(stream, error_text=error_text, **options))
            stream = RunBody(stream.run, encoder, keep=stream)
        return self.body.merge(stream)


def create_ui_message_stream_response(
    execute: Callable[[UiMessageWriter], Any], *, version: ui_message.Number = 7, on_error: OnError | None = None,
    original_messages: Sequence[Mapping[str, Any]] | None = None, generate_message_id: Callable[[], str] | None = None,
    on_finish: Callable[[UiFinish], Any] | None = None, headers: Mapping[str, str] | None = None, status: int = 200,
    keep_alive_s: float | None = KEEP_ALIVE_S, background: Any = None,
) -> StreamResponse:  # fmt: skip
    """A UI message stream that *execute* (a function or coroutine function) writes. What it raises is an ``error`` chunk,
    masked unless *on_error* says otherwise; a client that leaves cancels it and all that was merged."""
    if version not in ui_message.VERSIONS:
        raise InvalidRequest(f"version: the UI message stream has 5, 6 and 7, got {version!r}", param="version")
    generate = generate_message_id or (generate_id if original_messages is not None else None)
    message_id, continued = response_id(None, original_messages, generate)
    error_text = errors_by(on_error)
    writer = UiMessageWriter(version, message_id, error_text)

    def failed(exc: Exception) -> bytes:
        text = on_error_text(on_error, exc)
        return b"data: %b\n\n" % js_json.encode({"type": "error", "errorText": text})

    body = writer.body = WriterBody(lambda: execute(writer), failed, DONE_FRAME)
    if on_finish is not None:
        body.at_end = finisher(on_finish, tuple(dict(message) for message in original_messages or ()), continued, version)
    return StreamResponse(
        body, headers=merged_headers(ui_message.HEADERS, headers), status=status, keep_alive=ui_message.KEEP_ALIVE,
        keep_alive_s=keep_alive_s, background=background,
    )  # fmt: skip


def create_data_stream_response(
    execute: Callable[[DataStreamWriter], Any], *, version: data_stream.Number = 4, on_error: OnError | None = None,
    headers: Mapping[str, str] | None = None, status: int = 200, keep_alive_s: float | None = KEEP_ALIVE_S,
    background: Any = None,
) -> StreamResponse:  # fmt: skip
    """The same for the data stream of AI SDK 3 and 4."""
    writer = DataStreamWriter(version, errors_by(on_error))

    def failed(exc: Exception) -> bytes:
        return b"3:%b\n" % js_json.encode(on_error_text(on_error, exc))

    body = writer.body = WriterBody(lambda: execute(writer), failed, b"")
    return StreamResponse(
        body, headers=merged_headers(data_stream.HEADERS, headers), status=status, keep_alive=data_stream.KEEP_ALIVE,
        keep_alive_s=keep_alive_s, background=background,
    )  # fmt: skip


def on_error_text(on_error: OnError | None, exc: Exception) -> str:
    if on_error is None:
        return masking.MASKED
    try:
        return str(on_error(exc))
    except Exception:  # its own failure must not leak what it was to hide
        return masking.MASKED
