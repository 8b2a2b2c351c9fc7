"""``lint``, ``record``, ``replay`` and ``bench``: their options. What they do is imported when they run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from streamward.errors import InvalidRequest

Url = Annotated[str, typer.Argument(help="A base URL (http://127.0.0.1:8787/v1) or a full endpoint.")]
Dialect = Annotated[str | None, typer.Option(help="Dialect [by the path or the first frames].")]
Model = Annotated[str | None, typer.Option(help="Model to ask [demo/chat at a known pace].")]
Prompt = Annotated[str, typer.Option(help="What to ask.")]
Header = Annotated[list[str] | None, typer.Option("--header", "-H", help="'name: value', may be repeated.")]
KeyEnv = Annotated[str | None, typer.Option(help="Environment variable that holds the key [STREAMWARD_API_KEY].")]
Body = Annotated[Path | None, typer.Option(help="JSON file to send instead of the usual request.")]
Get = Annotated[bool, typer.Option("--get", help="Send GET, for streams that are there already.")]
Timeout = Annotated[float, typer.Option(help="Seconds of silence before giving up.")]

ASKED = "Say something about streaming."


def register(app: typer.Typer) -> None:
    """Add the commands to the main application."""
    for command in (lint, record, replay, bench):
        app.command()(command)


def usage(problem: InvalidRequest) -> typer.Exit:
    sys.stderr.write(f"streamward: {problem}\n")
    return typer.Exit(2)


def lint(
    target: Annotated[str, typer.Argument(help="A URL, a capture, a file with a raw body, or - for standard input.")],
    dialect: Dialect = None,
    model: Model = None,
    prompt: Prompt = ASKED,
    header: Header = None,
    key_env: KeyEnv = None,
    body: Body = None,
    get: Get = False,
    timeout: Timeout = 60.0,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    show_all: Annotated[bool, typer.Option("--all", help="Show the rules that hold, too.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as problems.")] = False,
) -> None:
    """Check a stream rule by rule: framing, dialect, grammar, headers, buffering on the way.

    Example: [bold]streamward lint http://127.0.0.1:8787/v1[/bold]
    """
    from streamward.cli.lint import run_lint
    from streamward.cli.probe import plan
    from streamward.wire.lint import NAMES

    request = None
    try:
        if dialect is not None and dialect not in NAMES:
            raise InvalidRequest(f"--dialect is one of {', '.join(NAMES)}, not {dialect!r}")
        if target.startswith(("http://", "https://")):
            request = plan(
                target, dialect=dialect, model=model, prompt=prompt, headers=header or (), key_env=key_env, body_file=body,
                get=get, timeout_s=timeout,
            )  # fmt: skip
    except InvalidRequest as exc:
        raise usage(exc) from None
    asked = request.dialect if request is not None and not get else dialect
    raise typer.Exit(run_lint(target, request, dialect=asked, as_json=json, show_all=show_all, strict=strict))


def record(
    url: Url,
    out: Annotated[Path, typer.Option("--out", "-o", help="Capture file; - for standard output.")] = Path("-"),
    dialect: Dialect = None,
    model: Model = None,
    prompt: Prompt = ASKED,
    header: Header = None,
    key_env: KeyEnv = None,
    body: Body = None,
    get: Get = False,
    timeout: Timeout = 60.0,
    with_request: Annotated[bool, typer.Option("--with-request", help="Keep the request's JSON, prompt included.")] = False,
) -> None:
    """Capture the bytes of a live stream with their arrival times. Keys are never written.

    Example: [bold]streamward record http://127.0.0.1:8787/v1 -o chat.jsonl[/bold]
    """
    from streamward.cli.probe import plan
    from streamward.cli.record import run_record

    try:
        request = plan(
            url, dialect=dialect, model=model, prompt=prompt, headers=header or (), key_env=key_env, body_file=body, get=get,
            timeout_s=timeout,
        )  # fmt: skip
    except InvalidRequest as exc:
        raise usage(exc) from None
    raise typer.Exit(run_record(request, out, with_request=with_request))


def replay(
    file: Annotated[Path, typer.Argument(help="A capture, or a file with a raw body.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks a free one.")] = 0,
    speed: Annotated[float, typer.Option(help="1 is as recorded, 2 twice as fast, 0 at once.")] = 1.0,
    recut: Annotated[str | None, typer.Option(help="Cut the body anew: a number of bytes, or random.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of --recut random.")] = 0,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the body instead of serving it.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Stop after one answer.")] = False,
) -> None:
    """Play a capture to any client, byte for byte, in its own time or cut as hostile networks do.

    Example: [bold]streamward replay chat.jsonl --port 9000 --recut random --seed 7[/bold]
    """
    from streamward.cli.replay import parse_cut, run_replay

    try:
        parse_cut(recut, seed)
    except InvalidRequest as exc:
        raise usage(exc) from None
    raise typer.Exit(
        run_replay(file, host=host, port=port, speed=speed, recut=recut, seed=seed, stdout=stdout, once=once)
    )


def bench(
    url: Url,
    clients: Annotated[int, typer.Option("--clients", "-c", min=1, help="Streams at a time.")] = 10,
    requests: Annotated[int, typer.Option("--requests", "-n", min=1, help="Streams in all.")] = 100,
    dialect: Dialect = None,
    model: Model = None,
    prompt: Prompt = ASKED,
    header: Header = None,
    key_env: KeyEnv = None,
    body: Body = None,
    timeout: Timeout = 60.0,
    baseline: Annotated[str | None, typer.Option(help="A second URL: the same load there first, and what URL adds.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Load with time to first token, gaps between tokens and errors. 1 when a stream failed.

    Example: [bold]streamward bench http://127.0.0.1:8787/v1 -c 50 -n 500[/bold]
    """
    from streamward.cli.load import run_bench
    from streamward.cli.probe import plan

    try:
        plans = [
            plan(
                where, dialect=dialect, model=model, prompt=prompt, headers=header or (), key_env=key_env, body_file=body,
                timeout_s=timeout,
            )
            for where in ([url] if baseline is None else [url, baseline])
        ]  # fmt: skip
    except InvalidRequest as exc:
        raise usage(exc) from None
    raise typer.Exit(run_bench(plans[0], plans[1] if baseline is not None else None, clients, requests, as_json=json))
