"""ASGI 3.0 on a link: applications, and response objects that are called like one; lifespan."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from streamward.functions.worker.channel import Channel
from streamward.functions.worker.context import Invocation
from streamward.functions.worker.responses import FLUSH_FRAME

APP_PATIENCE_S = 0.05  # between http.disconnect and the cancellation of an application that does not react

Message = dict[str, Any]


def http_scope(invocation: Invocation) -> Message:
    call = invocation.call
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": f"1.{call.http_minor}",
        "method": call.method, "scheme": call.scheme, "path": call.path, "raw_path": call.raw_path,
        "query_string": call.query, "root_path": "", "headers": call.headers,
        "client": tuple(call.client) if call.client else None, "server": tuple(call.server),
        "path_params": dict(call.params), "state": {}, "extensions": {},
    }  # fmt: skip


class Receive:
    """``receive()``: the body as it arrives, then ``http.disconnect`` when the client leaves (or the response ended)."""

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
        self.given = False

    async def __call__(self) -> Message:
        channel = self.invocation.channel
        if not self.given and not self.invocation.gone.is_set():
            try:
                piece = await self.piece(channel)
            except ConnectionResetError:
                return {"type": "http.disconnect"}
            more = not (channel.body_ended and not channel.arrived)
            self.given = not more
            return {"type": "http.request", "body": piece, "more_body": more}
        if not channel.ended:
            await self.invocation.gone.wait()
        return {"type": "http.disconnect"}

    async def piece(self, channel: Channel) -> bytes:
        if channel.body_ended and not channel.arrived:
            return b""
        return await channel.read()


class Send:
    """``send()``: frames on the link, each body message on its own."""

    def __init__(self, invocation: Invocation) -> None:
        self.channel = invocation.channel
        self.invocation = invocation
        self.start: Message | None = None
        self.head = b""
        self.complete = False

    async def __call__(self, message: Message) -> None:
        channel = self.channel
        if self.invocation.gone.is_set() or channel.closed:
            raise OSError("the client has disconnected")
        kind = message["type"]
        if kind == "http.response.start":
            if self.start is not None:
                raise RuntimeError("http.response.start was sent twice")
            self.start = message
            return
        if kind != "http.response.body":
            raise RuntimeError(f"unknown ASGI message {kind!r}")
        if self.start is None:
            raise RuntimeError("http.response.body came before http.response.start")
        if self.complete:
            raise RuntimeError("http.response.body came after the end of the response")
        data, more = bytes(message.get("body", b"")), bool(message.get("more_body", False))
        out = b""
        if not channel.head_sent:
            out = self.render_head(None if more else len(data))
            if more and not data:
                out += FLUSH_FRAME
        elif more and not data:
            out = FLUSH_FRAME
        if data:
            out += channel.body(data)
        if not more:
            self.complete = True
            out += channel.end()
        channel.write(out)
        await channel.pace()

    def render_head(self, known: int | None) -> bytes:
        """The head frame; a body that comes in one piece has a known length."""
        assert self.start is not None
        headers = [(bytes(name).lower(), bytes(value)) for name, value in self.start.get("headers", ())]
        return self.channel.head(int(self.start["status"]), headers, stated_length(headers, known))


def stated_length(headers: list[tuple[bytes, bytes]], known: int | None) -> int | None:
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return known


async def run_asgi(invocation: Invocation, app: Callable[..., Any], *, asked: bool = False, state: Any = None) -> None:
    """Run *app* for this request. *asked*: it is a returned response object, its stream is closed right after.

    Raises whatever the app raised; an app that returned without finishing its response is a RuntimeError.
    """
    scope = http_scope(invocation)
    if state is not None:
        scope["state"] = dict(state)
    if not asked:
        invocation.patience_s = APP_PATIENCE_S
    send = Send(invocation)
    try:
        await app(scope, Receive(invocation), send)
    except Exception:
        if invocation.gone.is_set() or invocation.channel.closed:
            return  # what an app raises because send() failed is no failure of its own
        raise
    if not send.complete and not invocation.gone.is_set():
        if send.start is None:
            return
        raise RuntimeError("the application returned without finishing its response")


class Lifespan:
    """The lifespan protocol of one application. An application without it raises; that is fine."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app
        self.state: Message = {}
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.started = asyncio.Event()
        self.stopped = asyncio.Event()
        self.failure: str | None = None
        self.supported = True
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises RuntimeError when the application says its start-up failed."""
        self.task = asyncio.get_running_loop().create_task(self.run())
        await self.inbox.put({"type": "lifespan.startup"})
        await self.started.wait()
        if self.failure is not None:
            raise RuntimeError(f"lifespan start-up failed: {self.failure}")

    async def run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.app(scope, self.inbox.get, self.send)
        except Exception as exc:
            if self.started.is_set() and self.supported:
                self.failure = str(exc)
            self.supported = False
        finally:
            self.started.set()
            self.stopped.set()

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.failed":
            self.failure = message.get("message") or "no reason given"
        if kind.startswith("lifespan.startup"):
            self.started.set()
        else:
            self.stopped.set()

    async def stop(self, grace_s: float) -> None:
        if self.task is None or self.task.done() or not self.supported:
            return
        await self.inbox.put({"type": "lifespan.shutdown"})
        try:
            async with asyncio.timeout(grace_s):
                await self.stopped.wait()
        except TimeoutError:
            self.task.cancel()
