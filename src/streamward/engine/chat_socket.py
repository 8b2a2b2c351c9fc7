"""The server of ``WebSocketChatTransport`` (AI SDK 7): many chats over one socket, each answer in numbered chunks.

    async def chat(websocket):                               # a Starlette or FastAPI WebSocket route
        await serve_chat_socket(websocket, answer, streams=streams)

    async def answer(request: ChatRequest):
        return stream_text(model, messages=request.messages).to_ui_message_stream_response(version=7)

Client frames are ``send``, ``resume`` and ``abort``; the server's are ``start``, ``chunk``, ``end``, ``error`` and
``no-active``. Source: ``WebSocketChatTransportRequest`` and ``WebSocketChatTransportResponse`` in npm ``ai`` 7.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from streamward.engine.response import StreamResponse
from streamward.engine.resumable import DEFAULT_TENANT, Resumable
from streamward.wire import json_text, sse
from streamward.wire.masking import MASKED

MAX_ANSWERS = 100
"""Answers at a time on one socket: a page has a handful of chats."""
BAD_FRAME = 1008
"""Close code for what is no frame of the protocol (RFC 6455, 7.4.1: policy violation)."""

log = logging.getLogger("streamward.sdk")


class ChatRequest(Struct, rename="camel"):
    """One question, as ``useChat`` would POST it, beside the ``headers`` and ``metadata`` a socket cannot send otherwise."""

    request_id: str
    id: str
    """The chat's."""
    messages: list[dict[str, Any]] = []
    """UI messages, as ``stream_text`` takes them."""
    trigger: str = "submit-message"
    message_id: str | None = None
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    """The transport's own fields (``body`` of the hook's options)."""
    metadata: Any = None


class SendFrame(ChatRequest, tag="send"):
    pass


class ResumeFrame(Struct, tag="resume", rename="camel"):
    request_id: str
    id: str
    last_sequence: int | None = None
    headers: dict[str, str] = {}
    body: dict[str, Any] = {}
    metadata: Any = None


class AbortFrame(Struct, tag="abort", rename="camel"):
    request_id: str


Frame: TypeAlias = SendFrame | ResumeFrame | AbortFrame
Answer: TypeAlias = Callable[[ChatRequest], StreamResponse | Awaitable[StreamResponse]]
decode_frame = msgspec.json.Decoder(Frame).decode


class Socket(Protocol):
    """What is used of a Starlette ``WebSocket``."""

    headers: Any

    async def accept(self) -> None: ...

    async def receive(self) -> Any: ...

    async def send_text(self, data: str) -> None: ...

    async def close(self, code: int = 1000, reason: str | None = None) -> None: ...


async def serve_chat_socket(
    websocket: Socket, answer: Answer, *, streams: Resumable | None = None, tenant: str = DEFAULT_TENANT,
    origins: Sequence[str] | None = None,
) -> None:  # fmt: skip
    """Accept *websocket* and serve it until it closes.

    Args:
        answer: gives the response to a question: of ``to_ui_message_stream_response`` or ``create_ui_message_stream_response``.
            What it raises is logged, and told in masked words.
        streams: records answers under the chat's id, so that ``resume`` finds them after the socket was lost. Without
            it a lost socket stops its answers, and there is never one to resume.
        tenant: only sockets with the same one (a user id) find each other's answers.
        origins: pages that may connect, e.g. ``["https://app.example"]``; None: all. Browsers send cookies to any server
            with a handshake, from any page.

    ``abort`` stops an answer this socket asked for; of one it resumed it only stops the delivery. A frame that is none of
    the protocol's closes the socket with code 1008.
    """
    if origins is not None and websocket.headers.get("origin") not in origins:
        await websocket.close(BAD_FRAME, "this page may not connect")
        return
    await websocket.accept()
    await Session(websocket, answer, streams, tenant).run()


class Session:
    """One socket and the answers on it."""

    def __init__(self, websocket: Socket, answer: Answer, streams: Resumable | None, tenant: str) -> None:
        self.websocket = websocket
        self.answer = answer
        self.streams = streams
        self.tenant = tenant
        self.sending = asyncio.Lock()
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.asked: dict[str, str] = {}  # chat ids of the answers asked for here, by request

    async def run(self) -> None:
        try:
            while (message := await self.websocket.receive())["type"] == "websocket.receive":
                try:
                    await self.take(decode_frame(message.get("text") or message.get("bytes") or b""))
                except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as exc:
                    await self.websocket.close(BAD_FRAME, f"not a frame of WebSocketChatTransport: {exc}"[:120])
                    return
        finally:
            tasks = list(self.tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def take(self, frame: Frame) -> None:
        number = frame.request_id
        if isinstance(frame, AbortFrame):
            task = self.tasks.get(number)
            if task is not None:
                task.cancel()
                if self.streams is not None and number in self.asked:
                    await self.streams.stop(self.asked[number], tenant=self.tenant)
            return
        if number in self.tasks or len(self.tasks) >= MAX_ANSWERS:
            await self.send({"type": "error", "requestId": number, "errorText": "too many requests on this connection"})
            return
        work = self.serve(frame) if isinstance(frame, SendFrame) else self.resume(frame)
        task = self.tasks[number] = asyncio.get_running_loop().create_task(work, name="streamward chat socket")
        task.add_done_callback(lambda _: self.forget(number))

    def forget(self, number: str) -> None:
        self.tasks.pop(number, None)
        self.asked.pop(number, None)

    async def serve(self, frame: SendFrame) -> None:
        try:
            given = self.answer(frame)
            response = await given if inspect.isawaitable(given) else given
            if self.streams is not None:
                self.asked[frame.request_id] = frame.id
                response = await self.streams.start(frame.id, response, tenant=self.tenant)
        except Exception:
            log.exception("chat_socket_answer_failed")
            await self.send({"type": "error", "requestId": frame.request_id, "errorText": MASKED})
            return
        await self.deliver(frame.request_id, response, after=-1)

    async def resume(self, frame: ResumeFrame) -> None:
        response = await self.streams.resume(frame.id, tenant=self.tenant) if self.streams is not None else None
        if not isinstance(response, StreamResponse):
            await self.send({"type": "no-active", "requestId": frame.request_id})
            return
        await self.deliver(frame.request_id, response, after=-1 if frame.last_sequence is None else frame.last_sequence)

    async def deliver(self, number: str, response: StreamResponse, *, after: int) -> None:
        """The chunks of *response* that come after *after*, and how it ended."""
        body, reader = response.body_stream, sse.Reader()
        sequence, ended = 0, False
        try:
            await self.send({"type": "start", "requestId": number})
            data = response.first
            while True:
                for event in reader.feed(data):
                    if event.data == sse.DONE:
                        ended = True
                    elif event.data:
                        if sequence > after:
                            await self.send_chunk(number, sequence, event.data)
                        sequence += 1
                if body.over:
                    break
                data = await body.read()
        except BaseException:
            body.cancel("the answer is not read any more")
            raise
        if ended and not body.broken:
            await self.send({"type": "end", "requestId": number})
        else:
            await self.send({"type": "error", "requestId": number, "errorText": MASKED})

    async def send_chunk(self, number: str, sequence: int, chunk: bytes) -> None:
        head = json_text.encode({"type": "chunk", "requestId": number, "sequence": sequence})
        await self.send_text((head[:-1] + b',"chunk":' + chunk + b"}").decode())

    async def send(self, frame: dict[str, Any]) -> None:
        await self.send_text(json_text.encode(frame).decode())

    async def send_text(self, text: str) -> None:
        async with self.sending:
            await self.websocket.send_text(text)
