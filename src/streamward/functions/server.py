"""A server for one project folder: the functions host on the data plane, with an orderly end.

``streamward dev`` and ``serve`` put gateway and playground beside it; this module alone is enough to run functions:
``python -m streamward.functions.server DIR``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import msgspec
import uvicorn

from streamward.dataplane.downstream import Downstream
from streamward.dataplane.exchange import Exchange, Request, Sink, render_fields
from streamward.dataplane.head import Limits
from streamward.functions import failures
from streamward.functions.console import Console
from streamward.functions.host import CUT_S, FunctionsHost, new_id

BACKLOG = 4096  # a burst of connects waits here, not in the client's retry timer
MAX_URL_BYTES = 16_384
COMMON_PATHS = frozenset({"/_streamward/live", "/_streamward/ready", "/_streamward/metrics"})
"""Endpoints that the application beside us has as well: it speaks for both."""
REFUSALS = {414: "URL_TOO_LONG", 431: "REQUEST_HEADER_TOO_LARGE", 408: "MALFORMED_REQUEST_HEADER"}


class FunctionsApp:
    """What the data plane is built around: functions and control endpoints first, then *beside*.

    *beside* is another application of the data plane (the gateway); without it everything else is not found. Its
    lifespan and ours are one: the host starts before it and stops before it.
    """

    def __init__(self, host: FunctionsHost, beside: Any = None) -> None:
        self.host = host
        self.beside = beside
        config = host.config
        self.limits = getattr(beside, "limits", None) or Limits(
            max_head_bytes=config.max_header_bytes, max_target_bytes=MAX_URL_BYTES, head_timeout_s=config.header_timeout
        )

    def open_exchange(self, request: Request, sink: Sink) -> Exchange | None:
        beside = self.beside
        if beside is None or request.path not in COMMON_PATHS:
            exchange = self.host.open_exchange(request, sink)
            if exchange is not None:
                return exchange
            if beside is None or under_api(request):
                return self.host.not_found(request, sink)
        found: Exchange | None = beside.open_exchange(request, sink)
        return found

    def takes(self, request: Request) -> bool:
        """Whether *request* is for a function, for the control endpoints, or for a path where functions would be."""
        path = request.raw_path
        control = path.startswith(b"/_streamward/") or path == b"/_streamward"
        return control or under_api(request) or self.host.match(path) is not None

    def render_refusal(self, status: int, code: str, message: str) -> tuple[bytes, bytes]:
        """(header fields, body) for bytes that are no request we serve: the data plane asks, it knows no more."""
        name = REFUSALS.get(status, "MALFORMED_REQUEST_HEADER")
        request_id = new_id()
        error = {"code": name, "message": message, "request_id": request_id, "type": "invalid_request_error", "param": None}
        fields = [
            ("content-type", "application/json"), ("x-content-type-options", "nosniff"), ("server", "streamward"),
            ("x-streamward-id", request_id), ("x-streamward-error", name),
        ]  # fmt: skip
        return render_fields(fields), msgspec.json.encode({"error": error})

    def begin_drain(self) -> None:
        self.host.begin_drain()
        if self.beside is not None:
            self.beside.begin_drain()

    async def start(self) -> None:
        await self.host.start()

    async def stop(self) -> None:
        await self.host.stop()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            ours = scope["type"] == "http" and not scope["path"].startswith("/v1/")
            await self.beside(scope, receive, NotFoundSend(scope, send) if ours else send)
            return

        async def receive_for_both() -> Any:
            message = await receive()
            await (self.start() if message["type"] == "lifespan.startup" else self.stop())
            return message

        if self.beside is not None:
            await self.beside(scope, receive_for_both, send)
            return
        while True:
            message = await receive_for_both()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return


def under_api(request: Request) -> bool:
    return request.path == "/api" or request.path.startswith("/api/")


class NotFoundSend:
    """``send`` of the application beside: its 404 becomes ours, with code and id, for paths that are not its own."""

    def __init__(self, scope: Any, send: Any) -> None:
        self.scope = scope
        self.send = send
        self.replaced = False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] == 404:
            self.replaced = True
            request_id = new_id()
            accept = dict(self.scope["headers"]).get(b"accept", b"").decode("latin-1")
            kind, body = failures.render("NOT_FOUND", request_id, accept)
            fields = {
                "content-type": kind, "content-length": str(len(body)), "x-streamward-id": request_id,
                "x-streamward-error": "NOT_FOUND", "x-content-type-options": "nosniff", "server": "streamward",
            }  # fmt: skip
            headers = [(name.encode(), value.encode()) for name, value in fields.items()]
            await self.send({"type": "http.response.start", "status": 404, "headers": headers})
            await self.send({"type": "http.response.body", "body": body})
        elif not self.replaced:
            await self.send(message)


class FunctionsServer(uvicorn.Server):
    """uvicorn's server, exiting 0 when it was told to end, and at once when it was told twice."""

    def __init__(self, config: uvicorn.Config, host: FunctionsHost) -> None:
        super().__init__(config)
        self.host = host

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn raises the signal again after an orderly end; a server that did as it was told exits 0."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(1)  # the second signal; workers notice and end
        self.host.draining = True
        super().handle_exit(sig, frame)


def build_server(folder: str, command: str, sock: socket.socket, *, console: Console | None = None) -> FunctionsServer:
    address = sock.getsockname()[:2]
    host = FunctionsHost(folder, command=command, address=address)
    if console is not None:
        host.book.sinks.append(console.offer)
    app: Any = FunctionsApp(host)
    http: Any = Downstream
    config = uvicorn.Config(
        app, http=http, loop="uvloop", lifespan="on", ws="none", access_log=False, log_config=None, proxy_headers=False,
        interface="asgi3",
        timeout_graceful_shutdown=int(host.drain_s + CUT_S) + 1, backlog=BACKLOG,
    )  # fmt: skip
    return FunctionsServer(config, host)


def listen(host: str, port: int) -> socket.socket:
    """Raises OSError when the address is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="streamward.functions.server")
    parser.add_argument("folder", nargs="?", default=".")
    parser.add_argument("--command", choices=("dev", "serve"), default="serve")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8787)
    parser.add_argument("--log-format", choices=("json", "pretty"))
    options = parser.parse_args(arguments)
    try:
        sock = listen(options.host, options.port)
    except OSError as exc:
        sys.stderr.write(f"streamward: cannot listen on {options.host}:{options.port}: {exc.strerror}\n")
        return 1
    form = options.log_format or ("pretty" if options.command == "dev" else "json")
    console = Console(form)
    server = build_server(options.folder, options.command, sock, console=console)
    if options.command == "serve" and server.host.scan.problems:
        sys.stderr.write("".join(f"{problem}\n" for problem in server.host.scan.problems))
        return 1
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    sys.stderr.write(f"streamward: listening on http://{shown}:{port}\n")
    sys.stderr.flush()
    server.run([sock])
    console.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
