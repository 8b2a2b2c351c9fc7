"""What the functions host costs, beside the same generator under bare uvicorn, in one run on one machine.

    python bench/functions.py [--only streams,first,cold,reload,logs] [--seconds S]

streams: added latency per chunk and CPU per chunk; first: first byte of a warm function; cold: replacement of a killed
worker; reload: save to new answer; logs: lines into the spool while a stream runs beside. The client is in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
CHUNKS_PER_S = 20
STAMP = re.compile(rb"\r\n(\d+\.\d+);\r\n")

STREAM = """
import asyncio, time
async def chunks(n):
    loop = asyncio.get_running_loop()
    due = loop.time()
    for _ in range(n):
        yield b"%.6f;" % time.time()
        due += 1 / {rate}
        await asyncio.sleep(max(0, due - loop.time()))
"""
FUNCTION = (
    STREAM.format(rate=CHUNKS_PER_S)
    + """
max_concurrency = 2000
async def GET(request):
    async for chunk in chunks(int(request.query_params["n"])):
        yield chunk
"""
)
BARE = (
    STREAM.format(rate=CHUNKS_PER_S)
    + """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    async for chunk in chunks(int(scope["query_string"][2:])):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
"""
)
LOGS = """
import time
async def GET(request):
    for i in range(int(request.query_params["n"])):
        print("a line of ordinary length, number", i)
    yield "x"
"""
FILES = {
    "api/stream.py": FUNCTION,
    "api/hello.py": "async def GET(): return 'x'\n",
    "api/pid.py": "import os\ndef GET(): return str(os.getpid())\n",
    "api/logs.py": LOGS,
}


def start(command: list[str], folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(rb"http://127\.0\.0\.1:(\d+)", line):
            return process, int(found[1])
    raise RuntimeError("the server did not start")


def host(folder: Path, command: str = "serve") -> tuple[subprocess.Popen[bytes], int]:
    arguments = [sys.executable, "-m", "streamward.functions.server", str(folder), "--port", "0", "--command", command]
    process, port = start(arguments, folder)
    until(lambda: get(port, "/_streamward/ready")[0] == 200, 20)
    return process, port


def bare(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    (folder / "bare.py").write_text(BARE)
    arguments = ["-m", "uvicorn", "bare:app", "--port", "0", "--no-access-log", "--lifespan", "off", "--backlog", "4096"]
    return start([sys.executable, *arguments], folder)


def get(port: int, path: str) -> tuple[int, bytes, float]:
    """(status, body, seconds to the first byte)."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        began = time.perf_counter()
        sock.sendall(f"GET {path} HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n".encode())
        data = sock.recv(65536)
        first = time.perf_counter() - began
        while piece := sock.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), body, first


def until(condition: Callable[[], bool], seconds: float) -> float:
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > seconds:
            raise RuntimeError("did not happen in time")
        time.sleep(0.001)
    return time.perf_counter() - began


def tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in tree(int(child)))]


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / (1 << 20)


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50": ordered[len(ordered) // 2] * 1000, "p99": ordered[int(len(ordered) * 0.99)] * 1000,
        "max": ordered[-1] * 1000,
    }  # fmt: skip


class Client(asyncio.Protocol):
    """One stream; notes how long after its making each chunk arrived."""

    def __init__(self, path: str, late: list[float], done: asyncio.Future[bool]) -> None:
        self.path, self.late, self.done = path, late, done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(f"GET {self.path} HTTP/1.1\r\nhost: b\r\n\r\n".encode())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        now = time.time()
        for found in STAMP.finditer(data):
            self.late.append(now - float(found[1]))
        if data.endswith(b"0\r\n\r\n"):
            self.done.set_result(True)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(False)


async def load(port: int, path: str, streams: int) -> tuple[list[float], int]:
    loop = asyncio.get_running_loop()
    late: list[float] = []
    futures = [loop.create_future() for _ in range(streams)]
    connects = [loop.create_connection(lambda f=f: Client(path, late, f), "127.0.0.1", port) for f in futures]  # type: ignore[misc]
    await asyncio.gather(*connects)
    return late, sum(await asyncio.gather(*futures))


