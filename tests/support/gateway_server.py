"""The real gateway on the real server: in this process (to look inside), or as ``streamward serve`` in its own."""

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from streamward.gateway.app import Gateway
from streamward.gateway.config import parse
from streamward.gateway.records import AccessLog
from streamward.gateway.serve import HTTP_PROTOCOL, WEBSOCKETS
from support.raw_http import KEY

PATIENCE_S = 15.0
UPSTREAM_KEY = "sk-upstream-secret"
COMMAND = (sys.executable, "-c", "from streamward.cli.main import main; main()")


class QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers and its tenth-of-a-second clock: many run in one test process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    async def main_loop(self) -> None:
        await self.stopping.wait()

    async def shutdown(self, sockets: Any = None) -> None:
        """No connection is left (``running`` saw to that), so there is nothing to wait for."""
        for server in self.servers:
            server.close()
        await self.lifespan.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Served:
    """A gateway being served, with its access records."""

    def __init__(self, gateway: Gateway, server: QuietServer, port: int, log: io.StringIO) -> None:
        self.gateway = gateway
        self.server = server
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = log

    def records(self) -> list[dict[str, Any]]:
        """The access records so far."""
        self.gateway.access_log.flush()
        self.gateway.access_log.lots.join()
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    async def record(self, number: int = 0) -> dict[str, Any]:
        """The access record with this number, as soon as it is booked."""
        await until(lambda: len(self.records()) > number)
        return self.records()[number]


def config_text(upstream: str = "http://127.0.0.1:9/v1", **tables: str) -> str:
    """A configuration with one provider ``mock``; *tables* add lines to the tables they name."""
    mock = tables.pop("mock", "timeouts = { connect = 2, first_byte = 0.4, idle = 0.4, total = 30 }\nretries = 0")
    lines = [f'[auth]\nkeys = ["{KEY}"]', f'[providers.mock]\nbase_url = "{upstream}"\napi_key = "{UPSTREAM_KEY}"\n{mock}']
    tables.setdefault("storage", 'url = "sqlite::memory:"')
    lines += [f"[{name.replace('__', '.')}]\n{text}" for name, text in tables.items()]
    return "\n".join(lines)


@asynccontextmanager
async def gateway_server(
    config: str, *, http: Any = HTTP_PROTOCOL, environ: Mapping[str, str] | None = None, config_path: Path | None = None,
    **options: Any,
) -> AsyncIterator[Served]:  # fmt: skip
    """Serve the gateway that *config* (TOML) describes on a free port of this process."""
    log = io.StringIO()
    gateway = Gateway(
        parse(config, "test.toml", environ or {}), environ=environ or {}, access_log=AccessLog("json", log),
        config_path=config_path, **options,
    )  # fmt: skip
    settings = uvicorn.Config(
        gateway, port=0, http=http, log_config=None, access_log=False, proxy_headers=False, server_header=False,
        date_header=False, lifespan="on", interface="asgi3", timeout_graceful_shutdown=5, ws=WEBSOCKETS,
    )  # fmt: skip
    async with running(settings) as (server, port):
        yield Served(gateway, server, port, log)


@asynccontextmanager
async def running(settings: uvicorn.Config) -> AsyncIterator[tuple[QuietServer, int]]:
    """uvicorn with *settings*, until the block ends."""
    server = QuietServer(settings)
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or task.done())
        assert server.started, "the server did not start"
        yield server, server.servers[0].sockets[0].getsockname()[1]
    finally:
        for connection in list(server.server_state.connections):
            connection.transport.abort()  # type: ignore[union-attr]
        await until(lambda: not server.server_state.connections)
        server.should_exit = True
        server.stopping.set()
        async with asyncio.timeout(PATIENCE_S):
            await task


async def until(condition: Any, patience_s: float = PATIENCE_S) -> None:
    """Return once *condition* holds; fail when it does not in time."""
    async with asyncio.timeout(patience_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


class Process:
    """``streamward serve`` or ``dev`` in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], lines: list[str]) -> None:
        self.process = process
        self.lines = lines
        self.url = next(re.search(r"http://\S+", line).group(0) for line in lines if "listening on" in line)  # type: ignore[union-attr]
        self.port = int(self.url.rpartition(":")[2])
        self.page_origin = ""  # of browser pages, where the configuration allows one

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(PATIENCE_S)

    def output(self) -> tuple[str, str]:
        """Standard output and the rest of standard error, once it has ended."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return out, "".join(self.lines) + err


@contextmanager
def streamward(*arguments: str, cwd: Path, environ: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Run the command until the block ends; it has printed where it listens."""
    env = {key: value for key, value in os.environ.items() if not key.endswith(("_API_KEY", "_BASE_URL"))}
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=cwd, text=True, env={**env, **(environ or {})},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Process(process, greeting(process))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def greeting(process: subprocess.Popen[str]) -> list[str]:
    """The lines up to the one that says where it listens."""
    assert process.stderr is not None
    lines: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        line = process.stderr.readline()
        if not line:
            break
        lines.append(line)
        if "listening on" in line:
            return lines
    raise AssertionError(f"did not start: {''.join(lines)}")
