"""``streamward run``, ``chat`` and ``models``: asking a model from the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from dotenv import load_dotenv

from streamward.call import Call, Message, Text
from streamward.dataplane.pool import Pool
from streamward.errors import to_exception
from streamward.events import Abort, Error, Event, Finish, ReasoningDelta, TextDelta, ToolInputDelta, ToolInputStart
from streamward.gateway.config import Config, find_file, load
from streamward.gateway.plan import Routes
from streamward.upstream.local import LocalEngine, engine_available, tiny_model_path
from streamward.upstream.local_upstream import LocalUpstream
from streamward.upstream.source import EventSource

TINY = "local/tiny"


@contextlib.asynccontextmanager
async def opened(model: str | None, config: Config) -> AsyncIterator[Routes]:
    """The upstreams, with the local engine running if *model* needs it. Closes everything."""
    pool = Pool()
    routes = Routes(config, pool)
    engine: LocalEngine | None = None
    table = config.providers.get("local")
    tiny = tiny_model_path()
    path = Path(table.model) if table is not None and table.model else tiny
    try:
        if model is None or (model.startswith("local/") and path is not None and engine_available()):
            name = f"local/{path.stem}" if path is not None and path != tiny else TINY
            if path is not None and model is not None:
                engine = LocalEngine(path, name=name)
                await engine.start()
                routes.upstreams["local"] = LocalUpstream(engine, pool)
        yield routes
    finally:
        if engine is not None:
            await engine.stop()
        await pool.aclose()


def settings(config: Path | None) -> Config:
    for name in (".env.local", ".env"):
        load_dotenv(name)
    return load(config or find_file(Path()))


def run_once(model: str, prompt: str | None, system: str | None, *, as_json: bool, config: Path | None) -> int:
    """One answer. Exit code 1 when it did not finish."""
    asked = prompt if prompt is not None else sys.stdin.read()
    if not asked.strip():
        sys.stderr.write("streamward: nothing to ask: give a prompt or pipe one in\n")
        return 2
    return asyncio.run(answer_once(model, asked, system, as_json=as_json, config=settings(config)))


async def answer_once(model: str, asked: str, system: str | None, *, as_json: bool, config: Config) -> int:
    messages = ([Message("system", (Text(system),))] if system else []) + [Message("user", (Text(asked),))]
    async with opened(model, config) as routes:
        source = EventSource(Call(model, tuple(messages), stream=True), routes.targets(model))
        try:
            last: Event | None = None
            while events := await source.read():
                for event in events:
                    show_plain(event, as_json=as_json)
                last = events[-1]
        finally:
            source.cancel()
    if not as_json:
        sys.stdout.write("\n")
    if isinstance(last, Error):
        raise to_exception(last.error)
    return 0 if isinstance(last, Finish) else 1


def show_plain(event: Event, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    elif isinstance(event, TextDelta):
        sys.stdout.write(event.delta)
    elif isinstance(event, ToolInputStart):
        sys.stdout.write(f"\n[tool call] {event.name} ")
    elif isinstance(event, ToolInputDelta):
        sys.stdout.write(event.delta)
    sys.stdout.flush()


def run_chat(model: str | None, system: str | None, *, config: Path | None) -> int:
    """A conversation until end of input or /quit."""
    chosen = model or (TINY if engine_available() and tiny_model_path() is not None else "demo/chat")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(converse(chosen, system, settings(config)))
    return 0


async def converse(model: str, system: str | None, config: Config) -> None:
    from rich.console import Console

    console = Console()
    console.print(f"[bold]{model}[/bold]  (Ctrl-C stops an answer, Ctrl-D ends)", highlight=False)
    if model == TINY:
        console.print("a toy model that only knows this project", style="dim")
    messages = [Message("system", (Text(system),))] if system else []
    async with opened(model, config) as routes:
        targets = routes.targets(model)
        while True:
            asked = await prompt_line()
            if asked is None or asked.strip() in ("/quit", "/exit"):
                return
            if not asked.strip():
                continue
            messages.append(Message("user", (Text(asked),)))
            source = EventSource(Call(model, tuple(messages), stream=True), targets)
            text = await speak(source, console)
            messages.append(Message("assistant", (Text(text),)))


async def prompt_line() -> str | None:
    """One line from the terminal; None at its end."""
    try:
        return await asyncio.to_thread(input, "\n> ")
    except EOFError:
        return None


async def speak(source: EventSource, console: object) -> str:
    """Print one answer as it streams, then its figures. Ctrl-C stops the answer only."""
    from rich.console import Console

    assert isinstance(console, Console)
    loop = asyncio.get_running_loop()
    started = loop.time()
    first: float | None = None
    pieces: list[str] = []
    last: Event | None = None
    with contextlib.suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGINT, source.cancel)
    try:
        while events := await source.read():
            for event in events:
                if isinstance(event, TextDelta):
                    first = first or loop.time()
                    pieces.append(event.delta)
                    console.out(event.delta, end="", highlight=False)
                elif isinstance(event, ReasoningDelta):
                    first = first or loop.time()
                    console.out(event.delta, end="", style="dim", highlight=False)
            last = events[-1]
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
        source.cancel()
    console.print()
    console.print(figures(last, started, first, loop.time(), len(pieces)), style="dim", highlight=False)
    return "".join(pieces)


def figures(last: Event | None, started: float, first: float | None, ended: float, pieces: int) -> str:
    """Time to first token, tokens per second, and how it ended when that was not well."""
    out: list[str] = []
    if first is not None:
        usage = last.usage if isinstance(last, Finish) else None
        tokens = usage.output_tokens if usage is not None and usage.output_tokens else pieces
        pace = tokens / (ended - first) if ended > first else 0.0
        out = [f"first token {(first - started) * 1000:.0f} ms", f"{tokens} tokens", f"{pace:.0f} tokens/s"]
    if isinstance(last, Error):
        out.append(f"failed: {last.error.message} ({last.error.code})")
    elif isinstance(last, Abort) or not isinstance(last, Finish):
        out.append("stopped")
    elif last.reason != "stop":
        out.append(f"ended: {last.reason}")
    return " · ".join(out)


def list_models(*, config: Path | None, as_json: bool) -> int:
    """Models that can be named, and every known provider with the variable its key comes from."""
    return asyncio.run(print_models(settings(config), as_json=as_json))


async def print_models(config: Config, *, as_json: bool) -> int:
    from rich.console import Console
    from rich.table import Table

    from streamward.upstream.providers import LOCAL_SERVERS, PROVIDERS

    async with opened("", config) as routes:
        names = routes.listed()
        if engine_available() and tiny_model_path() is not None:
            names.append(TINY)
        rows = [
            {
                "provider": row.name, "dialect": row.dialect, "ready": row.name in routes.upstreams,
                "key": list(row.key_env), "url": row.base_url,
            }
            for row in PROVIDERS.values()
        ]  # fmt: skip
    if as_json:
        sys.stdout.write(json.dumps({"models": names, "providers": rows}, indent=2) + "\n")
        return 0
    console = Console()
    console.print("[bold]Models[/bold]")
    for name in names:
        note = "  (toy: only knows this project)" if name == TINY else "  (simulated)" if name.startswith("demo/") else ""
        console.print(f"  {name}[dim]{note}[/dim]", highlight=False)
    table = Table("provider", "dialect", "ready", "key from", title="Providers", title_justify="left", box=None)
    for row in rows:
        local = "named in the configuration" if row["provider"] in LOCAL_SERVERS else " or ".join(row["key"])  # type: ignore[arg-type]
        table.add_row(str(row["provider"]), str(row["dialect"]), "[green]yes[/green]" if row["ready"] else "-", local)
    console.print(table)
    console.print("Use them as provider/model, for example openai/gpt-4o-mini.", style="dim", highlight=False)
    return 0
