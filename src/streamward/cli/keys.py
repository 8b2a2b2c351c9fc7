"""``keys`` and ``usage``: their options, and what they print. They work on the configured database, not on a server."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from streamward.errors import InvalidRequest, StreamwardError

if TYPE_CHECKING:
    from streamward.gateway.storage import Storage
    from streamward.gateway.storage.keys import ClientKey
    from streamward.gateway.storage.usage import ReportRow

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file [./streamward.toml].")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable.")]

SPAN = re.compile(r"(\d{1,6})(m|h|d|w)")
SPAN_S = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
FAR_S = 100 * 365 * 86400.0

Result = TypeVar("Result")

keys = typer.Typer(no_args_is_help=True, help="""Client keys: who may use the gateway, and how much.

    Example: [bold]streamward keys create --name ci[/bold]
    """)


def register(app: typer.Typer) -> None:
    """Add the commands to the main application."""
    app.add_typer(keys, name="keys")
    app.command()(usage)


@keys.command()
def create(
    name: Annotated[str, typer.Option(help="What to call it, in records and lists [its id].")] = "",
    rpm: Annotated[int | None, typer.Option(min=0, help="Requests per minute; 0: no limit [limits of the file].")] = None,
    tpm: Annotated[int | None, typer.Option(min=0, help="Tokens per minute; 0: no limit.")] = None,
    streams: Annotated[int | None, typer.Option(min=0, help="Calls at a time; 0: no limit.")] = None,
    budget_usd: Annotated[float | None, typer.Option(min=0, help="What it may spend, in US dollars; 0: no limit.")] = None,
    budget_period: Annotated[str | None, typer.Option(help="Of the budget: total, month or day (UTC).")] = None,
    max_duration: Annotated[float | None, typer.Option(min=0, help="Longest call, in seconds; 0: no limit.")] = None,
    expires: Annotated[str | None, typer.Option(help="When it ends: 30d, 12h, or a date (2026-12-31) [never].")] = None,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Make a key. Its secret is shown this once; only a hash of it is stored.

    Example: [bold]streamward keys create --name ci --rpm 60 --budget-usd 20 --budget-period month --expires 90d[/bold]
    """
    import os

    from streamward.gateway.key_limits import KeyLimits
    from streamward.gateway.storage.keys import new_key

    now = time.time()
    try:
        if budget_period not in (None, "total", "month", "day"):
            raise InvalidRequest(f"--budget-period is total, month or day, not {budget_period!r}")
        limits = KeyLimits(rpm, tpm, streams, budget_usd, budget_period, max_duration)  # type: ignore[arg-type] # checked
        key, secret = new_key(name, now=now, random=os.urandom, limits=limits, expires_at=moment(expires, now))
    except InvalidRequest as exc:
        raise usage_error(exc) from None
    with_storage(config, lambda storage: storage.keys.add(key))
    if json:
        print_json({**shown(key, now), "secret": secret})
        return
    sys.stdout.write(secret + "\n")
    sys.stderr.write(
        f"{key.id} ({key.name}): keep the secret above now, it cannot be shown again. Running servers know it at once.\n"
    )


