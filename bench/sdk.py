"""What one streamed delta costs a client: microseconds of CPU, beside other Python SDKs, over the same mock.

    python bench/sdk.py [--deltas 300] [--streams 15] [--pace-ms 0] [--clients NAME,...] [--python PATH | --install]

Each client runs in a process of its own (imports and memory are its own), reads every delta of a Chat Completions
stream one stream after the other, and reports CPU (user + system) per delta (median and least of the streams), wall
time per stream, resident memory and the CPU of its import. ``floor`` is a bare asyncio protocol that wakes one task for
each read and understands nothing: what no client can be below.

Other SDKs are looked for in this Python, then in that of --python (or STREAMWARD_BENCH_PYTHON); --install makes one in
bench/bin/sdk-venv. One that is nowhere is left out, and its row says why.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

Reader = Callable[[], Awaitable[int]]

NEIGHBOURS = ("openai", "pydantic-ai-slim[openai]", "langchain-openai", "uvloop")
"""What --install installs."""

VENV = Path(__file__).parent / "bin" / "sdk-venv"


async def count(items: AsyncIterator[Any]) -> int:
    seen = 0
    async for _ in items:
        seen += 1
    return seen


def streamward_events(base_url: str, model: str) -> Reader:
    from streamward import openai_compatible, stream_text

    server = openai_compatible(base_url)(model)

    async def read() -> int:
        return await count(stream_text(server, prompt="Hi").full_stream.__aiter__())

    return read


def streamward_text(base_url: str, model: str) -> Reader:
    from streamward import openai_compatible, stream_text

    server = openai_compatible(base_url)(model)

    async def read() -> int:
        return await count(stream_text(server, prompt="Hi").text_stream.__aiter__())

    return read


def openai_sdk(base_url: str, model: str) -> Reader:
    from openai import AsyncOpenAI

    client = AsyncOpenAI(base_url=base_url, api_key="-")

    async def read() -> int:
        stream = await client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hi"}], stream=True, stream_options={"include_usage": True}
        )
        return await count(stream.__aiter__())

    return read


def pydantic_ai(base_url: str, model: str) -> Reader:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    agent = Agent(OpenAIChatModel(model, provider=OpenAIProvider(base_url=base_url, api_key="-")))

    async def read() -> int:
        async with agent.run_stream("Hi") as run:
            return await count(run.stream_text(delta=True, debounce_by=None))

    return read


def langchain(base_url: str, model: str) -> Reader:
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(base_url=base_url, api_key="-", model=model, stream_usage=True)  # type: ignore[arg-type]

    async def read() -> int:
        return await count(chat.astream("Hi"))

    return read


class Floor(asyncio.Protocol):
    """Sends one request and wakes whoever waits for each read of the answer."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.chunks: list[bytes] = []
        self.waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data)
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


def floor(base_url: str, model: str) -> Reader:
    from urllib.parse import urlsplit

    url = urlsplit(base_url)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": True}).encode()
    head = f"POST {url.path}/chat/completions HTTP/1.1\r\nhost: {url.netloc}\r\ncontent-length: {len(body)}\r\n\r\n"

    async def read() -> int:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(lambda: Floor(head.encode() + body), url.hostname, url.port)
        seen, tail = 0, b""
        while b"[DONE]" not in tail:
            protocol.waiter = loop.create_future()
            if not protocol.chunks:
                await protocol.waiter
            data = b"".join(protocol.chunks)
            protocol.chunks.clear()
            seen += data.count(b"data: ")
            tail = tail[-8:] + data
        transport.close()
        return seen

    return read


CLIENTS: dict[str, tuple[str, Callable[[str, str], Reader]]] = {
    "floor": ("asyncio", floor),
    "streamward text_stream": ("streamward", streamward_text),
    "streamward full_stream": ("streamward", streamward_events),
    "openai create": ("openai", openai_sdk),
    "pydantic-ai run_stream": ("pydantic_ai", pydantic_ai),
    "langchain-openai astream": ("langchain_openai", langchain),
}
"""Name to the module it needs and the factory of its reader."""


