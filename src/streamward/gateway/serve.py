"""Running the gateway on uvicorn: sockets, workers, signals, drain."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import uvicorn
from msgspec import Struct
from starlette.routing import BaseRoute
from uvicorn.supervisors import Multiprocess

from streamward.gateway.app import Gateway
from streamward.gateway.config import Config, load
from streamward.gateway.logs import configure_logging

SETTINGS = "STREAMWARD_SERVE_SETTINGS"
"""How worker processes learn what to serve: spawned ones share nothing but the environment."""

BACKLOG = 4096  # bursts of 500 connects must not be refused
GRACE_BEYOND_DRAIN_S = 5
ORPHANED_S = 1.0
"""What a worker may still do when the process that supervises it was killed."""

WEBSOCKETS = "websockets-sansio"
HTTP_PROTOCOL = "streamward.dataplane.downstream:Downstream"


class Settings(Struct, frozen=True):
    """What the command line decided; with the configuration file it is all a worker needs."""

    config: str | None = None
    host: str = "127.0.0.1"
    port: int = 8787
    workers: int = 1
    dev: bool = False
    open_access: bool = False
    local_model: str | None = None
    local_name: str = "local/tiny"
    log_format: str | None = None
    streams_store: str | None = None
    """Set for several workers whose configuration names no store that they can share."""
    shared_folder: str | None = None
    """Set for several workers: a folder of the running server, where they find each other."""
    factory: str = "streamward.gateway.serve:create_worker"
    """What makes the application of each of several workers."""
    functions: str | None = None
    """The project's folder, if it has functions; and the variables that came from its ``.env`` files."""
    from_files: tuple[str, ...] = ()


class Server(uvicorn.Server):
    """uvicorn's server, with our one line of greeting."""

    def __init__(self, config: uvicorn.Config, greet: Callable[[str], None] | None = None) -> None:
        super().__init__(config)
        self.greet = greet

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started and self.greet is not None:
            bound = [*(sockets or ()), *(s for server in self.servers for s in server.sockets)]
            host, port = bound[0].getsockname()[:2]
            self.greet(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn raises the signal again after an orderly end; a server that did as it was told exits 0."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second signal, of either kind, ends at once; child processes notice and end."""
        if self.should_exit:
            os._exit(1)
        super().handle_exit(sig, frame)


def build(settings: Settings, extra_routes: Sequence[BaseRoute] = ()) -> Gateway:
    """The gateway for *settings*. Raises ConfigError."""
    path = Path(settings.config) if settings.config else None
    config = load(path)
    if settings.log_format is not None:
        config = msgspec.structs.replace(
            config, logging=msgspec.structs.replace(config.logging, format=settings.log_format)
        )  # fmt: skip
    if settings.workers != config.server.workers:
        config = msgspec.structs.replace(
            config, server=msgspec.structs.replace(config.server, workers=settings.workers)
        )  # fmt: skip
    if settings.streams_store is not None:
        config = msgspec.structs.replace(
            config, streams=msgspec.structs.replace(config.streams, store=settings.streams_store)
        )  # fmt: skip
    return Gateway(
        config, config_path=path, open_access=settings.open_access, extra_routes=extra_routes,
        local_model=Path(settings.local_model) if settings.local_model else None, local_name=settings.local_name,
        owns_process=True, dev=settings.dev, peers_folder=Path(settings.shared_folder) if settings.shared_folder else None,
    )  # fmt: skip


def create_worker() -> Gateway:
    """Factory that uvicorn calls in each spawned worker."""
    configure_logging()
    return build(worker_settings())


def worker_settings() -> Settings:
    """What the supervising process tells this worker to serve. The worker ends with that process, however it ends."""
    threading.Thread(target=end_with_parent, name="streamward-parent", daemon=True).start()
    return msgspec.json.decode(os.environ.pop(SETTINGS), type=Settings)


def end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)  # the port is free at once
        time.sleep(ORPHANED_S)
        os._exit(1)


def uvicorn_config(app: Any, settings: Settings, config: Config, *, factory: bool = False) -> uvicorn.Config:
    return uvicorn.Config(
        app, factory=factory, host=settings.host, port=settings.port, http=HTTP_PROTOCOL,
        ws=WEBSOCKETS, ws_max_size=config.limits.max_body_bytes,
        workers=settings.workers, backlog=BACKLOG, log_config=None, access_log=False, proxy_headers=False,
        server_header=False, date_header=False, lifespan="on", interface="asgi3",
        timeout_graceful_shutdown=round(config.server.drain_s) + GRACE_BEYOND_DRAIN_S,
    )  # fmt: skip


def serve(
    settings: Settings, *, extra_routes: Sequence[BaseRoute] = (), greet: Callable[[str], None],
    around: Callable[[Gateway], Any] | None = None,
) -> int:  # fmt: skip
    """Serve until a signal; the exit code. *around* may put another application (the functions host) in front.

    Raises:
        ConfigError: before anything is served.
    """
    if settings.workers > 1:
        return serve_many(settings, greet)
    gateway = build(settings, extra_routes)
    app = gateway if around is None else around(gateway)
    server = Server(uvicorn_config(app, settings, gateway.config), greet)
    try:
        server.run()
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 1
    return 0 if server.started else 1


def serve_many(settings: Settings, greet: Callable[[str], None]) -> int:
    """Several workers behind one listening socket, supervised by uvicorn."""
    config = build(settings).config  # a bad configuration is said once, here
    with tempfile.TemporaryDirectory(prefix="streamward-") as folder:
        settings = msgspec.structs.replace(settings, shared_folder=folder)
        if config.streams.store == "memory":
            # A reader may come to any worker: what one of them holds in its memory is no use to the others.
            settings = msgspec.structs.replace(settings, streams_store=f"sqlite:{folder}/streams.db")
        supervise(settings, config, greet)
    return 0


def supervise(settings: Settings, config: Config, greet: Callable[[str], None]) -> None:
    shared = uvicorn_config(settings.factory, settings, config, factory=True)
    listener = shared.bind_socket()
    host, port = listener.getsockname()[:2]
    os.environ[SETTINGS] = msgspec.json.encode(msgspec.structs.replace(settings, port=port)).decode()
    greet(f"http://{host}:{port}")
    Multiprocess(shared, sockets=[listener]).run()
