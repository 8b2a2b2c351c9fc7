"""``streamward bench``: many streams at a time, and what their readers would have felt."""

from __future__ import annotations

import asyncio
import math
import sys
from collections import Counter
from collections.abc import Sequence

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamward.cli.probe import Request, request_bytes
from streamward.dataplane.client import AnswerHead, Timeouts
from streamward.dataplane.pool import Pool
from streamward.errors import ErrorInfo
from streamward.upstream.upstream import parse_base_url
from streamward.wire import data_stream
from streamward.wire.lint.run import Understood
from streamward.wire.ndjson import Reader as LineReader
from streamward.wire.sse import Frame
from streamward.wire.sse import Reader as SseReader

BINS = 12
BAR = 40
BLOCKS = " ▏▎▍▌▋▊▉█"
MAX_GAPS = 2_000_000
"""Gaps kept for the percentiles: 16 MB; a longer run keeps the first ones and says so in nothing but this bound."""


class Load(Struct):
    """The figures of one run, in seconds."""

    first: list[float] = []
    gaps: list[float] = []
    durations: list[float] = []
    tokens: int = 0
    finished: int = 0
    errors: Counter[str] = msgspec.field(default_factory=Counter)
    elapsed: float = 0.0
    connections: int = 0


class Stream:
    """A receiver that notes when content came. Nothing is kept but times."""

    def __init__(self, load: Load, dialect: str, began: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.load = load
        self.began = began
        self.understood = Understood(dialect)
        lines = data_stream.Lines() if dialect == "data_stream" else None
        self.lines = lines
        self.reader = LineReader() if dialect == "ollama" else SseReader(flush_at_end=True)
        self.last = 0.0
        self.status = 0
        self.over: asyncio.Future[None] = self.loop.create_future()

    def head_received(self, head: AnswerHead) -> None:
        self.status = head.status

    def data_received(self, data: bytes) -> None:
        if self.status != 200:
            return
        if self.lines is not None:
            frames = [Frame(line.encode()) for line in self.lines.feed(data)]
        else:
            frames = self.reader.feed(data)
        content = sum([self.understood.feed(frame) for frame in frames])
        if not content:
            return
        now = self.loop.time()
        load = self.load
        load.tokens += content
        if not self.last:
            load.first.append(now - self.began)
        elif len(load.gaps) < MAX_GAPS:
            load.gaps.append(now - self.last)
        self.last = now

    def ended(self) -> None:
        if self.status != 200:
            self.book(f"HTTP {self.status}")
            return
        for frame in self.reader.close():
            self.understood.feed(frame)
        self.understood.close()
        ending = self.understood.ending
        self.book("" if ending.startswith("finished") else ending)

    def failed(self, error: ErrorInfo) -> None:
        self.book(error.code)

    def book(self, problem: str) -> None:
        if self.over.done():
            return
        if problem:
            self.load.errors[problem] += 1
        else:
            self.load.finished += 1
            self.load.durations.append(self.loop.time() - self.began)
        self.over.set_result(None)


async def run_load(request: Request, clients: int, requests: int, progress: Progress | None, title: str) -> Load:
    """*requests* streams, *clients* at a time, connections reused."""
    load, pool = Load(), Pool()
    endpoint, _ = parse_base_url(request.url)
    data = request_bytes(request)
    timeouts = Timeouts(first_byte=request.timeout_s, idle=request.timeout_s, total=0)
    left = requests
    task = progress.add_task(title, total=requests) if progress is not None else None

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            stream = Stream(load, request.dialect, pool.loop.time())
            call = pool.call(endpoint, data, stream, timeouts)
            try:
                await stream.over
            finally:
                call.cancel()
            if progress is not None and task is not None:
                progress.advance(task)

    began = pool.loop.time()
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(clients, requests)):
                group.create_task(client())
    finally:
        load.elapsed = pool.loop.time() - began
        load.connections = pool.opened
        await pool.aclose()
    return load


