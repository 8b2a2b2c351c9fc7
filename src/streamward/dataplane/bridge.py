"""From the data plane to an ASGI application: the requests no streaming route takes.

Follows the ASGI specification 3.0, HTTP connection scope. One task per request, with flow control in both directions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from streamward.dataplane.exchange import Request, Sink, render_fields

MAX_BODY_AHEAD = 256 << 10
"""Request body bytes held before the application asks for them."""

DROPPED = frozenset((b"transfer-encoding", b"connection", b"keep-alive", b"content-length"))

log = logging.getLogger("streamward.server")


class AsgiExchange:
    """One request served by an ASGI application."""

    body_timeout_s = 0.0

    def __init__(
        self, app: Callable[..., Any], request: Request, sink: Sink, loop: asyncio.AbstractEventLoop,
        app_state: dict[str, Any], tasks: set[asyncio.Task[None]],
    ) -> None:  # fmt: skip
        self.sink = sink
        self.body: list[bytes] = []
        self.body_bytes = 0
        self.more_body = True
        self.gone = False
        self.started = False
        self.complete = False
        self.arrived = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        scope: dict[str, Any] = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": f"1.{request.http_minor}",
            "method": request.method, "scheme": request.scheme, "path": request.path, "raw_path": request.raw_path,
            "query_string": request.query, "root_path": "", "headers": list(request.header_list), "client": request.client,
            "server": request.server, "state": app_state.copy(), "extensions": {"streamward": {}},
        }  # fmt: skip
        self.is_head = request.method == "HEAD"
        self.task = loop.create_task(self.run(app, scope))
        tasks.add(self.task)
        self.task.add_done_callback(tasks.discard)

    async def run(self, app: Callable[..., Any], scope: dict[str, Any]) -> None:
        try:
            await app(scope, self.receive, self.send)
        except Exception:
            if self.gone:
                return  # whatever it was: writing to a client that has left raises, as the specification asks
            log.exception("asgi_application_failed")
            if not self.started:
                body = b'{"error":{"message":"the server failed","type":"server_error","param":null,"code":"server_error"}}'
                self.sink.start(500, b"content-type: application/json\r\n", length=len(body))
                self.sink.finish(body)
                self.complete = True
        if not self.complete and not self.gone:
            self.sink.abort()

    # -- from the client

    def body_received(self, data: bytes) -> None:
        self.body.append(data)
        self.body_bytes += len(data)
        if self.body_bytes > MAX_BODY_AHEAD:
            self.sink.pause_body()
        self.arrived.set()

    def body_ended(self) -> None:
        self.more_body = False
        self.arrived.set()

    def disconnected(self) -> None:
        self.gone = True
        self.arrived.set()
        self.writable.set()

    def pause(self) -> None:
        self.writable.clear()

    def resume(self) -> None:
        self.writable.set()

    def drain(self) -> None:
        self.task.cancel()

    # -- from the application

    async def receive(self) -> dict[str, Any]:
        while True:
            if self.body or not (self.more_body or self.arrived_end_sent):
                body = b"".join(self.body)
                self.body = []
                self.body_bytes = 0
                self.arrived_end_sent = not self.more_body
                self.sink.resume_body()
                return {"type": "http.request", "body": body, "more_body": self.more_body}
            if self.gone or self.complete:
                return {"type": "http.disconnect"}
            self.arrived.clear()
            await self.arrived.wait()

    arrived_end_sent = False

    async def send(self, message: dict[str, Any]) -> None:
        if self.gone:
            raise OSError("the client has disconnected")
        if message["type"] == "http.response.start":
            headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]
            length = next((int(value) for name, value in headers if name == b"content-length"), None)
            fields = render_fields(field for field in headers if field[0] not in DROPPED)
            self.sink.start(message["status"], fields, length=length)
            self.started = True
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if more:
            self.sink.write(body) if body else self.sink.flush_head()
            if not self.writable.is_set():
                await self.writable.wait()
        else:
            self.complete = True
            self.sink.finish(body)
            self.arrived.set()
