"""The WebSocket transport of ``/v1/responses``: ``response.create`` messages in, the events of a stream out.

One response at a time, turns in order. The connection remembers its own responses, also those with ``store: false``, so
that ``previous_response_id`` works without storage; on another connection such an id does not exist. Follows Open
Responses 2026-04-24, WebSocket transport.

    reader task -> turns (a bounded queue) -> ResponseCall -> SocketSink -> send
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from streamward.dataplane.exchange import Request
from streamward.errors import ErrorInfo, InvalidRequest, StreamwardError
from streamward.gateway.auth import Caller
from streamward.gateway.control import Json
from streamward.gateway.exchange import OVERLOADED, SHUTDOWN
from streamward.gateway.inner_call import inner_request
from streamward.gateway.response_calls import ResponseCall
from streamward.gateway.stream_frames import plain
from streamward.wire import json_text
from streamward.wire.responses import render_error
from streamward.wire.responses.encode import payload_of
from streamward.wire.responses.errors import nested
from streamward.wire.responses.items import Item

if TYPE_CHECKING:
    from streamward.gateway.app import Gateway

ROUTE = "/v1/responses"
MAX_AGE_S = 3600.0  # the specification's: reconnect after an hour
MAX_WAITING = 16  # messages a client may be ahead
MAX_REMEMBERED = 32  # conversations per connection; turns go on from the latest, or branch from one shortly before
HIGH_WATER = 256 << 10  # bytes a client has not taken before its provider is paused: as for a stream

TOO_OLD = ErrorInfo(
    "websocket_connection_limit_reached", "this connection is an hour old: open a new one and go on there", 400
)
ORIGIN_REFUSED = ErrorInfo(
    "origin_not_allowed", "pages of this origin may not connect: add it to server.cors_origins", 403
)  # fmt: skip


async def serve_socket(gateway: Gateway, websocket: WebSocket, *, max_age_s: float = MAX_AGE_S) -> None:
    """Serve one connection from its handshake to its end."""
    request = inner_request(ROUTE)
    request.headers.update((name.lower(), value) for name, value in websocket.headers.raw)
    try:
        await admit(gateway, request)
    except StreamwardError as exc:
        await websocket.send_denial_response(Json(render_error(exc.info), exc.info.status))
        return
    await websocket.accept()
    connection = ResponsesSocket(gateway, websocket, request)
    reader = asyncio.create_task(connection.read(), name="streamward-socket-reader")
    try:
        async with asyncio.timeout(max_age_s):
            await connection.serve()
    except TimeoutError:
        await connection.refuse(TOO_OLD)
    except WebSocketDisconnect:
        pass  # in the middle of a message: the call was told by `serve`
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    if websocket.client_state is WebSocketState.CONNECTED and websocket.application_state is WebSocketState.CONNECTED:
        await websocket.close()


async def admit(gateway: Gateway, request: Request) -> Caller:
    """Who connects. A page of a foreign origin does not: browsers send its user's address, not its consent.

    Raises:
        StreamwardError: an unknown host, a foreign origin, a missing or wrong key.
    """
    refusal = gateway.places.refused_host(request)
    if refusal is not None:
        raise InvalidRequest(refusal.message, code=refusal.code, status=refusal.status)
    origin = request.headers.get(b"origin")
    if origin is not None and not (gateway.places.allows_origin(origin) or is_own(origin, request)):
        raise InvalidRequest(ORIGIN_REFUSED.message, code=ORIGIN_REFUSED.code, status=ORIGIN_REFUSED.status)
    return await gateway.caller_of(request)


def is_own(origin: bytes, request: Request) -> bool:
    """The page came from this very server."""
    return urlsplit(origin.decode("latin-1")).netloc.lower().encode() == request.headers.get(b"host", b"").lower()


class ResponsesSocket:
    """One connection's turns and what it remembers."""

    def __init__(self, gateway: Gateway, websocket: WebSocket, request: Request) -> None:
        self.gateway = gateway
        self.websocket = websocket
        self.request = request
        self.memory: dict[str, list[Item]] = {}
        self.turns: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING)
        self.call: ResponseCall | None = None
        self.sink: SocketSink | None = None

    async def read(self) -> None:
        """The reader task: messages into the queue, then None; a call under way hears at once that its client left."""
        try:
            while True:
                message = await self.websocket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                text = message.get("text")
                await self.turns.put(message.get("bytes") or b"" if text is None else text.encode("utf-8", "surrogatepass"))
        finally:
            self.left()
            if self.turns.full():
                self.turns.get_nowait()
            self.turns.put_nowait(None)

    async def serve(self) -> None:
        try:
            while (data := await self.turns.get()) is not None:
                await self.turn(data)
        finally:
            self.left()

    def left(self) -> None:
        """The client is gone: so is the reason for a call under way."""
        if self.call is not None and self.sink is not None:
            self.call.disconnected()
            self.sink.abort()

    async def turn(self, data: bytes) -> None:
        """One message: a response, or an error."""
        try:
            body = created(json_text.decode_object(data))
            self.check_room()
            caller = await self.gateway.caller_of(self.request)  # a connection may outlive its key
        except StreamwardError as exc:
            await self.refuse(exc.info)
            return
        sink = self.sink = SocketSink()
        call = ResponseCall(self.gateway, inner_request(ROUTE), sink, "responses", caller, b"")
        call.memory = self.memory
        call.on_response = self.remember
        sink.call = self.call = call
        call.body_received(json_text.encode(body))
        call.body_ended()
        try:
            async for payload in sink:
                await self.websocket.send_text(payload.decode())
        finally:
            if not call.over:
                call.disconnected()
            self.call = self.sink = None
        if sink.status != 200:
            self.memory.pop(str(body.get("previous_response_id")), None)  # the specification: a failed turn evicts
            await self.refuse(call.failure or SHUTDOWN)

    def check_room(self) -> None:
        error = None
        if self.gateway.draining:
            error = SHUTDOWN
        elif self.gateway.overloaded:
            error = OVERLOADED
        if error is not None:
            raise StreamwardError(error.message, code=error.code, status=error.status, retry_after_s=error.retry_after_s)

    def remember(self, response: dict[str, Any], conversation: list[Item]) -> None:
        if response.get("status") in ("completed", "incomplete"):
            self.memory[response["id"]] = conversation
            if len(self.memory) > MAX_REMEMBERED:
                del self.memory[next(iter(self.memory))]

    async def refuse(self, error: ErrorInfo) -> None:
        message = {"type": "error", "status": error.status, "error": nested(error)}
        try:
            await self.websocket.send_text(json_text.encode(message).decode())
        except (WebSocketDisconnect, RuntimeError):
            pass  # the client is gone, and hears nothing any more


