"""``streamward routes``, ``logs`` and ``drain test``."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from streamward.functions.settings import DrainConfig, drain_url

DEFAULT_URL = "http://127.0.0.1:8787"
LEVEL_NAMES = ("debug", "info", "warning", "error", "fatal")

drain_app = typer.Typer(name="drain", no_args_is_help=True, help="""Log drains.

    Example: [bold]streamward drain test https://collector.example/in[/bold]
    """)


def register(app: typer.Typer) -> None:
    """Add the commands to the main application."""
    app.command()(routes)
    app.command()(logs)
    app.add_typer(drain_app)


def routes(
    folder: Annotated[Path, typer.Argument(help="Project folder.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Print the functions of a project and what is wrong with them, without importing anything.

    Example: [bold]streamward routes --json[/bold]
    """
    from streamward.functions.env import mode_name, read_environment
    from streamward.functions.scan import scan

    if not folder.is_dir():
        fail(f"{folder} is not a folder; give the project's folder", 2)
    environment = read_environment(folder, mode_name("serve", os.environ), os.environ).variables
    found = scan(folder, environment)
    if as_json:
        print(json.dumps(found.table()))
    else:
        rows = [(route.path, route.kind, ",".join(route.methods), route.file) for route in found.routes if not route.problem]
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        for row in rows:
            print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
    for problem in found.problems:
        print(problem, file=sys.stderr)
    raise typer.Exit(1 if found.problems else 0)


def logs(
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with new entries as they happen.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON entry per line.")] = False,
    request_id: Annotated[str | None, typer.Option("--request-id", help="Entries of one request (x-streamward-id).")] = None,
    level: Annotated[str, typer.Option(help="Minimum: debug, info, warning, error or fatal.")] = "debug",
    since: Annotated[str | None, typer.Option(help="30s, 5m, 2h or an ISO 8601 time.")] = None,
    url: Annotated[str, typer.Option(envvar="STREAMWARD_URL", help="The running server.")] = DEFAULT_URL,
) -> None:
    """Read the log of a running server.

    Example: [bold]streamward logs -f --level warning[/bold]
    """
    from streamward.functions.control import parse_since

    if level not in LEVEL_NAMES:
        fail(f"--level is one of {', '.join(LEVEL_NAMES)}, not {level!r}", 2)
    if since is not None and parse_since(since, time.time()) is None:
        fail(f"--since is 30s, 5m, 2h or an ISO 8601 time, not {since!r}", 2)
    query = {"level": level, "follow": "1" if follow else "0"}
    query |= {"request_id": request_id} if request_id else {}
    query |= {"since": since} if since else {}
    try:
        for entry in read_entries(url.rstrip("/") + "/_streamward/logs", query):
            sys.stdout.write((json.dumps(entry, ensure_ascii=False) if as_json else pretty(entry)) + "\n")
            sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has gone: `streamward logs | head`


def read_entries(url: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Entries of the endpoint as they come; ends when the server ends the response."""
    import httpx

    token = os.environ.get("STREAMWARD_ADMIN_TOKEN")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    timeout = httpx.Timeout(10, read=None)
    try:
        with httpx.stream("GET", url, params=query, headers=headers, timeout=timeout, trust_env=False) as response:
            if response.status_code != 200:
                response.read()
                hint = "; set STREAMWARD_ADMIN_TOKEN" if response.status_code in (401, 403) else ""
                fail(f"{url} answered {response.status_code}{hint}", 1)
            rest = b""
            for piece in response.iter_raw():
                *lines, rest = (rest + piece).split(b"\n")
                yield from (json.loads(line[6:]) for line in lines if line.startswith(b"data: "))
    except httpx.HTTPError as exc:
        fail(f"no log from {url}: {exc or type(exc).__name__}; is a server running there?", 1)


def pretty(entry: dict[str, Any]) -> str:
    clock = datetime.fromtimestamp(entry["timestamp"] / 1000).strftime("%H:%M:%S.%f")[:-3]
    request, where = entry.get("requestId", "")[:8], entry.get("entrypoint", "")
    return " ".join(part for part in (clock, entry["level"].ljust(7), request, where, "", entry["message"]) if part)


@drain_app.command("test")
def drain_test(
    url: Annotated[str, typer.Argument(help="Where to send the sample entry.")],
    secret: Annotated[str | None, typer.Option(help="Sign it with this secret (or env:NAME).")] = None,
    form: Annotated[str, typer.Option("--format", help="json or ndjson.")] = "json",
) -> None:
    """Send one sample entry exactly as a drain would.

    Example: [bold]streamward drain test https://collector.example/in --secret env:DRAIN_SECRET[/bold]
    """
    import httpx

    from streamward.functions.drains import TIMEOUT_S, drain_body, drain_form, drain_headers
    from streamward.functions.logs import LogBook, Origin, RequestMark, encode

    if drain_url(url) is not None:
        fail(f"expected an http or https URL, not {url!r}", 2)
    if form not in ("json", "ndjson"):
        fail(f"--format is json or ndjson, not {form!r}", 2)
    if secret is not None and secret.startswith("env:"):
        name = secret[4:]
        if name not in os.environ:
            fail(f"the environment variable {name} is not set", 2)
        secret = os.environ[name]
    config = DrainConfig(url=url, format=form, secret=secret)
    book = LogBook(Origin("localhost", "test", "production", "dpl_" + secrets.token_hex(8)))
    mark = RequestMark(secrets.token_hex(12), "/api/hello", "GET", "api/hello.py", secrets.token_hex(16))
    entry = book.make("info", "a test entry of `streamward drain test`", "stdout", mark, "w-test")
    body = drain_body(config, [encode(drain_form(entry))])
    began = time.perf_counter()
    try:
        response = httpx.post(url, content=body, headers=drain_headers(config, body, time.time()), timeout=TIMEOUT_S)
    except httpx.HTTPError as exc:
        fail(f"{url}: {exc or type(exc).__name__}", 1)
    print(f"{response.status_code} in {(time.perf_counter() - began) * 1000:.0f} ms")
    raise typer.Exit(0 if response.is_success else 1)


def fail(message: str, status: int) -> Any:
    sys.stderr.write(f"streamward: {message}\n")
    raise typer.Exit(status)