def bench_streams(folder: Path, streams: int, seconds: float) -> dict[str, object]:
    n = int(CHUNKS_PER_S * seconds)
    out: dict[str, object] = {}
    for name, (process, port), path in (
        ("bare uvicorn", bare(folder), f"/?n={n}"),
        ("functions host", host(folder), f"/api/stream?n={n}"),
    ):
        pids = tree(process.pid)
        before = [cpu_s(pid) for pid in pids]
        late, complete = uvloop.run(load(port, path, streams))
        used = [cpu_s(pid) - start for pid, start in zip(pids, before, strict=True)]
        out[name] = {
            "complete": f"{complete}/{streams}", "chunks": len(late), "latency_ms": quantiles(late),
            "cpu_us_per_chunk": sum(used) / len(late) * 1e6, "front_us_per_chunk": used[0] / len(late) * 1e6,
            "front_rss_mb": rss_mb(process.pid),
        }  # fmt: skip
        process.terminate()
        process.wait()
    return out


def bench_first(folder: Path) -> dict[str, float]:
    process, port = host(folder)
    get(port, "/api/hello")
    firsts = [get(port, "/api/hello")[2] for _ in range(500)]
    process.terminate()
    process.wait()
    return quantiles(firsts)


def bench_cold(folder: Path) -> dict[str, float]:
    process, port = host(folder)
    took: list[float] = []
    for _ in range(30):
        pid = int(re.findall(rb"\d+", get(port, "/api/pid")[1])[0])
        os.kill(pid, signal.SIGKILL)
        took.append(until(lambda: get(port, "/api/pid")[0] == 200, 5))
    process.terminate()
    process.wait()
    return quantiles(took)


def bench_reload(folder: Path) -> dict[str, float]:
    process, port = host(folder, "dev")
    took: list[float] = []
    for number in range(20):
        (folder / "api/hello.py").write_text(f"async def GET(): return 'v{number}'\n")
        took.append(until(lambda n=number: get(port, "/api/hello")[1] == f"v{n}".encode(), 5))  # type: ignore[misc]
    process.terminate()
    process.wait()
    return quantiles(took)


def bench_logs(folder: Path) -> dict[str, object]:
    """400,000 lines, as fast as a function can print, to a drain nobody listens to, 20 streams beside."""
    (folder / "streamward.toml").write_text('[[drains]]\nurl = "http://127.0.0.1:9/"\n')
    process, port = host(folder)
    late, _ = uvloop.run(load(port, "/api/stream?n=40", 20))
    lines = 400_000
    began = time.perf_counter()

    async def both() -> tuple[list[float], float]:
        say = asyncio.get_running_loop().run_in_executor(None, get, port, f"/api/logs?n={lines}")
        beside = asyncio.create_task(load(port, "/api/stream?n=40", 20))
        await say
        return (await beside)[0], time.perf_counter()

    busy, _ = uvloop.run(both())
    until(lambda: figure(port, "drain_backlog") + figure(port, "log_dropped_total") >= lines, 60)
    took = time.perf_counter() - began
    stored = figure(port, "drain_backlog")
    out = {
        "written_per_s": lines / took, "spooled_per_s": stored / took, "dropped": figure(port, "log_dropped_total"),
        "quiet_ms": quantiles(late), "busy_ms": quantiles(busy),
    }  # fmt: skip
    process.terminate()
    process.wait()
    (folder / "streamward.toml").unlink()
    return out


def figure(port: int, name: str) -> float:
    """The sum of one metric over its labels."""
    text = get(port, "/_streamward/metrics")[1].decode()
    return sum(float(value) for value in re.findall(rf"^streamward_{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="streams,first,cold,reload,logs")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in FILES.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(text)
        runs: dict[str, Callable[[], object]] = {
            "streams": lambda: {n: bench_streams(folder, n, options.seconds) for n in (100, 500)},
            "first": lambda: bench_first(folder), "cold": lambda: bench_cold(folder),
            "reload": lambda: bench_reload(folder), "logs": lambda: bench_logs(folder),
        }  # fmt: skip
        for wanted in options.only.split(","):
            print(wanted, json.dumps(runs[wanted](), indent=1, default=lambda v: round(v, 2)), flush=True)


if __name__ == "__main__":
    main()