def run_bench(request: Request, baseline: Request | None, clients: int, requests: int, *, as_json: bool) -> int:
    """Run and print. 1 when a stream did not finish."""
    terminal = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=terminal, transient=True, disable=not terminal.is_terminal) as progress:
        base = asyncio.run(run_load(baseline, clients, requests, progress, "baseline")) if baseline is not None else None
        load = asyncio.run(run_load(request, clients, requests, progress, "streams"))
    figures = summary(load, request, base)
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(figures)).decode() + "\n")
    else:
        show(Console(), load, figures, clients)
    return 1 if load.errors else 0


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank of sorted *values*; 0 for none."""
    return values[max(math.ceil(share * len(values)) - 1, 0)] if values else 0.0


def spread(values: list[float]) -> dict[str, float]:
    """Milliseconds."""
    ordered = sorted(values)
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(percentile(ordered, share) * 1000, 3) for name, share in shares.items()}


def summary(load: Load, request: Request, base: Load | None) -> dict[str, object]:
    figures: dict[str, object] = {
        "finished": load.finished, "failed": sum(load.errors.values()), "errors": dict(load.errors),
        "elapsed_s": round(load.elapsed, 3), "connections": load.connections,
        "streams_per_s": round(load.finished / load.elapsed, 1) if load.elapsed else 0.0,
        "tokens_per_s": round(load.tokens / load.elapsed, 1) if load.elapsed else 0.0,
        "first_token_ms": spread(load.first), "gap_ms": spread(load.gaps), "stream_ms": spread(load.durations),
    }  # fmt: skip
    if base is not None:
        before, after = spread(base.first), spread(load.first)
        figures["added_first_token_ms"] = {name: round(after[name] - before[name], 3) for name in after}
    elif request.ttft_s is not None and load.first:
        figures["added_first_token_ms"] = spread([max(value - request.ttft_s, 0.0) for value in load.first])
    return figures


def show(console: Console, load: Load, figures: dict[str, object], clients: int) -> None:
    table = Table("ms", "p50", "p90", "p99", "max", title=f"{clients} streams at a time", title_justify="left", box=None)
    rows = {
        "first token": "first_token_ms", "added to it": "added_first_token_ms", "between reads": "gap_ms",
        "whole stream": "stream_ms",
    }  # fmt: skip
    for name, key in rows.items():
        values = figures.get(key)
        if isinstance(values, dict):
            table.add_row(name, *(f"{value:.1f}" for value in values.values()))
    console.print(table)
    console.print(
        f"{load.finished} finished, {figures['failed']} failed, {figures['streams_per_s']} streams/s, "
        f"{figures['tokens_per_s']} tokens/s, {load.connections} connections",
        highlight=False,
    )
    for problem, count in load.errors.most_common():
        console.print(f"[red]{count} x {problem}[/red]", highlight=False)
    for title, values in (("time to first token", load.first), ("gap between reads", load.gaps)):
        if values:
            console.print(f"[bold]{title}[/bold]")
            for line in histogram(values):
                console.print(line, highlight=False, markup=False)


def histogram(values: list[float], bins: int = BINS, width: int = BAR) -> list[str]:
    """Lines of a histogram of seconds, over bins that grow by a constant factor: latencies have long tails."""
    floor = 1e-5  # 10 microseconds: below it clocks and loops say nothing
    low, high = max(min(values), floor), max(max(values), floor)
    ratio = (high / low) ** (1 / bins)
    counts = [0] * bins
    for value in values:
        at = int(math.log(max(value, low) / low) / math.log(ratio)) if ratio > 1 else 0
        counts[min(at, bins - 1)] += 1
    if ratio <= 1:
        counts = counts[:1]
    top = max(counts)
    return [
        f"{low * ratio ** (at + 1) * 1000:9.2f} ms {bar(count / top, width):<{width}} {count}"
        for at, count in enumerate(counts)
    ]


def bar(share: float, width: int) -> str:
    eighths = round(share * width * 8)
    if share > 0:
        eighths = max(eighths, 1)
    return "█" * (eighths // 8) + (BLOCKS[eighths % 8] if eighths % 8 else "")
