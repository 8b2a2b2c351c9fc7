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

import uvicorn

from streamward.dataplane.downstream import Downstream
from streamward.dataplane.exchange import Exchange, Request, Sink
from streamward.dataplane.head import Limits
from streamward.functions.console import Console
from streamward.functions.host import FunctionsHost

BACKLOG = 4096  # a burst of connects waits here, not in the client's retry timer
DEV_DRAIN_S, SERVE_DRAIN_S = 1.0, 30.0
MAX_URL_BYTES = 16_384


class FunctionsApp:
    """What the data plane is built around: functions and control endpoints, everything else is not found."""

    def __init__(self, host: FunctionsHost) -> None:
        self.host = host
        config = host.config
        self.limits = Limits(
            max_head_bytes=config.max_header_bytes, max_target_bytes=MAX_URL_BYTES, head_timeout_s=config.header_timeout
        )

    def open_exchange(self, request: Request, sink: Sink) -> Exchange:
        return self.host.open_exchange(request, sink) or self.host.not_found(request, sink)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Never asked: ``open_exchange`` takes every request. uvicorn wants an application object."""
        raise RuntimeError("the functions server has no ASGI side")


class FunctionsServer(uvicorn.Server):
    """uvicorn's server with the shutdown of the functions host: stop accepting, drain, cut, stop workers, flush."""

    def __init__(self, config: uvicorn.Config, host: FunctionsHost, drain_s: float) -> None:
        super().__init__(config)
        self.host = host
        self.drain_s = drain_s

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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await self.host.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.host.draining = True
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self.host.drain(self.drain_s)
        await self.host.stop()
        await super().shutdown(sockets)


def build_server(folder: str, command: str, sock: socket.socket, *, console: Console | None = None) -> FunctionsServer:
    address = sock.getsockname()[:2]
    host = FunctionsHost(folder, command=command, address=address)
    if console is not None:
        host.book.sinks.append(console.offer)
    app: Any = FunctionsApp(host)
    http: Any = Downstream
    config = uvicorn.Config(
        app, http=http, loop="uvloop", lifespan="off", ws="none", access_log=False, log_config=None, proxy_headers=False,
        interface="asgi3",
        timeout_graceful_shutdown=1, backlog=BACKLOG,
    )  # fmt: skip
    default = DEV_DRAIN_S if command == "dev" else SERVE_DRAIN_S
    drain_s = host.config.drain_s if host.config.drain_s is not None else default
    return FunctionsServer(config, host, drain_s)


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