def created(body: dict[str, Any]) -> dict[str, Any]:
    """The request in a ``response.create`` message. Raises InvalidRequest."""
    if body.get("type") != "response.create":
        raise InvalidRequest("the only message taken here is {\"type\": \"response.create\", ...}", param="type")
    if body.get("background") is True:
        raise InvalidRequest("'background' is not possible on a WebSocket: use POST /v1/responses", param="background")
    left_out = ("type", "stream", "stream_options", "background")
    return {**{name: value for name, value in body.items() if name not in left_out}, "stream": True}


class SocketSink:
    """A call's sink whose events are taken one by one; the call is paused while the client takes none."""

    def __init__(self) -> None:
        self.call: ResponseCall | None = None
        self.status = 0
        self.payloads: deque[bytes] = deque()
        self.size = 0
        self.paused = False
        self.over = False
        self.changed = asyncio.Event()

    def start(self, status: int, fields: bytes, *, length: int | None = None, by_frame: bool = False) -> None:
        self.status = status

    def write(self, data: bytes) -> None:
        if self.status != 200:
            return  # the body of a refusal: it is worded anew
        payloads = [payload for frame in plain(data) if (payload := payload_of(frame)) is not None]
        self.payloads += payloads
        self.size += sum(map(len, payloads))
        self.changed.set()
        if self.size > HIGH_WATER and not self.paused and self.call is not None:
            self.paused = True
            self.call.pause()

    def flush_head(self) -> None:
        """There is no head."""

    def finish(self, data: bytes = b"") -> None:
        if data:
            self.write(data)
        self.over = True
        self.changed.set()

    def abort(self) -> None:
        self.over = True
        self.changed.set()

    def pause_body(self) -> None:
        """The message was read whole."""

    def resume_body(self) -> None:
        """See ``pause_body``."""

    def __aiter__(self) -> SocketSink:
        return self

    async def __anext__(self) -> bytes:
        while not self.payloads:
            if self.over:
                raise StopAsyncIteration
            self.changed.clear()
            await self.changed.wait()
        payload = self.payloads.popleft()
        self.size -= len(payload)
        if self.paused and self.size < HIGH_WATER // 2 and self.call is not None:
            self.paused = False
            self.call.resume()
        return payload
