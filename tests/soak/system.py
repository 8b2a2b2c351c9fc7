"""The system under test, as processes: gateway workers that share a store, Redis, and the provider."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from soak.client import KEY
from support.redis_server import RedisServer

START_S = 30.0  # a cold Python start beside a loaded machine
LEASE_S = 3.0
DRAIN_S = 1.0  # shorter than most streams: a rolling restart must break some
COMMAND = (sys.executable, "-c", "from streamward.cli.main import main; main()")
CONFIG = """
[server]
drain_s = {drain_s}

[auth]
keys = ["{key}"]

[providers.mock]
base_url = "http://127.0.0.1:{upstream}/v1"
dialect = "chat_completions"
api_key = "sk-soak"
retries = 0

[streams]
store = "{store}"
lease_s = {lease_s}
keepalive_s = 1

[storage]
url = "sqlite:{folder}/state.db"
"""


class Worker:
    """One ``streamward serve``; started again it is another one, on another port."""

    def __init__(self, folder: Path, number: int) -> None:
        self.port = free_port()
        self.log = folder / f"worker-{number}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", str(folder), "--port", str(self.port), "--log-format", "off"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip

    async def ready(self) -> None:
        """Raises RuntimeError when it does not come up."""
        deadline = time.monotonic() + START_S
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a worker did not start: {self.said()}")
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                answered = await reader.read(12) == b"HTTP/1.1 200"
                writer.transport.abort()
                if answered:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.05)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def gone(self) -> int:
        return await asyncio.to_thread(self.process.wait, START_S)

    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024

    def said(self) -> str:
        """The end of what it wrote: warnings and tracebacks."""
        return self.log.read_text(errors="replace")[-2000:]


class System:
    """Workers behind one store; use as an async context manager."""

    def __init__(self, folder: Path, store: str, workers: int) -> None:
        self.folder = folder
        self.redis = RedisServer(fsync="always") if store == "redis" else None
        self.count = workers
        self.workers: list[Worker] = []
        self.started = 0
        self.tracebacks: list[str] = []
        self.upstream_port = 0

    async def __aenter__(self) -> System:
        if self.redis is not None:
            self.redis.start()
        self.start_upstream()
        store = self.redis.url if self.redis is not None else f"sqlite:{self.folder}/streams.db"
        text = CONFIG.format(
            drain_s=DRAIN_S, key=KEY, upstream=self.upstream_port, store=store, lease_s=LEASE_S, folder=self.folder
        )
        (self.folder / "streamward.toml").write_text(text)
        for _ in range(self.count):
            await self.start_worker()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for worker in self.workers:
            worker.signal(signal.SIGKILL)
            await worker.gone()
            self.look_at(worker)
        assert self.upstream.stdin is not None
        assert self.upstream.stdout is not None
        self.upstream.stdin.close()
        await asyncio.to_thread(self.upstream.wait)
        self.upstream.stdout.close()
        if self.redis is not None:
            self.redis.close()

    def start_upstream(self) -> None:
        self.upstream = subprocess.Popen(
            [sys.executable, "-m", "soak.upstream"], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.upstream.stdout is not None
        self.upstream_port = json.loads(self.upstream.stdout.readline())["port"]

    async def start_worker(self) -> Worker:
        worker = Worker(self.folder, self.started)
        self.started += 1
        await worker.ready()
        self.workers.append(worker)
        return worker

    async def end_worker(self, worker: Worker, number: int) -> None:
        """No client is sent there any more; it gets the signal, and is replaced."""
        self.workers.remove(worker)
        worker.signal(number)
        replacing = asyncio.create_task(self.start_worker())
        await worker.gone()
        self.look_at(worker)
        await replacing

    def look_at(self, worker: Worker) -> None:
        if "Traceback" in worker.said():
            self.tracebacks.append(worker.said())

    async def restart_redis(self, away_s: float) -> None:
        """kill -9, and the same data again after *away_s*."""
        assert self.redis is not None
        await asyncio.to_thread(self.redis.kill)
        await asyncio.sleep(away_s)
        await asyncio.to_thread(self.redis.start)

    async def calls(self) -> dict[str, int]:
        """How often the provider was asked for each model."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        writer.write(b"GET /calls HTTP/1.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        calls: dict[str, int] = json.loads(await reader.readexactly(length))
        writer.transport.abort()
        return calls


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