async def measure(name: str, base_url: str, model: str, streams: int, deltas: int) -> dict[str, float]:
    before_import = time.process_time()
    read = CLIENTS[name][1](base_url, model)
    import_s = time.process_time() - before_import
    for _ in range(2):
        seen = await read()
        assert seen >= deltas, f"{name} saw {seen} of {deltas} deltas"
    costs: list[float] = []
    wall = time.perf_counter()
    for _ in range(streams):
        cpu = time.process_time()
        await read()
        costs.append((time.process_time() - cpu) / deltas * 1e6)
    wall = time.perf_counter() - wall
    return {
        "cpu_us": statistics.median(costs), "least_us": min(costs), "wall_ms": wall / streams * 1e3,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "import_s": import_s,
    }  # fmt: skip


def child(args: argparse.Namespace) -> None:
    work = measure(args.child, args.base_url, args.model, args.streams, args.deltas)
    if args.loop == "uvloop":
        import uvloop

        result = uvloop.run(work)
    else:
        result = asyncio.run(work)
    print(json.dumps(result))


def has(python: str, module: str) -> bool:
    found = subprocess.run(
        [python, "-c", f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"], check=False
    )
    return found.returncode == 0


def installed() -> str:
    """The Python of --install."""
    python = VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    if not all(has(str(python), module) for module, _ in CLIENTS.values() if module != "streamward"):
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *NEIGHBOURS], check=True)
    return str(python)


def python_for(module: str, neighbours: str) -> tuple[str, str]:
    """Which Python runs a client of *module*; or an empty string, and why there is none."""
    if importlib.util.find_spec(module) is not None:
        return sys.executable, ""
    if not neighbours:
        return "", f"skipped: {module} is not installed here; give --python PATH, or --install"
    if not Path(neighbours).exists():
        return "", f"skipped: there is no {neighbours}"
    if not has(neighbours, module):
        return "", f"skipped: {module} is neither installed here nor in {neighbours}"
    return neighbours, ""


def parent(args: argparse.Namespace) -> None:
    from harness.measure import build_tools, mock_upstream
    from harness.process import Cores

    build_tools()
    cores = Cores.split()
    neighbours = installed() if args.install else args.python
    with tempfile.TemporaryDirectory() as scratch, mock_upstream(cores, Path(scratch)) as port:
        print(f"{args.deltas} deltas, {args.streams} streams, pace {args.pace_ms} ms\n")
        print(f"{'client':<26} {'loop':<8} {'CPU µs/delta':>12} {'least':>7} {'ms/stream':>10} {'RSS MB':>7} {'import s':>9}")
        for name in args.clients.split(",") if args.clients else CLIENTS:
            python, reason = python_for(CLIENTS[name][0], neighbours)
            if not python:
                print(f"{name:<26} {reason}")
                continue
            for loop in args.loops.split(","):
                if loop == "uvloop" and not has(python, "uvloop"):
                    print(f"{name:<26} {loop:<8} skipped: {python} has no uvloop")
                    continue
                command = [
                    python, __file__, "--child", name, "--base-url", f"http://127.0.0.1:{port}/v1",
                    "--model", f"bench-{args.deltas}-{args.pace_ms}", "--streams", str(args.streams),
                    "--deltas", str(args.deltas), "--loop", loop,
                ]  # fmt: skip
                done = subprocess.run(
                    command, stdout=subprocess.PIPE, check=False, preexec_fn=lambda: os.sched_setaffinity(0, cores.gateway)
                )
                if done.returncode:
                    print(f"{name:<26} {loop:<8} failed, see above")
                    continue
                row = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"{name:<26} {loop:<8} {row['cpu_us']:>12.1f} {row['least_us']:>7.1f} {row['wall_ms']:>10.1f} "
                    f"{row['rss_mb']:>7.0f} {row['import_s']:>9.2f}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deltas", type=int, default=300)
    parser.add_argument("--streams", type=int, default=15)
    parser.add_argument("--pace-ms", type=int, default=0)
    parser.add_argument("--clients", default="", help=f"comma-separated, of: {', '.join(CLIENTS)}")
    parser.add_argument("--loops", default="asyncio,uvloop", help="comma-separated")
    parser.add_argument("--python", default=os.environ.get("STREAMWARD_BENCH_PYTHON", ""), help="one with other SDKs")
    parser.add_argument("--install", action="store_true", help=f"make one: pip install {' '.join(NEIGHBOURS)}")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--base-url", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--loop", default="asyncio", help=argparse.SUPPRESS)
    args = parser.parse_args()
    child(args) if args.child else parent(args)


if __name__ == "__main__":
    main()
