"""``streamward run`` and ``models``: asking a model from the terminal. The chat is in ``conversation``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from dotenv import load_dotenv

from streamward.call import Call, Message, Text
from streamward.dataplane.pool import Pool
from streamward.errors import to_exception
from streamward.events import Error, Event, Finish, TextDelta, ToolInputDelta, ToolInputStart
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
