"""What one streamed delta costs a client: microseconds of CPU, beside other Python SDKs, over the same mock.

    python bench/sdk.py [--deltas 300] [--streams 15] [--pace-ms 0] [--clients NAME,...]

Each client runs in a process of its own (imports and memory are its own), reads every delta of a Chat Completions
stream one stream after the other, and reports CPU (user + system) per delta, wall time per stream, resident memory and
the CPU of its import. Clients that are not installed are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

Reader = Callable[[], Awaitable[int]]


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


CLIENTS: dict[str, tuple[str, Callable[[str, str], Reader]]] = {
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
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(streams):
        await read()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "cpu_us": cpu / streams / deltas * 1e6, "wall_ms": wall / streams * 1e3,
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


def parent(args: argparse.Namespace) -> None:
    from harness.measure import build_tools, mock_upstream
    from harness.process import Cores

    build_tools()
    cores = Cores.split()
    with tempfile.TemporaryDirectory() as scratch, mock_upstream(cores, Path(scratch)) as port:
        print(f"{args.deltas} deltas, {args.streams} streams, pace {args.pace_ms} ms\n")
        print(f"{'client':<26} {'loop':<8} {'CPU µs/delta':>12} {'ms/stream':>10} {'RSS MB':>7} {'import s':>9}")
        for name in args.clients.split(",") if args.clients else CLIENTS:
            if importlib.util.find_spec(CLIENTS[name][0]) is None:
                print(f"{name:<26} not installed")
                continue
            for loop in ("asyncio", "uvloop"):
                command = [
                    sys.executable, __file__, "--child", name, "--base-url", f"http://127.0.0.1:{port}/v1",
                    "--model", f"bench-{args.deltas}-{args.pace_ms}", "--streams", str(args.streams),
                    "--deltas", str(args.deltas), "--loop", loop,
                ]  # fmt: skip
                done = subprocess.run(
                    command, stdout=subprocess.PIPE, check=True, preexec_fn=lambda: os.sched_setaffinity(0, cores.gateway)
                )
                row = json.loads(done.stdout)
                print(
                    f"{name:<26} {loop:<8} {row['cpu_us']:>12.1f} {row['wall_ms']:>10.1f} {row['rss_mb']:>7.0f} "
                    f"{row['import_s']:>9.2f}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deltas", type=int, default=300)
    parser.add_argument("--streams", type=int, default=15)
    parser.add_argument("--pace-ms", type=int, default=0)
    parser.add_argument("--clients", default="", help=f"comma-separated, of: {', '.join(CLIENTS)}")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--base-url", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--loop", default="asyncio", help=argparse.SUPPRESS)
    args = parser.parse_args()
    child(args) if args.child else parent(args)


if __name__ == "__main__":
    main()
