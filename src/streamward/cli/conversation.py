"""``streamward chat``: a conversation in the terminal.

The prompt runs on the loop's own thread: nothing is to be done while somebody types, and Ctrl-C then clears the line, as
in a shell. The arrow keys bring back what was typed in this session; nothing of it is written to disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text as Styled

from streamward.call import Call, Message, Text
from streamward.cli.asking import TINY, opened, settings
from streamward.events import Abort, Error, Event, Finish, ReasoningDelta, TextDelta
from streamward.gateway.config import Config
from streamward.upstream.local import engine_available, tiny_model_path
from streamward.upstream.source import EventSource

with contextlib.suppress(ImportError):  # not on every system; without it the line is edited by the terminal alone
    import readline

    if "libedit" not in (readline.__doc__ or ""):
        readline.parse_and_bind("set enable-bracketed-paste on")  # several pasted lines are one question

HELP = """Ctrl-C stops an answer, or clears the line; Ctrl-D ends. The arrow keys bring back earlier questions.
/new begins anew, /help shows this, /quit ends."""


def run_chat(model: str | None, system: str | None, *, config: Path | None) -> int:
    """A conversation until end of input or /quit."""
    chosen = model or (TINY if engine_available() and tiny_model_path() is not None else "demo/chat")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(converse(chosen, system, settings(config)))
    return 0


async def converse(model: str, system: str | None, config: Config) -> None:
    console = Console()
    console.print(Styled.assemble((model, "bold"), ("  Ctrl-C stops an answer, Ctrl-D ends, /help says more", "dim")))
    if model == TINY:
        console.print("A toy model that only knows this project.", style="dim")
    elif model.startswith("demo/"):
        console.print("Simulated: a script, not an AI.", style="dim")
    beginning = [Message("system", (Text(system),))] if system else []
    messages = list(beginning)
    async with opened(model, config) as routes:
        targets = routes.targets(model)
        while (asked := ask_line(console)) is not None:
            command = asked.strip()
            if command in ("/quit", "/exit"):
                return
            if command == "/new":
                messages = list(beginning)
                console.print("A new conversation.", style="dim")
            elif command == "/help":
                console.print(HELP, style="dim", highlight=False)
            elif command:
                messages.append(Message("user", (Text(asked),)))
                text = await speak(EventSource(Call(model, tuple(messages), stream=True), targets), console)
                if text:
                    messages.append(Message("assistant", (Text(text),)))
                else:  # providers refuse two questions in a row, and an answer without words
                    messages.pop()


def ask_line(console: Console) -> str | None:
    """One line, "" after Ctrl-C, None at the end of input."""
    console.print()
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return input("> ")
    except EOFError:
        console.print()
        return None
    except KeyboardInterrupt:
        console.print()
        return ""
    finally:
        signal.signal(signal.SIGINT, before)


async def speak(source: EventSource, console: Console) -> str:
    """Print one answer as it streams, then its figures. Ctrl-C stops the answer only."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    first: float | None = None
    pieces: list[str] = []
    thinking = False
    last: Event | None = None
    waiting = console.status("[dim]waiting for the first token[/dim]", spinner="dots")
    with contextlib.suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGINT, source.cancel)
    try:
        waiting.start()
        while events := await source.read():
            for event in events:
                if not isinstance(event, (TextDelta, ReasoningDelta)):
                    continue
                if first is None:
                    first = loop.time()
                    waiting.stop()
                if isinstance(event, ReasoningDelta):
                    thinking = True
                    console.out(event.delta, end="", style="dim italic", highlight=False)
                    continue
                if thinking:
                    thinking = False
                    console.print("\n")
                pieces.append(event.delta)
                sys.stdout.write(event.delta)
            sys.stdout.flush()
            last = events[-1]
    finally:
        waiting.stop()
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
        source.cancel()
    if first is not None:
        console.print()
    if isinstance(last, Error):
        cut = "The answer was interrupted: " if pieces else ""
        console.print(f"{cut}{last.error.message} ({last.error.code})", style="red", markup=False, highlight=False)
    if line := figures(last, started, first, loop.time(), len(pieces)):
        console.print(line, style="dim", highlight=False)
    return "".join(pieces)


def figures(last: Event | None, started: float, first: float | None, ended: float, pieces: int) -> str:
    """Time to first token, tokens per second, and how it ended when that was not well."""
    out: list[str] = []
    if first is not None:
        usage = last.usage if isinstance(last, Finish) else None
        tokens = usage.output_tokens if usage is not None and usage.output_tokens else pieces
        pace = tokens / (ended - first) if ended > first else 0.0
        out = [f"first token {(first - started) * 1000:.0f} ms", f"{tokens} tokens", f"{pace:.0f} tokens/s"]
    if isinstance(last, Abort) or not isinstance(last, (Finish, Error)):
        out.append("stopped")
    elif isinstance(last, Finish) and last.reason != "stop":
        out.append(f"ended: {last.reason}")
    return " · ".join(out)
