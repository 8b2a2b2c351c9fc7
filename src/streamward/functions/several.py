"""Functions for several server workers: one of them runs the host, the others pass their connections on to it.

So caps, queues, deadlines, logs, drains and figures are what they are with one worker; and the gateway's calls, which
need no host, are spread over all of them. Whoever holds the lock runs the host. It gives the lock back when it begins to
end, and the next worker starts a host of its own while what runs in the old one goes on. A request that comes in between
waits for that one.

    listening socket ─┬─ worker 1: gateway + functions host  <── connections that ask for a function ──┐
                      ├─ worker 2: gateway ────────────────────────────────────────────────────────────┤
                      └─ worker 3: gateway ────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from streamward.dataplane.downstream import Downstream
from streamward.dataplane.exchange import Exchange, Request, Sink, render_fields, status_line
from streamward.dataplane.handover import Taker, give
from streamward.functions import failures
from streamward.functions.host import CUT_S, FunctionsHost, new_id
from streamward.functions.server import COMMON_PATHS, FunctionsApp

LOOK_S = 0.1  # between two looks at the lock
RETRY_S = 0.05
WAIT_S = 15.0
"""How long a request waits for a worker that serves functions: the time of a start, and a little."""

READY_PATHS = frozenset({"/readyz", "/_streamward/ready"})
"""Asked of the worker that runs the host, while there is one: only it knows whether the functions are ready."""

log = logging.getLogger("streamward.functions")


class SharedFunctionsApp(FunctionsApp):
    """:class:`FunctionsApp` in one of several workers. *folder* is theirs alone; *config* makes connections of ours."""

    def __init__(self, host: FunctionsHost, beside: Any, folder: Path, config: Callable[[Any], Config]) -> None:
        super().__init__(host, beside)
        self.path = folder / "functions.sock"
        self.lock_path = folder / "functions.lock"
        self.config = config
        self.lock: IO[bytes] | None = None
        self.hosting = False  # our host has begun to start
        self.serving = False  # it has started: we serve what comes to us
        self.draining = False
        self.taker: Taker | None = None
        self.state = ServerState()  # of the connections that were passed to us
        self.given: set[asyncio.Task[None]] = set()
        self.looking: asyncio.Task[None] | None = None

    def open_exchange(self, request: Request, sink: Sink) -> Exchange | None:
        if self.serving:
            return super().open_exchange(request, sink)
        if self.is_for_host(request):
            assert isinstance(sink, Downstream)
            connection = sink.detach(request)
            if connection is not None:
                task = asyncio.create_task(self.pass_on(*connection, request))
                self.given.add(task)
                task.add_done_callback(self.given.discard)
            return None
        found: Exchange | None = self.beside.open_exchange(request, sink)
        return found

    def is_for_host(self, request: Request) -> bool:
        if request.path in READY_PATHS:
            return self.path.exists()
        return request.path not in COMMON_PATHS and self.takes(request)

    async def pass_on(self, connection: socket.socket, early: bytes, request: Request) -> None:
        """Find the worker that serves functions: it may be starting, or be us by now."""
        loop = asyncio.get_running_loop()
        until = loop.time() + WAIT_S
        with connection:
            while True:
                if self.serving:
                    self.take(connection.dup(), early)
                    return
                try:
                    await asyncio.to_thread(give, self.path, connection, early)
                    return
                except (ConnectionError, FileNotFoundError):
                    if loop.time() < until and not self.draining:
                        await asyncio.sleep(RETRY_S)
                        continue
                except OSError as exc:  # it hangs, and may have been taken: another try could serve it twice
                    log.warning("function_connection_lost", extra={"reason": str(exc)})
                    return
                connection.setblocking(False)
                with contextlib.suppress(OSError):
                    await loop.sock_sendall(connection, self.nobody_serves(request))
                return

    def nobody_serves(self, request: Request) -> bytes:
        code = "SERVER_DRAINING" if self.draining else "FUNCTION_THROTTLED"
        request_id = new_id()
        kind, body = failures.render(code, request_id, request.headers.get(b"accept", b"").decode("latin-1"))
        fields = [
            ("content-type", kind), ("content-length", str(len(body))), ("x-streamward-id", request_id), ("retry-after", "1"),
            ("x-streamward-error", code), ("x-content-type-options", "nosniff"), ("server", "streamward"),
            ("connection", "close"),
        ]  # fmt: skip
        return status_line(failures.STATUS[code]) + render_fields(fields) + b"\r\n" + body

    # -- the worker that runs the host

    async def start(self) -> None:
        if self.locked():
            await self.run_host()
        else:
            self.looking = asyncio.create_task(self.look())

    async def look(self) -> None:
        while not self.locked():  # noqa: ASYNC110 (another process gives it back)
            await asyncio.sleep(LOOK_S)
        try:
            await self.run_host()
        except Exception:
            log.exception("functions_host_failed")
            self.pass_the_lock()  # another worker may fare better

    def locked(self) -> bool:
        """Take the lock if it is free."""
        lock = open(self.lock_path, "wb")  # noqa: SIM115 (held as long as the host runs)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return False
        self.lock = lock
        return True

    async def run_host(self) -> None:
        self.hosting = True
        self.connections = self.config(self)
        self.connections.load()
        await self.host.start()
        self.serving = True
        self.taker = Taker(self.path, self.take)

    def take(self, connection: socket.socket, early: bytes) -> None:
        """Serve *connection*, from which *early* has been read, as if it had come to us."""

        def protocol() -> Downstream:
            return Passed(early, self.connections, self.state, {})

        loop = asyncio.get_running_loop()
        task = loop.create_task(self.accept(connection, protocol))
        self.given.add(task)
        task.add_done_callback(self.given.discard)

    async def accept(self, connection: socket.socket, protocol: Callable[[], Downstream]) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)
        except OSError:
            connection.close()  # the client has left meanwhile

    def begin_drain(self) -> None:
        if self.draining:
            return
        self.draining = True
        if self.looking is not None:
            self.looking.cancel()
        if self.serving:
            self.pass_the_lock()
            super().begin_drain()
            for connection in list(self.state.connections):
                connection.shutdown()
        else:
            self.beside.begin_drain()

    def pass_the_lock(self) -> None:
        """Let another worker start its host: requests go there from now on."""
        if self.taker is not None:
            self.taker.close()
            self.taker = None
        if self.lock is not None:
            self.lock.close()
            self.lock = None

    async def stop(self) -> None:
        self.begin_drain()
        if self.looking is not None:
            await asyncio.wait({self.looking})
        if self.hosting:
            until = asyncio.get_running_loop().time() + self.host.drain_s + CUT_S
            while self.state.connections and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110 (bounded, at an end)
                await asyncio.sleep(0.02)
            await self.host.stop()
        if self.given:
            await asyncio.wait(self.given, timeout=CUT_S)
        if self.lock is not None:
            self.lock.close()


class Passed(Downstream):
    """A connection that another worker has begun to read."""

    def __init__(self, early: bytes, config: Config, state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(config, state, app_state)
        self.early = early

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.loop.call_soon(self.data_received, b"")  # when reading has begun, so that it can be paused

    def data_received(self, data: bytes) -> None:
        if self.early:
            data, self.early = self.early + data, b""
        if data and not self.lost:
            super().data_received(data)
