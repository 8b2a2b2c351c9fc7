"""``streamward``: commands and their options. What a command does is in a module of its own, imported when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from streamward.errors import StreamwardError
from streamward.version import __version__

app = typer.Typer(
    name="streamward", no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False,
    help="Stream the output of any language model to any client.", rich_markup_mode="rich",
)  # fmt: skip

Folder = Annotated[Path, typer.Argument(help="Project folder: its streamward.toml and functions are used.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file [DIR/streamward.toml].")]
Host = Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")]
Port = Annotated[int | None, typer.Option(envvar="PORT", help="Port to listen on; 0 picks a free one [8787].")]
LogFormat = Annotated[str | None, typer.Option("--log-format", help="json, pretty or off.")]


def version(value: bool) -> None:
    if value:
        typer.echo(f"streamward {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Stream the output of any language model to any client."""


@app.command()
def dev(
    folder: Folder = Path(),
    config: ConfigFile = None,
    host: Host = None,
    port: Port = None,
    model: Annotated[Path | None, typer.Option(help="A GGUF file to run on this machine.")] = None,
    log_format: LogFormat = None,
) -> None:
    """Everything on one port, no key asked on loopback: page at /, gateway under /v1.

    Example: [bold]streamward dev --model ./qwen.gguf[/bold]
    """
    from streamward.cli.serving import run_dev

    raise typer.Exit(run_dev(folder, config, host, port, model, log_format))


@app.command()
def serve(
    folder: Folder = Path(),
    config: ConfigFile = None,
    host: Host = None,
    port: Port = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes [1].")] = None,
    log_format: LogFormat = None,
) -> None:
    """Serve in production: keys are required unless auth.required = false.

    Example: [bold]streamward serve --config streamward.toml --port 8080 --workers 4[/bold]
    """
    from streamward.cli.serving import run_serve

    raise typer.Exit(run_serve(folder, config, host, port, workers, log_format))


@app.command()
def run(
    model: Annotated[str, typer.Argument(help="Model, e.g. demo/chat or openai/gpt-4o-mini.")],
    prompt: Annotated[str | None, typer.Argument(help="What to ask; read from standard input when absent.")] = None,
    system: Annotated[str | None, typer.Option("-s", "--system", help="System prompt.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the events, one JSON object per line.")] = False,
    config: ConfigFile = None,
) -> None:
    """One streamed answer on standard output; plain text when it is piped.

    Example: [bold]echo "what is SSE?" | streamward run local/tiny[/bold]
    """
    from streamward.cli.asking import run_once

    raise typer.Exit(run_once(model, prompt, system, as_json=json, config=config))


@app.command()
def chat(
    model: Annotated[str | None, typer.Argument(help="Model [local/tiny if installed, else demo/chat].")] = None,
    system: Annotated[str | None, typer.Option("-s", "--system", help="System prompt.")] = None,
    config: ConfigFile = None,
) -> None:
    """Chat in the terminal. Ctrl-C stops the answer, not the program.

    Example: [bold]streamward chat demo/chat -s "Answer in one sentence."[/bold]
    """
    from streamward.cli.conversation import run_chat

    raise typer.Exit(run_chat(model, system, config=config))


@app.command()
def models(
    config: ConfigFile = None,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """The models and providers known, with or without key.

    Example: [bold]streamward models[/bold]
    """
    from streamward.cli.asking import list_models

    raise typer.Exit(list_models(config=config, as_json=json))


@app.command()
def doctor(config: ConfigFile = None) -> None:
    """Check the set-up and say what to do.

    Example: [bold]streamward doctor --config streamward.toml[/bold]
    """
    from streamward.cli.doctor import run_doctor

    raise typer.Exit(run_doctor(config))


def add_groups() -> None:
    """Commands that live beside what they work on."""
    from streamward.cli import functions, keys, tools

    functions.register(app)
    tools.register(app)
    keys.register(app)


add_groups()


def main() -> None:
    """Entry point: errors are one sentence on standard error; 1 for a problem, 2 for wrong usage."""
    try:
        app()
    except StreamwardError as exc:
        sys.stderr.write(f"streamward: {exc}\n")
        raise SystemExit(1) from None
