"""The server of AI SDK 7's ``WebSocketChatTransport``: many chats and turns over one WebSocket.

    async def socket(websocket):                             # a Starlette or FastAPI WebSocket route
        await chat_socket(websocket, answer, streams=streams)

    def answer(body, headers):                               # the same body that useChat's POST has
        return stream_text(..., messages=body["messages"]).to_ui_message_stream_response(version=7, ...)

Frames: ``send``, ``resume`` and ``abort`` come in; ``start``, ``chunk``, ``end``, ``error`` and ``no-active`` go out, each
with the ``requestId`` it belongs to. Follows the AI SDK 7 reference, ``WebSocketChatTransport``, section Wire Protocol.
Recording and replay live in ``resumable``.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from streamward.engine.response import StreamResponse
from streamward.engine.resumable import UI_HEADER, Resumable
from streamward.errors import StreamwardError
from streamward.wire import json_text, sse
from streamward.wire.masking import MASKED

log = logging.getLogger("streamward.engine")

Json: TypeAlias = dict[str, Any]
Answer: TypeAlias = Callable[[Json, dict[str, str]], StreamResponse | Awaitable[StreamResponse]]

MAX_RUNNING = 64
"""Answers at a time on one connection: a page shows a few chats, a runaway client is told so."""

INVALID_FRAME = 1008  # the close code that the reference's own server uses
TRIGGERS = ("submit-message", "regenerate-message")
NOT_A_UI_STREAM = "expected a response of to_ui_message_stream_response or create_ui_message_stream_response, got another"


class InvalidFrameError(Exception):
    """A message that is none of the protocol's; the connection is closed."""


async def chat_socket(
    websocket: WebSocket, answer: Answer, *, streams: Resumable | None = None, tenant: str = "default",
    allowed_origins: Collection[str] = (),
) -> None:  # fmt: skip
    """Serve one connection from its handshake to its end.

    *answer(body, headers)* makes the response to one turn: *body* is what ``useChat`` posts over HTTP (``id``,
    ``messages``, ``trigger``, ``messageId`` and the page's own fields), *headers* are those of the frame. An error it
    raises is masked, but for a ``StreamwardError`` that is the client's mistake.

    With *streams*, an answer goes on when its connection is lost and can be resumed by readers of the same *tenant*;
    without, it ends with its connection. ``abort`` ends it either way. A page of another origin is refused unless
    *allowed_origins* has it, or ``*``: browsers send cookies along, whoever wrote the page.
    """
    if not origin_allowed(websocket, allowed_origins):
        await websocket.send_denial_response(PlainTextResponse("pages of this origin may not connect", 403))
        return
    await websocket.accept()
    await ChatSocket(websocket, answer, streams, tenant).serve()


def origin_allowed(websocket: WebSocket, allowed: Collection[str]) -> bool:
    origin = websocket.headers.get("origin")
    if origin is None or origin in allowed or "*" in allowed:
        return True
    return urlsplit(origin).netloc.lower() == websocket.headers.get("host", "").lower()