@keys.command("list")
def list_keys(
    show_all: Annotated[bool, typer.Option("--all", help="Revoked and expired ones, too.")] = False,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """The keys, their limits and what they have spent.

    Example: [bold]streamward keys list --all[/bold]
    """
    now = time.time()

    async def read(storage: Storage) -> list[tuple[ClientKey, float]]:
        spent = await storage.usage.all_spent()
        return [(key, spent.get(key.id, 0.0)) for key in await storage.keys.all()]

    found = with_storage(config, read, or_else=[])
    rows = [{**shown(key, now), "spent_usd": spent} for key, spent in found if show_all or key.state(now) == "active"]
    if json:
        print_json(rows)
    elif not rows:
        sys.stderr.write("no keys yet: make one with `streamward keys create --name NAME`\n")
    else:
        columns = ["id", "name", "prefix", "created", "expires", "state", "limits", "spent"]
        table(columns, [[
            row["id"], row["name"], row["prefix"] + "…", day(row["created_at"]), day(row["expires_at"]), row["state"],
            limits_text(row["limits"]), f"${row['spent_usd']:.4f}",
        ] for row in rows])  # fmt: skip


@keys.command()
def revoke(
    wanted: Annotated[str, typer.Argument(metavar="ID-OR-NAME", help="The key's id or name.")],
    config: ConfigFile = None,
) -> None:
    """End a key. Running servers refuse it within five seconds; calls it has running go on to their end.

    Example: [bold]streamward keys revoke ci[/bold]
    """
    key = with_storage(config, lambda storage: storage.keys.revoke(wanted, time.time()), or_else=None)
    if key is None:
        raise StreamwardError(f"there is no active key {wanted!r}: see `streamward keys list --all`")
    sys.stderr.write(f"{key.id} ({key.name}) is revoked\n")


def usage(
    by: Annotated[str, typer.Option(help="Group by key, model, target, route, day; several with commas.")] = "model",
    since: Annotated[str, typer.Option(help="Only the last 24h, 7d, 4w, or from a date (2026-01-31, UTC).")] = "30d",
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """What was used: requests, tokens, cost, how calls ended, and time to first token.

    Example: [bold]streamward usage --by key,day --since 7d[/bold]
    """
    from streamward.gateway.storage.usage import GROUPS

    names = [name.strip() for name in by.split(",") if name.strip()]
    try:
        for name in names:
            if name not in GROUPS:
                raise InvalidRequest(f"--by takes {', '.join(GROUPS)}, not {name!r}")
        after = moment(since, time.time(), back=True) or 0.0
    except InvalidRequest as exc:
        raise usage_error(exc) from None
    rows: list[ReportRow] = with_storage(config, lambda storage: storage.usage.report(names, since=after), or_else=[])
    if json:
        print_json([report_object(names, row) for row in rows])
    elif not rows:
        sys.stderr.write(f"no calls since {day(after)}\n")
    else:
        figures = ["requests", "cancelled", "failed", "input", "output", "cost", "ttft p50", "ttft p99"]
        table([*names, *figures], [[
            *row.group, row.requests, row.cancelled, row.failed, row.input_tokens, row.output_tokens, cost_text(row),
            milliseconds(row.ttft_p50_ms), milliseconds(row.ttft_p99_ms),
        ] for row in rows], numbers=len(figures))  # fmt: skip


# -- the database


def with_storage(config: Path | None, work: Callable[[Storage], Awaitable[Result]], **or_else: Any) -> Result:
    """The result of *work* on the configured database; ``or_else`` where a SQLite file is not there yet.

    Raises:
        ConfigError, StorageUnavailable.
    """
    from dotenv import load_dotenv

    from streamward.gateway.config import find_file, load
    from streamward.gateway.storage import Storage

    load_dotenv(Path(".env"), override=False)
    url = load(config or find_file(Path())).storage.url
    if url == "sqlite::memory:":
        raise StreamwardError("storage.url is in a server's memory: keys and usage need a file or PostgreSQL")
    if "or_else" in or_else and url.startswith("sqlite:") and not Path(url.removeprefix("sqlite:")).exists():
        return or_else["or_else"]  # type: ignore[no-any-return]

    async def run() -> Result:
        async with Storage(url) as storage:
            return await work(storage)

    return asyncio.run(run())


# -- words and figures


def moment(text: str | None, now: float, *, back: bool = False) -> float | None:
    """The time that *text* means: a span from *now* (*back*: before it), or a day.

    Raises:
        InvalidRequest: neither.
    """
    if text is None:
        return None
    span = SPAN.fullmatch(text)
    if span is not None:
        seconds = min(int(span[1]) * SPAN_S[span[2]], FAR_S)
        return now - seconds if back else now + seconds
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise InvalidRequest(f"{text!r} is no time: write 30d, 12h, or a date as 2026-12-31") from None


def shown(key: ClientKey, now: float) -> dict[str, Any]:
    """The key as it may be printed."""
    from msgspec import to_builtins

    return {
        "id": key.id, "name": key.name, "prefix": key.prefix, "state": key.state(now), "created_at": key.created_at,
        "expires_at": key.expires_at, "revoked_at": key.revoked_at, "limits": to_builtins(key.limits),
    }  # fmt: skip


def limits_text(limits: dict[str, Any]) -> str:
    short = {"requests_per_minute": "rpm", "tokens_per_minute": "tpm", "concurrent_streams": "streams", "max_duration_s": "s"}
    parts = [f"{limits[name]:g} {word}" for name, word in short.items() if limits.get(name)]
    if limits.get("budget_usd"):
        parts.append(f"${limits['budget_usd']:g}/{limits.get('budget_period') or 'total'}")
    return ", ".join(parts) or "-"


def report_object(names: list[str], row: ReportRow) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in row.__struct_fields__ if name != "group"}
    return {**dict(zip(names, row.group, strict=True)), **fields}


def cost_text(row: ReportRow) -> str:
    """The known cost; a ``+`` says that there is more of which no price is known."""
    if row.cost_usd is None:
        return "?" if row.unpriced else "-"
    return f"${row.cost_usd:.4f}{'+ ?' if row.unpriced else ''}"


def milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def day(when: float | None) -> str:
    return "-" if when is None else datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d")


def table(columns: list[str], rows: list[list[Any]], *, numbers: int = 0) -> None:
    """Print a table: for people on a terminal, with tabs when it is piped. The last *numbers* columns are figures."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for line in [columns, *cells]:
            sys.stdout.write("\t".join(line) + "\n")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False)
    for place, column in enumerate(columns):
        drawn.add_column(column, justify="right" if place >= len(columns) - numbers else "left")
    for line in cells:
        drawn.add_row(*map(escape, line))
    Console().print(drawn)


def print_json(value: Any) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")


def usage_error(problem: InvalidRequest) -> typer.Exit:
    sys.stderr.write(f"streamward: {problem}\n")
    return typer.Exit(2)