class ChatSocket:
    """One connection and the turns that are being answered on it, each in a task of its own."""

    def __init__(self, websocket: WebSocket, answer: Answer, streams: Resumable | None, tenant: str) -> None:
        self.websocket = websocket
        self.answer = answer
        self.streams = streams
        self.tenant = tenant
        self.running: dict[str, tuple[str, asyncio.Task[None]]] = {}  # request id to chat id and task

    async def serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            try:
                while True:
                    await self.take(parse(await self.received()), group)
            except WebSocketDisconnect:
                pass
            except InvalidFrameError as exc:
                with contextlib.suppress(WebSocketDisconnect):
                    await self.websocket.close(INVALID_FRAME, str(exc))
            finally:
                for _, task in list(self.running.values()):
                    task.cancel()

    async def received(self) -> bytes:
        """The next message. Raises WebSocketDisconnect."""
        message = await self.websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        text: str | None = message.get("text")
        return message.get("bytes") or b"" if text is None else text.encode("utf-8", "surrogatepass")

    async def take(self, frame: Json, group: asyncio.TaskGroup) -> None:
        request = frame["requestId"]
        if frame["type"] == "abort":
            await self.abort(request)
        elif request in self.running:
            raise InvalidFrameError("this requestId is in use")
        elif len(self.running) >= MAX_RUNNING:
            await self.send("error", request, errorText=f"at most {MAX_RUNNING} answers at a time on one connection")
        else:
            task = group.create_task(self.serve_request(frame), name="streamward chat socket")
            self.running[request] = frame["id"], task

    async def abort(self, request: str) -> None:
        chat, task = self.running.pop(request, (None, None))
        if chat is None or task is None:
            return
        try:
            if self.streams is not None:
                await self.streams.stop(chat, tenant=self.tenant)
        except StreamwardError as exc:  # the store is away: the other turns go on
            log.error("chat_socket_stop_failed", exc_info=exc)
        finally:
            task.cancel()

    async def serve_request(self, frame: Json) -> None:
        request = frame["requestId"]
        try:
            await self.forward(frame)
        except WebSocketDisconnect:
            pass  # noticed by the reader as well
        except Exception as exc:
            await self.refuse(request, exc)
        finally:
            if self.running.get(request, ("", None))[1] is asyncio.current_task():  # else aborted, its id free again
                del self.running[request]

    async def refuse(self, request: str, exc: Exception) -> None:
        own = isinstance(exc, StreamwardError) and exc.info.status < 500
        if not own and not isinstance(exc, ConnectionAbortedError):
            log.error("chat_socket_failed", exc_info=exc)
        with contextlib.suppress(WebSocketDisconnect):
            await self.send("error", request, errorText=exc.info.message if own else MASKED)  # type: ignore[attr-defined]

    async def forward(self, frame: Json) -> None:
        """Send the chunks of one answer, numbered from its first.

        Raises:
            ConnectionAbortedError: the answer broke off.
        """
        request, resuming = frame["requestId"], frame["type"] == "resume"
        response = await (self.resumed(frame) if resuming else self.answered(frame))
        if response is None:
            await self.send("no-active", request)
            return
        try:
            if resuming:
                await self.send("start", request)
            reader = sse.Reader(flush_at_end=True)
            before = b'{"type":"chunk","requestId":%b,"sequence":' % json_text.encode(request)
            number, after = 0, frame.get("lastSequence", -1)
            async for data in response.body_iterator:
                for event in reader.feed(data):
                    if event.data == sse.DONE:
                        continue
                    if number > after:
                        await self.websocket.send_text((b'%b%d,"chunk":%b}' % (before, number, event.data)).decode())
                    number += 1
            await self.send("end", request)
        finally:
            response.body_stream.cancel("the client left")

    async def answered(self, frame: Json) -> StreamResponse:
        made = self.answer(body_of(frame), frame["headers"])
        response = await made if inspect.isawaitable(made) else made
        if not isinstance(response, StreamResponse) or UI_HEADER.encode() not in dict(response.raw_headers):
            raise TypeError(NOT_A_UI_STREAM)
        return response if self.streams is None else await self.streams.start(frame["id"], response, tenant=self.tenant)

    async def resumed(self, frame: Json) -> StreamResponse | None:
        if self.streams is None:
            return None
        response = await self.streams.resume(frame["id"], tenant=self.tenant)
        return response if isinstance(response, StreamResponse) else None

    async def send(self, kind: str, request: str, **fields: str) -> None:
        await self.websocket.send_text(json_text.encode({"type": kind, "requestId": request, **fields}).decode())


def body_of(frame: Json) -> Json:
    """What the HTTP transport would have posted."""
    own = {name: frame[name] for name in ("id", "messages", "trigger", "messageId") if name in frame}
    return {**frame["body"], **own}


def parse(data: bytes) -> Json:
    """A client's frame, checked as ``safeValidateWebSocketChatTransportRequest`` checks it (messages by the answer).

    Raises:
        InvalidFrameError: anything else.
    """
    try:
        frame = json_text.decode_answer(data)
    except (ValueError, RecursionError):
        frame = None
    kind = frame.get("type") if type(frame) is dict else None
    check = CHECKS.get(kind) if type(kind) is str else None
    if check is None or type(frame.get("requestId")) is not str or not check(frame):
        raise InvalidFrameError("Invalid frame")
    checked: Json = frame
    return checked


def is_request(frame: Json) -> bool:
    return type(frame.get("id")) is str and is_text_map(frame.get("headers")) and type(frame.get("body")) is dict


def is_send(frame: Json) -> bool:
    if not is_request(frame) or frame.get("trigger") not in TRIGGERS or type(frame.get("messages")) is not list:
        return False
    return type(frame.get("messageId", "")) is str


def is_resume(frame: Json) -> bool:
    last = frame.get("lastSequence", 0)
    return is_request(frame) and type(last) is int and last >= 0


def is_text_map(value: Any) -> bool:
    return isinstance(value, Mapping) and all(type(item) is str for item in value.values())


CHECKS: dict[str, Callable[[Json], bool]] = {"send": is_send, "resume": is_resume, "abort": lambda _: True}
